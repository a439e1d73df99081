//! What is not a plot: outcomes, media, the hosts, and what it takes to do the same again.

use serde_json::Value;

use super::{clean, table};
use crate::report::recorded::Recorded;

/// Keys of a scenario that say where something is.
const LEFT_OUT: [&str; 2] = ["tls_ca", "tls_name"];

pub(super) fn outcomes(result: &Recorded) -> String {
    let (load, outcomes) = (&result.load, &result.outcomes);
    let counts = [
        ("calls up", outcomes.calls_up),
        ("calls failed", outcomes.calls_failed),
        ("callers failed before they had a partner", outcomes.callers_failed),
        ("gave up waiting for a partner", outcomes.abandoned),
        ("blocked for want of room", outcomes.blocked),
        ("unmatched at the end (neither success nor failure)", outcomes.unmatched_at_end),
        ("setting up at the end (neither success nor failure)", outcomes.in_flight_at_end),
        ("up, cut short by the end", outcomes.cut_at_end),
        ("arrivals dropped by the generator", load.dropped_arrivals),
        ("callers that did not end by themselves", load.stuck_callers),
        ("TURN requests repeated", outcomes.turn_retransmissions),
        ("connectivity checks repeated", outcomes.check_retransmissions),
        ("callers requeued", outcomes.requeued),
    ];
    let rows: Vec<Vec<String>> =
        counts.iter().map(|(name, count)| vec![(*name).to_owned(), count.to_string()]).collect();
    let mut out = objectives(result);
    out.push_str(&table("Counts of the measured window", &["what", "times"], &rows));
    let reasons =
        [("Why attempts failed", &result.outcomes.causes), ("What a server must not do, and did", &result.violations)];
    for (caption, causes) in reasons {
        out.push_str(&counted(caption, causes.iter()));
    }
    if let Some(drops) = &result.host.server_drops {
        out.push_str(&counted(
            "Packets the server dropped, by its own words",
            drops.iter().filter(|(_, times)| **times > 0),
        ));
    }
    out
}

fn counted<'a>(caption: &str, causes: impl Iterator<Item = (&'a String, &'a u64)>) -> String {
    let rows: Vec<Vec<String>> = causes.map(|(cause, times)| vec![clean(cause), times.to_string()]).collect();
    if rows.is_empty() { String::new() } else { table(caption, &["reason", "times"], &rows) }
}

fn objectives(result: &Recorded) -> String {
    let row = |objective: &crate::report::recorded::Required| {
        let held = clean(&objective.held);
        let measured = objective.measured.map_or_else(|| "—".to_owned(), |value| format!("{value:.4}"));
        vec![clean(&objective.require), measured, format!("<span class=\"{held}\">{held}</span>")]
    };
    let rows: Vec<Vec<String>> = result.objectives.iter().map(row).collect();
    if rows.is_empty() { String::new() } else { table("Objectives", &["objective", "measured", "held"], &rows) }
}

pub(super) fn media(result: &Recorded) -> String {
    let media = &result.media;
    if media.streams == 0 {
        return "<p>None was measured, so there is no jitter, loss or MOS.</p>\n".to_owned();
    }
    let share = |part: u64| format!("{:.3} %", part as f64 * 100.0 / media.expected.max(1) as f64);
    let number = |value: Option<f64>| value.map_or_else(|| "—".to_owned(), |value| format!("{value:.2}"));
    let rows = [
        ("streams", media.streams.to_string()),
        ("packets sent", media.sent.to_string()),
        ("loss (RFC 3550)", share(media.lost)),
        ("late", share(media.late)),
        ("reordered", media.reordered.to_string()),
        ("duplicates", media.duplicates.to_string()),
        ("jitter, mean (RFC 3550), ms", number(media.jitter_mean_ms)),
        ("jitter, worst stream, ms", number(Some(media.jitter_worst_ms))),
        ("R, mean", number(media.rating_mean)),
        ("MOS-CQE, mean", number(media.mos_cqe_mean)),
        ("MOS-CQE, p5", number(media.mos_cqe_p5)),
    ];
    let caption = format!("MOS is an estimate of the E-model, profile {}", clean(&media.profile));
    two_columns(&caption, rows)
}

pub(super) fn hosts(result: &Recorded) -> String {
    let host = &result.host;
    let megabytes = |bytes: u64| format!("{:.1} MB", bytes as f64 / 1e6);
    let unknown = || "—".to_owned();
    let rows = [
        ("server CPU in the window", host.server_cpu_secs.map_or_else(unknown, |secs| format!("{secs:.2} s"))),
        ("server CPU per call", host.server_cpu_per_call_ms.map_or_else(unknown, |millis| format!("{millis:.2} ms"))),
        ("server memory, most", if host.server_bytes_peak > 0 { megabytes(host.server_bytes_peak) } else { unknown() }),
        (
            "server memory per caller",
            host.server_bytes_per_caller.map_or_else(unknown, |bytes| format!("{bytes} bytes")),
        ),
        (
            "server memory per allocation",
            host.server_bytes_per_allocation.map_or_else(unknown, |bytes| format!("{bytes} bytes")),
        ),
        ("allocations left at the end", host.server_allocations_left.map_or_else(unknown, |left| left.to_string())),
        ("generator CPU in the window", format!("{:.2} s", host.generator_cpu_secs)),
        ("generator memory", megabytes(host.generator_bytes)),
        ("machine busy", format!("{:.0} %", host.machine_busy * 100.0)),
        ("machine's time stolen", format!("{:.0} %", host.machine_stolen * 100.0)),
        ("priority raised", if host.priority_raised { "yes" } else { "no" }.to_owned()),
    ];
    two_columns("Resources", rows)
}

pub(super) fn setting(result: &Recorded) -> String {
    let own = [
        ("seed".to_owned(), result.seed.to_string()),
        ("schedule hash".to_owned(), clean(&result.schedule_hash)),
        ("loadgen".to_owned(), clean(&result.loadgen)),
    ];
    let merged = result.merged_from.map(|slices| ("merged from slices".to_owned(), slices.to_string()));
    let environment = result.environment.iter().map(|(key, value)| (clean(key), clean(value)));
    let rows: Vec<Vec<String>> =
        own.into_iter().chain(merged).chain(environment).map(|(name, value)| vec![name, value]).collect();
    let mut scenario = result.scenario.clone();
    without_places(&mut scenario);
    let text = serde_json::from_value::<toml::Table>(without_nulls(scenario))
        .map(|table| table.to_string())
        .unwrap_or_default();
    format!(
        "{}<h3 id=\"scenario\">Scenario</h3>\n<pre tabindex=\"0\" role=\"region\" aria-labelledby=\"scenario\">{}</pre>\n",
        table("Where and with what", &["what", "value"], &rows),
        text.trim_end().lines().map(super::escape).collect::<Vec<_>>().join("\n")
    )
}

fn without_places(value: &mut Value) {
    match value {
        Value::Object(keys) => {
            keys.retain(|key, _| !LEFT_OUT.contains(&key.as_str()));
            keys.values_mut().for_each(without_places);
        }
        Value::Array(items) => items.iter_mut().for_each(without_places),
        _ => {}
    }
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(keys) => keys
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key, without_nulls(value)))
            .collect(),
        other => other,
    }
}

fn two_columns<const N: usize>(caption: &str, rows: [(&str, String); N]) -> String {
    let rows: Vec<Vec<String>> = rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    table(caption, &["what", "value"], &rows)
}
