//! A share of one schedule: several generators without a coordinator each take every n-th caller of it, at one agreed
//! moment, and `loadgen merge` joins what they measured.
//!
//! The server pairs callers of all slices with each other, so about (n − 1)/n of the calls have their sides in two
//! generators. Each keeps its halves and the merge joins them, by the call's name. That needs three things to be shared:
//! the schedule (seed and shape), the names callers go by (drawn from the seed and the moment), and the clock (counted
//! from the moment, see [`crate::time::Clock::from_wall`]).

use std::{
    fmt,
    str::FromStr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The most generators of one run.
pub const MAX_SLICES: u32 = 64;
/// How far ahead the start may lie.
const MAX_AHEAD: Duration = Duration::from_secs(24 * 3600);

/// Which callers of the schedule are this generator's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slice {
    /// From 1 to `of`, as it is written.
    pub number: u32,
    pub of: u32,
}

/// A moment of the wall clock, milliseconds of Unix time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment(pub u64);

/// A slice of a run that begins at a moment all its generators agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    pub slice: Slice,
    pub start_at: Moment,
}

impl Slice {
    /// Whether caller `index` of the schedule is this generator's.
    pub fn takes(self, index: u32) -> bool {
        index % self.of == self.number - 1
    }
}

impl Share {
    /// What the names of callers are drawn from, the same in every generator of the run.
    pub fn run(self, seed: u64, schedule: &str) -> [u8; 16] {
        let digest = Sha256::new()
            .chain_update(b"loadgen slices")
            .chain_update(seed.to_le_bytes())
            .chain_update(schedule)
            .chain_update(self.start_at.0.to_le_bytes())
            .finalize();
        let mut run = [0; 16];
        run.copy_from_slice(&digest[..16]);
        run
    }
}

impl Moment {
    pub fn wall(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.0)
    }

    /// Time from `now` until then; refused if it has passed or is more than a day away.
    pub fn ahead_of(self, now: SystemTime) -> Result<Duration, String> {
        let ahead = self.wall().duration_since(now).map_err(|error| {
            format!(
                "--start-at {self} has passed {:.1} s ago: every generator must know it in time",
                error.duration().as_secs_f64()
            )
        })?;
        if ahead > MAX_AHEAD { Err(format!("--start-at {self} is more than a day away")) } else { Ok(ahead) }
    }
}

impl FromStr for Slice {
    type Err = String;

    fn from_str(text: &str) -> Result<Slice, String> {
        let parsed = text.split_once('/').and_then(|(number, of)| {
            let slice = Slice { number: number.parse().ok()?, of: of.parse().ok()? };
            (1..=MAX_SLICES).contains(&slice.of).then_some(slice).filter(|slice| (1..=slice.of).contains(&slice.number))
        });
        parsed.ok_or_else(|| format!("{text:?}: expected 1/3, 2/3 or 3/3 for one of three, at most {MAX_SLICES}"))
    }
}

impl fmt::Display for Slice {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.number, self.of)
    }
}

impl FromStr for Moment {
    type Err = String;

    /// Unix seconds, or `2026-11-22T02:30:00Z` (RFC 3339, UTC, whole seconds).
    fn from_str(text: &str) -> Result<Moment, String> {
        let seconds = text.parse::<f64>().ok().filter(|seconds| (0.0..1e11).contains(seconds));
        let millis =
            seconds.map(|seconds| (seconds * 1e3).round() as u64).or_else(|| utc(text).map(|secs| secs * 1000));
        millis.map(Moment).ok_or_else(|| format!("{text:?}: expected Unix seconds or 2026-11-22T02:30:00Z"))
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{:03}", self.0 / 1000, self.0 % 1000)
    }
}

fn utc(text: &str) -> Option<u64> {
    let shape = text.len() == 20 && text.is_ascii() && text.ends_with('Z');
    let field = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok().filter(|_| shape);
    let (year, month, day) = (field(0, 4)?, field(5, 7)?, field(8, 10)?);
    let (hour, minute, second) = (field(11, 13)?, field(14, 16)?, field(17, 19)?);
    let good = (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second < 60;
    let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    let marked = marks.iter().all(|(at, mark)| text.as_bytes().get(*at) == Some(mark));
    // Days since 1970-01-01 of the proleptic Gregorian calendar, years counted from March.
    let (year, shifted) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * shifted + 2) / 5 + day - 1 - 719_468;
    let seconds = ((days * 24 + hour) * 60 + minute) * 60 + second;
    u64::try_from(seconds).ok().filter(|_| good && marked)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_caller_belongs_to_exactly_one_slice() {
        let slices: Vec<Slice> = (1..=3).map(|number| format!("{number}/3").parse().unwrap()).collect();
        for index in 0..100 {
            assert_eq!(slices.iter().filter(|slice| slice.takes(index)).count(), 1);
        }
        for wrong in ["0/2", "3/2", "1/0", "1", "a/b", "1/65", "-1/2"] {
            assert!(wrong.parse::<Slice>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn moments_are_unix_seconds_or_utc() {
        let millis = |text: &str| text.parse::<Moment>().unwrap().0;
        assert_eq!(millis("1795487400"), 1_795_487_400_000);
        assert_eq!(millis("1795487400.25"), 1_795_487_400_250);
        assert_eq!(millis("1970-01-01T00:00:00Z"), 0);
        assert_eq!(millis("2000-02-29T12:34:56Z"), 951_827_696_000);
        assert_eq!(millis("2026-11-22T02:30:00Z"), 1_795_314_600_000);
        for wrong in ["soon", "2026-11-22 02:30:00Z", "2026-13-22T02:30:00Z", "2026-11-22T02:30:00+01", "-5", "NaN"] {
            assert!(wrong.parse::<Moment>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_moment_must_lie_ahead_and_not_too_far() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000);
        assert_eq!(Moment(1_000_005_000).ahead_of(now), Ok(Duration::from_secs(5)));
        assert!(Moment(999_999_000).ahead_of(now).unwrap_err().contains("has passed 1.0 s ago"));
        assert!(Moment(1_100_000_000).ahead_of(now).unwrap_err().contains("more than a day"));
    }

    #[test]
    fn names_depend_on_seed_schedule_and_moment_and_not_on_the_slice() {
        let share = |number, at| Share { slice: Slice { number, of: 2 }, start_at: Moment(at) };
        assert_eq!(share(1, 5).run(42, "a"), share(2, 5).run(42, "a"));
        for other in [share(1, 6).run(42, "a"), share(1, 5).run(43, "a"), share(1, 5).run(42, "b")] {
            assert_ne!(share(1, 5).run(42, "a"), other);
        }
    }
}
