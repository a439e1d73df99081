//! Results of `loadgen run --json`, read for a comparison, and why two of them may not be compared.

use serde_json::Value;

use super::round::Round;
use crate::{report::json, stats::latency::Distribution};

/// A difference between the shapes of two distributions that is worth a line.
const SPREAD: f64 = 0.15;

/// One result.
pub struct Stored {
    pub name: String,
    pub run: Value,
}

/// Something results of two sides must share, unless the user says that it does not matter.
struct Shared {
    /// As `--despite` names it.
    name: &'static str,
    of: fn(&Value) -> Value,
}

const SHARED: [Shared; 5] = [
    Shared { name: "scenario", of: scenario },
    Shared { name: "seed", of: |run| run["seed"].clone() },
    Shared { name: "schedule", of: |run| run["schedule_hash"].clone() },
    Shared { name: "machine", of: machine },
    Shared { name: "version", of: |run| run["loadgen"].clone() },
];

/// What `--despite` takes.
pub fn despites() -> Vec<&'static str> {
    SHARED.iter().map(|shared| shared.name).collect()
}

impl Stored {
    pub fn read(name: &str, text: &str) -> Result<Stored, String> {
        let run: Value = serde_json::from_str(text).map_err(|error| format!("{name}: not JSON: {error}"))?;
        let refuse = |why: &str| Err(format!("{name}: {why}"));
        if run["schema"] != json::SCHEMA {
            return refuse(&format!("schema {}, expected {:?}", run["schema"], json::SCHEMA));
        }
        if !run["slice"].is_null() {
            return refuse("a slice of a run: join the slices with `loadgen merge` first");
        }
        if run["interrupted"] == true || !run["aborted"].is_null() {
            return refuse("the run ended early");
        }
        if run["manual_changes"].as_array().is_some_and(|changes| !changes.is_empty()) {
            return refuse("somebody changed the rate while it ran");
        }
        Ok(Stored { name: name.to_owned(), run })
    }

    pub fn round(&self) -> Round {
        Round::read(&self.run)
    }
}

/// Every reason why these results are not comparable; `paired`: seeds and schedules must be alike within a pair only.
pub fn differences(base: &[Stored], head: &[Stored], paired: bool, despite: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    let asked = SHARED.iter().filter(|shared| despite.iter().all(|name| name != shared.name));
    for Shared { name, of } in asked {
        let within_pairs = paired && matches!(*name, "seed" | "schedule");
        let pairs: Vec<(&Stored, &Stored)> = if within_pairs {
            base.iter().zip(head).collect()
        } else {
            base.first()
                .into_iter()
                .flat_map(|first| base.iter().chain(head).map(move |other| (first, other)))
                .collect()
        };
        if let Some((one, other)) = pairs.into_iter().find(|(one, other)| of(&one.run) != of(&other.run)) {
            found.push(format!(
                "{} and {}: not of one {name}; --despite {name} compares them anyway",
                one.name, other.name
            ));
        }
    }
    found
}

/// What was asked of the server, without what only the verdict looks at, and without the seed.
fn scenario(run: &Value) -> Value {
    let mut scenario = run["scenario"].clone();
    if let Some(table) = scenario.as_object_mut() {
        table.remove("slo");
        table.remove("seed");
    }
    scenario
}

fn machine(run: &Value) -> Value {
    ["kernel", "cpu", "processors", "rmem_max"].iter().map(|key| run["environment"][key].clone()).collect()
}

/// Phases whose distribution changed its shape: the largest distance between the two (Kolmogorov and Smirnov's D). Calls of one run
/// are not independent, so this is a hint and no test.
pub fn spread(base: &[Stored], head: &[Stored]) -> Vec<String> {
    let pooled = |side: &[Stored], phase: &str| {
        let mut whole = Distribution::default();
        let of = |stored: &Stored| Distribution::decode(stored.run["phases"][phase]["corrected"]["hdr"].as_str()?);
        side.iter().filter_map(of).for_each(|part| whole.merge(&part));
        whole
    };
    let phases = ["setup", "setup_after_match", "allocate", "decision"];
    let changed = phases.into_iter().filter_map(|phase| {
        let distance = pooled(base, phase).distance(&pooled(head, phase)).filter(|distance| *distance > SPREAD)?;
        Some(format!("spread changed: {phase}, by {:.0} % of the calls (D, a hint)", distance * 100.0))
    });
    changed.collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    fn stored(name: &str, seed: u64, cpu: &str, require: &str) -> Stored {
        let run = json!({
            "schema": "loadgen.run/1", "slice": null, "interrupted": false, "aborted": null, "loadgen": "1",
            "seed": seed, "schedule_hash": format!("hash {seed}"),
            "scenario": { "seed": seed, "hold": { "length": "exp:3s" }, "slo": { "require": [require] } },
            "environment": { "cpu": cpu },
        });
        Stored::read(name, &run.to_string()).unwrap()
    }

    #[test]
    fn what_differs_is_named_with_the_way_round_it() {
        let base = [stored("a", 1, "x", "success>=1")];
        assert!(differences(&base, &[stored("b", 1, "x", "success>=0.9")], false, &[]).is_empty());
        let other = [stored("b", 2, "y", "")];
        let found = differences(&base, &other, false, &[]);
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found[0].contains("a and b: not of one seed; --despite seed"), "{found:?}");
        let despite = ["seed", "schedule", "machine"].map(str::to_owned);
        assert!(differences(&base, &other, false, &despite).is_empty());
    }

    #[test]
    fn pairs_may_have_a_seed_each() {
        let side = |name: &str| [stored(name, 1, "x", ""), stored(name, 2, "x", "")];
        assert!(differences(&side("a"), &side("b"), true, &[]).is_empty());
        assert!(!differences(&side("a"), &side("b"), false, &[]).is_empty());
    }

    #[test]
    fn what_is_no_whole_result_is_refused() {
        for text in
            ["{", "{}", r#"{"schema":"loadgen.run/1","slice":{}}"#, r#"{"schema":"loadgen.run/1","interrupted":true}"#]
        {
            assert!(Stored::read("a", text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_spread_that_changed_is_told() {
        let with = |millis: &[u64]| {
            let mut distribution = Distribution::default();
            millis.iter().for_each(|millis| distribution.record(Duration::from_millis(*millis)));
            let mut stored = stored("a", 1, "x", "");
            stored.run["phases"]["setup"]["corrected"]["hdr"] = json!(distribution.encode());
            [stored]
        };
        let (narrow, wide) = (with(&[5; 10]), with(&[1, 1, 1, 5, 5, 5, 5, 9, 9, 9]));
        assert!(spread(&narrow, &narrow).is_empty());
        assert_eq!(spread(&narrow, &wide), ["spread changed: setup, by 30 % of the calls (D, a hint)"]);
    }
}
