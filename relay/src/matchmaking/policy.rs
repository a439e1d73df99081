//! The operator's choices, and the one formula that says who may talk with whom (matching.md §5.1).

use super::region::Region;
use super::ticket::{Band, Person, STAGES, Ticket, TopicMode};

/// Choices of the operator. The defaults are those of matching.md §5.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Lets 13–15 meet 16–17. Adults with minors cannot be expressed.
    pub minor_bands_meet: bool,
    /// Waiting time at which stages 1, 2 and 3 begin, in milliseconds, ascending, each at most [`Policy::MAX_WIDEN_MS`].
    pub widen_after_ms: [u64; 3],
    /// Greatest distance of levels in each stage; the hard limits of both sides apply besides.
    pub distances: [u8; STAGES as usize],
    /// Price of one step of level distance, in milliseconds of waiting.
    pub level_cost_ms: u64,
    /// Price of no shared topic, in milliseconds of waiting.
    pub topic_cost_ms: u64,
    /// Compatible arrivals that must be expected for waiting to make sense; 0 always waits the configured time.
    pub patience: u32,
    /// What it means to have talked lately; later for those who come, see [`super::Matchmaker::set_recent`].
    pub recent: Recent,
    /// Tickets in all pools together.
    pub max_tickets: usize,
    /// Pools remembered at once.
    pub max_pools: usize,
}

/// What becomes of two who talked lately (matching.md §5.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Recent {
    /// They do not meet again for half an hour.
    #[default]
    Avoid,
    /// They may meet again once both are in the last stage of patience.
    AvoidUntilLastStage,
    /// They may meet again at once.
    Allow,
}

impl Recent {
    /// Whether somebody in that stage still keeps away from recent partners.
    const fn counts(self, stage: u8) -> bool {
        match self {
            Recent::Avoid => true,
            Recent::AvoidUntilLastStage => stage < STAGES - 1,
            Recent::Allow => false,
        }
    }
}

impl Policy {
    /// The longest wait for a stage that makes sense, one hour.
    pub const MAX_WIDEN_MS: u64 = 3_600_000;
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            minor_bands_meet: false,
            widen_after_ms: [1_500, 4_000, 10_000],
            distances: [1, 1, 2, 5],
            level_cost_ms: 3_000,
            topic_cost_ms: 4_000,
            patience: 3,
            recent: Recent::Avoid,
            max_tickets: 1 << 20,
            max_pools: 1 << 10,
        }
    }
}

/// Whether `x` at stage `stage_x` and `y` at stage `stage_y` may be paired. Symmetric.
pub fn compatible(x: &Ticket, stage_x: u8, y: &Ticket, stage_y: u8, policy: &Policy) -> bool {
    let reach = policy.distance(stage_x).max(policy.distance(stage_y)).min(x.max_distance).min(y.max_distance);
    let free = is_free(stage_x, x.topic_mode) || is_free(stage_y, y.topic_mode);
    bands_meet(x.band, y.band, policy)
        && x.wants.contains(y.gender)
        && y.wants.contains(x.gender)
        && x.level.distance(y.level) <= reach
        && (x.topics.shares(y.topics) || x.topics.is_empty() || y.topics.is_empty() || free)
        && x.countries.admit(y.country)
        && y.countries.admit(x.country)
        && !x.avoid.contains(&y.person)
        && !y.avoid.contains(&x.person)
        && !(policy.recent.counts(stage_x) && x.recent.contains(&y.person))
        && !(policy.recent.counts(stage_y) && y.recent.contains(&x.person))
        && x.person != y.person
}

/// Whether the two may meet at all, whatever they ask for: what holds for appointments too.
pub(super) fn may_ever_meet(x: &Ticket, y: &Ticket, policy: &Policy) -> bool {
    bands_meet(x.band, y.band, policy)
        && !x.avoid.contains(&y.person)
        && !y.avoid.contains(&x.person)
        && x.person != y.person
}

