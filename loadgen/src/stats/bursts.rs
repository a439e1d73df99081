//! Bursts and gaps of a stream (RFC 3611 §4.7.2): a burst begins and ends with a packet lost or discarded and holds no
//! [`GMIN`] good ones in a row; a single loss with so many good ones around it belongs to the gap. And how many losses came
//! in a row.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Good packets in a row that end a burst.
pub const GMIN: u32 = 16;
/// Runs of losses told apart by length; the last counts all that are longer.
pub const RUNS: usize = 10;

/// Counts that add up over streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bursts {
    pub streams: u64,
    pub packets: u64,
    /// Lost, or later than the jitter buffer.
    pub bad: u64,
    pub bursts: u64,
    pub burst_packets: u64,
    pub burst_bad: u64,
    /// Runs of 1, 2, … bad packets in a row.
    pub runs: [u64; RUNS],
}

/// The account of one stream, fed packet by packet in the order they were sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tracker {
    counts: Bursts,
    run: u64,
    good_since: u32,
    /// What may become a burst.
    length: u64,
    bad: u64,
}

impl Tracker {
    pub fn feed(&mut self, good: bool) {
        self.counts.packets += 1;
        if good {
            self.end_run();
            self.good_since = self.good_since.saturating_add(1);
            if self.good_since >= GMIN {
                self.end_burst();
            }
            return;
        }
        self.counts.bad += 1;
        self.run += 1;
        self.length += if self.bad > 0 { u64::from(self.good_since) + 1 } else { 1 };
        self.bad += 1;
        self.good_since = 0;
    }

    /// Counts so far, what is under way taken as ended.
    pub fn counts(mut self) -> Bursts {
        self.end_run();
        self.end_burst();
        self.counts.streams = u64::from(self.counts.packets > 0);
        self.counts
    }

    fn end_run(&mut self) {
        let run = std::mem::take(&mut self.run) as usize;
        if run > 0 {
            self.counts.runs[run.min(RUNS) - 1] += 1;
        }
    }

    fn end_burst(&mut self) {
        if self.bad >= 2 {
            self.counts.bursts += 1;
            self.counts.burst_packets += self.length;
            self.counts.burst_bad += self.bad;
        }
        (self.length, self.bad) = (0, 0);
    }
}

impl Bursts {
    pub fn add(&mut self, other: &Bursts) {
        self.streams += other.streams;
        self.packets += other.packets;
        self.bad += other.bad;
        self.bursts += other.bursts;
        self.burst_packets += other.burst_packets;
        self.burst_bad += other.burst_bad;
        for (ours, theirs) in self.runs.iter_mut().zip(other.runs) {
            *ours += theirs;
        }
    }

    /// Share of the packets in bursts, and of those outside, that were bad.
    pub fn burst_density(&self) -> f64 {
        share(self.burst_bad, self.burst_packets)
    }

    pub fn gap_density(&self) -> f64 {
        share(self.bad - self.burst_bad, self.packets - self.burst_packets)
    }

    /// Mean lengths at one packet every `period`; a stream has one gap more than bursts.
    pub fn burst_length(&self, period: Duration) -> Duration {
        period.mul_f64(share(self.burst_packets, self.bursts))
    }

    pub fn gap_length(&self, period: Duration) -> Duration {
        period.mul_f64(share(self.packets - self.burst_packets, self.bursts + self.streams))
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `x` is bad, anything else good.
    fn counts(pattern: &str) -> Bursts {
        let mut tracker = Tracker::default();
        pattern.chars().for_each(|c| tracker.feed(c != 'x'));
        tracker.counts()
    }

    #[test]
    fn single_losses_far_apart_are_no_burst() {
        let gap = ".".repeat(16);
        let counts = counts(&format!("{gap}x{gap}x{gap}"));
        assert_eq!((counts.bursts, counts.bad, counts.runs[0]), (0, 2, 2));
        assert!((counts.gap_density() - 2.0 / 50.0).abs() < 1e-12 && counts.burst_density() == 0.0);
    }

    #[test]
    fn fewer_than_gmin_good_packets_do_not_end_a_burst() {
        let counts = counts(&format!("{}x{}xx{}", ".".repeat(20), ".".repeat(15), ".".repeat(20)));
        assert_eq!((counts.bursts, counts.burst_packets, counts.burst_bad), (1, 18, 3));
        assert_eq!(counts.runs[..3], [1, 1, 0]);
        assert!((counts.burst_density() - 3.0 / 18.0).abs() < 1e-12);
        assert_eq!(counts.burst_length(Duration::from_millis(20)), Duration::from_millis(360));
        assert_eq!(counts.gap_length(Duration::from_millis(20)), Duration::from_millis(400));
    }

    #[test]
    fn what_is_under_way_at_the_end_counts_and_long_runs_share_a_place() {
        let counts = counts(&"x".repeat(25));
        assert_eq!((counts.bursts, counts.burst_packets, counts.runs[RUNS - 1]), (1, 25, 1));
    }

    #[test]
    fn streams_add_up() {
        let mut sum = counts("xx..................");
        sum.add(&counts("...................."));
        assert_eq!((sum.streams, sum.packets, sum.bursts), (2, 40, 1));
        assert_eq!(sum.gap_length(Duration::from_millis(20)), Duration::from_secs_f64(38.0 / 3.0 * 0.02));
    }
}
