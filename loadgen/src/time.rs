//! The run's one clock. Everything that is measured is a [`Nanos`] on it; only edges read it.

use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};

/// Nanoseconds since the run's clock was started (monotonic).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Nanos(pub u64);

impl Nanos {
    pub const ZERO: Nanos = Nanos(0);

    /// The moment `later` from here; saturates instead of wrapping.
    pub fn after(self, later: Duration) -> Nanos {
        Nanos(self.0.saturating_add(u64::try_from(later.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// Time from `earlier` to `self`, zero if `earlier` lies ahead.
    pub fn since(self, earlier: Nanos) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Counts from the moment it was made; copies agree with each other.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    pub fn start() -> Clock {
        Clock { origin: Instant::now() }
    }

    /// Counts from a moment of the wall clock, so that processes that agree on it agree on every stamp: on one machine to
    /// a few microseconds, between machines as far as their wall clocks agree. Zero until then.
    pub fn from_wall(origin: SystemTime) -> Clock {
        let (instant, wall) = (Instant::now(), SystemTime::now());
        let origin = match origin.duration_since(wall) {
            Ok(ahead) => instant + ahead,
            Err(behind) => instant.checked_sub(behind.duration()).unwrap_or(instant),
        };
        Clock { origin }
    }

    pub fn now(&self) -> Nanos {
        let elapsed = Instant::now().saturating_duration_since(self.origin);
        Nanos(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX))
    }

    /// The same moment as the standard library and tokio name it.
    pub fn instant(&self, at: Nanos) -> Instant {
        self.origin + Duration::from_nanos(at.0)
    }
}

/// Milliseconds with a fraction, the unit of every table and of the JSON.
pub fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
