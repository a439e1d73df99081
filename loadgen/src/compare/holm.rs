//! Holm's step-down correction: with several metrics gated, one of them looks bad by chance more often than one in twenty.

/// The p of each as if it were the only one: below α after this, the family as a whole errs at most α of the time.
pub fn adjusted(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|a, b| p[*a].total_cmp(&p[*b]));
    let (mut adjusted, mut least) = (vec![1.0; p.len()], 0.0f64);
    for (step, index) in order.into_iter().enumerate() {
        least = least.max(p[index] * (p.len() - step) as f64).min(1.0);
        adjusted[index] = least;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Holm's own example shape, as R's p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm") prints it.
    #[test]
    fn adjusted_values_are_those_of_r() {
        let ours = adjusted(&[0.01, 0.04, 0.03, 0.005]);
        for (ours, golden) in ours.into_iter().zip([0.03, 0.06, 0.06, 0.02]) {
            assert!((ours - golden).abs() < 1e-12, "{ours} {golden}");
        }
        assert_eq!(adjusted(&[0.7, 0.9]), [1.0, 1.0]);
        assert!(adjusted(&[]).is_empty());
    }
}
