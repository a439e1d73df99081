//! Who waits, by class (gender, wish, level), by list (one per topic, one of those who chose none, one of all) and by cell (the rest of the
//! bucket). The lists that a search compares lie side by side in a row, and each row's oldest is known without looking into it.

use super::arena::{Arena, LANE_ALL, List, ListName, NIL, Rank, Slot};
use super::bucket::{Bucket, CELLS, CLASSES, GROUPS, LEVELS, ones};

/// List of those who chose no topic; the numbers before it are the topics.
pub(super) const LIST_NONE: u8 = 64;
/// List of everybody in the bucket.
pub(super) const LIST_ALL: u8 = 65;
const LISTS: usize = 66;
/// Names below this one belong to lists in buckets. (Buckets are numbered in steps of a level's 64.)
pub(super) const LIST_NAMES: u32 = (GROUPS * LEVELS * 64 * LISTS) as u32;

#[derive(Default)]
pub(super) struct Index {
    classes: ClassTable,
    /// Groups with somebody in them.
    occupied: u32,
    rows: Vec<Row>,
    spare: Vec<u32>,
}

struct ClassTable([Option<Box<Class>>; CLASSES]);

impl Default for ClassTable {
    fn default() -> ClassTable {
        ClassTable(std::array::from_fn(|_| None))
    }
}

pub(super) struct Class {
    /// Oldest ticket of each row.
    oldest: [Rank; LISTS],
    row: [u32; LISTS],
}

/// The lists of one class that are alike in topic. Everybody in them is as far in level and, to a given seeker, as good in topics.
pub(super) struct Row {
    /// Cells whose list is not empty.
    pub(super) occupied: u64,
    /// Oldest ticket of each list.
    pub(super) oldest: [Rank; CELLS],
    pub(super) lists: [List; CELLS],
}

impl Row {
    const EMPTY: Row = Row { occupied: 0, oldest: [Rank::NEVER; CELLS], lists: [List::EMPTY; CELLS] };

    /// The cell with the oldest ticket, among those in `mask`.
    pub(super) fn oldest_of(&self, mask: u64) -> Option<usize> {
        let mut oldest = (Rank::NEVER, None);
        for cell in ones(self.occupied & mask) {
            if self.oldest[cell] < oldest.0 {
                oldest = (self.oldest[cell], Some(cell));
            }
        }
        oldest.1
    }
}

impl Class {
    const EMPTY: Class = Class { oldest: [Rank::NEVER; LISTS], row: [NIL; LISTS] };

    const fn oldest(&self, list: u8) -> Rank {
        self.oldest[list as usize]
    }

    /// Nobody in the row is cheaper than this where being in it costs `extra`.
    pub(super) fn floor(&self, list: u8, extra: u64) -> (u64, Rank) {
        match self.oldest(list) {
            Rank::NEVER => (u64::MAX, Rank::NEVER),
            oldest => (oldest.t0().0 + extra, oldest),
        }
    }
}

pub(super) fn name(bucket: Bucket, list: u8) -> ListName {
    ListName(bucket.number() * LISTS as u32 + u32::from(list))
}

/// The lane a ticket uses in a list it is in.
const fn lane(slot: &Slot, list: u8) -> usize {
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

    pub(super) fn class(&self, class: usize) -> Option<&Class> {
        self.classes.0[class].as_deref()
    }

    pub(super) fn row(&self, class: &Class, list: u8) -> Option<&Row> {
        self.rows.get(class.row[usize::from(list)] as usize)
    }

    /// Puts a ticket into the lists of its bucket.
    pub(super) fn link(&mut self, arena: &mut Arena, at: u32) {
        let (bucket, topics) = (arena.slot(at).bucket, arena.slot(at).topics);
        topics.iter().for_each(|topic| self.join(arena, bucket, topic, at));
        if topics.is_empty() {
            self.join(arena, bucket, LIST_NONE, at);
        }
        self.join(arena, bucket, LIST_ALL, at);
        self.occupied |= 1 << bucket.group();
    }

    /// Takes a ticket out of the lists of its bucket.
    pub(super) fn unlink(&mut self, arena: &mut Arena, at: u32) {
        let (bucket, topics) = (arena.slot(at).bucket, arena.slot(at).topics);
        topics.iter().for_each(|topic| self.leave(arena, bucket, topic, at));
        if topics.is_empty() {
            self.leave(arena, bucket, LIST_NONE, at);
        }
        self.leave(arena, bucket, LIST_ALL, at);
        let is_empty = |class: usize| self.class(class).is_none_or(|class| class.oldest(LIST_ALL) == Rank::NEVER);
        if is_empty(bucket.class()) && (0..LEVELS).all(|level| is_empty(bucket.group() * LEVELS + level)) {
            self.occupied &= !(1 << bucket.group());
        }
    }

    fn join(&mut self, arena: &mut Arena, bucket: Bucket, list: u8, at: u32) {
        let class = self.classes.0[bucket.class()].get_or_insert_with(|| Box::new(Class::EMPTY));
        let number = &mut class.row[usize::from(list)];
        if *number == NIL {
            *number = self.spare.pop().unwrap_or(self.rows.len() as u32);
            if *number as usize == self.rows.len() {
                self.rows.push(Row::EMPTY);
            }
        }
        let Some(row) = self.rows.get_mut(*number as usize) else { return };
        let (cell, rank) = (bucket.cell(), arena.rank(at));
        let lane = lane(arena.slot(at), list);
        arena.link(&mut row.lists[cell], name(bucket, list), lane, at);
        row.occupied |= 1 << cell;
        row.oldest[cell] = row.oldest[cell].min(rank);
        let oldest = &mut class.oldest[usize::from(list)];
        *oldest = rank.min(*oldest);
    }

    fn leave(&mut self, arena: &mut Arena, bucket: Bucket, list: u8, at: u32) {
        let Some(class) = self.classes.0[bucket.class()].as_mut() else { return };
        let number = &mut class.row[usize::from(list)];
        let Some(row) = self.rows.get_mut(*number as usize) else { return };
        let (cell, rank) = (bucket.cell(), arena.rank(at));
        let lane = lane(arena.slot(at), list);
        arena.unlink(&mut row.lists[cell], name(bucket, list), lane, at);
        if rank > row.oldest[cell] {
            return;
        }
        row.oldest[cell] = arena.oldest_rank(&row.lists[cell], name(bucket, list));
        if row.oldest[cell] == Rank::NEVER {
            row.occupied &= !(1 << cell);
        }
        let oldest = &mut class.oldest[usize::from(list)];
        if rank == *oldest {
            *oldest = ones(row.occupied).fold(Rank::NEVER, |oldest, cell| oldest.min(row.oldest[cell]));
        }
        if row.occupied == 0 {
            self.spare.push(std::mem::replace(number, NIL));
        }
    }
}
