//! The same load from more callers, and on more workers.

use crate::load::voice::Load;
use crate::peers::bench::{Bench, CALLERS, PACED, Ready};
use crate::peers::servers::{Kind, Plan};

const MANY_CALLERS: usize = 8_000;

/// 4 000 calls and 200 at the same 20 000 packets/s.
pub(super) fn calls(bench: &mut Bench) -> Result<(), String> {
    let many = if bench.arguments.many(2) == 1 { CALLERS * 2 } else { MANY_CALLERS };
    let mut servers = Vec::new();
    for callers in [CALLERS, many] {
        let plan = Plan { callers, ..bench.plan.clone() };
        for mut ready in bench.ready(&plan, |kind| *kind != Kind::BareTwo) {
            ready.name = format!("{}, {} calls", ready.name, callers / 2);
            servers.push(ready);
        }
    }
    bench.rounds(&mut servers, |bench, ready, round| {
        let load = bench.load(PACED, bench.arguments.seconds());
        bench.warm(ready)?;
        let mut sample = bench.measure(ready, load)?;
        bench.record(ready, round, &mut sample, &[]);
        Ok(())
    });
    for kind in bench.kinds.clone() {
        let [few, many] = [CALLERS, many].map(|callers| format!("{}, {} calls", kind.name(), callers / 2));
        bench.book.compare_one(bench.column, &many, "µs/packet", &few, "ratio");
    }
    Ok(())
}

/// Two workers, one on each core, and one worker; the generator sleeps when it can and leaves its core to the second.
/// And two on the one core of the servers, where the generator disturbs nobody.
pub(super) fn workers(bench: &mut Bench) -> Result<(), String> {
    let both = vec![bench.plan.cores[0], bench.plan.home];
    let one = bench.plan.cores.clone();
    let plans = [("1 worker", 1, one.clone()), ("2 workers", 2, both), ("2 workers on one core", 2, one)];
    let mut servers: Vec<Ready> = Vec::new();
    for (name, workers, cores) in plans {
        let plan = Plan { workers, cores, ..bench.plan.clone() };
        for kind in [Kind::Relay, Kind::RelayCall] {
            let name = format!("{}, {name}", kind.name());
            if !bench.kinds.contains(&kind) {
                continue;
            }
            if let Some(mut ready) = bench.note(&name, |bench| bench.prepare(&kind, &plan)) {
                ready.name = name;
                servers.push(ready);
            }
        }
    }
    let column = bench.column;
    for (column, rate) in [(column, PACED), ("workers-60000", 3 * PACED)] {
        bench.column = column;
        bench.rounds(&mut servers, |bench, ready, round| {
            let load = Load { gentle: true, ..bench.load(rate, bench.arguments.seconds()) };
            let mut sample = bench.measure(ready, load)?;
            bench.record(ready, round, &mut sample, &[]);
            Ok(())
        });
        for kind in [Kind::Relay, Kind::RelayCall] {
            let reference = format!("{}, 1 worker", kind.name());
            for two in ["2 workers", "2 workers on one core"] {
                bench.book.compare_one(column, &format!("{}, {two}", kind.name()), "µs/packet", &reference, "ratio");
            }
        }
    }
    Ok(())
}
