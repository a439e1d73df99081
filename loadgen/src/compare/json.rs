//! A comparison as JSON.

use serde_json::{Value, json};

use super::{
    Comparison, How,
    judge::Compared,
    metric::{ALL, Better},
    round::Round,
};
use crate::host::environment;

/// Name and version of the shape.
pub const SCHEMA: &str = "loadgen.comparison/1";

/// The published schema (JSON Schema, draft 2020-12) of that shape.
pub const PUBLISHED: &str = include_str!("../../docs/loadgen.comparison.1.schema.json");

pub fn render(of: &Comparison) -> Value {
    let (word, reasons) = of.verdict();
    json!({
        "schema": SCHEMA,
        "loadgen": env!("CARGO_PKG_VERSION"),
        "verdict": { "word": word.name(), "exit_code": word.exit_code(), "reasons": reasons },
        "how": match of.how {
            How::Together => "together",
            How::Apart => "apart",
            How::StoredPairs => "stored pairs",
            How::Stored => "stored",
        },
        "base": of.base,
        "head": of.head,
        "bootstrap_seed": of.seed,
        "environment": environment().into_iter().map(|(key, value)| (key.to_owned(), Value::from(value)))
            .collect::<serde_json::Map<_, _>>(),
        "rounds": { "all": of.of_rounds, "unsound": of.unsound, "fewest_a_side": of.fewest },
        "metrics": of.compared.iter().map(metric).collect::<Vec<_>>(),
        "spread": of.spread,
        "notes": of.notes,
        "pairs": of.pairs.iter().map(|pair| json!({
            "seed": pair.seed,
            "first": if pair.head_first { "head" } else { "base" },
            "base": round(&pair.base),
            "head": round(&pair.head),
        })).collect::<Vec<_>>(),
    })
}

fn metric(of: &Compared) -> Value {
    let finite = |bound: f64| bound.is_finite().then_some(bound);
    json!({
        "metric": of.asked.metric.key,
        "unit": of.asked.metric.unit,
        "better": if of.asked.metric.better == Better::Less { "less" } else { "more" },
        "gated": of.asked.gated,
        "margin": of.asked.margin,
        "finding": of.finding.name(),
        "base": of.base,
        "head": of.head,
        "ratio": of.ratio,
        "low": finite(of.interval.0),
        "high": finite(of.interval.1),
        "p": of.p,
        "p_holm": of.p_holm,
        "deviation": of.deviation,
        "detectable": of.detectable,
        "rounds": of.rounds,
        "far_out": of.far_out,
    })
}

fn round(of: &Round) -> Value {
    let values = ALL.iter().map(|metric| (metric.key.to_owned(), json!(of.value(metric))));
    json!({
        "metrics": values.collect::<serde_json::Map<_, _>>(),
        "generator_faults": of.faults,
        "violations": of.violations,
    })
}
