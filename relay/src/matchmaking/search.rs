//! The exact best partner, found by looking at heads of lists.
//!
//! Price of `y` to `x` = level cost · steps + topic cost · [no shared topic] + t0 of `y`; cheapest wins, then the older, then the earlier arrival.
//! All tickets in one list differ in seniority only, so the first acceptable one is the list's best, and the walk past it is skipped. A ticket
//! that shares a topic is also met in the list of all, there at too high a price; its right price comes from the topic's list, and
//! nobody behind it in the list of all is cheaper, so the minimum is the true one.

use super::arena::{Arena, List, NIL, Rank};
use super::bucket::{Bucket, Masks, Relation, WORDS};
use super::index::{Group, Index, LIST_ALL, LIST_NONE, lane, name};
use super::policy::{Policy, strangers};
use super::ticket::{Level, Person, TopicSet};

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
    let (free, topical) = field.masks.inner(seeker.bucket);
    let mut search = Search {
        field,
        seeker,
        free,
        reach: std::array::from_fn(|level| free[level] | topical[level]),
        near: Level::ALL.map(|level| level_cost(field.policy, seeker.bucket.level(), level)),
        best: (u64::MAX, Rank::NEVER),
        found: NIL,
        skips_left: max_skips,
        work: 0,
    };
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
    (fits && strangers(seeker.person, seeker.avoid, slot.person, &slot.avoid)).then(|| {
        (
            slot.rank.t0().0 + level_cost(field.policy, seeker.bucket.level(), slot.bucket.level()) + topic_cost,
            slot.rank,
        )
    })
}

struct Search<'a> {
    field: Field<'a>,
    seeker: &'a Seeker<'a>,
    /// Per level, the buckets that need no shared topic, and all in reach.
    free: &'a [u64; WORDS],
    reach: [u64; WORDS],
    /// Price of each level.
    near: [u64; WORDS],
    best: Price,
    found: u32,
    skips_left: u32,
    work: u32,
}

/// `None`: out of skips.
type Complete = Option<()>;

/// A bucket by its place in the index.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Spot {
    group: usize,
    level: usize,
    bit: usize,
}

impl<'a> Search<'a> {
    fn everywhere(&mut self) -> Complete {
        // The most promising bucket first: then hardly any other is worth a look inside.
        let Some(first) = self.most_promising() else { return Some(()) };
        self.bucket(first)?;
        for (number, group) in self.groups() {
            for level in 0..WORDS {
                for bit in ones(group.occupied[level] & self.reach[level]) {
                    let spot = Spot { group: number, level, bit };
                    if self.floor(group, spot) < self.best && spot != first {
                        self.bucket(spot)?;
                    }
                }
            }
        }
        Some(())
    }

    fn groups(&self) -> impl Iterator<Item = (usize, &'a Group)> + use<'a> {
        let Field { index, masks, .. } = self.field;
        let fitting = index.groups() & masks.groups(self.seeker.bucket);
        ones(u64::from(fitting)).filter_map(|number| Some((number, index.group(number)?)))
    }

    fn most_promising(&mut self) -> Option<Spot> {
        let mut lowest = ((u64::MAX, Rank::NEVER), None);
        for (number, group) in self.groups() {
            for level in 0..WORDS {
                let fitting = group.occupied[level] & self.reach[level];
                self.work += fitting.count_ones();
                for bit in ones(fitting) {
                    let spot = Spot { group: number, level, bit };
                    let floor = self.floor(group, spot);
                    if floor < lowest.0 {
                        lowest = (floor, Some(spot));
                    }
                }
            }
        }
        lowest.1
    }

    /// Nobody in the bucket is cheaper than this.
    fn floor(&self, group: &Group, spot: Spot) -> Price {
        let oldest = group.oldest[spot.level * 64 + spot.bit];
        (oldest.t0().0 + self.near[spot.level], oldest)
    }

    fn bucket(&mut self, spot: Spot) -> Complete {
        let inner = spot.level * 64 + spot.bit;
        let Field { index, policy, .. } = self.field;
        let Some(body) = index.group(spot.group).and_then(|group| index.body(group, inner)) else { return Some(()) };
        let (bucket, near) = (Bucket::from_parts(spot.group, inner), self.near[spot.level]);
        for topic in self.seeker.topics.iter() {
            self.list(body.list(topic), bucket, topic, near)?;
        }
        // Whoever chose nothing takes any topic, and is taken by anybody.
        let any = self.free[spot.level] >> spot.bit & 1 == 1 || self.seeker.topics.is_empty();
        let others = if any { LIST_ALL } else { LIST_NONE };
        self.list(body.list(others), bucket, others, near + policy.topic_cost_ms)
    }

    fn list(&mut self, list: &List, bucket: Bucket, number: u8, extra: u64) -> Complete {
        if (list.oldest.t0().0.saturating_add(extra), list.oldest) >= self.best {
            return Some(());
        }
        let arena = self.field.arena;
        let mut at = list.head;
        while at != NIL && !self.settles(at, extra)? {
            at = arena.next(at, lane(arena.slot(at), number));
        }
        for at in arena.late(list, name(bucket, number)) {
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

fn level_cost(policy: &Policy, a: Level, b: Level) -> u64 {
    u64::from(a.distance(b)) * policy.level_cost_ms
}

/// Positions of the bits that are set, ascending.
fn ones(mut word: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let bit = word.trailing_zeros() as usize;
        word &= word.wrapping_sub(1);
        (bit < 64).then_some(bit)
    })
}
