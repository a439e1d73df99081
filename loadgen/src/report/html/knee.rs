//! Load against latency: where callers begin to wait, and where the objectives break.

use std::fmt::Write;

use super::{
    chart::{Axis, Chart},
    clean, millis, table,
};
use crate::report::knee::KneePoint;

pub(super) fn render(points: &[KneePoint]) -> String {
    let mut points = points.to_vec();
    points.retain(|point| point.offered_cps.is_finite());
    points.sort_by(|a, b| a.offered_cps.total_cmp(&b.offered_cps));
    if points.is_empty() {
        return "<p>The load stayed the same: <code>--arrivals steps:…</code>, <code>ramp:…</code> or a search for the limit shows where \
                the knee is.</p>\n"
            .to_owned();
    }
    let rows: Vec<Vec<String>> = points.iter().map(row).collect();
    let table = table(
        "What callers met at each load",
        &["offered calls/s", "success", "set-up p50 ms", "set-up p99 ms", "verdict"],
        &rows,
    );
    format!("{}{table}", plot(&points))
}

fn row(point: &KneePoint) -> Vec<String> {
    let success = point.success.map_or_else(|| "—".to_owned(), |success| format!("{:.2} %", success * 100.0));
    let verdict = if point.verdict.is_empty() { "—".to_owned() } else { clean(&point.verdict) };
    vec![format!("{:.1}", point.offered_cps), success, millis(point.setup_p50_ms), millis(point.setup_p99_ms), verdict]
}

fn plot(points: &[KneePoint]) -> String {
    let latencies = || points.iter().flat_map(|point| [point.setup_p50_ms, point.setup_p99_ms]).flatten();
    let highest = latencies().fold(0.0, f64::max);
    if highest <= 0.0 {
        return String::new();
    }
    let most = points.last().map_or(1.0, |point| point.offered_cps);
    let y = Axis::log("ms", latencies().fold(f64::INFINITY, f64::min), highest);
    let description = "Call set-up by offered calls a second; a dot passed, a cross failed, a ring could not be judged";
    let x = Axis::linear("offered calls/s", 0.0, most * 1.05);
    let mut chart = Chart::new("knee-plot", "Load and latency", description, &x, &y);
    let curves = [("p50", 1, latency(points, |p| p.setup_p50_ms)), ("p99", 2, latency(points, |p| p.setup_p99_ms))];
    for (name, style, values) in curves {
        let marks = marks(&chart, points, &values, style);
        chart.curve(name, style, values);
        chart.draw(&marks);
    }
    chart.figure()
}

fn latency(points: &[KneePoint], of: impl Fn(&KneePoint) -> Option<f64>) -> Vec<(f64, Option<f64>)> {
    points.iter().map(|point| (point.offered_cps, of(point))).collect()
}

/// The shape says what the colour does not have to.
fn marks(chart: &Chart, points: &[KneePoint], values: &[(f64, Option<f64>)], style: usize) -> String {
    let mut out = String::new();
    for (point, (cps, value)) in points.iter().zip(values) {
        let Some(value) = value else { continue };
        let (x, y) = (chart.x.at(*cps), chart.y.at(*value));
        let _ = match (point.passed(), point.failed()) {
            (true, _) => write!(out, "<circle class=\"f{style}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"/>"),
            (_, true) => {
                write!(out, "<path class=\"curve s{style} solid\" d=\"M{:.1} {:.1}l9 9m0 -9l-9 9\"/>", x - 4.5, y - 4.5)
            }
            _ => write!(out, "<circle class=\"hollow s{style}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"/>"),
        };
    }
    out
}
