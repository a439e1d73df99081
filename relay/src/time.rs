//! Plain values of time for the core. Reading a clock is the business of [`crate::clock`].

use serde::{Deserialize, Serialize};

/// Milliseconds on the monotonic clock since the process started, or since the first of those that took over from one another did.
/// Lifetimes and deadlines use it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Millis(pub u64);

/// Seconds since the Unix epoch. Only what the outside dates by wall clock (credentials, tokens) uses it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Unix(pub u64);

/// One moment on both clocks, handed to the core with every input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    pub mono: Millis,
    pub unix: Unix,
    /// Microseconds since `mono` began, for what is finer than lifetimes.
    pub micros: u16,
}

impl Millis {
    /// The moment `millis` later; saturates instead of wrapping.
    pub const fn after(self, millis: u64) -> Millis {
        Millis(self.0.saturating_add(millis))
    }

    /// Milliseconds from `earlier` to `self`, zero if `earlier` lies ahead.
    pub const fn since(self, earlier: Millis) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Now {
    /// The moment `millis` later on both clocks.
    pub const fn after(self, millis: u64) -> Now {
        Now { mono: self.mono.after(millis), unix: Unix(self.unix.0.saturating_add(millis / 1000)), ..self }
    }

    /// Microseconds on the monotonic clock. It would wrap after half a million years.
    pub const fn fine(self) -> u64 {
        self.mono.0.wrapping_mul(1000).wrapping_add(self.micros as u64)
    }
}
