//! Where waiting tickets live, and the lists that run through them.
//!
//! A list is ordered by [`Rank`] and intrusive: linking and unlinking touch the neighbours only. Tickets nearly always arrive in order,
//! at the tail. One that belongs further forward (back with its old seniority, tuned, widened late) walks a few steps, and if that is
//! not enough goes to `late`, an ordered set beside the list, so that no walk is long. A list's order is that of both merged.

use std::collections::BTreeSet;

use super::bucket::Bucket;
use super::policy::{Avoided, Recent, Who};
use super::region::Region;
use super::ticket::{MAX_TOPICS, Person, TicketId, TopicSet};
use crate::time::Millis;

/// "No slot", "no row".
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

/// A slot in a list: its number, and in the upper bits the lane it uses there, so that a neighbour's link is found without asking what
/// the neighbour has chosen.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stop(u32);

impl Stop {
    const NONE: Stop = Stop(NIL);

    const fn new(at: u32, lane: usize) -> Stop {
        Stop(at | (lane as u32) << 24)
    }

    const fn at(self) -> u32 {
        self.0 & 0xff_ffff
    }

    const fn lane(self) -> usize {
        (self.0 >> 24) as usize
    }
}

#[derive(Clone, Copy)]
struct Link {
    prev: Stop,
    next: Stop,
}

const UNLINKED: Link = Link { prev: Stop::NONE, next: Stop::NONE };

/// What lists need of a ticket: one cache line, so that a neighbour costs one.
#[repr(align(64))]
struct Node {
    rank: Rank,
    links: [Link; LANES],
}

/// One waiting ticket.
pub(super) struct Slot {
    pub(super) person: Person,
    pub(super) id: TicketId,
    pub(super) topics: TopicSet,
    /// Blocks, ascending, then recent partners, ascending.
    pub(super) avoid: Box<[Person]>,
    pub(super) region: Region,
    /// Grows whenever the slot changes hands, stage or criteria: whoever remembers an older one is out of date.
    pub(super) epoch: u32,
    pub(super) bucket: Bucket,
    /// One bit per lane: this ticket stands in `late` instead of in the chain.
    late: u8,
    pub(super) live: bool,
    /// So many of `avoid` are recent partners.
    pub(super) recent: u8,
    /// What those are to the ticket: as it was when it came.
    rule: Recent,
}

impl Slot {
    pub(super) fn who(&self) -> Who<'_> {
        Who { person: self.person, region: &self.region, avoid: self.avoided() }
    }

    /// Whom the ticket avoids in its stage.
    pub(super) fn avoided(&self) -> Avoided<'_> {
        let (blocked, recent) = self.avoid.split_at(self.blocks());
        Avoided { blocked, recent }.at_stage(self.bucket.stage(), self.rule)
    }

    /// So many of `avoid` are blocks.
    pub(super) const fn blocks(&self) -> usize {
        self.avoid.len() - self.recent as usize
    }

    /// The lane of a topic the ticket has chosen.
    pub(super) const fn lane(&self, topic: u8) -> usize {
        (self.topics.0 & ((1 << topic) - 1)).count_ones() as usize
    }
}

/// Ends of a chain, and how many of the list stand in `late`.
#[derive(Clone, Copy)]
pub(super) struct List {
    head: Stop,
    tail: Stop,
    late: u32,
}

impl List {
    pub(super) const EMPTY: List = List { head: Stop::NONE, tail: Stop::NONE, late: 0 };
}

/// Tells lists apart within `late`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ListName(pub(super) u32);

/// A ticket whole: two cache lines side by side, so that whoever needs both asks for one page of memory.
struct Place {
    node: Node,
    slot: Slot,
}

#[derive(Default)]
pub(super) struct Arena {
    places: Vec<Place>,
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
    /// So many of `avoid`, its end, are recent partners.
    pub(super) recent: u8,
    pub(super) rule: Recent,
    pub(super) region: Region,
    pub(super) bucket: Bucket,
}

impl Arena {
    pub(super) fn len(&self) -> usize {
        self.live
    }

    /// One past the highest slot ever used.
    pub(super) fn end(&self) -> u32 {
        self.places.len() as u32
    }

    pub(super) fn slot(&self, at: u32) -> &Slot {
        &self.places[at as usize].slot
    }

    pub(super) fn slot_mut(&mut self, at: u32) -> &mut Slot {
        &mut self.places[at as usize].slot
    }

    pub(super) fn rank(&self, at: u32) -> Rank {
        self.places[at as usize].node.rank
    }

