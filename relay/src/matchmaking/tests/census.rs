//! What an operator is told of those who wait.

use super::super::census::{Census, Group, Starved, TOLD_TOGETHER, Waiting};
use super::super::{Hint, Relax};
use super::*;

fn taken(engine: &Matchmaker, now: u64) -> Census {
    let mut census = Census::default();
    while !engine.count(Millis(now), &mut census) {}
    census
}

fn told(engine: &Matchmaker, now: u64) -> Vec<Waiting> {
    taken(engine, now).told()
}

/// They fit nobody of their own.
fn women_who_want_men(engine: &mut Matchmaker, numbers: std::ops::Range<u64>, level: Level) {
    for number in numbers {
        assert_eq!(enqueue(engine, 0, Ticket { level, ..woman(number, 0) }), []);
    }
}

#[test]
fn a_group_is_told_with_its_longest_wait_in_whole_tens_and_steps() {
    let mut engine = Matchmaker::new(steady());
    women_who_want_men(&mut engine, 0..29, Level::B1);
    let group =
        Group { bands: Some(&[Band::Adult]), level: Some(Level::B1), wants: Some(GenderSet::NONE.with(Gender::M)) };
    let waiting = Waiting { group, people: 20, longest_ms: 5_000, starved: Starved::No };
    assert_eq!(told(&engine, 9_999), [waiting]);
}

#[test]
fn small_groups_are_told_with_the_rest_of_their_level_their_cohort_and_all_and_fewer_than_ten_never() {
    let mut engine = Matchmaker::new(steady());
    women_who_want_men(&mut engine, 0..9, Level::B1);
    assert_eq!(told(&engine, 1), [], "nine are not told of");
    women_who_want_men(&mut engine, 9..11, Level::C1);
    let of = |waiting: Vec<Waiting>| waiting.into_iter().map(|it| (it.group, it.people)).collect::<Vec<_>>();
    let adults = Some(&[Band::Adult][..]);
    let all_adults = Group { bands: adults, level: None, wants: None };
    assert_eq!(of(told(&engine, 1)), [(all_adults, 10)]);
    for number in 20..23 {
        let picky =
            Ticket { gender: Gender::F, wants: GenderSet::NONE.with(Gender::M).with(Gender::X), ..ticket(number, 0) };
        assert_eq!(enqueue(&mut engine, 0, picky), []);
    }
    let level = Group { bands: adults, level: Some(Level::B1), wants: None };
    assert_eq!(of(told(&engine, 1)), [(level, 10)], "nine and three of one level; the two others are not told of");
    for number in 30..38 {
        assert_eq!(enqueue(&mut engine, 0, Ticket { band: Band::B13_15, ..woman(number, 0) }), []);
    }
    let everybody = Group { bands: None, level: None, wants: None };
    assert_eq!(of(told(&engine, 1)), [(level, 10), (everybody, 10)]);
}

#[test]
fn the_wish_that_keeps_most_waiting_is_named_once_they_have_waited_long() {
    let mut engine = Matchmaker::new(steady());
    women_who_want_men(&mut engine, 0..12, Level::B1);
    wait_until(&mut engine, 60_000);
    let starved = |engine: &Matchmaker, now| told(engine, now).into_iter().map(|it| it.starved).collect::<Vec<_>>();
    assert_eq!(
        starved(&engine, 60_000),
        [Starved::OfPeople],
        "women who want men do not fit each other whatever they give up"
    );
    // Men who take anybody would fit at once; these take nobody of another level.
    for number in 100..110 {
        let far = Ticket { level: Level::C2, max_distance: 0, ..man(number, 0) };
        assert_eq!(enqueue(&mut engine, 60_000, far), []);
    }
    wait_until(&mut engine, 90_000);
    let told = told(&engine, 90_000);
    let men = told.iter().find(|it| it.group.level == Some(Level::C2)).unwrap();
    let hint = Hint { relax: Relax::Level, would_match: 10 };
    assert_eq!((men.people, men.starved), (10, Starved::By(hint)));
}

#[test]
fn a_census_of_many_comes_in_slices_and_counts_everybody_once() {
    let mut engine = Matchmaker::new(Policy { max_pools: 1_000, ..steady() });
    for pool in 0..900_u64 {
        for number in 0..2 {
            let ticket = woman(pool * 2 + number, 0);
            engine.enqueue(Millis(0), &format!("pool-{pool}"), ticket).unwrap();
        }
    }
    wait_until(&mut engine, 20_000);
    let (mut census, mut slices) = (Census::default(), 1);
    while !engine.count(Millis(20_000), &mut census) {
        slices += 1;
    }
    assert!(slices > 5, "{slices}");
    let told = census.told();
    assert_eq!(told.iter().map(|it| it.people).collect::<Vec<_>>(), [1_800]);
}

#[test]
fn appointments_are_told_in_whole_tens() {
    let mut engine = Matchmaker::new(steady());
    for number in 0..19 {
        let ticket = Ticket { meeting: Some(super::super::Meeting(number)), ..ticket(number, 0) };
        assert_eq!(enqueue(&mut engine, 0, ticket), []);
    }
    let census = taken(&engine, 1);
    assert_eq!((census.appointments(), census.told()), (TOLD_TOGETHER, Vec::new()));
}
