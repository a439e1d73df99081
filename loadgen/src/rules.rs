//! The match rules of matching.md §5.1, written anew from the document: what the relay's code says is not asked.

use std::time::Duration;

use crate::{
    caller::{record::Record, signal::Role},
    population::Criteria,
    time::Nanos,
};

/// Waiting times at which the search widens, and the level distance allowed from each stage on.
const WIDEN: [Duration; 3] = [Duration::from_millis(1_500), Duration::from_secs(4), Duration::from_secs(10)];
const DISTANCE: [u8; 4] = [1, 1, 2, 5];
/// From this stage on a shared topic is no longer needed, unless one insists.
const TOPICS_FREE: usize = 1;

/// A rule that was broken. Each makes a run worthless whatever its latencies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub enum Violation {
    /// Matched with itself.
    OneSelf,
    /// In two calls at once, or three callers in one.
    Double,
    /// In a call in which nobody else of this run is.
    Orphan,
    /// Cohorts that must never meet.
    Cohort,
    Gender,
    /// Further apart than one of them accepts.
    Level,
    /// No topic in common although both insist.
    Topic,
    Blocked,
    /// Not exactly one offerer and one answerer.
    Roles,
    /// Told something untrue about the partner.
    Told,
    /// Tokens named different pools.
    Pool,
    /// Media of another call was heard.
    CrossTalk,
    /// Media was changed on its way.
    Corrupt,
    /// The relay still counts allocations after every call has ended.
    Leak,
    /// So many lines cannot refuse so few, or so many.
    Erlang,
}

impl Violation {
    pub fn name(self) -> &'static str {
        match self {
            Violation::OneSelf => "matched with itself",
            Violation::Double => "in two calls at once",
            Violation::Orphan => "in a call alone",
            Violation::Cohort => "age cohorts met",
            Violation::Gender => "gender preference ignored",
            Violation::Level => "levels too far apart",
            Violation::Topic => "required topic ignored",
            Violation::Blocked => "block ignored",
            Violation::Roles => "roles not offerer and answerer",
            Violation::Told => "told something untrue about the partner",
            Violation::Pool => "pools met",
            Violation::CrossTalk => "media of another call",
            Violation::Corrupt => "media changed on its way",
            Violation::Leak => "allocations left behind",
            Violation::Erlang => "blocking contradicts Erlang B",
        }
    }
}

/// Everything that is wrong with a call between `a` and `b`, both told of the same call.
pub fn check(a: &Record, b: &Record) -> Vec<Violation> {
    let (x, y) = (&a.criteria, &b.criteria);
    let roles = (a.told.as_ref().map(|told| told.role), b.told.as_ref().map(|told| told.role));
    let one_each =
        matches!(roles, (Some(Role::Offerer), Some(Role::Answerer)) | (Some(Role::Answerer), Some(Role::Offerer)));
    let wrong = [
        (a.double_matched || b.double_matched, Violation::Double),
        (!one_each, Violation::Roles),
        (!truly_told(a, y) || !truly_told(b, x), Violation::Told),
    ];
    let told = wrong.into_iter().filter(|(broken, _)| *broken).map(|(_, violation)| violation);
    told.chain(unlawful((a.number, x), (b.number, y))).collect()
}

/// What forbids these two callers to meet at all, however long they wait.
pub fn unlawful((number_x, x): (u32, &Criteria), (number_y, y): (u32, &Criteria)) -> Vec<Violation> {
    let wrong = [
        (number_x == number_y, Violation::OneSelf),
        (x.band != y.band, Violation::Cohort),
        (!wants(x, y) || !wants(y, x), Violation::Gender),
        (apart(x, y) > x.max_distance.min(y.max_distance), Violation::Level),
        (!topics_meet(x, y, true), Violation::Topic),
        (x.blocks.contains(&number_y) || y.blocks.contains(&number_x), Violation::Blocked),
    ];
    wrong.into_iter().filter(|(broken, _)| *broken).map(|(_, violation)| violation).collect()
}

/// The first moment at which the rules, widening as documented, allowed this pair while both were queued; none if they
/// never do. The server may widen earlier where partners are scarce (§5.1, adaptive patience).
pub fn allowed_from(x: (&Criteria, Nanos), y: (&Criteria, Nanos)) -> Option<Nanos> {
    let both = x.1.max(y.1);
    let widened = [x.1, y.1].into_iter().flat_map(|since| WIDEN.map(|after| since.after(after)));
    let mut moments: Vec<Nanos> = widened.filter(|at| *at > both).chain([both]).collect();
    moments.sort_unstable();
    moments.into_iter().find(|at| {
        let (stage_x, stage_y) = (stage(x.1, *at), stage(y.1, *at));
        let reach = DISTANCE[stage_x].max(DISTANCE[stage_y]).min(x.0.max_distance).min(y.0.max_distance);
        let free = (stage_x >= TOPICS_FREE && !x.0.require_topic) || (stage_y >= TOPICS_FREE && !y.0.require_topic);
        apart(x.0, y.0) <= reach && topics_meet(x.0, y.0, free)
    })
}

fn stage(since: Nanos, at: Nanos) -> usize {
    WIDEN.iter().filter(|after| at >= since.after(**after)).count()
}

fn wants(x: &Criteria, y: &Criteria) -> bool {
    x.wants >> y.gender & 1 == 1
}

fn apart(x: &Criteria, y: &Criteria) -> u8 {
    x.level.abs_diff(y.level)
}