    pub(super) fn insert(&mut self, entry: Entry) -> u32 {
        let Entry { rank, person, id, topics, avoid, recent, rule, region, bucket } = entry;
        let at = if self.live == self.places.len() { self.end() } else { self.free };
        let epoch = self.places.get(at as usize).map_or(0, |place| place.slot.epoch.wrapping_add(1));
        let slot = Slot { person, id, topics, avoid, recent, rule, region, epoch, bucket, late: 0, live: true };
        let node = Node { rank, links: [UNLINKED; LANES] };
        self.live += 1;
        if at == self.end() {
            self.places.push(Place { node, slot });
        } else {
            self.free = self.places[at as usize].node.links[0].next.0;
            self.places[at as usize] = Place { node, slot };
        }
        at
    }

    /// Frees a slot that is in no list any more.
    pub(super) fn remove(&mut self, at: u32) {
        let Place { node, slot } = &mut self.places[at as usize];
        (slot.avoid, slot.recent) = (Box::default(), 0);
        slot.live = false;
        slot.epoch = slot.epoch.wrapping_add(1);
        node.links[0].next = Stop(self.free);
        self.free = at;
        self.live -= 1;
    }

    /// Reads what taking a ticket out of its lists will need: all neighbours at once, instead of one after the other. A read that misses
    /// every cache takes as long as hundreds of instructions. Who stands behind it is next to be found: that slot is read too.
    pub(super) fn read_ahead(&self, at: u32) {
        let links = self.places[at as usize].node.links;
        let rank = |stop: Stop| self.places.get(stop.at() as usize).map_or(0, |place| place.node.rank.0);
        let ranks = links.iter().fold(0, |ranks, link| ranks ^ rank(link.next) ^ rank(link.prev));
        let behind = self.places.get(links[LANE_ALL].next.at() as usize).map_or(0, |place| place.slot.epoch);
        std::hint::black_box((ranks, behind));
    }

    /// Puts a ticket into its place in a list, where it uses `lane`.
    pub(super) fn link(&mut self, list: &mut List, name: ListName, lane: usize, at: u32) {
        let (rank, stop) = (self.rank(at), Stop::new(at, lane));
        let mut before = list.tail;
        let mut steps = 0;
        while before != Stop::NONE && self.rank(before.at()) > rank {
            if steps == MAX_WALK {
                list.late += 1;
                self.late.insert((name, rank, at));
                self.places[at as usize].slot.late |= 1 << lane;
                return;
            }
            steps += 1;
            before = self.links(before).prev;
        }
        let after = match before {
            Stop::NONE => std::mem::replace(&mut list.head, stop),
            _ => std::mem::replace(&mut self.links(before).next, stop),
        };
        match after {
            Stop::NONE => list.tail = stop,
            _ => self.links(after).prev = stop,
        }
        *self.links(stop) = Link { prev: before, next: after };
    }

    /// Takes a ticket out of a list it is in.
    pub(super) fn unlink(&mut self, list: &mut List, name: ListName, lane: usize, at: u32) {
        let slot = &mut self.places[at as usize].slot;
        if slot.late & 1 << lane != 0 {
            slot.late &= !(1 << lane);
            self.late.remove(&(name, self.rank(at), at));
            list.late -= 1;
            return;
        }
        let Link { prev, next } = std::mem::replace(self.links(Stop::new(at, lane)), UNLINKED);
        match prev {
            Stop::NONE => list.head = next,
            _ => self.links(prev).next = next,
        }
        match next {
            Stop::NONE => list.tail = prev,
            _ => self.links(next).prev = prev,
        }
    }

    fn links(&mut self, stop: Stop) -> &mut Link {
        &mut self.places[stop.at() as usize].node.links[stop.lane()]
    }

    /// The tickets in the chain of a list, in order.
    pub(super) fn chain(&self, list: &List) -> impl Iterator<Item = u32> + '_ {
        let mut stop = list.head;
        std::iter::from_fn(move || {
            let here = (stop != Stop::NONE).then_some(stop)?;
            stop = self.places[here.at() as usize].node.links[here.lane()].next;
            Some(here.at())
        })
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
        self.chain(list).next().into_iter().chain(self.late(list, name).next()).min_by_key(|&at| self.rank(at))
    }

    /// Its rank; [`Rank::NEVER`] if the list is empty.
    pub(super) fn oldest_rank(&self, list: &List, name: ListName) -> Rank {
        self.oldest(list, name).map_or(Rank::NEVER, |at| self.rank(at))
    }
}
