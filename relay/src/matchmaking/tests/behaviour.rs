//! Single promises, one at a time.

use super::{enqueue, man, pairs, person, steady, ticket, wait_until, woman};
use crate::matchmaking::engine::Limits;
use crate::matchmaking::{
    CATCH_UP_SLICE, Criteria, Gender, GenderSet, Hint, Level, MAX_AVOID, Matchmaker, Policy, Refused, Relax, Ticket,
    TicketId, TopicMode, TopicSet,
};
use crate::time::Millis;

#[test]
fn two_strangers_are_matched_the_moment_the_second_arrives() {
    let mut engine = Matchmaker::new(Policy::default());
    assert_eq!(enqueue(&mut engine, 100, ticket(1, 100)), []);
    assert_eq!(enqueue(&mut engine, 100, ticket(2, 100)), [(1, 2)]);
    assert_eq!((engine.waiting(), engine.poll_timeout()), (0, None));
    assert!(!engine.cancel(TicketId(1)) && engine.position(Millis(100), TicketId(2)).is_none());
}

#[test]
fn pools_do_not_meet() {
    let mut engine = Matchmaker::new(Policy::default());
    engine.enqueue(Millis(0), "general", ticket(1, 0)).unwrap();
    engine.enqueue(Millis(0), "oet-nurse", ticket(2, 0)).unwrap();
    assert_eq!(wait_until(&mut engine, 60_000), []);
}

#[test]
fn a_topic_is_insisted_on_for_a_second_and_a_half_and_then_given_up() {
    let mut engine = Matchmaker::new(steady());
    enqueue(&mut engine, 0, Ticket { topics: TopicSet(0b01), ..ticket(1, 0) });
    enqueue(&mut engine, 200, Ticket { topics: TopicSet(0b10), ..ticket(2, 200) });
    assert_eq!(engine.poll_timeout(), Some(Millis(1_500)));
    assert_eq!(wait_until(&mut engine, 1_499), []);
    assert_eq!(wait_until(&mut engine, 1_500), [(2, 1)]);
}

#[test]
fn who_requires_a_topic_gives_it_up_never_but_takes_somebody_who_takes_any() {
    let mut engine = Matchmaker::new(steady());
    let insists =
        |number, topics| Ticket { topics: TopicSet(topics), topic_mode: TopicMode::Require, ..woman(number, 0) };
    enqueue(&mut engine, 0, insists(1, 0b01));
    enqueue(&mut engine, 0, Ticket { topic_mode: TopicMode::Require, topics: TopicSet(0b10), ..man(2, 0) });
    assert_eq!(wait_until(&mut engine, 3_600_000), []);
    assert_eq!(enqueue(&mut engine, 3_600_000, man(3, 3_600_000)), [(1, 3)]);
}

#[test]
fn a_hard_limit_holds_however_long_the_other_side_waits() {
    let mut engine = Matchmaker::new(steady());
    enqueue(&mut engine, 0, Ticket { level: Level::A1, ..ticket(1, 0) });
    wait_until(&mut engine, 3_600_000);
    let modest = Ticket { level: Level::B1, max_distance: 1, ..ticket(2, 3_600_000) };
    assert_eq!(enqueue(&mut engine, 3_600_000, modest), []);
    assert_eq!(wait_until(&mut engine, 7_200_000), []);
}

#[test]
fn one_patient_side_is_enough_to_widen() {
    let mut engine = Matchmaker::new(steady());
    enqueue(&mut engine, 0, Ticket { level: Level::A1, ..ticket(1, 0) });
    assert_eq!(wait_until(&mut engine, 3_999), []);
    assert_eq!(enqueue(&mut engine, 3_999, Ticket { level: Level::B1, ..ticket(2, 3_999) }), []);
    assert_eq!(wait_until(&mut engine, 4_000), [(2, 1)]);
}

#[test]
fn where_nobody_else_arrives_nobody_waits_for_somebody_better() {
    let mut engine = Matchmaker::new(Policy::default());
    enqueue(&mut engine, 0, Ticket { level: Level::A1, topics: TopicSet(1), ..ticket(1, 0) });
    assert_eq!(engine.position(Millis(0), TicketId(1)).unwrap().stage, 3);
    assert_eq!(enqueue(&mut engine, 5, Ticket { level: Level::C2, topics: TopicSet(2), ..ticket(2, 5) }), [(1, 2)]);
}

