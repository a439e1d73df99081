//! The time series as CSV, one line a second: what was seen from outside, beside the calls that were due in that second.

use std::{collections::BTreeMap, fmt::Write};

use super::recorded::{Due, Recorded, Row};

const HEADER: &str = "t_s,measured,offered_cps,callers,waiting,calls,calls_up,failed,sent_pps,received_pps,server_cpu_percent,\
server_bytes,server_allocations,generator_cpu_percent,due_up,due_failed,setup_p50_ms,setup_p90_ms,setup_p99_ms,setup_max_ms";

/// RFC 4180, but for its line ends. Counters (`calls_up`, `failed`) are since the start, rates of the second that ends at
/// `t_s`; what was due and its set-up are of the second that begins there. Empty is unknown.
pub fn render(result: &Recorded) -> String {
    let due: BTreeMap<u64, &Due> = result.by_start.iter().map(|due| (due.t, due)).collect();
    let (per_call, from) = (result.callers_per_call(), result.warmup_secs());
    let mut out = format!("{HEADER}\n");
    for (before, now) in pairs(&result.seconds) {
        let passed = (now.t - before.t).max(1) as f64;
        let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / passed;
        let percent = |now: f64, before: f64| (now - before).max(0.0) * 100.0 / passed;
        let inside = (from..from + result.measured_secs).contains(&(now.t as f64));
        let server = now.server_cpu_secs.zip(before.server_cpu_secs).map(|(now, before)| percent(now, before));
        let due = due.get(&now.t);
        let setup = due.and_then(|due| due.setup.as_ref());
        let _ = write!(
            out,
            "{},{},{:.3},{},{},{},{},{},{:.1},{:.1},{},{},{},{:.1}",
            now.t,
            u8::from(inside),
            rate(now.arrived, before.arrived) / per_call,
            now.callers,
            now.waiting,
            now.calls,
            now.calls_up,
            now.failed,
            rate(now.sent, before.sent),
            rate(now.received, before.received),
            cell(server, 1),
            now.server_bytes,
            now.server_allocations.map_or_else(String::new, |count| count.to_string()),
            percent(now.generator_cpu_secs, before.generator_cpu_secs),
        );
        let counts = due.map_or_else(|| "0,0".to_owned(), |due| format!("{},{}", due.up, due.failed));
        let of = |value: Option<Option<f64>>| cell(value.flatten(), 3);
        let _ = writeln!(
            out,
            ",{counts},{},{},{},{}",
            of(setup.map(|setup| setup.p50)),
            of(setup.map(|setup| setup.p90)),
            of(setup.map(|setup| setup.p99)),
            of(setup.map(|setup| setup.max)),
        );
    }
    out
}

/// Each second with the one before it.
pub fn pairs(rows: &[Row]) -> impl Iterator<Item = (&Row, &Row)> {
    rows.windows(2).map(|pair| (&pair[0], &pair[1]))
}

fn cell(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(String::new, |value| format!("{value:.digits$}"))
}
