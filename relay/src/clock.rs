//! Reads the clocks. The core never does: it is handed a [`Now`] with each input.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

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

    /// Both clocks now. A wall clock before 1970 reads as 1970.
    pub fn now(&self) -> Now {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        Now { mono: self.mono(), unix: Unix(unix) }
    }

    /// The monotonic clock alone.
    pub fn mono(&self) -> Millis {
        Millis(u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX))
    }
}
