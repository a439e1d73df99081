//! What ends when. One entry per allocation, moved when it is refreshed: nothing piles up.

use std::collections::BTreeSet;

use super::allocation::Key;
use crate::time::Millis;

/// Allocations by the moment they expire.
#[derive(Default)]
pub(crate) struct Timers {
    ends: BTreeSet<(Millis, Key)>,
}

impl Timers {
    pub(crate) fn set(&mut self, at: Millis, what: Key) {
        self.ends.insert((at, what));
    }

    /// `at` must be the moment it was set to.
    pub(crate) fn clear(&mut self, at: Millis, what: Key) {
        self.ends.remove(&(at, what));
    }

    pub(crate) fn next(&self) -> Option<Millis> {
        self.ends.first().map(|&(at, _)| at)
    }

    /// Takes out the earliest, if it is due.
    pub(crate) fn pop_due(&mut self, now: Millis) -> Option<Key> {
        self.ends.first().filter(|(at, _)| *at <= now)?;
        self.ends.pop_first().map(|(_, what)| what)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }
}
