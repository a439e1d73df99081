//! `loadgen explain RESULT.json`: the waterfall of the worst calls of a run, and of an ordinary one to compare with.

use std::fmt::Write;

use serde_json::{Map, Value};

use crate::report::exemplars;

/// Columns of a bar.
const WIDTH: usize = 48;
/// Steps after which a call is up; what follows is its hold and end.
const END_OF_SETUP: [&str; 2] = ["connected", "first media"];

/// The text for `result`, with at most `worst` slow calls and as many that failed.
pub fn render(result: &Value, worst: usize) -> Result<String, String> {
    if result["schema"].as_str().is_none_or(|schema| !schema.starts_with("loadgen.run/")) {
        return Err("not a result of `loadgen run --json`".to_owned());
    }
    let calls = exemplars::of(result);
    let failed = |call: &&&Map<String, Value>| call["band"] == "failed";
    let slow: Vec<_> = calls.iter().filter(|call| !failed(call)).collect();
    let mut out = String::new();
    heading(&mut out, result, slow.len());
    for (place, call) in slow.iter().take(worst).enumerate() {
        let _ =
            writeln!(out, "\n#{} slowest, {}, set-up {} ms", place + 1, text(&call["band"]), number(&call["setup_ms"]));
        sides(&mut out, call);
    }
    let ordinary = slow.iter().skip(worst).find(|call| call["band"] == "p50" || call["band"] == "below p50");
    if let Some(call) = ordinary {
        let _ = writeln!(out, "\nan ordinary call, {}, set-up {} ms", text(&call["band"]), number(&call["setup_ms"]));
        sides(&mut out, call);
    }
    for call in calls.iter().filter(failed).take(worst) {
        let _ = writeln!(out, "\nfailed: {}", text(&call["cause"]));
        sides(&mut out, call);
    }
    Ok(out)
}

fn heading(out: &mut String, result: &Value, kept: usize) {
    let setup = &result["phases"]["setup"]["corrected"];
    let _ = writeln!(
        out,
        "seed {}  schedule {}  {}\ncall set-up p50 {} p99 {} max {} ms of {} calls, {kept} kept whole",
        result["seed"],
        text(&result["schedule_hash"]),
        text(&result["verdict"]["word"]),
        number(&setup["p50"]),
        number(&setup["p99"]),
        number(&setup["max"]),
        setup["n"],
    );
    if kept == 0 {
        let _ = writeln!(out, "no call came up in the measured window");
    }
}

fn sides(out: &mut String, call: &Map<String, Value>) {
    for side in call["sides"].as_array().into_iter().flatten() {
        let role = side["role"].as_str().unwrap_or("alone");
        let _ = write!(out, "  caller {} ({role}, {})", side["caller"], text(&side["level"]));
        let _ = write!(out, ", due at {:.3} s", side["intended_secs"].as_f64().unwrap_or(0.0));
        for (key, what) in [
            ("requeued", "requeued"),
            ("turn_retransmissions", "TURN retransmissions"),
            ("check_retransmissions", "checks repeated"),
        ] {
            if side[key].as_u64().is_some_and(|times| times > 0) {
                let _ = write!(out, ", {what} {}", side[key]);
            }
        }
        out.push('\n');
        waterfall(out, side);
        media(out, side);
    }
}

/// One line a step: when, how long since the step before, and where in the set-up. The longest gap is marked.
fn waterfall(out: &mut String, side: &Value) {
    let steps: Vec<(&str, f64)> = side["steps"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|step| Some((step["step"].as_str()?, step["at_ms"].as_f64()?)))
        .collect();
    let up = steps.iter().rposition(|(name, _)| END_OF_SETUP.contains(name)).map_or(steps.len(), |last| last + 1);
    let span = steps[..up].last().map_or(1.0, |(_, at)| at.max(1e-3));
    let gap = |index: usize| steps[index].1 - index.checked_sub(1).map_or(0.0, |before| steps[before].1);
    let longest = (0..up).max_by(|a, b| gap(*a).total_cmp(&gap(*b)));
    for (index, (name, at)) in steps.iter().enumerate() {
        let before = at - gap(index);
        let bar = if index < up { bar(before / span, at / span) } else { String::new() };
        let mark = if longest == Some(index) { "  ◄ longest" } else { "" };
        let line = format!("    {at:>10.2} ms  {:>+10.2}  {name:<16}{bar}{mark}", gap(index));
        let _ = writeln!(out, "{}", line.trim_end());
    }
}

