//! A peer that the policy, or the call, allowed: what it is called, and the two ways there.

use std::net::SocketAddr;

use super::allocation::Allocation;
use super::reject::Reject;
use super::relayed::Relayed;
use super::shared::Shared;
use crate::access::canonical;
use crate::routes::{RelayedPort, Routes};
use crate::time::Millis;

/// A peer somebody may send to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Peer {
    /// What its packets are known by: canonical, and a relayed address of ours in its public form.
    pub(crate) name: SocketAddr,
    /// Where to send through a socket, if the policy allows that; otherwise only while it is a live relayed address.
    pub(crate) outside: Option<SocketAddr>,
    /// The relayed port this address would be here, held by somebody or not.
    pub(crate) own: Option<RelayedPort>,
}

impl Peer {
    /// A peer as a client wrote it or as the kernel reported it, not yet allowed.
    pub(crate) fn unchecked(routes: &Routes, written: SocketAddr) -> Peer {
        let address = canonical_peer(written);
        let own = routes.locate(address);
        let name = own.and_then(|own| routes.public(own)).unwrap_or(address);
        Peer { name, outside: None, own }
    }

    /// The peer of a ChannelBind by ordinary credentials: one function for every method decides, `access` (RFC 8656 §12.2).
    pub(crate) fn allowed(shared: &Shared, written: SocketAddr) -> Result<Peer, Reject> {
        let live = |address| shared.is_live_relayed(address);
        let allowed = shared.policy.check(written, live).map_err(|_| Reject::Forbidden)?.addr();
        let outside = shared.policy.check(allowed, |_| false).is_ok().then_some(allowed);
        Ok(Peer { outside, ..Peer::unchecked(&shared.routes, allowed) })
    }

    /// The peer of a CreatePermission by ordinary credentials. Its port says nothing (RFC 8656 §10.2), but whoever names a
    /// listener of ours is told no.
    pub(crate) fn permitted(shared: &Shared, written: SocketAddr) -> Result<Peer, Reject> {
        let peer = Peer::unchecked(&shared.routes, written);
        if written.port() != 0 && shared.policy.is_own_listener(written) {
            return Err(Reject::Forbidden);
        }
        let live = shared.is_live_relayed(peer.name);
        shared.policy.check_address(written.ip(), |_| live).map_err(|_| Reject::Forbidden)?;
        Ok(peer)
    }

    /// The peer of anything done with call-bound credentials: the other side of the same call, exactly. `of`: all its ports
    /// are on the same side.
    pub(crate) fn partner(shared: &Shared, of: &Relayed, written: SocketAddr) -> Result<Peer, Reject> {
        let own = shared.routes.locate(written).ok_or(Reject::Forbidden)?;
        if !of.ports().any(|of| shared.routes.are_partners(of, own)) {
            return Err(Reject::Forbidden);
        }
        Ok(Peer { name: shared.routes.public(own).unwrap_or(written), outside: None, own: Some(own) })
    }
}

/// The transport address a packet to `written` would really reach.
pub(crate) fn canonical_peer(written: SocketAddr) -> SocketAddr {
    SocketAddr::new(canonical(written.ip()), written.port())
}

/// Which of an allocation's relayed ports packets to and from this peer pass: the one of the family that the peer was
/// written in and really has. `None`: there is none (RFC 8656 §10.2, §12.2: 443).
pub(crate) fn relayed_towards(
    allocation: &Allocation,
    written: SocketAddr,
    peer: &Peer,
    now: Millis,
) -> Option<RelayedPort> {
    let ipv6 = peer.name.is_ipv6();
    allocation.relayed.live(ipv6, now).filter(|_| written.is_ipv6() == ipv6)
}
