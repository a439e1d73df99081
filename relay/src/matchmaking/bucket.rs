//! Buckets: all tickets in one bucket are alike to everybody else, except in topics, seniority and whom they avoid.
//! Which buckets may meet depends on nothing but the policy, so it is worked out once.

use super::policy::{Policy, is_free};
use super::region::Countries;
use super::ticket::{Criteria, Gender, GenderSet, Level, STAGES, TopicMode, TopicSet};

/// Outer part of a bucket: gender (3) and wish (8).
pub(super) const GROUPS: usize = 3 * 8;
/// Levels, one word of a bitmap each.
pub(super) const LEVELS: usize = 6;
/// Buckets of one group and level: hard limit (6), stage (4), topic mode (2).
pub(super) const CELLS: usize = 6 * 4 * 2;
/// Inner part of a bucket: level and cell. 48 of the 64 numbers a level has are used.
const STRIDE: usize = LEVELS * 64;
/// Classes of supply and demand: group and level. Positions and rates are kept per class.
pub(super) const CLASSES: usize = GROUPS * LEVELS;

/// The part of a ticket that decides with whom it may be compatible at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bucket(u16);

/// What two buckets are to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relation {
    Never,
    /// Only with a shared topic, or if one of them chose none.
    Topical,
    Free,
}

impl Bucket {
    pub(super) fn new(gender: Gender, criteria: &Criteria, stage: u8) -> Bucket {
        let bit = usize::from(criteria.max_distance.min(5)) * 8 + usize::from(stage.min(STAGES - 1)) * 2;
        let inner = criteria.level as usize * 64 + bit + criteria.topic_mode as usize;
        Bucket::from_parts(gender as usize * 8 + criteria.wants.index(), inner)
    }

    const fn from_parts(group: usize, inner: usize) -> Bucket {
        Bucket((group * STRIDE + inner) as u16)
    }

    pub(super) const fn number(self) -> u32 {
        self.0 as u32
    }

    pub(super) const fn group(self) -> usize {
        self.0 as usize / STRIDE
    }

    const fn inner(self) -> usize {
        self.0 as usize % STRIDE
    }

    /// Gender, wish and level: 0 to 143.
    pub(super) const fn class(self) -> usize {
        self.group() * LEVELS + self.inner() / 64
    }

    /// The rest: 0 to 47.
    pub(super) const fn cell(self) -> usize {
        self.inner() % 64
    }

    pub(super) const fn of_cell(class: usize, cell: usize) -> Bucket {
        Bucket::from_parts(class / LEVELS, class % LEVELS * 64 + cell)
    }

    pub(super) const fn stage(self) -> u8 {
        (self.inner() / 2 % 4) as u8
    }

    pub(super) fn at_stage(self, stage: u8) -> Bucket {
        Bucket(self.0 + 2 * u16::from(stage.min(STAGES - 1)) - 2 * u16::from(self.stage()))
    }

    /// The wishes of a ticket in here that chose `topics` and any country.
    pub(super) fn criteria(self, topics: TopicSet) -> Criteria {
        let (level, max_distance, topic_mode) = (self.level(), self.limit(), self.mode());
        Criteria { wants: self.wants(), level, max_distance, topics, topic_mode, countries: Countries::ANY }
    }

    pub(super) fn gender(self) -> Gender {
        Gender::ALL[self.group() / 8]
    }

    pub(super) fn wants(self) -> GenderSet {
        Gender::ALL.into_iter().filter(|&gender| (self.group() % 8) & (1 << gender as usize) != 0).collect()
    }

    pub(super) fn level(self) -> Level {
        Level::ALL[self.inner() / 64]
    }

    pub(super) const fn limit(self) -> u8 {
        (self.inner() % 64 / 8) as u8
    }

    pub(super) const fn mode(self) -> TopicMode {
        if self.0.is_multiple_of(2) { TopicMode::Prefer } else { TopicMode::Require }
    }
}

/// Per group, bits of the groups whose gender and wish fit both ways.
const FITTING: [u32; GROUPS] = fitting();

/// Which buckets may meet, as bitmaps: 36 KiB, of which a search reads two rows.
pub(super) struct Masks {
    /// Per inner part, the inner parts in reach that need no shared topic, and those that do.
    free: Box<[[u64; LEVELS]; STRIDE]>,
    topical: Box<[[u64; LEVELS]; STRIDE]>,
}

impl Masks {
    pub(super) fn new(policy: &Policy) -> Masks {
        let mut masks = Masks { free: Box::new([[0; LEVELS]; STRIDE]), topical: Box::new([[0; LEVELS]; STRIDE]) };
        for a in inner_parts() {
            for b in inner_parts() {
                let (word, bit) = (b / 64, 1 << (b % 64));
                match inner_relation(policy, Bucket::from_parts(0, a), Bucket::from_parts(0, b)) {
                    Relation::Never => {}
                    Relation::Topical => masks.topical[a][word] |= bit,
                    Relation::Free => masks.free[a][word] |= bit,
                }
            }
        }
        masks
    }

