//! What must not matter does not: names, the numbering of topics, the presence of somebody who fits nobody.

use super::tape::{Event, POOLS, Tape};
use crate::matchmaking::engine::Limits;
use crate::matchmaking::{
    Band, Criteria, Gender, GenderSet, Match, Matchmaker, Person, Policy, Ticket, TicketId, TopicSet,
};
use crate::time::Millis;

const SEEDS: u64 = 12;
const LIMITS: [Limits; 2] = [Limits::DEFAULT, Limits { slice: 40, ..Limits::DEFAULT }];

fn tape(seed: u64) -> Vec<(Millis, Event)> {
    let mut tape = Tape::new(seed);
    (0..500).map(|_| tape.next()).collect()
}

/// Plays a tape, working off everything that is due at each waiting.
fn play(tape: &[(Millis, Event)], patience: u32, seed: u64) -> Vec<Match> {
    let policy = Policy { patience, ..super::property::policy(seed) };
    let mut engine = Matchmaker::with_limits(policy, LIMITS[seed as usize % 2]);
    let mut latest = Millis(0);
    let mut matches = Vec::new();
    for (now, event) in tape.iter().cloned() {
        latest = latest.max(now);
        match event {
            Event::Enqueue { pool, ticket } => _ = engine.enqueue(latest, POOLS[pool], ticket),
            Event::Cancel(id) => _ = engine.cancel(id),
            Event::Tune(id, criteria) => _ = engine.tune(latest, id, criteria),
            Event::Avoid(id, person) => _ = engine.avoid(id, person),
            Event::Wait => {
                engine.handle_timeout(latest);
                while engine.poll_timeout().is_some_and(|at| at <= latest) {
                    engine.handle_timeout(latest);
                }
            }
        }
        let mut made: Vec<Match> = std::iter::from_fn(|| engine.poll_match()).collect();
        made.sort_by_key(|pair| pair.arrival);
        matches.extend(made);
    }
    matches
}

/// The same pairs, whatever order queues report theirs in.
fn sorted(mut matches: Vec<Match>) -> Vec<Match> {
    matches.sort_by_key(|pair| pair.arrival);
    matches
}

/// Says where two runs part, not all that they did.
fn assert_same(one: &[Match], other: &[Match], seed: u64) {
    let parted = one.iter().zip(other).find(|(a, b)| a != b);
    assert_eq!((parted, one.len()), (None, other.len()), "seed {seed}");
}

fn map_tickets(tape: &[(Millis, Event)], change: impl Fn(Ticket) -> Ticket) -> Vec<(Millis, Event)> {
    let changed = |(now, event): &(Millis, Event)| match event.clone() {
        Event::Enqueue { pool, ticket } => (*now, Event::Enqueue { pool, ticket: change(ticket) }),
        event => (*now, event),
    };
    tape.iter().map(changed).collect()
}

#[test]
fn renaming_tickets_and_people_changes_no_pair() {
    let id = |TicketId(id)| TicketId(id.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ 0xabcd);
    let person = |Person(person)| Person(person.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23) ^ 99);
    for seed in 0..SEEDS {
        let tape = tape(seed);
        let renamed = map_tickets(&tape, |ticket| Ticket {
            id: id(ticket.id),
            person: person(ticket.person),
            avoid: ticket.avoid.iter().copied().map(person).collect(),
            recent: ticket.recent.iter().copied().map(person).collect(),
            ..ticket
        });
        let renamed = renamed.into_iter().map(|(now, event)| match event {
            Event::Cancel(who) => (now, Event::Cancel(id(who))),
            Event::Tune(who, criteria) => (now, Event::Tune(id(who), criteria)),
            Event::Avoid(who, whom) => (now, Event::Avoid(id(who), person(whom))),
            other => (now, other),
        });
        let expected = play(&tape, 3, seed).into_iter().map(|pair| Match {
            waiter: id(pair.waiter),
            arrival: id(pair.arrival),
            ..pair
        });
        assert_same(&sorted(play(&renamed.collect::<Vec<_>>(), 3, seed)), &sorted(expected.collect()), seed);
    }
}

