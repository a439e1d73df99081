//! When callers arrive: a pure function of the seed and the shape, on one intended-start clock.
//!
//! The schedule is exact, not a grid: caller `i` starts where the integral of the arrival rate reaches `Γ_i`, the sum of
//! `i` unit exponentials (Poisson) or `i` itself (constant). Nothing at run time can move it, so a start that comes late
//! is lag that is measured, and one that cannot happen is a dropped arrival that is counted.

pub mod followed;
mod shape;

use std::time::Duration;

use rand::RngCore;
use rand_chacha::{ChaCha12Rng, rand_core::SeedableRng};
use sha2::{Digest, Sha256};

use crate::{slice::Slice, time::Nanos};
pub use shape::{Piece, Shape};

/// The most callers one schedule may hold; more is a mistake in the scenario.
pub const MAX_ARRIVALS: usize = 20_000_000;
/// The highest rate, calls a second.
pub const MAX_RATE: f64 = 100_000.0;

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
    /// Callers arriving for `length` as `pieces` of callers a second say, from `seed`.
    pub fn new(seed: u64, spread: Spread, pieces: &[Piece], length: Duration) -> Schedule {
        let mut random = ChaCha12Rng::seed_from_u64(seed);
        let mut next = || match spread {
            Spread::Poisson => unit_exponential(&mut random),
            Spread::Constant => 1.0,
        };
        let end = length.as_secs_f64();
        let (mut starts, mut wanted) = (Vec::new(), next());
        let (mut begun, mut passed) = (0.0, 0.0);
        for piece in pieces {
            while starts.len() < MAX_ARRIVALS && wanted - passed < piece.area() {
                let at = begun + piece.time_of(wanted - passed);
                if at >= end {
                    return Schedule { starts };
                }
                starts.push(Nanos((at * 1e9) as u64));
                wanted += next();
            }
            begun += piece.length;
            passed += piece.area();
        }
        Schedule { starts }
    }

    /// The starts a trace lists: seconds, one caller a line, in order; `#` begins a comment. Those from `length` on are
    /// left out.
    pub fn replay(trace: &str, length: Duration) -> Result<Schedule, String> {
        let mut starts: Vec<Nanos> = Vec::new();
        for (number, line) in (1..).zip(trace.lines()) {
            let text = line.split('#').next().unwrap_or("").trim();
            if text.is_empty() {
                continue;
            }
            let seconds = text.parse().ok().filter(|at: &f64| at.is_finite() && *at >= 0.0);
            let at =
                Nanos((seconds.ok_or_else(|| format!("line {number}: {text:?} is no time in seconds"))? * 1e9) as u64);
            if starts.last().is_some_and(|last| at < *last) {
                return Err(format!("line {number}: {text} lies before the line above"));
            }
            if starts.len() == MAX_ARRIVALS {
                return Err(format!("line {number}: more than {MAX_ARRIVALS} callers"));
            }
            if at < Nanos::ZERO.after(length) {
                starts.push(at);
            }
        }
        Ok(Schedule { starts })
    }

    /// The first start of each of `users`, evenly spread over `length`.
    pub fn closed(users: u32, length: Duration) -> Schedule {
        let step = length.as_nanos() as u64 / u64::from(users.max(1));
        Schedule { starts: (0..u64::from(users)).map(|user| Nanos(user * step)).collect() }
    }

    pub fn starts(&self) -> &[Nanos] {
        &self.starts
    }

    /// The callers a generator starts, each with its number in the whole schedule: all, or those of its slice.
    pub fn of(&self, slice: Option<Slice>) -> Vec<(u32, Nanos)> {
        let numbered = (0..).zip(self.starts.iter().copied());
        numbered.filter(|(number, _)| slice.is_none_or(|slice| slice.takes(*number))).collect()
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

    fn flat(callers_per_second: f64) -> [Piece; 1] {
        [Piece { length: f64::INFINITY, from: callers_per_second, to: callers_per_second }]
    }

    fn counts_per_second(schedule: &Schedule) -> Vec<f64> {
        let mut counts = vec![0.0; 3600];
        for start in schedule.starts() {
            counts[(start.0 / 1_000_000_000) as usize] += 1.0;
        }
        counts
    }

    #[test]
    fn the_same_seed_gives_a_byte_identical_schedule() {
        let one = Schedule::new(42, Spread::Poisson, &flat(120.0), Duration::from_secs(20));
        let two = Schedule::new(42, Spread::Poisson, &flat(120.0), Duration::from_secs(20));
        assert_eq!(one, two);
        assert_eq!(one.hash(), two.hash());
        assert_ne!(one.hash(), Schedule::new(43, Spread::Poisson, &flat(120.0), Duration::from_secs(20)).hash());
    }

    #[test]
    fn poisson_counts_have_mean_and_variance_equal_to_the_rate() {
        let counts = counts_per_second(&Schedule::new(7, Spread::Poisson, &flat(50.0), HOUR));
        let mean = counts.iter().sum::<f64>() / 3600.0;
        let variance = counts.iter().map(|c| (c - mean).powi(2)).sum::<f64>() / 3599.0;
        assert!((mean - 50.0).abs() < 4.0 * (50.0f64 / 3600.0).sqrt(), "mean {mean}");
        assert!((variance / mean - 1.0).abs() < 0.1, "index of dispersion {}", variance / mean);
    }

    #[test]
    fn poisson_gaps_are_exponential() {
        let schedule = Schedule::new(9, Spread::Poisson, &flat(50.0), HOUR);
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
        let schedule = Schedule::new(1, Spread::Constant, &flat(100.0), Duration::from_secs(10));
        assert_eq!(schedule.starts().len(), 999);
        assert!(schedule.starts().windows(2).all(|pair| pair[1].since(pair[0]).as_nanos().abs_diff(10_000_000) <= 1));
    }

    #[test]
    fn a_longer_run_only_appends_to_a_shorter_one() {
        let short = Schedule::new(3, Spread::Poisson, &flat(10.0), Duration::from_secs(5));
        let long = Schedule::new(3, Spread::Poisson, &flat(10.0), Duration::from_secs(50));
        assert_eq!(short.starts(), &long.starts()[..short.starts().len()]);
    }

    #[test]
    fn a_course_of_several_pieces_is_followed_without_a_seam() {
        let pieces = "spike:5..50@2s+1s".parse::<Shape>().map(|shape| shape.pieces(0.0)).unwrap_or_default();
        let schedule = Schedule::new(1, Spread::Constant, &pieces, Duration::from_secs(4));
        let within = |from: u64, to: u64| {
            let inside = |start: &&Nanos| (from..to).contains(&(start.0 / 1_000_000));
            schedule.starts().iter().filter(inside).count()
        };
        assert_eq!((within(0, 1990), within(2010, 2990), within(3010, 4000)), (9, 49, 4));
        assert!(schedule.starts().windows(2).all(|pair| pair[0] <= pair[1]));
    }

    #[test]
    fn a_poisson_ramp_has_the_counts_of_its_integral() {
        let pieces = [Piece { length: 100.0, from: 0.0, to: 200.0 }];
        let schedule = Schedule::new(5, Spread::Poisson, &pieces, Duration::from_secs(100));
        for quarter in 1..=4u64 {
            let until = Nanos(quarter * 25_000_000_000);
            let count = schedule.starts().iter().filter(|start| **start < until).count() as f64;
            let expected = (quarter as f64 * 25.0).powi(2);
            assert!((count - expected).abs() < 5.0 * expected.sqrt(), "{count} instead of {expected}");
        }
    }

    #[test]
    fn every_shape_has_a_schedule_of_its_own_that_the_seed_repeats() {
        let schedule = |text: &str, spread| {
            let shape = text.parse::<Shape>().unwrap_or(Shape::Steady);
            Schedule::new(11, spread, &shape.pieces(20.0), Duration::from_secs(20)).hash()
        };
        let mut seen = std::collections::BTreeSet::new();
        for text in ["steady", "ramp:5..40/10s", "steps:5,10,20x4s", "spike:5..50@3s+2s"] {
            for spread in [Spread::Poisson, Spread::Constant] {
                assert_eq!(schedule(text, spread), schedule(text, spread));
                assert!(seen.insert(schedule(text, spread)), "{text}");
            }
        }
    }

    #[test]
    fn a_trace_is_replayed_to_the_nanosecond_and_refused_where_it_is_wrong() {
        let minute = Duration::from_secs(60);
        let schedule = Schedule::replay("# seconds\n0\n0.25 # twice\n0.25\n\n59.5\n61\n", minute)
            .unwrap_or_else(|e| panic!("{e}"));
        let starts: Vec<u64> = schedule.starts().iter().map(|start| start.0).collect();
        assert_eq!(starts, [0, 250_000_000, 250_000_000, 59_500_000_000]);
        for (trace, line) in [("1\nx\n", "line 2"), ("1\n0.5\n", "line 2"), ("-1\n", "line 1"), ("inf\n", "line 1")] {
            assert!(Schedule::replay(trace, minute).is_err_and(|error| error.starts_with(line)), "{trace}");
        }
    }

    #[test]
    fn a_closed_population_comes_in_one_by_one() {
        let starts: Vec<u64> = Schedule::closed(4, Duration::from_secs(2)).starts().iter().map(|s| s.0).collect();
        assert_eq!(starts, [0, 500_000_000, 1_000_000_000, 1_500_000_000]);
    }
}
