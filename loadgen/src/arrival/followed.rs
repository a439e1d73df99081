//! A schedule as it is followed: as written, or at a multiple of its rate from some moment on, because somebody asked for
//! it while the run lasted. Pure: told the time, it says who is due next and when.
//!
//! Arrivals lie where the integral of the rate reaches the sums that the seed gave (see [`super::Schedule`]). A factor
//! stretches the integral, not the sums: what was Poisson stays Poisson, and a schedule that nobody touches stays exact.

use std::time::Duration;

use super::{Piece, Schedule, Spread};
use crate::time::Nanos;

/// Factors of the scheduled rate that can be asked for.
pub const FACTORS: (f64, f64) = (0.05, 20.0);

/// What a schedule was made from, to make more of it.
#[derive(Clone, Debug)]
pub struct Recipe {
    pub seed: u64,
    pub spread: Spread,
    /// Callers a second.
    pub pieces: Vec<Piece>,
    pub length: Duration,
}

/// Who is due, in time since the start of the schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    At(u32, Nanos),
    /// Nobody until the rate changes.
    Paused,
    Over,
}

/// See the module's text.
#[derive(Debug)]
pub struct Followed {
    starts: Vec<(u32, Nanos)>,
    next: usize,
    /// None for a schedule whose rate cannot be changed.
    recipe: Option<Recipe>,
    altered: Option<Altered>,
}

/// From `at` seconds on, when `used` of the seed's sums were reached, `factor` times the rate.
#[derive(Clone, Copy, Debug)]
struct Altered {
    at: f64,
    used: f64,
    factor: f64,
}

impl Followed {
    pub fn new(starts: Vec<(u32, Nanos)>, recipe: Option<Recipe>) -> Followed {
        Followed { starts, next: 0, recipe, altered: None }
    }

    /// Whether [`Followed::change`] does anything.
    pub fn is_adjustable(&self) -> bool {
        self.recipe.is_some()
    }

    /// Who is due next; [`Followed::advance`] when that has happened.
    pub fn upcoming(&mut self) -> Next {
        if self.next >= self.starts.len() && self.altered.is_some() {
            self.extend();
        }
        let Some((number, at)) = self.starts.get(self.next).copied() else { return Next::Over };
        let (Some(altered), Some(recipe)) = (self.altered, &self.recipe) else { return Next::At(number, at) };
        if altered.factor <= 0.0 {
            return Next::Paused;
        }
        let sum = area(&recipe.pieces, at.since(Nanos::ZERO).as_secs_f64());
        let reached = area(&recipe.pieces, altered.at) + (sum - altered.used).max(0.0) / altered.factor;
        match moment(&recipe.pieces, reached) {
            Some(seconds) => Next::At(number, Nanos((seconds * 1e9) as u64)),
            None => Next::Over,
        }
    }

    pub fn advance(&mut self) {
        self.next += 1;
    }

    /// From `now` on, `factor` times the rate of the schedule; 0 pauses it. False where the rate cannot be changed.
    pub fn change(&mut self, now: Nanos, factor: f64) -> bool {
        let Some(recipe) = &self.recipe else { return false };
        let at = now.since(Nanos::ZERO).as_secs_f64();
        let used = match self.altered {
            None => area(&recipe.pieces, at),
            Some(before) => before.used + before.factor * (area(&recipe.pieces, at) - area(&recipe.pieces, before.at)),
        };
        self.altered = Some(Altered { at, used, factor });
        true
    }

    /// The same seed and shape for twice as long, which only appends.
    fn extend(&mut self) {
        let Some(recipe) = &mut self.recipe else { return };
        recipe.length *= 2;
        let longer = Schedule::new(recipe.seed, recipe.spread, &recipe.pieces, recipe.length);
        self.starts = longer.of(None);
    }
}

/// Arrivals expected until `seconds`.
fn area(pieces: &[Piece], seconds: f64) -> f64 {
    let (mut begun, mut sum) = (0.0, 0.0);
    for piece in pieces {
        let inside = (seconds - begun).clamp(0.0, piece.length);
        sum += (piece.from + piece.rate_after(inside)) / 2.0 * inside;
        begun += piece.length;
        if begun >= seconds {
            break;
        }
    }
    sum
}

