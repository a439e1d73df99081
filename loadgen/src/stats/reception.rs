//! What one receiver learns of one stream: loss, reorder, duplicates, jitter and late packets (RFC 3550 §6.4.1, A.1, A.3,
//! A.8). Times are nanoseconds; sequence numbers are RTP's sixteen bits.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    bursts::{Bursts, Tracker},
    emodel::{self, Codec, JITTER_BUFFER, PACKETISATION},
};

/// How far back a duplicate is still told from a late packet.
const WINDOW: u64 = 128;

/// Running state of one received stream.
#[derive(Clone, Debug, Default)]
pub struct Reception {
    /// Packets that were new.
    pub received: u64,
    pub duplicates: u64,
    /// Packets that came behind one with a higher number.
    pub reordered: u64,
    /// Packets later than the modelled jitter buffer allows.
    pub late: u64,
    base: u64,
    highest: u64,
    seen: u128,
    /// As `seen`, without those that came too late.
    good: u128,
    /// What has left the window.
    bursts: Tracker,
    jitter: f64,
    last_transit: Option<i64>,
    min_transit: i64,
    transit_sum: i64,
    /// Runs of consecutive losses, and the losses in them, as they appeared in order of arrival.
    gaps: u64,
    gap_packets: u64,
}

/// The account of a stream once it has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    pub expected: u64,
    pub received: u64,
    /// Expected and never received; duplicates do not hide them.
    pub lost: u64,
    pub duplicates: u64,
    pub reordered: u64,
    pub late: u64,
    pub jitter: Duration,
    /// Mean one-way delay on the run's clock.
    pub delay: Duration,
    /// Mean loss run relative to that of random loss; 1 without loss.
    pub burst_ratio: f64,
    pub bursts: Bursts,
}

impl Reception {
    /// One packet with the low bits of its number, stamped `sent` and `arrived` on the same clock. Returns its delay
    /// variation: how much longer it took than the fastest so far (RFC 5481 §4.2).
    pub fn handle(&mut self, sequence: u16, sent: u64, arrived: u64) -> Duration {
        let transit = arrived as i64 - sent as i64;
        self.update_jitter(transit);
        let number = self.extend(sequence);
        if self.is_duplicate(number) {
            self.duplicates += 1;
            return self.variation(transit);
        }
        self.received += 1;
        self.transit_sum += transit;
        self.min_transit = if self.received == 1 { transit } else { self.min_transit.min(transit) };
        let back = if number == u64::MAX { 0 } else { self.highest - number };
        if transit - self.min_transit > JITTER_BUFFER.as_nanos() as i64 {
            self.late += 1;
        } else if back < WINDOW {
            self.good |= 1 << back;
        }
        self.variation(transit)
    }

    fn variation(&self, transit: i64) -> Duration {
        Duration::from_nanos(u64::try_from(transit - self.min_transit).unwrap_or(0))
    }

    /// The highest number received, counting from the first; wraps are counted (RFC 3550 A.1).
    pub fn highest(&self) -> u64 {
        self.highest - self.base
    }

    pub fn summary(&self) -> Summary {
        let expected = if self.received == 0 { 0 } else { self.highest - self.base + 1 };
        let lost = expected.saturating_sub(self.received);
        Summary {
            expected,
            received: self.received,
            lost,
            duplicates: self.duplicates,
            reordered: self.reordered,
            late: self.late,
            jitter: Duration::from_nanos(self.jitter as u64),
            delay: Duration::from_nanos((self.transit_sum / (self.received.max(1) as i64)).max(0) as u64),
            burst_ratio: self.burst_ratio(expected, lost),
            bursts: self.all_bursts(),
        }
    }

    /// J += (|D| − J) / 16 on every packet in order of arrival (RFC 3550 A.8).
    fn update_jitter(&mut self, transit: i64) {
        if let Some(last) = self.last_transit.replace(transit) {
            self.jitter += ((transit - last).abs() as f64 - self.jitter) / 16.0;
        }
    }

    /// Sixteen bits to a number that never wraps, and the gap bookkeeping of a new highest.
    fn extend(&mut self, sequence: u16) -> u64 {
        if self.received == 0 {
            self.base = u64::from(sequence) + (1 << 16); // room below for packets overtaken by the first
            self.highest = self.base;
            self.seen = 1;
            return u64::MAX;
        }
        let step = sequence.wrapping_sub(self.highest as u16) as i16;
        let number = self.highest.saturating_add_signed(i64::from(step));
        if number > self.highest {
            let skipped = number - self.highest - 1;
            self.gaps += u64::from(skipped > 0);
            self.gap_packets += skipped;
            self.leave(skipped + 1);
            self.good = self.good.checked_shl((skipped + 1) as u32).unwrap_or(0);
            self.seen = self.seen.checked_shl((skipped + 1) as u32).unwrap_or(0) | 1;
            self.highest = number;
            return u64::MAX;
        }
        number
    }

    /// The oldest packets of the window are past being overtaken: what they were is final.
    fn leave(&mut self, steps: u64) {
        for step in 0..steps {
            // The packet that is as far back as the window when the highest has gone up by one more.
            let number = (self.highest + 1 + step).saturating_sub(WINDOW);
            if number >= self.base {
                let back = self.highest.saturating_sub(number);
                self.bursts.feed(number <= self.highest && self.good >> back & 1 == 1);
            }
        }
    }

    fn all_bursts(&self) -> Bursts {
        if self.received == 0 {
            return Bursts::default();
        }
        let mut rest = self.clone();
        rest.leave(WINDOW);
        rest.bursts.counts()
    }

    /// `number` is `u64::MAX` for a new highest, which is none.
    fn is_duplicate(&mut self, number: u64) -> bool {
        if number == u64::MAX {
            return false;
        }
        let back = self.highest - number;
        let bit = if back < WINDOW { 1u128 << back } else { 0 };
        if self.seen & bit != 0 {
            return true;
        }
        self.seen |= bit;
        self.reordered += 1;
        self.base = self.base.min(number);
        self.gap_packets = self.gap_packets.saturating_sub(1);
        false
    }

    /// Observed mean run of losses over the 1 / (1 − p) of random loss (ITU-T G.107 §3.5).
    fn burst_ratio(&self, expected: u64, lost: u64) -> f64 {
        if lost == 0 || self.gaps == 0 {
            return 1.0;
        }
        let p = lost as f64 / expected as f64;
        let mean_run = self.gap_packets as f64 / self.gaps as f64;
        (mean_run * (1.0 - p)).max(1.0)
    }
}

impl Summary {
    /// Lost in the network or too late for the jitter buffer, percent of expected.
    pub fn loss_percent(&self) -> f64 {
        if self.expected == 0 { 0.0 } else { (self.lost + self.late) as f64 * 100.0 / self.expected as f64 }
    }

    /// The E-model's rating of this stream; none where nothing was received.
    pub fn rating(&self, codec: Codec) -> Option<f64> {
        let mouth_to_ear = (self.delay + PACKETISATION + JITTER_BUFFER).as_secs_f64() * 1e3;
        (self.received > 0).then(|| emodel::rating(codec, mouth_to_ear, self.loss_percent(), self.burst_ratio))
    }
}

#[cfg(test)]
#[path = "reception_tests.rs"]
mod tests;
