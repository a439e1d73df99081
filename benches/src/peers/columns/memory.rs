//! What an allocation weighs, and whether the memory comes back.

use crate::load::usage::{descriptors, private_bytes};
use crate::load::voice;
use crate::peers::bench::{Bench, WINDOW};
use crate::peers::crowd::Crowd;
use crate::peers::servers::{Access, Kind, Plan, Server};

/// Ordinary allocations: each has a descriptor, and a process has 20 000 here.
const ORDINARY: usize = 8_000;
/// Call-bound ones, whose relayed ports are numbers.
const HELD: usize = 50_000;

pub(super) fn ordinary(bench: &mut Bench) -> Result<(), String> {
    weigh(bench, ORDINARY, Kind::is_turn)
}

pub(super) fn held(bench: &mut Bench) -> Result<(), String> {
    weigh(bench, HELD, |kind| *kind == Kind::RelayCall)
}

/// Every server anew in every round, for memory that was used once is not used again.
fn weigh(bench: &mut Bench, standard: usize, fit: impl Fn(&Kind) -> bool) -> Result<(), String> {
    let callers = bench.arguments.many(standard);
    let plan = Plan { callers, ..bench.plan.clone() };
    let kinds: Vec<Kind> = bench.kinds.iter().filter(|kind| fit(kind)).cloned().collect();
    for round in 0..bench.arguments.rounds() {
        for kind in &kinds {
            let weighed = bench.note(kind.name(), |bench| one(bench, kind, &plan));
            if let Some(values) = weighed {
                bench.book.add(bench.column, kind.name(), round, &values);
            }
        }
    }
    Ok(())
}

fn one(bench: &mut Bench, kind: &Kind, plan: &Plan) -> Result<Vec<(&'static str, f64)>, String> {
    let mut server = kind.start(plan, bench.scratch)?;
    let pid = server.pid.ok_or("its pid is not known")?;
    // So that what is made once is there; from a port of its own, for not everybody gives a five-tuple back at once.
    let elsewhere = voice::socket().map_err(|error| error.to_string())?;
    let mut first = Crowd::new(&elsewhere, &mut server, 2)?;
    first.allocate(2)?;
    first.free()?;
    let mut crowd = Crowd::new(&bench.callers, &mut server, plan.callers)?;
    if let Access::Calls = server.access {
        tell(&mut server, &format!("close {}", plan.callers))?;
    }
    bench.settle();
    let (empty, own) = (private_bytes(pid), descriptors(pid));
    crowd.open(&mut server)?;
    crowd.allocate(WINDOW)?;
    bench.settle();
    let (allocated, sockets) = (private_bytes(pid), descriptors(pid) - own);
    if let Access::Calls = server.access {
        tell(&mut server, &format!("pair {}", plan.callers))?;
    }
    crowd.bind(|_| None)?;
    bench.settle();
    let bound = private_bytes(pid);
    match server.access {
        Access::Calls => tell(&mut server, &format!("close {}", plan.callers))?,
        _ => _ = crowd.free()?,
    }
    bench.settle();
    bench.settle();
    let left = private_bytes(pid);
    let count = plan.callers as f64;
    let each = |after: u64| (after as f64 - empty as f64) / 1000.0 / count;
    Ok(vec![
        ("allocations", count),
        ("kB/allocation", each(allocated)),
        ("kB with channel", each(bound)),
        ("kB left after free", each(left)),
        ("descriptors/allocation", sockets as f64 / count),
    ])
}

fn tell(server: &mut Server, what: &str) -> Result<(), String> {
    let host = server.process.as_mut().ok_or("no host")?;
    host.tell(what)?;
    host.line().map(drop)
}
