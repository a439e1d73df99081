//! What the machine and its processes used: CPU and memory from /proc, per process and per thread of ours.

use std::{collections::BTreeMap, fs, time::Duration};

use crate::{
    allowance::{self, Allowance, Processors},
    sys,
};

/// CPU time and resident memory of one process at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub cpu: Duration,
    pub resident_bytes: u64,
}

/// All processors together since boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    pub busy: Duration,
    pub total: Duration,
    /// Taken by the hypervisor.
    pub stolen: Duration,
}

/// Everything at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub server: Option<Usage>,
    pub generator: Usage,
    pub machine: Machine,
    /// The processors we may use.
    pub processors: Processors,
    /// How long our control group was held back for its quota.
    pub throttled: Duration,
    /// Each of our threads.
    pub threads: BTreeMap<u32, Thread>,
    /// How much of the server's time is spent on our processors.
    server_share: f64,
}

/// One of our threads at one moment.
#[derive(Clone, Debug, Default)]
pub struct Thread {
    pub name: String,
    pub cpu: Duration,
    /// Ready to run without a processor to run on.
    pub waited: Duration,
}

/// What was used between two snapshots.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Used {
    pub server_cpu: Option<Duration>,
    pub generator_cpu: Duration,
    /// Share of all processors, whoever used them, 0 to 1.
    pub machine_busy: f64,
    pub machine_stolen: f64,
    /// Share of one processor that our busiest thread used, and its name.
    pub busiest: (String, f64),
    /// Share of the time for which the thread that waited most was ready and had no processor, and its name.
    pub waited: (String, f64),
    pub allowance: Allowance,
    /// Share of the time for which our control group was held back.
    pub throttled: f64,
}

impl Snapshot {
    /// Reads /proc now; `server` is the relay's process if it is known and ours to see.
    pub fn take(server: Option<u32>) -> Snapshot {
        Snapshot {
            server: server.and_then(|pid| usage(&format!("/proc/{pid}"))),
            generator: usage("/proc/self").unwrap_or_default(),
            machine: machine().unwrap_or_default(),
            processors: Processors::read(),
            throttled: allowance::throttled(),
            threads: threads(),
            server_share: server.map_or(0.0, allowance::shared_with),
        }
    }

    /// What was used from here to `later`, which came `elapsed` after.
    pub fn until(&self, later: &Snapshot, elapsed: Duration) -> Used {
        let cpu = |before: Usage, after: Usage| after.cpu.saturating_sub(before.cpu);
        let total = later.machine.total.saturating_sub(self.machine.total).as_secs_f64().max(1e-9);
        let share = |before: Duration, after: Duration| after.saturating_sub(before).as_secs_f64() / total;
        let length = elapsed.as_secs_f64().max(1e-9);
        let most = |of: fn(&Thread) -> Duration| {
            let shares = later.threads.iter().map(|(id, thread)| {
                let before = self.threads.get(id).map_or(Duration::ZERO, of);
                (thread.name.clone(), of(thread).saturating_sub(before).as_secs_f64() / length)
            });
            shares.max_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or_default()
        };
        let server_cpu = self.server.zip(later.server).map(|(before, after)| cpu(before, after));
        let generator_cpu = cpu(self.generator, later.generator);
        let ours = generator_cpu + server_cpu.unwrap_or_default().mul_f64(later.server_share);
        Used {
            server_cpu,
            generator_cpu,
            machine_busy: share(self.machine.busy, later.machine.busy),
            machine_stolen: share(self.machine.stolen, later.machine.stolen),
            busiest: most(|thread| thread.cpu),
            waited: most(|thread| thread.waited),
            allowance: self.processors.until(&later.processors, ours),
            throttled: later.throttled.saturating_sub(self.throttled).as_secs_f64() / length,
        }
    }
}

fn usage(folder: &str) -> Option<Usage> {
    let (_, usage) = parse_stat(&fs::read_to_string(format!("{folder}/stat")).ok()?)?;
    // `stat` counts in hundredths of a second; what threads that ended had used is in it alone.
    Some(Usage { cpu: usage.cpu.max(precise_cpu(folder)), ..usage })
}

