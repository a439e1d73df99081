//! What a wait comes to (matching.md §5.4, last points): in the end only hard limits keep two apart, and a hint keeps its word.

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use super::{AGES, bucket_groups, pairs, steady, ticket, wait_until, wishes};
use crate::matchmaking::{
    Countries, Country, Criteria, Gender, Level, Matchmaker, Relax, Ticket, TicketId, TopicMode, TopicSet,
};
use crate::time::Millis;

const NOW: u64 = 100_000;

/// What neither side gives up: wishes, level limits, and a topic where it is required of a partner by the one who has waited.
fn hard_limits_allow(waited: &Ticket, arrival: &Ticket) -> bool {
    let distance = (waited.level as i32 - arrival.level as i32).abs();
    let topic = waited.topics.0 & arrival.topics.0 != 0 || waited.topics.is_empty() || arrival.topics.is_empty();
    waited.wants.contains(arrival.gender)
        && arrival.wants.contains(waited.gender)
        && distance <= i32::from(waited.max_distance.min(arrival.max_distance))
        && (topic || waited.topic_mode == TopicMode::Prefer)
}

fn kinds(number: u64, since: u64) -> Vec<Ticket> {
    let mut kinds = Vec::new();
    for (gender, wants) in bucket_groups() {
        for (level, max_distance) in [(Level::A1, 5), (Level::A2, 0), (Level::B2, 2), (Level::C2, 5), (Level::C2, 4)] {
            for topics in [TopicSet(0), TopicSet(1), TopicSet(2)] {
                for topic_mode in [TopicMode::Prefer, TopicMode::Require] {
                    let limits = Ticket { level, max_distance, topics, topic_mode, ..ticket(number, since) };
                    kinds.push(Ticket { gender, wants, ..limits });
                }
            }
        }
    }
    kinds
}

#[test]
fn after_the_last_stage_every_arrival_that_the_hard_limits_allow_is_a_match() {
    let mut engine = Matchmaker::new(steady());
    let (waiting, arriving) = (kinds(1, NOW - AGES[3]), kinds(2, NOW));
    let mut matched = 0;
    for (at, x) in waiting.iter().enumerate() {
        for y in arriving.iter().skip(at % 7).step_by(7) {
            engine.enqueue(Millis(NOW), "general", x.clone()).unwrap();
            engine.enqueue(Millis(NOW), "general", y.clone()).unwrap();
            let made = pairs(&mut engine);
            assert_eq!(!made.is_empty(), hard_limits_allow(x, y), "{x:?} {y:?}");
            matched += made.len();
            engine.cancel(x.id);
            engine.cancel(y.id);
        }
    }
    assert!(matched > 1_000, "{matched}");
}

fn somebody(rng: &mut StdRng, number: u64) -> Ticket {
    let countries = ["VN", "DE"].map(|code| Country::parse(code).unwrap());
    let wanted = if rng.random_bool(0.3) { &countries[..1] } else { &[] };
    Ticket {
        gender: Gender::ALL[rng.random_range(0..3)],
        wants: wishes().nth(rng.random_range(0..7)).unwrap(),
        level: Level::ALL[rng.random_range(0..6)],
        max_distance: rng.random_range(0..3),
        topics: TopicSet(rng.random_range(0..8)),
        topic_mode: if rng.random_bool(0.7) { TopicMode::Require } else { TopicMode::Prefer },
        country: countries[rng.random_range(0..2)],
        countries: Countries::new(wanted).unwrap(),
        ..ticket(number, NOW - rng.random_range(0..20_000))
    }
}

fn given_up(relax: Relax, wishes: Criteria) -> Criteria {
    match relax {
        Relax::Topics => Criteria { topics: TopicSet::ANY, topic_mode: TopicMode::Prefer, ..wishes },
        Relax::Level => Criteria { max_distance: 5, ..wishes },
        Relax::Gender => Criteria { wants: Gender::ALL.into_iter().collect(), ..wishes },
        Relax::Country => Criteria { countries: Countries::ANY, ..wishes },
    }
}

/// A few who fit nobody among them; the last is asked about.
fn stuck(seed: u64) -> (Matchmaker, Ticket) {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut engine = Matchmaker::new(steady());
    let mut last = ticket(0, 0);
    for number in 1..12 {
        last = somebody(&mut rng, number);
        engine.enqueue(Millis(NOW), "general", last.clone()).unwrap();
    }
    wait_until(&mut engine, NOW);
    (engine, last)
}

#[test]
fn the_wish_a_hint_names_matches_at_once_when_given_up_and_no_wish_does_where_none_is_named() {
    let all = [Relax::Topics, Relax::Level, Relax::Gender, Relax::Country];
    let mut named = [0; 4];
    let mut hopeless = 0;
    for seed in 0..600 {
        let (engine, last) = stuck(seed);
        if engine.position(Millis(NOW), last.id).is_none() {
            continue;
        }
        let hint = engine.hint(last.id);
        let helps: Vec<bool> = all.iter().map(|&relax| matches_if(seed, last.id, relax)).collect();
        match hint {
            Some(hint) => {
                let at = all.iter().position(|&relax| relax == hint.relax).unwrap();
                assert!(helps[at], "seed {seed}: {hint:?}");
                named[at] += 1;
            }
            None => {
                assert!(!helps.contains(&true), "seed {seed}: {helps:?}");
                hopeless += 1;
            }
        }
    }
    assert!(named.iter().all(|&times| times > 0) && hopeless > 0, "{named:?} {hopeless}");
}

/// Whether giving up that wish, in the same queue, is a match at once.
fn matches_if(seed: u64, id: TicketId, relax: Relax) -> bool {
    let (mut engine, last) = stuck(seed);
    engine.tune(Millis(NOW), id, given_up(relax, last.criteria())).unwrap();
    pairs(&mut engine).iter().any(|&(_, arrival)| arrival == id.0)
}
