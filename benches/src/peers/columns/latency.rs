//! Added latency with naps and without, beside a forwarder that naps alike.

use crate::peers::bench::{Bench, PACED};
use crate::peers::servers::{Kind, Plan};

/// The relay's own setting.
const NAP_MICROS: u32 = 200;
/// One call.
const IDLE: u64 = 100;

pub(super) fn naps(bench: &mut Bench) -> Result<(), String> {
    let mut servers = Vec::new();
    for nap in [0, NAP_MICROS] {
        let plan = Plan { nap: Some(nap), ..bench.plan.clone() };
        for kind in [Kind::BareOne, Kind::RelayCall] {
            let name = format!("{}, nap {nap}", kind.name());
            if let Some(mut ready) = bench.note(&name, |bench| bench.prepare(&kind, &plan)) {
                ready.name = name;
                servers.push(ready);
            }
        }
    }
    let column = bench.column;
    for (column, rate) in [(column, PACED), ("latency-idle", IDLE)] {
        bench.column = column;
        bench.rounds(&mut servers, |bench, ready, round| {
            let load = bench.load(rate, bench.arguments.seconds());
            let mut sample = bench.measure(ready, load)?;
            bench.record(ready, round, &mut sample, &[]);
            Ok(())
        });
        for nap in [0, NAP_MICROS] {
            let (relay, bare) = (format!("relay-call, nap {nap}"), format!("bare-one, nap {nap}"));
            for (value, name) in [("p50 µs", "p50 ratio"), ("µs/packet", "ratio")] {
                bench.book.compare_one(column, &relay, value, &bare, name);
            }
        }
    }
    Ok(())
}
