//! How many packets a second a server carries, and what one costs there.

use std::time::Duration;

use crate::load::voice::Load;
use crate::peers::bench::{Bench, PACED, Ready, Sample};

/// Most of what is sent that may be lost.
const LOSS: f64 = 0.001;
/// Packets that come later than this after the end of a probe count as lost: what has piled up in a receive buffer
/// was not carried.
const GRACE: Duration = Duration::from_millis(20);
/// Loss at an easy rate, after too much, that still counts as recovered.
const SETTLED: f64 = 0.05;
/// A server this busy is the limit itself, whatever the generator thinks.
const SATURATED: f64 = 0.93;
/// The limit is known when the rates that work and that do not are this close.
const CLOSE: f64 = 1.02;
/// The first steps up and down.
const STEP: f64 = 1.35;
/// A server that does not even hold this share of what it carried in a probe is measured as it is, losses and all.
const LEAST_HELD: f64 = 0.7;
/// The generator could not do what it was told if more than this share was never sent.
const SHORT: f64 = 0.01;

pub(super) fn hairpin(bench: &mut Bench) -> Result<(), String> {
    let plan = bench.plan.clone();
    let mut servers = bench.ready(&plan, |_| true);
    measure(bench, &mut servers, "bare-one");
    Ok(())
}

pub(super) fn outside(bench: &mut Bench) -> Result<(), String> {
    let port = bench.peers.local_addr().map_err(|error| error.to_string())?.port();
    let plan = crate::peers::servers::Plan { peer_port: Some(port), ..bench.plan.clone() };
    let mut servers = bench.ready(&plan, |kind| kind.reaches_outside());
    bench.column = "outside-paced";
    super::paced::measure(bench, &mut servers, "bare-two")?;
    bench.column = "outside-limit";
    measure(bench, &mut servers, "bare-two");
    Ok(())
}

/// The limit of these servers, and ratios to `reference` in the same round.
pub(super) fn measure(bench: &mut Bench, servers: &mut [Ready], reference: &str) {
    bench.rounds(servers, |bench, ready, round| {
        bench.warm(ready)?;
        let known = bench.book.values(bench.column, &ready.name, "limit packets/s").last().copied();
        let limit = match known {
            Some(limit) => search(bench, ready, limit, 1.06)?,
            None => search(bench, ready, 80_000.0, STEP)?,
        };
        let (rate, mut sample) = hold(bench, ready, limit.rate)?;
        let bound = if limit.by_generator && sample.busy() < SATURATED { 1.0 } else { 0.0 };
        bench.record(ready, round, &mut sample, &[("limit packets/s", rate), ("generator-bound", bound)]);
        Ok(())
    });
    bench.book.compare(bench.column, "µs/packet", reference, "ratio");
    bench.book.compare(bench.column, "limit packets/s", reference, "limit ratio");
}

struct Limit {
    rate: f64,
    /// The generator was late before the server lost anything: the server's limit is higher.
    by_generator: bool,
}

enum Probe {
    Carried,
    Lost,
    TooMuchForTheGenerator,
}

/// Steps up or down from `start` until a rate that works and one that does not are known, then halves the way between.
fn search(bench: &mut Bench, ready: &mut Ready, start: f64, step: f64) -> Result<Limit, String> {
    let (mut works, mut fails) = (0.0, f64::INFINITY);
    let (mut rate, mut by_generator) = (start, false);
    while works == 0.0 || fails / works > CLOSE {
        match probe(bench, ready, rate)? {
            Probe::Carried => works = rate,
            failed => {
                by_generator = matches!(failed, Probe::TooMuchForTheGenerator);
                fails = rate;
            }
        }
        rate = if fails.is_infinite() {
            works * step
        } else if works == 0.0 {
            fails / step
        } else {
            (works * fails).sqrt()
        };
        if rate < 1000.0 {
            return Err("loses packets even at 1 000 a second".to_owned());
        }
    }
    Ok(Limit { rate: works, by_generator })
}

/// What a packet costs where the server holds out: a probe may have been lucky, and a server that drops packets has them wait in a full
/// buffer first, cold, which is not what carrying them costs. Answers the rate at which it was measured.
fn hold(bench: &mut Bench, ready: &mut Ready, limit: f64) -> Result<(f64, Sample), String> {
    let mut rate = limit;
    loop {
        let load = Load { grace: GRACE, ..bench.load(rate as u64, bench.arguments.seconds()) };
        let sample = bench.measure(ready, load)?;
        if sample.loss() <= LOSS || rate < limit * LEAST_HELD {
            return Ok((rate, sample));
        }
        settle(bench, ready)?;
        rate /= CLOSE;
    }
}

/// A rate that fails once is tried again: this machine is not alone in the world.
fn probe(bench: &mut Bench, ready: &mut Ready, rate: f64) -> Result<Probe, String> {
    let mut worst = Probe::Lost;
    for _ in 0..2 {
        let load = Load { grace: GRACE, ..bench.load(rate as u64, bench.arguments.probe_seconds()) };
        let sample = bench.measure(ready, load)?;
        let short = (sample.stretch.sent as f64) < rate * load.length.as_secs_f64() * (1.0 - SHORT);
        match (sample.loss() <= LOSS, short) {
            (true, false) => return Ok(Probe::Carried),
            (_, true) => worst = Probe::TooMuchForTheGenerator,
            (false, false) => worst = Probe::Lost,
        }
    }
    settle(bench, ready)?;
    Ok(worst)
}

/// What has piled up runs off. Who is still losing then has lost its sessions, and begins anew.
fn settle(bench: &mut Bench, ready: &mut Ready) -> Result<(), String> {
    for _ in 0..2 {
        let load = bench.load(PACED, 0.2);
        if bench.measure(ready, load)?.loss() < SETTLED {
            return Ok(());
        }
    }
    bench.restart(ready)
}
