//! When to end a run early: an objective that is missed, and stays missed, is not kept any more.

use std::time::Duration;

use crate::{
    book::Book,
    slo::{Held, Objective},
    time::Nanos,
};

/// Between looks at the objectives.
const PERIOD: Duration = Duration::from_millis(500);
/// For how long one must be missed without a break.
pub(super) const GRACE: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
pub(super) struct Patience {
    looked: Nanos,
    missed_since: Option<(Nanos, String)>,
}

impl Patience {
    /// Why the run ends now; none if it goes on.
    pub(super) fn ends(&mut self, now: Nanos, objectives: &[Objective], book: &Book) -> Option<String> {
        if now.since(self.looked) < PERIOD {
            return None;
        }
        self.looked = now;
        let missed = objectives.iter().find(|objective| objective.judge(book.measured(objective)) == Held::No);
        match (missed, self.missed_since.take()) {
            (None, _) => {}
            (Some(objective), None) => self.missed_since = Some((now, objective.to_string())),
            (Some(objective), Some((since, _))) if now.since(since) >= GRACE => {
                return Some(format!("{objective} was missed for {} s", now.since(since).as_secs()));
            }
            (Some(objective), Some((since, _))) => self.missed_since = Some((since, objective.to_string())),
        }
        None
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{book::Counts, media::Window, scenario::Scenario};

    const HALF: u64 = 500_000_000;

    fn book(up: u64, failed: u64) -> Book {
        let window = Window { from: Nanos::ZERO, until: Nanos(u64::MAX) };
        let mut book = Book::new(window, Scenario::default().standard());
        book.counts = Counts { calls_up: up, calls_failed: failed, ..Counts::default() };
        book
    }

    #[test]
    fn a_miss_ends_the_run_only_if_it_lasts() {
        let objectives = ["success>=99%".parse::<Objective>().unwrap()];
        let mut patience = Patience::default();
        let mut looks = (1..).map(|look| Nanos(look * HALF));
        for _ in 0..9 {
            assert_eq!(patience.ends(looks.next().unwrap(), &objectives, &book(9, 1)), None);
        }
        assert_eq!(patience.ends(looks.next().unwrap(), &objectives, &book(1000, 1)), None, "it was kept again");
        for _ in 0..10 {
            assert_eq!(patience.ends(looks.next().unwrap(), &objectives, &book(9, 1)), None);
        }
        let why = patience.ends(looks.next().unwrap(), &objectives, &book(9, 1)).unwrap();
        assert_eq!(why, "success>=99% was missed for 5 s");
    }

    #[test]
    fn what_cannot_be_judged_yet_ends_nothing() {
        let objectives = ["setup.p99<1ms".parse::<Objective>().unwrap()];
        let mut patience = Patience::default();
        assert!((1..100).all(|look| patience.ends(Nanos(look * HALF), &objectives, &book(9, 1)).is_none()));
    }
}
