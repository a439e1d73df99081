//! ICMP errors about datagrams that left from a relayed address (RFC 8656 §11.5). Off the packet path.

use std::net::SocketAddr;

use super::Turn;
use super::counters::Reason;
use super::io::Action;
use super::peer::Peer;
use crate::access::Rate;
use crate::routes::RelayedPort;
use crate::time::Now;
use crate::wire::{Icmp, icmp};

/// Errors one allocation's client is told about in a second, and at once after a pause. A peer that is gone causes one for
/// each packet sent to it, and a few say it all.
const ICMP_PER_SECOND: u64 = 10;
const ICMP_BURST: u64 = 20;

/// Types that are passed on (§11.5): Destination Unreachable and Time Exceeded; in ICMPv6 also Packet Too Big.
const UNREACHABLE: u8 = 3;
const TIME_EXCEEDED: u8 = 11;
const V6_UNREACHABLE: u8 = 1;
const V6_TOO_BIG: u8 = 2;
const V6_TIME_EXCEEDED: u8 = 3;
/// The code of [`UNREACHABLE`] that says fragmentation was needed and forbidden.
const FRAGMENTATION_NEEDED: u8 = 4;

/// How fast the errors of one allocation may go out.
pub(super) fn icmp_rate() -> Option<Rate> {
    Rate::new(ICMP_PER_SECOND, ICMP_BURST)
}

impl Turn {
    /// The kernel reports an ICMP error about a datagram that the socket of `from` sent to `peer`; it has checked that the
    /// packet inside the error is UDP and ours. `said.data` is the MTU, where the error has one.
    pub fn handle_icmp(&mut self, now: Now, from: RelayedPort, peer: SocketAddr, said: Icmp) {
        match self.icmp_error(now, from, peer, said) {
            Ok(action) => self.actions.push_back(action),
            Err(why) => self.counters.drop_packet(why),
        }
    }

    fn icmp_error(&mut self, now: Now, from: RelayedPort, peer: SocketAddr, said: Icmp) -> Result<Action, Reason> {
        let said = relevant(peer.is_ipv6(), said).ok_or(Reason::IcmpIrrelevant)?;
        let rate = self.icmp_rate;
        let key = self.allocations.find_port(from).ok_or(Reason::NoAllocation)?;
        let allocation = self.allocations.get_mut(key).ok_or(Reason::NoAllocation)?;
        if !allocation.relayed.holds(from, now.mono) || allocation.is_call_bound() {
            return Err(Reason::NoAllocation);
        }
        // The permission that counts is the one for where the datagram went, not for who sent the error.
        let peer = Peer::unchecked(&self.shared.routes, peer);
        if !allocation.permissions.allow(peer.name.ip(), now.mono) {
            return Err(Reason::NoPermission);
        }
        if rate.is_some_and(|rate| !allocation.icmp.take(now.mono, 1, &rate)) {
            return Err(Reason::IcmpRate);
        }
        let to = allocation.client;
        let bytes = icmp::data_indication(peer.name, said, self.next_indication());
        Ok(Action::Reply { to, bytes })
    }
}

/// The error as the client may see it; `None` for types that are dropped (§11.5). Error Data is zero where there is no MTU
/// (§18.13).
fn relevant(ipv6: bool, said: Icmp) -> Option<Icmp> {
    let (passes, has_mtu) = if ipv6 {
        (matches!(said.kind, V6_UNREACHABLE | V6_TOO_BIG | V6_TIME_EXCEEDED), said.kind == V6_TOO_BIG)
    } else {
        let has_mtu = said.kind == UNREACHABLE && said.code == FRAGMENTATION_NEEDED;
        (matches!(said.kind, UNREACHABLE | TIME_EXCEEDED), has_mtu)
    };
    passes.then_some(Icmp { data: if has_mtu { said.data } else { 0 }, ..said })
}
