//! A result as `--json` wrote it, read back: what every other format is made from, so that each can also be made afterwards.
//! Its words are cleaned of addresses here, once: nothing that is made from it says where anything is.

mod parts;

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::{Change, Run, json, knee::KneePoint, scrub::scrub, when};
use crate::{book::Timed, slice::Moment, verdict::Verdict};
use parts::Both;
pub use parts::{Aimed, Call, Due, Host, Judged, Load, Media, Numbers, Outcomes, Phase, Required, Row, Side, Step};

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
