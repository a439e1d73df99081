//! What would help somebody whom nobody fits: the one wish that, given up, would match now, and with about how many.

use super::arena::{LANE_ALL, NIL};
use super::bucket::{Bucket, GROUPS, STRIDE};
use super::engine::Engine;
use super::index::{Body, LIST_ALL};
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
}

impl Relax {
    fn apply(self, wishes: Criteria) -> Criteria {
        match self {
            Relax::Topics => Criteria { topics: TopicSet::ANY, topic_mode: TopicMode::Prefer, ..wishes },
            Relax::Level => Criteria { max_distance: 5, ..wishes },
            Relax::Gender => Criteria { wants: GenderSet::ANY, ..wishes },
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
const MAX_LOOKS: u32 = 1024;

impl Engine {
    /// Costs some ten microseconds at worst: for those who wait long, not for every arrival.
    pub(super) fn hint(&self, at: u32) -> Option<Hint> {
        let slot = self.arena.slot(at);
        let bucket = slot.bucket;
        let mut hint = None;
        for relax in [Relax::Topics, Relax::Level, Relax::Gender] {
            let criteria = relax.apply(bucket.criteria(slot.topics));
            let bucket = Bucket::new(bucket.gender(), &criteria, bucket.stage());
            let seeker = Seeker { bucket, person: slot.person, topics: criteria.topics, avoid: &slot.avoid };
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
    for group in (0..GROUPS).filter(|group| groups & 1 << group != 0) {
        let Some(group) = field.index.group(group) else { continue };
        let may_fit = |word: usize| group.occupied[word] & (free[word] | topical[word]);
        for inner in (0..STRIDE).filter(|inner| may_fit(inner / 64) & 1 << (inner % 64) != 0) {
            fitting += field.index.body(group, inner).map_or(0, |body| count_bucket(field, seeker, body, &mut looks));
        }
    }
    fitting
}

fn count_bucket(field: Field<'_>, seeker: &Seeker<'_>, body: &Body, looks: &mut u32) -> u32 {
    let mut fitting = 0;
    let mut at = body.list(LIST_ALL).head;
    while at != NIL && *looks > 0 {
        *looks -= 1;
        fitting += u32::from(price(field, seeker, at).is_some());
        at = field.arena.next(at, LANE_ALL);
    }
    fitting
}