#[test]
fn where_many_arrive_the_configured_patience_is_kept() {
    let mut engine = Matchmaker::new(Policy::default());
    // Four pairs a second, for a minute.
    for number in 0..480 {
        enqueue(&mut engine, number * 125, ticket(number, number * 125));
    }
    let choosy = |number, topics| Ticket { topics: TopicSet(topics), ..ticket(number, 60_000) };
    enqueue(&mut engine, 60_000, choosy(1000, 1));
    assert_eq!(enqueue(&mut engine, 60_000, choosy(1001, 2)), []);
    assert_eq!(engine.position(Millis(60_000), TicketId(1001)).unwrap().stage, 0);
    assert_eq!(wait_until(&mut engine, 61_499), []);
    assert_eq!(wait_until(&mut engine, 61_500), [(1001, 1000)]);
}

#[test]
fn the_innocent_come_back_with_their_seniority() {
    let mut engine = Matchmaker::new(steady());
    enqueue(&mut engine, 0, woman(1, 0));
    assert_eq!(enqueue(&mut engine, 5_000, man(2, 5_000)), [(1, 2)]);
    enqueue(&mut engine, 5_500, woman(3, 5_500));
    // The man's client slept; the woman is back behind nobody.
    enqueue(&mut engine, 6_000, woman(1, 0));
    let position = engine.position(Millis(6_000), TicketId(1)).unwrap();
    assert_eq!((position.ahead, position.stage), (0, 2));
    assert_eq!(engine.position(Millis(6_000), TicketId(3)).unwrap().ahead, 1);
    assert_eq!(enqueue(&mut engine, 6_100, man(4, 6_100)), [(1, 4)]);
}

#[test]
fn tuning_keeps_the_place_in_the_queue_and_matches_at_once() {
    let mut engine = Matchmaker::new(steady());
    let fussy = Ticket { wants: GenderSet::NONE.with(Gender::X), ..woman(1, 0) };
    let criteria = woman(1, 0).criteria();
    enqueue(&mut engine, 0, fussy);
    enqueue(&mut engine, 100, woman(2, 100));
    engine.tune(Millis(200), TicketId(1), criteria).unwrap();
    assert_eq!(engine.position(Millis(200), TicketId(1)).unwrap().ahead, 0);
    assert_eq!(enqueue(&mut engine, 300, man(3, 300)), [(1, 3)]);
    enqueue(&mut engine, 400, Ticket { level: Level::C2, ..man(4, 400) });
    let near = Criteria { level: Level::C1, ..criteria };
    engine.tune(Millis(500), TicketId(2), near).unwrap();
    assert_eq!(pairs(&mut engine), [(4, 2)]);
    assert_eq!(engine.tune(Millis(500), TicketId(2), criteria), Err(Refused::Unknown));
}

#[test]
fn a_block_holds_from_the_next_event_on_whoever_made_it() {
    for blocker in [1, 2] {
        let mut engine = Matchmaker::new(steady());
        enqueue(&mut engine, 0, Ticket { topics: TopicSet(1), ..ticket(1, 0) });
        enqueue(&mut engine, 0, Ticket { topics: TopicSet(2), ..ticket(2, 0) });
        engine.avoid(TicketId(blocker), person(3 - blocker)).unwrap();
        assert_eq!(wait_until(&mut engine, 60_000), []);
        assert_eq!(enqueue(&mut engine, 60_000, ticket(3, 60_000)), [(1, 3)]);
    }
}

#[test]
fn somebody_blocked_by_thousands_still_finds_the_one_who_does_not_mind() {
    let limits = Limits { skips: 100, slice: 300, scan: 300 };
    let mut engine = Matchmaker::with_limits(steady(), limits);
    let crowd = 3_000;
    for number in 0..crowd {
        enqueue(&mut engine, 0, Ticket { avoid: vec![person(crowd + 1)], ..woman(number, 0) });
    }
    enqueue(&mut engine, 0, woman(crowd, 0));
    assert_eq!(enqueue(&mut engine, 0, man(crowd + 1, 0)), [], "one event does not look at thousands");
    assert_eq!(engine.poll_timeout(), Some(Millis(0)), "the search goes on");
    let mut turns = 0;
    let made = loop {
        engine.handle_timeout(Millis(0));
        turns += 1;
        match &pairs(&mut engine)[..] {
            [] if turns < 100 => {}
            made => break made.to_vec(),
        }
    };
    assert_eq!(made, [(crowd, crowd + 1)]);
    assert!((10..=12).contains(&turns), "3,001 tickets at 300 a turn, in {turns} turns");
    assert!(engine.poll_timeout() > Some(Millis(0)));
}

