//! No path joins a minor and an adult: every pool, every engine, every pair of buckets.

use std::collections::BTreeSet;

use super::{bucket_groups, bucket_rest, pairs, ticket};
use crate::matchmaking::cohorts::Cohorts;
use crate::matchmaking::{Band, Criteria, Gender, GenderSet, Matchmaker, Policy, Ticket, TicketId, TopicSet};
use crate::time::Millis;

const BANDS: [Band; 3] = [Band::B13_15, Band::B16_17, Band::Adult];
const NOW: u64 = 50_000;

fn policy(minor_bands_meet: bool) -> Policy {
    Policy { minor_bands_meet, patience: 0, max_tickets: 2_000, max_pools: 3, ..Policy::default() }
}

/// What the law of the house says, spelled out.
fn allowed(a: Band, b: Band, minor_bands_meet: bool) -> bool {
    match (a, b) {
        (Band::Adult, Band::Adult) | (Band::B13_15, Band::B13_15) | (Band::B16_17, Band::B16_17) => true,
        (Band::B13_15, Band::B16_17) | (Band::B16_17, Band::B13_15) => minor_bands_meet,
        (Band::Adult, Band::B13_15 | Band::B16_17) | (Band::B13_15 | Band::B16_17, Band::Adult) => false,
    }
}

fn in_bucket(
    number: u64,
    band: Band,
    (gender, wants): (Gender, GenderSet),
    (criteria, age): (Criteria, u64),
) -> Ticket {
    Ticket {
        band,
        gender,
        wants,
        level: criteria.level,
        max_distance: criteria.max_distance,
        topic_mode: criteria.topic_mode,
        topics: TopicSet::ANY,
        ..ticket(number, NOW - age)
    }
}

#[test]
fn the_engines_of_adults_and_of_minors_are_different_ones_in_every_pool() {
    for minor_bands_meet in [false, true] {
        let mut fresh = 0..;
        let pools: Vec<Cohorts> = (0..50).map(|_| Cohorts::new(minor_bands_meet, |_| fresh.next().unwrap())).collect();
        let mut seen = BTreeSet::new();
        for pool in &pools {
            for a in BANDS {
                for b in BANDS {
                    assert_eq!(pool.engine(a) == pool.engine(b), allowed(a, b, minor_bands_meet), "{a:?} {b:?}");
                }
            }
            assert!(pool.engines().all(|engine| seen.insert(engine)), "no engine serves two pools");
        }
    }
}

/// Who wait fill all 288 buckets of a group (and avoid each other); then one of the other band arrives in every one of the 6,048 buckets.
fn matches_across(waiting: Band, arriving: Band, minor_bands_meet: bool, groups: &[(Gender, GenderSet)]) -> usize {
    let rest = bucket_rest();
    let mut made = 0;
    for &group in groups {
        let mut engine = Matchmaker::new(policy(minor_bands_meet));
        let mut crowd: Vec<Ticket> =
            (0..).zip(&rest).map(|(number, &rest)| in_bucket(number, waiting, group, rest)).collect();
        let everybody: Vec<_> = crowd.iter().map(|ticket| ticket.person).collect();
        crowd.iter_mut().for_each(|ticket| ticket.avoid.clone_from(&everybody));
        for ticket in crowd {
            engine.enqueue(Millis(NOW), "general", ticket).unwrap();
        }
        assert_eq!(engine.waiting(), rest.len());
        for other in bucket_groups() {
            for &place in &rest {
                let arrival = in_bucket(10_000, arriving, other, place);
                engine.enqueue(Millis(NOW), "general", arrival).unwrap();
                for (waiter, _) in pairs(&mut engine) {
                    made += 1;
                    let mut again = in_bucket(waiter, waiting, group, rest[waiter as usize]);
                    again.avoid.clone_from(&everybody);
                    engine.enqueue(Millis(NOW), "general", again).unwrap();
                }
                engine.cancel(TicketId(10_000));
            }
        }
        assert_eq!(engine.waiting(), rest.len());
    }
    made
}

#[test]
fn in_no_pair_of_buckets_does_a_minor_meet_an_adult() {
    for minor_bands_meet in [false, true] {
        for minor in [Band::B13_15, Band::B16_17] {
            assert_eq!(matches_across(Band::Adult, minor, minor_bands_meet, &bucket_groups()), 0);
            assert_eq!(matches_across(minor, Band::Adult, minor_bands_meet, &bucket_groups()), 0);
        }
    }
}

#[test]
fn the_same_enumeration_does_find_pairs_where_they_are_allowed() {
    let group = [(Gender::F, GenderSet::ANY)];
    // A seventh of the wishes is for each set, four sevenths of them include women, and everybody finds somebody in reach.
    let expected = 3 * 4 * bucket_rest().len();
    assert_eq!(matches_across(Band::Adult, Band::Adult, false, &group), expected);
    assert_eq!(matches_across(Band::B13_15, Band::B16_17, true, &group), expected);
    assert_eq!(matches_across(Band::B13_15, Band::B16_17, false, &group), 0);
}

#[test]
fn a_pool_that_made_room_for_another_leaves_no_way_across() {
    let mut engine = Matchmaker::new(Policy { max_pools: 1, ..policy(false) });
    for round in 0..20 {
        let (pool, number) = (format!("pool-{round}"), 2 * round);
        engine.enqueue(Millis(NOW), &pool, Ticket { band: BANDS[round as usize % 3], ..ticket(number, NOW) }).unwrap();
        let other = Ticket { band: BANDS[(round as usize + 1) % 3], ..ticket(number + 1, NOW) };
        engine.enqueue(Millis(NOW), &pool, other).unwrap();
        assert_eq!(pairs(&mut engine), []);
        assert!(engine.cancel(TicketId(number)) && engine.cancel(TicketId(number + 1)));
    }
}
