//! What a run does. `configs/scenarios/default.toml` is the list of keys and their defaults; a scenario file and then
//! the flags are laid over it. A key that is not in that list is refused with a suggestion, all problems at once.

use std::{fmt, time::Duration};

use serde::{Deserialize, Deserializer, de};
use toml::{Table, Value};

use crate::{
    arrival::Spread,
    population::{Hold, Mix},
    slo::Objective,
};

/// Every key at its default.
pub const DEFAULTS: &str = include_str!("../../configs/scenarios/default.toml");

/// A resolved scenario.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    pub seed: u64,
    /// Calls offered per second; two callers make a call.
    pub calls_per_second: f64,
    pub spread: Spread,
    /// First part of the arrivals, outside percentiles and objectives.
    pub warmup: Duration,
    /// Measured part of the arrivals.
    pub measured: Duration,
    /// How long calls in flight may finish after the last arrival.
    pub drain: Duration,
    pub hold: Hold,
    /// A caller without a partner for this long gives up.
    pub patience: Duration,
    /// From matched to media both ways.
    pub setup_timeout: Duration,
    /// Bound on callers at the same time; arrivals beyond it are dropped and counted.
    pub max_callers: usize,
    pub mix: Mix,
    /// Whether voice-like packets flow.
    pub media: bool,
    pub objectives: Vec<Objective>,
    /// The resolved file, for `--print-config` and the report.
    pub resolved: Table,
}

/// Every problem of a scenario, one a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<String>);

impl fmt::Display for Problems {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for Problems {}

impl Default for Scenario {
    /// What `default.toml` says; a test proves that it resolves.
    fn default() -> Scenario {
        Scenario::resolve("", &[]).unwrap_or_else(|problems| unreachable!("the embedded defaults: {problems}"))
    }
}

impl Scenario {
    /// Lays `file` (TOML) and then `flags` (dotted key, TOML value) over the defaults.
    pub fn resolve(file: &str, flags: &[(&str, Value)]) -> Result<Scenario, Problems> {
        let mut resolved: Table = parse(DEFAULTS)?;
        let mut problems = Vec::new();
        overlay(&mut resolved, parse(file)?, "", &mut problems);
        for (key, value) in flags {
            overlay(&mut resolved, nest(key, value.clone()), "", &mut problems);
        }
        if !problems.is_empty() {
            return Err(Problems(problems));
        }
        let written: File = resolved.clone().try_into().map_err(|error: toml::de::Error| problem(error.message()))?;
        written.check(resolved)
    }

    /// From the first arrival to the last.
    pub fn arrivals_length(&self) -> Duration {
        self.warmup + self.measured
    }

