//! The final table, and its phases side by side on one logarithmic axis: from the median to the 99th percentile.

use std::fmt::Write;

use super::{
    chart::{WIDTH, framed, number},
    millis, table,
};
use crate::report::recorded::{Numbers, Phase, Recorded};

/// Of one row, and of the room to its left.
const ROW: f64 = 24.0;
const LEFT: f64 = 150.0;
const RIGHT: f64 = 28.0;

pub(super) fn render(result: &Recorded) -> String {
    let phases = result.phases();
    if phases.is_empty() {
        return "<p>No phase was measured in the window.</p>\n".to_owned();
    }
    let floor = result.load.match_floor_p99_ms.map_or_else(String::new, |floor| {
        format!("<p>The match wait's floor, set by arrivals alone: p99 {} ms.</p>\n", super::super::number(floor))
    });
    let mut rows: Vec<Vec<String>> =
        phases.iter().map(|phase| row(phase.name, phase.corrected, Some(phase.uncorrected))).collect();
    let media = [
        ("media one-way delay", &result.media.one_way_delay),
        ("media delay variation", &result.media.delay_variation),
        ("media send lateness (generator)", &result.media.send_lateness),
    ];
    rows.extend(media.into_iter().filter(|(_, numbers)| numbers.n > 0).map(|(name, numbers)| row(name, numbers, None)));
    let caption = "Milliseconds from the intended start; — where there are too few samples to say";
    let head = ["phase", "p50", "p90", "p99", "p99.9", "max", "from-send p99", "n"];
    format!("{}{floor}{}", table(caption, &head, &rows), overview(&phases))
}

fn row(name: &str, numbers: &Numbers, uncorrected: Option<&Numbers>) -> Vec<String> {
    let Numbers { p50, p90, p99, p99_9, max, n, .. } = numbers;
    let cells = [*p50, *p90, *p99, *p99_9, *max].map(millis);
    let from_send = uncorrected.map_or_else(|| "—".to_owned(), |numbers| millis(numbers.p99));
    [name.to_owned()].into_iter().chain(cells).chain([from_send, n.to_string()]).collect()
}

/// A bar a phase.
fn overview(phases: &[Phase<'_>]) -> String {
    let known = |phase: &&Phase<'_>| phase.corrected.p50.is_some();
    let shown: Vec<&Phase<'_>> = phases.iter().filter(known).collect();
    let lowest = shown.iter().filter_map(|phase| phase.corrected.p50).fold(f64::INFINITY, f64::min);
    let highest = shown.iter().filter_map(|phase| phase.corrected.max).fold(0.0, f64::max);
    if shown.is_empty() || highest <= 0.0 {
        return String::new();
    }
    let (from, to) = (lowest.max(0.001).log10().floor(), highest.max(0.002).log10().ceil());
    let at = |value: f64| {
        LEFT + (value.max(1e-6).log10() - from).clamp(0.0, to - from) / (to - from).max(1.0) * (WIDTH - LEFT - RIGHT)
    };
    let height = ROW * (shown.len() as f64 + 1.2);
    let mut body = String::new();
    for decade in from as i32..=to as i32 {
        let (x, word) = (at(10f64.powi(decade)), number(10f64.powi(decade)));
        let _ = write!(body, "<path class=\"grid\" d=\"M{x:.1} 0V{}\"/>", height - ROW);
        let _ = write!(
            body,
            "<text class=\"tick\" x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{word} ms</text>",
            height - 6.0
        );
    }
    for (index, phase) in shown.iter().enumerate() {
        let y = index as f64 * ROW + 4.0;
        let Numbers { p50, p99, max, .. } = phase.corrected;
        let (start, end) = (at(p50.unwrap_or(0.0)), at(p99.or(*max).unwrap_or(0.0)));
        let _ =
            write!(body, "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>", LEFT - 8.0, y + 13.0, phase.name);
        let _ = write!(
            body,
            "<rect class=\"f1\" x=\"{start:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"16\" rx=\"2\"/>",
            (end - start).max(2.0)
        );
        let worst = at(max.unwrap_or(0.0));
        let _ = writeln!(body, "<path class=\"curve s2 solid\" d=\"M{worst:.1} {y:.1}v16\"/>");
    }
    let description =
        "A bar from p50 to p99 (to the maximum where there are too few samples), a line at the maximum; logarithmic";
    framed("overview", "Phases side by side", description, height, &body)
}
