//! What wakes a machine: nothing is taken before its time. A timer that is no longer wanted stays and finds nothing to do, so it is for who
//! sets few of them.
//!
//! Most timers of a machine are set a fixed time ahead, so each kind comes in order by itself. Such timers wait in lanes, first in, first
//! out; what fits into no lane waits in a heap. A heap of a hundred thousand is as many levels deep as there are reads from all over memory.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use crate::time::Millis;

/// More than a machine has fixed times.
const LANES: usize = 16;

#[derive(Debug)]
pub(crate) struct Timers<T> {
    /// Each in order of time.
    lanes: [VecDeque<(Millis, T)>; LANES],
    /// When the first of each lane is due; [`NEVER`] if it is empty.
    first: [Millis; LANES],
    /// When the last of each lane is due, or was.
    last: [Millis; LANES],
    heap: BinaryHeap<Reverse<(Millis, T)>>,
}

const NEVER: Millis = Millis(u64::MAX);

impl<T: Ord> Default for Timers<T> {
    fn default() -> Timers<T> {
        let lanes = std::array::from_fn(|_| VecDeque::new());
        Timers { lanes, first: [NEVER; LANES], last: [Millis(0); LANES], heap: BinaryHeap::new() }
    }
}

impl<T: Ord> Timers<T> {
    pub(crate) fn set(&mut self, at: Millis, timer: T) {
        // The lane whose last is closest before it, so that the others stay open for what is due earlier.
        let fits = |lane: &usize| self.last[*lane] <= at;
        let Some(lane) = (0..LANES).filter(fits).max_by_key(|lane| self.last[*lane]) else {
            return self.heap.push(Reverse((at, timer)));
        };
        self.last[lane] = at;
        self.first[lane] = self.first[lane].min(at);
        self.lanes[lane].push_back((at, timer));
    }

    pub(crate) fn next(&self) -> Option<Millis> {
        let heap = self.heap.peek().map_or(NEVER, |Reverse((at, _))| *at);
        Some(self.first.iter().fold(heap, |next, at| next.min(*at))).filter(|next| *next != NEVER)
    }

    pub(crate) fn pop_due(&mut self, now: Millis) -> Option<T> {
        let next = self.next().filter(|at| *at <= now)?;
        let Some(lane) = self.first.iter().position(|at| *at == next) else {
            return self.heap.pop().map(|Reverse((_, timer))| timer);
        };
        let (_, timer) = self.lanes[lane].pop_front()?;
        self.first[lane] = self.lanes[lane].front().map_or(NEVER, |(at, _)| *at);
        Some(timer)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.heap.len() + self.lanes.iter().map(VecDeque::len).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pops everything and says when each was due.
    fn drain(timers: &mut Timers<u64>) -> Vec<u64> {
        std::iter::from_fn(|| timers.pop_due(Millis(u64::MAX - 1))).collect()
    }

    #[test]
    fn whatever_the_order_they_are_set_in_they_come_in_order_of_time() {
        let mut timers = Timers::default();
        let mut seed = 1u64;
        let mut all: Vec<u64> = (0..2_000)
            .map(|_| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                seed >> 52
            })
            .collect();
        all.iter().for_each(|at| timers.set(Millis(*at), *at));
        assert!(!timers.heap.is_empty(), "more falls than there are lanes");
        assert_eq!(timers.len(), 2_000);
        all.sort_unstable();
        assert_eq!(timers.next(), Some(Millis(all[0])));
        assert_eq!(drain(&mut timers), all);
        assert_eq!((timers.next(), timers.len()), (None, 0));
    }

    #[test]
    fn nothing_is_taken_before_its_time() {
        let mut timers = Timers::default();
        for at in [30, 10, 20] {
            timers.set(Millis(at), at);
        }
        assert_eq!((timers.pop_due(Millis(9)), timers.pop_due(Millis(10))), (None, Some(10)));
        assert_eq!((timers.pop_due(Millis(19)), timers.next()), (None, Some(Millis(20))));
    }

    #[test]
    fn those_set_a_fixed_time_ahead_never_need_the_heap() {
        let mut timers = Timers::default();
        for now in 0..10_000u64 {
            for ahead in [1_000, 3_000, 5_000, 10_000, 15_000, 25_000] {
                timers.set(Millis(now + ahead), now + ahead);
            }
            while timers.pop_due(Millis(now)).is_some() {}
        }
        assert!(timers.heap.is_empty());
    }
}
