//! One run as JSON. `schema` names the shape: a change that a reader could trip over gets a new number.

use serde_json::{Map, Value, json};

use super::{OneCaller, Run, Second, callers};
use crate::{
    book::{Due, Timed},
    host::environment,
    media::stream::PERIOD,
    merge,
    runner::storm::Storm,
    stats::{bursts::Bursts, emodel::G711_PLC, latency::Distribution},
    time::millis,
    verdict::{Verdict, generator_faults},
};

/// Name and version of the shape.
pub const SCHEMA: &str = "loadgen.run/1";

/// The published schema (JSON Schema, draft 2020-12) of that shape.
pub const PUBLISHED: &str = include_str!("../../docs/loadgen.run.1.schema.json");

/// Latencies are milliseconds, sizes bytes, CPU seconds. A percentile with too few samples is null. Histograms are HDR V2
/// (deflated), base64, in microseconds: they merge without loss.
pub fn render(run: &Run, verdict: &Verdict) -> Value {
    let scenario = &run.scenario;
    json!({
        "schema": SCHEMA,
        "loadgen": env!("CARGO_PKG_VERSION"),
        "verdict": { "word": verdict.word.name(), "exit_code": verdict.word.exit_code(), "reasons": verdict.reasons,
            "warnings": verdict.warnings,
            "generator_faults": generator_faults(run) },
        "slice": merge::carried(run),
        "merged_from": (!run.slices.is_empty()).then_some(run.slices.len()),
        "callers": callers(scenario),
        "model": if scenario.users > 0 { "closed" } else { "open" },
        "target": { "url": run.target.url, "loopback": run.target.address.ip().is_loopback(), "own": run.target.own },
        "seed": scenario.seed,
        "schedule_hash": run.schedule_hash,
        "scenario": scenario.resolved,
        "interrupted": run.interrupted,
        "aborted": run.aborted,
        "calls_unwritten": run.calls_unwritten,
        "started_at": super::when::rfc3339(run.started),
        "manual_changes": run.changes,
        "measured_secs": run.length().as_secs_f64(),
        "environment": environment().into_iter().map(|(k, v)| (k.to_owned(), Value::from(v))).collect::<Map<_, _>>(),
        "load": load(run),
        "outcomes": outcomes(run),
        "phases": Timed::ALL.iter().map(|timed| (timed.key().to_owned(), phase(run, *timed))).collect::<Map<_, _>>(),
        "media": media(run),
        "objectives": scenario.objectives.iter().map(|objective| json!({
            "require": objective.to_string(),
            "measured": run.measured(objective),
            "held": format!("{:?}", objective.judge(run.measured(objective))).to_lowercase(),
        })).collect::<Vec<_>>(),
        "violations": run.book.violations.iter().map(|(v, n)| (v.name().to_owned(), json!(n))).collect::<Map<_, _>>(),
        "host": host(run),
        "storm": run.storm.as_ref().map(storm),
        "attack": run.attack,
        "generator_headroom": run.headroom(),
        "calibrated_load": run.load_share().map(|(what, share)| json!({ "of": what, "share": share })),
        "exemplars": super::exemplars::render(run),
        "knee": super::knee::of(run),
        "seconds": run.sampled.seconds.iter().map(second).collect::<Vec<_>>(),
        "nodes": run.book.by_node.as_ref().map(super::nodes::render),
        "by_start": run.book.by_start.all().map(due).collect::<Vec<_>>(),
    })
}

fn storm(storm: &Storm) -> Value {
    json!({
        "severed": storm.severed,
        "back": storm.back,
        "resumed": storm.resumed,
        "recovered_ms": storm.recovered().map(millis),
        "until_back": distribution(&storm.until_back),
        "greeted": distribution(&storm.greeted),
    })
}

fn load(run: &Run) -> Value {
    json!({
        "offered_callers": run.generator.offered_callers,
        "offered_cps": run.offered_cps(),
        "offered_bhca": run.offered_cps() * 3600.0,
        "achieved_cps": run.achieved_cps(),
        "calls_mean": run.sampled.calls_mean,
        "calls_peak": run.sampled.calls_peak,
        "calls_by_little": run.calls_by_little(),
        "little_error": run.little_error(),
        "dropped_arrivals": run.generator.dropped_arrivals,
        "stuck_callers": run.generator.stuck,
        "match_floor_p99_ms": run.match_floor_p99(),
        "match_fairness": run.book.phase(Timed::MatchWait).corrected.fairness(),
    })
}

fn outcomes(run: &Run) -> Value {
    let counts = &run.book.counts;
    let relays = run.scenario.depths().iter().any(|(depth, _)| depth.relays());
    json!({
        "success": counts.success(),
        "calls_up": counts.calls_up,
        "calls_direct": relays.then_some(counts.direct),
        "calls_relayed": relays.then(|| run.relayed()),
        "calls_failed": counts.calls_failed,
        "callers_failed": counts.callers_failed,
        "abandoned": counts.abandoned,
        "blocked": counts.blocked,
        "blocking": run.blocking().map(|(measured, erlang_b)| json!({ "measured": measured, "erlang_b": erlang_b })),
        "unmatched_at_end": counts.unmatched,
        "in_flight_at_end": counts.in_flight,
        "cut_at_end": counts.cut,
        "widened_early": counts.widened_early,
        "requeued": counts.requeued,
        "allocated": counts.allocated,
        "allocated_over": { "udp": counts.allocated_over[0], "tcp": counts.allocated_over[1], "tls": counts.allocated_over[2] },
        "freed": counts.freed,
        "turn_retransmissions": counts.turn_retransmissions,
        "check_retransmissions": counts.check_retransmissions,
        "outside_window": {
            "callers": counts.outside_callers,
            "calls_up": counts.outside_calls_up,
            "failed": counts.outside_failed,
        },
        "causes": run.book.causes.iter().map(|(cause, n)| (cause.name(), json!(n))).collect::<Map<_, _>>(),
    })
}

