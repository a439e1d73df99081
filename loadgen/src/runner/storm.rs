//! A reconnect storm: at one moment every WebSocket is cut, and everybody comes back: for the session
//! they had, or anew as the person they were. Or the server asks for it, because another process takes its place
//! (close code 1012): then everybody comes for the session they had, and again where nobody listens yet.

use std::time::Duration;

use super::Context;
use crate::{
    caller::record::{Outcome, Record},
    stats::latency::Distribution,
    time::Nanos,
};

/// What became of those who were cut off.
#[derive(Clone, Debug, Default)]
pub struct Storm {
    pub at: Nanos,
    /// Callers whose WebSocket was cut.
    pub severed: u64,
    /// Of those, how many were greeted again.
    pub back: u64,
    /// Of those, how many had their session again; the others came anew.
    pub resumed: u64,
    /// From the cut to being greeted again, the spread of their return included.
    pub until_back: Distribution,
    /// From the moment each wanted to be back.
    pub greeted: Distribution,
}

impl Storm {
    /// Time after which nineteen of twenty were back; none if they never were.
    pub fn recovered(&self) -> Option<Duration> {
        let enough = self.severed > 0 && self.back * 20 >= self.severed * 19;
        // Those who never came are the slowest of all.
        let percent = 95.0 * self.severed as f64 / self.back.max(1) as f64;
        enough.then(|| self.until_back.value(percent.min(100.0)))
    }

    /// Who was cut off at `cut` and wanted to be `back` has its session again.
    pub(super) fn note_resumed(&mut self, cut: Nanos, back: Nanos, now: Nanos) {
        self.back += 1;
        self.resumed += 1;
        self.until_back.record(now.since(cut));
        self.greeted.record(now.since(back));
    }

    pub(super) fn note_return(&mut self, record: &Record) {
        if let Some(registered) = record.times.registered {
            self.back += 1;
            self.until_back.record(registered.since(self.at));
            self.greeted.record(registered.since(record.times.intended));
        }
    }
}

/// The record of a caller we cut off ourselves: what it had was no failure of the server's.
pub(super) fn severed(mut record: Record, up: bool, now: Nanos) -> Record {
    record.outcome = if up { Outcome::Cut } else { Outcome::InFlight };
    record.unheard = record.told.is_none() && record.times.queue_sent.is_some();
    record.times.ended.get_or_insert(now);
    record
}

/// Whom the server asks to come back is back within so long, as `pair.js` is.
const ASKED_WITHIN: Duration = Duration::from_millis(500);
/// For so long a session may be resumed (pair.v1), and a connection that is refused is tried again …
const RESUMES_FOR: Duration = Duration::from_secs(15);
/// … after so long, then after twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The next pause after `pause` when caller cut off at `cut` is refused; none if its session is gone.
pub(super) fn again(cut: Nanos, now: Nanos, pause: Option<Duration>) -> Option<Duration> {
    let pause = pause.map_or(FIRST_PAUSE, |pause| (2 * pause).min(LONGEST_PAUSE));
    (now.since(cut) + pause < RESUMES_FOR).then_some(pause)
}

impl Context {
    /// When caller `number`, asked at `at`, comes back.
    pub(super) fn return_when_asked(&self, number: u32, at: Nanos) -> Nanos {
        at.after(self.scenario.back_within(ASKED_WITHIN, number))
    }

    /// When caller `number`, cut off at `at`, comes back.
    pub(super) fn return_of(&self, number: u32, at: Nanos) -> Nanos {
        at.after(self.scenario.back_after(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn storm(severed: u64, back: u64) -> Storm {
        let mut storm = Storm { severed, back, ..Storm::default() };
        for i in 1..=back {
            storm.until_back.record(Duration::from_millis(i * 10));
        }
        storm
    }

    #[test]
    fn who_is_refused_tries_again_for_as_long_as_the_session_is_kept() {
        let (mut now, mut pause, mut tries) = (Nanos(0), None, 0);
        while let Some(next) = again(Nanos(0), now, pause) {
            (now, pause, tries) = (now.after(next), Some(next), tries + 1);
        }
        assert!(now.since(Nanos(0)) > Duration::from_secs(12) && now.since(Nanos(0)) < RESUMES_FOR);
        assert!((8..12).contains(&tries), "{tries}");
    }

    #[test]
    fn recovery_counts_those_who_never_came() {
        let near = |found: Option<Duration>, millis: f64| {
            found.is_some_and(|found| (found.as_secs_f64() * 1e3 / millis - 1.0).abs() < 0.02)
        };
        assert!(near(storm(100, 100).recovered(), 950.0));
        assert!(near(storm(100, 96).recovered(), 950.0), "{:?}", storm(100, 96).recovered());
        assert_eq!(storm(100, 94).recovered(), None);
        assert_eq!(storm(0, 0).recovered(), None);
    }
}
