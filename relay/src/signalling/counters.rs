//! Plain numbers about signalling: how many, never who. The desk writes, metrics read.

use std::sync::atomic::{AtomicU64, Ordering};

use super::codes::ErrorCode;
use super::message::Why;
use crate::exponential::Exponential;

/// Upper bounds of the histogram buckets, in milliseconds; what takes longer falls into one more bucket.
pub const BUCKETS_MS: [u64; 14] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 60_000];

/// Durations in buckets, or what else is counted in thousandths. Not cumulative.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [u64],
    /// One more than bounds.
    buckets: Box<[AtomicU64]>,
    sum_ms: AtomicU64,
    fine: Exponential,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram::new(&BUCKETS_MS)
    }
}

impl Histogram {
    fn new(bounds: &'static [u64]) -> Histogram {
        let buckets = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Histogram { bounds, buckets, sum_ms: AtomicU64::new(0), fine: Exponential::default() }
    }

    pub(super) fn observe(&self, millis: u64) {
        let place = self.bounds.iter().position(|bound| millis <= *bound).unwrap_or(self.bounds.len());
        add(&self.buckets[place], 1);
        add(&self.sum_ms, millis);
        self.fine.observe(millis);
    }

    /// Upper bounds of the buckets.
    pub fn bounds_ms(&self) -> &'static [u64] {
        self.bounds
    }

    /// Counts per bucket, the last one for everything above the last bound.
    pub fn buckets(&self) -> Vec<u64> {
        self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect()
    }

    /// The same in buckets that nobody had to choose.
    pub fn fine(&self) -> Vec<u64> {
        self.fine.counts()
    }

    pub fn sum_ms(&self) -> u64 {
        self.sum_ms.load(Ordering::Relaxed)
    }
}

/// How the streams of calls reached the relay: one value for each side of each call that said enough.
#[derive(Debug)]
pub struct Qualities {
    /// Thousandths of the packets sent.
    pub loss: Histogram,
    pub jitter: Histogram,
    /// Between the relay and the client.
    pub round_trip: Histogram,
    /// Thousandths. Bounds are where classes end (ITU-T G.109: R of 50, 60, 70, 80 and 90).
    pub mos: Histogram,
}

impl Default for Qualities {
    fn default() -> Qualities {
        Qualities {
            loss: Histogram::new(&[1, 2, 5, 10, 20, 30, 50, 80, 100, 200, 500]),
            jitter: Histogram::new(&[1, 2, 5, 10, 20, 30, 50, 80, 100, 200, 500]),
            round_trip: Histogram::new(&[5, 10, 20, 50, 100, 150, 200, 300, 500, 1_000, 2_000]),
            mos: Histogram::new(&[2_580, 3_100, 3_600, 4_030, 4_340]),
        }
    }
}

/// Everything counted about signalling. One writer, so plain additions suffice.
#[derive(Debug, Default)]
pub struct Counters {
    sessions: AtomicU64,
    queued: AtomicU64,
    calls: AtomicU64,
    welcomed: AtomicU64,
    matched: AtomicU64,
    connected: AtomicU64,
    texts: AtomicU64,
    resumed: AtomicU64,
    restarts: AtomicU64,
    reports_delivered: AtomicU64,
    reports_failed: AtomicU64,
    safety_undelivered: AtomicU64,
    awaiting_revocations: AtomicU64,
    positions_dropped: AtomicU64,
    refused_upgrades: AtomicU64,
    ended: [AtomicU64; Why::ALL.len()],
    errors: [AtomicU64; ErrorCode::ALL.len()],
    /// From the start of waiting to the match.
    pub wait: Histogram,
    /// From the match to the first `ack`.
    pub ack: Histogram,
    /// From the match to the relayed answer.
    pub answer: Histogram,
    /// From the match to the first packet of media of either side at the relay.
    pub first_packet: Histogram,
    /// From the match to media of both sides at the relay: audible.
    pub audible: Histogram,
    /// From the match to both sides connected.
    pub setup: Histogram,
    pub quality: Qualities,
}

