//! Whether the numbers can be trusted, and whether they are good enough.
//!
//! Order: a broken rule of matching or media is wrong however the generator did; then the generator's own health decides
//! whether latencies mean anything; then the objectives.

use crate::{
    allowance::Allowance,
    book::{MAX_HALVES, Timed},
    calibrate::{MAX, WARN},
    host::Used,
    report::{Run, SliceFaults},
    slo::Held,
};

/// Above these the generator, not the target, made the numbers (loadtest.md §6.2).
pub const MAX_LAG_P99_MS: f64 = 10.0;
/// Of the median call set-up; beyond it corrected latencies show the generator as well, which is a warning.
pub const MAX_LAG_SHARE: f64 = 0.05;
pub const MAX_LATENESS_P99_MS: f64 = 5.0;
pub const MAX_LITTLE_ERROR: f64 = 0.05;
pub const MAX_THREAD_SHARE: f64 = 0.85;
/// Share of the time a thread of ours may be ready without a processor.
pub const MAX_WAITED: f64 = 0.25;
/// Others may take this share of our processors, or more as long as the second share is left over.
pub const MAX_FOREIGN: f64 = 0.25;
pub const MIN_AVAILABLE: f64 = 0.10;
/// Share of the time our control group may be held back for its quota.
pub const MAX_THROTTLED: f64 = 0.01;

/// The one word, in order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// A rule was broken: a wrong match, cross-talk, a leak.
    Violated,
    /// The generator failed, not the target.
    Invalid,
    /// An objective was missed.
    Fail,
    /// Too few samples for an objective.
    Inconclusive,
    Pass,
}

/// The word and what led to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub word: Word,
    pub reasons: Vec<String>,
    /// What to keep in mind whatever the word.
    pub warnings: Vec<String>,
}

impl Word {
    pub fn name(self) -> &'static str {
        match self {
            Word::Violated => "FAIL (correctness)",
            Word::Invalid => "INVALID (generator)",
            Word::Fail => "FAIL",
            Word::Inconclusive => "INCONCLUSIVE",
            Word::Pass => "PASS",
        }
    }

    /// The process's exit code (loadtest.md §6).
    pub fn exit_code(self) -> u8 {
        match self {
            Word::Pass => 0,
            Word::Fail => 3,
            Word::Invalid => 5,
            Word::Violated => 7,
            Word::Inconclusive => 8,
        }
    }
}

/// Judges a run; objectives were already compared, in the scenario's order.
pub fn judge(run: &Run) -> Verdict {
    let violations: Vec<String> =
        run.book.violations.iter().map(|(violation, times)| format!("{}: {times}", violation.name())).collect();
    let invalid = generator_faults(run);
    let held: Vec<(String, Held)> = run
        .scenario
        .objectives
        .iter()
        .map(|objective| (objective.to_string(), objective.judge(run.measured(objective))))
        .collect();
    let with = |wanted: Held| held.iter().filter(move |(_, held)| *held == wanted).map(|(text, _)| text.clone());
    let aborted = run.aborted.iter().map(|why| format!("ended early: {why}"));
    let missed: Vec<String> = with(Held::No).map(|text| format!("missed {text}")).chain(aborted).collect();
    let unknown: Vec<String> = with(Held::Unknown).map(|text| format!("too few samples for {text}")).collect();
    let ladder =
        [(Word::Violated, violations), (Word::Invalid, invalid), (Word::Fail, missed), (Word::Inconclusive, unknown)];
    let found = ladder.into_iter().find(|(_, reasons)| !reasons.is_empty());
    let (word, reasons) = found.unwrap_or((Word::Pass, Vec::new()));
    Verdict { word, reasons, warnings: warnings(run) }
}

fn warnings(run: &Run) -> Vec<String> {
    let near = run.load_share().filter(|(_, share)| (WARN..=MAX).contains(share));
    let near = near.map(|(what, share)| {
        format!(
            "{what} at {:.0} % of what this machine was calibrated for: its own delays begin to show",
            share * 100.0
        )
    });
    let lag = run.book.phase(Timed::Start).corrected.percentile_millis(99.0);
    let setup = run.book.phase(Timed::Setup).corrected.percentile_millis(50.0);
    let heavy = lag.zip(setup).filter(|(lag, setup)| *lag > MAX_LAG_SHARE * setup).map(|(lag, setup)| {
        format!(
            "start lag p99 {lag:.1} ms beside a call set-up p50 of {setup:.1} ms: compare with the from-send column"
        )
    });
    let lost = run.calls_unwritten;
    let unwritten = (lost > 0).then(|| format!("the file of calls lacks {lost}: the disk was too slow"));
    let by_hand = (!run.changes.is_empty()).then(|| {
        format!(
            "the offered rate was changed by hand ({}): another run of this schedule is another load",
            run.changes.len()
        )
    });
    near.into_iter().chain(heavy).chain(unwritten).chain(by_hand).collect()
}