    /// Callers expected at the same time, with a margin of four standard deviations and for those who wait.
    pub fn expected_callers(&self) -> usize {
        let waiting = Duration::from_secs(1);
        let mean = 2.0 * self.calls_per_second * (self.hold.mean() + waiting).as_secs_f64();
        (mean + 4.0 * mean.sqrt()) as usize + 16
    }
}

#[derive(Deserialize)]
struct File {
    seed: u64,
    arrivals: ArrivalKeys,
    hold: HoldKeys,
    peer: PeerKeys,
    media: MediaKeys,
    slo: SloKeys,
}

#[derive(Deserialize)]
struct ArrivalKeys {
    calls_per_second: f64,
    spread: String,
    warmup: Span,
    r#for: Span,
    drain: Span,
}

#[derive(Deserialize)]
struct HoldKeys {
    length: String,
}

#[derive(Deserialize)]
struct PeerKeys {
    patience: Span,
    setup_timeout: Span,
    max_callers: usize,
    mix: MixKeys,
}

#[derive(Deserialize)]
struct MixKeys {
    levels: [f64; 6],
    genders: [f64; 3],
    bands: [f64; 3],
    picky_share: f64,
    topics: u8,
    topics_share: f64,
    require_share: f64,
    block_share: f64,
}

#[derive(Deserialize)]
struct MediaKeys {
    kind: String,
}

#[derive(Deserialize)]
struct SloKeys {
    require: Vec<String>,
}

impl File {
    fn check(self, resolved: Table) -> Result<Scenario, Problems> {
        let mut problems = Vec::new();
        let mut note = |problem: String| problems.push(problem);
        let rate = self.arrivals.calls_per_second;
        if !(rate > 0.0 && rate <= 100_000.0) {
            note(format!("arrivals.calls_per_second = {rate}: must be above 0 and at most 100000"));
        }
        let spread = match self.arrivals.spread.as_str() {
            "poisson" => Spread::Poisson,
            "constant" => Spread::Constant,
            other => {
                note(format!("arrivals.spread = {other:?}: expected \"poisson\" or \"constant\""));
                Spread::Poisson
            }
        };
        if self.arrivals.r#for.0.is_zero() {
            note("arrivals.for: nothing is measured in no time".to_owned());
        }
        let media = match self.media.kind.as_str() {
            "g711" => true,
            "none" => false,
            other => {
                note(format!("media.kind = {other:?}: expected \"g711\" or \"none\""));
                false
            }
        };
        let hold = parse_hold(&self.hold.length).unwrap_or_else(|problem| {
            note(format!("hold.length = {:?}: {problem}", self.hold.length));
            Hold::Fixed(Duration::ZERO)
        });
        self.peer.mix.check(&mut note);
        let mut objectives = Vec::new();
        for text in &self.slo.require {
            match text.parse() {
                Ok(objective) => objectives.push(objective),
                Err(problem) => note(format!("slo {text:?}: {problem}")),
            }
        }
        if !problems.is_empty() {
            return Err(Problems(problems));
        }
        Ok(Scenario {
            seed: self.seed,
            calls_per_second: rate,
            spread,
            warmup: self.arrivals.warmup.0,
            measured: self.arrivals.r#for.0,
            drain: self.arrivals.drain.0,
            hold,
            patience: self.peer.patience.0,
            setup_timeout: self.peer.setup_timeout.0,
            max_callers: self.peer.max_callers,
            mix: self.peer.mix.into(),
            media,
            objectives,
            resolved,
        })
    }
}

impl MixKeys {
    fn check(&self, note: &mut impl FnMut(String)) {
        for (name, weights) in
            [("levels", &self.levels[..]), ("genders", &self.genders[..]), ("bands", &self.bands[..])]
        {
            if weights.iter().any(|w| !w.is_finite() || *w < 0.0) || weights.iter().sum::<f64>() <= 0.0 {
                note(format!("peer.mix.{name}: weights must not be negative, and one must be above 0"));
            }
        }
        for (name, share) in [
            ("picky_share", self.picky_share),
            ("topics_share", self.topics_share),
            ("require_share", self.require_share),
            ("block_share", self.block_share),
        ] {
            if !(0.0..=1.0).contains(&share) {
                note(format!("peer.mix.{name} = {share}: a share lies between 0 and 1"));
            }
        }
        if self.topics > 64 {
            note(format!("peer.mix.topics = {}: the protocol knows at most 64", self.topics));
        }
    }
}

impl From<MixKeys> for Mix {
    fn from(keys: MixKeys) -> Mix {
        let MixKeys { levels, genders, bands, picky_share, topics, topics_share, require_share, block_share } = keys;
        Mix { levels, genders, bands, picky_share, topics, topics_share, require_share, block_share }
    }
}

fn parse(text: &str) -> Result<Table, Problems> {
    text.parse().map_err(|error: toml::de::Error| problem(error.to_string().trim_end()))
}

fn problem(text: &str) -> Problems {
    Problems(vec![text.to_owned()])
}

fn nest(key: &str, value: Value) -> Table {
    let (head, value) = match key.split_once('.') {
        Some((head, rest)) => (head, Value::Table(nest(rest, value))),
        None => (key, value),
    };
    Table::from_iter([(head.to_owned(), value)])
}

/// Lays `over` upon `base`, whose keys are the only ones that exist.
fn overlay(base: &mut Table, over: Table, path: &str, problems: &mut Vec<String>) {
    for (key, value) in over {
        let Some(place) = base.get_mut(&key) else {
            problems.push(unknown(&format!("{path}{key}"), &key, base));
            continue;
        };
        match (place, value) {
            (Value::Table(inner), Value::Table(value)) => overlay(inner, value, &format!("{path}{key}."), problems),
            (Value::Table(_), _) => problems.push(format!("{path}{key} is a table: write [{path}{key}]")),
            (Value::Float(place), Value::Integer(value)) => *place = value as f64,
            (place, value) => *place = value,
        }
    }
}

