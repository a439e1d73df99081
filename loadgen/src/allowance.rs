//! What the processors this process may use did meanwhile: how much of them was to be had, and how much somebody else
//! took. A real-time pacing thread is punctual on a machine that starves the rest of the generator, so lateness alone
//! does not tell; this does.

use std::{collections::BTreeSet, fs, time::Duration};

use crate::sys;

/// Time on the processors of our affinity mask since boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Processors {
    pub total: Duration,
    /// Idle, or used by processes that gave way to us because they are nicer than we are.
    pub available: Duration,
    /// Programs and their system calls; ours and the relay's included.
    pub worked: Duration,
    /// Taken by the hypervisor.
    pub stolen: Duration,
}

/// Shares of our processors' time, 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Allowance {
    pub available: f64,
    /// Used by neither us nor the relay, at our priority or above, or by another virtual machine.
    pub foreign: f64,
}

impl Processors {
    pub fn read() -> Processors {
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        parse(&stat, &allowed("/proc/self/status"), own_niceness() > 0, sys::ticks_and_page().0)
    }

    /// What became of the time until `later`, of which `ours` was spent on the run.
    pub fn until(&self, later: &Processors, ours: Duration) -> Allowance {
        let total = later.total.saturating_sub(self.total).as_secs_f64().max(1e-9);
        let stolen = later.stolen.saturating_sub(self.stolen);
        let others = later.worked.saturating_sub(self.worked).saturating_sub(ours) + stolen;
        let available = later.available.saturating_sub(self.available);
        Allowance { available: available.as_secs_f64() / total, foreign: others.as_secs_f64() / total }
    }
}

/// How much of what process `pid` uses is used on our processors: 1 if it may use no other.
pub fn shared_with(pid: u32) -> f64 {
    let (ours, theirs) = (allowed("/proc/self/status"), allowed(&format!("/proc/{pid}/status")));
    theirs.intersection(&ours).count() as f64 / theirs.len().max(1) as f64
}

/// How long the kernel held this control group back for its quota (cgroup v2), since it exists.
pub fn throttled() -> Duration {
    let group = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let path = group.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
    let stat = fs::read_to_string(format!("/sys/fs/cgroup{path}/cpu.stat")).unwrap_or_default();
    let micros = stat.lines().find_map(|line| line.strip_prefix("throttled_usec ")?.parse().ok());
    Duration::from_micros(micros.unwrap_or(0))
}

/// `cpu3 user nice system idle iowait irq softirq steal …` of each processor in `mask` (proc(5)). Interrupts are neither
/// available nor foreign: most of them carry our own packets.
fn parse(stat: &str, mask: &BTreeSet<u32>, we_are_nice: bool, ticks: u64) -> Processors {
    let time = |count: u64| Duration::from_secs_f64(count as f64 / ticks as f64);
    let mut sum = Processors::default();
    for line in stat.lines() {
        let mut words = line.split_ascii_whitespace();
        let number = words.next().and_then(|name| name.strip_prefix("cpu")?.parse().ok());
        if number.is_none_or(|number: u32| !mask.contains(&number)) {
            continue;
        }
        let fields: Vec<u64> = words.map_while(|field| field.parse().ok()).collect();
        let [user, nice, system, idle, iowait, irq, softirq, steal, ..] = fields[..] else { continue };
        let (given_way, competing) = if we_are_nice { (0, nice) } else { (nice, 0) };
        sum.available += time(idle + iowait + given_way);
        sum.worked += time(user + system + competing);
        sum.stolen += time(steal);
        sum.total += time(user + nice + system + idle + iowait + irq + softirq + steal);
    }
    sum
}

/// The processors the calling thread may use.
pub fn ours() -> Vec<u32> {
    allowed("/proc/thread-self/status").into_iter().collect()
}

/// How many processors process `pid` may use; 0 if it is not ours to see.
pub fn processors_of(pid: u32) -> usize {
    allowed(&format!("/proc/{pid}/status")).len()
}

/// `Cpus_allowed_list: 0-1,4` as numbers.
fn allowed(path: &str) -> BTreeSet<u32> {
    let status = fs::read_to_string(path).unwrap_or_default();
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap_or_default();
    parse_list(list)
}

fn parse_list(list: &str) -> BTreeSet<u32> {
    let ranges = list.trim().split(',').filter_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.parse().ok()?..=last.parse().ok()?)
    });
    ranges.flatten().collect()
}

/// Field 19 of /proc/self/stat.
fn own_niceness() -> i64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let tail = stat.rsplit_once(')').map_or("", |(_, tail)| tail);
    tail.split_ascii_whitespace().nth(16).and_then(|nice| nice.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "cpu 9 9 9 9 9 9 9 9 0 0\ncpu0 0 0 0 0 0 0 0 0 0 0\ncpu1 0 0 0 0 0 0 0 0 0 0\nintr 5\n";
    const AFTER: &str = "cpu 9 9 9 9 9 9 9 9 0 0\ncpu0 0 0 0 100 0 0 0 0 0 0\ncpu1 60 10 20 2 0 2 3 3 0 0\nintr 5\n";

    fn between(mask: &[u32], we_are_nice: bool, ours: Duration) -> Allowance {
        let mask = mask.iter().copied().collect();
        parse(BEFORE, &mask, we_are_nice, 100).until(&parse(AFTER, &mask, we_are_nice, 100), ours)
    }

    fn close(allowance: Allowance, available: f64, foreign: f64) {
        let same = (allowance.available - available).abs() < 1e-6 && (allowance.foreign - foreign).abs() < 1e-6;
        assert!(same, "{allowance:?}");
    }

    #[test]
    fn only_the_processors_we_may_use_count() {
        close(between(&[1], false, Duration::from_millis(300)), 0.12, 0.53);
        close(between(&[0, 1], false, Duration::from_millis(300)), 0.56, 0.265);
    }

    #[test]
    fn nicer_programs_give_way_unless_we_are_nice_ourselves() {
        close(between(&[1], true, Duration::from_millis(300)), 0.02, 0.63);
    }

    #[test]
    fn lists_of_processors_are_read() {
        assert_eq!(parse_list("\t0-2,5"), BTreeSet::from([0, 1, 2, 5]));
        assert!(!allowed("/proc/self/status").is_empty());
        assert!((shared_with(std::process::id()) - 1.0).abs() < 1e-9);
    }
}
