//! When those who wait become less choosy: three lists in order of seniority, one per stage that has a next one.
//!
//! Everybody in a list waits the same time after their t0, so its head is the next one due and no heap is needed.

use super::arena::{Arena, LANE_STAGE, List, ListName, Rank};
use super::bucket::Bucket;
use super::index::LIST_NAMES;
use super::policy::Policy;
use super::rates::Rates;
use super::ticket::STAGES;
use crate::time::Millis;

const CHANGES: usize = STAGES as usize - 1;

pub(super) struct Stages {
    lists: [List; CHANGES],
    oldest: [Rank; CHANGES],
}

impl Stages {
    pub(super) const fn new() -> Stages {
        Stages { lists: [List::EMPTY; CHANGES], oldest: [Rank::NEVER; CHANGES] }
    }

    pub(super) fn link(&mut self, arena: &mut Arena, at: u32) {
        let stage = arena.slot(at).bucket.stage();
        if let Some(list) = self.lists.get_mut(usize::from(stage)) {
            arena.link(list, name(stage), LANE_STAGE, at);
            let oldest = &mut self.oldest[usize::from(stage)];
            *oldest = arena.rank(at).min(*oldest);
        }
    }

    pub(super) fn unlink(&mut self, arena: &mut Arena, at: u32) {
        let stage = arena.slot(at).bucket.stage();
        if let Some(list) = self.lists.get_mut(usize::from(stage)) {
            arena.unlink(list, name(stage), LANE_STAGE, at);
            if arena.rank(at) == self.oldest[usize::from(stage)] {
                self.oldest[usize::from(stage)] = arena.oldest_rank(list, name(stage));
            }
        }
    }

    /// When the next ticket is due.
    pub(super) fn next(&self, policy: &Policy) -> Option<Millis> {
        self.first(policy).map(|(due, _)| due.t0())
    }

    /// The next ticket due at `now`: earliest first, then in order of arrival.
    pub(super) fn due(&self, now: Millis, arena: &Arena, policy: &Policy) -> Option<u32> {
        let (_, stage) = self.first(policy).filter(|(due, _)| due.t0() <= now)?;
        arena.oldest(&self.lists[usize::from(stage)], name(stage))
    }

    fn first(&self, policy: &Policy) -> Option<(Rank, u8)> {
        let due = self.oldest.iter().zip(policy.widen_after_ms).map(|(oldest, after)| oldest.later(after));
        due.zip(0..).min().filter(|(due, _)| *due != Rank::NEVER)
    }
}

/// The stage somebody of seniority `rank` has reached who was at `bucket`'s: by age, and earlier where waiting is pointless.
pub(super) fn reached(bucket: Bucket, rank: Rank, now: Millis, rates: &Rates, policy: &Policy) -> Bucket {
    let mut bucket = bucket;
    while let Some(&after) = policy.widen_after_ms.get(usize::from(bucket.stage())) {
        let wait = rank.t0().after(after).since(now);
        if wait > 0 && !rates.pointless(bucket, wait, policy) {
            break;
        }
        bucket = bucket.at_stage(bucket.stage() + 1);
    }
    bucket
}

fn name(stage: u8) -> ListName {
    ListName(LIST_NAMES + u32::from(stage))
}
