//! The parts of a recorded result, as `loadgen schema` describes them.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::stats::latency::Distribution;

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
pub(super) struct Both {
    pub(super) corrected: Numbers,
    pub(super) uncorrected: Numbers,
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
