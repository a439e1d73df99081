//! Places for many large things: in pages, so that growing moves nothing and wastes little, and so that a page nobody is left in
//! gives its memory back. An empty place is overwritten: addresses lie in what is kept here.

use std::collections::BTreeSet;

use zeroize::Zeroize;

/// Places of one page.
const PAGE: usize = u64::BITS as usize;

pub(crate) struct Slab<T> {
    pages: Vec<Page<T>>,
    /// Pages with an empty place. The first is filled first, so that the last ones become empty.
    with_room: BTreeSet<u32>,
    /// The memory of one empty page is kept, so that coming and going at a full page's edge costs nothing.
    spare: Option<Box<[Option<T>]>>,
}

struct Page<T> {
    /// No places at all while nobody is in.
    places: Box<[Option<T>]>,
    /// A bit for each place.
    taken: u64,
}

impl<T> Default for Slab<T> {
    fn default() -> Slab<T> {
        Slab { pages: Vec::new(), with_room: BTreeSet::new(), spare: None }
    }
}

impl<T: Zeroize> Slab<T> {
    /// Answers the number of the thing's place, which is its until it is removed.
    pub(crate) fn insert(&mut self, thing: T) -> u32 {
        let number = self.with_room.first().copied().unwrap_or_else(|| {
            self.pages.push(Page { places: Box::default(), taken: 0 });
            let number = self.pages.len() as u32 - 1;
            self.with_room.insert(number);
            number
        });
        let page = &mut self.pages[number as usize];
        if page.places.is_empty() {
            page.places = self.spare.take().unwrap_or_else(|| (0..PAGE).map(|_| None).collect());
        }
        let place = page.taken.trailing_ones(); // below 64: it has room
        page.places[place as usize] = Some(thing);
        page.taken |= 1 << place;
        if page.taken == u64::MAX {
            self.with_room.remove(&number);
        }
        number * PAGE as u32 + place
    }

    pub(crate) fn remove(&mut self, number: u32) -> Option<T> {
        let (number, place) = split(number);
        let page = self.pages.get_mut(number)?;
        let left = page.places.get_mut(place)?;
        let thing = left.take()?;
        // Nobody is there any more, but `take` leaves the bytes.
        left.zeroize();
        if page.taken == u64::MAX {
            self.with_room.insert(number as u32);
        }
        page.taken &= !(1 << place);
        if page.taken == 0 {
            self.spare = Some(std::mem::take(&mut page.places));
        }
        Some(thing)
    }

    #[inline]
    pub(crate) fn get(&self, number: u32) -> Option<&T> {
        let (page, place) = split(number);
        self.pages.get(page)?.places.get(place)?.as_ref()
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        let (page, place) = split(number);
        self.pages.get_mut(page)?.places.get_mut(place)?.as_mut()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.pages.iter().flat_map(|page| page.places.iter().flatten())
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.pages.iter_mut().flat_map(|page| page.places.iter_mut().flatten())
    }
}

fn split(number: u32) -> (usize, usize) {
    (number as usize / PAGE, number as usize % PAGE)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

        #[test]
        fn every_thing_stays_at_its_own_place_and_empty_pages_are_gone(
            steps in prop::collection::vec((0..3_u8, 0..400_u32), 0..600)
        ) {
            let (mut slab, mut model) = (Slab::default(), HashMap::new());
            for (step, number) in steps {
                if step == 0 {
                    prop_assert_eq!(slab.remove(number), model.remove(&number));
                } else {
                    prop_assert_eq!(model.insert(slab.insert(number), number), None, "the place was empty");
                }
                prop_assert!(model.iter().all(|(place, thing)| slab.get(*place) == Some(thing)));
                prop_assert_eq!(slab.iter().count(), model.len());
                let pages = slab.pages.iter().filter(|page| !page.places.is_empty());
                prop_assert!(pages.clone().all(|page| page.taken > 0 && page.taken.count_ones() as usize == page.places.iter().flatten().count()));
            }
        }
    }

    #[test]
    fn the_lowest_places_are_taken_first() {
        let mut slab = Slab::default();
        let places: Vec<u32> = (0..200).map(|n| slab.insert(n)).collect();
        assert_eq!(places, (0..200).collect::<Vec<_>>());
        for gone in [150, 70, 3] {
            slab.remove(gone);
        }
        assert_eq!([slab.insert(0), slab.insert(0), slab.insert(0), slab.insert(0)], [3, 70, 150, 200]);
    }
}
