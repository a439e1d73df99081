//! One run as a point of the search, and whose fault it was if it was too much.

use super::{Held, Point, Who};
use crate::{
    book::Timed,
    report::Run,
    scenario::Scenario,
    slo::Objective,
    stats::latency::samples_needed,
    verdict::{Word, generator_faults, judge},
};
use std::time::Duration;

/// Share of the processors a server may use from which they are what gave out.
const FULL: f64 = 0.85;
/// Share of failures that were refusals from which ports or a quota are.
const REFUSED: f64 = 0.5;
/// TURN's words for "no room": Allocation Quota Reached, Insufficient Capacity.
const NO_ROOM: [&str; 2] = ["486", "508"];
/// Share of the machine's time that others may have had before a window that was not carried says nothing.
const MOST_STOLEN: f64 = 0.02;
/// Longest window, however rare the calls.
const LONGEST: Duration = Duration::from_secs(60);
/// Of the samples a percentile needs, in case some calls fail.
const SPARE: f64 = 1.3;

/// A window long enough for every percentile that is asked for, at this rate.
pub fn window(asked: Duration, objectives: &[Objective], rate: f64) -> Duration {
    let samples = objectives.iter().filter_map(|objective| objective.percentile).map(samples_needed).max().unwrap_or(0);
    let needed = Duration::from_secs_f64(samples as f64 * SPARE / rate.max(0.1));
    asked.max(needed.min(LONGEST))
}

/// The scenario at a steady rate.
pub fn at(scenario: &Scenario, rate: f64, number: usize) -> Scenario {
    Scenario {
        calls_per_second: rate,
        seed: scenario.seed.wrapping_add(number as u64),
        measured: window(scenario.measured, &scenario.objectives, rate),
        ..scenario.clone()
    }
}

/// What the run says of its load; `server_processors`: how many the server may use.
pub fn point(purpose: &'static str, run: &Run, may_use: Option<f64>) -> Point {
    let verdict = judge(run);
    let faults = generator_faults(run);
    let busy = run.sampled.used.server_cpu.map(|cpu| cpu.as_secs_f64() / run.sampled.elapsed.as_secs_f64());
    let stolen = run.sampled.used.machine_stolen;
    let held = match verdict.word {
        Word::Pass => Held::Carried,
        _ if stolen > MOST_STOLEN => Held::Disturbed,
        _ if !faults.is_empty() => Held::Generator,
        _ => Held::Missed,
    };
    let (who, reasons) = match held {
        Held::Carried => (None, Vec::new()),
        Held::Generator => (Some(Who::Generator), faults),
        Held::Disturbed => {
            let theft = format!("{:.0} % of the machine's time was stolen", stolen * 100.0);
            (Some(Who::Generator), std::iter::once(theft).chain(faults).collect())
        }
        Held::Missed => why(run, verdict.reasons, busy.zip(may_use)),
    };
    let setup = &run.book.phase(Timed::Setup).corrected;
    Point {
        purpose,
        offered: run.offered_cps(),
        carried: run.achieved_cps(),
        success: run.book.counts.success().unwrap_or(0.0),
        p50: setup.percentile_millis(50.0),
        p99: setup.percentile_millis(99.0),
        held,
        who,
        reasons,
        server_processors: busy,
        headroom: run.headroom(),
        stolen,
    }
}

/// What stood behind a missed objective: refusals, full processors, or nothing that shows from here.
fn why(run: &Run, mut reasons: Vec<String>, busy: Option<(f64, f64)>) -> (Option<Who>, Vec<String>) {
    let all: u64 = run.book.causes.values().sum();
    let refused = run.book.causes.iter().filter(|(cause, _)| NO_ROOM.iter().any(|code| cause.name().contains(code)));
    let refused: u64 = refused.map(|(_, times)| *times).sum();
    let worst = run.book.causes.iter().max_by_key(|(_, times)| **times);
    reasons.extend(worst.map(|(cause, times)| format!("{times} of {all} failures: {}", cause.name())));
    if all > 0 && refused as f64 >= REFUSED * all as f64 {
        return (Some(Who::Capacity), reasons);
    }
    if let Some((busy, may_use)) = busy.filter(|(busy, may_use)| *busy >= FULL * may_use.min(1.0)) {
        reasons.push(format!("the server was busy on {busy:.2} of the {may_use:.0} processors it may use"));
        return (Some(Who::ServerCpu), reasons);
    }
    (Some(Who::Objective), reasons)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_window_has_samples_enough_for_its_percentiles() {
        let objectives = ["setup.p99<1s".parse().unwrap(), "success>=99%".parse().unwrap()];
        let asked = Duration::from_secs(4);
        assert_eq!(window(asked, &objectives, 1000.0), asked);
        assert!(window(asked, &objectives, 20.0) >= Duration::from_secs(15));
        assert_eq!(window(asked, &objectives, 0.5), LONGEST);
        assert_eq!(window(asked, &objectives[1..], 1.0), asked);
    }
}
