//! Counters as a scraper wants them: Prometheus text (exposition format 0.0.4), OpenMetrics 1.0, or Prometheus' protobuf, which alone has
//! native histograms; and pushed as OTLP, if that is built in.
//!
//! A page is a list of families, each with its samples, and is written by whichever format was asked for. Labels come from lists in the
//! program (worker numbers, reasons, codes), never from what a caller sent, so the number of series is bounded. The names of pools come
//! from the app, and [`crate::calls::MOST_POOLS`] says how many there may be.

#[cfg(feature = "otlp")]
pub mod otlp;
mod protobuf;
mod text;

use std::fmt::Display;

/// How a page of metrics is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    #[default]
    Prometheus,
    OpenMetrics,
    /// Length-delimited messages `io.prometheus.client.MetricFamily`.
    Protobuf,
}

impl Format {
    /// What a scraper gets that accepts this (the `Accept` header): the first it names of the two that must be named, else plain text.
    pub fn accepted(accept: &str) -> Format {
        accept.split(',').find_map(Format::named).unwrap_or_default()
    }

    fn named(range: &str) -> Option<Format> {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next()?;
        let parameters: Vec<&str> = parts.filter(|parameter| !parameter.starts_with("q=")).collect();
        if kind.eq_ignore_ascii_case("application/openmetrics-text") {
            let version = parameters.iter().find_map(|parameter| parameter.strip_prefix("version="));
            return version.is_none_or(|version| version.starts_with("1.")).then_some(Format::OpenMetrics);
        }
        let wanted = ["proto=io.prometheus.client.MetricFamily", "encoding=delimited"];
        let is_it = kind.eq_ignore_ascii_case("application/vnd.google.protobuf")
            && wanted.iter().all(|wanted| parameters.contains(wanted));
        is_it.then_some(Format::Protobuf)
    }

    /// `Content-Type` of what [`Exposition::write`] makes.
    pub const fn content_type(self) -> &'static str {
        match self {
            Format::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Format::Protobuf => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
            }
        }
    }
}

/// What a family's numbers do: only grow, come and go, or fall into buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// A page under construction.
#[derive(Debug, Default)]
pub struct Exposition {
    families: Vec<Family>,
}

/// One family and its samples.
#[derive(Debug)]
pub struct Family {
    name: &'static str,
    kind: Kind,
    help: &'static str,
    samples: Vec<Sample>,
}

#[derive(Debug)]
struct Sample {
    labels: Vec<(&'static str, String)>,
    value: Value,
}

#[derive(Debug)]
enum Value {
    Count(u64),
    Seconds(f64),
    Durations(Durations),
}

/// Durations in buckets, none of them cumulative; or shares and scores, counted in thousandths likewise.
#[derive(Clone, Debug)]
pub struct Durations {
    pub bounds_ms: &'static [u64],
    /// One more than bounds, for what takes longer.
    pub counts: Vec<u64>,
    pub sum_ms: u64,
    /// The same durations, finer.
    pub fine: Vec<u64>,
}

impl Exposition {
    /// Begins a family; `help` is one line.
    pub fn family(&mut self, name: &'static str, kind: Kind, help: &'static str) -> &mut Family {
        self.families.push(Family { name, kind, help, samples: Vec::new() });
        let last = self.families.len() - 1;
        &mut self.families[last]
    }

    pub fn write(&self, format: Format) -> Vec<u8> {
        match format {
            Format::Prometheus => text::write(&self.families, false).into_bytes(),
            Format::OpenMetrics => text::write(&self.families, true).into_bytes(),
            Format::Protobuf => protobuf::write(&self.families),
        }
    }
}

impl Family {
    /// A sample without labels.
    pub fn value(&mut self, value: u64) {
        self.labelled(&[], value);
    }

    /// A sample; label values are numbers and names that need no escaping.
    pub fn labelled(&mut self, labels: &[(&'static str, &dyn Display)], value: u64) {
        self.sample(labels, Value::Count(value));
    }

    /// A sample of time counted in microseconds, shown in seconds.
    pub fn labelled_seconds(&mut self, labels: &[(&'static str, &dyn Display)], micros: u64) {
        self.sample(labels, Value::Seconds(micros as f64 / 1e6));
    }

    /// Durations counted in milliseconds, shown in seconds.
    pub fn durations(&mut self, durations: Durations) {
        self.sample(&[], Value::Durations(durations));
    }

    fn sample(&mut self, labels: &[(&'static str, &dyn Display)], value: Value) {
        let labels = labels.iter().map(|(name, text)| (*name, text.to_string())).collect();
        self.samples.push(Sample { labels, value });
    }
}

fn seconds(millis: u64) -> f64 {
    millis as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scraper_gets_the_format_it_asks_for() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,\
                          text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        assert_eq!(Format::accepted(prometheus), Format::OpenMetrics);
        // Prometheus 2.42 with --enable-feature=native-histograms.
        let native = format!(
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,{prometheus}"
        );
        assert_eq!(Format::accepted(&native), Format::Protobuf);
        for other in [
            "",
            "*/*",
            "text/plain;version=0.0.4",
            "application/openmetrics-text; version=2.0.0",
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text",
            "application/vnd.google.protobuf",
        ] {
            assert_eq!(Format::accepted(other), Format::Prometheus, "{other}");
        }
    }
}
