//! From a number (a ticket's, a person's) to where it waits: an open-addressed table of one word an entry.
//!
//! It is sized once, for the bound on tickets, so that no arrival ever pays for growth. The numbers themselves stay in the slots; an entry
//! keeps a tag of 24 bits, enough to know its home and to look into the wrong slot once in 16 million times. Ticket numbers are the
//! server's own and persons are keyed hashes, so nobody outside can aim at a collision.

/// Engines at most, by the width of an entry.
pub(super) const MAX_ENGINES: usize = (1 << 16) - 1;
/// Tickets at most, so that a tag says where home is in a table half as large again.
pub(super) const MAX_SLOTS: usize = 1 << 23;

const TAG_BITS: u32 = 24;
const TAG: u64 = (1 << TAG_BITS) - 1;

/// Where a ticket waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) engine: u16,
    pub(super) slot: u32,
}

pub(super) struct Directory {
    /// Tag (24 bits), engine + 1 (16), slot (24); 0 is empty.
    entries: Vec<u64>,
    tag: fn(u64) -> u64,
}

impl Directory {
    /// For numbers counted upwards: every four in a row share a line of memory, which the arrival before has just used.
    pub(super) fn of_counted(bound: usize) -> Directory {
        Directory { entries: vec![0; capacity(bound)], tag: |number| (mix(number >> 2) << 2 | number & 3) & TAG }
    }

    /// For numbers of any kind.
    pub(super) fn of_any(bound: usize) -> Directory {
        Directory { entries: vec![0; capacity(bound)], tag: |number| mix(number) & TAG }
    }

    /// Reads ahead what a look-up of `number` will, so that it need not wait for memory.
    pub(super) fn read_ahead(&self, number: u64) {
        let home = self.home((self.tag)(number));
        // Half of all runs of entries go on in the next line.
        let next = self.entries.get(home + 8).copied().unwrap_or_default();
        std::hint::black_box(self.entries[home] ^ next);
    }

    /// The place of `number`, which `holds` recognises.
    pub(super) fn find(&self, number: u64, holds: impl Fn(Place) -> bool) -> Option<Place> {
        let tag = (self.tag)(number);
        let mut at = self.home(tag);
        loop {
            match self.entries[at] {
                0 => return None,
                entry if entry >> 40 == tag && holds(place(entry)) => return Some(place(entry)),
                _ => at = self.after(at),
            }
        }
    }

    /// Adds `number`, which is not in here yet. There is room: the bound on tickets is kept by the caller.
    pub(super) fn insert(&mut self, number: u64, place: Place) {
        let tag = (self.tag)(number);
        let mut at = self.home(tag);
        while self.entries[at] != 0 {
            at = self.after(at);
        }
        self.entries[at] = entry(tag, place);
    }

    pub(super) fn remove(&mut self, number: u64, place: Place) {
        let tag = (self.tag)(number);
        let mut gap = self.home(tag);
        while self.entries[gap] != entry(tag, place) {
            if self.entries[gap] == 0 {
                return;
            }
            gap = self.after(gap);
        }
        // Close the gap with whatever would not be found across it.
        let mut at = self.after(gap);
        while self.entries[at] != 0 {
            if self.distance(self.home(self.entries[at] >> 40), at) >= self.distance(gap, at) {
                self.entries[gap] = self.entries[at];
                gap = at;
            }
            at = self.after(at);
        }
        self.entries[gap] = 0;
    }

    /// The tag as a fraction of the table.
    fn home(&self, tag: u64) -> usize {
        ((tag * self.entries.len() as u64) >> TAG_BITS) as usize
    }

    fn after(&self, at: usize) -> usize {
        if at + 1 == self.entries.len() { 0 } else { at + 1 }
    }

    fn distance(&self, from: usize, to: usize) -> usize {
        if to >= from { to - from } else { to + self.entries.len() - from }
    }
}

/// The finaliser of SplitMix64.
const fn mix(number: u64) -> u64 {
    let mixed = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

/// At most seven ninths full. Not a power of two: two such tables are a good part of what a ticket costs in memory.
const fn capacity(bound: usize) -> usize {
    bound + bound / 7 * 2 + 16
}

fn entry(tag: u64, place: Place) -> u64 {
    tag << 40 | u64::from(place.engine + 1) << 24 | u64::from(place.slot)
}

const fn place(entry: u64) -> Place {
    Place { engine: (entry >> 24) as u16 - 1, slot: entry as u32 & 0xff_ffff }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

    #[test]
    fn finds_what_a_map_finds_when_filled_to_the_bound_and_emptied_again() {
        let bound = 500;
        for mut directory in [Directory::of_counted(bound), Directory::of_any(bound)] {
            fill_and_empty(&mut directory, bound);
        }
    }

    fn fill_and_empty(directory: &mut Directory, bound: usize) {
        let mut rng = StdRng::seed_from_u64(1);
        let mut model: HashMap<u64, Place> = HashMap::new();
        for step in 0..40_000_u64 {
            let number = rng.random_range(0..2000) * if step % 2 == 0 { 1 } else { 1 << 40 };
            let known = model.get(&number).copied();
            assert_eq!(directory.find(number, |place| known == Some(place)), known);
            if let Some(place) = known {
                directory.remove(number, place);
                model.remove(&number);
            } else if model.len() < bound {
                let place = Place { engine: rng.random_range(0..MAX_ENGINES as u16), slot: step as u32 };
                directory.insert(number, place);
                model.insert(number, place);
            }
        }
        for (number, place) in model {
            directory.remove(number, place);
        }
        assert!(directory.entries.iter().all(|&entry| entry == 0));
    }
}
