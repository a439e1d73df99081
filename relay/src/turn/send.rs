//! Send indications (RFC 8656 §11.2): data for a peer without a channel. Data path, like [`super::forward`].

use std::net::SocketAddr;

use super::Turn;
use super::counters::Reason;
use super::five_tuple::FiveTuple;
use super::io::{Forward, Packet};
use super::meter::Direction;
use super::peer::{Peer, canonical_peer, relayed_towards};
use crate::time::Millis;
use crate::wire::indication;

impl Turn {
    pub(super) fn send(&mut self, now: Millis, from: &FiveTuple, packet: &mut Packet<'_>) -> Forward {
        let Ok(send) = indication::parse_send(packet.bytes()) else { return self.dropped(Reason::Malformed) };
        let Some((key, allocation)) = self.sender(from, now) else { return self.dropped(Reason::NoAllocation) };
        if allocation.tcp {
            return self.dropped(Reason::NoAllocation); // RFC 6062 §3: none for datagrams
        }
        let mut peer = Peer::unchecked(&self.shared, send.peer);
        let Some(relayed) = relayed_towards(allocation, send.peer, &peer, now) else {
            return self.dropped(Reason::FamilyMismatch);
        };
        if !allocation.may_reach(&peer, now) {
            return self.dropped(Reason::NoPermission);
        }
        if !allocation.is_call_bound() {
            peer.outside = self.outside(&peer, send.peer);
        }
        if let Err(why) = self.meter(now, key, Direction::Sent, send.data.len()) {
            return self.dropped(why);
        }
        let payload = packet.data.start + send.data.start..packet.data.start + send.data.end;
        self.onward(now, relayed, &peer, packet, payload)
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