macro_rules! read {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        impl Counters {
            $($(#[$doc])* pub fn $name(&self) -> u64 { self.$name.load(Ordering::Relaxed) })*
        }
    };
}
read! {
    /// Open connections, before and after `hello`.
    sessions,
    /// Tickets waiting now.
    queued,
    /// Calls now, in set-up or connected.
    calls,
    /// Connections that passed `hello`.
    welcomed,
    /// Pairs made.
    matched,
    /// Calls that both sides reported connected.
    connected,
    /// Texts relayed.
    texts,
    /// Sessions that came back on another connection.
    resumed,
    /// ICE generations begun in calls that stood.
    restarts,
    /// Reports the app's backend took.
    reports_delivered,
    /// Reports it did not take, and whose reporters were told so.
    reports_failed,
    /// Reports of a child's safety that wait to be delivered. Anything but 0 for long is an emergency.
    safety_undelivered,
    /// 1 until the list of what the app has revoked was fetched; nobody is let in before.
    awaiting_revocations,
    /// Droppable frames that gave way to others on a slow connection.
    positions_dropped,
    /// Upgrades refused for their origin or their haste.
    refused_upgrades,
}

impl Counters {
    /// Calls ended, by reason.
    pub fn ended(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Why::ALL.into_iter().zip(&self.ended).map(|(why, count)| (why.name(), count.load(Ordering::Relaxed)))
    }

    /// Error frames sent, by code.
    pub fn errors(&self) -> impl Iterator<Item = (&'static str, u64)> {
        ErrorCode::ALL.into_iter().zip(&self.errors).map(|(code, count)| (code.name(), count.load(Ordering::Relaxed)))
    }

    pub(super) fn set_gauges(&self, sessions: usize, queued: usize, calls: usize) {
        for (gauge, value) in [(&self.sessions, sessions), (&self.queued, queued), (&self.calls, calls)] {
            gauge.store(value as u64, Ordering::Relaxed);
        }
    }

    pub(super) fn count_welcomed(&self) {
        add(&self.welcomed, 1);
    }

    pub(super) fn count_matched(&self) {
        add(&self.matched, 1);
    }

    pub(super) fn count_connected(&self) {
        add(&self.connected, 1);
    }

    pub(super) fn count_resumed(&self) {
        add(&self.resumed, 1);
    }

    pub(super) fn count_restart(&self) {
        add(&self.restarts, 1);
    }

    pub(super) fn count_report(&self, delivered: bool) {
        add(if delivered { &self.reports_delivered } else { &self.reports_failed }, 1);
    }

    pub(super) fn set_safety_undelivered(&self, waiting: usize) {
        self.safety_undelivered.store(waiting as u64, Ordering::Relaxed);
    }

    pub(super) fn set_awaiting_revocations(&self, awaiting: bool) {
        self.awaiting_revocations.store(awaiting.into(), Ordering::Relaxed);
    }

    pub(super) fn count_text(&self) {
        add(&self.texts, 1);
    }

    pub(super) fn count_dropped(&self) {
        add(&self.positions_dropped, 1);
    }

    pub(super) fn count_refused_upgrade(&self) {
        add(&self.refused_upgrades, 1);
    }

    pub(super) fn count_ended(&self, why: Why) {
        if let Some(at) = Why::ALL.iter().position(|known| *known == why) {
            add(&self.ended[at], 1);
        }
    }

    pub(super) fn count_error(&self, code: ErrorCode) {
        if let Some(at) = ErrorCode::ALL.iter().position(|known| *known == code) {
            add(&self.errors[at], 1);
        }
    }
}

fn add(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_falls_into_the_first_bucket_that_holds_it() {
        let histogram = Histogram::default();
        for millis in [0, 1, 2, 3, 60_000, 60_001] {
            histogram.observe(millis);
        }
        let mut expected = [0; BUCKETS_MS.len() + 1];
        (expected[0], expected[1], expected[2], expected[13], expected[14]) = (2, 1, 1, 1, 1);
        assert_eq!(histogram.buckets(), expected);
        assert_eq!(histogram.sum_ms(), 120_007);
    }

    #[test]
    fn counts_are_told_apart_by_name() {
        let counters = Counters::default();
        counters.count_ended(Why::Asleep);
        counters.count_error(ErrorCode::Age);
        counters.count_error(ErrorCode::Age);
        assert_eq!(counters.ended().find(|(name, _)| *name == "asleep"), Some(("asleep", 1)));
        assert_eq!(counters.errors().find(|(name, _)| *name == "E_AGE"), Some(("E_AGE", 2)));
        assert_eq!(counters.errors().map(|(_, count)| count).sum::<u64>(), 2);
    }
}
