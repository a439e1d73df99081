//! Proof that the engine keeps the promises of matching.md §5.4, in the ways §5.8 asks for.
//!
//! | promise | kept by |
//! |---|---|
//! | safety: every pair satisfies `ok`, no ticket is in two | `property`: three oracles beside the engine; `small_world`: every two kinds of tickets |
//! | no path joins forbidden cohorts | `cohorts`: every pair of engines and of buckets; `meetings` for appointments |
//! | maximality | `property`: nobody who waits fits anybody who waits, whenever nothing is due |
//! | exactness, ties by t0 | `property`: argmin over all; `starvation::among_equals_the_older_goes_first…` |
//! | bounded overtaking | `starvation`: the bound is exact, and a stream of better latecomers does not beat it; `property` for every pair |
//! | after the last stage only hard limits count | `promises::after_the_last_stage…` |
//! | no supply comes with the wish that costs it | `promises::the_wish_a_hint_names…`, `behaviour::a_hint_names…` |
//! | the innocent keep t0, `tune` keeps the place | `behaviour`; the desk's `setup` |
//! | blocks: from the next event on, whoever made them; thousands of them delay nobody else | `behaviour` |
//! | nothing depends on names, on numbering, on who fits nobody | `metamorphic` |
//! | each conjunct counts | `property::an_oracle_without_any_one_term…`, `small_world::nobody_meets_themselves` |
//! | no clock, no dice | `behaviour::the_same_tape_gives_the_same_pairs` |
#![allow(clippy::unwrap_used)]

mod behaviour;
mod census;
mod cohorts;
mod meetings;
mod metamorphic;
mod oracle;
mod promises;
mod property;
mod recent;
mod small_world;
mod starvation;
pub(crate) mod tape;

use super::{
    Band, Countries, Country, Criteria, Gender, GenderSet, Level, Match, Matchmaker, Person, Policy, Ticket, TicketId,
    TopicMode, TopicSet,
};
use crate::time::Millis;

/// A ticket that takes anybody; tests say what differs.
pub(crate) fn ticket(number: u64, since: u64) -> Ticket {
    Ticket {
        id: TicketId(number),
        person: Person(number + 1_000_000),
        band: Band::Adult,
        gender: Gender::X,
        wants: GenderSet::ANY,
        level: Level::B1,
        max_distance: 5,
        topics: TopicSet::ANY,
        topic_mode: TopicMode::Prefer,
        avoid: Vec::new(),
        recent: Vec::new(),
        country: Country::UNKNOWN,
        countries: Countries::ANY,
        meeting: None,
        since: Millis(since),
    }
}

/// Women who want men wait for men who want women, and never for each other.
fn woman(number: u64, since: u64) -> Ticket {
    Ticket { gender: Gender::F, wants: GenderSet::NONE.with(Gender::M), ..ticket(number, since) }
}

fn man(number: u64, since: u64) -> Ticket {
    Ticket { gender: Gender::M, wants: GenderSet::NONE.with(Gender::F), ..ticket(number, since) }
}

pub(super) fn person(number: u64) -> Person {
    ticket(number, 0).person
}

/// Waits the configured times, always.
fn steady() -> Policy {
    Policy { patience: 0, max_tickets: 10_000, max_pools: 8, ..Policy::default() }
}

fn pairs(engine: &mut Matchmaker) -> Vec<(u64, u64)> {
    let matches = std::iter::from_fn(|| engine.poll_match());
    matches.map(|Match { waiter, arrival, .. }| (waiter.0, arrival.0)).collect()
}

/// The pairs made until nothing is due at `now`.
fn wait_until(engine: &mut Matchmaker, now: u64) -> Vec<(u64, u64)> {
    engine.handle_timeout(Millis(now));
    while engine.poll_timeout().is_some_and(|at| at <= Millis(now)) {
        engine.handle_timeout(Millis(now));
    }
    pairs(engine)
}

fn enqueue(engine: &mut Matchmaker, now: u64, ticket: Ticket) -> Vec<(u64, u64)> {
    engine.enqueue(Millis(now), "general", ticket).unwrap();
    pairs(engine)
}

/// All non-empty sets of genders.
fn wishes() -> impl Iterator<Item = GenderSet> {
    (1..8_u8).map(|bits| Gender::ALL.into_iter().filter(|&gender| bits >> gender as u8 & 1 == 1).collect())
}

/// Every bucket there is, as tickets that would fall into it at time `now`: (gender, wish), then the rest.
fn bucket_groups() -> Vec<(Gender, GenderSet)> {
    Gender::ALL.into_iter().flat_map(|gender| wishes().map(move |wants| (gender, wants))).collect()
}

/// Age of a ticket at each stage.
const AGES: [u64; 4] = [0, 1_500, 4_000, 10_000];

fn bucket_rest() -> Vec<(Criteria, u64)> {
    let mut rest = Vec::new();
    for level in Level::ALL {
        for max_distance in 0..=5 {
            for age in AGES {
                for topic_mode in [TopicMode::Prefer, TopicMode::Require] {
                    let (wants, topics) = (GenderSet::ANY, TopicSet::ANY);
                    let countries = Countries::ANY;
                    rest.push((Criteria { wants, level, max_distance, topics, topic_mode, countries }, age));
                }
            }
        }
    }
    rest
}
