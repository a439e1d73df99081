//! How fast bytes may pass: the bandwidth of one allocation, in one direction, over all its connections. What is too fast waits.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// What may pass at once after a pause, in time.
const BURST: Duration = Duration::from_secs(1);

/// One direction of one allocation.
pub(super) struct Pace {
    /// Zero: no limit.
    bits_per_second: u64,
    /// When all that was let through is paid for.
    paid: Mutex<Option<Instant>>,
}

impl Pace {
    pub(super) fn new(bits_per_second: u64) -> Pace {
        Pace { bits_per_second, paid: Mutex::default() }
    }

    /// Waits until so many more bytes may pass.
    pub(super) async fn wait(&self, bytes: usize) {
        if self.bits_per_second > 0 {
            let delay = self.delay(Instant::now(), bytes);
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
        }
    }

    fn delay(&self, now: Instant, bytes: usize) -> Duration {
        let cost = Duration::from_secs_f64(bytes as f64 * 8.0 / self.bits_per_second as f64);
        let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
        let until = paid.filter(|paid| *paid > now).unwrap_or(now) + cost;
        *paid = Some(until);
        (until - now).saturating_sub(BURST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_what_follows_waits_its_time() {
        let (pace, start) = (Pace::new(80_000), Instant::now());
        assert_eq!(pace.delay(start, 10_000), Duration::ZERO, "a second's worth");
        assert_eq!(pace.delay(start, 5_000), Duration::from_millis(500));
        assert_eq!(pace.delay(start + Duration::from_secs(10), 10_000), Duration::ZERO, "after a pause");
    }

    #[tokio::test]
    async fn without_a_limit_nothing_waits() {
        tokio::time::timeout(Duration::from_secs(5), Pace::new(0).wait(usize::MAX)).await.expect("at once");
    }
}
