//! The exact best partner, found by looking at heads of lists.
//!
//! Price of `y` to `x` = level cost · steps + topic cost · [no shared topic] + t0 of `y`; cheapest wins, then the older, then the earlier arrival.
//! All tickets in one list differ in seniority only, so the first acceptable one is the list's best, and the walk past it is skipped. A ticket
//! that shares a topic is also met in the list of all, there at too high a price; its right price comes from the topic's list, and
//! nobody behind it in the list of all is cheaper, so the minimum is the true one.

use super::arena::{Arena, LANE_ALL, List, ListName, NIL, Rank};
use super::bucket::{Bucket, Masks, Relation, STRIDE, WORDS};
use super::index::{Index, LIST_ALL, LIST_NONE, lane, name};
use super::policy::{Policy, strangers};
use super::ticket::{Person, TopicSet};

/// Who looks for a partner.
#[derive(Clone, Copy)]
pub(super) struct Seeker<'a> {
    pub(super) bucket: Bucket,
    pub(super) person: Person,
    pub(super) topics: TopicSet,
    /// Ascending.
    pub(super) avoid: &'a [Person],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Partner(u32),
    Nobody,
    /// Too many in the way avoid the seeker, or are avoided: the answer takes longer than one event may.
    TooManySkips,
}

/// What a partner costs: price in milliseconds, then seniority. Less is better.
pub(super) type Price = (u64, Rank);

/// Buckets and masks to search in.
#[derive(Clone, Copy)]
pub(super) struct Field<'a> {
    pub(super) arena: &'a Arena,
    pub(super) index: &'a Index,
    pub(super) masks: &'a Masks,
    pub(super) policy: &'a Policy,
}

/// The best partner for `seeker`, and how many buckets and tickets were looked at to know.
pub(super) fn search(field: Field<'_>, seeker: &Seeker<'_>, max_skips: u32) -> (Found, u32) {
    let mut search =
        Search { field, seeker, best: (u64::MAX, Rank::NEVER), found: NIL, skips_left: max_skips, work: 0 };
    let complete = search.everywhere().is_some();
    let found = match search.found {
        _ if !complete => Found::TooManySkips,
        NIL => Found::Nobody,
        at => Found::Partner(at),
    };
    (found, search.work + max_skips - search.skips_left)
}

/// What the pair would cost if `y` may be `seeker`'s partner; for those who look at one ticket after another.
pub(super) fn price(field: Field<'_>, seeker: &Seeker<'_>, y: u32) -> Option<Price> {
    let slot = field.arena.slot(y);
    let shared = seeker.topics.shares(slot.topics);
    let fits = match field.masks.relation(seeker.bucket, slot.bucket) {
        Relation::Never => false,
        Relation::Free => true,
        Relation::Topical => shared || seeker.topics.is_empty() || slot.topics.is_empty(),
    };
    let topic_cost = if shared { 0 } else { field.policy.topic_cost_ms };
    (fits && strangers(seeker.person, seeker.avoid, slot.person, &slot.avoid))
        .then(|| (slot.rank.t0().0 + level_cost(field.policy, seeker.bucket, slot.bucket) + topic_cost, slot.rank))
}

struct Search<'a> {
    field: Field<'a>,
    seeker: &'a Seeker<'a>,
    best: Price,
    found: u32,
    skips_left: u32,
    work: u32,
}

/// `None`: out of skips.
type Complete = Option<()>;

impl Search<'_> {
    fn everywhere(&mut self) -> Complete {
        let Field { index, masks, .. } = self.field;
        let (free, topical) = masks.inner(self.seeker.bucket);
        let mut groups = index.groups() & masks.groups(self.seeker.bucket);
        while groups != 0 {
            let group = groups.trailing_zeros() as usize;
            groups &= groups - 1;
            let occupied = index.occupied(group);
            for word in 0..WORDS {
                self.word(group, word, occupied[word] & free[word], true)?;
                self.word(group, word, occupied[word] & topical[word], false)?;
            }
        }
        Some(())
    }

    fn word(&mut self, group: usize, word: usize, mut bits: u64, free: bool) -> Complete {
        debug_assert!(word * 64 < STRIDE);
        while bits != 0 {
            let inner = word * 64 + bits.trailing_zeros() as usize;
            bits &= bits - 1;
            self.bucket(Bucket::from_parts(group, inner), free)?;
        }
        Some(())
    }

    fn bucket(&mut self, bucket: Bucket, free: bool) -> Complete {
        let Field { index, policy, .. } = self.field;
        self.work += 1;
        let (oldest, near) = (index.oldest(bucket), level_cost(policy, self.seeker.bucket, bucket));
        if (oldest.t0().0 + near, oldest) >= self.best {
            return Some(());
        }
        let Some(body) = index.body(bucket) else { return Some(()) };
        for topic in self.seeker.topics.iter() {
            self.list(body.list(topic), name(bucket, topic), topic, near)?;
        }
        // Whoever chose nothing takes any topic, and is taken by anybody.
        let others = if free || self.seeker.topics.is_empty() { LIST_ALL } else { LIST_NONE };
        self.list(body.list(others), name(bucket, others), others, near + policy.topic_cost_ms)
    }

    fn list(&mut self, list: &List, name: ListName, number: u8, extra: u64) -> Complete {
        let arena = self.field.arena;
        let mut at = list.head;
        while at != NIL && !self.settles(at, extra)? {
            at = arena.next(at, if number == LIST_ALL { LANE_ALL } else { lane(arena.slot(at), number) });
        }
        for at in arena.late(list, name) {
            if self.settles(at, extra)? {
                break;
            }
        }
        Some(())
    }

    /// Whether nothing behind `at` in its list can be better than what is known now.
    fn settles(&mut self, at: u32, extra: u64) -> Option<bool> {
        let slot = self.field.arena.slot(at);
        let price = (slot.rank.t0().0 + extra, slot.rank);
        if price >= self.best {
            return Some(true);
        }
        if strangers(self.seeker.person, self.seeker.avoid, slot.person, &slot.avoid) {
            (self.best, self.found) = (price, at);
            return Some(true);
        }
        self.skips_left = self.skips_left.checked_sub(1)?;
        Some(false)
    }
}

fn level_cost(policy: &Policy, a: Bucket, b: Bucket) -> u64 {
    u64::from(a.level().distance(b.level())) * policy.level_cost_ms
}