/// `free`: a stage was reached in which topics no longer matter to the side that does not insist.
fn topics_meet(x: &Criteria, y: &Criteria, free: bool) -> bool {
    let common = x.topics & y.topics != 0 || x.topics == 0 || y.topics == 0;
    common || (free && !(x.require_topic && y.require_topic))
}

fn truly_told(told: &Record, partner: &Criteria) -> bool {
    told.told.as_ref().is_some_and(|facts| {
        facts.partner_level == Some(partner.level) && facts.common_topics == told.criteria.topics & partner.topics
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::caller::record::{Outcome, Times, Told};

    pub(crate) fn criteria() -> Criteria {
        Criteria {
            band: 2,
            gender: 0,
            wants: 0b111,
            level: 2,
            max_distance: 1,
            topics: 0b011,
            require_topic: false,
            blocks: Vec::new(),
        }
    }

    pub(crate) fn record(number: u32, role: Role, criteria: Criteria) -> Record {
        let told = Told { call: "c".into(), role, partner_level: Some(2), common_topics: 0b011 };
        Record {
            number,
            criteria,
            times: Times::default(),
            told: Some(told),
            outcome: Outcome::Completed,
            account: None,
            turn_retransmissions: 0,
            check_retransmissions: 0,
            check_rejections: 0,
            requeued: 0,
            left: Vec::new(),
            reached: None,
            unheard: false,
            node: 0,
            rematch: None,
            moved: false,
            double_matched: false,
            direct: false,
        }
    }

    fn with(change: impl FnOnce(&mut Record, &mut Record)) -> Vec<Violation> {
        let mut a = record(1, Role::Offerer, criteria());
        let mut b = record(2, Role::Answerer, criteria());
        change(&mut a, &mut b);
        check(&a, &b)
    }

    #[test]
    fn a_lawful_pair_breaks_nothing() {
        assert_eq!(with(|_, _| {}), []);
    }

    #[test]
    fn every_rule_is_noticed_when_it_alone_is_broken() {
        assert_eq!(with(|_, b| b.criteria.band = 1), [Violation::Cohort]);
        assert_eq!(with(|_, b| b.criteria.wants = 0b110), [Violation::Gender]);
        assert_eq!(with(|a, _| a.criteria.wants = 0b100), [Violation::Gender]);
        assert_eq!(with(|_, b| b.criteria.blocks = vec![1]), [Violation::Blocked]);
        assert_eq!(with(|a, _| a.criteria.blocks = vec![2]), [Violation::Blocked]);
        assert_eq!(with(|a, b| b.number = a.number), [Violation::OneSelf]);
        assert_eq!(with(|a, _| a.double_matched = true), [Violation::Double]);
        let far = |a: &mut Record, b: &mut Record| {
            b.criteria.level = 4;
            a.told = a.told.take().map(|told| Told { partner_level: Some(4), ..told });
        };
        assert_eq!(with(far), [Violation::Level]);
        let insisting = |a: &mut Record, b: &mut Record| {
            b.criteria.topics = 0b100;
            for record in [a, b] {
                record.criteria.require_topic = true;
                record.told = record.told.take().map(|told| Told { common_topics: 0, ..told });
            }
        };
        assert_eq!(with(insisting), [Violation::Topic]);
        let two_offerers = |_: &mut Record, b: &mut Record| {
            b.told = b.told.take().map(|told| Told { role: Role::Offerer, ..told });
        };
        assert_eq!(with(two_offerers), [Violation::Roles]);
        let misled = |a: &mut Record, _: &mut Record| {
            a.told = a.told.take().map(|told| Told { partner_level: Some(5), ..told });
        };
        assert_eq!(with(misled), [Violation::Told]);
    }

    #[test]
    fn a_hard_limit_of_one_side_binds_both() {
        let limited = |a: &mut Record, b: &mut Record| {
            a.criteria.max_distance = 5;
            b.criteria.max_distance = 0;
            b.criteria.level = 3;
            a.told = a.told.take().map(|told| Told { partner_level: Some(3), ..told });
        };
        assert_eq!(with(limited), [Violation::Level]);
    }

    #[test]
    fn a_pair_is_allowed_when_the_more_patient_side_has_widened() {
        const SECOND: u64 = 1_000_000_000;
        let at = |x: &Criteria, since_x: u64, y: &Criteria, since_y: u64| {
            allowed_from((x, Nanos(since_x)), (y, Nanos(since_y))).map(|at| at.0)
        };
        let plain = criteria();
        assert_eq!(at(&plain, SECOND, &plain, 3 * SECOND), Some(3 * SECOND));
        let other_topics = Criteria { topics: 0b100, ..criteria() };
        assert_eq!(at(&plain, SECOND, &other_topics, 2 * SECOND), Some(SECOND + 1_500_000_000));
        let insists = Criteria { require_topic: true, ..other_topics.clone() };
        assert_eq!(at(&plain, SECOND, &insists, 2 * SECOND), Some(SECOND + 1_500_000_000));
        let both_insist = Criteria { require_topic: true, ..criteria() };
        assert_eq!(at(&both_insist, SECOND, &insists, 2 * SECOND), None);
        let two_up = Criteria { level: 4, max_distance: 5, ..criteria() };
        let tolerant = Criteria { max_distance: 5, ..criteria() };
        assert_eq!(at(&tolerant, 0, &two_up, SECOND), Some(4 * SECOND));
        assert_eq!(at(&plain, 0, &two_up, SECOND), None);
    }
}
