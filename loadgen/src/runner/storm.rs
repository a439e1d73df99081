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
const ASKED_WITHIN: Duration = Duration::from_secs(3);
/// For so long a session may be resumed (pair.v1), and a connection that is refused is tried again …
const RESUMES_FOR: Duration = Duration::from_secs(15);
/// … after so long, and up to twice that, as `pair.js` does …
const PAUSE: Duration = Duration::from_millis(500);
/// … or when nobody has taken it for so long: the system asks again after one, three and seven seconds, when the session is gone.
pub(super) const ANSWERED_WITHIN: Duration = Duration::from_secs(2);

impl Context {
    /// When caller `number`, asked at `at`, comes back.
    pub(super) fn return_when_asked(&self, number: u32, at: Nanos) -> Nanos {
        at.after(self.scenario.back_within(ASKED_WITHIN, number, 0))
    }

    /// How long caller `number`, cut off at `cut`, waits after so many attempts; none if its session is gone.
    pub(super) fn pause_after(&self, attempt: u8, number: u32, cut: Nanos, now: Nanos) -> Option<Duration> {
        pause(self.scenario.back_within(PAUSE, number, attempt), now.since(cut))
    }

    /// When caller `number`, whose connection broke at `at`, looks for its node.
    pub(super) fn return_to_node(&self, number: u32, at: Nanos) -> Nanos {
        at.after(self.scenario.back_within(PAUSE, number, 0))
    }

    /// When caller `number`, cut off at `at`, comes back.
    pub(super) fn return_of(&self, number: u32, at: Nanos) -> Nanos {
        at.after(self.scenario.back_after(number))
    }
}

fn pause(own: Duration, away: Duration) -> Option<Duration> {
    (away + PAUSE + own < RESUMES_FOR).then_some(PAUSE + own)
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
    fn who_is_refused_tries_again_for_as_long_as_the_session_is_kept_and_not_with_everybody() {
        let tries = |share: f64, unanswered: Duration| {
            let (mut away, mut tries) = (unanswered, 0);
            while let Some(pause) = pause(PAUSE.mul_f64(share), away) {
                (away, tries) = (away + pause + unanswered, tries + 1);
            }
            tries
        };
        assert_eq!([0.0, 0.5, 0.99].map(|share| tries(share, Duration::ZERO)), [29, 19, 15]);
        assert_eq!([0.0, 0.5, 0.99].map(|share| tries(share, ANSWERED_WITHIN)), [5, 5, 5]);
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
