//! The data path: where a packet goes, and the header in front of it. No allocation, no lock, no formatting; the payload
//! stays where it arrived.

use std::net::SocketAddr;
use std::ops::Range;

use super::Turn;
use super::allocation::{Allocation, Key};
use super::counters::{Path, Reason};
use super::io::{Forward, Packet};
use super::meter::Direction;
use super::peer::Peer;
use crate::routes::{ClientPath, Delivery, FiveTuple, RelayedPort};
use crate::time::Millis;
use crate::wire::{TransactionId, channel_data, indication};

impl Turn {
    /// ChannelData from a client (RFC 8656 §12.6): dropped if it is too short or its channel unbound; else a UDP datagram, perhaps
    /// an empty one, leaves from the relayed address for the channel's peer. Nothing is refreshed by it.
    pub(super) fn client_to_peer(&mut self, now: Millis, from: &FiveTuple, packet: &mut Packet<'_>) -> Forward {
        let Some(view) = channel_data::parse(packet.bytes()) else { return self.dropped(Reason::Malformed) };
        let Some((key, allocation)) = self.sender(from, now) else { return self.dropped(Reason::NoAllocation) };
        let Some(channel) = allocation.channels.get(view.number, now) else {
            return self.dropped(Reason::UnboundChannel);
        };
        let peer = channel.peer;
        let Some(relayed) = allocation.relayed.live(peer.name.is_ipv6(), now) else {
            return self.dropped(Reason::FamilyMismatch);
        };
        // Channels outlive permissions that are not refreshed (RFC 8656 §12).
        if !allocation.may_reach(&peer, now) {
            return self.dropped(Reason::NoPermission);
        }
        let start = packet.data.start + channel_data::HEADER;
        let payload = start..start + view.len;
        if let Err(why) = self.meter(now, key, Direction::Sent, &packet.buffer[payload.clone()]) {
            return self.dropped(why);
        }
        self.onward(now, relayed, &peer, packet, payload, false)
    }

    /// To a peer, by the shortest way: straight to its client if it is a relayed address of this server. Then there is no
    /// datagram to the peer, so nothing that must not be fragmented.
    pub(super) fn onward(
        &mut self,
        now: Millis,
        from: RelayedPort,
        peer: &Peer,
        packet: &mut Packet<'_>,
        payload: Range<usize>,
        dont_fragment: bool,
    ) -> Forward {
        if let Some(own) = peer.own {
            match self.shared.routes.deliver(from, own, now) {
                Delivery::Channel { to, number } => {
                    return self.by_channel(to, number, packet, payload, Path::Hairpin);
                }
                Delivery::Indication { to } => {
                    // What the receiver sees is the sender's relayed address, never the sender's own.
                    let Some(source) = self.shared.routes.public(from) else { return self.dropped(Reason::PeerGone) };
                    return self.by_indication(to, source, packet, payload, Path::Hairpin);
                }
                Delivery::NotPermitted => return self.dropped(Reason::NotPermittedByReceiver),
                Delivery::Busy => return self.dropped(Reason::RouteBusy),
                Delivery::AskOwner => {
                    let to = self.shared.routes.bind(own);
                    return self.through_socket(from, to, Reason::PeerGone, payload, dont_fragment);
                }
                Delivery::Gone => {}
            }
        }
        let why_not = if peer.own.is_some() { Reason::PeerGone } else { Reason::DeniedPeer };
        self.through_socket(from, peer.outside, why_not, payload, dont_fragment)
    }

