//! The run second by second: load, calls at the same time, set-up of the calls that were due, processors.

use super::chart::{Axis, Chart};
use crate::report::{
    csv::pairs,
    recorded::{Numbers, Recorded, Row},
};

pub(super) fn render(result: &Recorded) -> String {
    if result.seconds.len() < 3 {
        return String::new();
    }
    let plots = [load(result), calls(result), setup(result), processors(result)].concat();
    let changed = result.manual_changes.iter().map(|change| {
        format!("<li>at {:.1} s to {:.0} % of the scheduled rate</li>\n", change.t, change.factor * 100.0)
    });
    let changed: String = changed.collect();
    let changed =
        if changed.is_empty() { changed } else { format!("<h3>Changed by hand</h3>\n<ul>\n{changed}</ul>\n") };
    format!(
        "<p>Seconds count from the start of the schedule; what does not belong to the measured window is shaded.</p>\n\
         <div class=\"plots\">\n{plots}</div>\n{changed}"
    )
}

fn chart(result: &Recorded, id: &str, title: &str, description: &str, y: &Axis<'_>) -> Chart {
    let last = result.seconds.last().map_or(1.0, |row| row.t as f64);
    let mut chart = Chart::new(id, title, description, &Axis::linear("s", 0.0, last), y);
    let from = result.warmup_secs();
    chart.shade(0.0, from);
    chart.shade(from + result.measured_secs, last);
    result.manual_changes.iter().for_each(|change| chart.mark(change.t));
    chart
}

/// One value a second, from a second and the one before it.
fn series(result: &Recorded, value: impl Fn(&Row, &Row) -> Option<f64>) -> Vec<(f64, Option<f64>)> {
    pairs(&result.seconds).map(|(before, now)| (now.t as f64, value(before, now))).collect()
}

fn highest(series: &[&[(f64, Option<f64>)]]) -> f64 {
    series.iter().flat_map(|points| points.iter()).filter_map(|(_, value)| *value).fold(1.0, f64::max) * 1.08
}

fn rate(before: &Row, now: &Row, counter: impl Fn(&Row) -> f64) -> f64 {
    (counter(now) - counter(before)).max(0.0) / (now.t - before.t).max(1) as f64
}

fn load(result: &Recorded) -> String {
    let per_call = result.callers_per_call();
    let offered = series(result, |before, now| Some(rate(before, now, |row| row.arrived as f64) / per_call));
    let up = series(result, |before, now| Some(rate(before, now, |row| row.calls_up as f64)));
    let failed = series(result, |before, now| Some(rate(before, now, |row| row.failed as f64)));
    let y = Axis::linear("calls/s", 0.0, highest(&[&offered, &up, &failed]));
    let mut chart = chart(
        result,
        "load",
        "Offered and achieved",
        "Calls a second that were due, that came up, and attempts that failed",
        &y,
    );
    chart.curve("offered", 1, offered);
    chart.curve("came up", 3, up);
    chart.curve("failed", 2, failed);
    chart.figure()
}

fn calls(result: &Recorded) -> String {
    let calls = series(result, |_, now| Some(now.calls as f64));
    let waiting = series(result, |_, now| Some(now.waiting as f64));
    let callers = series(result, |_, now| Some(now.callers as f64));
    let y = Axis::linear("at once", 0.0, highest(&[&calls, &waiting, &callers]));
    let mut chart =
        chart(result, "calls", "At the same time", "Calls up, callers waiting for a partner, and all callers", &y);
    chart.curve("calls", 1, calls);
    chart.curve("waiting", 2, waiting);
    chart.curve("callers", 4, callers);
    chart.figure()
}

fn setup(result: &Recorded) -> String {
    let of = |value: fn(&Numbers) -> Option<f64>| -> Vec<(f64, Option<f64>)> {
        result.by_start.iter().map(|due| (due.t as f64 + 0.5, due.setup.as_ref().and_then(value))).collect()
    };
    let (median, high, max) = (of(|of| of.p50), of(|of| of.p90), of(|of| of.max));
    let known: Vec<f64> = [&median, &max].into_iter().flatten().filter_map(|(_, value)| *value).collect();
    if known.is_empty() {
        return String::new();
    }
    let lowest = known.iter().copied().fold(f64::INFINITY, f64::min);
    let y = Axis::log("ms", lowest, known.iter().copied().fold(0.0, f64::max));
    let mut chart = chart(
        result,
        "setup",
        "Call set-up by start",
        "By the second in which the later caller was due, from the intended start; logarithmic",
        &y,
    );
    chart.curve("p50", 1, median);
    chart.curve("p90", 2, high);
    chart.curve("max", 4, max);
    chart.figure()
}

fn processors(result: &Recorded) -> String {
    let generator = series(result, |before, now| Some(rate(before, now, |row| row.generator_cpu_secs) * 100.0));
    let server = series(result, |before, now| {
        before.server_cpu_secs.zip(now.server_cpu_secs)?;
        Some(rate(before, now, |row| row.server_cpu_secs.unwrap_or(0.0)) * 100.0)
    });
    let y = Axis::linear("% of one", 0.0, highest(&[&generator, &server]));
    let mut chart =
        chart(result, "processors", "Processors", "Time on processors of server and generator, per cent of one", &y);
    chart.curve("server", 1, server);
    chart.curve("generator", 2, generator);
    chart.figure()
}
