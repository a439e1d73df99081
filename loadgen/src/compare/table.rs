//! A comparison for people.

use std::fmt::Write;

use super::{Comparison, judge::Compared};

pub fn render(of: &Comparison) -> String {
    let (word, reasons) = of.verdict();
    let mut text = format!("{}, {}\n  base {}\n  head {}\n\n", of.how.words(), rounds(of), of.base, of.head);
    let _ = writeln!(
        text,
        "{:<14} {:>10} {:>10} {:>7}  {:<15} {:>6} {:>7} {:>11}  finding",
        "", "base", "head", "ratio", "90 % interval", "margin", "p", "detectable"
    );
    for compared in &of.compared {
        let _ = writeln!(text, "{}", line(compared));
    }
    if of.compared.iter().any(|compared| !compared.asked.gated) {
        text.push_str("in brackets: shown, not gated. detectable: the smallest change for the worse so many rounds find 8 times of 10\n");
    }
    for compared in of.compared.iter().filter(|compared| !compared.far_out.is_empty()) {
        let far: Vec<String> = compared.far_out.iter().map(|index| (index + 1).to_string()).collect();
        let _ = writeln!(text, "far out, and kept: {} in pair {}", compared.asked.metric.key, far.join(", "));
    }
    for line in of.spread.iter().chain(&of.notes) {
        let _ = writeln!(text, "{line}");
    }
    let _ = write!(text, "\nVERDICT  {}", word.name());
    for reason in reasons {
        let _ = write!(text, "\n  {reason}");
    }
    text
}

fn rounds(of: &Comparison) -> String {
    let count = if of.pairs.is_empty() { of.of_rounds } else { of.pairs.len() };
    let what = if of.pairs.is_empty() { "rounds" } else { "pairs" };
    format!("{count} {what}, {} of {} rounds with a fault of the generator", of.unsound, of.of_rounds)
}

fn line(of: &Compared) -> String {
    let name = if of.asked.gated { of.asked.metric.key.to_owned() } else { format!("({})", of.asked.metric.key) };
    let with_unit = |value: f64| format!("{} {}", short(value), of.asked.metric.unit).trim_end().to_owned();
    let (low, high) = of.interval;
    let interval =
        if low.is_finite() && high.is_finite() { format!("{low:.3}–{high:.3}") } else { "unknown".to_owned() };
    let detectable = of.detectable.map_or_else(|| "—".to_owned(), |share| format!("{:.1} %", share * 100.0));
    format!(
        "{name:<14} {:>10} {:>10} {:>7.3}  {interval:<15} {:>4.1} % {:>7.4} {detectable:>11}  {}",
        with_unit(of.base),
        with_unit(of.head),
        of.ratio,
        of.asked.margin * 100.0,
        of.p_holm.unwrap_or(of.p),
        of.finding.name(),
    )
}

fn short(value: f64) -> String {
    match value {
        value if value >= 1000.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.3}"),
    }
}
