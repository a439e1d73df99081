//! Send indications (RFC 8656 §11.2): data for a peer without a channel. Data path, like [`super::forward`]. Whatever is wrong,
//! the indication is dropped and counted. In the section's order:
//!
//! 1. both XOR-PEER-ADDRESS and DATA (perhaps empty) are there;
//! 2. DONT-FRAGMENT can be obeyed;
//! 3. there is a permission for the peer's address, which this does not refresh;
//! 4. the peer is allowed;
//! 5. a UDP datagram leaves from the relayed address of the peer's family.

use std::net::SocketAddr;

use super::Turn;
use super::counters::Reason;
use super::io::{Forward, Packet};
use super::meter::Direction;
use super::peer::{Peer, canonical_peer, relayed_towards};
use crate::routes::FiveTuple;
use crate::time::Millis;
use crate::wire::indication;

impl Turn {
    pub(super) fn send(&mut self, now: Millis, from: &FiveTuple, packet: &mut Packet<'_>) -> Forward {
        // 1
        let Ok(send) = indication::parse_send(packet.bytes()) else { return self.dropped(Reason::Malformed) };
        let Some((key, allocation)) = self.sender(from, now) else { return self.dropped(Reason::NoAllocation) };
        if allocation.tcp {
            return self.dropped(Reason::NoAllocation); // RFC 6062 §3: none for datagrams
        }
        let mut peer = Peer::unchecked(&self.shared.routes, send.peer);
        let Some(relayed) = relayed_towards(allocation, send.peer, &peer, now) else {
            return self.dropped(Reason::FamilyMismatch);
        };
        if !allocation.may_reach(&peer, now) {
            return self.dropped(Reason::NoPermission); // 3
        }
        if !allocation.is_call_bound() {
            peer.outside = self.outside(&peer, send.peer); // 4
        }
        let payload = packet.data.start + send.data.start..packet.data.start + send.data.end;
        if let Err(why) = self.meter(now, key, Direction::Sent, &packet.buffer[payload.clone()]) {
            return self.dropped(why);
        }
        let whole = send.dont_fragment && may_forbid_fragments(from, send.peer); // 2
        self.onward(now, relayed, &peer, packet, payload, whole) // 5
    }

    /// The permission was for the IP address only; the port decides whether this is a listener of ours, or, on an address
    /// we relay on, anything at all that the policy allows.
    fn outside(&self, peer: &Peer, written: SocketAddr) -> Option<SocketAddr> {
        let address = canonical_peer(written);
        match peer.own {
            Some(own) if self.shared.routes.is_live(own) => None,
            Some(_) => self.shared.policy.check(address, |_| false).ok().map(|allowed| allowed.addr()),
            None => (!self.shared.policy.is_own_listener(address)).then_some(address),
        }
    }
}

/// DONT-FRAGMENT counts from IPv4 to IPv4 (RFC 8656 §14) and for clients that come over a stream (§15). Where IP versions are
/// translated, and from IPv6 to IPv6, it must be ignored over UDP (§13).
fn may_forbid_fragments(client: &FiveTuple, peer: SocketAddr) -> bool {
    client.transport.is_stream() || client.remote.is_ipv4() && peer.is_ipv4()
}