/// Two people whom nothing keeps apart that is too fine for a bucket.
///
/// Criteria too fine for a bucket belong here, beside blocks: they are looked at ticket by ticket, and cost those they turn away a skip.
pub(super) fn strangers(x: &Who<'_>, y: &Who<'_>) -> bool {
    x.person != y.person && x.region.suits(y.region) && !x.avoid.names(y.person) && !y.avoid.names(x.person)
}

/// Whether a list in ascending order has this person in it.
///
/// Persons are keyed hashes, spread evenly, so it is known about where one would stand: a step or two from there are one read from
/// memory, where a binary search makes several that wait for each other.
fn holds(ascending: &[Person], person: Person) -> bool {
    let at = ((u128::from(person.0) * ascending.len() as u128) >> 64) as usize;
    let (before, behind) = ascending.split_at(at);
    match behind.first() {
        None => false,
        Some(here) if *here < person => behind.iter().find(|other| **other >= person) == Some(&person),
        Some(here) => *here == person || before.iter().rfind(|other| **other <= person) == Some(&person),
    }
}

/// What is looked at ticket by ticket.
pub(super) struct Who<'a> {
    pub(super) person: Person,
    pub(super) region: &'a Region,
    pub(super) avoid: Avoided<'a>,
}

/// Whom somebody avoids; each list is ascending.
#[derive(Clone, Copy, Default)]
pub(super) struct Avoided<'a> {
    pub(super) blocked: &'a [Person],
    pub(super) recent: &'a [Person],
}

impl Avoided<'_> {
    fn names(&self, person: Person) -> bool {
        holds(self.blocked, person) || holds(self.recent, person)
    }

    /// Whom somebody in that stage avoids.
    pub(super) const fn at_stage(self, stage: u8, rule: Recent) -> Self {
        Avoided { recent: if rule.counts(stage) { self.recent } else { &[] }, ..self }
    }
}

impl Policy {
    pub(super) fn distance(&self, stage: u8) -> u8 {
        self.distances[usize::from(stage.min(STAGES - 1))]
    }
}

/// Whether a ticket no longer needs a shared topic: from stage 1 on, unless it insists.
pub(super) const fn is_free(stage: u8, mode: TopicMode) -> bool {
    stage >= 1 && matches!(mode, TopicMode::Prefer)
}

pub(crate) fn bands_meet(a: Band, b: Band, policy: &Policy) -> bool {
    match (a, b) {
        (Band::Adult, Band::Adult) => true,
        (Band::Adult, _) | (_, Band::Adult) => false,
        (a, b) => a == b || policy.minor_bands_meet,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matchmaking::tests::{person, ticket};

    /// A queue lets nobody in twice, so these say it where no queue is in between.
    #[test]
    fn nobody_is_a_stranger_to_themselves_and_one_block_is_enough() {
        let region = Region::default();
        let who =
            |number, blocked| Who { person: person(number), region: &region, avoid: Avoided { blocked, recent: &[] } };
        let [first, second, third] = [1, 2, 3].map(|number| [person(number)]);
        assert!(strangers(&who(1, &[]), &who(2, &third)));
        assert!(!strangers(&who(1, &[]), &who(1, &[])));
        assert!(!strangers(&who(1, &second), &who(2, &[])));
        assert!(!strangers(&who(1, &[]), &who(2, &first)));
        let policy = Policy::default();
        assert!(may_ever_meet(&ticket(1, 0), &ticket(2, 0), &policy));
        assert!(!may_ever_meet(&ticket(1, 0), &ticket(1, 0), &policy));
    }

    #[test]
    fn a_list_holds_whom_it_holds_however_its_persons_are_spread() {
        for step in [1, 3, u64::MAX / 40, u64::MAX / 7] {
            for len in 0..8_u64 {
                let list: Vec<Person> = (1..=len).map(|n| Person(n.saturating_mul(step))).collect();
                for n in 0..10_u64 {
                    for person in [-1, 0, 1].map(|by| Person(n.saturating_mul(step).saturating_add_signed(by))) {
                        assert_eq!(holds(&list, person), list.contains(&person));
                    }
                }
            }
        }
    }
}
