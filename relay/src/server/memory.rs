//! Memory that a crowd took goes back to the system when the crowd has gone. The tables let go of theirs; the heap keeps what is
//! free until it is told.

use crate::dataplane::Running;

/// Allocations fewer than this are not worth the trouble.
const WORTH: u64 = 1_000;

/// Watches how many allocations there are.
#[derive(Default)]
pub(super) struct Memory {
    /// The most since memory was last given back.
    most: u64,
}

impl Memory {
    /// To be called from time to time, by a thread that no packet waits for.
    pub(super) fn look(&mut self, workers: &Running) {
        let now = workers.counters().iter().map(|counters| counters.allocations()).sum();
        if self.has_much_to_give(now) {
            workers.give_memory_back();
        }
    }

    /// Whether half of what there was at the most is gone. Begins anew if so.
    fn has_much_to_give(&mut self, now: u64) -> bool {
        self.most = self.most.max(now);
        let much = self.most - now >= WORTH && now <= self.most / 2;
        if much {
            self.most = now;
        }
        much
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_given_back_once_for_each_crowd_that_goes() {
        let mut memory = Memory::default();
        let looks = [10, 5, 0, 50_000, 30_000, 25_000, 25_000, 13_000, 12_000, 900, 0, 0, 2_000, 0];
        let given: Vec<bool> = looks.iter().map(|now| memory.has_much_to_give(*now)).collect();
        let at: Vec<u64> = looks.iter().zip(given).filter_map(|(now, given)| given.then_some(*now)).collect();
        assert_eq!(at, [25_000, 12_000, 900, 0]);
    }
}
