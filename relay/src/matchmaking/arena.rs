//! Where waiting tickets live, and the lists that run through them.
//!
//! A list is ordered by [`Rank`] and intrusive: linking and unlinking touch the neighbours only. Tickets nearly always arrive in order,
//! at the tail. One that belongs further forward (back with its old seniority, tuned, widened late) walks a few steps, and if that is
//! not enough goes to `late`, an ordered set beside the list, so that no walk is long. A list's order is that of both merged.

use std::collections::BTreeSet;

use super::bucket::Bucket;
use super::ticket::{MAX_TOPICS, Person, TicketId, TopicSet};
use crate::time::Millis;

/// "No slot."
pub(super) const NIL: u32 = u32::MAX;
/// Lane of the list of all tickets in a bucket; the lanes before it belong to topics in ascending order.
pub(super) const LANE_ALL: usize = MAX_TOPICS as usize;
/// Lane of the list of tickets that wait for their next stage.
pub(super) const LANE_STAGE: usize = LANE_ALL + 1;
const LANES: usize = LANE_STAGE + 1;
/// Steps from the tail before a ticket goes to `late`. Tests have shorter lists.
const MAX_WALK: usize = if cfg!(test) { 2 } else { 32 };

/// Seniority: t0 in the upper 40 bits (34 years), order of arrival in the lower 24. Smaller is older.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Rank(pub(super) u64);

impl Rank {
    const ARRIVAL_BITS: u32 = 24;
    pub(super) const NEVER: Rank = Rank(u64::MAX);

    pub(super) const fn new(t0: Millis, arrival: u32) -> Rank {
        let t0 = if t0.0 >> 40 == 0 { t0.0 } else { (1 << 40) - 1 };
        Rank(t0 << Rank::ARRIVAL_BITS | (arrival & ((1 << Rank::ARRIVAL_BITS) - 1)) as u64)
    }

    pub(super) const fn t0(self) -> Millis {
        Millis(self.0 >> Rank::ARRIVAL_BITS)
    }

    /// The same arrival, as if it had come `millis` later.
    pub(super) const fn later(self, millis: u64) -> Rank {
        Rank(self.0.saturating_add(millis << Rank::ARRIVAL_BITS))
    }
}

#[derive(Clone, Copy)]
struct Link {
    prev: u32,
    next: u32,
}

const UNLINKED: Link = Link { prev: NIL, next: NIL };

/// One waiting ticket.
pub(super) struct Slot {
    pub(super) rank: Rank,
    pub(super) person: Person,
    pub(super) id: TicketId,
    pub(super) topics: TopicSet,
    /// Ascending.
    pub(super) avoid: Box<[Person]>,
    links: [Link; LANES],
    /// Grows whenever the slot changes hands, stage or criteria: whoever remembers an older one is out of date.
    pub(super) epoch: u32,
    pub(super) bucket: Bucket,
    /// One bit per lane: this ticket stands in `late` instead of in the chain.
    late: u8,
    pub(super) live: bool,
}

impl Slot {
    /// The lane of a topic the ticket has chosen.
    pub(super) const fn lane(&self, topic: u8) -> usize {
        (self.topics.0 & ((1 << topic) - 1)).count_ones() as usize
    }
}

/// Ends of a chain, and how many of the list stand in `late`.
#[derive(Clone, Copy)]
pub(super) struct List {
    /// Rank of the oldest, in the chain or in `late`: most lists need no closer look.
    pub(super) oldest: Rank,
    pub(super) head: u32,
    tail: u32,
    late: u32,
}

impl List {
    pub(super) const EMPTY: List = List { oldest: Rank::NEVER, head: NIL, tail: NIL, late: 0 };
}

/// Tells lists apart within `late`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ListName(pub(super) u32);

#[derive(Default)]
pub(super) struct Arena {
    slots: Vec<Slot>,
    /// First of the free slots, chained through lane 0; meaningless when all are live.
    free: u32,
    live: usize,
    late: BTreeSet<(ListName, Rank, u32)>,
}

/// What a ticket brings into the arena.
pub(super) struct Entry {
    pub(super) rank: Rank,
    pub(super) person: Person,
    pub(super) id: TicketId,
    pub(super) topics: TopicSet,
    pub(super) avoid: Box<[Person]>,
    pub(super) bucket: Bucket,
}

impl Arena {
    pub(super) fn len(&self) -> usize {
        self.live
    }

    /// One past the highest slot ever used.
    pub(super) fn end(&self) -> u32 {
        self.slots.len() as u32
    }

    pub(super) fn slot(&self, at: u32) -> &Slot {
        &self.slots[at as usize]
    }

