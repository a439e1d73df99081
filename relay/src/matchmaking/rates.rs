//! How fast people arrive and how fast they are matched, per class: what patience and honest waiting times are made of.
//!
//! Whole numbers only, counted in ticks of a second, so that a replay takes the same decisions on every machine.

use super::bucket::{Bucket, CLASSES, GROUPS, fitting_groups};
use super::policy::Policy;
use super::{Eta, ticket::Level};
use crate::time::Millis;

const TICK_MS: u64 = 1000;
/// One event a second.
const UNIT: u64 = 1_000_000;
/// Memory of the arrival rate: 2⁴ ticks. Long enough to be steady where patience turns (2 a second), short enough to notice an ebb.
const ARRIVAL_SHIFT: u32 = 4;
/// Memory of the match rate: 2⁶ ticks.
const MATCH_SHIFT: u32 = 6;
/// Ticks after which nothing is remembered.
const OBLIVION: u64 = 1 << 10;

pub(super) struct Rates {
    tick: u64,
    arrivals: Meter,
    matches: Meter,
    /// Per class, the arrivals of that level whose gender and wish fit the class's own.
    supply: [u64; CLASSES],
}

impl Rates {
    pub(super) fn new() -> Rates {
        Rates { tick: 0, arrivals: Meter::new(ARRIVAL_SHIFT), matches: Meter::new(MATCH_SHIFT), supply: [0; CLASSES] }
    }

    /// Closes the ticks that are over. To be called before anything else with a new time.
    pub(super) fn advance(&mut self, now: Millis) {
        let ticks = (now.0 / TICK_MS).saturating_sub(self.tick);
        if ticks == 0 {
            return;
        }
        self.tick += ticks;
        self.arrivals.close(ticks);
        self.matches.close(ticks);
        for group in 0..GROUPS {
            for level in 0..6 {
                let smooth = |other: usize| self.arrivals.smooth[other * 6 + level];
                self.supply[group * 6 + level] = fitting_groups(group).map(smooth).sum();
            }
        }
    }

    pub(super) fn arrived(&mut self, bucket: Bucket) {
        self.arrivals.fresh[bucket.class()] += 1;
    }

    pub(super) fn matched(&mut self, bucket: Bucket) {
        self.matches.fresh[bucket.class()] += 1;
    }

    /// Whether fewer than `policy.patience` arrivals that fit `bucket` are expected within `wait_ms`.
    ///
    /// "Fit" looks at gender, wish and level, as far as the bucket's own stage and limit reach; not at topics, nor at whom either avoids.
    pub(super) fn pointless(&self, bucket: Bucket, wait_ms: u64, policy: &Policy) -> bool {
        let reach = policy.distance(bucket.stage()).min(bucket.limit());
        let own = bucket.level();
        let near = Level::ALL.into_iter().filter(|level| level.distance(own) <= reach);
        let rate: u64 = near.map(|level| self.supply[bucket.group() * 6 + level as usize]).sum();
        rate.saturating_mul(wait_ms) < u64::from(policy.patience) * UNIT * 1000
    }

    /// When the `ahead + 1`st match of this class from now is expected, if its rate is known.
    pub(super) fn eta(&self, now: Millis, bucket: Bucket, ahead: u32) -> Option<Eta> {
        let mut rate = self.matches.smooth[bucket.class()];
        for _ in self.tick..(now.0 / TICK_MS).min(self.tick + OBLIVION) {
            rate -= rate >> MATCH_SHIFT;
        }
        // Less than one match's worth is left in memory: a rate made of that would be invented.
        if rate << MATCH_SHIFT < UNIT {
            return None;
        }
        let mean_ms = (UNIT * 1000) as f64 / rate as f64;
        let wait = |z: f64| (mean_ms * erlang_quantile(f64::from(ahead) + 1.0, z)) as u64;
        Some(Eta { p50_ms: wait(0.0), p90_ms: wait(1.2816) })
    }
}

/// Quantile of the time of the `n`th event of a Poisson process of rate 1 (Wilson and Hilferty); `z` is the normal quantile.
fn erlang_quantile(n: f64, z: f64) -> f64 {
    let root = 1.0 - 1.0 / (9.0 * n) + z / (3.0 * n.sqrt());
    n * root * root * root
}

/// Counts per class, smoothed exponentially over 2^shift ticks.
struct Meter {
    fresh: [u32; CLASSES],
    /// Millionths of an event per second.
    smooth: [u64; CLASSES],
    shift: u32,
}

impl Meter {
    const fn new(shift: u32) -> Meter {
        Meter { fresh: [0; CLASSES], smooth: [0; CLASSES], shift }
    }

