//! Numbers for those who keep a history of them: github-action-benchmark and Bencher. What is missing was not measured.

use serde_json::{Map, Value, json};

use super::recorded::Recorded;

/// Which way a number gets better. The action takes a file of one kind or the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    Smaller,
    Bigger,
}

/// One number of a run.
struct Measure {
    /// As people read it, and as Bencher's benchmark and measure.
    name: String,
    benchmark: &'static str,
    measure: String,
    unit: &'static str,
    better: Better,
    value: f64,
    /// How many it was taken from.
    samples: u64,
    /// The value with 95 % confidence, where that can be said.
    between: Option<(f64, f64)>,
}

/// `customSmallerIsBetter` or `customBiggerIsBetter`: `[{name, unit, value, range?, extra?}]`.
pub fn action(result: &Recorded, better: Better) -> Value {
    let extra = format!("seed {} · schedule {} · {}", result.seed, result.schedule_hash, result.verdict.word);
    let entry = |measure: &Measure| {
        let mut entry = json!({
            "name": measure.name,
            "unit": measure.unit,
            "value": measure.value,
            "extra": format!("n {} · {extra}", measure.samples),
        });
        if let Some((lower, upper)) = measure.between {
            entry["range"] = json!(format!("± {:.3}", (upper - lower) / 2.0));
        }
        entry
    };
    measures(result).iter().filter(|measure| measure.better == better).map(entry).collect()
}

/// Bencher Metric Format: `{benchmark: {measure: {value, lower_value?, upper_value?}}}`.
pub fn bencher(result: &Recorded) -> Value {
    let mut benchmarks = Map::new();
    for measure in measures(result) {
        let benchmark = benchmarks.entry(measure.benchmark).or_insert_with(|| json!({}));
        let mut metric = json!({ "value": measure.value });
        if let Some((lower, upper)) = measure.between {
            metric["lower_value"] = json!(lower);
            metric["upper_value"] = json!(upper);
        }
        benchmark[measure.measure] = metric;
    }
    Value::Object(benchmarks)
}

fn measures(result: &Recorded) -> Vec<Measure> {
    let mut measures = latencies(result);
    let (load, outcomes, media, host) = (&result.load, &result.outcomes, &result.media, &result.host);
    let attempts = outcomes.calls_up + outcomes.failed();
    let failing = outcomes.success.map(|success| (1.0 - success) * 100.0);
    let loss = media.loss().map(|loss| loss * 100.0);
    let per_caller = host.server_bytes_per_caller.map(|bytes| bytes as f64);
    let (smaller, bigger) = (Better::Smaller, Better::Bigger);
    let single = [
        ("load", "achieved", "calls/s", bigger, Some(load.achieved_cps), outcomes.calls_up),
        ("load", "failed", "%", smaller, failing, attempts),
        ("media", "loss", "%", smaller, loss, media.expected),
        ("media", "jitter mean", "ms", smaller, media.jitter_mean_ms, media.streams),
        ("media", "MOS-CQE mean", "MOS", bigger, media.mos_cqe_mean, media.streams),
        ("media", "MOS-CQE p5", "MOS", bigger, media.mos_cqe_p5, media.streams),
        ("server", "CPU per call", "ms", smaller, host.server_cpu_per_call_ms, outcomes.calls_up),
        ("server", "memory per caller", "bytes", smaller, per_caller, load.offered_callers),
    ];
    for (benchmark, what, unit, better, value, samples) in single {
        let Some(value) = value else { continue };
        let (name, measure) = (format!("{benchmark}: {what}"), slug(what, unit));
        measures.push(Measure { name, benchmark, measure, unit, better, value, samples, between: None });
    }
    measures
}

fn latencies(result: &Recorded) -> Vec<Measure> {
    let mut measures = Vec::new();
    for phase in result.phases() {
        // The generator's own lag says nothing about the server.
        if phase.key == "start_lag" {
            continue;
        }
        let distribution = phase.corrected.distribution();
        for (name, quantile, value) in phase.corrected.percentiles() {
            let Some(value) = value.filter(|_| matches!(name, "p50" | "p99")) else { continue };
            measures.push(Measure {
                name: format!("{}: {name}", phase.name),
                benchmark: phase.key,
                measure: slug(name, "ms"),
                unit: "ms",
                better: Better::Smaller,
                value,
                samples: phase.corrected.n,
                between: distribution.interval_millis(quantile * 100.0),
            });
        }
    }
    measures
}

/// Lower case, words joined by `-`, the unit last.
fn slug(what: &str, unit: &str) -> String {
    let words = format!("{what} {}", unit.replace('%', "percent").replace("calls/s", "calls per second"));
    let words: Vec<&str> = words.split([' ', '-', '.']).filter(|word| !word.is_empty()).collect();
    words.join("-").to_lowercase()
}
