//! Plain numbers about the bus: how many, never who.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::seal::Unsealed;

/// Why a message went no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// There was no broker to take it.
    Disconnected,
    /// More was said than the broker takes.
    OutgoingFull,
    /// More came than is read here.
    IncomingFull,
    TooLong,
    /// Too many requests wait for their answers.
    RequestsFull,
    /// Not one of ours.
    Unreadable,
    ForeignKey,
    Forged,
    Stale,
    Replayed,
    /// Two nodes have one name.
    Namesake,
    /// More nodes than are known by name.
    NodesFull,
    /// For a node whose name is not known (any more).
    Nobody,
    /// About matching, of a node that knows people by another key.
    Apart,
}

impl Lost {
    pub const ALL: [Lost; 14] = [
        Lost::Disconnected,
        Lost::OutgoingFull,
        Lost::IncomingFull,
        Lost::TooLong,
        Lost::RequestsFull,
        Lost::Unreadable,
        Lost::ForeignKey,
        Lost::Forged,
        Lost::Stale,
        Lost::Replayed,
        Lost::Namesake,
        Lost::NodesFull,
        Lost::Nobody,
        Lost::Apart,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Lost::Disconnected => "disconnected",
            Lost::OutgoingFull => "outgoing_full",
            Lost::IncomingFull => "incoming_full",
            Lost::TooLong => "too_long",
            Lost::RequestsFull => "requests_full",
            Lost::Unreadable => "unreadable",
            Lost::ForeignKey => "foreign_key",
            Lost::Forged => "forged",
            Lost::Stale => "stale",
            Lost::Replayed => "replayed",
            Lost::Namesake => "namesake",
            Lost::NodesFull => "nodes_full",
            Lost::Nobody => "nobody",
            Lost::Apart => "apart",
        }
    }
}

impl From<Unsealed> for Lost {
    fn from(why: Unsealed) -> Lost {
        match why {
            Unsealed::Unreadable => Lost::Unreadable,
            Unsealed::ForeignKey => Lost::ForeignKey,
            Unsealed::Forged => Lost::Forged,
            Unsealed::Stale => Lost::Stale,
            Unsealed::Replayed => Lost::Replayed,
        }
    }
}

/// How the bus stands with its broker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// It has not been tried yet.
    #[default]
    Trying,
    Connected,
    /// Nobody is there, or nobody that lets us in; it is tried on and on.
    Disconnected,
    /// Somebody is there that might keep what it hears; it is asked again from time to time.
    Refused,
}

impl Standing {
    pub const ALL: [Standing; 4] = [Standing::Trying, Standing::Connected, Standing::Disconnected, Standing::Refused];

    pub const fn name(self) -> &'static str {
        match self {
            Standing::Trying => "trying",
            Standing::Connected => "connected",
            Standing::Disconnected => "disconnected",
            Standing::Refused => "refused",
        }
    }
}

/// Everything counted about the bus.
#[derive(Debug, Default)]
pub struct Counters {
    standing: AtomicU64,
    connects: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
    lost: [AtomicU64; Lost::ALL.len()],
    nodes: AtomicU64,
    apart: AtomicU64,
    unlike: AtomicU64,
    revocations: AtomicU64,
}

impl Counters {
    pub fn standing(&self) -> Standing {
        Standing::ALL.get(self.standing.load(Relaxed) as usize).copied().unwrap_or_default()
    }

    /// Connections to a broker that was taken.
    pub fn connects(&self) -> u64 {
        self.connects.load(Relaxed)
    }

    pub fn sent(&self) -> u64 {
        self.sent.load(Relaxed)
    }

    pub fn received(&self) -> u64 {
        self.received.load(Relaxed)
    }

    pub fn lost(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        Lost::ALL.iter().zip(&self.lost).map(|(why, count)| (why.name(), count.load(Relaxed)))
    }

    /// Nodes that live, this one among them.
    pub fn nodes(&self) -> u64 {
        self.nodes.load(Relaxed)
    }

    /// Of them, those that know people by another key: nobody is matched with theirs.
    pub fn apart(&self) -> u64 {
        self.apart.load(Relaxed)
    }

    /// Of them, those whose settings for matching are other ones.
    pub fn unlike(&self) -> u64 {
        self.unlike.load(Relaxed)
    }

    /// Revocations held for others to ask for.
    pub fn revocations(&self) -> u64 {
        self.revocations.load(Relaxed)
    }

    pub(super) fn set_standing(&self, standing: Standing) {
        self.standing.store(standing as u64, Relaxed);
        self.connects.fetch_add(u64::from(standing == Standing::Connected), Relaxed);
    }

    pub(super) fn count_sent(&self) {
        self.sent.fetch_add(1, Relaxed);
    }

    pub(super) fn count_received(&self) {
        self.received.fetch_add(1, Relaxed);
    }

    pub(super) fn count_lost(&self, why: Lost) {
        self.lost[why as usize].fetch_add(1, Relaxed);
    }

    pub(super) fn set_nodes(&self, nodes: usize) {
        self.nodes.store(nodes as u64, Relaxed);
    }

    pub(super) fn set_different(&self, apart: usize, unlike: usize) {
        self.apart.store(apart as u64, Relaxed);
        self.unlike.store(unlike as u64, Relaxed);
    }

    pub(super) fn set_revocations(&self, revocations: usize) {
        self.revocations.store(revocations as u64, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_and_standing_is_found_by_its_number() {
        assert!(Lost::ALL.iter().enumerate().all(|(number, why)| *why as usize == number));
        assert!(Standing::ALL.iter().enumerate().all(|(number, standing)| *standing as usize == number));
        let counters = Counters::default();
        assert_eq!(counters.standing(), Standing::Trying);
        counters.set_standing(Standing::Connected);
        counters.count_lost(Lost::Forged);
        assert_eq!((counters.standing(), counters.connects()), (Standing::Connected, 1));
        assert_eq!(counters.lost().filter(|(_, count)| *count > 0).collect::<Vec<_>>(), [("forged", 1)]);
    }
}