#[test]
fn an_unfinished_search_ends_with_its_ticket() {
    let limits = Limits { skips: 10, slice: 100, scan: 50 };
    let mut engine = Matchmaker::with_limits(steady(), limits);
    for number in 0..200 {
        enqueue(&mut engine, 0, Ticket { avoid: vec![person(900)], ..woman(number, 0) });
    }
    for number in 900..903 {
        enqueue(&mut engine, 0, Ticket { person: person(900), ..man(number, 0) });
        assert!(engine.cancel(TicketId(number)));
    }
    assert_eq!(wait_until(&mut engine, 0), []);
    assert_eq!(engine.poll_timeout(), Some(Millis(1_500)));
}

#[test]
fn a_storm_of_widening_comes_in_slices_and_an_arrival_does_not_wait_for_its_end() {
    let mut engine = Matchmaker::new(steady());
    for number in 0..5_000 {
        enqueue(&mut engine, 0, Ticket { topics: TopicSet(1), ..woman(number, 0) });
    }
    engine.handle_timeout(Millis(1_500));
    assert_eq!(engine.poll_timeout(), Some(Millis(1_500)), "more than a slice is due");
    let (first, last) = (TicketId(0), TicketId(4_999));
    let stage = |engine: &Matchmaker, id| engine.position(Millis(1_500), id).unwrap().stage;
    assert_eq!((stage(&engine, first), stage(&engine, last)), (1, 0));
    assert_eq!(enqueue(&mut engine, 1_500, Ticket { topics: TopicSet(1), ..man(9_000, 1_500) }), [(0, 9_000)]);
    let mut slices = 1;
    while engine.poll_timeout() == Some(Millis(1_500)) {
        engine.handle_timeout(Millis(1_500));
        slices += 1;
    }
    assert_eq!(stage(&engine, last), 1);
    assert!(slices > 3, "{slices}");
}

#[test]
fn who_was_held_is_looked_for_in_slices_whoever_has_waited_longest_first() {
    let mut engine = Matchmaker::new(steady());
    let (people, now) = (2 * CATCH_UP_SLICE as u64 + 10, Millis(100_000));
    engine.hold();
    for number in 0..people {
        // Women come in the order opposite to their age; all of them are older than any man.
        let waits = [woman(number, people - number), man(people + number, 50_000 + number)];
        waits.into_iter().for_each(|it| engine.enqueue(now, "p", it).unwrap());
    }
    assert_eq!((pairs(&mut engine), engine.poll_timeout()), (vec![], None));
    engine.go_on(now);
    let mut found = pairs(&mut engine);
    assert!(found.len() <= CATCH_UP_SLICE, "{} at once", found.len());
    while engine.waiting() > 0 {
        assert_eq!(engine.poll_timeout(), Some(now), "work is left");
        engine.handle_timeout(now);
        found.extend(pairs(&mut engine));
    }
    // The one who is looked for is the arrival.
    let women: Vec<u64> = found.iter().map(|(waiter, arrival)| *waiter.min(arrival)).collect();
    assert_eq!(women, (0..people).rev().collect::<Vec<u64>>());
}

#[test]
fn what_is_out_of_bounds_is_refused_and_touches_nothing() {
    let mut engine = Matchmaker::new(Policy { max_tickets: 2, max_pools: 1, ..steady() });
    let mut try_one = |pool: &str, ticket: Ticket| engine.enqueue(Millis(0), pool, ticket);
    let bad = Err(Refused::BadCriteria);
    assert_eq!(try_one("general", Ticket { wants: GenderSet::NONE, ..ticket(1, 0) }), bad);
    assert_eq!(try_one("general", Ticket { max_distance: 6, ..ticket(1, 0) }), bad);
    assert_eq!(try_one("general", Ticket { topics: TopicSet(0b11_1111), ..ticket(1, 0) }), bad);
    assert_eq!(try_one("general", Ticket { avoid: vec![person(2); MAX_AVOID + 1], ..ticket(1, 0) }), bad);
    assert_eq!(try_one(&"p".repeat(129), ticket(1, 0)), bad);
    let lists = (0..MAX_AVOID as u64).map(|number| person(number + 10)).collect();
    assert_eq!(try_one("general", Ticket { avoid: lists, topics: TopicSet(0b1_1111), ..woman(1, 0) }), Ok(()));
    assert_eq!(try_one("general", woman(1, 0)), Err(Refused::DuplicateTicket));
    assert_eq!(try_one("another", woman(2, 0)), Err(Refused::Full), "pools");
    assert_eq!(try_one("general", woman(2, 0)), Ok(()));
    assert_eq!(try_one("general", woman(3, 0)), Err(Refused::Full), "tickets");
    assert_eq!(engine.avoid(TicketId(1), person(5)), Err(Refused::Full));
    assert_eq!(engine.avoid(TicketId(1), person(11)), Ok(()), "avoided already");
    assert_eq!(engine.tune(Millis(0), TicketId(2), Criteria { max_distance: 9, ..woman(2, 0).criteria() }), bad);
    assert_eq!((engine.waiting(), pairs(&mut engine)), (2, vec![]));
}

