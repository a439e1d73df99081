//! What wakes the cluster. As at the desk, a timer that is no longer wanted stays and finds nothing to do.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::message::{CallId, Peer};
use crate::time::Millis;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// Say that we are there.
    Heartbeat,
    /// Say how far each row has come.
    Marks,
    /// Compare calls with those who share them.
    Audit,
    /// A promise or a commit is unanswered.
    Home(CallId),
    /// A pairing of ours is unsettled.
    Claim(CallId),
    /// The call should be connected.
    SetUp(CallId),
    /// That node has been silent for so long that its calls are over.
    Silent(Peer),
}

#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<(Millis, Timer)>>,
}

impl Timers {
    pub(super) fn set(&mut self, at: Millis, timer: Timer) {
        self.heap.push(Reverse((at, timer)));
    }

    pub(super) fn next(&self) -> Option<Millis> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    pub(super) fn pop_due(&mut self, now: Millis) -> Option<Timer> {
        self.next().filter(|at| *at <= now)?;
        self.heap.pop().map(|Reverse((_, timer))| timer)
    }
}