    pub(super) fn slot_mut(&mut self, at: u32) -> &mut Slot {
        &mut self.slots[at as usize]
    }

    pub(super) fn insert(&mut self, entry: Entry) -> u32 {
        let Entry { rank, person, id, topics, avoid, bucket } = entry;
        let at = if self.live == self.slots.len() { self.end() } else { self.free };
        let epoch = self.slots.get(at as usize).map_or(0, |slot| slot.epoch.wrapping_add(1));
        let slot =
            Slot { rank, person, id, topics, avoid, links: [UNLINKED; LANES], epoch, bucket, late: 0, live: true };
        self.live += 1;
        match self.slots.get_mut(at as usize) {
            Some(old) => {
                self.free = old.links[0].next;
                *old = slot;
            }
            None => self.slots.push(slot),
        }
        at
    }

    /// Frees a slot that is in no list any more.
    pub(super) fn remove(&mut self, at: u32) {
        let free = self.free;
        let slot = self.slot_mut(at);
        slot.avoid = Box::default();
        slot.live = false;
        slot.epoch = slot.epoch.wrapping_add(1);
        slot.links[0].next = free;
        self.free = at;
        self.live -= 1;
    }

    /// Puts a ticket into its place in a list.
    pub(super) fn link(&mut self, list: &mut List, name: ListName, lane: impl Fn(&Slot) -> usize, at: u32) {
        let rank = self.slot(at).rank;
        let own = lane(self.slot(at));
        list.oldest = list.oldest.min(rank);
        let mut before = list.tail;
        let mut steps = 0;
        while before != NIL && self.slot(before).rank > rank {
            if steps == MAX_WALK {
                list.late += 1;
                self.late.insert((name, rank, at));
                self.slot_mut(at).late |= 1 << own;
                return;
            }
            steps += 1;
            before = self.slot(before).links[lane(self.slot(before))].prev;
        }
        let after = match before {
            NIL => std::mem::replace(&mut list.head, at),
            _ => self.set_next(before, &lane, at),
        };
        match after {
            NIL => list.tail = at,
            _ => self.set_prev(after, &lane, at),
        }
        self.slot_mut(at).links[own] = Link { prev: before, next: after };
    }

    /// Takes a ticket out of a list it is in.
    pub(super) fn unlink(&mut self, list: &mut List, name: ListName, lane: impl Fn(&Slot) -> usize, at: u32) {
        let slot = self.slot_mut(at);
        let (rank, own) = (slot.rank, lane(slot));
        if slot.late & 1 << own != 0 {
            slot.late &= !(1 << own);
            self.late.remove(&(name, rank, at));
            list.late -= 1;
        } else {
            let Link { prev, next } = std::mem::replace(&mut slot.links[own], UNLINKED);
            match prev {
                NIL => list.head = next,
                _ => _ = self.set_next(prev, &lane, next),
            }
            match next {
                NIL => list.tail = prev,
                _ => self.set_prev(next, &lane, prev),
            }
        }
        if rank == list.oldest {
            list.oldest = self.oldest(list, name).map_or(Rank::NEVER, |oldest| self.slot(oldest).rank);
        }
    }

    fn set_next(&mut self, at: u32, lane: impl Fn(&Slot) -> usize, next: u32) -> u32 {
        let slot = self.slot_mut(at);
        let lane = lane(slot);
        std::mem::replace(&mut slot.links[lane].next, next)
    }

    fn set_prev(&mut self, at: u32, lane: impl Fn(&Slot) -> usize, prev: u32) {
        let slot = self.slot_mut(at);
        let lane = lane(slot);
        slot.links[lane].prev = prev;
    }

    /// The next ticket of the chain.
    pub(super) fn next(&self, at: u32, lane: usize) -> u32 {
        self.slot(at).links[lane].next
    }

    /// The tickets of a list that stand beside its chain, in order.
    pub(super) fn late(&self, list: &List, name: ListName) -> impl Iterator<Item = u32> + '_ {
        let all = (list.late > 0).then(|| self.late.range((name, Rank(0), 0)..=(name, Rank::NEVER, NIL)));
        all.into_iter().flatten().map(|&(_, _, at)| at)
    }

    #[cfg(test)]
    pub(super) fn stands_beside(&self) -> usize {
        self.late.len()
    }

    /// The oldest ticket of a list.
    pub(super) fn oldest(&self, list: &List, name: ListName) -> Option<u32> {
        let chained = (list.head != NIL).then_some(list.head);
        let late = self.late(list, name).next();
        chained.into_iter().chain(late).min_by_key(|&at| self.slot(at).rank)
    }
}