/// The CPU time of the threads that live, in nanoseconds: a round of two seconds is too short for `stat`'s unit.
fn precise_cpu(folder: &str) -> Duration {
    let tasks = fs::read_dir(format!("{folder}/task")).into_iter().flatten().flatten();
    let used = tasks.filter_map(|task| {
        let schedule = fs::read_to_string(task.path().join("schedstat")).ok()?;
        schedule.split_ascii_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(used.sum())
}

fn threads() -> BTreeMap<u32, Thread> {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let stats = tasks.filter_map(|task| {
        let id = task.file_name().to_str()?.parse().ok()?;
        let (name, usage) = parse_stat(&fs::read_to_string(task.path().join("stat")).ok()?)?;
        let schedule = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        Some((id, Thread { name, cpu: usage.cpu, waited: parse_waited(&schedule) }))
    });
    stats.collect()
}

/// Name, CPU time and resident memory from a `stat` line (proc(5)); the name may hold spaces and parentheses.
fn parse_stat(line: &str) -> Option<(String, Usage)> {
    let (head, tail) = line.rsplit_once(')')?;
    let name = head.split_once('(')?.1.to_owned();
    let fields: Vec<&str> = tail.split_ascii_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    let (ticks, page) = sys::ticks_and_page();
    let cpu = ticks_to_time(number(11)? + number(12)?, ticks);
    Some((name, Usage { cpu, resident_bytes: number(21)? * page }))
}

/// The second of the three numbers of `schedstat`: nanoseconds on a run queue.
fn parse_waited(line: &str) -> Duration {
    let waited = line.split_ascii_whitespace().nth(1).and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(waited.unwrap_or(0))
}

fn machine() -> Option<Machine> {
    parse_machine(fs::read_to_string("/proc/stat").ok()?.lines().next()?)
}

/// The line `cpu user nice system idle iowait irq softirq steal …`.
fn parse_machine(line: &str) -> Option<Machine> {
    let fields: Vec<u64> = line.split_ascii_whitespace().skip(1).map_while(|field| field.parse().ok()).collect();
    let [user, nice, system, idle, iowait, irq, softirq, steal, ..] = fields[..] else { return None };
    let (ticks, _) = sys::ticks_and_page();
    let busy = user + nice + system + irq + softirq + steal;
    Some(Machine {
        busy: ticks_to_time(busy, ticks),
        total: ticks_to_time(busy + idle + iowait, ticks),
        stolen: ticks_to_time(steal, ticks),
    })
}

fn ticks_to_time(count: u64, per_second: u64) -> Duration {
    Duration::from_secs_f64(count as f64 / per_second as f64)
}

/// What makes two results comparable, or not.
pub fn environment() -> Vec<(&'static str, String)> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let cpu = read("/proc/cpuinfo")
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or_else(String::new, |(_, name)| name.trim().to_owned());
    let processors = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    vec![
        ("kernel", read("/proc/sys/kernel/osrelease")),
        ("cpu", cpu),
        ("processors", processors.to_string()),
        ("load_average", read("/proc/loadavg")),
        ("rmem_max", read("/proc/sys/net/core/rmem_max")),
    ]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_stat_line_is_read_although_its_name_is_nasty() {
        let line = "7 (a) b (c) S 1 7 7 0 -1 0 0 0 0 0 150 50 0 0 20 0 3 0 100 1000 25 0";
        let (name, usage) = parse_stat(line).unwrap();
        let (ticks, page) = sys::ticks_and_page();
        assert_eq!(name, "a) b (c");
        assert_eq!(usage, Usage { cpu: Duration::from_secs_f64(200.0 / ticks as f64), resident_bytes: 25 * page });
    }

    #[test]
    fn waiting_for_a_processor_is_read() {
        assert_eq!(parse_waited("7000 9000 3\n"), Duration::from_nanos(9000));
        assert_eq!(parse_waited(""), Duration::ZERO);
    }

    #[test]
    fn the_machines_line_adds_up() {
        let (ticks, _) = sys::ticks_and_page();
        let machine = parse_machine("cpu 10 0 20 60 5 1 2 2 0 0").unwrap();
        assert_eq!(machine.total, ticks_to_time(100, ticks));
        assert_eq!(machine.busy, ticks_to_time(35, ticks));
    }

    #[test]
    fn work_done_here_is_seen() {
        let before = Snapshot::take(Some(std::process::id()));
        let start = std::time::Instant::now();
        let worked = || usage("/proc/self").unwrap().cpu.saturating_sub(before.generator.cpu);
        while worked() < Duration::from_millis(50) && start.elapsed() < Duration::from_secs(30) {
            std::hint::black_box((0..100_000u64).sum::<u64>());
        }
        let used = before.until(&Snapshot::take(Some(std::process::id())), start.elapsed());
        assert!(used.generator_cpu >= Duration::from_millis(50), "{used:?}");
        assert!(used.server_cpu.is_some() && used.busiest.1 > 0.0 && used.machine_busy > 0.0, "{used:?}");
    }
}
