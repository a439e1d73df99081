//! `loadgen ab`: two builds of the relay under the same load, in pairs of short rounds.
//!
//! Each round has a relay of its own, started anew: what a process happens to get (pages, hash seeds, ports) is then noise that
//! averages out, and no bias that all rounds share. Both rounds of a pair have the same seed, so the same schedule and people,
//! and run at the same moment on the same processors, since nothing else makes what the machine's other tenants do cancel so
//! well (RESULTS.md has the numbers); or, `apart`, one after the other. Which side begins changes from pair to pair: ABBA.

mod place;
pub mod proof;

use std::{io, thread};

use crate::{
    calibrate::Calibration,
    compare::{
        Comparison, How, Material, SEED,
        judge::Asked,
        round::{self, Pair, Round},
    },
    own_relay::{OwnRelay, Program},
    report::json,
    runner::{self, Manner},
    scenario::{Depth, Scenario},
    token::Minter,
    verdict,
};
use place::Place;

/// What is compared, and how.
#[derive(Clone)]
pub struct Plan {
    pub base: Program,
    pub head: Program,
    /// As they were typed.
    pub names: (String, String),
    pub scenario: Scenario,
    /// Pairs.
    pub rounds: usize,
    /// Pairs more, at most, in place of those that do not count for every gated metric.
    pub replacements: usize,
    pub how: How,
    pub asked: Vec<Asked>,
    /// The process was allowed a better share of the processor.
    pub priority: bool,
}

/// A relay that waits for its round.
struct Ready {
    relay: OwnRelay,
    minter: Minter,
}

/// Measures all pairs and judges them; `say` gets a line a pair.
pub fn compare(plan: &Plan, mut say: impl FnMut(&str)) -> io::Result<Comparison> {
    let place = Place::here();
    let mut pairs: Vec<Pair> = Vec::new();
    while pairs.len() < plan.rounds || (lacks(plan, &pairs) && pairs.len() < plan.rounds + plan.replacements) {
        let pair = pair(plan, &place, pairs.len())?;
        say(&line(plan, &pair, pairs.len() + 1));
        pairs.push(pair);
    }
    let replaced = pairs.len().saturating_sub(plan.rounds);
    let mut comparison = Comparison::of(plan.how, plan.names.clone(), &plan.asked, Material::Pairs(pairs), SEED);
    comparison.notes.push(place.words());
    if replaced > 0 {
        comparison.notes.push(format!("{replaced} pairs more in place of some that did not count"));
    }
    Ok(comparison)
}

/// Whether a gated metric has fewer pairs that count than were asked for.
fn lacks(plan: &Plan, pairs: &[Pair]) -> bool {
    let rounds = round::of_pairs(&plan.asked, pairs, plan.how == How::Together);
    rounds.iter().any(|(asked, rounds)| asked.gated && rounds.count() < plan.rounds)
}

fn pair(plan: &Plan, place: &Place, index: usize) -> io::Result<Pair> {
    let mut scenario = plan.scenario.clone();
    scenario.seed = scenario.seed.wrapping_add(index as u64);
    let (seed, head_first) = (scenario.seed, index % 2 == 1);
    let sides = if head_first { [&plan.head, &plan.base] } else { [&plan.base, &plan.head] };
    let [first, second] = match plan.how {
        How::Together => together(sides, &scenario, place, plan.priority)?,
        _ => {
            let first = round(start(sides[0], &scenario, place)?, &scenario, plan.priority)?;
            [first, round(start(sides[1], &scenario, place)?, &scenario, plan.priority)?]
        }
    };
    let (base, head) = if head_first { (second, first) } else { (first, second) };
    Ok(Pair { seed, head_first, base, head })
}

fn together(sides: [&Program; 2], scenario: &Scenario, place: &Place, priority: bool) -> io::Result<[Round; 2]> {
    let (first, second) = (start(sides[0], scenario, place)?, start(sides[1], scenario, place)?);
    let died = |_| io::Error::other("a generator died");
    thread::scope(|scope| {
        let first = scope.spawn(|| round(first, scenario, priority));
        let second = round(second, scenario, priority);
        Ok([first.join().map_err(died)??, second?])
    })
}

fn start(program: &Program, scenario: &Scenario, place: &Place) -> io::Result<Ready> {
    let attacked = scenario.attack.is_any() && scenario.depth != Depth::Turn;
    place.for_the_server();
    let started = OwnRelay::of(program, scenario.mix.topics, scenario.lines, attacked);
    place.for_ourselves();
    let (relay, minter) = started?;
    Ok(Ready { relay, minter })
}

fn round(ready: Ready, scenario: &Scenario, priority: bool) -> io::Result<Round> {
    let aim = ready.relay.aim(ready.minter, scenario).map_err(io::Error::other)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Ceilings are of one generator alone, and two share this machine.
    let manner = Manner { calibration: None::<Calibration>, ..Manner::default() };
    let run = runtime.block_on(runner::run_as(scenario.clone(), aim, manner, priority, |_| {}))?;
    if run.interrupted {
        return Err(io::ErrorKind::Interrupted.into());
    }
    Ok(Round::read(&json::render(&run, &verdict::judge(&run))))
}

/// What became of a pair, on one line.
fn line(plan: &Plan, pair: &Pair, number: usize) -> String {
    let together = plan.how == How::Together;
    let values = plan.asked.iter().filter(|asked| asked.gated).map(|asked| {
        let key = asked.metric.key;
        match pair.counts_for(asked.metric, together) {
            Some((base, head)) => format!("{key} {base:.3} → {head:.3}"),
            None => format!("{key} —"),
        }
    });
    let values: Vec<String> = values.collect();
    let fault = pair.base.faults.iter().chain(&pair.head.faults).next();
    let fault = fault.map_or_else(String::new, |fault| format!("  ({fault})"));
    let order = if pair.head_first { "BA" } else { "AB" };
    format!("pair {number}/{} {order}  {}{fault}", plan.rounds, values.join("  "))
}
