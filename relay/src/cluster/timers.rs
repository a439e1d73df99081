//! What wakes the cluster. As at the desk, a timer that is no longer wanted stays and finds nothing to do.

use super::message::{CallId, Peer};

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
    /// Whoever waits has been announced to us.
    Gathered,
    /// The call should be connected.
    SetUp(CallId),
    /// That node has been silent for so long that its calls are over.
    Silent(Peer),
}

pub(super) type Timers = crate::timers::Timers<Timer>;