    /// A packet from outside at a relayed socket (RFC 8656 §11.3, §12.7): dropped without a permission for its source address;
    /// else ChannelData if a channel is bound to its source, and a Data indication if not.
    pub(super) fn peer_to_client(
        &mut self,
        now: Millis,
        to: RelayedPort,
        peer: SocketAddr,
        packet: &mut Packet<'_>,
    ) -> Forward {
        let found = self.allocations.find_port(to).and_then(|key| Some((key, self.allocations.get(key)?)));
        let Some((key, allocation)) = found.filter(|(_, allocation)| allocation.relayed.holds(to, now)) else {
            return self.dropped(Reason::NoAllocation);
        };
        // Only sockets get here, and call-bound allocations have none.
        if allocation.is_call_bound() {
            return self.dropped(Reason::DeniedPeer);
        }
        let source = Peer::unchecked(&self.shared.routes, peer);
        if !allocation.permissions.allow(source.name.ip(), now) {
            return self.dropped(Reason::NoPermission);
        }
        let number = allocation.channels.number_of(source.name, now);
        let client = allocation.client;
        let payload = packet.data.clone();
        if let Err(why) = self.meter(now, key, Direction::Received, packet.bytes()) {
            return self.dropped(why);
        }
        match number {
            Some(number) => self.by_channel(client, number, packet, payload, Path::PeerToClient),
            None => self.by_indication(client, source.name, packet, payload, Path::PeerToClient),
        }
    }

    /// With the header of a channel in front.
    #[inline]
    fn by_channel(
        &mut self,
        to: ClientPath,
        number: u16,
        packet: &mut Packet<'_>,
        payload: Range<usize>,
        path: Path,
    ) -> Forward {
        let length = payload.len();
        self.to_client(to, with_channel_header(packet.buffer, number, payload), length, path)
    }

    /// As a Data indication from `source`.
    #[inline]
    fn by_indication(
        &mut self,
        to: ClientPath,
        source: SocketAddr,
        packet: &mut Packet<'_>,
        payload: Range<usize>,
        path: Path,
    ) -> Forward {
        let length = payload.len();
        let data = with_data_header(packet.buffer, source, payload, self.next_indication());
        self.to_client(to, data, length, path)
    }

    #[inline]
    fn to_client(&self, to: ClientPath, data: Option<Range<usize>>, length: usize, path: Path) -> Forward {
        let Some(data) = data else { return self.dropped(Reason::NoRoom) };
        self.counters.relay(path, length);
        Forward::ToClient { to, data }
    }

    fn through_socket(
        &mut self,
        from: RelayedPort,
        to: Option<SocketAddr>,
        why_not: Reason,
        data: Range<usize>,
        dont_fragment: bool,
    ) -> Forward {
        let Some(to) = to else { return self.dropped(why_not) };
        self.counters.relay(Path::ClientToPeer, data.len());
        Forward::ToPeer { from, to, data, dont_fragment }
    }

    pub(super) fn sender(&self, from: &FiveTuple, now: Millis) -> Option<(Key, &Allocation)> {
        let key = self.allocations.find(from)?;
        let allocation = self.allocations.get(key)?;
        allocation.is_live(now).then_some((key, allocation))
    }

    pub(super) fn dropped(&self, why: Reason) -> Forward {
        self.counters.drop_packet(why);
        Forward::None
    }

    /// Indications are never answered, so their transaction ids only need to differ (RFC 8489 §5): a seeded Weyl sequence.
    pub(super) fn next_indication(&mut self) -> TransactionId {
        self.indications = self.indications.wrapping_add(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
        let mut id = [0; 12];
        id.copy_from_slice(&self.indications.to_be_bytes()[..12]);
        TransactionId(id)
    }
}

impl Allocation {
    /// Whether this allocation's own permissions let it send to the peer. For call-bound allocations the route decides,
    /// which knows the call.
    #[inline]
    pub(super) fn may_reach(&self, peer: &Peer, now: Millis) -> bool {
        self.is_call_bound() || self.permissions.allow(peer.name.ip(), now)
    }
}

fn with_channel_header(buffer: &mut [u8], number: u16, payload: Range<usize>) -> Option<Range<usize>> {
    let start = payload.start.checked_sub(channel_data::HEADER)?;
    let length = u16::try_from(payload.len()).ok()?;
    channel_data::write_header(buffer.get_mut(start..payload.start)?, number, length);
    Some(start..payload.end)
}

fn with_data_header(
    buffer: &mut [u8],
    source: SocketAddr,
    payload: Range<usize>,
    id: TransactionId,
) -> Option<Range<usize>> {
    let start = payload.start.checked_sub(indication::data_header_len(source))?;
    let length = indication::write_data_header(buffer.get_mut(start..)?, source, payload.len(), id)?;
    Some(start..start + length)
}
