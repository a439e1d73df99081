//! A result as `--json` wrote it, read back: what every other format is made from, so that each can also be made afterwards.
//! Its words are cleaned of addresses here, once: nothing that is made from it says where anything is.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::{Change, Run, json, knee::KneePoint, scrub::scrub, when};
use crate::{book::Timed, slice::Moment, stats::latency::Distribution, verdict::Verdict};

/// See `loadgen schema` for what each field is; fields no format needs are left out.
#[derive(Clone, Debug, Deserialize)]
pub struct Recorded {
    pub loadgen: String,
    pub verdict: Judged,
    pub callers: String,
    pub model: String,
    pub target: Aimed,
    pub seed: u64,
    pub schedule_hash: String,
    pub scenario: Value,
    pub interrupted: bool,
    pub aborted: Option<String>,
    pub merged_from: Option<u64>,
    pub measured_secs: f64,
    /// RFC 3339; none in results of before there was one.
    pub started_at: Option<String>,
    #[serde(default)]
    pub manual_changes: Vec<Change>,
    pub environment: BTreeMap<String, String>,
    pub load: Load,
    pub outcomes: Outcomes,
    phases: BTreeMap<String, Both>,
    pub media: Media,
    pub objectives: Vec<Required>,
    pub violations: BTreeMap<String, u64>,
    pub host: Host,
    pub generator_headroom: f64,
    pub exemplars: Vec<Call>,
    #[serde(default)]
    pub knee: Vec<KneePoint>,
    pub seconds: Vec<Row>,
    #[serde(default)]
    pub by_start: Vec<Due>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Judged {
    pub word: String,
    pub exit_code: u8,
    pub reasons: Vec<String>,
    pub warnings: Vec<String>,
    pub generator_faults: Vec<String>,
}

/// Whom the load went to, its address left out.
#[derive(Clone, Debug, Deserialize)]
pub struct Aimed {
    pub loopback: bool,
    pub own: bool,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Load {
    pub offered_callers: u64,
    pub offered_cps: f64,
    pub offered_bhca: f64,
    pub achieved_cps: f64,
    pub calls_mean: f64,
    pub calls_peak: u64,
    pub little_error: Option<f64>,
    pub dropped_arrivals: u64,
    pub stuck_callers: u64,
    pub match_floor_p99_ms: Option<f64>,
    pub match_fairness: Option<f64>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Outcomes {
    pub success: Option<f64>,
    pub calls_up: u64,
    pub calls_failed: u64,
    pub callers_failed: u64,
    pub abandoned: u64,
    pub blocked: u64,
    pub unmatched_at_end: u64,
    pub in_flight_at_end: u64,
    pub cut_at_end: u64,
    pub turn_retransmissions: u64,
    pub check_retransmissions: u64,
    pub requeued: u64,
    pub causes: BTreeMap<String, u64>,
}

impl Outcomes {
    pub fn failed(&self) -> u64 {
        self.calls_failed + self.callers_failed
    }
}

#[derive(Clone, Debug, Deserialize)]
struct Both {
    corrected: Numbers,
    uncorrected: Numbers,
}

/// One distribution. Milliseconds; a percentile with too few samples is none.
#[derive(Clone, Debug, Deserialize)]
pub struct Numbers {
    pub n: u64,
    pub mean: Option<f64>,
    pub p50: Option<f64>,
    pub p90: Option<f64>,
    pub p95: Option<f64>,
    pub p99: Option<f64>,
    #[serde(rename = "p99.9")]
    pub p99_9: Option<f64>,
    #[serde(rename = "p99.99")]
    pub p99_99: Option<f64>,
    pub max: Option<f64>,
    hdr: String,
}

impl Numbers {
    /// The whole histogram, empty if it is damaged.
    pub fn distribution(&self) -> Distribution {
        Distribution::decode(&self.hdr).unwrap_or_default()
    }

    /// The percentiles there are samples enough for, by name and as a quantile.
    pub fn percentiles(&self) -> [(&'static str, f64, Option<f64>); 6] {
        [
            ("p50", 0.5, self.p50),
            ("p90", 0.9, self.p90),
            ("p95", 0.95, self.p95),
            ("p99", 0.99, self.p99),
            ("p99.9", 0.999, self.p99_9),
            ("p99.99", 0.9999, self.p99_99),
        ]
    }
}

/// A phase that was measured at all.
#[derive(Clone, Copy, Debug)]
pub struct Phase<'a> {
    pub key: &'static str,
    pub name: &'static str,
    /// From the intended moment, and from when it was really sent or started.
    pub corrected: &'a Numbers,
    pub uncorrected: &'a Numbers,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Media {
    pub streams: u64,
    pub sent: u64,
    pub expected: u64,
    pub lost: u64,
    pub late: u64,
    pub duplicates: u64,
    pub reordered: u64,
    pub jitter_mean_ms: Option<f64>,
    pub jitter_worst_ms: f64,
    pub profile: String,
    pub rating_mean: Option<f64>,
    pub mos_cqe_mean: Option<f64>,
    pub mos_cqe_p5: Option<f64>,
    pub one_way_delay: Numbers,
    pub delay_variation: Numbers,
    pub send_lateness: Numbers,
}

impl Media {
    /// Lost packets as a share of all that should have come, 0 to 1.
    pub fn loss(&self) -> Option<f64> {
        (self.expected > 0).then(|| self.lost as f64 / self.expected as f64)
    }
}

#[derive(Clone, Debug, Deserialize)]
pub struct Required {
    pub require: String,
    pub measured: Option<f64>,
    /// yes, no or unknown.
    pub held: String,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Host {
    pub server_cpu_secs: Option<f64>,
    pub server_cpu_per_call_ms: Option<f64>,
    pub server_bytes_peak: u64,
    pub server_bytes_per_caller: Option<u64>,
    pub server_bytes_per_allocation: Option<u64>,
    pub server_allocations_left: Option<u64>,
    pub server_drops: Option<BTreeMap<String, u64>>,
    pub generator_cpu_secs: f64,
    pub generator_bytes: u64,
    pub machine_busy: f64,
    pub machine_stolen: f64,
    pub priority_raised: bool,
}

/// A call that was kept whole.
#[derive(Clone, Debug, Deserialize)]
pub struct Call {
    pub band: String,
    pub setup_ms: Option<f64>,
    pub cause: Option<String>,
    pub sides: Vec<Side>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Side {
    pub role: Option<String>,
    pub steps: Vec<Step>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Step {
    pub step: String,
    pub at_ms: f64,
}

/// One second as it was seen from outside; counters since the start.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Row {
    pub t: u64,
    pub arrived: u64,
    pub callers: u64,
    pub waiting: u64,
    pub calls: u64,
    pub calls_up: u64,
    pub failed: u64,
    pub sent: u64,
    pub received: u64,
    pub server_cpu_secs: Option<f64>,
    pub server_bytes: u64,
    pub server_allocations: Option<u64>,
    pub generator_cpu_secs: f64,
}

/// Calls due in one second.
#[derive(Clone, Debug, Deserialize)]
pub struct Due {
    pub t: u64,
    pub up: u64,
    pub failed: u64,
    pub setup: Option<Numbers>,
}

impl Recorded {
    /// What is recorded of a run that has just ended.
    pub fn of(run: &Run, verdict: &Verdict) -> Result<Recorded, String> {
        Recorded::read(json::render(run, verdict))
    }

    /// What a file says, if it is a result.
    pub fn read(result: Value) -> Result<Recorded, String> {
        if result["schema"] != json::SCHEMA {
            return Err(format!("not a result of `loadgen run --json` ({} was expected)", json::SCHEMA));
        }
        serde_json::from_value(clean(result)).map_err(|error| format!("damaged result: {error}"))
    }

    /// When the schedule began.
    pub fn started(&self) -> Option<Moment> {
        when::parse(self.started_at.as_deref()?)
    }

    /// Phases of which there is anything, in the order a caller meets them.
    pub fn phases(&self) -> Vec<Phase<'_>> {
        let measured = Timed::ALL.iter().filter_map(|timed| {
            let Both { corrected, uncorrected } = self.phases.get(timed.key())?;
            (corrected.n > 0).then_some(Phase { key: timed.key(), name: timed.name(), corrected, uncorrected })
        });
        measured.collect()
    }

    pub fn phase(&self, key: &str) -> Option<Phase<'_>> {
        self.phases().into_iter().find(|phase| phase.key == key)
    }

    /// What a call is measured by first: its set-up, or, where there is none to measure, the decision or what else there is.
    pub fn main_phase(&self) -> Option<Phase<'_>> {
        ["setup", "decision", "match", "allocate"].iter().find_map(|key| self.phase(key))
    }

    /// Callers of one call.
    pub fn callers_per_call(&self) -> f64 {
        if self.scenario["peer"]["depth"] == "turn" { 1.0 } else { 2.0 }
    }

    /// Seconds of the schedule before the measured window.
    pub fn warmup_secs(&self) -> f64 {
        let text = self.scenario["arrivals"]["warmup"].as_str().unwrap_or_default();
        crate::scenario::parse_span(text).map_or(0.0, |span| span.as_secs_f64())
    }

    pub fn passed(&self) -> bool {
        self.verdict.word == "PASS"
    }

    /// Everything that somebody should know before trusting or using the numbers.
    pub fn remarks(&self) -> Vec<String> {
        let early = self.interrupted.then(|| "the run was interrupted; what had been measured is shown".to_owned());
        let aborted = self.aborted.as_ref().map(|why| format!("the run ended early: {why}"));
        [early, aborted].into_iter().flatten().chain(self.verdict.warnings.iter().cloned()).collect()
    }
}

/// Every word without addresses, keys too; counts whose keys become the same are added. What no format needs is dropped.
fn clean(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(scrub(&text)),
        Value::Array(items) => items.into_iter().map(clean).collect(),
        Value::Object(keys) => {
            let mut cleaned = serde_json::Map::new();
            for (key, value) in keys {
                match key.as_str() {
                    "slice" => {}
                    "hdr" => _ = cleaned.insert(key, value),
                    _ => {
                        let (key, mut value) = (scrub(&key), clean(value));
                        if let Some((ours, theirs)) = value.as_u64().zip(cleaned.get(&key).and_then(Value::as_u64)) {
                            value = Value::from(ours.saturating_add(theirs));
                        }
                        cleaned.insert(key, value);
                    }
                }
            }
            Value::Object(cleaned)
        }
        other => other,
    }
}