#[test]
fn permuting_topics_changes_no_pair() {
    let permute =
        |topics: TopicSet| topics.iter().map(|topic| ((u32::from(topic) * 29 + 11) % 64) as u8).collect::<TopicSet>();
    for seed in 0..SEEDS {
        let tape = tape(seed);
        let permuted = map_tickets(&tape, |ticket| Ticket { topics: permute(ticket.topics), ..ticket });
        let permuted = permuted.into_iter().map(|(now, event)| match event {
            Event::Tune(who, criteria) => {
                (now, Event::Tune(who, Criteria { topics: permute(criteria.topics), ..criteria }))
            }
            other => (now, other),
        });
        assert_same(&play(&permuted.collect::<Vec<_>>(), 3, seed), &play(&tape, 3, seed), seed);
    }
}

/// Puts a ticket that nobody fits between the events, each time somebody new.
fn with_strangers(tape: &[(Millis, Event)], stranger: impl Fn(u64, Millis) -> (usize, Ticket)) -> Vec<(Millis, Event)> {
    let mut crowded = Vec::new();
    for (number, (now, event)) in (1 << 40..).zip(tape.iter().cloned()) {
        let (pool, ticket) = stranger(number, now);
        crowded.extend([(now, Event::Enqueue { pool, ticket }), (now, event)]);
        if number % 3 == 0 {
            crowded.push((now, Event::Cancel(TicketId(number - 2))));
        }
    }
    crowded
}

#[test]
fn somebody_who_fits_nobody_changes_no_pair() {
    for seed in 0..SEEDS {
        // A world without the third gender; the strangers are of it and want nobody else, but not each other either.
        let tape = map_tickets(&tape(seed), |ticket| match ticket.gender {
            Gender::X => Ticket { gender: Gender::M, ..ticket },
            _ => ticket,
        });
        let lonely = |number, now: Millis| {
            let wants = GenderSet::NONE.with(Gender::F);
            let ticket = Ticket { gender: Gender::X, wants, ..super::ticket(number, now.0) };
            (number as usize % 2, ticket)
        };
        let nobody_wants_x = map_tickets(&tape, |ticket| {
            let wants: GenderSet = [Gender::F, Gender::M].into_iter().filter(|&g| ticket.wants.contains(g)).collect();
            Ticket { wants: if wants.is_empty() { GenderSet::NONE.with(Gender::F) } else { wants }, ..ticket }
        });
        let nobody_wants_x: Vec<_> = nobody_wants_x
            .into_iter()
            .map(|(now, event)| match event {
                Event::Tune(..) => (now, Event::Wait),
                other => (now, other),
            })
            .collect();
        let expected = play(&nobody_wants_x, 3, seed);
        assert!(!expected.is_empty());
        assert_same(&play(&with_strangers(&nobody_wants_x, lonely), 3, seed), &expected, seed);
    }
}

#[test]
fn somebody_whom_everybody_is_blocked_by_changes_no_pair() {
    for seed in 0..2 * SEEDS {
        let tape = tape(seed);
        let mut everybody: Vec<Person> = tape
            .iter()
            .filter_map(|(_, event)| match event {
                Event::Enqueue { ticket, .. } => Some(ticket.person),
                _ => None,
            })
            .collect();
        everybody.sort_unstable();
        everybody.dedup();
        let shy = |number, now: Millis| {
            let band = [Band::Adult, Band::B13_15, Band::B16_17][number as usize % 3];
            // One and the same person, so the shy are not compatible with each other.
            let ticket = Ticket { band, person: Person(5), avoid: everybody.clone(), ..super::ticket(number, now.0) };
            (number as usize % 2, ticket)
        };
        if everybody.len() > 500 {
            continue;
        }
        // Without patience: a blocked person's arrival still counts as an arrival.
        assert_same(&play(&with_strangers(&tape, shy), 0, seed), &play(&tape, 0, seed), seed);
    }
}
