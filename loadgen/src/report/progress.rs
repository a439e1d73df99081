//! One line a second while the run lasts.

use super::{Second, table};
use crate::{scenario::Scenario, time::millis};

/// `before` is the second before `now`; `setup_p50` in milliseconds so far.
pub fn line(now: &Second, before: &Second, setup_p50: Option<f64>, stage: &str) -> String {
    let cpu = |now: std::time::Duration, before: std::time::Duration| millis(now.saturating_sub(before)) / 10.0;
    let setup = setup_p50.map_or_else(|| "—".to_owned(), |p50| format!("{p50:.1} ms"));
    let server = match (now.server_cpu, before.server_cpu) {
        (Some(now), Some(before)) => format!("  relay {:.0} %", cpu(now, before)),
        _ => String::new(),
    };
    format!(
        "{:>4} s  {stage:<8}  arrived {:<6} waiting {:<4} calls {:<5} up {:<6} failed {:<4} set-up p50 {setup:<9} \
         media {:>6}/s out {:>6}/s in {server}  loadgen {:.0} %",
        now.second,
        now.arrived,
        now.waiting,
        now.calls,
        now.calls_up,
        now.failed,
        now.sent - before.sent,
        now.received - before.received,
        cpu(now.generator_cpu, before.generator_cpu),
    )
}

/// What is done, in one line.
pub fn title(scenario: &Scenario, schedule: &str) -> String {
    format!("seed {}  schedule {schedule}  {}", scenario.seed, table::arrivals(scenario))
}
