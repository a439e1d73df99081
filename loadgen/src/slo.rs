//! Objectives: `success>=99.5%`, `setup.p99<2s`, `mos.p5>=3.8`.

use std::{fmt, str::FromStr};

use crate::{scenario::parse_span, time::millis};

/// What an objective may speak of. Latencies are milliseconds, success is a ratio, MOS is MOS-CQE.
pub const METRICS: [&str; 12] = [
    "success",
    "match",
    "decision",
    "allocate",
    "setup",
    "ttfm",
    "mos",
    "register",
    "setup_after_match",
    "text",
    "disconnect",
    "release",
];

/// One requirement as typed.
#[derive(Clone, Debug, PartialEq)]
pub struct Objective {
    pub metric: String,
    /// In percent, 99.9 for p99.9; none for a plain ratio.
    pub percentile: Option<f64>,
    relation: Relation,
    /// Milliseconds, ratio or MOS.
    limit: f64,
    text: String,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Relation {
    Below,
    AtMost,
    Above,
    AtLeast,
}

/// What became of an objective.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    Yes,
    No,
    /// Too few samples to say.
    Unknown,
}

impl Objective {
    /// `measured` is in the metric's unit, or none where there were too few samples.
    pub fn judge(&self, measured: Option<f64>) -> Held {
        let Some(value) = measured else { return Held::Unknown };
        let holds = match self.relation {
            Relation::Below => value < self.limit,
            Relation::AtMost => value <= self.limit,
            Relation::Above => value > self.limit,
            Relation::AtLeast => value >= self.limit,
        };
        if holds { Held::Yes } else { Held::No }
    }
}

impl fmt::Display for Objective {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

impl FromStr for Objective {
    type Err = String;

    fn from_str(text: &str) -> Result<Objective, String> {
        let at = text.find(['<', '>']).ok_or("expected METRIC[.pNN] < or > LIMIT, as in setup.p99<2s")?;
        let (left, right) = text.split_at(at);
        let (relation, right) = relation(right);
        let (metric, percentile) = match left.trim().split_once(".p") {
            Some((metric, p)) => (metric, Some(parse_percentile(p)?)),
            None => (left.trim(), None),
        };
        if !METRICS.contains(&metric) {
            return Err(format!("no metric {metric:?}: known are {}", METRICS.join(", ")));
        }
        if (metric == "success") != percentile.is_none() {
            return Err("success has no percentile, every other metric needs one, as in setup.p99".to_owned());
        }
        let limit = parse_limit(metric, right.trim())?;
        Ok(Objective { metric: metric.to_owned(), percentile, relation, limit, text: text.to_owned() })
    }
}

fn relation(text: &str) -> (Relation, &str) {
    for (sign, relation) in
        [("<=", Relation::AtMost), (">=", Relation::AtLeast), ("<", Relation::Below), (">", Relation::Above)]
    {
        if let Some(rest) = text.strip_prefix(sign) {
            return (relation, rest);
        }
    }
    (Relation::AtLeast, text)
}

fn parse_percentile(text: &str) -> Result<f64, String> {
    let percentile: f64 = text.parse().map_err(|_| format!("p{text} is no percentile"))?;
    if percentile > 0.0 && percentile < 100.0 { Ok(percentile) } else { Err(format!("p{text} is no percentile")) }
}

fn parse_limit(metric: &str, text: &str) -> Result<f64, String> {
    let number = |text: &str| text.parse::<f64>().map_err(|_| format!("{text:?} is not a number"));
    match metric {
        "success" => match text.strip_suffix('%') {
            Some(percent) => Ok(number(percent)? / 100.0),
            None => number(text),
        },
        "mos" => number(text),
        _ => parse_span(text).map(millis),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn success_is_a_ratio_however_it_is_written() {
        for text in ["success>=99.5%", "success>=0.995", "success >= 0.995"] {
            let objective: Objective = text.parse().unwrap();
            assert_eq!(objective.judge(Some(0.995)), Held::Yes);
            assert_eq!(objective.judge(Some(0.9949)), Held::No);
        }
    }

    #[test]
    fn a_latency_is_compared_in_milliseconds_at_its_percentile() {
        let objective: Objective = "setup.p99.9<2s".parse().unwrap();
        assert_eq!(objective.percentile, Some(99.9));
        assert_eq!(objective.judge(Some(1999.0)), Held::Yes);
        assert_eq!(objective.judge(Some(2000.0)), Held::No);
    }

    #[test]
    fn what_was_not_measured_is_neither_kept_nor_broken() {
        let objective: Objective = "mos.p5>=3.8".parse().unwrap();
        assert_eq!(objective.judge(None), Held::Unknown);
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "setup", "setup<2s", "success.p9>1", "setup.p99<2", "setup.p100<2s", "speed.p9<1s"] {
            assert!(text.parse::<Objective>().is_err(), "{text}");
        }
    }
}