fn unknown(path: &str, key: &str, base: &Table) -> String {
    let near = base.keys().map(|known| (strsim::damerau_levenshtein(key, known), known)).min();
    match near {
        Some((distance, known)) if distance <= 3 => format!("unknown key {path}: did you mean {known}?"),
        _ => format!("unknown key {path}: known here are {}", base.keys().cloned().collect::<Vec<_>>().join(", ")),
    }
}

fn parse_hold(text: &str) -> Result<Hold, String> {
    match text.split_once(':') {
        Some(("fixed", length)) => Ok(Hold::Fixed(parse_span(length)?)),
        Some(("exp", mean)) => Ok(Hold::Exponential(parse_span(mean)?)),
        _ => Err("expected \"fixed:10s\" or \"exp:3s\"".to_owned()),
    }
}

/// A length of time as written: `250ms`, `20s`, `1.5m`, `2h`.
pub fn parse_span(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale = match unit {
        "us" | "µs" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(format!("{text:?} needs a unit: us, ms, s, m or h, as in 20s")),
    };
    let number: f64 = number.parse().map_err(|_| format!("{text:?} is not a length of time such as 20s"))?;
    Duration::try_from_secs_f64(number * scale).map_err(|_| format!("{text:?} is too long"))
}

struct Span(Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_span(&text).map(Span).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_defaults_resolve_and_a_file_changes_only_what_it_names() {
        let plain = Scenario::default();
        let changed = Scenario::resolve("[arrivals]\ncalls_per_second = 7\n", &[]).unwrap();
        assert_eq!(changed.calls_per_second, 7.0);
        assert_eq!(changed.measured, plain.measured);
        assert_eq!(changed.mix, plain.mix);
    }

    #[test]
    fn a_flag_overrides_the_file() {
        let scenario =
            Scenario::resolve("[hold]\nlength = \"fixed:9s\"\n", &[("hold.length", Value::from("exp:1s"))]).unwrap();
        assert_eq!(scenario.hold, Hold::Exponential(Duration::from_secs(1)));
    }

    #[test]
    fn every_unknown_key_is_named_with_a_suggestion() {
        let Problems(problems) =
            Scenario::resolve("sed = 1\n[arrivals]\ncalls_per_secnd = 1.0\n[peer.mix]\nhats = 3\n", &[]).unwrap_err();
        assert_eq!(problems.len(), 3, "{problems:?}");
        assert!(problems.iter().any(|p| p.contains("arrivals.calls_per_secnd: did you mean calls_per_second?")));
        assert!(problems.iter().any(|p| p.contains("sed: did you mean seed?")));
        assert!(problems.iter().any(|p| p.contains("peer.mix.hats")));
    }

    #[test]
    fn all_bad_values_are_reported_at_once() {
        let file = "[arrivals]\ncalls_per_second = -1\nspread = \"even\"\n[hold]\nlength = \"3s\"\n\
                    [peer.mix]\nblock_share = 2.0\n[slo]\nrequire = [\"sucess>1\"]\n";
        let Problems(problems) = Scenario::resolve(file, &[]).unwrap_err();
        assert_eq!(problems.len(), 5, "{problems:?}");
    }

    #[test]
    fn the_scenarios_that_are_shipped_resolve() {
        for file in [
            include_str!("../../configs/scenarios/steady-voice.toml"),
            include_str!("../../configs/scenarios/set-up.toml"),
        ] {
            Scenario::resolve(file, &[]).unwrap();
        }
    }

    #[test]
    fn the_default_run_loads_for_less_than_thirty_seconds_and_offers_more_than_a_thousand_calls() {
        let scenario = Scenario::default();
        assert!(scenario.arrivals_length() + scenario.drain < Duration::from_secs(30));
        assert!(scenario.calls_per_second * scenario.measured.as_secs_f64() >= 1100.0);
    }

    #[test]
    fn spans_need_a_unit() {
        assert_eq!(parse_span("1.5s").unwrap(), Duration::from_millis(1500));
        assert_eq!(parse_span("2m").unwrap(), Duration::from_secs(120));
        assert!(parse_span("20").is_err());
        assert!(parse_span("s").is_err());
    }
}
