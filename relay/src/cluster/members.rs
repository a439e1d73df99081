//! Who is there: heartbeats in, who lives and how loaded they are out; and from that who owns a queue and where a call is relayed.
//!
//! Both are hints. Two nodes may see different members for a moment: then a queue has two owners, and homes decide (`home`).

use std::collections::BTreeMap;

use super::attributes::queue_of;
use super::message::{Load, NodeId, Peer, QueueKey};
use crate::matchmaking::Band;
use crate::time::Millis;

/// How often a node says that it is there.
pub const HEARTBEAT_MS: u64 = 500;
/// Silent for so long, it is not.
pub const DEAD_AFTER_MS: u64 = 2_000;
/// Nodes remembered at once, living and dead.
pub const MAX_NODES: usize = 256;
/// After members changed nobody is paired for so long: whoever waits has then been announced to whoever owns their queue now. Nodes notice a
/// change some milliseconds apart, and who is announced first would else be taken before somebody who has waited longer.
pub const GATHER_MS: u64 = 250;
/// A dead node is forgotten after so long; until then it is known that it has lived before.
const FORGET_AFTER_MS: u64 = 10 * 60_000;

struct Member {
    incarnation: u64,
    /// When that life was first heard.
    begun: Millis,
    load: Load,
    heard: Millis,
    lives: bool,
}

/// What a heartbeat changed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Nothing but its load.
    Known,
    /// Somebody new, or back from silence.
    Joined,
    /// The node lives again, and its life before is over.
    Reborn { before: Peer },
    /// Somebody begins or ends draining.
    Reordered,
    /// Of a life that is over, or one too many.
    Ignored,
}

/// What has become of one life of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// As far as is known it goes on.
    NotYet,
    /// It was last heard, or another one began, so many milliseconds ago.
    Since(u64),
    /// Nothing is known of it.
    Unknown,
}

pub(super) struct Members {
    me: Peer,
    load: Load,
    others: BTreeMap<NodeId, Member>,
    /// How many of them live.
    alive: usize,
    /// Nobody dies before that.
    next_death: Option<Millis>,
    /// The bus is down: nobody is heard, and nobody is dead for that.
    isolated: bool,
}

impl Members {
    pub(super) fn new(me: Peer, load: Load) -> Members {
        Members { me, load, others: BTreeMap::new(), alive: 0, next_death: None, isolated: false }
    }

    pub(super) fn heard(&mut self, now: Millis, from: Peer, load: Load) -> Heard {
        if from.node == self.me.node {
            return Heard::Ignored;
        }
        self.next_death = self.next_death.or(Some(now.after(DEAD_AFTER_MS)));
        let Some(member) = self.others.get_mut(&from.node) else {
            if self.others.len() >= MAX_NODES {
                return Heard::Ignored;
            }
            let member = Member { incarnation: from.incarnation, begun: now, load, heard: now, lives: true };
            self.others.insert(from.node, member);
            self.alive += 1;
            return Heard::Joined;
        };
        let before = Peer { node: from.node, incarnation: member.incarnation };
        // A clock that was set back gives a smaller number: believed once the life before is over.
        if from.incarnation < before.incarnation && member.lives {
            return Heard::Ignored;
        }
        let (was_alive, drained) = (std::mem::replace(&mut member.lives, true), member.load.draining);
        if before != from {
            member.begun = now;
        }
        (member.heard, member.load, member.incarnation) = (now, load, from.incarnation);
        self.alive += usize::from(!was_alive);
        if before != from {
            Heard::Reborn { before }
        } else if !was_alive {
            Heard::Joined
        } else if drained != load.draining {
            Heard::Reordered
        } else {
            Heard::Known
        }
    }

    /// Those whose silence has lasted too long by now; they are dead from here on.
    pub(super) fn bury(&mut self, now: Millis) -> Vec<Peer> {
        let mut dead = Vec::new();
        if self.next_death().is_none_or(|at| at > now) {
            return dead;
        }
        for (node, member) in &mut self.others {
            if member.lives && now.since(member.heard) >= DEAD_AFTER_MS {
                member.lives = false;
                dead.push(Peer { node: *node, incarnation: member.incarnation });
            }
        }
        self.others.retain(|_, member| member.lives || now.since(member.heard) < FORGET_AFTER_MS);
        self.alive -= dead.len();
        let alive = self.others.values().filter(|member| member.lives);
        self.next_death = alive.map(|member| member.heard.after(DEAD_AFTER_MS)).min();
        dead
    }

