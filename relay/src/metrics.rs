//! Counters as Prometheus text (exposition format 0.0.4), or as OpenMetrics 1.0 for a scraper that asks for it.
//!
//! Families are written one after the other: `# HELP`, `# TYPE`, then the samples. Labels come from lists in the program (worker
//! numbers, reasons, codes), never from what a caller sent, so the number of series is bounded.

use std::fmt::{Display, Write as _};

/// How a page of metrics is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    #[default]
    Prometheus,
    OpenMetrics,
}

impl Format {
    /// What a scraper gets that accepts this (the `Accept` header): OpenMetrics if it names it, and version 1 of it.
    pub fn accepted(accept: &str) -> Format {
        let named = accept.split(',').any(|range| {
            let mut parts = range.split(';').map(str::trim);
            let is_it = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/openmetrics-text"));
            is_it && parts.all(|parameter| !parameter.starts_with("version=") || parameter.starts_with("version=1."))
        });
        if named { Format::OpenMetrics } else { Format::Prometheus }
    }

    /// `Content-Type` of what [`Exposition::finish`] returns.
    pub const fn content_type(self) -> &'static str {
        match self {
            Format::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
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

/// A text under construction.
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
    format: Format,
}

impl Exposition {
    pub fn new(format: Format) -> Exposition {
        Exposition { text: String::new(), format }
    }

    /// Begins a family; `help` is one line.
    pub fn family(&mut self, name: &'static str, kind: Kind, help: &'static str) -> Family<'_> {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        // In OpenMetrics `_total` belongs to the samples of a counter, not to its family.
        let family = match self.format {
            Format::OpenMetrics => name.strip_suffix("_total").unwrap_or(name),
            Format::Prometheus => name,
        };
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "# HELP {family} {help}\n# TYPE {family} {kind}");
        Family { name, text: &mut self.text }
    }

    pub fn finish(self) -> String {
        let end = if self.format == Format::OpenMetrics { "# EOF\n" } else { "" };
        self.text + end
    }
}

/// One family's samples.
#[derive(Debug)]
pub struct Family<'a> {
    name: &'static str,
    text: &'a mut String,
}

impl Family<'_> {
    /// A sample without labels.
    pub fn value(&mut self, value: u64) {
        let _ = writeln!(self.text, "{} {value}", self.name);
    }

    /// A sample of time counted in microseconds, shown in seconds.
    pub fn labelled_seconds(&mut self, labels: &[(&'static str, &dyn Display)], micros: u64) {
        self.sample(labels, &(micros as f64 / 1e6));
    }

    /// A sample; label values are numbers and names of this program's own, which need no escaping.
    pub fn labelled(&mut self, labels: &[(&'static str, &dyn Display)], value: u64) {
        self.sample(labels, &value);
    }

    fn sample(&mut self, labels: &[(&'static str, &dyn Display)], value: &dyn Display) {
        let _ = write!(self.text, "{}{{", self.name);
        for (index, (label, text)) in labels.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            let _ = write!(self.text, "{comma}{label}=\"{text}\"");
        }
        let _ = writeln!(self.text, "}} {value}");
    }

    /// Durations counted in milliseconds, shown in seconds. `counts` has one more bucket than `bounds_ms`, for what takes longer;
    /// neither is cumulative.
    pub fn durations(&mut self, bounds_ms: &[u64], counts: &[u64], sum_ms: u64) {
        let mut total = 0;
        for (place, count) in counts.iter().enumerate() {
            total += count;
            let bound =
                bounds_ms.get(place).map_or_else(|| "+Inf".to_owned(), |bound| format!("{:?}", seconds(*bound)));
            let _ = writeln!(self.text, "{}_bucket{{le=\"{bound}\"}} {total}", self.name);
        }
        let _ = writeln!(self.text, "{name}_sum {}\n{name}_count {total}", seconds(sum_ms), name = self.name);
    }
}

fn seconds(millis: u64) -> f64 {
    millis as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_cumulative_and_in_seconds() {
        let mut text = Exposition::default();
        text.family("relay_wait_seconds", Kind::Histogram, "Waiting.").durations(&[5, 1_000], &[1, 0, 2], 4_003);
        assert!(text.finish().ends_with(
            "relay_wait_seconds_bucket{le=\"0.005\"} 1\nrelay_wait_seconds_bucket{le=\"1.0\"} 1\n\
             relay_wait_seconds_bucket{le=\"+Inf\"} 3\nrelay_wait_seconds_sum 4.003\nrelay_wait_seconds_count 3\n"
        ));
    }

    #[test]
    fn open_metrics_names_a_counter_without_its_suffix_and_says_where_it_ends() {
        let mut text = Exposition::new(Format::OpenMetrics);
        text.family("relay_matches_total", Kind::Counter, "Pairs made.").value(3);
        let expected = "# HELP relay_matches Pairs made.\n# TYPE relay_matches counter\nrelay_matches_total 3\n# EOF\n";
        assert_eq!(text.finish(), expected);
    }

    #[test]
    fn a_scraper_gets_the_format_it_asks_for() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,\
                          text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        assert_eq!(Format::accepted(prometheus), Format::OpenMetrics);
        for other in ["", "*/*", "text/plain;version=0.0.4", "application/openmetrics-text; version=2.0.0"] {
            assert_eq!(Format::accepted(other), Format::Prometheus, "{other}");
        }
    }

    #[test]
    fn a_family_has_help_and_type_before_its_samples() {
        let mut text = Exposition::default();
        let mut drops = text.family("relay_drops_total", Kind::Counter, "Packets dropped, by reason.");
        drops.labelled(&[("worker", &0), ("reason", &"malformed")], 3);
        text.family("relay_calls", Kind::Gauge, "Calls now.").value(1);
        assert_eq!(
            text.finish(),
            "# HELP relay_drops_total Packets dropped, by reason.\n# TYPE relay_drops_total counter\n\
             relay_drops_total{worker=\"0\",reason=\"malformed\"} 3\n\
             # HELP relay_calls Calls now.\n# TYPE relay_calls gauge\nrelay_calls 1\n"
        );
    }
}
