//! A result for tests, with every part that a format may show; and one whose every word comes from somebody unkind.

#![allow(clippy::unwrap_used)] // tests: a panic is how they report

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::recorded::Recorded;
use crate::{book::Timed, stats::latency::Distribution};

pub(crate) fn result() -> Recorded {
    Recorded::read(value()).unwrap()
}

/// The same with markup, addresses and control characters in every word that a file or a server could have chosen.
pub(crate) fn nasty() -> Recorded {
    let evil = "<script>alert(1)</script> \" onload=\"x\" ' & connect 192.0.2.7:3478 to ws://relay.example/v1 [2001:db8::1]:80 /srv/ana/k.pem \u{1b}[2J|\n::error::x";
    let mut value = value();
    for pointer in
        ["/verdict/word", "/callers", "/schedule_hash", "/loadgen", "/aborted", "/started_at", "/media/profile"]
    {
        *value.pointer_mut(pointer).unwrap() = json!(evil);
    }
    value["verdict"]["reasons"] = json!([evil]);
    value["verdict"]["warnings"] = json!([evil]);
    value["verdict"]["generator_faults"] = json!([evil]);
    value["verdict"]["exit_code"] = json!(7);
    value["violations"] = json!({ evil: 1 });
    value["outcomes"]["causes"] = json!({ evil: 2 });
    value["host"]["server_drops"] = json!({ evil: 3 });
    value["environment"] = json!({ evil: evil });
    value["objectives"] = json!([{ "require": evil, "measured": null, "held": evil }]);
    value["knee"][0]["verdict"] = json!(evil);
    value["exemplars"][0]["sides"][0]["role"] = json!(evil);
    value["exemplars"][0]["sides"][0]["steps"][0]["step"] = json!(evil);
    value["scenario"]["arrivals"]["shape"] = json!("trace:/srv/ana/calls.txt");
    value["scenario"]["peer"]["tls_name"] = json!("relay.example");
    value["scenario"][evil] = json!(evil);
    Recorded::read(value).unwrap()
}

