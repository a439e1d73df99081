//! OpenMetrics text, as a scrape after the run would have read it: all gauges but for one summary, which makes it valid
//! Prometheus text as well (a finished run counts nothing any more).

use std::fmt::Write;

use super::recorded::Recorded;

pub fn render(result: &Recorded) -> String {
    let mut out = String::new();
    phases(&mut out, result);
    let (load, outcomes, media, host) = (&result.load, &result.outcomes, &result.media, &result.host);
    let calls = [("up", outcomes.calls_up), ("failed", outcomes.failed()), ("blocked", outcomes.blocked)];
    let packets = [("sent", media.sent), ("lost", media.lost), ("late", media.late), ("duplicate", media.duplicates)];
    family(
        &mut out,
        "loadgen_calls",
        "Calls of the measured window by what became of them.",
        calls.map(|(outcome, count)| (label("outcome", outcome), count as f64)),
    );
    family(
        &mut out,
        "loadgen_media_packets",
        "Media packets of the measured window.",
        packets.map(|(what, count)| (label("kind", what), count as f64)),
    );
    family(
        &mut out,
        "loadgen_failures",
        "Failed attempts by cause.",
        outcomes.causes.iter().map(|(cause, count)| (label("cause", cause), *count as f64)),
    );
    family(
        &mut out,
        "loadgen_violations",
        "What a server must not do, by rule.",
        result.violations.iter().map(|(rule, count)| (label("rule", rule), *count as f64)),
    );
    let verdict = format!(
        "{{verdict=\"{}\",seed=\"{}\",schedule=\"{}\",version=\"{}\"}}",
        value(&result.verdict.word),
        result.seed,
        value(&result.schedule_hash),
        value(&result.loadgen)
    );
    family(
        &mut out,
        "loadgen_exit_code",
        "The code the run ended with; 0 is a pass.",
        [(verdict, f64::from(result.verdict.exit_code))],
    );
    let single = [
        ("loadgen_offered_calls_per_second", "Calls a second the schedule asked for.", Some(load.offered_cps)),
        ("loadgen_achieved_calls_per_second", "Calls a second that came up.", Some(load.achieved_cps)),
        ("loadgen_success_ratio", "Calls up over attempts.", outcomes.success),
        ("loadgen_concurrent_calls_peak", "Most calls at the same time.", Some(load.calls_peak as f64)),
        ("loadgen_dropped_arrivals", "Arrivals that could not happen.", Some(load.dropped_arrivals as f64)),
        ("loadgen_mos_cqe", "Estimate of the E-model, mean.", media.mos_cqe_mean),
        ("loadgen_mos_cqe_p5", "Estimate of the E-model, fifth percentile.", media.mos_cqe_p5),
        (
            "loadgen_jitter_seconds",
            "Mean of the streams' jitter (RFC 3550).",
            media.jitter_mean_ms.map(|millis| millis / 1e3),
        ),
        ("loadgen_server_cpu_seconds", "CPU time of the server in the window.", host.server_cpu_secs),
        ("loadgen_server_resident_bytes", "Most resident memory of the server.", Some(host.server_bytes_peak as f64)),
        ("loadgen_generator_cpu_seconds", "CPU time of the generator in the window.", Some(host.generator_cpu_secs)),
        ("loadgen_generator_headroom_ratio", "What was left of the generator.", Some(result.generator_headroom)),
        ("loadgen_measured_seconds", "Length of the measured window.", Some(result.measured_secs)),
    ];
    for (name, help, number) in single {
        family(&mut out, name, help, number.map(|number| (String::new(), number)));
    }
    out.push_str("# EOF\n");
    out
}

fn phases(out: &mut String, result: &Recorded) {
    let name = "loadgen_phase_seconds";
    head(out, name, "summary", "Latencies by phase; start is the intended start or the actual one.");
    for phase in result.phases() {
        for (start, numbers) in [("intended", phase.corrected), ("actual", phase.uncorrected)] {
            let labels = format!("phase=\"{}\",start=\"{start}\"", phase.key);
            for (_, quantile, millis) in numbers.percentiles() {
                if let Some(millis) = millis {
                    let _ = writeln!(out, "{name}{{{labels},quantile=\"{quantile}\"}} {}", millis / 1e3);
                }
            }
            let sum = numbers.mean.unwrap_or(0.0) * numbers.n as f64 / 1e3;
            let _ = writeln!(out, "{name}_sum{{{labels}}} {sum}\n{name}_count{{{labels}}} {}", numbers.n);
        }
    }
}

/// A family of gauges; one without any is left out.
fn family(out: &mut String, name: &str, help: &str, samples: impl IntoIterator<Item = (String, f64)>) {
    let mut samples = samples.into_iter().peekable();
    if samples.peek().is_some() {
        head(out, name, "gauge", help);
    }
    for (labels, number) in samples {
        let _ = writeln!(out, "{name}{labels} {number}");
    }
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# TYPE {name} {kind}");
    for unit in ["seconds", "bytes"] {
        if name.ends_with(&format!("_{unit}")) {
            let _ = writeln!(out, "# UNIT {name} {unit}");
        }
    }
    let _ = writeln!(out, "# HELP {name} {help}");
}

fn label(name: &str, text: &str) -> String {
    format!("{{{name}=\"{}\"}}", value(text))
}

fn value(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
