//! Single calls, step by step: an ordinary one, one of the slowest hundredth, the slowest.

use std::fmt::Write;

use super::{
    chart::{WIDTH, framed, number},
    clean,
};
use crate::report::recorded::{Call, Recorded, Side};

const ROW: f64 = 20.0;
const LEFT: f64 = 130.0;
const RIGHT: f64 = 90.0;
/// Steps that end the set-up; what follows is the hold and the end of a call.
const LAST: [&str; 2] = ["connected", "first media"];

pub(super) fn render(result: &Recorded) -> String {
    let came_up: Vec<&Call> = result.exemplars.iter().filter(|call| call.setup_ms.is_some()).collect();
    let of = |bands: &[&str]| came_up.iter().rev().find(|call| bands.contains(&call.band.as_str())).copied();
    let chosen = [
        ("ordinary", "An ordinary call", of(&["p50"]).or_else(|| of(&["below p50"]))),
        ("tail", "A call at p99", of(&["p99"])),
        ("slowest", "The slowest call", came_up.first().copied()),
    ];
    let mut out = String::new();
    for (id, title, call) in chosen {
        if let Some(call) = call {
            out.push_str(&one(id, title, call));
        }
    }
    if out.is_empty() { out } else { format!("<div class=\"plots\">\n{out}</div>\n") }
}

fn one(id: &str, title: &str, call: &Call) -> String {
    let (mut body, mut y) = (String::new(), 0.0);
    let end = call.sides.iter().filter_map(|side| setup(side).last().map(|(_, at)| *at)).fold(1e-3, f64::max);
    for side in &call.sides {
        let role = side.role.as_deref().unwrap_or("caller");
        let _ = write!(body, "<text x=\"0\" y=\"{:.0}\" font-weight=\"bold\">{}</text>", y + 14.0, clean(role));
        y += ROW;
        let mut before = 0.0;
        for (name, at) in setup(side) {
            row(&mut body, y, &name, (before, at), end);
            (before, y) = (at, y + ROW);
        }
        y += ROW / 2.0;
    }
    let took = call.setup_ms.map_or_else(|| "—".to_owned(), super::super::number);
    let description =
        format!("Set-up {took} ms; each bar is the time since the step before, on one axis to {} ms", number(end));
    framed(id, title, &description, y.max(ROW), &body)
}

fn row(body: &mut String, y: f64, name: &str, (before, at): (f64, f64), end: f64) {
    let place = |value: f64| LEFT + value / end * (WIDTH - LEFT - RIGHT);
    let (start, width) = (place(before), (place(at) - place(before)).max(1.0));
    let _ = write!(body, "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>", LEFT - 8.0, y + 13.0, clean(name));
    let _ = write!(body, "<path class=\"grid\" d=\"M{LEFT} {:.1}H{}\"/>", y + ROW - 2.0, WIDTH - RIGHT);
    let _ = write!(
        body,
        "<rect class=\"f1\" x=\"{start:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{}\"/>",
        y + 2.0,
        ROW - 6.0
    );
    let _ = writeln!(
        body,
        "<text class=\"tick\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">+{} ms</text>",
        WIDTH - 4.0,
        y + 13.0,
        super::super::number(at - before)
    );
}

/// The steps up to the one that makes it a call.
fn setup(side: &Side) -> Vec<(String, f64)> {
    let last = side.steps.iter().rposition(|step| LAST.contains(&step.step.as_str()));
    let steps = side.steps.iter().take(last.map_or(usize::MAX, |last| last + 1));
    steps.map(|step| (step.step.clone(), step.at_ms)).collect()
}
