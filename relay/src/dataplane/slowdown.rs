//! A packet path that is slower on purpose, for the proof that `loadgen ab` finds it: builds with the feature `slowdown` only,
//! which nobody serves people with. What a worker uses of its processor, system calls included, grows by [`VARIABLE`] per cent.

use std::time::Duration;

use super::sys::thread_cpu;

/// Names the per cent in the environment; without it [`USUAL_PERCENT`].
const VARIABLE: &str = "RELAY_SLOWDOWN_PERCENT";
const USUAL_PERCENT: f64 = 10.0;

/// What one worker has still to waste.
pub(super) struct Slowdown {
    share: f64,
    paid: Duration,
}

/// How much slower this build is, in per cent.
pub(crate) fn percent() -> f64 {
    let told = std::env::var(VARIABLE).ok().and_then(|text| text.parse().ok());
    told.filter(|percent| (0.0..=100.0).contains(percent)).unwrap_or(USUAL_PERCENT)
}

impl Slowdown {
    /// For the calling thread.
    pub(super) fn new() -> Slowdown {
        Slowdown { share: percent() / 100.0, paid: thread_cpu() }
    }

    /// Wastes its share of what this thread used since the last time.
    pub(super) fn pay(&mut self) {
        let now = thread_cpu();
        let until = now + now.saturating_sub(self.paid).mul_f64(self.share);
        self.paid = now;
        while self.paid < until {
            std::hint::spin_loop();
            self.paid = thread_cpu();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_pays_its_share_and_no_more_than_it_used() {
        let mut slowdown = Slowdown { share: 0.5, paid: thread_cpu() };
        let began = thread_cpu();
        while thread_cpu() < began + Duration::from_millis(40) {
            std::hint::spin_loop();
        }
        let worked = thread_cpu();
        slowdown.pay();
        let paid = thread_cpu() - worked;
        assert!(paid >= Duration::from_millis(20), "{paid:?}");
        assert!(paid < Duration::from_millis(200), "{paid:?}");
    }
}
