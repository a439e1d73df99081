//! Reads the clocks. The core never does: it is handed a [`Now`] with each input.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::time::{Millis, Now, Unix};

/// A clock that counts from the moment it was made; copies agree with each other.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    pub fn start() -> Clock {
        Clock { start: Instant::now() }
    }

    /// A clock that has counted for so long already: it goes on where another process's is.
    pub fn started(before: Duration) -> Clock {
        let now = Instant::now();
        Clock { start: now.checked_sub(before).unwrap_or(now) }
    }

    /// How long it has counted.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Both clocks now. A wall clock before 1970 reads as 1970.
    pub fn now(&self) -> Now {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let mono = self.start.elapsed();
        Now { mono: millis(mono), unix: Unix(unix), micros: (mono.subsec_micros() % 1000) as u16 }
    }

    /// The monotonic clock alone.
    pub fn mono(&self) -> Millis {
        millis(self.start.elapsed())
    }
}

fn millis(since_start: Duration) -> Millis {
    Millis(u64::try_from(since_start.as_millis()).unwrap_or(u64::MAX))
}
