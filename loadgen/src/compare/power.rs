//! What so many rounds can find, and how many a change of some size needs (loadtest.md §4.3).

/// How often a real change of the detectable size is found.
const POWER: f64 = 0.80;

/// The smallest relative change for the worse that `rounds` find eight times of ten, at one-sided `alpha`, with the deviation
/// `sigma` of the logarithm of one pair's ratio.
pub fn detectable(sigma: f64, rounds: usize, margin: f64, alpha: f64) -> f64 {
    let reach = (normal(1.0 - alpha) + normal(POWER)) * sigma / (rounds.max(1) as f64).sqrt();
    (margin.ln_1p() + reach).exp_m1()
}

/// Rounds that find `change` eight times of ten; none for a change that does not exceed the margin.
pub fn rounds_needed(sigma: f64, change: f64, margin: f64, alpha: f64) -> Option<usize> {
    let above = change.ln_1p() - margin.ln_1p();
    let root = (normal(1.0 - alpha) + normal(POWER)) * sigma / above;
    (above > 0.0).then(|| (root * root).ceil().max(1.0) as usize)
}

/// Standard deviation of a sample; none of fewer than two.
pub fn deviation(values: &[f64]) -> Option<f64> {
    if values.len() < 2 {
        return None;
    }
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    Some((squares / (values.len() - 1) as f64).sqrt())
}

/// The standard normal's quantile for `p` ≥ ½ (Abramowitz and Stegun 26.2.23, within 4.5e-4).
fn normal(p: f64) -> f64 {
    let t = (-2.0 * (1.0 - p).ln()).sqrt();
    let above = 2.515_517 + t * (0.802_853 + t * 0.010_328);
    let below = 1.0 + t * (1.432_788 + t * (0.189_269 + t * 0.001_308));
    t - above / below
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_tables() {
        for (p, golden) in [(0.8, 0.8416), (0.95, 1.6449), (0.975, 1.9600), (0.99, 2.3263)] {
            assert!((normal(p) - golden).abs() < 5e-4, "{p}");
        }
    }

    /// loadtest.md §4.3 without a margin: σ 10 % needs 7 pairs for 10 %; 5 % and 2 % need 25 and 155 there, where the
    /// change itself stands for its logarithm.
    #[test]
    fn rounds_needed_are_the_published_ones() {
        assert_eq!(rounds_needed(0.10, 0.10, 0.0, 0.05), Some(7));
        assert_eq!(rounds_needed(0.10, 0.05f64.exp_m1(), 0.0, 0.05), Some(25));
        assert_eq!(rounds_needed(0.10, 0.02f64.exp_m1(), 0.0, 0.05), Some(155));
        assert_eq!(rounds_needed(0.05, 0.10f64.exp_m1(), 0.0, 0.05), Some(2));
        assert_eq!(rounds_needed(0.05, 0.02, 0.03, 0.05), None);
    }

    #[test]
    fn what_is_detectable_is_what_those_rounds_find() {
        let change = detectable(0.04, 9, 0.03, 0.05);
        assert_eq!(rounds_needed(0.04, change * 1.000_01, 0.03, 0.05), Some(9));
        assert!(change > 0.03 && detectable(0.0, 9, 0.03, 0.05) - 0.03 < 1e-9);
        assert_eq!(deviation(&[1.0]), None);
        assert!((deviation(&[1.0, 2.0, 3.0]).unwrap_or(0.0) - 1.0).abs() < 1e-12);
    }
}
