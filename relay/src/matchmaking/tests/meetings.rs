//! Appointments (`with`), and countries.

use super::*;
use crate::matchmaking::{Meeting, Refused, compatible};

fn appointment(number: u64, meeting: u64) -> Ticket {
    Ticket { meeting: Some(Meeting(meeting)), ..ticket(number, 0) }
}

fn engine() -> Matchmaker {
    Matchmaker::new(steady())
}

#[test]
fn exactly_the_two_of_a_meeting_are_matched_at_once() {
    let mut engine = engine();
    assert_eq!(enqueue(&mut engine, 0, ticket(9, 0)), []);
    assert_eq!(enqueue(&mut engine, 0, appointment(1, 7)), [], "a stranger who waits is not who was booked");
    assert_eq!(enqueue(&mut engine, 0, appointment(2, 8)), []);
    assert_eq!(engine.waiting(), 3);
    assert_eq!(wait_until(&mut engine, 60_000), [], "however long");
    assert_eq!(enqueue(&mut engine, 60_000, appointment(3, 7)), [(1, 3)]);
    assert_eq!(enqueue(&mut engine, 60_000, appointment(4, 7)), [], "a third finds nobody");
    assert_eq!(enqueue(&mut engine, 60_000, ticket(5, 60_000)), [(9, 5)], "and strangers meet strangers");
    assert_eq!(engine.waiting(), 2);
}

#[test]
fn what_strangers_ask_for_does_not_matter_in_a_meeting() {
    let mut engine = engine();
    let picky = |it: Ticket| Ticket {
        max_distance: 0,
        topics: TopicSet(1 << it.id.0),
        topic_mode: TopicMode::Require,
        countries: Countries::new(&[Country::parse("VN").unwrap()]).unwrap(),
        ..it
    };
    let one = picky(Ticket {
        level: Level::A1,
        gender: Gender::F,
        wants: GenderSet::NONE.with(Gender::F),
        ..appointment(1, 7)
    });
    let other = picky(Ticket { level: Level::C2, gender: Gender::M, ..appointment(2, 7) });
    assert_eq!(enqueue(&mut engine, 0, one), []);
    assert_eq!(enqueue(&mut engine, 0, other), [(1, 2)]);
}

#[test]
fn cohorts_and_blocks_hold_in_a_meeting() {
    for minor_bands_meet in [false, true] {
        for (a, b, meet) in [
            (Band::Adult, Band::Adult, true),
            (Band::Adult, Band::B16_17, false),
            (Band::B13_15, Band::Adult, false),
            (Band::B13_15, Band::B16_17, minor_bands_meet),
            (Band::B13_15, Band::B13_15, true),
        ] {
            let mut engine = Matchmaker::new(Policy { minor_bands_meet, ..steady() });
            enqueue(&mut engine, 0, Ticket { band: a, ..appointment(1, 7) });
            let pairs = enqueue(&mut engine, 0, Ticket { band: b, ..appointment(2, 7) });
            assert_eq!(!pairs.is_empty(), meet, "{a:?} {b:?}");
        }
    }
    for (first, second) in [(vec![person(2)], vec![]), (vec![], vec![person(1)])] {
        let mut engine = engine();
        enqueue(&mut engine, 0, Ticket { avoid: first, ..appointment(1, 7) });
        assert_eq!(enqueue(&mut engine, 0, Ticket { avoid: second, ..appointment(2, 7) }), []);
    }
    let mut engine = engine();
    enqueue(&mut engine, 0, appointment(1, 7));
    engine.avoid(TicketId(1), person(2)).unwrap();
    assert_eq!(enqueue(&mut engine, 0, appointment(2, 7)), [], "a block meanwhile");
}

#[test]
fn one_person_waits_once_here_or_there() {
    let mut engine = engine();
    let twin = |id: u64, it: Ticket| Ticket { id: TicketId(id), ..it };
    enqueue(&mut engine, 0, appointment(1, 7));
    let again = |engine: &mut Matchmaker, ticket| engine.enqueue(Millis(0), "general", ticket);
    assert_eq!(again(&mut engine, twin(2, appointment(1, 7))), Err(Refused::DuplicatePerson));
    assert_eq!(again(&mut engine, twin(2, ticket(1, 0))), Err(Refused::DuplicatePerson));
    assert_eq!(again(&mut engine, appointment(1, 7)), Err(Refused::DuplicateTicket));
    enqueue(&mut engine, 0, ticket(3, 0));
    assert_eq!(again(&mut engine, twin(4, appointment(3, 7))), Err(Refused::DuplicatePerson));
    assert!(engine.cancel(TicketId(1)) && !engine.cancel(TicketId(1)));
    assert_eq!(again(&mut engine, twin(5, appointment(1, 7))), Ok(()));
}

