//! The screen at the end of a run.

mod parts;

use std::fmt::Write;

use super::{Run, callers, nodes, number};
use crate::{
    arrival::Shape,
    book::Timed,
    scenario::Scenario,
    slo::Held,
    stats::latency::{Distribution, Phase},
    verdict::Verdict,
};
use parts::{adversity, quality, resources};

/// The whole table.
pub fn render(run: &Run, verdict: &Verdict) -> String {
    let mut out = String::new();
    heading(&mut out, run, verdict);
    offered(&mut out, run);
    phases(&mut out, run);
    quality(&mut out, run);
    resources(&mut out, run);
    adversity(&mut out, run);
    nodes::table(&mut out, run);
    failures(&mut out, run);
    objectives(&mut out, run);
    summary(&mut out, run);
    for warning in &verdict.warnings {
        line(&mut out, &format!("  ~ {warning}"));
    }
    for reason in &verdict.reasons {
        line(&mut out, &format!("  ! {reason}"));
    }
    line(&mut out, &format!("VERDICT  {}", verdict.word.name()));
    out
}

pub(super) fn line(out: &mut String, text: &str) {
    out.push_str(text.trim_end());
    out.push('\n');
}

fn heading(out: &mut String, run: &Run, verdict: &Verdict) {
    let scenario = &run.scenario;
    let arrivals = arrivals(scenario);
    let interrupted = match (run.interrupted, &run.aborted) {
        (true, _) => "  INTERRUPTED",
        (_, Some(_)) => "  ENDED EARLY",
        _ => "",
    };
    line(out, "");
    line(
        out,
        &format!(
            "loadgen {}  seed {}  schedule {}  {arrivals} × {:.0} s (+{:.0} s warm-up){interrupted}   VERDICT  {}   generator headroom {:.0} %",
            env!("CARGO_PKG_VERSION"),
            scenario.seed,
            run.schedule_hash,
            run.length().as_secs_f64(),
            scenario.warmup.as_secs_f64(),
            verdict.word.name(),
            run.headroom() * 100.0,
        ),
    );
    let place = if run.target.address.ip().is_loopback() { "loopback" } else { "network" };
    let whose = if run.target.own { "a relay of its own" } else { run.target.url.as_str() };
    line(out, &format!("{} · {place} · target: {whose}", callers(scenario)));
    if let (Some(_), Some(media)) = (scenario.network, scenario.resolved.get("media")) {
        let network = media.get("impair").and_then(toml::Value::as_str).unwrap_or_default();
        line(out, &format!("behind an impaired network: {network}; its delays and losses are in the numbers below"));
    }
    if let Some(share) = &run.share {
        let halves = run.book.halves();
        line(
            out,
            &format!(
                "slice {} of one run: {halves} calls with callers of other slices wait for loadgen merge",
                share.slice
            ),
        );
    }
    if !run.slices.is_empty() {
        line(out, &format!("merged from {} slices", run.slices.len()));
    }
    for change in &run.changes {
        line(
            out,
            &format!("ALTERED by hand at {:.1} s: {:.0} % of the scheduled rate", change.t, change.factor * 100.0),
        );
    }
    if scenario.mixed.is_some() {
        let parts = scenario.depths().into_iter();
        let parts: Vec<String> = parts.map(|(depth, part)| format!("{} {:.0} %", depth.name(), part * 100.0)).collect();
        line(out, &format!("shares: {}", parts.join(", ")));
    }
    if scenario.users > 0 {
        line(
            out,
            "closed population: callers come when the server lets them go, so a stall lowers the load instead of showing in latencies",
        );
    }
}

/// How callers came, with the mean rate where it is known beforehand.
pub(super) fn arrivals(scenario: &Scenario) -> String {
    let spread = format!("{:?}", scenario.spread).to_lowercase();
    match scenario.shape {
        _ if scenario.users > 0 => format!("closed, {} callers, think {}", scenario.users, scenario.think),
        Shape::Trace(_) => "trace replayed".to_owned(),
        Shape::Steady => format!("{spread} {:.1} calls/s", scenario.calls_per_second),
        ref shape => format!("{spread} {shape} mean {:.1} calls/s", scenario.mean_rate()),
    }
}

