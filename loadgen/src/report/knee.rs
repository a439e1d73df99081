//! The load-latency knee: what callers met at each load. From a run whose load changes, or from a search for the limit.

use serde::{Deserialize, Serialize};

use super::Run;
use crate::{
    arrival::Shape,
    slo::{Held, Objective},
    stats::latency::Distribution,
};

/// Parts a ramp is cut into.
const PARTS_OF_A_RAMP: u32 = 10;
/// Seconds that a part of a run has at least.
const SHORTEST: f64 = 2.0;

/// What was met at one load.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct KneePoint {
    /// Calls a second that were due.
    #[serde(alias = "offered")]
    pub offered_cps: f64,
    /// Successes over attempts, 0 to 1; none without any.
    #[serde(default)]
    pub success: Option<f64>,
    /// Call set-up from the intended start, ms; none with too few samples.
    #[serde(default)]
    pub setup_p50_ms: Option<f64>,
    #[serde(default)]
    pub setup_p99_ms: Option<f64>,
    /// PASS or FAIL, or carried or missed as a search for the limit says; anything else could not be judged.
    #[serde(default)]
    pub verdict: String,
}

impl KneePoint {
    pub fn passed(&self) -> bool {
        ["PASS", "carried"].iter().any(|word| self.verdict.starts_with(word))
    }

    pub fn failed(&self) -> bool {
        ["FAIL", "missed"].iter().any(|word| self.verdict.starts_with(word))
    }
}

/// One point for each step of a run of steps, or tenth of its ramp; none where the load stays the same.
pub fn of(run: &Run) -> Vec<KneePoint> {
    let scenario = &run.scenario;
    let length = scenario.arrivals_length().as_secs_f64();
    let each = match &scenario.shape {
        _ if scenario.users > 0 => return Vec::new(),
        Shape::Steps { each, .. } => each.as_secs_f64(),
        Shape::Ramp { over, .. } => over.as_secs_f64().min(length) / f64::from(PARTS_OF_A_RAMP),
        _ => return Vec::new(),
    };
    let each = each.max(SHORTEST);
    let parts = (length / each + 0.01) as u32;
    (0..parts).filter_map(|part| point(run, f64::from(part) * each, f64::from(part + 1) * each)).collect()
}

/// The calls due from `from` to `until`, in seconds of the schedule.
fn point(run: &Run, from: f64, until: f64) -> Option<KneePoint> {
    let inside = |second: u64| (from..until).contains(&(second as f64 + 0.5));
    let (mut up, mut failed, mut setup) = (0, 0, Distribution::default());
    for (_, due) in run.book.by_start.all().filter(|(second, _)| inside(*second)) {
        up += due.up;
        failed += due.failed;
        due.setup().iter().for_each(|part| setup.merge(part));
    }
    let seconds: Vec<_> = run.sampled.seconds.iter().filter(|second| inside(second.second)).collect();
    let (first, last) = (seconds.first()?, seconds.last()?);
    let passed = (last.second - first.second) as f64;
    let arrived = last.arrived.saturating_sub(first.arrived) as f64;
    let offered_cps = arrived / run.callers_per_call() / passed.max(1.0);
    let attempts = up + failed;
    let success = (attempts > 0).then(|| up as f64 / attempts as f64);
    let measured = |objective: &Objective| match objective.metric.as_str() {
        "success" => Some(success),
        "setup" => Some(objective.percentile.and_then(|percentile| setup.percentile_millis(percentile))),
        _ => None,
    };
    let held = run.scenario.objectives.iter().filter_map(|objective| Some(objective.judge(measured(objective)?)));
    Some(KneePoint {
        offered_cps,
        success,
        setup_p50_ms: setup.percentile_millis(50.0),
        setup_p99_ms: setup.percentile_millis(99.0),
        verdict: word(held.collect()).to_owned(),
    })
}

/// One objective that is missed is enough, and one that cannot be judged leaves the others open.
fn word(held: Vec<Held>) -> &'static str {
    match held {
        held if held.contains(&Held::No) => "FAIL",
        held if held.is_empty() || held.contains(&Held::Unknown) => "INCONCLUSIVE",
        _ => "PASS",
    }
}
