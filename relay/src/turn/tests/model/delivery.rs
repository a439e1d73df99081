//! The model: where data goes (RFC 8656 §11, §12).

use std::net::SocketAddr;

use super::asked::{Delivery, Identity, Peer, Time};
use super::reference::{Allocation, Model};

impl Model {
    /// §11.2.
    pub(super) fn send(&self, now: Time, client: usize, peer: &Peer) -> Delivery {
        let Some(all) = self.living(now, client) else { return Delivery::Nowhere };
        let ipv6 = all.relayed.is_ipv6();
        if peer.written_ipv6 != ipv6 || peer.name.is_ipv6() != ipv6 {
            return Delivery::Nowhere;
        }
        self.onward(now, all, peer.name, !peer.listener && !peer.denied)
    }

    /// §12.6.
    pub(super) fn channel(&self, now: Time, client: usize, number: u16) -> Delivery {
        let Some(all) = self.living(now, client) else { return Delivery::Nowhere };
        match all.channels.get(&number) {
            Some(&(peer, ends)) if now.millis < ends => {
                // It was allowed when it was bound; on our own addresses that was because somebody had it.
                self.onward(now, all, peer, !super::cast::is_ours(peer.ip()))
            }
            _ => Delivery::Nowhere,
        }
    }

    fn onward(&self, now: Time, all: &Allocation, peer: SocketAddr, outside: bool) -> Delivery {
        if !all.is_of_a_call() && !all.permits(peer.ip(), now) {
            return Delivery::Nowhere;
        }
        let holder = self.allocations.iter().find(|(_, other)| other.relayed == peer && now.millis < other.expires);
        if let Some((&client, other)) = holder {
            let may_reach = match (&all.owner, &other.owner) {
                (Identity::User(_), Identity::User(_)) => other.permits(all.relayed.ip(), now),
                (Identity::Handle(one), Identity::Handle(two)) => self.handles.get(one) == Some(&Some(*two)),
                _ => false,
            };
            let channel = other.channel_of(all.relayed, now);
            let delivery = Delivery::ToClient { client, channel, source: all.relayed };
            return if may_reach { delivery } else { Delivery::Nowhere };
        }
        if all.is_of_a_call() || !outside {
            return Delivery::Nowhere;
        }
        Delivery::ToPeer { from: all.relayed, to: peer }
    }

    /// §11.3, §12.7: something arrives at the relayed address of that client.
    pub(super) fn receive(&self, now: Time, client: usize, peer: SocketAddr) -> Delivery {
        match self.living(now, client) {
            Some(all) if !all.is_of_a_call() && all.permits(peer.ip(), now) => {
                Delivery::ToClient { client, channel: all.channel_of(peer, now), source: peer }
            }
            _ => Delivery::Nowhere,
        }
    }

    fn living(&self, now: Time, client: usize) -> Option<&Allocation> {
        self.allocations.get(&client).filter(|all| now.millis < all.expires)
    }
}