pub(crate) fn value() -> Value {
    let numbers = |micros: u64| distribution((0..4000).map(|i| micros + i * i % (micros * 3)));
    let phases: Map<String, Value> = Timed::ALL
        .iter()
        .zip(1..)
        .map(|(timed, place)| {
            let both = json!({ "corrected": numbers(place * 900), "uncorrected": numbers(place * 800) });
            (timed.key().to_owned(), both)
        })
        .collect();
    let second = |t: u64| {
        json!({ "t": t, "arrived": t * 100, "callers": 300 + t % 7, "waiting": t % 3, "calls": 150 + t % 5, "calls_up": t * 49,
            "failed": t / 10, "sent": t * 15_000, "received": t * 14_990, "server_cpu_secs": t as f64 * 0.21,
            "server_bytes": 30_000_000 + t * 1000, "server_allocations": 290, "generator_cpu_secs": t as f64 * 0.3 })
    };
    let due = |t: u64| {
        let setup = (t % 7 != 3).then(|| distribution((0..60).map(|i| 9_000 + i * 100 + t * 50)));
        json!({ "t": t, "up": 49, "failed": u64::from(t.is_multiple_of(10)), "setup": setup })
    };
    let steps = |scale: f64| {
        let names =
            ["started", "welcome", "queued", "matched", "allocated", "connected", "first media", "hang-up sent"];
        let steps = names.iter().zip(1..).map(|(name, i)| json!({ "step": name, "at_ms": f64::from(i) * scale }));
        steps.collect::<Vec<_>>()
    };
    let call = |band: &str, scale: f64| {
        let side = |role: &str| json!({ "caller": 1, "role": role, "level": "B1", "steps": steps(scale) });
        json!({ "band": band, "setup_ms": scale * 6.0, "cause": null, "sides": [side("offerer"), side("answerer")] })
    };
    json!({
        "schema": "loadgen.run/1", "loadgen": "0.1.0", "callers": "light: no DTLS", "model": "open", "seed": 42,
        "schedule_hash": "9c1f00aa11bb22cc", "interrupted": false, "aborted": null, "merged_from": null, "measured_secs": 20.0,
        "started_at": "2026-11-22T02:30:00.250Z", "manual_changes": [{ "t": 7.5, "factor": 1.1 }],
        "verdict": { "word": "PASS", "exit_code": 0, "reasons": [], "warnings": ["start lag p99 1.2 ms"], "generator_faults": [] },
        "target": { "url": "ws://192.0.2.7:8080/v1/ws", "loopback": true, "own": true },
        "scenario": { "seed": 42, "arrivals": { "warmup": "2s", "for": "20s", "shape": "steady" }, "peer": { "depth": "light" } },
        "environment": { "kernel": "6.1.0", "cpu": "a processor", "processors": "2" },
        "load": { "offered_callers": 2000, "offered_cps": 50.0, "offered_bhca": 180_000.0, "achieved_cps": 49.0, "calls_mean": 150.5,
            "calls_peak": 170, "little_error": 0.01, "dropped_arrivals": 0, "stuck_callers": 0, "match_floor_p99_ms": 39.1,
            "match_fairness": 0.5 },
        "outcomes": { "success": 0.98, "calls_up": 980, "calls_failed": 15, "callers_failed": 5, "abandoned": 1, "blocked": 0,
            "unmatched_at_end": 2, "in_flight_at_end": 1, "cut_at_end": 3, "turn_retransmissions": 4, "check_retransmissions": 5,
            "requeued": 0, "causes": { "connect": 15, "no partner": 5 } },
        "phases": phases,
        "media": { "streams": 1960, "sent": 290_000, "expected": 290_000, "lost": 29, "late": 3, "duplicates": 0, "reordered": 1,
            "jitter_mean_ms": 0.31, "jitter_worst_ms": 2.5, "profile": "g711-plc", "rating_mean": 92.9, "mos_cqe_mean": 4.4,
            "mos_cqe_p5": 4.39, "one_way_delay": numbers(300), "delay_variation": numbers(90), "send_lateness": numbers(50) },
        "objectives": [
            { "require": "success>=95%", "measured": 0.98, "held": "yes" },
            { "require": "setup.p99<1ms", "measured": 17.2, "held": "no" },
            { "require": "mos.p5>=3.8", "measured": null, "held": "unknown" },
        ],
        "violations": {},
        "host": { "server_cpu_secs": 4.2, "server_cpu_per_call_ms": 4.3, "server_bytes_peak": 33_000_000, "server_bytes_per_caller": 11_000,
            "server_bytes_per_allocation": null, "server_allocations_left": 0, "server_drops": { "rate_limited": 3, "malformed": 0 },
            "generator_cpu_secs": 6.1, "generator_bytes": 50_000_000, "machine_busy": 0.6, "machine_stolen": 0.0, "priority_raised": true },
        "generator_headroom": 0.63,
        "exemplars": [call("p99.9", 30.0), call("p99", 12.0), call("p50", 2.0)],
        "knee": [
            { "offered_cps": 10.0, "success": 1.0, "setup_p50_ms": 5.0, "setup_p99_ms": 12.0, "verdict": "PASS" },
            { "offered_cps": 50.0, "success": 0.9, "setup_p50_ms": 50.0, "setup_p99_ms": null, "verdict": "FAIL" },
        ],
        "seconds": (0..=26).map(second).collect::<Vec<_>>(),
        "by_start": (0..22).map(due).collect::<Vec<_>>(),
    })
}

fn distribution(micros: impl Iterator<Item = u64>) -> Value {
    let mut distribution = Distribution::default();
    micros.for_each(|micros| distribution.record(Duration::from_micros(micros)));
    let at = |percent| distribution.percentile_millis(percent);
    json!({ "n": distribution.len(), "mean": distribution.mean_millis(), "p50": at(50.0), "p90": at(90.0), "p95": at(95.0),
        "p99": at(99.0), "p99.9": at(99.9), "p99.99": at(99.99), "max": distribution.max_millis(), "hdr": distribution.encode() })
}
