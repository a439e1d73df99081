//! A set of ports from which a random one is drawn in constant time.

use std::ops::RangeInclusive;

use rand::Rng;

/// `items` in any order, and for each port of the range its place among them.
pub(super) struct PortBag {
    items: Vec<u16>,
    first: u16,
    places: Box<[u16]>,
}

/// Not in the bag. No place is that large: port 0 is in no range.
const ABSENT: u16 = u16::MAX;

impl PortBag {
    pub(super) fn empty(range: &RangeInclusive<u16>) -> PortBag {
        PortBag { items: Vec::new(), first: *range.start(), places: vec![ABSENT; range.len()].into() }
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) fn contains(&self, port: u16) -> bool {
        self.slot(port).is_some_and(|slot| self.places[slot] != ABSENT)
    }

    /// A port outside the range, or already in, changes nothing.
    pub(super) fn insert(&mut self, port: u16) {
        let Some(slot) = self.slot(port) else { return };
        if self.places[slot] == ABSENT {
            self.places[slot] = self.items.len() as u16;
            self.items.push(port);
        }
    }

    pub(super) fn remove(&mut self, port: u16) {
        let Some(slot) = self.slot(port) else { return };
        let place = self.places[slot];
        if place == ABSENT {
            return;
        }
        self.items.swap_remove(usize::from(place));
        self.places[slot] = ABSENT;
        if let Some(&moved) = self.items.get(usize::from(place)) {
            self.places[usize::from(moved - self.first)] = place;
        }
    }

    pub(super) fn pick(&self, random: &mut impl Rng) -> Option<u16> {
        if self.items.is_empty() {
            return None;
        }
        Some(self.items[random.random_range(0..self.items.len())])
    }

    fn slot(&self, port: u16) -> Option<usize> {
        let slot = usize::from(port.checked_sub(self.first)?);
        (slot < self.places.len()).then_some(slot)
    }
}
