//! Token buckets in eight bytes and whole numbers. A bucket is kept as the moment at which it will be full again: nothing
//! has to be refilled, and zeroed memory is full buckets.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::time::Millis;

const NANOS_PER_SECOND: u64 = 1_000_000_000;
const NANOS_PER_MILLI: u64 = 1_000_000;

/// How fast a bucket fills and how much it holds, in whatever is counted: replies, packets, bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    /// Time to earn one, in 2⁻³² nanoseconds, so that taking needs no division.
    unit: u64,
    /// From empty to full.
    depth_nanos: u64,
}

const FRACTION_BITS: u32 = 32;

impl Rate {
    /// `per_second` on average, and `burst` at once after a pause; the first one is always granted. `None` if `per_second`
    /// is zero: no limit.
    pub fn new(per_second: u64, burst: u64) -> Option<Rate> {
        let second = u128::from(NANOS_PER_SECOND);
        let unit = (second << FRACTION_BITS).checked_div(per_second.into())?;
        let depth = second * u128::from(burst.max(1)) / u128::from(per_second);
        Some(Rate { unit: narrow(unit), depth_nanos: narrow(depth) })
    }

    /// How long it takes to earn this much. Less than a nanosecond is given away.
    fn nanos(&self, amount: u64) -> u64 {
        narrow((u128::from(amount) * u128::from(self.unit)) >> FRACTION_BITS)
    }
}

fn narrow(wide: u128) -> u64 {
    u64::try_from(wide).unwrap_or(u64::MAX)
}

/// One bucket, full to begin with.
#[derive(Clone, Copy, Default, Debug)]
pub struct Bucket {
    full_at_nanos: u64,
}

impl Bucket {
    /// Takes `amount` out, or nothing if there is less.
    pub fn take(&mut self, now: Millis, amount: u64, rate: &Rate) -> bool {
        let now = now.0.saturating_mul(NANOS_PER_MILLI);
        let full_at_nanos = self.full_at_nanos.max(now).saturating_add(rate.nanos(amount));
        let enough = full_at_nanos - now <= rate.depth_nanos;
        if enough {
            self.full_at_nanos = full_at_nanos;
        }
        enough
    }
}

/// One bucket that several threads take from, without a lock.
#[derive(Default, Debug)]
pub struct SharedBucket {
    full_at_nanos: AtomicU64,
}

impl SharedBucket {
    /// As [`Bucket::take`].
    pub fn take(&self, now: Millis, amount: u64, rate: &Rate) -> bool {
        let taken = |full_at_nanos| {
            let mut bucket = Bucket { full_at_nanos };
            bucket.take(now, amount, rate).then_some(bucket.full_at_nanos)
        };
        self.full_at_nanos.fetch_update(Relaxed, Relaxed, taken).is_ok()
    }

    /// Full again, for a new rate.
    pub fn refill(&self) {
        self.full_at_nanos.store(0, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const START: Millis = Millis(5_000);

    #[test]
    fn a_full_bucket_grants_its_burst_and_then_the_rate() {
        for (per_second, burst) in [(3, 3), (7, 20), (100, 500), (1_000_000, 1)] {
            let rate = Rate::new(per_second, burst).unwrap();
            let mut bucket = Bucket::default();
            let granted = |bucket: &mut Bucket, now| (0..2_000).filter(|_| bucket.take(now, 1, &rate)).count() as u64;
            assert_eq!(granted(&mut bucket, START), burst.min(2_000));
            assert_eq!(granted(&mut bucket, START.after(1_000)), per_second.min(burst).min(2_000));
            assert_eq!(
                granted(&mut bucket, START.after(1_000_000)),
                burst.min(2_000),
                "a pause fills it, and no further"
            );
        }
    }

    #[test]
    fn one_at_a_time_at_the_rate_is_always_granted() {
        let rate = Rate::new(50, 1).unwrap();
        let mut bucket = Bucket::default();
        assert!((0..10_000).all(|n| bucket.take(START.after(n * 20), 1, &rate)));
    }

    #[test]
    fn more_than_the_bucket_holds_is_never_granted_and_costs_nothing() {
        let rate = Rate::new(10, 5).unwrap();
        let mut bucket = Bucket::default();
        assert!(!bucket.take(START, 6, &rate));
        assert!(bucket.take(START, 5, &rate));
    }

    #[test]
    fn zero_a_second_is_no_limit_and_extremes_do_not_overflow() {
        assert_eq!(Rate::new(0, 5), None);
        let mut bucket = Bucket::default();
        assert!(bucket.take(Millis(u64::MAX), 1, &Rate::new(1, u64::MAX).unwrap()));
        assert!(!bucket.take(Millis(0), u64::MAX, &Rate::new(1, 1).unwrap()));
        assert!(Bucket::default().take(START, 1, &Rate::new(u64::MAX, 0).unwrap()));
    }

    #[test]
    fn a_clock_that_stands_still_or_goes_back_grants_nothing_more() {
        let rate = Rate::new(10, 2).unwrap();
        let mut bucket = Bucket::default();
        assert!(bucket.take(START, 2, &rate));
        assert!(!bucket.take(START, 1, &rate));
        assert!(!bucket.take(Millis(0), 1, &rate));
    }

    #[test]
    fn threads_that_share_a_bucket_get_no_more_than_it_holds() {
        let (bucket, rate) = (SharedBucket::default(), Rate::new(1_000, 5_000).unwrap());
        let granted = || (0..5_000).filter(|_| bucket.take(START, 1, &rate)).count();
        let all: usize = std::thread::scope(|scope| {
            let threads = [(); 4].map(|()| scope.spawn(granted));
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(all, 5_000);
        bucket.refill();
        assert!(bucket.take(START, 5_000, &rate));
    }

    proptest! {
        #[test]
        fn over_any_time_no_more_than_burst_and_rate_is_granted(
            per_second in 1..100_000u64,
            burst in 1..10_000u64,
            packets in vec((0..200u64, 1..2_000u64), 1..300),
        ) {
            let rate = Rate::new(per_second, burst).unwrap();
            let mut bucket = Bucket::default();
            let (mut now, mut granted, mut count) = (START, 0, 0);
            for (pause, amount) in packets {
                now = now.after(pause);
                if bucket.take(now, amount, &rate) {
                    (granted, count) = (granted + amount, count + 1);
                }
                let earned = now.since(START) * per_second / 1_000 + 1;
                let rounding = count * per_second / NANOS_PER_SECOND + 1;
                prop_assert!(granted <= burst + earned + rounding, "{granted} granted");
            }
        }
    }
}