fn offered(out: &mut String, run: &Run) {
    let counts = &run.book.counts;
    let success = counts.success().map_or_else(|| "—".to_owned(), |ratio| format!("{:.2} %", ratio * 100.0));
    let attempts = counts.calls_up + counts.failed();
    let little = run.little_error().map_or_else(
        || "Little — (too few calls)".to_owned(),
        |error| {
            format!(
                "Little {} {:.1} %",
                if error > crate::verdict::MAX_LITTLE_ERROR { "✗" } else { "✓" },
                error * 100.0
            )
        },
    );
    line(
        out,
        &format!(
            "offered {:.1} cps ({:.0} BHCA)  achieved {:.1} cps  success {success} ({}/{attempts})  peak {} calls, {:.0} callers  {:.0} E  {little}",
            run.offered_cps(),
            run.offered_cps() * 3600.0,
            run.achieved_cps(),
            counts.calls_up,
            run.sampled.calls_peak,
            run.peak_callers(),
            run.sampled.calls_mean,
        ),
    );
    if let Some((measured, expected)) = run.blocking() {
        line(
            out,
            &format!(
                "blocked {} for want of room, {:.2} % of all; Erlang B({}, {:.1}) = {:.2} %",
                counts.blocked,
                measured * 100.0,
                run.scenario.lines,
                run.offered_cps() * run.scenario.hold.mean().as_secs_f64(),
                expected * 100.0,
            ),
        );
    }
    line(
        out,
        &format!(
            "gave up waiting {} · at the end, neither success nor failure: {} callers unmatched, {} calls setting up; {} calls up were cut short · outside the window: {} callers, {} calls up, {} failed",
            counts.abandoned,
            counts.unmatched,
            counts.in_flight,
            counts.cut,
            counts.outside_callers,
            counts.outside_calls_up,
            counts.outside_failed,
        ),
    );
}

fn phases(out: &mut String, run: &Run) {
    line(out, "");
    line(
        out,
        &format!(
            "{:<22} {:>8} {:>8} {:>8} {:>8} {:>8}  │ from-send p99 {:>8}",
            "ms, from intended start", "p50", "p90", "p99", "p99.9", "max", "n"
        ),
    );
    for timed in Timed::ALL {
        let phase = run.book.phase(timed);
        let note = match timed {
            Timed::MatchWait => run
                .match_floor_p99()
                .map_or_else(String::new, |floor| format!("floor set by arrivals alone: p99 {floor:.1}")),
            _ if phase.corrected.is_empty() => continue,
            Timed::MatchDecision if run.book.counts.widened_early > 0 => {
                format!("{} pairs joined before the documented widening left out", run.book.counts.widened_early)
            }
            _ => String::new(),
        };
        phase_line(out, timed.name(), phase, &note);
    }
    let alone = |distribution: &Distribution| Phase { corrected: distribution.clone(), ..Phase::default() };
    if run.scenario.media {
        phase_line(out, "media one-way delay", &alone(&run.media.delay), "");
        phase_line(out, "media delay variation", &alone(&run.media.variation), "beyond each stream's fastest");
        phase_line(out, "media send lateness", &alone(&run.media.lateness), "generator");
    }
    line(out, "                       percentiles with too few samples are shown as \"—\"");
}

fn phase_line(out: &mut String, name: &str, phase: &Phase, note: &str) {
    let cell = |value: Option<f64>| value.map_or_else(|| "—".to_owned(), number);
    let at = |percent| cell(phase.corrected.percentile_millis(percent));
    line(
        out,
        &format!(
            "{name:<22} {:>8} {:>8} {:>8} {:>8} {:>8}  │ {:>13} {:>8}   {note}",
            at(50.0),
            at(90.0),
            at(99.0),
            at(99.9),
            cell(phase.corrected.max_millis()),
            cell(phase.uncorrected.percentile_millis(99.0)),
            phase.corrected.len(),
        ),
    );
}

fn failures(out: &mut String, run: &Run) {
    for (cause, times) in &run.book.causes {
        line(out, &format!("failed {times:>6}  {}", cause.name()));
    }
}

fn objectives(out: &mut String, run: &Run) {
    let mut text = String::from("SLO");
    for objective in &run.scenario.objectives {
        let mark = match objective.judge(run.measured(objective)) {
            Held::Yes => "✓",
            Held::No => "✗",
            Held::Unknown => "—",
        };
        let _ = write!(text, "  {mark} {objective}");
    }
    if !run.scenario.objectives.is_empty() {
        line(out, &text);
    }
}

/// The line to remember.
fn summary(out: &mut String, run: &Run) {
    let both = |name: &str, timed: Timed| {
        let phase = &run.book.phase(timed).corrected;
        let cell = |percent| phase.percentile_millis(percent).map_or_else(|| "—".to_owned(), number);
        (!phase.is_empty()).then(|| format!("{name} p50 {} p99 {} ms", cell(50.0), cell(99.0)))
    };
    let with = |first: Option<String>, second: Option<String>| {
        first.map(|first| first + &second.map_or_else(String::new, |second| format!(" ({second})")))
    };
    let parts = [
        with(both("matching latency", Timed::MatchWait), both("decision", Timed::MatchDecision)),
        with(both("call set-up time", Timed::Setup), both("after match", Timed::SetupAfterMatch)),
        Some(format!("{:.1} calls per second", run.achieved_cps())),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    line(out, &format!("{} calls set up: {}", run.book.counts.calls_up, parts.join(" · ")));
}
