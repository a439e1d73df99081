//! The exact best partner, found by looking at heads of lists.
//!
//! Price of `y` to `x` = level cost · steps + topic cost · [no shared topic] + t0 of `y`; cheapest wins, then the older, then the earlier arrival.
//! All tickets in one list differ in seniority only, so the first acceptable one is the list's best, and the walk past it is skipped. A ticket
//! that shares a topic is also met in the list of all, there at too high a price; its right price comes from the topic's list, and
//! nobody behind it in the list of all is cheaper, so the minimum is the true one.

use super::arena::{Arena, List, NIL, Rank};
use super::bucket::{Bucket, LEVELS, Masks, Relation, ones};
use super::index::{Class, Index, LIST_ALL, LIST_NONE, name};
use super::policy::{Avoided, Policy, Who, strangers};
use super::region::Region;
use super::ticket::{Level, Person, TopicSet};

/// Who looks for a partner.
#[derive(Clone, Copy)]
pub(super) struct Seeker<'a> {
    pub(super) bucket: Bucket,
    pub(super) person: Person,
    pub(super) topics: TopicSet,
    pub(super) region: Region,
    pub(super) avoid: Avoided<'a>,
}

impl Seeker<'_> {
    fn who(&self) -> Who<'_> {
        Who { person: self.person, region: &self.region, avoid: self.avoid }
    }
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
        topical,
        near: Level::ALL.map(|level| level_cost(field.policy, seeker.bucket.level(), level)),
        best: NOBODY,
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
    let (slot, rank) = (field.arena.slot(y), field.arena.rank(y));
    let shared = seeker.topics.shares(slot.topics);
    let fits = match field.masks.relation(seeker.bucket, slot.bucket) {
        Relation::Never => false,
        Relation::Free => true,
        Relation::Topical => shared || seeker.topics.is_empty() || slot.topics.is_empty(),
    };
    let topic_cost = if shared { 0 } else { field.policy.topic_cost_ms };
    (fits && strangers(&seeker.who(), &slot.who())).then(|| {
        (rank.t0().0 + level_cost(field.policy, seeker.bucket.level(), slot.bucket.level()) + topic_cost, rank)
    })
}

struct Search<'a> {
    field: Field<'a>,
    seeker: &'a Seeker<'a>,
    /// Per level, the cells that need no shared topic, those that do, and the price of the level.
    free: &'a [u64; LEVELS],
    topical: &'a [u64; LEVELS],
    near: [u64; LEVELS],
    best: Price,
    found: u32,
    skips_left: u32,
    work: u32,
}

/// `None`: out of skips.
type Complete = Option<()>;

/// Dearer than anybody.
const NOBODY: Price = (u64::MAX, Rank::NEVER);

/// A row to look at: the cells of it that are in reach, and the price of being in it.
#[derive(Clone, Copy)]
struct Candidate<'a> {
    class: &'a Class,
    number: usize,
    list: u8,
    mask: u64,
    extra: u64,
}

impl<'a> Search<'a> {
    fn everywhere(&mut self) -> Complete {
        // The most promising row first: then hardly any other is worth a look.
        let mut first: Option<Candidate<'_>> = None;
        let (mut lowest, mut second) = (NOBODY, NOBODY);
        self.each_candidate(|_, candidate, floor| {
            if floor < lowest {
                (second, first, lowest) = (lowest, Some(candidate), floor);
            } else {
                second = floor;
            }
            Some(second)
        })?;
        let Some(first) = first else { return Some(()) };
        self.row(first)?;
        if self.best <= second {
            return Some(());
        }
        self.each_candidate(|search, candidate, _| {
            if (candidate.number, candidate.list) != (first.number, first.list) {
                search.row(candidate)?;
            }
            Some(search.best)
        })
    }

    /// Visits the rows with somebody in reach, perhaps, and what nobody in them is cheaper than, the nearest level first. `visit` returns
    /// the price that is to be beaten from now on.
    fn each_candidate(&mut self, mut visit: impl FnMut(&mut Self, Candidate<'a>, Price) -> Option<Price>) -> Complete {
        let &mut Search { field: Field { index, masks, policy, .. }, seeker, free, topical, near, .. } = self;
        let mut bar = NOBODY;
        for group in ones(u64::from(index.groups() & masks.groups(seeker.bucket))) {
            for &level in seeker.bucket.level().outwards() {
                let reach = free[level] | topical[level];
                let number = group * LEVELS + level;
                let Some(class) = index.class(number).filter(|_| reach != 0) else { continue };
                self.work += 1;
                let mut offer = |list, mask, extra| {
                    let floor = class.floor(list, near[level] + extra);
                    if mask != 0 && floor < bar {
                        bar = visit(self, Candidate { class, number, list, mask, extra: near[level] + extra }, floor)?;
                    }
                    Some(floor < bar)
                };
                // Nobody in a row is older than the oldest of all.
                if !offer(LIST_ALL, 0, 0)? {
                    continue;
                }
                for topic in seeker.topics.iter() {
                    offer(topic, reach, 0)?;
                }
                // Whoever chose nothing takes any topic, and is taken by anybody.
                let all = if seeker.topics.is_empty() { reach } else { free[level] };
                offer(LIST_ALL, all, policy.topic_cost_ms)?;
                offer(LIST_NONE, reach & !all, policy.topic_cost_ms)?;
            }
        }
        Some(())
    }

    fn row(&mut self, candidate: Candidate<'_>) -> Complete {
        let Candidate { class, number, list, mask, extra } = candidate;
        self.work += 1;
        let Some(row) = self.field.index.row(class, list) else { return Some(()) };
        let Some(oldest) = row.oldest_of(mask) else { return Some(()) };
        let bucket = |cell| Bucket::of_cell(number, cell);
        if self.is_cheaper(row.oldest[oldest], extra) && !self.list(&row.lists[oldest], bucket(oldest), list, extra)? {
            for cell in ones(row.occupied & mask).filter(|&cell| cell != oldest) {
                if self.is_cheaper(row.oldest[cell], extra) {
                    self.list(&row.lists[cell], bucket(cell), list, extra)?;
                }
            }
        }
        Some(())
    }

    fn is_cheaper(&self, rank: Rank, extra: u64) -> bool {
        (rank.t0().0 + extra, rank) < self.best
    }

    /// Whether the very first of the list was taken, so that the rest of its row is dearer.
    fn list(&mut self, list: &List, bucket: Bucket, number: u8, extra: u64) -> Option<bool> {
        let (arena, skips_before) = (self.field.arena, self.skips_left);
        for at in arena.chain(list) {
            if self.settles(at, extra)? {
                break;
            }
        }
        for at in arena.late(list, name(bucket, number)) {
            if self.settles(at, extra)? {
                break;
            }
        }
        Some(self.skips_left == skips_before)
    }

    /// Whether nothing behind `at` in its list can be better than what is known now.
    fn settles(&mut self, at: u32, extra: u64) -> Option<bool> {
        let rank = self.field.arena.rank(at);
        let price = (rank.t0().0 + extra, rank);
        if price >= self.best {
            return Some(true);
        }
        let slot = self.field.arena.slot(at);
        if strangers(&self.seeker.who(), &slot.who()) {
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
