//! What a packet costs at a rate that everybody can carry.

use crate::peers::bench::{Bench, PACED, Ready};

pub(super) fn hairpin(bench: &mut Bench) -> Result<(), String> {
    let plan = bench.plan.clone();
    let mut servers = bench.ready(&plan, |_| true);
    measure(bench, &mut servers, "bare-one")
}

/// The first column for these servers, and ratios to `reference` in the same round.
pub(super) fn measure(bench: &mut Bench, servers: &mut [Ready], reference: &str) -> Result<(), String> {
    for ready in servers.iter_mut() {
        bench.warm(ready)?;
    }
    bench.rounds(servers, |bench, ready, round| {
        let load = bench.load(PACED, bench.arguments.seconds());
        let mut sample = bench.measure(ready, load)?;
        bench.record(ready, round, &mut sample, &[]);
        Ok(())
    });
    bench.book.compare(bench.column, "µs/packet", reference, "ratio");
    Ok(())
}
