//! One round of one side, reduced to what is compared, and which rounds count for what.

use serde_json::Value;

use super::{
    judge::{Asked, Rounds},
    metric::{ALL, Kind, Metric},
};

/// Two rounds did the same work if neither did this share more than the other.
const SAME_WORK: f64 = 0.03;

/// What one run says.
#[derive(Clone, Debug, Default)]
pub struct Round {
    values: Vec<Option<f64>>,
    /// What was wrong with the generator.
    pub faults: Vec<String>,
    /// What the server must not do and did.
    pub violations: Vec<String>,
    /// Packets that arrived, or calls that came up where there are none.
    work: f64,
}

impl Round {
    /// From the JSON of a run.
    pub fn read(run: &Value) -> Round {
        let faults = run["verdict"]["generator_faults"].as_array().into_iter().flatten();
        let violations = run["violations"].as_object().into_iter().flatten();
        let packets = run["media"]["received"].as_f64().filter(|packets| *packets > 0.0);
        Round {
            values: ALL.iter().map(|metric| metric.of(run)).collect(),
            faults: faults.filter_map(|fault| fault.as_str().map(str::to_owned)).collect(),
            violations: violations.map(|(what, times)| format!("{what}: {times}")).collect(),
            work: packets.or_else(|| run["outcomes"]["calls_up"].as_f64()).unwrap_or(0.0),
        }
    }

    pub fn value(&self, metric: &Metric) -> Option<f64> {
        let at = ALL.iter().position(|known| known.key == metric.key)?;
        *self.values.get(at)?
    }
}

/// Two rounds that belong together.
#[derive(Clone, Debug, Default)]
pub struct Pair {
    pub seed: u64,
    /// Which side came first.
    pub head_first: bool,
    pub base: Round,
    pub head: Round,
}

impl Pair {
    /// Both values, where the pair counts for the metric. A late generator spoils what is timed. What a server costs it does not
    /// spoil as long as both sides were served at the same moment (`together`) and did the same work: both suffered alike.
    pub fn counts_for(&self, metric: &Metric, together: bool) -> Option<(f64, f64)> {
        let punctual = self.base.faults.is_empty() && self.head.faults.is_empty();
        let (less, more) = (self.base.work.min(self.head.work), self.base.work.max(self.head.work));
        let alike = less > 0.0 && more / less <= 1.0 + SAME_WORK;
        let counts = punctual || (metric.kind == Kind::Cost && together && alike);
        self.base.value(metric).zip(self.head.value(metric)).filter(|_| counts)
    }
}

/// The rounds that count, of each metric that was asked for.
pub fn of_pairs(asked: &[Asked], pairs: &[Pair], together: bool) -> Vec<(Asked, Rounds)> {
    let rounds = |asked: &Asked| pairs.iter().filter_map(|pair| pair.counts_for(asked.metric, together)).collect();
    asked.iter().map(|asked| (*asked, Rounds::Pairs(rounds(asked)))).collect()
}

/// The same of rounds that are not paired.
pub fn of_sides(asked: &[Asked], base: &[Round], head: &[Round]) -> Vec<(Asked, Rounds)> {
    let values = |rounds: &[Round], metric: &Metric| -> Vec<f64> {
        let punctual = rounds.iter().filter(|round| round.faults.is_empty());
        punctual.filter_map(|round| round.value(metric)).collect()
    };
    let sides = |asked: &Asked| Rounds::Sides { base: values(base, asked.metric), head: values(head, asked.metric) };
    asked.iter().map(|asked| (*asked, sides(asked))).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn round(received: u32, faults: &[&str]) -> Round {
        Round::read(&json!({
            "verdict": { "generator_faults": faults },
            "violations": {},
            "outcomes": { "success": 1.0, "calls_up": 10 },
            "media": { "received": received },
            "host": { "server_cpu_secs": 1.0 },
        }))
    }

    #[test]
    fn lateness_spoils_what_is_timed_and_cost_only_apart_or_with_unlike_work() {
        let pair = |base, head| Pair { base, head, ..Pair::default() };
        let (cost, timed) = (Metric::find("cpu/packet").unwrap(), Metric::find("success").unwrap());
        let sound = pair(round(1000, &[]), round(1000, &[]));
        assert!(sound.counts_for(cost, false).is_some() && sound.counts_for(timed, false).is_some());
        let late = pair(round(1000, &["late"]), round(1010, &[]));
        assert!(late.counts_for(cost, true).is_some() && late.counts_for(cost, false).is_none());
        assert!(late.counts_for(timed, true).is_none());
        let unlike = pair(round(1000, &["late"]), round(1200, &[]));
        assert!(unlike.counts_for(cost, true).is_none());
    }

    #[test]
    fn violations_are_named() {
        let run = json!({ "violations": { "leak": 3 } });
        assert_eq!(Round::read(&run).violations, ["leak: 3"]);
    }
}