#[test]
fn an_empty_pool_makes_room_and_a_full_one_does_not() {
    let mut engine = Matchmaker::new(Policy { max_pools: 2, ..steady() });
    for (pool, number) in [("a", 1), ("b", 2)] {
        engine.enqueue(Millis(0), pool, ticket(number, 0)).unwrap();
    }
    assert_eq!(engine.enqueue(Millis(0), "c", ticket(3, 0)), Err(Refused::Full));
    assert!(engine.cancel(TicketId(1)));
    engine.enqueue(Millis(0), "c", ticket(3, 0)).unwrap();
    engine.enqueue(Millis(0), "c", ticket(4, 0)).unwrap();
    assert_eq!(pairs(&mut engine), [(3, 4)]);
    assert_eq!(wait_until(&mut engine, 60_000), []);
}

#[test]
fn a_waiting_time_is_named_only_when_matches_were_seen() {
    let mut engine = Matchmaker::new(steady());
    enqueue(&mut engine, 0, woman(1, 0));
    assert_eq!(engine.position(Millis(0), TicketId(1)).unwrap().eta, None);
    for number in 0..100_u64 {
        let now = number * 500;
        enqueue(&mut engine, now, woman(1_000 + number, now));
        enqueue(&mut engine, now + 100, man(2_000 + number, now + 100));
    }
    // Two matches a second are known of women; the last to wait is the youngest.
    let eta = engine.position(Millis(50_000), TicketId(1_099)).unwrap().eta.unwrap();
    assert!((300..900).contains(&eta.p50_ms) && eta.p90_ms > 2 * eta.p50_ms, "{eta:?}");
    assert_eq!(engine.position(Millis(600_000), TicketId(1_099)).unwrap().eta, None, "that was ten minutes ago");
}

#[test]
fn a_hint_names_the_wish_that_costs_most() {
    let mut engine = Matchmaker::new(steady());
    for number in 0..30 {
        enqueue(&mut engine, 0, Ticket { level: Level::C2, ..man(number, 0) });
    }
    enqueue(&mut engine, 0, Ticket { level: Level::A1, max_distance: 2, ..woman(100, 0) });
    wait_until(&mut engine, 10_000);
    assert_eq!(engine.hint(TicketId(100)), Some(Hint { relax: Relax::Level, would_match: 20 }));
    let any_gender = Ticket { gender: Gender::M, wants: GenderSet::NONE.with(Gender::X), ..ticket(101, 0) };
    enqueue(&mut engine, 10_000, any_gender);
    assert_eq!(engine.hint(TicketId(101)), Some(Hint { relax: Relax::Gender, would_match: 1 }));
    assert!(engine.cancel(TicketId(100)));
    assert_eq!(engine.hint(TicketId(101)), None, "nobody here wants him either way");
    assert_eq!(engine.hint(TicketId(999)), None);
}

#[test]
fn the_same_tape_gives_the_same_pairs() {
    let play = || {
        let mut engine = Matchmaker::new(Policy::default());
        let mut all = Vec::new();
        for number in 0..2_000_u64 {
            let now = number * 37 % 5_000 + number * 10;
            let mixed = Ticket {
                level: Level::ALL[number as usize * 7 % 6],
                topics: TopicSet(1 << (number % 9)),
                ..ticket(number, now)
            };
            all.extend(enqueue(&mut engine, now, mixed));
            all.extend(wait_until(&mut engine, now));
        }
        all
    };
    assert!(play().len() > 500);
    assert_eq!(play(), play());
}