fn phase(run: &Run, timed: Timed) -> Value {
    let phase = run.book.phase(timed);
    json!({
        "corrected": distribution(&phase.corrected),
        "uncorrected": distribution(&phase.uncorrected),
    })
}

pub(super) fn distribution(of: &Distribution) -> Value {
    json!({
        "n": of.len(),
        "mean": of.mean_millis(),
        "p50": of.percentile_millis(50.0),
        "p90": of.percentile_millis(90.0),
        "p95": of.percentile_millis(95.0),
        "p99": of.percentile_millis(99.0),
        "p99.9": of.percentile_millis(99.9),
        "p99.99": of.percentile_millis(99.99),
        "max": of.max_millis(),
        "hdr": of.encode(),
    })
}

fn media(run: &Run) -> Value {
    let voice = &run.book.voice;
    let mean = |sum: f64| (voice.streams > 0).then(|| sum / voice.streams as f64);
    json!({
        "streams": voice.streams,
        "sent": voice.sent,
        "expected": voice.expected,
        "received": voice.received,
        "lost": voice.lost,
        "late": voice.late,
        "duplicates": voice.duplicates,
        "reordered": voice.reordered,
        "jitter_mean_ms": mean(millis(voice.jitter)),
        "jitter_worst_ms": millis(voice.worst_jitter),
        "bursts": bursts(&voice.bursts),
        "profile": G711_PLC.name,
        "rating_mean": mean(voice.rating),
        "mos_cqe_mean": run.book.mos.mean(),
        "mos_cqe_p5": run.book.mos.percentile(5.0),
        "one_way_delay": distribution(&run.media.delay),
        "delay_variation": distribution(&run.media.variation),
        "send_lateness": distribution(&run.media.lateness),
        "whole_run": {
            "sent": run.traffic.sent,
            "received": run.traffic.received,
            "unsent": run.traffic.unsent,
            "dropped_by_own_sockets": run.traffic.dropped,
            "undelivered": run.traffic.undelivered,
        },
    })
}

/// RFC 3611 §4.7.2; late discards count as losses.
fn bursts(bursts: &Bursts) -> Value {
    json!({
        "count": bursts.bursts,
        "density": bursts.burst_density(),
        "gap_density": bursts.gap_density(),
        "mean_ms": millis(bursts.burst_length(PERIOD)),
        "gap_mean_ms": millis(bursts.gap_length(PERIOD)),
        "loss_runs": bursts.runs,
    })
}

fn host(run: &Run) -> Value {
    let (thread, share) = &run.sampled.used.busiest;
    json!({
        "server_cpu_secs": run.sampled.used.server_cpu.map(|cpu| cpu.as_secs_f64()),
        "server_cpu_per_call_ms": run.cpu_per_call().map(millis),
        "server_bytes_before": run.sampled.server_bytes_before,
        "server_bytes_peak": run.sampled.server_bytes_peak,
        "server_bytes_per_caller": run.bytes_per_caller(),
        "server_bytes_per_allocation": run.bytes_per_allocation(),
        "server_allocations_left": run.server_metrics.as_ref().and_then(|metrics| metrics.allocations),
        "server_drops": run.server_metrics.as_ref()
            .map(|metrics| metrics.drops.iter().map(|(why, n)| (why.clone(), json!(n))).collect::<Map<_, _>>()),
        "generator_cpu_secs": run.sampled.used.generator_cpu.as_secs_f64(),
        "generator_bytes": run.sampled.generator_bytes,
        "generator_per_caller": run.one_caller().map(|OneCaller { callers, bytes, cpu_millis }| json!({
            "callers": callers,
            "bytes": bytes,
            "cpu_ms_per_second_talking": cpu_millis,
        })),
        "busiest_thread": { "name": thread, "share": share },
        "longest_waiting_thread": { "name": run.sampled.used.waited.0, "share": run.sampled.used.waited.1 },
        "processors_available": run.sampled.used.allowance.available,
        "processors_foreign": run.sampled.used.allowance.foreign,
        "throttled": run.sampled.used.throttled,
        "machine_busy": run.sampled.used.machine_busy,
        "machine_stolen": run.sampled.used.machine_stolen,
        "open_files_limit": run.generator.open_files,
        "priority_raised": run.generator.priority_raised,
    })
}

/// Calls whose later caller was due in that second.
fn due((second, due): (u64, &Due)) -> Value {
    let setup = due.setup();
    json!({ "t": second, "up": due.up, "failed": due.failed, "setup": setup.as_ref().map(distribution) })
}

fn second(second: &Second) -> Value {
    json!({
        "t": second.second,
        "arrived": second.arrived,
        "callers": second.callers,
        "waiting": second.waiting,
        "calls": second.calls,
        "calls_up": second.calls_up,
        "failed": second.failed,
        "sent": second.sent,
        "received": second.received,
        "server_cpu_secs": second.server_cpu.map(|cpu| cpu.as_secs_f64()),
        "server_bytes": second.server_bytes,
        "server_allocations": second.server_allocations,
        "generator_cpu_secs": second.generator_cpu.as_secs_f64(),
    })
}
