//! A limit as JSON, and for people.

use serde_json::{Value, json};

use super::{Found, Point};
use crate::{host::environment, scenario::Scenario};

/// Name and version of the shape.
pub const SCHEMA: &str = "loadgen.limit/1";

/// The published schema (JSON Schema, draft 2020-12) of that shape.
pub const PUBLISHED: &str = include_str!("../../docs/loadgen.limit.1.schema.json");

pub fn render(found: &Found, scenario: &Scenario, target: &str) -> Value {
    let hold = scenario.hold.mean().as_secs_f64();
    let ends = |scale: f64| json!({ "low": found.low.map(|low| low * scale), "high": found.servers_high().map(|high| high * scale) });
    json!({
        "schema": SCHEMA,
        "loadgen": env!("CARGO_PKG_VERSION"),
        "target": target,
        "seed": scenario.seed,
        "objectives": scenario.objectives.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "mean_hold_secs": hold,
        "cps": ends(1.0),
        "bhca": ends(3600.0),
        "erlang": ends(hold),
        "generator_cps": found.generators_high(),
        "confirmed": found.confirmed,
        "limit": found.who.map(|who| who.name()),
        "reasons": found.reasons,
        "environment": environment().into_iter().map(|(key, value)| (key.to_owned(), Value::from(value)))
            .collect::<serde_json::Map<_, _>>(),
        "points": found.points.iter().map(point).collect::<Vec<_>>(),
    })
}

fn point(of: &Point) -> Value {
    json!({
        "purpose": of.purpose,
        "offered": of.offered,
        "carried": of.carried,
        "success": of.success,
        "setup_p50_ms": of.p50,
        "setup_p99_ms": of.p99,
        "verdict": of.held.name(),
        "limit": of.who.map(|who| who.name()),
        "reasons": of.reasons,
        "server_processors": of.server_processors,
        "generator_headroom": of.headroom,
        "machine_stolen": of.stolen,
    })
}

/// One point on one line.
pub fn line(of: &Point) -> String {
    let millis = |value: Option<f64>| value.map_or_else(|| "—".to_owned(), |value| format!("{value:.1}"));
    let why = of.reasons.first().map_or_else(String::new, |reason| format!(": {reason}"));
    format!(
        "{:<12} offered {:>7.1}/s  carried {:>7.1}/s  success {:>6.2} %  set-up p50 {:>6} p99 {:>7} ms  {}{why}",
        of.purpose,
        of.offered,
        of.carried,
        of.success * 100.0,
        millis(of.p50),
        millis(of.p99),
        of.held.name(),
    )
}

/// The answer in words.
pub fn words(found: &Found, scenario: &Scenario) -> String {
    let hold = scenario.hold.mean().as_secs_f64();
    let round = |value: f64| if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.1}") };
    let ends = |scale: f64| match (found.low, found.servers_high()) {
        (Some(low), Some(high)) => format!("{}–{}", round(low * scale), round(high * scale)),
        (Some(low), None) => format!("{} or more", round(low * scale)),
        (None, Some(high)) => format!("less than {}", round(high * scale)),
        (None, None) => "unknown".to_owned(),
    };
    let objectives: Vec<String> = scenario.objectives.iter().map(ToString::to_string).collect();
    let mut text = format!(
        "{} CPS  ({} BHCA, {} Erlang at a mean hold of {hold} s)  at {}",
        ends(1.0),
        ends(3600.0),
        ends(hold),
        objectives.join(", ")
    );
    if let Some(who) = found.who {
        let at = found.generators_high().map_or_else(String::new, |high| format!(", at {} CPS", round(high)));
        text.push_str(&format!("\nwhat gave out: {}{at}", who.name()));
    }
    for reason in &found.reasons {
        text.push_str(&format!("\n  {reason}"));
    }
    if !found.confirmed {
        text.push_str("\nnot confirmed: the time was up, or one end would not hold still; --at-most gives more time");
    }
    text
}