/// What is wrong with the generator or generators of a run.
pub fn generator_faults(run: &Run) -> Vec<String> {
    let mut faults = Vec::new();
    let mut fault = |bad: bool, text: String| {
        if bad {
            faults.push(text);
        }
    };
    let tail = |distribution: &crate::stats::latency::Distribution| {
        distribution.percentile_millis(99.0).or(distribution.max_millis()).unwrap_or(0.0)
    };
    let lag = tail(&run.book.phase(Timed::Start).corrected);
    fault(lag > MAX_LAG_P99_MS, format!("start lag p99 {lag:.1} ms > {MAX_LAG_P99_MS} ms"));
    let lateness = tail(&run.media.lateness);
    let late = lateness > MAX_LATENESS_P99_MS;
    fault(late, format!("media send lateness p99 {lateness:.1} ms > {MAX_LATENESS_P99_MS} ms"));
    let traffic = run.traffic;
    fault(traffic.dropped > 0, format!("our own sockets dropped {} datagrams", traffic.dropped));
    fault(traffic.unsent * 10_000 > traffic.sent, format!("the kernel refused {} packets of ours", traffic.unsent));
    fault(traffic.undelivered > 0, format!("{} datagrams found their caller's mailbox full", traffic.undelivered));
    let dropped = run.generator.dropped_arrivals;
    fault(dropped > 0, format!("{dropped} arrivals dropped: more callers at once than peer.max_callers"));
    fault(run.generator.stuck > 0, format!("{} callers did not end by themselves", run.generator.stuck));
    let halves = run.book.halves();
    fault(halves >= MAX_HALVES, format!("{halves} calls with other slices: more than one part can keep"));
    if let Some((what, share)) = run.load_share() {
        let text = format!("{what} at {:.0} % of what this machine was calibrated for", share * 100.0);
        fault(share > MAX, text);
    }
    let little = run.little_error().unwrap_or(0.0);
    let unlike = little > MAX_LITTLE_ERROR && !run.interrupted && run.aborted.is_none();
    fault(unlike, format!("Little's law off by {:.1} % > {:.0} %", little * 100.0, MAX_LITTLE_ERROR * 100.0));
    faults.extend(starvation(&run.sampled.used));
    for SliceFaults { slice, faults: theirs } in &run.slices {
        faults.extend(theirs.iter().map(|fault| format!("slice {slice}: {fault}")));
    }
    faults
}

/// Whether there was enough of the processors for us: on a machine that is full, latencies are those of the queue for it.
fn starvation(used: &Used) -> Vec<String> {
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
    let ((busiest, busy), (waiter, waited)) = (&used.busiest, &used.waited);
    let Allowance { available, foreign } = used.allowance;
    let faults = [
        (*busy > MAX_THREAD_SHARE, format!("our thread {busiest} used {} of a processor", percent(*busy))),
        (*waited > MAX_WAITED, format!("our thread {waiter} waited for a processor {} of the time", percent(*waited))),
        (
            foreign > MAX_FOREIGN && available < MIN_AVAILABLE,
            format!(
                "other programs took {} of the processors loadgen may use and {} was left",
                percent(foreign),
                percent(available)
            ),
        ),
        (
            used.throttled > MAX_THROTTLED,
            format!("the control group's CPU quota held us back {} of the time", percent(used.throttled)),
        ),
    ];
    faults.into_iter().filter(|(bad, _)| *bad).map(|(_, text)| text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(foreign: f64, available: f64) -> Used {
        Used { allowance: Allowance { available, foreign }, ..Used::default() }
    }

    #[test]
    fn a_full_machine_starves_us_only_if_others_filled_it() {
        assert!(starvation(&used(0.5, 0.02))[0].contains("other programs took 50 %"));
        assert!(starvation(&used(0.5, 0.4)).is_empty(), "there was room");
        assert!(starvation(&used(0.05, 0.0)).is_empty(), "the relay and we filled it");
    }

    #[test]
    fn waiting_throttling_and_a_full_thread_are_named() {
        let used =
            Used { busiest: ("media".into(), 0.9), waited: ("loadgen".into(), 0.3), throttled: 0.02, ..used(0.0, 0.5) };
        let faults = starvation(&used).join("\n");
        for part in ["media used 90 %", "loadgen waited for a processor 30 %", "quota held us back 2 %"] {
            assert!(faults.contains(part), "{faults}");
        }
    }
}
