//! What two builds are compared by, read from results as `run --json` writes them.

use serde_json::Value;

/// Packets below which a cost per packet says nothing.
const ENOUGH_PACKETS: f64 = 100.0;

/// Which way is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    Less,
    More,
}

/// What spoils it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A generator that was late, or starved.
    Timed,
    /// Less: where both sides were served at the same moment, what one of them did not do; see `round::Pair::counts_for`.
    Cost,
}

/// One number of a run.
pub struct Metric {
    pub key: &'static str,
    pub unit: &'static str,
    pub better: Better,
    /// A change for the worse up to this share is nobody's business.
    pub margin: f64,
    /// Whether it can stop a change when nobody names metrics.
    pub gated: bool,
    pub kind: Kind,
    read: Read,
}

/// Gated are those that repeat on a noisy machine: cost and success, and the median of set-up with a wide margin. Tails are
/// shown and stop nothing.
pub const ALL: [Metric; 12] = [
    cost("cpu/packet", "µs", 0.03, true, cpu_per_packet),
    cost("cpu/call", "ms", 0.03, false, cpu_per_call),
    Metric {
        key: "success",
        unit: "",
        better: Better::More,
        margin: 0.005,
        gated: true,
        kind: Kind::Timed,
        read: |run| run["outcomes"]["success"].as_f64(),
    },
    // Of one build beside itself its pairs scattered by 6 to 14 %: anything narrower would be for ever inconclusive.
    Metric { margin: 0.25, gated: true, ..latency("setup.p50", |run| setup(run, "p50")) },
    latency("setup.p99", |run| setup(run, "p99")),
    latency("allocate.p50", |run| percentile(run, "allocate", "p50")),
    latency("allocate.p99", |run| percentile(run, "allocate", "p99")),
    latency("decision.p50", |run| percentile(run, "decision", "p50")),
    latency("ttfm.p50", |run| percentile(run, "ttfm", "p50")),
    latency("delay.p50", |run| run["media"]["one_way_delay"]["p50"].as_f64()),
    latency("delay.p99", |run| run["media"]["one_way_delay"]["p99"].as_f64()),
    cost("memory/caller", "B", 0.05, false, |run| run["host"]["server_bytes_per_caller"].as_f64()),
];

type Read = fn(&Value) -> Option<f64>;

const fn cost(key: &'static str, unit: &'static str, margin: f64, gated: bool, read: Read) -> Metric {
    Metric { key, unit, better: Better::Less, margin, gated, kind: Kind::Cost, read }
}

const fn latency(key: &'static str, read: Read) -> Metric {
    Metric { key, unit: "ms", better: Better::Less, margin: 0.10, gated: false, kind: Kind::Timed, read }
}

impl Metric {
    pub fn find(key: &str) -> Result<&'static Metric, String> {
        let known = || ALL.iter().map(|metric| metric.key).collect::<Vec<_>>().join(", ");
        ALL.iter().find(|metric| metric.key == key).ok_or_else(|| format!("no metric {key:?}: known are {}", known()))
    }

    /// The run's value; none where it was not measured.
    pub fn of(&self, run: &Value) -> Option<f64> {
        (self.read)(run).filter(|value| value.is_finite() && *value >= 0.0)
    }

    /// How much worse head is, as a logarithm: above nought is worse whatever the metric.
    pub fn worse_by(&self, base: f64, head: f64) -> f64 {
        let log = (head.max(f64::MIN_POSITIVE) / base.max(f64::MIN_POSITIVE)).ln();
        let log = if base == head { 0.0 } else { log.clamp(-20.0, 20.0) };
        if self.better == Better::Less { log } else { -log }
    }

    /// Head over base, from how much worse it is.
    pub fn ratio(&self, worse_by: f64) -> f64 {
        if self.better == Better::Less { worse_by.exp() } else { (-worse_by).exp() }
    }
}

fn percentile(run: &Value, phase: &str, which: &str) -> Option<f64> {
    run["phases"][phase]["corrected"][which].as_f64()
}

/// From matched on where there is matching: the wait for a stranger is the schedule's doing.
fn setup(run: &Value, which: &str) -> Option<f64> {
    percentile(run, "setup_after_match", which).or_else(|| percentile(run, "setup", which))
}

/// Of the server, for each packet that arrived through it.
fn cpu_per_packet(run: &Value) -> Option<f64> {
    let packets = run["media"]["received"].as_f64().filter(|packets| *packets >= ENOUGH_PACKETS)?;
    Some(run["host"]["server_cpu_secs"].as_f64()? * 1e6 / packets)
}

fn cpu_per_call(run: &Value) -> Option<f64> {
    run["host"]["server_cpu_per_call_ms"].as_f64()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_are_read_where_a_run_keeps_them() {
        let run = json!({
            "outcomes": { "success": 0.99 },
            "phases": { "setup": { "corrected": { "p50": 1.5, "p99": null } } },
            "media": { "received": 20_000, "one_way_delay": { "p50": 0.4 } },
            "host": { "server_cpu_secs": 0.5, "server_cpu_per_call_ms": 2.5, "server_bytes_per_caller": 700 },
        });
        let of = |key: &str| Metric::find(key).unwrap().of(&run);
        assert_eq!(of("cpu/packet"), Some(25.0));
        assert_eq!((of("success"), of("setup.p50"), of("setup.p99")), (Some(0.99), Some(1.5), None));
        assert_eq!((of("cpu/call"), of("delay.p50"), of("memory/caller")), (Some(2.5), Some(0.4), Some(700.0)));
        assert!(Metric::find("speed").is_err_and(|error| error.contains("cpu/packet, cpu/call")));
    }

    #[test]
    fn worse_is_above_nought_whichever_way_is_good() {
        let (cost, success) = (Metric::find("cpu/packet").unwrap(), Metric::find("success").unwrap());
        assert!((cost.worse_by(10.0, 11.0) - 1.1f64.ln()).abs() < 1e-12);
        assert!((success.worse_by(1.0, 0.9) - (1.0f64 / 0.9).ln()).abs() < 1e-12);
        assert!((success.ratio(success.worse_by(1.0, 0.9)) - 0.9).abs() < 1e-12);
        assert_eq!(success.worse_by(0.0, 0.0), 0.0);
        assert!(success.worse_by(1.0, 0.0) > 5.0 && success.worse_by(1.0, 0.0).is_finite());
    }
}
