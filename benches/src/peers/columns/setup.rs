//! What it costs to begin and to end.

use crate::load::usage::{Usage, private_bytes};
use crate::peers::bench::{Bench, WINDOW};
use crate::peers::crowd::{Ask, Crowd};
use crate::peers::servers::{Kind, Plan};

const ALLOCATIONS: usize = 8_000;
const CYCLES: usize = 1_000_000;
/// Callers that allocate and free in turns.
const CYCLING: usize = 1_000;
/// Ports, and callers, when ports are to be scarce.
const SCARCE: u16 = 16;
const REUSES: usize = 20_000;

/// Allocate, both round trips, at saturation: the server's core is never without work.
pub(super) fn allocate(bench: &mut Bench) -> Result<(), String> {
    let callers = bench.arguments.many(ALLOCATIONS);
    let plan = Plan { callers, ..bench.plan.clone() };
    let kinds: Vec<Kind> = bench.kinds.iter().filter(|kind| kind.is_turn()).cloned().collect();
    let count = kinds.len();
    for round in 0..bench.arguments.rounds() {
        for turn in 0..count {
            let kind = &kinds[(turn + round) % count];
            if let Some(values) = bench.note(kind.name(), |bench| allocations(bench, kind, &plan)) {
                bench.book.add(bench.column, kind.name(), round, &values);
            }
        }
    }
    Ok(())
}

fn allocations(bench: &mut Bench, kind: &Kind, plan: &Plan) -> Result<Vec<(&'static str, f64)>, String> {
    let mut server = kind.start(plan, bench.scratch)?;
    let pid = server.pid.ok_or("its pid is not known")?;
    let mut crowd = Crowd::new(&bench.callers, &mut server, plan.callers)?;
    let warm = plan.callers / 20;
    let allocate = |_, step, _| (step == 0).then_some(Ask::Allocate);
    crowd.each(0..warm, WINDOW, allocate)?;
    let before = Usage::of(pid);
    let done = crowd.each(warm..plan.callers, WINDOW, allocate)?;
    let used = Usage::of(pid).since(before);
    let (count, seconds) = ((plan.callers - warm) as f64, done.length.as_secs_f64());
    Ok(vec![
        ("µs/allocation", used.nanos as f64 / 1000.0 / count),
        ("allocations/s", count / seconds),
        ("server busy %", used.nanos as f64 / 1e7 / seconds),
        ("generator busy %", done.busy * 100.0),
        ("retransmissions", done.retransmissions as f64),
    ])
}

/// Allocate and Refresh 0 from the same five-tuples over and over: whatever is kept of each shows up in the memory.
pub(super) fn cycles(bench: &mut Bench) -> Result<(), String> {
    let cycles = bench.arguments.many(CYCLES);
    let plan = Plan { callers: CYCLING, ..bench.plan.clone() };
    for kind in [Kind::Relay, Kind::RelayCall] {
        if !bench.kinds.contains(&kind) {
            continue;
        }
        if let Some(values) = bench.note(kind.name(), |bench| cycle(bench, &kind, &plan, cycles)) {
            bench.book.add(bench.column, kind.name(), 0, &values);
        }
    }
    Ok(())
}

fn cycle(bench: &mut Bench, kind: &Kind, plan: &Plan, cycles: usize) -> Result<Vec<(&'static str, f64)>, String> {
    let mut server = kind.start(plan, bench.scratch)?;
    let pid = server.pid.ok_or("its pid is not known")?;
    let mut crowd = Crowd::new(&bench.callers, &mut server, plan.callers)?;
    let each = cycles.div_ceil(plan.callers);
    let script = |cycles: usize| {
        move |_, step: usize, _| {
            (step < 2 * cycles).then_some(if step.is_multiple_of(2) { Ask::Allocate } else { Ask::Free })
        }
    };
    let early = each.div_ceil(20);
    crowd.each(0..plan.callers, WINDOW, script(early))?;
    let (before, used) = (private_bytes(pid), Usage::of(pid));
    crowd.each(0..plan.callers, WINDOW, script(each - early))?;
    let done = ((each - early) * plan.callers) as f64;
    let used = Usage::of(pid).since(used);
    bench.settle();
    Ok(vec![
        ("cycles", (each * plan.callers) as f64),
        ("growth kB", (private_bytes(pid) as f64 - before as f64) / 1000.0),
        ("µs/cycle", used.nanos as f64 / 1000.0 / done),
    ])
}

/// As many ports as callers less one, all taken but one: whoever allocates gets the port that was freed just before.
pub(super) fn reuse(bench: &mut Bench) -> Result<(), String> {
    let reuses = bench.arguments.many(REUSES);
    // Below what the kernel gives away by itself, and not the same as another run's beside this one.
    let first = 10_000 + (std::process::id() % 1000) as u16 * SCARCE;
    let plan = Plan { ports: (first, first + SCARCE - 1), callers: usize::from(SCARCE) + 1, ..bench.plan.clone() };
    if !bench.kinds.contains(&Kind::Relay) {
        return Ok(());
    }
    if let Some(values) = bench.note(Kind::Relay.name(), |bench| reuse_ports(bench, &plan, reuses)) {
        bench.book.add(bench.column, Kind::Relay.name(), 0, &values);
    }
    Ok(())
}

/// Any refusal is an error: 437 for a five-tuple, 508 for a port.
fn reuse_ports(bench: &mut Bench, plan: &Plan, reuses: usize) -> Result<Vec<(&'static str, f64)>, String> {
    let mut server = Kind::Relay.start(plan, bench.scratch)?;
    let mut crowd = Crowd::new(&bench.callers, &mut server, plan.callers)?;
    let last = plan.callers - 1;
    crowd.each(0..last, 1, |_, step, _| (step == 0).then_some(Ask::Allocate))?;
    let mut same = 0;
    for turn in 0..reuses {
        // The caller without an allocation takes the place of the one that has just left.
        let (leaving, coming) = (turn % plan.callers, (turn + last) % plan.callers);
        let freed = crowd.callers[leaving].relayed;
        crowd.each(leaving..leaving + 1, 1, |_, step, _| (step == 0).then_some(Ask::Free))?;
        crowd.each(coming..coming + 1, 1, |_, step, _| (step == 0).then_some(Ask::Allocate))?;
        same += usize::from(crowd.callers[coming].relayed == freed);
    }
    // And from the same five-tuple at once.
    let twice = |_, step: usize, _| match step {
        0 => Some(Ask::Free),
        1 => Some(Ask::Allocate),
        _ => None,
    };
    let holders = (0..plan.callers).filter(|caller| *caller != (reuses + last) % plan.callers);
    for caller in holders.collect::<Vec<_>>() {
        crowd.each(caller..caller + 1, 1, twice)?;
    }
    Ok(vec![("cycles", reuses as f64), ("same port", same as f64)])
}