    /// When [`Members::bury`] may have something to do.
    pub(super) fn next_death(&self) -> Option<Millis> {
        self.next_death.filter(|_| !self.isolated)
    }

    /// The bus is down, or up again: then everybody has as long as at first to be heard.
    pub(super) fn set_isolated(&mut self, now: Millis, isolated: bool) {
        if self.isolated && !isolated {
            for member in self.others.values_mut().filter(|member| member.lives) {
                member.heard = now;
            }
        }
        self.isolated = isolated;
    }

    /// The others who live, as far as is known.
    pub(super) fn others(&self) -> Vec<Peer> {
        let alive = self.others.iter().filter(|(_, member)| member.lives);
        alive.map(|(node, member)| Peer { node: *node, incarnation: member.incarnation }).collect()
    }

    pub(super) const fn is_isolated(&self) -> bool {
        self.isolated
    }

    pub(super) fn set_load(&mut self, load: Load) {
        self.load = load;
    }

    pub(super) const fn load(&self) -> Load {
        self.load
    }

    /// Whether that very life of a node is alive, as far as is known.
    pub(super) fn lives(&self, peer: Peer) -> bool {
        let member = self.others.get(&peer.node);
        member.is_some_and(|member| member.lives && member.incarnation == peer.incarnation)
    }

    /// For how long that life of a node has been over, in milliseconds, as far as can be told from here.
    pub(super) fn over_for(&self, now: Millis, peer: Peer) -> Over {
        // This node's clock began with this life.
        let me =
            Member { incarnation: self.me.incarnation, begun: Millis(0), load: self.load, heard: now, lives: true };
        let member = if peer.node == self.me.node { Some(&me) } else { self.others.get(&peer.node) };
        match member {
            Some(it) if it.incarnation > peer.incarnation => Over::Since(now.since(it.begun)),
            Some(it) if it.incarnation == peer.incarnation && it.lives => Over::NotYet,
            Some(it) if it.incarnation == peer.incarnation => Over::Since(now.since(it.heard)),
            _ => Over::Unknown,
        }
    }

    /// Nodes that live, this one among them.
    pub(super) const fn alive(&self) -> usize {
        1 + self.alive
    }

    /// Others were known and nobody of them can be heard: everybody for themselves.
    pub(super) fn is_alone(&self) -> bool {
        self.isolated || !self.others.is_empty() && self.alive() == 1
    }

    /// Whose engine a queue is in: the highest score of rendezvous hashing among those who live and do not drain.
    pub(super) fn owner(&self, queue: QueueKey) -> Peer {
        let mut best = ((!self.load.draining, score(queue, self.me.node)), self.me);
        let alive = self.others.iter().filter(|(_, member)| member.lives && !self.isolated);
        for (node, member) in alive {
            let rank = (!member.load.draining, score(queue, *node));
            if rank > best.0 {
                best = (rank, Peer { node: *node, incarnation: member.incarnation });
            }
        }
        best.1
    }

    /// The node both sides of a call allocate on, so that its packets are forwarded within one process, received and sent once; its desk
    /// keeps the call. The waiter's if there is room, because the offer that waits names its address; else the arrival's; else the waiter's
    /// all the same, which then says no.
    pub(super) fn relay_for(&self, waiter: NodeId, arrival: NodeId) -> NodeId {
        [waiter, arrival].into_iter().find(|node| self.room(*node) > 0).unwrap_or(waiter)
    }

    fn room(&self, node: NodeId) -> u32 {
        let load = if node == self.me.node {
            Some(self.load)
        } else {
            self.others.get(&node).filter(|member| member.lives).map(|member| member.load)
        };
        load.filter(|load| !load.draining).map_or(0, |load| load.room)
    }
}

/// Which of `nodes` owns a pool's queue of that band while all of them live.
pub fn owner_of(pool: &str, band: Band, minor_bands_meet: bool, nodes: &[NodeId]) -> NodeId {
    let queue = queue_of(pool, band, minor_bands_meet);
    nodes.iter().copied().max_by_key(|node| score(queue, *node)).unwrap_or(NodeId(0))
}

/// The finaliser of SplitMix64 over both.
pub(super) const fn score(queue: QueueKey, node: NodeId) -> u64 {
    mix(queue.0 ^ mix(node.0.wrapping_add(0x9e37_79b9_7f4a_7c15)))
}

const fn mix(number: u64) -> u64 {
    let mixed = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}
