//! What TCP allocations did, counted by whoever does it. Off the packet path.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Which way bytes went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub enum Bytes {
    ToPeer,
    ToClient,
}

/// Counters of all TCP allocations together.
#[derive(Debug, Default)]
pub struct TcpCounters {
    bytes: [AtomicU64; 2],
    pub(super) connects: AtomicU64,
    pub(super) attempts: AtomicU64,
    pub(super) refused_peers: AtomicU64,
    pub(super) bound: AtomicU64,
    pub(super) overdue: AtomicU64,
}

impl TcpCounters {
    /// For the edge: so many bytes were passed on.
    pub fn relay(&self, way: Bytes, count: usize) {
        self.bytes[way as usize].fetch_add(count as u64, Relaxed);
    }

    /// Bytes passed on, by the way they went.
    pub fn relayed(&self) -> [(&'static str, u64); 2] {
        let count = |way: Bytes| self.bytes[way as usize].load(Relaxed);
        [("client_to_peer", count(Bytes::ToPeer)), ("peer_to_client", count(Bytes::ToClient))]
    }

    /// What became of peer connections: those asked for by clients, those let in, those turned away, those bound, and those
    /// given up because nobody answered or bound them in time.
    pub fn events(&self) -> [(&'static str, u64); 5] {
        [
            ("connect", &self.connects),
            ("attempt", &self.attempts),
            ("refused_peer", &self.refused_peers),
            ("bound", &self.bound),
            ("overdue", &self.overdue),
        ]
        .map(|(name, count)| (name, count.load(Relaxed)))
    }

    pub(super) fn count(&self, counter: &AtomicU64) {
        counter.fetch_add(1, Relaxed);
    }
}
