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
}

impl Stages {
    pub(super) const fn new() -> Stages {
        Stages { lists: [List::EMPTY; CHANGES] }
    }

    pub(super) fn link(&mut self, arena: &mut Arena, at: u32) {
        let stage = arena.slot(at).bucket.stage();
        if let Some(list) = self.lists.get_mut(usize::from(stage)) {
            arena.link(list, name(stage), |_| LANE_STAGE, at);
        }
    }

    pub(super) fn unlink(&mut self, arena: &mut Arena, at: u32) {
        let stage = arena.slot(at).bucket.stage();
        if let Some(list) = self.lists.get_mut(usize::from(stage)) {
            arena.unlink(list, name(stage), |_| LANE_STAGE, at);
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
        let waiting =
            (0_u8..).zip(&self.lists).zip(policy.widen_after_ms).filter(|((_, list), _)| list.oldest != Rank::NEVER);
        waiting.map(|((stage, list), after)| (list.oldest.later(after), stage)).min()
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