    /// Bits of the groups whose gender and wish fit `bucket`.
    pub(super) const fn groups(&self, bucket: Bucket) -> u32 {
        FITTING[bucket.group()]
    }

    /// Per level, bits of the cells that `bucket` may meet, those that need no shared topic and those that do.
    pub(super) fn inner(&self, bucket: Bucket) -> (&[u64; LEVELS], &[u64; LEVELS]) {
        (&self.free[bucket.inner()], &self.topical[bucket.inner()])
    }

    pub(super) fn relation(&self, a: Bucket, b: Bucket) -> Relation {
        let (free, topical) = self.inner(a);
        let (word, bit) = (b.inner() / 64, 1 << (b.inner() % 64));
        if self.groups(a) & 1 << b.group() == 0 {
            Relation::Never
        } else if free[word] & bit != 0 {
            Relation::Free
        } else if topical[word] & bit != 0 {
            Relation::Topical
        } else {
            Relation::Never
        }
    }
}

/// The inner numbers in use.
fn inner_parts() -> impl Iterator<Item = usize> {
    (0..STRIDE).filter(|inner| inner % 64 < CELLS)
}

const fn fitting() -> [u32; GROUPS] {
    let mut fitting = [0; GROUPS];
    let mut pair = 0;
    while pair < GROUPS * GROUPS {
        let (a, b) = (pair / GROUPS, pair % GROUPS);
        let (a_wants_b, b_wants_a) = ((a % 8) & (1 << (b / 8)) != 0, (b % 8) & (1 << (a / 8)) != 0);
        if a_wants_b && b_wants_a {
            fitting[a] |= 1 << b;
        }
        pair += 1;
    }
    fitting
}

fn inner_relation(policy: &Policy, a: Bucket, b: Bucket) -> Relation {
    let reach = policy.distance(a.stage()).max(policy.distance(b.stage())).min(a.limit()).min(b.limit());
    if a.level().distance(b.level()) > reach {
        Relation::Never
    } else if is_free(a.stage(), a.mode()) || is_free(b.stage(), b.mode()) {
        Relation::Free
    } else {
        Relation::Topical
    }
}

/// Groups (gender, wish) that fit a group both ways, for those who count arrivals.
pub(super) fn fitting_groups(group: usize) -> impl Iterator<Item = usize> {
    ones(u64::from(FITTING[group]))
}

/// Positions of the bits that are set, ascending.
pub(super) fn ones(mut word: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let bit = word.trailing_zeros() as usize;
        word &= word.wrapping_sub(1);
        (bit < 64).then_some(bit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_combination_has_a_bucket_of_its_own_and_can_be_read_back() {
        let mut seen = std::collections::HashSet::new();
        for gender in Gender::ALL {
            for wants in (0..8).map(|bits| Gender::ALL.into_iter().filter(|&g| bits >> g as u8 & 1 == 1).collect()) {
                for (level, max_distance, stage, topic_mode) in combinations() {
                    let (topics, countries) = (TopicSet::ANY, Countries::ANY);
                    let criteria = Criteria { wants, level, max_distance, topics, topic_mode, countries };
                    let bucket = Bucket::new(gender, &criteria, stage);
                    assert!(seen.insert(bucket.0));
                    assert_eq!((bucket.gender(), bucket.level(), bucket.limit()), (gender, level, max_distance));
                    assert_eq!((bucket.stage(), bucket.mode()), (stage, topic_mode));
                    assert_eq!(Bucket::of_cell(bucket.class(), bucket.cell()), bucket);
                    assert_eq!(bucket.at_stage(0).at_stage(stage), bucket);
                    assert_eq!(bucket.criteria(TopicSet::ANY), criteria);
                }
            }
        }
        assert_eq!(seen.len(), 6912);
    }

    fn combinations() -> Vec<(Level, u8, u8, TopicMode)> {
        let mut parts = Vec::new();
        for level in Level::ALL {
            for limit in 0..6 {
                for stage in 0..STAGES {
                    parts.extend([TopicMode::Prefer, TopicMode::Require].map(|mode| (level, limit, stage, mode)));
                }
            }
        }
        parts
    }

    #[test]
    fn relations_are_symmetric() {
        let masks = Masks::new(&Policy::default());
        for a in inner_parts() {
            for b in inner_parts() {
                for (g, h) in [(0b001, 0b001), (0o11, 0o04), (0o17, 0o27)] {
                    let (a, b) = (Bucket::from_parts(g, a), Bucket::from_parts(h, b));
                    assert_eq!(masks.relation(a, b), masks.relation(b, a));
                }
            }
        }
    }

    #[test]
    fn nobody_meets_somebody_who_wants_no_one() {
        for group in 0..GROUPS {
            assert!(fitting_groups(group).all(|other| other % 8 != 0 && group % 8 != 0));
        }
    }
}
