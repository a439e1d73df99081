//! The adaptive nap: while packets are many, sleep a little before looking, so that each wake-up finds more of them.
//!
//! Waking a core costs more than relaying a packet. A nap trades up to its length of latency for fewer wake-ups, and
//! only while the worker is busy but keeps up: below [`NAP_ABOVE_PER_SEC`] it is off, an idle worker never naps, and
//! neither does one that left datagrams waiting. The kernel may add its timer slack of 50 µs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use crate::time::Millis;

/// Datagrams a second, for one worker, from which napping begins to pay.
pub const NAP_ABOVE_PER_SEC: u64 = 4_000;
/// Longest nap accepted, in microseconds. More would be heard.
pub const MAX_NAP_MICROS: u32 = 500;
/// How long the rate is watched before it is believed.
const WINDOW_MILLIS: u64 = 20;

/// The nap of one worker alone, in microseconds.
const ALONE_MICROS: u32 = 200;

/// The nap that lets each of several workers find at least as many packets as one alone would: half as many come to each of two, and what
/// waking up costs is paid on every core.
pub(super) fn by_workers(workers: usize) -> u32 {
    if workers <= 1 { ALONE_MICROS } else { MAX_NAP_MICROS }
}

pub(super) struct Nap {
    /// In microseconds; a reload may change it.
    micros: Arc<AtomicU32>,
    window: Millis,
    datagrams: u64,
    busy: bool,
}

impl Nap {
    /// Zero means never.
    pub(super) fn new(micros: Arc<AtomicU32>) -> Nap {
        Nap { micros, window: Millis(0), datagrams: 0, busy: false }
    }

    /// Tells of datagrams that just arrived.
    pub(super) fn count(&mut self, datagrams: usize) {
        self.datagrams += datagrams as u64;
    }

    /// How long to sleep before waiting, if at all.
    pub(super) fn due(&mut self, now: Millis) -> Option<Duration> {
        let elapsed = now.since(self.window);
        if elapsed >= WINDOW_MILLIS {
            self.busy = self.datagrams * 1000 / elapsed >= NAP_ABOVE_PER_SEC;
            (self.window, self.datagrams) = (now, 0);
        }
        let micros = self.micros.load(Relaxed).min(MAX_NAP_MICROS);
        self.is_worth_it().then(|| Duration::from_micros(micros.into()))
    }

    /// Whether the worker naps before it looks, unless it left datagrams waiting.
    pub(super) fn is_worth_it(&self) -> bool {
        self.busy && self.micros.load(Relaxed) > 0
    }

    /// Whether datagrams are as many, naps or not.
    pub(super) fn is_busy(&self) -> bool {
        self.busy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after_a_window(nap: &mut Nap, start: u64, datagrams: usize) -> Option<Duration> {
        nap.count(datagrams);
        nap.due(Millis(start + WINDOW_MILLIS))
    }

    #[test]
    fn no_nap_unless_asked_for() {
        assert_eq!(after_a_window(&mut Nap::new(Arc::new(AtomicU32::new(0))), 0, 1_000_000), None);
    }

    #[test]
    fn naps_while_busy_and_stops_when_it_gets_quiet() {
        let mut nap = Nap::new(Arc::new(AtomicU32::new(300)));
        let busy = (NAP_ABOVE_PER_SEC * WINDOW_MILLIS / 1000) as usize;
        assert_eq!(after_a_window(&mut nap, 0, busy), Some(Duration::from_micros(300)));
        assert_eq!(after_a_window(&mut nap, 20, busy - 1), None);
    }

    #[test]
    fn a_packet_after_an_idle_minute_meets_no_nap() {
        let mut nap = Nap::new(Arc::new(AtomicU32::new(300)));
        assert!(after_a_window(&mut nap, 0, 100_000).is_some());
        nap.count(1);
        assert_eq!(nap.due(Millis(60_020)), None);
    }

    #[test]
    fn several_workers_nap_longer_but_never_too_long() {
        assert_eq!([1, 2, 3, 64, usize::MAX].map(by_workers), [200, 500, 500, 500, 500]);
    }

    #[test]
    fn a_nap_is_never_longer_than_the_limit() {
        assert_eq!(
            after_a_window(&mut Nap::new(Arc::new(AtomicU32::new(u32::MAX))), 0, 1000),
            Some(Duration::from_micros(500))
        );
    }
}
