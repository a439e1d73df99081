//! `loadgen simulate`: the schedule and the people of a scenario, handed to the relay's own matchmaker on a virtual clock.
//! No socket, no thread, no waiting: the same seed makes the same decisions, to the last one, which the digest proves. A
//! change of the digest between two builds is a change of who meets whom.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    time::Duration,
};

use relay::{
    matchmaking::{
        Band, Countries, Country, Gender, GenderSet, Level, Match, Matchmaker, Person, Policy, Ticket, TicketId,
        TopicMode, TopicSet,
    },
    time::Millis,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    population::{Criteria, Person as Caller},
    rules::{self, Violation},
    scenario::Scenario,
    stats::latency::Distribution,
};

/// Name and version of the JSON.
pub const SCHEMA: &str = "loadgen.simulate/1";
/// The one queue of a run.
const POOL: &str = "loadgen";
/// A matchmaker that asks to be woken without moving on is broken.
const MAX_SLICES: u32 = 1_000_000;

/// What came of it.
#[derive(Debug, Default)]
pub struct Simulation {
    pub schedule_hash: String,
    /// SHA-256 over every decision in order: moment, both callers, both stages; and over everybody who gave up.
    pub digest: String,
    pub callers: u64,
    pub pairs: u64,
    pub gave_up: u64,
    pub waiting: u64,
    /// Pairs by the later stage of the two.
    pub stages: [u64; 4],
    /// From arrival to match, each side, virtual time.
    pub wait: Distribution,
    pub violations: Vec<(Violation, u32, u32)>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrive(u32),
    LosePatience(u32),
}

struct World<'a> {
    scenario: &'a Scenario,
    matchmaker: Matchmaker,
    /// By moment and then in the order they were planned.
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    planned: u64,
    people: HashMap<u32, (Caller, u64)>,
    end: u64,
    decisions: Sha256,
    result: Simulation,
}

/// Runs the whole scenario, its drain included; as fast as the processor can.
pub fn run(scenario: &Scenario) -> Result<Simulation, String> {
    let schedule = scenario.schedule()?;
    let mut world = World {
        scenario,
        matchmaker: Matchmaker::new(Policy::default()),
        events: BinaryHeap::new(),
        planned: 0,
        people: HashMap::new(),
        end: millis(scenario.arrivals_length()),
        decisions: Sha256::new(),
        result: Simulation { schedule_hash: schedule.hash(), ..Simulation::default() },
    };
    for (number, at) in schedule.of(None) {
        world.plan(at.0 / 1_000_000, Event::Arrive(number));
    }
    world.go(millis(scenario.arrivals_length() + scenario.drain));
    Ok(world.finish())
}

impl World<'_> {
    fn plan(&mut self, at: u64, event: Event) {
        self.events.push(Reverse((at, self.planned, event)));
        self.planned += 1;
    }

    fn go(&mut self, until: u64) {
        let mut slices = 0;
        loop {
            let due = self.events.peek().map(|Reverse((at, ..))| *at);
            let timer = self.matchmaker.poll_timeout().map(|at| at.0);
            let Some(now) = due.into_iter().chain(timer).min().filter(|now| *now <= until) else { return };
            if due.is_some_and(|due| due <= now) {
                self.next_event();
                slices = 0;
            } else {
                slices += 1;
                assert!(slices < MAX_SLICES, "the matchmaker's timer stands still at {now} ms");
                self.matchmaker.handle_timeout(Millis(now));
            }
            self.take_matches(now);
        }
    }

    fn next_event(&mut self) {
        let Some(Reverse((now, _, event))) = self.events.pop() else { return };
        match event {
            Event::Arrive(number) => self.arrive(now, number),
            Event::LosePatience(number) => self.lose_patience(now, number),
        }
    }

    fn arrive(&mut self, now: u64, number: u32) {
        let caller = self.scenario.person(number);
        self.result.callers += 1;
        self.plan(now + millis(caller.patience), Event::LosePatience(number));
        let ticket = ticket(number, &caller.criteria, now);
        self.people.insert(number, (caller, now));
        if self.matchmaker.enqueue(Millis(now), POOL, ticket).is_err() {
            self.people.remove(&number);
            self.decide("refused", now, &[number]);
        }
    }

    fn lose_patience(&mut self, now: u64, number: u32) {
        if self.matchmaker.cancel(TicketId(u64::from(number))) {
            self.people.remove(&number);
            self.result.gave_up += 1;
            self.decide("gave up", now, &[number]);
            self.come_again(now, number);
        }
    }

    fn take_matches(&mut self, now: u64) {
        while let Some(Match { waiter, arrival, waiter_stage, arrival_stage }) = self.matchmaker.poll_match() {
            let (x, y) = (waiter.0 as u32, arrival.0 as u32);
            self.decide("pair", now, &[x, y, u32::from(waiter_stage), u32::from(arrival_stage)]);
            self.result.pairs += 1;
            self.result.stages[usize::from(waiter_stage.max(arrival_stage)).min(3)] += 1;
            let (Some((a, since_a)), Some((b, since_b))) = (self.people.remove(&x), self.people.remove(&y)) else {
                self.result.violations.push((Violation::Double, x, y));
                continue;
            };
            let broken = rules::unlawful((x, &a.criteria), (y, &b.criteria));
            self.result.violations.extend(broken.into_iter().map(|violation| (violation, x, y)));
            for since in [since_a, since_b] {
                self.result.wait.record(Duration::from_millis(now - since));
            }
            // The waiter offers and hangs up.
            let over = now + millis(a.hold);
            self.come_again(over, x);
            self.come_again(over, y);
        }
    }

    /// Of a closed population: after the call, or without one, away and back.
    fn come_again(&mut self, from: u64, number: u32) {
        let users = self.scenario.users;
        let back = from + millis(self.scenario.think_after(number));
        if users > 0 && back < self.end {
            self.plan(back, Event::Arrive(number.wrapping_add(users)));
        }
    }

    fn decide(&mut self, what: &str, now: u64, numbers: &[u32]) {
        self.decisions.update(what);
        self.decisions.update(now.to_le_bytes());
        for number in numbers {
            self.decisions.update(number.to_le_bytes());
        }
    }

    fn finish(mut self) -> Simulation {
        self.result.waiting = self.matchmaker.waiting() as u64;
        self.result.digest = self.decisions.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        self.result
    }
}

