//! The slow lane: a search that ran out of skips goes on ticket by ticket, in slices, until it has seen everybody.
//!
//! It goes through the slots in order of their numbers, so whatever happens to the lists in between it gets through. Who arrives or widens
//! behind it has searched for themselves and met the seeker, who waits in the lists like everybody else.

use super::arena::{Arena, Rank};
use super::search::{Field, Price, Seeker, price};

pub(super) struct Scan {
    seeker: u32,
    /// Of the seeker's slot: a change of stage or criteria starts a search of its own.
    epoch: u32,
    cursor: u32,
    best: Option<Best>,
}

#[derive(Clone, Copy)]
struct Best {
    price: Price,
    at: u32,
    epoch: u32,
}

impl Scan {
    pub(super) const fn new(seeker: u32, epoch: u32) -> Scan {
        Scan { seeker, epoch, cursor: 0, best: None }
    }

    /// The ticket this is for, if it still waits unchanged.
    pub(super) fn seeker(&self, arena: &Arena) -> Option<u32> {
        let slot = arena.slot(self.seeker);
        (slot.live && slot.epoch == self.epoch).then_some(self.seeker)
    }

    /// Looks at up to `slots` more; true when there is an answer.
    pub(super) fn advance(&mut self, field: Field<'_>, seeker: &Seeker<'_>, slots: u32) -> bool {
        let end = field.arena.end().min(self.cursor.saturating_add(slots.max(1)));
        for at in self.cursor..end {
            self.consider(field, seeker, at);
        }
        self.cursor = end;
        if end < field.arena.end() {
            return false;
        }
        if self.best.is_some_and(|best| !best.holds(field, seeker)) {
            // The best has gone or was blocked meanwhile; the next best was not kept.
            (self.cursor, self.best) = (0, None);
            return false;
        }
        true
    }

    /// The answer: who is best, if anybody is.
    pub(super) fn partner(&self) -> Option<u32> {
        self.best.map(|best| best.at)
    }

    fn consider(&mut self, field: Field<'_>, seeker: &Seeker<'_>, at: u32) {
        let slot = field.arena.slot(at);
        if !slot.live || at == self.seeker {
            return;
        }
        let limit = self.best.map_or((u64::MAX, Rank::NEVER), |best| best.price);
        if let Some(price) = price(field, seeker, at)
            && price < limit
        {
            self.best = Some(Best { price, at, epoch: slot.epoch });
        }
    }
}

impl Best {
    fn holds(&self, field: Field<'_>, seeker: &Seeker<'_>) -> bool {
        let slot = field.arena.slot(self.at);
        slot.live && slot.epoch == self.epoch && price(field, seeker, self.at).is_some()
    }
}
