//! Buckets whose bounds grow by a constant factor, as native histograms of Prometheus and exponential histograms of OTLP have them: eight
//! for each doubling, so that a quantile is off by 9 % at most and nobody has to choose bounds.

use std::sync::atomic::{AtomicU64, Ordering};

/// 2^3 buckets for each doubling: `schema` in Prometheus, `scale` in OTLP.
pub(crate) const SCHEMA: i32 = 3;
/// Bucket `i` holds seconds above 2^((i-1)/8), up to 2^(i/8). The first one kept holds 1 ms, the last one an hour and everything above.
pub(crate) const FIRST: i32 = -79;
const LAST: i32 = 95;
const BUCKETS: usize = (LAST - FIRST + 1) as usize;
/// Seconds up to this count as none: the clock here does not tell them apart.
pub(crate) const ZERO: f64 = 0.000_5;

/// Durations counted. One writer or many: plain additions.
#[derive(Debug)]
pub(crate) struct Exponential {
    /// Place 0 is for what took no time.
    counts: [AtomicU64; BUCKETS + 1],
}

impl Default for Exponential {
    fn default() -> Exponential {
        Exponential { counts: [const { AtomicU64::new(0) }; BUCKETS + 1] }
    }
}

impl Exponential {
    pub(crate) fn observe(&self, millis: u64) {
        self.counts[place(millis)].fetch_add(1, Ordering::Relaxed);
    }

    /// What took no time, then by bucket.
    pub(crate) fn counts(&self) -> Vec<u64> {
        self.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect()
    }
}

fn place(millis: u64) -> usize {
    if millis == 0 {
        return 0;
    }
    let bucket = ((millis as f64 / 1000.0).log2() * 8.0).ceil() as i32;
    (bucket.clamp(FIRST, LAST) - FIRST + 1) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_falls_between_the_bounds_of_its_bucket() {
        let bound = |bucket: i32| 2f64.powf(f64::from(bucket) / 8.0) * 1000.0;
        for millis in (1..5_000).chain([60_000, 600_000, 3_000_000]) {
            let bucket = place(millis) as i32 - 1 + FIRST;
            let millis = millis as f64;
            assert!(bound(bucket - 1) < millis * 1.000_001 && millis <= bound(bucket) * 1.000_001, "{millis} {bucket}");
        }
        assert_eq!((place(0), place(1), place(u64::MAX)), (0, 1, BUCKETS));
    }
}
