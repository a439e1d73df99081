//! A daemon's health seen from outside: memory, processor time, descriptors, and its own counters.

use crate::{Daemon, http};

/// Linux counts processor time in hundredths of a second for everybody (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;

/// Resident memory in KiB.
pub fn memory_kib(daemon: &Daemon) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a living process has VmRSS");
    line.trim().trim_end_matches("kB").trim().parse().unwrap()
}

/// Processor time used so far, in seconds, all threads together.
pub fn cpu_seconds(daemon: &Daemon) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", daemon.id())).unwrap();
    // The name in parentheses may hold anything; behind it, user and system time are fields 12 and 13.
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: f64 = fields[11..13].iter().map(|field| field.parse::<f64>().unwrap()).sum();
    ticks / TICKS_PER_SECOND
}

/// Open descriptors.
pub fn descriptors(daemon: &Daemon) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", daemon.id())).unwrap().count()
}

/// The sum of a metric over all its labels, or over those lines that hold `label`, such as `code="401"`.
pub fn metric(daemon: &Daemon, name: &str, label: &str) -> u64 {
    let page = http::get(daemon.admin(), "/metrics").body;
    let lines = page.lines().filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])));
    let values =
        lines.filter(|line| line.contains(label)).filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
    values.sum::<f64>() as u64
}
