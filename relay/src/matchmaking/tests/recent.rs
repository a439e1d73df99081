//! Two who talked lately (matching.md §5.5).

use super::{AGES, enqueue, person, steady, ticket, wait_until};
use crate::matchmaking::{Matchmaker, Policy, Recent, Ticket, TicketId, compatible};

const RULES: [Recent; 3] = [Recent::Avoid, Recent::AvoidUntilLastStage, Recent::Allow];
const LAST: u64 = AGES[3];

/// Tickets 1 and 2, of whom that one remembers the other, or both do.
fn two(remembers: [bool; 2]) -> [Ticket; 2] {
    [1, 2].map(|number: u64| {
        let recent = if remembers[number as usize - 1] { vec![person(3 - number)] } else { Vec::new() };
        Ticket { recent, ..ticket(number, 0) }
    })
}

#[test]
fn they_meet_again_when_the_operator_says_so() {
    for (rule, meets) in RULES.into_iter().zip([None, Some(LAST), Some(0)]) {
        for remembers in [[true, true], [true, false], [false, true]] {
            let mut engine = Matchmaker::new(Policy { recent: rule, ..steady() });
            let mut made = Vec::new();
            for ticket in two(remembers) {
                made.extend(enqueue(&mut engine, 0, ticket).into_iter().map(|_| 0));
            }
            for now in [LAST - 1, LAST, 60 * LAST] {
                made.extend(wait_until(&mut engine, now).into_iter().map(|_| now));
            }
            assert_eq!(made, Vec::from_iter(meets), "{rule:?} {remembers:?}");
        }
    }
}

#[test]
fn the_formula_says_the_same_in_every_stage() {
    for rule in RULES {
        let policy = Policy { recent: rule, ..steady() };
        for remembers in [[true, false], [false, true]] {
            let [x, y] = two(remembers);
            for (stage_x, stage_y) in (0..4).flat_map(|x| (0..4).map(move |y| (x, y))) {
                let stage = if remembers[0] { stage_x } else { stage_y };
                let expected = rule == Recent::Allow || rule == Recent::AvoidUntilLastStage && stage == 3;
                assert_eq!(compatible(&x, stage_x, &y, stage_y, &policy), expected, "{rule:?} {stage_x} {stage_y}");
            }
        }
    }
}

#[test]
fn a_recent_partner_who_is_blocked_stays_blocked_in_the_last_stage() {
    for rule in [Recent::Avoid, Recent::AvoidUntilLastStage] {
        for number in 2..=10 {
            let mut engine = Matchmaker::new(Policy { recent: rule, ..steady() });
            // Others before and behind, so that the block has to move between the lists.
            let (avoid, recent) = ([4, 8].map(person).to_vec(), [5, 2, 9, 7].map(person).to_vec());
            enqueue(&mut engine, 0, Ticket { avoid, recent, ..ticket(1, 0) });
            engine.avoid(TicketId(1), person(2)).unwrap();
            assert_eq!(wait_until(&mut engine, LAST), []);
            let apart = [2, 4, 8].contains(&number) || rule == Recent::Avoid && [5, 7, 9].contains(&number);
            let made = enqueue(&mut engine, LAST, ticket(number, LAST));
            assert_eq!(made, Vec::from_iter((!apart).then_some((1, number))), "{rule:?}");
        }
    }
}

#[test]
fn another_rule_is_for_who_comes_from_then_on() {
    let mut engine = Matchmaker::new(Policy { recent: Recent::Avoid, ..steady() });
    let [remembers, other] = two([true, false]);
    enqueue(&mut engine, 0, remembers);
    engine.set_recent(Recent::Allow);
    assert_eq!(enqueue(&mut engine, 0, other), [], "who waits goes on as they came");
    assert_eq!(wait_until(&mut engine, 60 * LAST), []);
    let later = [3, 4].map(|number: u64| Ticket { recent: vec![person(7 - number)], ..ticket(number, 60 * LAST) });
    let [third, fourth] = later.map(|ticket| Ticket { avoid: vec![person(1), person(2)], ..ticket });
    enqueue(&mut engine, 60 * LAST, third);
    assert_eq!(enqueue(&mut engine, 60 * LAST, fourth), [(3, 4)]);
    engine.set_recent(Recent::Avoid);
    assert_eq!(
        enqueue(&mut engine, 60 * LAST, Ticket { recent: vec![person(1), person(2)], ..ticket(5, 60 * LAST) }),
        []
    );
}
