//! Plain counters of one worker: one writer, many readers, no lock. Metrics read them.
//!
//! Every packet that comes in ends in exactly one of: a reply, a relayed packet, a drop with its reason, or (Allocate
//! waiting for its socket) a reply later.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Why a packet went no further.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub enum Reason {
    /// Neither STUN nor ChannelData by its first bytes.
    Unrecognised,
    /// STUN or ChannelData whose lengths or attributes lie, or whose fingerprint is wrong.
    Malformed,
    /// A response or an indication no client sends to a server: answering could loop (RFC 8489 §16).
    NotForServers,
    /// A request with a method this server does not speak.
    UnknownMethod,
    /// Data from a five-tuple without an allocation.
    NoAllocation,
    /// A channel number that is not bound, or no longer.
    UnboundChannel,
    /// The sender has no permission for that peer.
    NoPermission,
    /// The receiver has no permission for the sender.
    NotPermittedByReceiver,
    /// The address policy, or the call the credential is bound to, forbids that peer.
    DeniedPeer,
    /// A peer of the other address family.
    FamilyMismatch,
    /// A relayed address of this server that nobody holds (any more).
    PeerGone,
    /// The route was being rewritten the whole time it was read.
    RouteBusy,
    /// No room around the datagram for the header.
    NoRoom,
    /// A retransmitted request whose first copy is still being worked on.
    InProgress,
    /// Somebody unknown, from a network that has had enough answers.
    ReplyLimit,
    /// In a call, what no WebRTC peer sends.
    PayloadShape,
    /// More packets than the allocation may relay.
    PacketRate,
    /// More bits than the allocation may relay.
    Bandwidth,
    /// More packets or bits than everybody together may relay.
    TotalRate,
    /// An ICMP error of a type that is not passed on.
    IcmpIrrelevant,
    /// More ICMP errors than an allocation's client is told about.
    IcmpRate,
}

/// How a relayed packet travelled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub enum Path {
    ClientToPeer,
    PeerToClient,
    Hairpin,
}

const REASONS: [(Reason, &str); 21] = [
    (Reason::Unrecognised, "unrecognised"),
    (Reason::Malformed, "malformed"),
    (Reason::NotForServers, "not_for_servers"),
    (Reason::UnknownMethod, "unknown_method"),
    (Reason::NoAllocation, "no_allocation"),
    (Reason::UnboundChannel, "unbound_channel"),
    (Reason::NoPermission, "no_permission"),
    (Reason::NotPermittedByReceiver, "not_permitted_by_receiver"),
    (Reason::DeniedPeer, "denied_peer"),
    (Reason::FamilyMismatch, "family_mismatch"),
    (Reason::PeerGone, "peer_gone"),
    (Reason::RouteBusy, "route_busy"),
    (Reason::NoRoom, "no_room"),
    (Reason::InProgress, "in_progress"),
    (Reason::ReplyLimit, "reply_limit"),
    (Reason::PayloadShape, "payload_shape"),
    (Reason::PacketRate, "packet_rate"),
    (Reason::Bandwidth, "bandwidth"),
    (Reason::TotalRate, "total_rate"),
    (Reason::IcmpIrrelevant, "icmp_irrelevant"),
    (Reason::IcmpRate, "icmp_rate"),
];

const PATHS: [(Path, &str); 3] =
    [(Path::ClientToPeer, "client_to_peer"), (Path::PeerToClient, "peer_to_client"), (Path::Hairpin, "hairpin")];

/// Reply codes, `0` standing for success. The last place counts any other.
const CODES: [(u16, &str); 17] = [
    (0, "success"),
    (300, "300"),
    (400, "400"),
    (401, "401"),
    (403, "403"),
    (420, "420"),
    (437, "437"),
    (438, "438"),
    (440, "440"),
    (441, "441"),
    (442, "442"),
    (443, "443"),
    (446, "446"),
    (447, "447"),
    (486, "486"),
    (500, "500"),
    (508, "508"),
];

/// Packets and payload bytes relayed along one [`Path`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Relayed {
    pub packets: u64,
    pub bytes: u64,
}

/// One worker's counters. Aligned so that two workers never share a cache line.
#[repr(align(128))]
#[derive(Default)]
pub struct Counters {
    packets: [AtomicU64; PATHS.len()],
    bytes: [AtomicU64; PATHS.len()],
    drops: [AtomicU64; REASONS.len()],
    replies: [AtomicU64; CODES.len()],
    created: AtomicU64,
    freed: AtomicU64,
}

impl Counters {
    /// Packets dropped, by reason.
    pub fn drops(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        REASONS.iter().map(|&(reason, name)| (name, self.dropped(reason)))
    }

    /// Replies sent: `"success"`, or the error code in decimal.
    pub fn replies(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        CODES.iter().zip(&self.replies).map(|(&(_, name), count)| (name, count.load(Relaxed)))
    }

    /// Packets and payload bytes relayed, by how they travelled.
    pub fn relayed(&self) -> impl Iterator<Item = (&'static str, Relayed)> + '_ {
        PATHS.iter().map(|&(path, name)| (name, self.relayed_along(path)))
    }

    /// Allocations made since the start.
    pub fn allocations_created(&self) -> u64 {
        self.created.load(Relaxed)
    }

    /// Allocations that exist now on this worker.
    pub fn allocations(&self) -> u64 {
        self.created.load(Relaxed).saturating_sub(self.freed.load(Relaxed))
    }

    /// Packets dropped for one reason.
    pub fn dropped(&self, reason: Reason) -> u64 {
        self.drops[reason as usize].load(Relaxed)
    }

    /// What went along one path.
    pub fn relayed_along(&self, path: Path) -> Relayed {
        Relayed { packets: self.packets[path as usize].load(Relaxed), bytes: self.bytes[path as usize].load(Relaxed) }
    }

    pub(crate) fn drop_packet(&self, reason: Reason) {
        add(&self.drops[reason as usize], 1);
    }

    pub(crate) fn relay(&self, path: Path, payload: usize) {
        add(&self.packets[path as usize], 1);
        add(&self.bytes[path as usize], payload as u64);
    }

    /// `0` for success. A code that is not in the list is a mistake of ours and counts as 500.
    pub(crate) fn reply(&self, code: u16) {
        let place = CODES.iter().position(|&(known, _)| known == code).unwrap_or(CODES.len() - 2);
        add(&self.replies[place], 1);
    }

    pub(crate) fn allocation_created(&self) {
        add(&self.created, 1);
    }

    pub(crate) fn allocation_freed(&self) {
        add(&self.freed, 1);
    }
}

/// One writer: a load and a store are enough, and cost nothing.
fn add(counter: &AtomicU64, amount: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(amount), Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_and_path_is_listed_at_its_own_place() {
        for (place, &(reason, _)) in REASONS.iter().enumerate() {
            assert_eq!(reason as usize, place);
        }
        for (place, &(path, _)) in PATHS.iter().enumerate() {
            assert_eq!(path as usize, place);
        }
    }

    #[test]
    fn what_is_counted_can_be_read_by_name() {
        let counters = Counters::default();
        counters.drop_packet(Reason::NoPermission);
        counters.reply(437);
        counters.reply(0);
        counters.relay(Path::Hairpin, 172);
        assert_eq!(counters.drops().find(|(name, _)| *name == "no_permission"), Some(("no_permission", 1)));
        assert_eq!(counters.replies().filter(|(_, n)| *n > 0).collect::<Vec<_>>(), [("success", 1), ("437", 1)]);
        assert_eq!(counters.relayed_along(Path::Hairpin), Relayed { packets: 1, bytes: 172 });
    }
}
