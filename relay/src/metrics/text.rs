//! Prometheus text and OpenMetrics: `# HELP`, `# TYPE`, then the samples, family after family.

use std::fmt::Write as _;

use super::{Durations, Family, Kind, Sample, Value, seconds};

pub(super) fn write(families: &[Family], open_metrics: bool) -> String {
    let mut text = String::new();
    for family in families {
        let kind = match family.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        // In OpenMetrics `_total` belongs to the samples of a counter, not to its family.
        let name = match open_metrics {
            true => family.name.strip_suffix("_total").unwrap_or(family.name),
            false => family.name,
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "# HELP {name} {}\n# TYPE {name} {kind}", family.help);
        for sample in &family.samples {
            write_sample(&mut text, family.name, sample);
        }
    }
    if open_metrics {
        text.push_str("# EOF\n");
    }
    text
}

fn write_sample(text: &mut String, name: &str, sample: &Sample) {
    if let Value::Durations(durations) = &sample.value {
        return write_durations(text, name, durations);
    }
    text.push_str(name);
    for (index, (label, value)) in sample.labels.iter().enumerate() {
        let opening = if index == 0 { "{" } else { "," };
        let _ = write!(text, "{opening}{label}=\"{value}\"");
    }
    let closing = if sample.labels.is_empty() { " " } else { "} " };
    let _ = match sample.value {
        Value::Seconds(seconds) => writeln!(text, "{closing}{seconds}"),
        Value::Count(count) => writeln!(text, "{closing}{count}"),
        Value::Durations(_) => Ok(()),
    };
}

fn write_durations(text: &mut String, name: &str, Durations { bounds_ms, counts, sum_ms, .. }: &Durations) {
    let mut total = 0;
    for (place, count) in counts.iter().enumerate() {
        total += count;
        let bound = bounds_ms.get(place).map_or_else(|| "+Inf".to_owned(), |bound| format!("{:?}", seconds(*bound)));
        let _ = writeln!(text, "{name}_bucket{{le=\"{bound}\"}} {total}");
    }
    let _ = writeln!(text, "{name}_sum {}\n{name}_count {total}", seconds(*sum_ms));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Exposition, Format};

    fn written(page: &Exposition, format: Format) -> String {
        String::from_utf8(page.write(format)).unwrap_or_default()
    }

    #[test]
    fn durations_are_cumulative_and_in_seconds() {
        let mut page = Exposition::default();
        let durations = Durations { bounds_ms: &[5, 1_000], counts: vec![1, 0, 2], sum_ms: 4_003, fine: Vec::new() };
        page.family("relay_wait_seconds", Kind::Histogram, "Waiting.").durations(durations);
        assert!(written(&page, Format::Prometheus).ends_with(
            "relay_wait_seconds_bucket{le=\"0.005\"} 1\nrelay_wait_seconds_bucket{le=\"1.0\"} 1\n\
             relay_wait_seconds_bucket{le=\"+Inf\"} 3\nrelay_wait_seconds_sum 4.003\nrelay_wait_seconds_count 3\n"
        ));
    }

    #[test]
    fn open_metrics_names_a_counter_without_its_suffix_and_says_where_it_ends() {
        let mut page = Exposition::default();
        page.family("relay_matches_total", Kind::Counter, "Pairs made.").value(3);
        let expected = "# HELP relay_matches Pairs made.\n# TYPE relay_matches counter\nrelay_matches_total 3\n# EOF\n";
        assert_eq!(written(&page, Format::OpenMetrics), expected);
    }

    #[test]
    fn a_family_has_help_and_type_before_its_samples() {
        let mut page = Exposition::default();
        let drops = page.family("relay_drops_total", Kind::Counter, "Packets dropped, by reason.");
        drops.labelled(&[("worker", &0), ("reason", &"malformed")], 3);
        page.family("relay_calls", Kind::Gauge, "Calls now.").value(1);
        assert_eq!(
            written(&page, Format::Prometheus),
            "# HELP relay_drops_total Packets dropped, by reason.\n# TYPE relay_drops_total counter\n\
             relay_drops_total{worker=\"0\",reason=\"malformed\"} 3\n\
             # HELP relay_calls Calls now.\n# TYPE relay_calls gauge\nrelay_calls 1\n"
        );
    }
}
