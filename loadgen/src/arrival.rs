//! When callers arrive: a pure function of the seed and the shape, on one intended-start clock.
//!
//! The schedule is exact, not a grid: caller `i` starts where the integral of the arrival rate reaches `Γ_i`, the sum of
//! `i` unit exponentials (Poisson) or `i` itself (constant). Nothing at run time can move it, so a start that comes late
//! is lag that is measured, and one that cannot happen is a dropped arrival that is counted.

use std::time::Duration;

use rand::RngCore;
use rand_chacha::{ChaCha12Rng, rand_core::SeedableRng};
use sha2::{Digest, Sha256};

use crate::time::Nanos;

/// The most callers one schedule may hold; more is a mistake in the scenario.
pub const MAX_ARRIVALS: usize = 20_000_000;

/// How intended starts are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// Independent strangers: exponential gaps.
    Poisson,
    /// Evenly spaced, for calibration.
    Constant,
}

/// The intended starts of every caller of a run, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    starts: Vec<Nanos>,
}

impl Schedule {
    /// Callers arriving at `per_second` for `length`, from `seed`.
    pub fn new(seed: u64, spread: Spread, per_second: f64, length: Duration) -> Schedule {
        let mut random = ChaCha12Rng::seed_from_u64(seed);
        let end = length.as_secs_f64();
        let mut starts = Vec::new();
        let mut integral = 0.0;
        while starts.len() < MAX_ARRIVALS {
            integral += match spread {
                Spread::Poisson => unit_exponential(&mut random),
                Spread::Constant => 1.0,
            };
            let at = integral / per_second;
            if at >= end {
                break;
            }
            starts.push(Nanos((at * 1e9) as u64));
        }
        Schedule { starts }
    }

    pub fn starts(&self) -> &[Nanos] {
        &self.starts
    }

    /// First eight bytes of SHA-256 over the starts: the same seed and shape give the same sixteen digits.
    pub fn hash(&self) -> String {
        let mut hasher = Sha256::new();
        for start in &self.starts {
            hasher.update(start.0.to_le_bytes());
        }
        hasher.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }
}

/// One draw of an exponential with mean 1.
pub fn unit_exponential(random: &mut impl RngCore) -> f64 {
    -(1.0 - unit(random)).ln()
}

/// One draw from [0, 1) with 53 bits.
pub fn unit(random: &mut impl RngCore) -> f64 {
    (random.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn counts_per_second(schedule: &Schedule) -> Vec<f64> {
        let mut counts = vec![0.0; 3600];
        for start in schedule.starts() {
            counts[(start.0 / 1_000_000_000) as usize] += 1.0;
        }
        counts
    }

    #[test]
    fn the_same_seed_gives_a_byte_identical_schedule() {
        let one = Schedule::new(42, Spread::Poisson, 120.0, Duration::from_secs(20));
        let two = Schedule::new(42, Spread::Poisson, 120.0, Duration::from_secs(20));
        assert_eq!(one, two);
        assert_eq!(one.hash(), two.hash());
        assert_ne!(one.hash(), Schedule::new(43, Spread::Poisson, 120.0, Duration::from_secs(20)).hash());
    }

    #[test]
    fn poisson_counts_have_mean_and_variance_equal_to_the_rate() {
        let counts = counts_per_second(&Schedule::new(7, Spread::Poisson, 50.0, HOUR));
        let mean = counts.iter().sum::<f64>() / 3600.0;
        let variance = counts.iter().map(|c| (c - mean).powi(2)).sum::<f64>() / 3599.0;
        assert!((mean - 50.0).abs() < 4.0 * (50.0f64 / 3600.0).sqrt(), "mean {mean}");
        assert!((variance / mean - 1.0).abs() < 0.1, "index of dispersion {}", variance / mean);
    }

    #[test]
    fn poisson_gaps_are_exponential() {
        let schedule = Schedule::new(9, Spread::Poisson, 50.0, HOUR);
        let gaps: Vec<f64> =
            schedule.starts().windows(2).map(|pair| pair[1].since(pair[0]).as_secs_f64() * 50.0).collect();
        for limit in [0.1, 0.5, 1.0, 2.0, 3.0f64] {
            let share = gaps.iter().filter(|gap| **gap <= limit).count() as f64 / gaps.len() as f64;
            let expected = 1.0 - (-limit).exp();
            assert!((share - expected).abs() < 0.005, "P(gap ≤ {limit}) = {share}, expected {expected}");
        }
    }

    #[test]
    fn constant_arrivals_are_evenly_spaced_and_neither_lost_nor_added() {
        let schedule = Schedule::new(1, Spread::Constant, 100.0, Duration::from_secs(10));
        assert_eq!(schedule.starts().len(), 999);
        assert!(schedule.starts().windows(2).all(|pair| pair[1].since(pair[0]).as_nanos().abs_diff(10_000_000) <= 1));
    }

    #[test]
    fn a_longer_run_only_appends_to_a_shorter_one() {
        let short = Schedule::new(3, Spread::Poisson, 10.0, Duration::from_secs(5));
        let long = Schedule::new(3, Spread::Poisson, 10.0, Duration::from_secs(50));
        assert_eq!(short.starts(), &long.starts()[..short.starts().len()]);
    }
}
