//! How many are older: an ordered bag of ranks that can count.
//!
//! Three levels (bag, shelf, leaf) of at most [`FAN`] each but the first, so every operation touches a handful of cache lines and
//! `below` adds a few hundred numbers at a million ranks. In-order arrival fills leaves completely: 8.5 bytes a rank.

use super::arena::Rank;

const FAN: usize = 64;

#[derive(Default)]
pub(super) struct Crowd {
    shelves: Vec<Shelf>,
}

struct Shelf {
    max: Rank,
    count: usize,
    leaves: Vec<Leaf>,
}

struct Leaf {
    max: Rank,
    ranks: Vec<Rank>,
}

impl Crowd {
    pub(super) fn insert(&mut self, rank: Rank) {
        let last = self.shelves.len().saturating_sub(1);
        let at = self.shelves.partition_point(|shelf| shelf.max < rank).min(last);
        match self.shelves.get_mut(at) {
            Some(shelf) => {
                let full = shelf.insert(rank);
                self.shelves.extend_at(at + 1, full);
            }
            None => self.shelves.push(Shelf { max: rank, count: 1, leaves: vec![Leaf::new(rank)] }),
        }
    }

    /// Takes out one rank equal to `rank`, if there is one.
    pub(super) fn remove(&mut self, rank: Rank) {
        let at = self.shelves.partition_point(|shelf| shelf.max < rank);
        let Some(shelf) = self.shelves.get_mut(at) else { return };
        shelf.remove(rank);
        if shelf.leaves.is_empty() {
            self.shelves.remove(at);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.shelves.iter().map(|shelf| shelf.count).sum()
    }

    /// How many are smaller than `rank`.
    pub(super) fn below(&self, rank: Rank) -> usize {
        let at = self.shelves.partition_point(|shelf| shelf.max < rank);
        let before: usize = self.shelves[..at].iter().map(|shelf| shelf.count).sum();
        before + self.shelves.get(at).map_or(0, |shelf| shelf.below(rank))
    }
}

impl Shelf {
    /// Returns the second half if this one overflowed.
    fn insert(&mut self, rank: Rank) -> Option<Shelf> {
        self.count += 1;
        self.max = self.max.max(rank);
        let last = self.leaves.len() - 1;
        let at = self.leaves.partition_point(|leaf| leaf.max < rank).min(last);
        let full = self.leaves[at].insert(rank);
        self.leaves.extend_at(at + 1, full);
        if self.leaves.len() <= FAN {
            return None;
        }
        // Growth at the end leaves a full shelf behind.
        let leaves = self.leaves.split_off(if at == last { FAN } else { FAN / 2 });
        let count = leaves.iter().map(|leaf| leaf.ranks.len()).sum();
        self.count -= count;
        let max = std::mem::replace(&mut self.max, self.leaves[self.leaves.len() - 1].max);
        Some(Shelf { max, count, leaves })
    }

    fn remove(&mut self, rank: Rank) {
        let at = self.leaves.partition_point(|leaf| leaf.max < rank);
        let Some(leaf) = self.leaves.get_mut(at) else { return };
        let Ok(place) = leaf.ranks.binary_search(&rank) else { return };
        leaf.ranks.remove(place);
        self.count -= 1;
        let left = leaf.ranks.len();
        match leaf.ranks.last() {
            Some(&max) => leaf.max = max,
            None => _ = self.leaves.remove(at),
        }
        // Two thin neighbours become one, so that leaves stay a quarter full on average whatever leaves first.
        if left > 0 && self.leaves.get(at + 1).is_some_and(|next| next.ranks.len() + left <= FAN / 2) {
            let next = self.leaves.remove(at + 1);
            self.leaves[at].max = next.max;
            self.leaves[at].ranks.extend(next.ranks);
        }
        if let Some(last) = self.leaves.last() {
            self.max = last.max;
        }
    }

    fn below(&self, rank: Rank) -> usize {
        let at = self.leaves.partition_point(|leaf| leaf.max < rank);
        let before: usize = self.leaves[..at].iter().map(|leaf| leaf.ranks.len()).sum();
        before + self.leaves.get(at).map_or(0, |leaf| leaf.ranks.partition_point(|&other| other < rank))
    }
}

impl Leaf {
    fn new(rank: Rank) -> Leaf {
        Leaf { max: rank, ranks: vec![rank] }
    }

    /// Returns the second half if this one overflowed.
    fn insert(&mut self, rank: Rank) -> Option<Leaf> {
        let place = self.ranks.partition_point(|&other| other <= rank);
        if self.ranks.len() < FAN {
            self.ranks.insert(place, rank);
            self.max = self.max.max(rank);
            return None;
        }
        if place == FAN {
            return Some(Leaf::new(rank));
        }
        let ranks = self.ranks.split_off(FAN / 2);
        let max = std::mem::replace(&mut self.max, self.ranks[FAN / 2 - 1]);
        let mut second = Leaf { max, ranks };
        let half = if rank < self.max { &mut *self } else { &mut second };
        half.insert(rank);
        Some(second)
    }
}

trait ExtendAt<T> {
    fn extend_at(&mut self, at: usize, item: Option<T>);
}

impl<T> ExtendAt<T> for Vec<T> {
    fn extend_at(&mut self, at: usize, item: Option<T>) {
        if let Some(item) = item {
            self.insert(at, item);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

    fn check(crowd: &Crowd) {
        let mut last = Rank(0);
        for shelf in &crowd.shelves {
            assert_eq!(shelf.count, shelf.leaves.iter().map(|leaf| leaf.ranks.len()).sum::<usize>());
            assert_eq!(Some(shelf.max), shelf.leaves.last().map(|leaf| leaf.max));
            assert!(shelf.leaves.len() <= FAN);
            for leaf in &shelf.leaves {
                assert!((1..=FAN).contains(&leaf.ranks.len()) && leaf.ranks.last() == Some(&leaf.max));
                for &rank in &leaf.ranks {
                    assert!(rank >= last);
                    last = rank;
                }
            }
        }
    }

    #[test]
    fn counts_like_a_sorted_vector_through_inserts_and_removals() {
        for seed in 0..6 {
            let mut rng = StdRng::seed_from_u64(seed);
            let (mut crowd, mut model) = (Crowd::default(), Vec::new());
            let range = [20, 3000, 1_000_000][seed as usize % 3];
            for step in 0..12_000_u64 {
                let growing = step % 6000 < 4000;
                if rng.random_bool(if growing { 0.8 } else { 0.1 }) {
                    let rank = if rng.random_bool(0.5) { step + range } else { rng.random_range(0..range) };
                    crowd.insert(Rank(rank));
                    model.insert(model.partition_point(|&other| other < rank), rank);
                } else if !model.is_empty() {
                    crowd.remove(Rank(model.remove(rng.random_range(0..model.len()))));
                }
                let probe = rng.random_range(0..range + step);
                assert_eq!(crowd.below(Rank(probe)), model.partition_point(|&other| other < probe));
                if step % 500 == 0 {
                    check(&crowd);
                }
            }
            for rank in model {
                crowd.remove(Rank(rank));
            }
            check(&crowd);
            assert!(crowd.shelves.is_empty());
        }
    }

    #[test]
    fn removing_what_is_not_there_changes_nothing() {
        let mut crowd = Crowd::default();
        crowd.remove(Rank(1));
        crowd.insert(Rank(5));
        crowd.remove(Rank(1));
        crowd.remove(Rank(9));
        assert_eq!(crowd.below(Rank(9)), 1);
    }
}
