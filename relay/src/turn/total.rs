//! What everybody together may relay: buckets that all workers take from, in lots, so that they rarely meet at one cache line.

use super::meter::{Limits, MAX_PAYLOAD_BITS};
use crate::access::{Rate, SharedBucket};
use crate::time::Millis;

/// A worker takes this part of a second's worth at once.
const LOTS_PER_SECOND: u64 = 256;

/// The buckets, one pair for all workers.
#[derive(Default)]
pub(crate) struct Total {
    packets: SharedBucket,
    bits: SharedBucket,
}

/// One worker's view of them.
pub(crate) struct Share {
    packets: Option<Lots>,
    bits: Option<Lots>,
}

/// What a worker took out of a bucket and has not used yet.
struct Lots {
    rate: Rate,
    lot: u64,
    left: u64,
}

impl Total {
    /// Full again, for new limits.
    pub(crate) fn refill(&self) {
        self.packets.refill();
        self.bits.refill();
    }
}

impl Share {
    pub(crate) fn new(limits: Limits) -> Share {
        let lots = |per_second: u64, burst: u64| {
            let rate = Rate::new(per_second, burst)?;
            Some(Lots { rate, lot: per_second / LOTS_PER_SECOND, left: 0 })
        };
        let (packets, bits) = (limits.packets_per_second.into(), limits.bits_per_second);
        Share { packets: lots(packets, packets), bits: lots(bits, bits.max(MAX_PAYLOAD_BITS)) }
    }

    /// Whether one more packet may be relayed. Counts it.
    #[inline]
    pub(crate) fn admit(&mut self, total: &Total, now: Millis, payload: usize) -> bool {
        let packets = self.packets.as_mut().is_none_or(|lots| lots.spend(now, 1, &total.packets));
        packets && self.bits.as_mut().is_none_or(|lots| lots.spend(now, payload as u64 * 8, &total.bits))
    }
}

impl Lots {
    #[inline]
    fn spend(&mut self, now: Millis, amount: u64, bucket: &SharedBucket) -> bool {
        if self.left < amount {
            let lot = self.lot.max(amount);
            if bucket.take(now, lot, &self.rate) {
                self.left += lot;
            } else if !bucket.take(now, amount, &self.rate) {
                return false;
            } else {
                self.left += amount;
            }
        }
        self.left -= amount;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Millis = Millis(5_000);

    /// Packets of so many bytes that get through when workers take turns for so many seconds, a thousand of each a second.
    fn through(limits: Limits, workers: usize, payload: usize, secs: u64) -> u64 {
        let total = Total::default();
        let mut shares: Vec<Share> = (0..workers).map(|_| Share::new(limits)).collect();
        let mut passed = 0;
        for milli in 0..secs * 1000 {
            for share in &mut shares {
                passed += u64::from(share.admit(&total, START.after(milli), payload));
            }
        }
        passed
    }

    #[test]
    fn workers_share_one_limit_whoever_is_busy() {
        for workers in [1, 2, 7] {
            let packets = Limits { packets_per_second: 512, bits_per_second: 0 };
            let passed = through(packets, workers, 100, 100);
            assert!((51_200..=51_712).contains(&passed), "{passed} of 512 packets a second by {workers}");
            let bits = Limits { packets_per_second: 0, bits_per_second: 800_000 };
            let passed = through(bits, workers, 1_000, 100);
            assert!((9_990..=10_100).contains(&passed), "{passed} of 8000 bits each from 800 kbit/s by {workers}");
        }
    }

    #[test]
    fn without_limits_everything_passes_and_nothing_is_counted() {
        assert_eq!(through(Limits::NONE, 2, 65_535, 1), 2_000);
    }

    #[test]
    fn a_limit_below_one_lot_still_lets_through_what_it_promises() {
        let limits = Limits { packets_per_second: 3, bits_per_second: 0 };
        assert_eq!(through(limits, 1, 10, 10), 3 + 30 - 1);
    }
}
