//! Whether the numbers can be trusted, and whether they are good enough.
//!
//! Order: a broken rule of matching or media is wrong however the generator did; then the generator's own health decides
//! whether latencies mean anything; then the objectives.

use crate::{book::Timed, report::Run, slo::Held};

/// Above these the generator, not the target, made the numbers (loadtest.md §6.2).
pub const MAX_LAG_P99_MS: f64 = 10.0;
pub const MAX_LATENESS_P99_MS: f64 = 5.0;
pub const MAX_LITTLE_ERROR: f64 = 0.05;
pub const MAX_THREAD_SHARE: f64 = 0.85;

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
    let missed: Vec<String> = with(Held::No).map(|text| format!("missed {text}")).collect();
    let unknown: Vec<String> = with(Held::Unknown).map(|text| format!("too few samples for {text}")).collect();
    let ladder =
        [(Word::Violated, violations), (Word::Invalid, invalid), (Word::Fail, missed), (Word::Inconclusive, unknown)];
    let found = ladder.into_iter().find(|(_, reasons)| !reasons.is_empty());
    let (word, reasons) = found.unwrap_or((Word::Pass, Vec::new()));
    Verdict { word, reasons }
}

fn generator_faults(run: &Run) -> Vec<String> {
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
    let little = run.little_error().unwrap_or(0.0);
    let unlike = little > MAX_LITTLE_ERROR && !run.interrupted;
    fault(unlike, format!("Little's law off by {:.1} % > {:.0} %", little * 100.0, MAX_LITTLE_ERROR * 100.0));
    let (thread, share) = &run.sampled.used.busiest;
    let busy = *share > MAX_THREAD_SHARE;
    fault(busy, format!("our thread {thread} used {:.0} % of a processor", share * 100.0));
    faults
}
