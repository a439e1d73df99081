//! Latency by percentile, where each nine takes as much room as the one before: from the intended start and, dashed, from
//! the actual one. A curve ends where there are too few samples to say more.

use std::f64::consts::LOG10_2;

use super::chart::{Axis, Chart};
use crate::{
    report::recorded::{Phase, Recorded},
    stats::latency::Distribution,
};

/// The phases worth a plot, in this order.
const SHOWN: [&str; 6] = ["setup", "ttfm", "match", "decision", "allocate", "register"];
/// Points of a curve to a nine.
const POINTS: f64 = 40.0;

pub(super) fn render(result: &Recorded) -> String {
    let plots: String = SHOWN.iter().filter_map(|key| result.phase(key)).map(|phase| plot(&phase)).collect();
    if plots.is_empty() { plots } else { format!("<div class=\"plots\">\n{plots}</div>\n") }
}

fn plot(phase: &Phase<'_>) -> String {
    let (corrected, uncorrected) = (phase.corrected.distribution(), phase.uncorrected.distribution());
    let nines = nines(corrected.len()).max(1.0);
    let lowest = value(&corrected, 0.0).min(value(&uncorrected, 0.0));
    let highest = value(&corrected, nines).max(value(&uncorrected, nines));
    let known = [(0.0, "0"), (LOG10_2, "50"), (1.0, "90"), (2.0, "99"), (3.0, "99.9"), (4.0, "99.99"), (5.0, "99.999")];
    let ticks =
        known.iter().filter(|(at, _)| *at <= nines + 1e-9).map(|(at, word)| (*at, (*word).to_owned())).collect();
    let x = Axis { ticks: Some(ticks), ..Axis::linear("percentile", 0.0, nines) };
    let y = Axis::log("ms", lowest.max(0.01), highest);
    let said = |name: &str, value: Option<f64>| {
        value.map_or_else(String::new, |value| format!(", {name} {} ms", crate::report::number(value)))
    };
    let numbers = phase.corrected;
    let description = format!(
        "{} samples{}{}{}; p99 from the actual start {} ms",
        numbers.n,
        said("p50", numbers.p50),
        said("p99", numbers.p99),
        said("p99.9", numbers.p99_9),
        super::millis(phase.uncorrected.p99),
    );
    let mut chart = Chart::new(&format!("percentiles-{}", phase.key), phase.name, &description, &x, &y);
    chart.curve("from the intended start", 1, curve(&corrected));
    chart.curve("from the actual start", 2, curve(&uncorrected));
    chart.figure()
}

fn curve(of: &Distribution) -> Vec<(f64, Option<f64>)> {
    let end = nines(of.len());
    let steps = (end * POINTS).floor() as u32;
    (0..=steps).map(|step| f64::from(step) / POINTS).map(|nine| (nine, Some(value(of, nine)))).collect()
}

/// Milliseconds at so many nines.
fn value(of: &Distribution, nines: f64) -> f64 {
    let percent = (1.0 - 10f64.powf(-nines)) * 100.0;
    of.value(percent).as_secs_f64() * 1e3
}

/// The nines up to which a percentile has an upper 95 % bound: q = 0.05^(1/n).
fn nines(samples: u64) -> f64 {
    if samples == 0 {
        return 0.0;
    }
    -(-(0.05f64.ln() / samples as f64).exp_m1()).log10()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_ends_where_the_table_shows_a_dash() {
        for (samples, percent) in [(299, 99.0f64), (2995, 99.9), (29_956, 99.99)] {
            let wanted = -(1.0 - percent / 100.0).log10();
            assert!(nines(samples) >= wanted && nines(samples - 2) < wanted, "{samples}: {}", nines(samples));
        }
        assert_eq!(nines(0), 0.0);
    }
}