fn bar(from: f64, to: f64) -> String {
    let column = |share: f64| ((share * WIDTH as f64).round() as usize).min(WIDTH);
    let (from, to) = (column(from), column(to));
    format!("{}{}", "·".repeat(from), "█".repeat(to.saturating_sub(from).max(1)))
}

fn media(out: &mut String, side: &Value) {
    let media = &side["media"];
    if media.is_object() {
        let _ = writeln!(
            out,
            "    heard {} packets, {} lost, {} late; jitter {} ms, one-way delay {} ms",
            media["received"],
            media["lost"],
            media["late"],
            number(&media["jitter_ms"]),
            number(&media["delay_ms"]),
        );
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("—")
}

fn number(value: &Value) -> String {
    value.as_f64().map_or_else(|| "—".to_owned(), |value| format!("{value:.2}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn call(band: &str, setup: f64, cause: Option<&str>) -> Value {
        json!({ "band": band, "setup_ms": (setup > 0.0).then_some(setup), "cause": cause, "sides": [{
            "caller": 7, "role": "offerer", "level": "B1", "intended_secs": 1.5, "requeued": 0,
            "turn_retransmissions": 2, "check_retransmissions": 0, "media": null,
            "steps": [
                { "step": "started", "at_ms": 0.1 }, { "step": "welcome", "at_ms": 2.0 },
                { "step": "matched", "at_ms": setup / 2.0 }, { "step": "connected", "at_ms": setup },
                { "step": "freed", "at_ms": setup + 3000.0 }],
        }]})
    }

    fn result(calls: &[Value]) -> Value {
        json!({ "schema": "loadgen.run/1", "seed": 42, "schedule_hash": "abc", "verdict": { "word": "PASS" },
            "phases": { "setup": { "corrected": { "p50": 1.0, "p99": 2.0, "max": 3.0, "n": 9 } } }, "exemplars": calls })
    }

    #[test]
    fn the_worst_come_first_then_an_ordinary_one_then_failures() {
        let calls = [
            call("p99", 900.0, None),
            call("p99", 800.0, None),
            call("p90", 100.0, None),
            call("p50", 20.0, None),
            call("failed", 0.0, Some("connect")),
        ];
        let text = render(&result(&calls), 2).unwrap();
        let at = |what: &str| text.find(what).unwrap_or_else(|| panic!("{what}: {text}"));
        assert!(at("#1 slowest, p99, set-up 900.00") < at("#2 slowest, p99, set-up 800.00"));
        assert!(at("#2 slowest") < at("an ordinary call, p50") && at("an ordinary call") < at("failed: connect"));
        assert!(!text.contains("100.00"), "only as many as were asked for: {text}");
        assert!(text.contains("TURN retransmissions 2"));
    }

    #[test]
    fn the_longest_step_of_the_set_up_is_marked_and_the_hold_is_not() {
        let text = render(&result(&[call("p99", 900.0, None)]), 1).unwrap();
        let marked: Vec<&str> = text.lines().filter(|line| line.ends_with("◄ longest")).collect();
        assert_eq!(marked.len(), 1);
        assert!(marked[0].contains("connected") && marked[0].contains("+450.00"), "{text}");
        let freed = text.lines().find(|line| line.contains("freed")).unwrap();
        assert!(freed.contains("+3000.00") && !freed.contains('█'));
    }

    #[test]
    fn anything_else_is_refused() {
        assert!(render(&json!({}), 3).is_err());
        assert!(render(&result(&[]), 3).unwrap().contains("no call came up"));
    }
}