/// When so many arrivals are expected; none if never.
fn moment(pieces: &[Piece], wanted: f64) -> Option<f64> {
    let (mut begun, mut passed) = (0.0, 0.0);
    for piece in pieces {
        if wanted - passed < piece.area() {
            return Some(begun + piece.time_of(wanted - passed));
        }
        begun += piece.length;
        passed += piece.area();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arrival::Shape;

    const SECOND: u64 = 1_000_000_000;

    fn followed(shape: &str, spread: Spread) -> (Vec<(u32, Nanos)>, Followed) {
        let pieces = shape.parse::<Shape>().map(|shape| shape.pieces(50.0)).unwrap_or_default();
        let length = Duration::from_secs(20);
        let starts = Schedule::new(3, spread, &pieces, length).of(None);
        let recipe = Recipe { seed: 3, spread, pieces, length };
        (starts.clone(), Followed::new(starts, Some(recipe)))
    }

    /// Everybody due before `until`.
    fn until(followed: &mut Followed, until: u64) -> Vec<(u32, Nanos)> {
        let mut seen = Vec::new();
        while let Next::At(number, at) = followed.upcoming() {
            if at >= Nanos(until) {
                break;
            }
            seen.push((number, at));
            followed.advance();
        }
        seen
    }

    #[test]
    fn a_schedule_nobody_touches_is_followed_to_the_nanosecond() {
        for shape in ["steady", "ramp:5..40/10s", "spike:5..50@3s+2s"] {
            let (starts, mut followed) = followed(shape, Spread::Poisson);
            assert_eq!(until(&mut followed, u64::MAX), starts, "{shape}");
            assert_eq!(followed.upcoming(), Next::Over);
        }
    }

    #[test]
    fn a_factor_multiplies_the_rate_from_then_on_and_the_numbers_go_on() {
        let (_, mut followed) = followed("steady", Spread::Constant);
        let before = until(&mut followed, 10 * SECOND).len();
        assert!(followed.change(Nanos(10 * SECOND), 2.0));
        let after = until(&mut followed, 30 * SECOND);
        assert!((498..=500).contains(&before) && (1998..=2002).contains(&after.len()), "{before} {}", after.len());
        assert!(after.windows(2).all(|pair| pair[1].0 == pair[0].0 + 1 && pair[1].1 > pair[0].1));
    }

    #[test]
    fn a_pause_lets_nobody_in_and_then_goes_on_at_the_rate_the_schedule_has_by_then() {
        let (_, mut followed) = followed("steps:10,100x10s", Spread::Constant);
        until(&mut followed, 5 * SECOND);
        followed.change(Nanos(5 * SECOND), 0.0);
        assert_eq!(followed.upcoming(), Next::Paused);
        followed.change(Nanos(15 * SECOND), 1.0);
        let after = until(&mut followed, 17 * SECOND);
        assert!((198..=202).contains(&after.len()), "{}", after.len());
        assert!(after.iter().all(|(_, at)| *at >= Nanos(15 * SECOND)), "nobody is made up for");
    }

    #[test]
    fn a_change_back_to_the_scheduled_rate_keeps_it() {
        let (_, mut followed) = followed("ramp:10..100/10s", Spread::Poisson);
        for (at, factor) in [(2, 3.0), (4, 1.0)] {
            until(&mut followed, at * SECOND);
            followed.change(Nanos(at * SECOND), factor);
        }
        let rest = until(&mut followed, 20 * SECOND).len() as f64;
        // From 4 s to 10 s the mean of 46 and 100, then 100.
        let expected = 73.0 * 6.0 + 100.0 * 10.0;
        assert!((rest - expected).abs() < 5.0 * expected.sqrt(), "{rest} instead of {expected}");
    }

    #[test]
    fn a_trace_cannot_be_changed() {
        let mut followed = Followed::new(vec![(0, Nanos(5))], None);
        assert!(!followed.change(Nanos(1), 2.0));
        assert_eq!(followed.upcoming(), Next::At(0, Nanos(5)));
    }
}