#[test]
fn who_waits_for_a_meeting_has_a_position_and_can_tune_and_leave() {
    let mut engine = engine();
    enqueue(&mut engine, 0, appointment(1, 7));
    let position = engine.position(Millis(5_000), TicketId(1)).unwrap();
    assert_eq!((position.ahead, position.stage, position.eta), (0, 0, None));
    assert_eq!(engine.hint(TicketId(1)), None);
    assert_eq!(engine.tune(Millis(0), TicketId(1), ticket(1, 0).criteria()), Ok(()));
    assert!(engine.cancel(TicketId(1)));
    assert_eq!((engine.waiting(), engine.position(Millis(0), TicketId(1))), (0, None));
    assert_eq!(enqueue(&mut engine, 0, appointment(2, 7)), []);
}

#[test]
fn a_meeting_holds_only_a_few_and_all_count_against_the_bound() {
    let mut engine = Matchmaker::new(Policy { max_tickets: 6, ..steady() });
    let everybody: Vec<Person> = (1..20).map(person).collect();
    let shy = |number, meeting| Ticket { avoid: everybody.clone(), ..appointment(number, meeting) };
    for number in 1..=4 {
        assert_eq!(engine.enqueue(Millis(0), "general", shy(number, 7)), Ok(()));
    }
    assert_eq!(engine.enqueue(Millis(0), "general", shy(5, 7)), Err(Refused::Full));
    assert_eq!(engine.enqueue(Millis(0), "general", shy(6, 8)), Ok(()));
    assert_eq!(engine.enqueue(Millis(0), "general", Ticket { avoid: everybody.clone(), ..ticket(7, 0) }), Ok(()));
    assert_eq!(engine.enqueue(Millis(0), "general", shy(8, 9)), Err(Refused::Full));
}

#[test]
fn countries_decide_in_the_formula_as_they_do_in_the_queue() {
    let codes = ["", "VN", "DE"];
    let country = |code: &str| Country::parse(code).unwrap_or(Country::UNKNOWN);
    for case in 0..81_usize {
        let [home_x, wants_x, home_y, wants_y] = [1, 3, 9, 27].map(|place| codes[case / place % 3]);
        let one = |number, home, wants: &str| {
            let wanted: Vec<Country> = Country::parse(wants).into_iter().collect();
            Ticket { country: country(home), countries: Countries::new(&wanted).unwrap(), ..ticket(number, 0) }
        };
        let (x, y) = (one(1, home_x, wants_x), one(2, home_y, wants_y));
        let expected = (wants_x.is_empty() || wants_x == home_y) && (wants_y.is_empty() || wants_y == home_x);
        assert_eq!(compatible(&x, 3, &y, 3, &steady()), expected);
        let mut engine = engine();
        enqueue(&mut engine, 0, x);
        assert_eq!(!enqueue(&mut engine, 0, y).is_empty(), expected);
    }
}

#[test]
fn asking_for_another_country_keeps_the_place_and_matches_at_once() {
    let mut engine = engine();
    let (vn, de) = (Country::parse("VN").unwrap(), Country::parse("DE").unwrap());
    enqueue(&mut engine, 0, Ticket { country: vn, countries: Countries::new(&[vn]).unwrap(), ..ticket(1, 0) });
    assert_eq!(enqueue(&mut engine, 0, Ticket { country: de, ..ticket(2, 0) }), []);
    assert_eq!(engine.hint(TicketId(1)).unwrap().relax, crate::matchmaking::Relax::Country);
    let wishes = Criteria { countries: Countries::new(&[de]).unwrap(), ..ticket(1, 0).criteria() };
    engine.tune(Millis(0), TicketId(1), wishes).unwrap();
    assert_eq!(pairs(&mut engine), [(2, 1)]);
}
