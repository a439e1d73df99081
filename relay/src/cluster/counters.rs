//! Plain numbers about what nodes do together: how many, never who. The cluster writes, metrics read.

use std::sync::atomic::{AtomicU64, Ordering};

use super::home::Why;
use super::message::{Body, Denial};

/// One writer, so plain additions suffice.
#[derive(Debug, Default)]
pub struct Counters {
    alive: AtomicU64,
    degraded: AtomicU64,
    owned: AtomicU64,
    announced: AtomicU64,
    proposed: AtomicU64,
    grants: AtomicU64,
    commits: AtomicU64,
    entered: AtomicU64,
    leases_expired: AtomicU64,
    releases: AtomicU64,
    turned: AtomicU64,
    restarts: AtomicU64,
    unreadable: AtomicU64,
    strays: AtomicU64,
    deaths: AtomicU64,
    denials: [AtomicU64; Denial::ALL.len()],
    ended: [AtomicU64; Why::ALL.len()],
}

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident by $add:ident),* $(,)?) => {
        impl Counters {
            $(
                $(#[$doc])*
                pub fn $name(&self) -> u64 {
                    self.$name.load(Ordering::Relaxed)
                }

                pub(super) fn $add(&self) {
                    add(&self.$name);
                }
            )*
        }
    };
}

counts! {
    /// Tickets said to owners of other nodes, again and again counted.
    announced by count_announced,
    /// Pairs our engine picked.
    proposed by count_proposed,
    /// Tickets of ours promised to a pairing of two nodes.
    grants by count_grant,
    /// Calls of two nodes that our home decided.
    commits by count_commit,
    /// Calls of two nodes that our home followed into.
    entered by count_entered,
    /// Promises given up because nobody answered.
    leases_expired by count_lease_expired,
    /// Tickets asked for after a pairing that came to nothing.
    releases by count_release,
    /// Tickets of ours an owner would not have.
    turned by count_turned,
    /// Times an owner had us say everything again.
    restarts by count_restart,
    /// Messages of another version, or that nobody of ours writes.
    unreadable by count_unreadable,
    /// Messages of nodes that are not known to live, or for another life of this one.
    strays by count_stray,
    /// Nodes that fell silent.
    deaths by count_death,
}

impl Counters {
    /// Nodes that live, this one among them.
    pub fn alive(&self) -> u64 {
        self.alive.load(Ordering::Relaxed)
    }

    /// Whether this node matches by itself although there are others.
    pub fn is_degraded(&self) -> bool {
        self.degraded.load(Ordering::Relaxed) != 0
    }

    /// Tickets in our engine, of all homes.
    pub fn owned(&self) -> u64 {
        self.owned.load(Ordering::Relaxed)
    }

    /// Claims and grants our home refused, by reason.
    pub fn denials(&self) -> [(Denial, u64); Denial::ALL.len()] {
        Denial::ALL.map(|why| (why, self.denials[why as usize].load(Ordering::Relaxed)))
    }

    /// Calls of two nodes that ended without a word of the desk.
    pub fn ended(&self) -> [(Why, u64); Why::ALL.len()] {
        Why::ALL.map(|why| (why, self.ended[why as usize].load(Ordering::Relaxed)))
    }

    pub(super) fn count_denial(&self, why: Denial) {
        add(&self.denials[why as usize]);
    }

    pub(super) fn count_ended(&self, why: Why) {
        add(&self.ended[why as usize]);
    }

    pub(super) fn set_gauges(&self, alive: usize, degraded: bool, owned: usize) {
        self.alive.store(alive as u64, Ordering::Relaxed);
        self.degraded.store(u64::from(degraded), Ordering::Relaxed);
        self.owned.store(owned as u64, Ordering::Relaxed);
    }

    /// What our home says to others.
    pub(super) fn count_said(&self, body: &Body) {
        if let Body::Denied { why, .. } = body {
            self.count_denial(*why);
        }
    }
}

fn add(counter: &AtomicU64) {
    counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}
