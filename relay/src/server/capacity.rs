//! How much of what it has this server uses, for `/readyz`: a balancer should know before callers hear it. Looked at once a second, off the
//! packet path; who asks reads what was seen last, so that an answer costs nothing under a flood.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::dataplane::Running;

/// Hundredths of one worker's time from which on nobody new should be sent here …
const BUSY_AT: u64 = 90;
/// … and below which they may be again.
const FREE_AT: u64 = 80;
/// Of a thousand datagrams, those that found a receive buffer full.
const LOST_AT: u64 = 10;
/// A look counts for so much of what is held: one busy second is no overload, ten are.
const WEIGHT: u64 = 5;

/// What was seen last.
#[derive(Default)]
pub(super) struct Capacity(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    before: Option<Sample>,
    /// Of each worker's time, in hundredths, smoothed.
    busy: Vec<u64>,
    /// Datagrams that found a buffer full, of a thousand, smoothed.
    lost: u64,
    full: bool,
}

struct Sample {
    at: Instant,
    /// Of each worker, in milliseconds since its start.
    cpu_ms: Vec<u64>,
    received: u64,
    lost: u64,
}

impl Capacity {
    /// To be called about once a second.
    pub(super) fn look(&self, workers: &Running) {
        let io = workers.io_counters();
        let sample = Sample {
            at: Instant::now(),
            cpu_ms: io.iter().map(|it| it.busy_micros.get() / 1000).collect(),
            received: io.iter().map(|it| it.from_clients.get() + it.from_peers.get()).sum(),
            lost: io.iter().map(|it| it.receive_buffer_full.get()).sum(),
        };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).note(sample);
    }

    /// Whether somebody new may be sent here, and the numbers for a person.
    pub(super) fn says(&self) -> (bool, String) {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let busy: Vec<String> = seen.busy.iter().map(|percent| format!("{percent}%")).collect();
        let text = format!("workers busy: {}; receive buffers lost {} of 1000 datagrams\n", busy.join(" "), seen.lost);
        (!seen.full, text)
    }
}

impl Capacity {
    /// Hundredths of the busiest worker's time that are free; none where nobody new should be sent.
    pub(super) fn free(&self) -> u64 {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let busiest = seen.busy.iter().copied().max().unwrap_or(0);
        if seen.full { 0 } else { 100_u64.saturating_sub(busiest) }
    }
}

impl Seen {
    fn note(&mut self, now: Sample) {
        if let Some(before) = &self.before {
            let wall = now.at.duration_since(before.at).as_millis().max(1) as u64;
            let smooth = |held: u64, new: u64| (held * (WEIGHT - 1) + new).div_ceil(WEIGHT);
            let used = now.cpu_ms.iter().zip(&before.cpu_ms).map(|(now, before)| now.saturating_sub(*before));
            let used = used.map(|used| (used * 100 / wall).min(100));
            self.busy.resize(now.cpu_ms.len(), 0);
            for (held, new) in self.busy.iter_mut().zip(used) {
                *held = smooth(*held, new).saturating_sub(u64::from(new == 0 && *held > 0));
            }
            let (lost, received) =
                (now.lost - before.lost.min(now.lost), now.received - before.received.min(now.received));
            let share = (lost * 1000).checked_div(lost + received).unwrap_or(0);
            self.lost = smooth(self.lost, share).saturating_sub(u64::from(share == 0 && self.lost > 0));
            let most = self.busy.iter().copied().max().unwrap_or(0);
            let threshold = if self.full { FREE_AT } else { BUSY_AT };
            self.full = most >= threshold || self.lost >= LOST_AT;
        }
        self.before = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Seconds of so much work and loss, and whether it was full after each.
    fn seconds(seen: &mut Seen, cpu: u64, lost: u64, count: u64) -> Vec<bool> {
        let (mut at, mut cpu_ms, mut received, mut total_lost) = match &seen.before {
            Some(before) => (before.at, before.cpu_ms[0], before.received, before.lost),
            None => (Instant::now(), 0, 0, 0),
        };
        let step = |_| {
            at += Duration::from_secs(1);
            cpu_ms += cpu * 10;
            received += 1000 - lost;
            total_lost += lost;
            seen.note(Sample { at, cpu_ms: vec![cpu_ms], received, lost: total_lost });
            seen.full
        };
        (0..count).map(step).collect()
    }

    #[test]
    fn a_busy_second_is_no_overload_and_twenty_are() {
        let mut seen = Seen::default();
        assert!(!seconds(&mut seen, 100, 0, 3).contains(&true));
        assert_eq!(seconds(&mut seen, 100, 0, 20).last(), Some(&true));
        assert_eq!(seconds(&mut seen, 85, 0, 20).last(), Some(&true), "between the two marks it stays");
        assert_eq!(seconds(&mut seen, 20, 0, 20).last(), Some(&false));
    }

    #[test]
    fn full_buffers_are_overload_until_they_are_not() {
        let mut seen = Seen::default();
        assert_eq!(seconds(&mut seen, 10, 50, 10).last(), Some(&true));
        assert_eq!(seconds(&mut seen, 10, 0, 40).last(), Some(&false));
    }
}