fn millis(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX / 4)
}

fn ticket(number: u32, criteria: &Criteria, now: u64) -> Ticket {
    let genders = Gender::ALL.into_iter().enumerate();
    let wants: GenderSet = genders.filter(|(g, _)| criteria.wants >> g & 1 == 1).map(|(_, gender)| gender).collect();
    Ticket {
        id: TicketId(u64::from(number)),
        person: person(number),
        band: [Band::B13_15, Band::B16_17, Band::Adult][usize::from(criteria.band)],
        gender: Gender::ALL[usize::from(criteria.gender)],
        wants,
        level: Level::ALL[usize::from(criteria.level)],
        max_distance: criteria.max_distance,
        topics: TopicSet(criteria.topics),
        topic_mode: if criteria.require_topic { TopicMode::Require } else { TopicMode::Prefer },
        avoid: criteria.blocks.iter().map(|other| person(*other)).collect(),
        recent: Vec::new(),
        country: Country::UNKNOWN,
        countries: Countries::ANY,
        meeting: None,
        since: Millis(now),
    }
}

/// As evenly spread as the keyed hashes the matchmaker gets from the desk.
fn person(number: u32) -> Person {
    Person((u64::from(number) + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

/// For `--json`.
pub fn render(scenario: &Scenario, simulation: &Simulation) -> Value {
    let Simulation { schedule_hash, digest, callers, pairs, gave_up, waiting, stages, wait, violations } = simulation;
    json!({
        "schema": SCHEMA,
        "loadgen": env!("CARGO_PKG_VERSION"),
        "seed": scenario.seed,
        "schedule_hash": schedule_hash,
        "digest": digest,
        "callers": callers,
        "pairs": pairs,
        "gave_up": gave_up,
        "waiting_at_end": waiting,
        "pairs_by_stage": stages,
        "wait": { "n": wait.len(), "mean": wait.mean_millis(), "p50": wait.percentile_millis(50.0),
            "p90": wait.percentile_millis(90.0), "p99": wait.percentile_millis(99.0), "max": wait.max_millis(),
            "hdr": wait.encode() },
        "violations": violations.iter().map(|(violation, x, y)| json!([violation.name(), x, y])).collect::<Vec<_>>(),
    })
}

/// For people.
pub fn table(scenario: &Scenario, simulation: &Simulation) -> String {
    let Simulation { schedule_hash, digest, callers, pairs, gave_up, waiting, stages, wait, violations } = simulation;
    let cell = |value: Option<f64>| value.map_or_else(|| "—".to_owned(), |value| format!("{value:.0}"));
    let at = |percent| cell(wait.percentile_millis(percent));
    let mut text = format!(
        "simulated time: seed {}  schedule {schedule_hash}  decisions {}\n\
         {callers} callers, {pairs} pairs, {gave_up} gave up, {waiting} still waiting\n\
         match wait, virtual ms: p50 {} p90 {} p99 {} max {}\n\
         pairs by patience: {} at once, {} after the first widening, {} after the second, {} after the third",
        scenario.seed,
        &digest[..16.min(digest.len())],
        at(50.0),
        at(90.0),
        at(99.0),
        cell(wait.max_millis()),
        stages[0],
        stages[1],
        stages[2],
        stages[3],
    );
    for (violation, x, y) in violations.iter().take(10) {
        text.push_str(&format!("\n  ! {}: callers {x} and {y}", violation.name()));
    }
    let word = if violations.is_empty() { "PASS" } else { "FAIL (correctness)" };
    format!("{text}\nVERDICT  {word}")
}

#[cfg(test)]
#[path = "simulate_tests.rs"]
mod tests;
