//! Which engine wants to be woken when.

use std::collections::BTreeSet;

use crate::time::Millis;

#[derive(Default)]
pub(super) struct Deadlines {
    /// Time, order of registration, engine: those due at the same time take turns.
    order: BTreeSet<(Millis, u64, u16)>,
    by_engine: Vec<Option<(Millis, u64)>>,
    registered: u64,
}

impl Deadlines {
    /// An engine that is overdue keeps its turn; one that has just had it goes behind the others.
    pub(super) fn set(&mut self, engine: u16, now: Millis, at: Option<Millis>) {
        let at = at.map(|at| at.max(now));
        let index = usize::from(engine);
        if self.by_engine.len() <= index {
            self.by_engine.resize(index + 1, None);
        }
        let old = self.by_engine[index];
        if old.map(|(old, _)| old.max(now)) == at {
            return;
        }
        if let Some((at, turn)) = old {
            self.order.remove(&(at, turn, engine));
        }
        self.registered += 1;
        self.by_engine[index] = at.map(|at| (at, self.registered));
        self.order.extend(at.map(|at| (at, self.registered, engine)));
    }

    pub(super) fn next(&self) -> Option<Millis> {
        self.order.first().map(|&(at, _, _)| at)
    }

    /// Takes the engine that is due first.
    pub(super) fn due(&mut self, now: Millis) -> Option<u16> {
        let &(at, turn, engine) = self.order.first().filter(|(at, _, _)| *at <= now)?;
        self.order.remove(&(at, turn, engine));
        self.by_engine[usize::from(engine)] = None;
        Some(engine)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_due_at_the_same_time_take_turns() {
        let mut deadlines = Deadlines::default();
        for engine in [3, 1, 2] {
            deadlines.set(engine, Millis(5), Some(Millis(5)));
        }
        let mut turns = Vec::new();
        for _ in 0..6 {
            let engine = deadlines.due(Millis(5));
            turns.extend(engine);
            engine.into_iter().for_each(|engine| deadlines.set(engine, Millis(5), Some(Millis(5))));
        }
        assert_eq!(turns, [3, 1, 2, 3, 1, 2]);
        assert_eq!(deadlines.due(Millis(4)), None);
    }

    #[test]
    fn an_overdue_engine_keeps_its_turn_whatever_arrives_there() {
        let mut deadlines = Deadlines::default();
        deadlines.set(0, Millis(5), Some(Millis(5)));
        deadlines.set(1, Millis(6), Some(Millis(6)));
        deadlines.set(0, Millis(9), Some(Millis(3)));
        assert_eq!((deadlines.next(), deadlines.due(Millis(9))), (Some(Millis(5)), Some(0)));
        deadlines.set(0, Millis(9), Some(Millis(3)));
        assert_eq!((deadlines.due(Millis(9)), deadlines.due(Millis(9))), (Some(1), Some(0)));
    }

    #[test]
    fn an_engine_has_one_deadline_the_last_it_named() {
        let mut deadlines = Deadlines::default();
        deadlines.set(0, Millis(1), Some(Millis(5)));
        deadlines.set(0, Millis(1), Some(Millis(9)));
        assert_eq!(deadlines.next(), Some(Millis(9)));
        deadlines.set(0, Millis(1), None);
        assert_eq!((deadlines.next(), deadlines.due(Millis(100))), (None, None));
    }
}
