//! What they may do: which peers may be reached, and how often ([`Limiter`], [`Bucket`]). One policy for every method and
//! transport.
//!
//! 1. Port 0 and this server's own listeners: never.
//! 2. Live relayed addresses of this server: always. The other side is a client like this one, and no loop can form.
//! 3. `deny_peers`, then `allow_peers`, as the operator wrote them.
//! 4. This machine's other addresses and the [default deny list](denied_by_default): no.
//! 5. The rest of the world: yes.
//!
//! Addresses are made [canonical](canonical()) first, so that no disguise of an IPv4 address is another address. Denied is
//! denied in either form, and what was allowed is sent to in its canonical form only. Call-bound credentials never come
//! here: the ledger knows the one peer they have.

mod bucket;
mod canonical;
mod limiter;
mod listeners;
mod policy;
mod ranges;

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

pub use bucket::{Bucket, Rate, SharedBucket};
pub use canonical::{canonical, is_tunnelled};
pub use limiter::{Limiter, ReplyLimits};
pub use policy::{AllowedAddress, AllowedPeer, Denied, Policy};
pub use ranges::denied_by_default;

/// What the operator allows and denies, and where this server itself is.
#[derive(Clone, Default)]
pub struct Settings {
    pub allow_peers: Vec<IpNet>,
    pub deny_peers: Vec<IpNet>,
    /// Every UDP and TCP address this server listens on: TURN, signalling, admin. One on the unspecified address counts for
    /// every own address and for loopback.
    pub own_listeners: Vec<SocketAddr>,
    /// Every address of this machine, the public forms of relayed addresses included.
    pub own_addresses: Vec<IpAddr>,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Settings({} allowed, {} denied, [redacted])", self.allow_peers.len(), self.deny_peers.len())
    }
}
