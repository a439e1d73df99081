//! Who waits, by bucket: a bitmap of occupied buckets, and in each bucket one list per topic, one of those who chose none, one of all.

use super::arena::{Arena, LANE_ALL, List, ListName, NIL, Rank, Slot};
use super::bucket::{Bucket, GROUPS, STRIDE, WORDS};

/// List of those who chose no topic; the numbers before it are the topics.
pub(super) const LIST_NONE: u8 = 64;
/// List of everybody in the bucket.
pub(super) const LIST_ALL: u8 = 65;
const LISTS: usize = 66;
/// Names below this one belong to lists in buckets.
pub(super) const LIST_NAMES: u32 = (GROUPS * STRIDE * LISTS) as u32;

/// The lists of one bucket. Within each, everybody is as far in level and, for a given seeker, as good in topics: the head is the best.
#[derive(Clone)]
pub(super) struct Body {
    lists: [List; LISTS],
}

pub(super) struct Group {
    pub(super) occupied: [u64; WORDS],
    /// Oldest ticket of each bucket: whether its lists are worth a look is known without looking.
    pub(super) oldest: [Rank; STRIDE],
    body: [u32; STRIDE],
}

#[derive(Default)]
pub(super) struct Index {
    groups: [Option<Box<Group>>; GROUPS],
    /// Groups with somebody in them.
    occupied: u32,
    bodies: Vec<Body>,
    spare: Vec<u32>,
}

impl Body {
    const EMPTY: Body = Body { lists: [List::EMPTY; LISTS] };

    pub(super) fn list(&self, list: u8) -> &List {
        &self.lists[usize::from(list)]
    }
}

pub(super) fn name(bucket: Bucket, list: u8) -> ListName {
    ListName(bucket.number() * LISTS as u32 + u32::from(list))
}

/// The lane a ticket uses in a list it is in.
pub(super) const fn lane(slot: &Slot, list: u8) -> usize {
    match list {
        LIST_ALL => LANE_ALL,
        LIST_NONE => 0,
        topic => slot.lane(topic),
    }
}

impl Index {
    pub(super) fn groups(&self) -> u32 {
        self.occupied
    }

    pub(super) fn group(&self, group: usize) -> Option<&Group> {
        self.groups[group].as_deref()
    }

    /// The lists of an occupied bucket.
    pub(super) fn body(&self, group: &Group, inner: usize) -> Option<&Body> {
        self.bodies.get(group.body[inner] as usize)
    }

    /// Puts a ticket into the lists of its bucket.
    pub(super) fn link(&mut self, arena: &mut Arena, at: u32) {
        let (bucket, topics, rank) = (arena.slot(at).bucket, arena.slot(at).topics, arena.slot(at).rank);
        let body = self.occupy(bucket, rank);
        let Some(body) = self.bodies.get_mut(body as usize) else { return };
        let mut join =
            |list: u8| arena.link(&mut body.lists[usize::from(list)], name(bucket, list), |slot| lane(slot, list), at);
        topics.iter().for_each(&mut join);
        if topics.is_empty() {
            join(LIST_NONE);
        }
        join(LIST_ALL);
    }

    /// Takes a ticket out of the lists of its bucket.
    pub(super) fn unlink(&mut self, arena: &mut Arena, at: u32) {
        let (bucket, topics) = (arena.slot(at).bucket, arena.slot(at).topics);
        let Some(group) = self.groups[bucket.group()].as_mut() else { return };
        let number = group.body[bucket.inner()];
        let Some(body) = self.bodies.get_mut(number as usize) else { return };
        let mut leave = |list: u8| {
            arena.unlink(&mut body.lists[usize::from(list)], name(bucket, list), |slot| lane(slot, list), at)
        };
        topics.iter().for_each(&mut leave);
        if topics.is_empty() {
            leave(LIST_NONE);
        }
        leave(LIST_ALL);
        match body.list(LIST_ALL).oldest {
            Rank::NEVER => self.vacate(bucket),
            oldest => group.oldest[bucket.inner()] = oldest,
        }
    }

    fn occupy(&mut self, bucket: Bucket, rank: Rank) -> u32 {
        let group = self.groups[bucket.group()].get_or_insert_with(|| {
            Box::new(Group { occupied: [0; WORDS], oldest: [Rank::NEVER; STRIDE], body: [NIL; STRIDE] })
        });
        self.occupied |= 1 << bucket.group();
        group.occupied[bucket.inner() / 64] |= 1 << (bucket.inner() % 64);
        let oldest = &mut group.oldest[bucket.inner()];
        *oldest = rank.min(*oldest);
        let body = &mut group.body[bucket.inner()];
        if *body == NIL {
            *body = self.spare.pop().unwrap_or(self.bodies.len() as u32);
            if *body as usize == self.bodies.len() {
                self.bodies.push(Body::EMPTY);
            }
        }
        *body
    }

    fn vacate(&mut self, bucket: Bucket) {
        let Some(group) = self.groups[bucket.group()].as_mut() else { return };
        group.oldest[bucket.inner()] = Rank::NEVER;
        self.spare.push(std::mem::replace(&mut group.body[bucket.inner()], NIL));
        group.occupied[bucket.inner() / 64] &= !(1 << (bucket.inner() % 64));
        if group.occupied == [0; WORDS] {
            self.occupied &= !(1 << bucket.group());
        }
    }
}
