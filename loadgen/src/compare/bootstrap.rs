//! Percentile bootstrap of a median of logarithms of ratios: over pairs, or over two independent sides. Seeded: the same rounds
//! give the same interval.

use rand::RngCore;
use rand_chacha::{ChaCha12Rng, rand_core::SeedableRng};

/// Resamples drawn; two thousand would do.
pub const RESAMPLES: usize = 4000;

/// Medians of all resamples, smallest first.
#[derive(Clone, Debug)]
pub struct Resampled(Vec<f64>);

impl Resampled {
    /// Whole pairs are drawn, so what both rounds of a pair suffered stays together. None without a pair.
    pub fn of_pairs(differences: &[f64], seed: u64) -> Option<Resampled> {
        let mut random = ChaCha12Rng::seed_from_u64(seed);
        Resampled::from(differences, || draw(differences, &mut random))
    }

    /// Each side is drawn by itself: head's median beside base's.
    pub fn of_sides(base: &[f64], head: &[f64], seed: u64) -> Option<Resampled> {
        if head.is_empty() {
            return None;
        }
        let mut random = ChaCha12Rng::seed_from_u64(seed);
        Resampled::from(base, || draw(head, &mut random) - draw(base, &mut random))
    }

    fn from(needed: &[f64], resample: impl FnMut() -> f64) -> Option<Resampled> {
        if needed.is_empty() {
            return None;
        }
        let mut medians: Vec<f64> = std::iter::repeat_with(resample).take(RESAMPLES).collect();
        medians.sort_by(f64::total_cmp);
        Some(Resampled(medians))
    }

    /// The bound below which a share `q` of the resamples lies.
    pub fn quantile(&self, q: f64) -> f64 {
        let at = (q * (self.0.len() - 1) as f64).round() as usize;
        self.0[at.min(self.0.len() - 1)]
    }

    /// One-sided p of "not above `limit`": how many resamples are not.
    pub fn not_above(&self, limit: f64) -> f64 {
        let below = self.0.partition_point(|median| *median <= limit);
        (below + 1) as f64 / (self.0.len() + 1) as f64
    }
}

fn draw(from: &[f64], random: &mut ChaCha12Rng) -> f64 {
    let mut drawn: Vec<f64> = from.iter().map(|_| from[random.next_u32() as usize % from.len()]).collect();
    median(&mut drawn)
}

/// The middle, or half way between the two middles; sorts what it is given.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.is_empty() {
        f64::NAN
    } else if values.len() % 2 == 1 {
        values[middle]
    } else {
        (values[middle - 1] + values[middle]) / 2.0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn medians_of_odd_and_even_lists() {
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&mut [4.0, 1.0, 2.0, 3.0]), 2.5);
    }

    /// Of three values the median of a resample is the smallest with probability 7/27, the middle with 13/27 (by counting
    /// the 27 resamples), so the exact bounds are known.
    #[test]
    fn three_pairs_have_the_bounds_that_counting_gives() {
        let resampled = Resampled::of_pairs(&[0.1, 0.2, 0.3], 1).unwrap();
        assert_eq!((resampled.quantile(0.05), resampled.quantile(0.5), resampled.quantile(0.95)), (0.1, 0.2, 0.3));
        let share = resampled.not_above(0.1);
        assert!((share - 7.0 / 27.0).abs() < 0.03, "{share}");
        let share = resampled.not_above(0.2);
        assert!((share - 20.0 / 27.0).abs() < 0.03, "{share}");
    }

    #[test]
    fn the_same_seed_gives_the_same_interval_and_sides_are_drawn_apart() {
        let values = [0.01, -0.02, 0.03, 0.0, 0.05, -0.01];
        let bounds = |seed| Resampled::of_pairs(&values, seed).unwrap().quantile(0.05);
        assert_eq!(bounds(7), bounds(7));
        let sides = Resampled::of_sides(&[0.0; 4], &[0.1; 4], 3).unwrap();
        assert!((sides.quantile(0.05) - 0.1).abs() < 1e-12 && sides.not_above(0.05) < 0.001);
        assert!(Resampled::of_pairs(&[], 1).is_none() && Resampled::of_sides(&[1.0], &[], 1).is_none());
    }
}