    /// Closes one tick with what was counted and `ticks - 1` silent ones.
    fn close(&mut self, ticks: u64) {
        for (fresh, smooth) in self.fresh.iter_mut().zip(&mut self.smooth) {
            let counted = u64::from(std::mem::take(fresh)) * UNIT;
            if counted == 0 && *smooth == 0 {
                continue;
            }
            *smooth = *smooth - (*smooth >> self.shift) + (counted >> self.shift);
            if ticks > OBLIVION {
                *smooth = 0;
            }
            for _ in 1..ticks.min(OBLIVION) {
                *smooth -= *smooth >> self.shift;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matchmaking::{Countries, Criteria, Gender, GenderSet, TopicMode, TopicSet};

    fn bucket(gender: Gender, wants: GenderSet, level: Level, max_distance: u8) -> Bucket {
        let (topics, topic_mode) = (TopicSet::ANY, TopicMode::Prefer);
        Bucket::new(gender, &Criteria { wants, level, max_distance, topics, topic_mode, countries: Countries::ANY }, 0)
    }

    fn stream(rates: &mut Rates, bucket: Bucket, seconds: std::ops::Range<u64>, per_second: u32) {
        for second in seconds {
            rates.advance(Millis(second * 1000));
            (0..per_second).for_each(|_| rates.arrived(bucket));
        }
    }

    #[test]
    fn waiting_makes_sense_only_while_three_who_fit_are_expected() {
        let policy = Policy::default();
        let (me, fits) =
            (bucket(Gender::F, GenderSet::ANY, Level::B1, 5), bucket(Gender::M, GenderSet::ANY, Level::B2, 5));
        let mut rates = Rates::new();
        assert!(rates.pointless(me, 1500, &policy), "nobody was ever here");
        stream(&mut rates, fits, 0..120, 3);
        assert!(!rates.pointless(me, 1500, &policy), "4.5 are expected");
        assert!(rates.pointless(me, 900, &policy), "2.7 are expected");
        rates.advance(Millis(145_000));
        assert!(rates.pointless(me, 1500, &policy), "the ebb was noticed");
    }

    #[test]
    fn arrivals_that_do_not_fit_are_not_worth_waiting_for() {
        let policy = Policy::default();
        let me = bucket(Gender::F, [Gender::M].into_iter().collect(), Level::B1, 5);
        for other in [
            bucket(Gender::F, GenderSet::ANY, Level::B1, 5),
            bucket(Gender::M, [Gender::M].into_iter().collect(), Level::B1, 5),
            bucket(Gender::M, GenderSet::ANY, Level::C1, 5),
        ] {
            let mut rates = Rates::new();
            stream(&mut rates, other, 0..60, 50);
            assert!(rates.pointless(me, 1500, &policy));
        }
    }

    #[test]
    fn without_patience_nobody_hurries() {
        let policy = Policy { patience: 0, ..Policy::default() };
        assert!(!Rates::new().pointless(bucket(Gender::F, GenderSet::ANY, Level::B1, 5), 1500, &policy));
    }

    #[test]
    fn waiting_times_come_from_matches_and_from_nothing_else() {
        let mut rates = Rates::new();
        let me = bucket(Gender::F, GenderSet::ANY, Level::B1, 5);
        stream(&mut rates, me, 0..60, 10);
        assert_eq!(rates.eta(Millis(60_000), me, 0), None);
        for second in 60..400 {
            rates.advance(Millis(second * 1000));
            (0..2).for_each(|_| rates.matched(me));
        }
        let (first, tenth) = (rates.eta(Millis(400_000), me, 0), rates.eta(Millis(400_000), me, 9));
        assert!(
            first.is_some_and(|eta| (340..365).contains(&eta.p50_ms) && (1130..1180).contains(&eta.p90_ms)),
            "{first:?}"
        );
        assert!(
            tenth.is_some_and(|eta| (4800..5000).contains(&eta.p50_ms) && (7100..7400).contains(&eta.p90_ms)),
            "{tenth:?}"
        );
        let later = Millis(1_000_000);
        assert_eq!(rates.eta(later, me, 0), None, "what was long ago says nothing");
        rates.advance(later);
        assert_eq!(rates.eta(later, me, 0), None);
    }

    #[test]
    fn a_long_silence_equals_many_short_ones() {
        let me = bucket(Gender::X, GenderSet::ANY, Level::A1, 5);
        let (mut once, mut often) = (Rates::new(), Rates::new());
        stream(&mut once, me, 0..30, 7);
        stream(&mut often, me, 0..30, 7);
        once.advance(Millis(90_000));
        (30..=90).for_each(|second| often.advance(Millis(second * 1000)));
        assert_eq!(once.arrivals.smooth, often.arrivals.smooth);
    }
}
