//! What would help somebody whom nobody fits: the one wish that, given up, would match now, and with about how many.

use super::arena::List;
use super::bucket::{Bucket, LEVELS, ones};
use super::engine::Engine;
use super::index::LIST_ALL;
use super::region::{Countries, Region};
use super::search::{Field, Seeker, price};
use super::ticket::{Criteria, GenderSet, TopicMode, TopicSet};

/// A wish that could be given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relax {
    /// Talk about anything.
    Topics,
    /// Accept any level.
    Level,
    /// Accept any gender.
    Gender,
    /// Accept people from anywhere.
    Country,
}

impl Relax {
    fn apply(self, wishes: Criteria) -> Criteria {
        match self {
            Relax::Topics => Criteria { topics: TopicSet::ANY, topic_mode: TopicMode::Prefer, ..wishes },
            Relax::Level => Criteria { max_distance: 5, ..wishes },
            Relax::Gender => Criteria { wants: GenderSet::ANY, ..wishes },
            Relax::Country => Criteria { countries: Countries::ANY, ..wishes },
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hint {
    pub relax: Relax,
    /// At least so many wait who would then fit; rounded down to one of 1, 2, 5, 10, 20, 50, 100, so that it names nobody.
    pub would_match: u32,
}

const STEPS: [u32; 7] = [1, 2, 5, 10, 20, 50, 100];
/// Tickets looked at per wish; more than that are not counted.
const MAX_LOOKS: u32 = 512;

impl Engine {
    /// Costs up to a hundred microseconds where thousands wait: for those who wait long, not for every arrival, and not for all of them
    /// at once.
    pub(super) fn hint(&self, at: u32) -> Option<Hint> {
        let slot = self.arena.slot(at);
        let bucket = slot.bucket;
        let mut hint = None;
        let wishes = Criteria { countries: slot.region.wanted, ..bucket.criteria(slot.topics) };
        for relax in [Relax::Topics, Relax::Level, Relax::Gender, Relax::Country] {
            let criteria = relax.apply(wishes);
            let region = Region { home: slot.region.home, wanted: criteria.countries };
            let bucket = Bucket::new(bucket.gender(), &criteria, bucket.stage());
            let avoid = slot.avoided();
            let seeker = Seeker { bucket, person: slot.person, topics: criteria.topics, region, avoid };
            let fitting = count(self.field(), &seeker);
            let would_match = STEPS.into_iter().rfind(|&step| step <= fitting).unwrap_or(0);
            if would_match > hint.map_or(0, |hint: Hint| hint.would_match) {
                hint = Some(Hint { relax, would_match });
            }
        }
        hint
    }
}

/// How many of those looked at the seeker could be paired with.
fn count(field: Field<'_>, seeker: &Seeker<'_>) -> u32 {
    let mut looks = MAX_LOOKS;
    let mut fitting = 0;
    let groups = field.index.groups() & field.masks.groups(seeker.bucket);
    let (free, topical) = field.masks.inner(seeker.bucket);
    for class in ones(u64::from(groups)).flat_map(|group| group * LEVELS..(group + 1) * LEVELS) {
        let row = field.index.class(class).and_then(|class| field.index.row(class, LIST_ALL));
        let Some(row) = row else { continue };
        for cell in ones(row.occupied & (free[class % LEVELS] | topical[class % LEVELS])) {
            fitting += count_list(field, seeker, &row.lists[cell], &mut looks);
        }
    }
    fitting
}

fn count_list(field: Field<'_>, seeker: &Seeker<'_>, list: &List, looks: &mut u32) -> u32 {
    let mut fitting = 0;
    for at in field.arena.chain(list).take(*looks as usize) {
        *looks -= 1;
        fitting += u32::from(price(field, seeker, at).is_some());
    }
    fitting
}
