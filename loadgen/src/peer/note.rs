//! What callers whose media does not pass through the media thread's packets notice: full callers and the cross-check.

use std::time::Duration;

use crate::time::Nanos;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// The first connectivity check leaves.
    Checking,
    /// A candidate pair is valid (ICE connected).
    Connected,
    /// DTLS is done and the partner's fingerprint right.
    Secured,
    /// A packet left this late.
    Sent { due: Nanos, late: Duration },
    /// A packet of the partner came at `at`.
    Heard { at: Nanos, delay: Duration, variation: Duration, first: bool },
    /// Media of somebody else's call.
    Foreign,
    /// Not as it was sent.
    Corrupt,
}
