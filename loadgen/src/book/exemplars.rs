//! A few whole calls beside the histograms: of every bucket of set-up time the worst, of every cause of failure some. So
//! that "p99 is 900 ms" can be followed to calls that took that long, and to the step in which they lost it.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Finished, Record};

/// Calls kept of each doubling of set-up time, which bounds them by forty times as many.
const EACH: usize = 8;
/// Calls kept of each cause of failure, and causes.
const EACH_CAUSE: usize = 2;
const CAUSES: usize = 12;

/// One call, whole.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Exemplar {
    /// Set-up time of the worse side; none if it failed.
    pub setup: Option<Duration>,
    pub cause: Option<String>,
    pub sides: Vec<Record>,
}

/// See the module's text.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Exemplars {
    /// By the binary logarithm of the set-up time in microseconds; slowest first.
    slow: BTreeMap<u32, Vec<Exemplar>>,
    failed: BTreeMap<String, Vec<Exemplar>>,
}

impl Exemplars {
    /// Keeps the call if it is among the worst of its kind.
    pub(super) fn consider(&mut self, call: &Finished) {
        if !call.counts {
            return;
        }
        match (call.setup().filter(|_| call.up), call.cause()) {
            (Some(setup), _) => self.consider_slow(setup, call),
            (None, Some(cause)) => self.consider_failed(cause.name(), call),
            (None, None) => {}
        }
    }

    fn consider_slow(&mut self, setup: Duration, call: &Finished) {
        let bucket = self.slow.entry(logarithm(setup)).or_default();
        let place = bucket.partition_point(|kept| kept.setup >= Some(setup));
        if place < EACH {
            bucket.insert(place, Exemplar::of(call, Some(setup), None));
            bucket.truncate(EACH);
        }
    }

    fn consider_failed(&mut self, cause: String, call: &Finished) {
        if self.failed.len() >= CAUSES && !self.failed.contains_key(&cause) {
            return;
        }
        let kept = self.failed.entry(cause.clone()).or_default();
        if kept.len() < EACH_CAUSE {
            kept.push(Exemplar::of(call, None, Some(cause)));
        }
    }

    pub(super) fn merge(&mut self, other: Exemplars) {
        for (bucket, theirs) in other.slow {
            let ours = self.slow.entry(bucket).or_default();
            ours.extend(theirs);
            ours.sort_by_key(|exemplar| std::cmp::Reverse(exemplar.setup));
            ours.truncate(EACH);
        }
        for (cause, theirs) in other.failed {
            let ours = self.failed.entry(cause).or_default();
            ours.extend(theirs);
            ours.truncate(EACH_CAUSE);
        }
    }

    /// Those that came up, slowest first, and then those that failed.
    pub fn all(&self) -> impl Iterator<Item = &Exemplar> {
        self.slow.values().rev().flatten().chain(self.failed.values().flatten())
    }
}

impl Exemplar {
    fn of(call: &Finished, setup: Option<Duration>, cause: Option<String>) -> Exemplar {
        let sides = [Some(&call.a), call.b.as_ref()].into_iter().flatten();
        // Whom somebody blocks can be five hundred numbers, and says nothing about time.
        let short = |record: &Record| {
            let mut record = record.clone();
            record.criteria.blocks = Vec::new();
            record
        };
        Exemplar { setup, cause, sides: sides.map(short).collect() }
    }
}

fn logarithm(length: Duration) -> u32 {
    u64::try_from(length.as_micros()).unwrap_or(u64::MAX).max(1).ilog2()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        caller::{record::Outcome, signal::Role},
        rules::tests::{criteria, record},
        time::Nanos,
    };

    fn call(micros: u64) -> Finished {
        let mut a = record(1, Role::Offerer, criteria());
        a.times.connected = Some(Nanos(micros * 1000));
        a.criteria.blocks = vec![7];
        Finished { b: Some(a.clone()), a, counts: true, up: true }
    }

    fn slowest(exemplars: &Exemplars) -> Vec<u128> {
        exemplars.all().filter_map(|exemplar| Some(exemplar.setup?.as_micros())).collect()
    }

    #[test]
    fn the_worst_of_every_doubling_are_kept_and_no_more() {
        let mut exemplars = Exemplars::default();
        for micros in (1..=4_000).chain((1..=4_000).rev()) {
            exemplars.consider(&call(micros));
        }
        let kept = slowest(&exemplars);
        assert_eq!(kept[..8], [4000, 4000, 3999, 3999, 3998, 3998, 3997, 3997]);
        assert_eq!(kept[8], 2047);
        assert!(kept.len() <= 12 * EACH && kept.windows(2).all(|pair| pair[0] >= pair[1]));
        assert!(exemplars.all().all(|exemplar| exemplar.sides.iter().all(|side| side.criteria.blocks.is_empty())));
    }

    #[test]
    fn failures_are_kept_by_cause_and_what_is_outside_the_window_is_not() {
        let mut exemplars = Exemplars::default();
        for _ in 0..10 {
            let mut failed = call(5);
            failed.up = false;
            failed.a.outcome = Outcome::Failed(crate::caller::record::Cause::Connect);
            exemplars.consider(&failed);
            exemplars.consider(&Finished { counts: false, ..call(9) });
        }
        let causes: Vec<_> = exemplars.all().map(|exemplar| exemplar.cause.as_deref()).collect();
        assert_eq!(causes, [Some("connect"); EACH_CAUSE]);
    }

    #[test]
    fn merged_exemplars_are_the_worst_of_both() {
        let (mut ours, mut theirs) = (Exemplars::default(), Exemplars::default());
        for micros in 2048..2148 {
            ours.consider(&call(micros));
            theirs.consider(&call(micros + 50));
        }
        ours.merge(theirs);
        assert_eq!(slowest(&ours), [2197, 2196, 2195, 2194, 2193, 2192, 2191, 2190]);
    }
}
