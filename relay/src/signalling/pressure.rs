//! How near this process is to what it may use (matching.md §4.12): at nine tenths of the processors or of the memory newcomers are asked to
//! wait, and the calls that stand are served. Looked at once a second; the door opens again at eight tenths.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use super::reception::Ask;
use crate::clock::Clock;
use crate::time::Millis;

const LOOK: Duration = Duration::from_secs(1);
/// Thousandths at which newcomers have to wait …
const CLOSE_AT: u64 = 900;
/// … and at which they no longer have to.
const OPEN_AT: u64 = 800;
/// A look counts for so much of what is held of the processors: one busy second is no strain, ten are.
const WEIGHT: u64 = 5;

/// No file of /proc read here is longer.
const PAGE: usize = 4_096;

/// What this process may use.
#[derive(Clone, Copy)]
struct Ceiling {
    processors: u64,
    /// In bytes.
    memory: u64,
}

/// What it has used.
#[derive(Clone, Copy)]
struct Sample {
    at: Millis,
    /// On all processors together since its start.
    cpu_ms: u64,
    /// In bytes, now.
    memory: u64,
}

struct Pressure {
    ceiling: Ceiling,
    before: Sample,
    /// Of the processors, in thousandths, smoothed.
    cpu: u64,
    strained: bool,
}

impl Pressure {
    fn new(ceiling: Ceiling, before: Sample) -> Pressure {
        Pressure { ceiling, before, cpu: 0, strained: false }
    }

    /// Whether newcomers should wait.
    fn look(&mut self, now: Sample) -> bool {
        let wall = now.at.since(self.before.at).max(1) * self.ceiling.processors.max(1);
        let used = now.cpu_ms.saturating_sub(self.before.cpu_ms).saturating_mul(1_000) / wall;
        self.cpu = (self.cpu * (WEIGHT - 1) + used.min(1_000)) / WEIGHT;
        self.before = now;
        let memory = now.memory.saturating_mul(1_000) / self.ceiling.memory.max(1);
        let most = self.cpu.max(memory);
        self.strained = most >= if self.strained { OPEN_AT } else { CLOSE_AT };
        self.strained
    }
}

/// Where use is read. Opened once, before the sandbox: a process that was let to open these later could open others of /proc as well.
pub struct Gauges(Option<Open>);

struct Open {
    ceiling: Ceiling,
    status: File,
    stat: File,
}

impl Gauges {
    /// Where they cannot be read nothing is known, and nobody waits for it.
    pub fn open() -> Gauges {
        let open = |name| File::open(name).ok();
        let pair = open("/proc/self/status").zip(open("/proc/self/stat"));
        Gauges(pair.map(|(status, stat)| Open { ceiling: ceiling(), status, stat }))
    }
}

impl Open {
    fn sample(&self, at: Millis) -> Option<Sample> {
        let memory = kilobytes(&now_in(&self.status)?, "VmRSS:")?;
        Some(Sample { at, cpu_ms: cpu_ms(&now_in(&self.stat)?)?, memory })
    }
}

/// Tells the desk when strain begins and ends, for as long as there is one.
pub(super) fn spawn(gauges: Gauges, desk: mpsc::Sender<Ask>, clock: Clock) {
    tokio::spawn(async move {
        let Some((gauges, first)) = gauges.0.and_then(|open| open.sample(clock.mono()).map(|first| (open, first)))
        else {
            return;
        };
        let (mut pressure, mut told) = (Pressure::new(gauges.ceiling, first), false);
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !desk.is_closed() {
            looks.tick().await;
            let strained = gauges.sample(clock.mono()).is_some_and(|now| pressure.look(now));
            if strained == told {
                continue;
            }
            told = strained;
            tracing::warn!(strained, "at the limits of this machine newcomers are asked to wait");
            if desk.send(Box::new(move |desk, _| desk.set_strained(strained))).await.is_err() {
                return;
            }
        }
    });
}

fn ceiling() -> Ceiling {
    let machine = file("/proc/meminfo").and_then(|text| kilobytes(&text, "MemTotal:"));
    let group = file("/proc/self/cgroup").and_then(|text| group_limit(&text));
    Ceiling {
        processors: std::thread::available_parallelism().map_or(1, |count| count.get() as u64),
        memory: machine.into_iter().chain(group).min().unwrap_or(u64::MAX),
    }
}

/// What a file of /proc says now: it is made anew for whoever reads from its beginning.
fn now_in(file: &File) -> Option<String> {
    let mut text = [0; PAGE];
    let length = file.read_at(&mut text, 0).ok()?;
    String::from_utf8(text[..length].to_vec()).ok()
}

fn file(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// A line of proc(5) in kilobytes, as bytes.
fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1_024)
}

/// `utime` and `stime` of proc_pid_stat(5), which counts hundredths of a second. The name before them may hold anything.
fn cpu_ms(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    ticks()?.checked_add(ticks()?)?.checked_mul(10)
}

/// The limit of the control group (version 2) this process is in; inside a container it is the root of what can be seen.
fn group_limit(cgroup: &str) -> Option<u64> {
    let path = cgroup.lines().find_map(|line| line.strip_prefix("0::"))?;
    [path, "/"]
        .iter()
        .find_map(|path| file(&format!("/sys/fs/cgroup{}/memory.max", path.trim_end_matches('/')))?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn pressure() -> Pressure {
        Pressure::new(Ceiling { processors: 2, memory: GIB }, Sample { at: Millis(0), cpu_ms: 0, memory: 0 })
    }

    /// Seconds until the answer is `until`, with so many milliseconds of work in each and so many thousandths of the memory in use.
    fn seconds(pressure: &mut Pressure, work: u64, memory: u64, until: bool) -> Option<u64> {
        (1..=60).find(|_| {
            let before = pressure.before;
            let (at, cpu_ms) = (before.at.after(1_000), before.cpu_ms + work);
            pressure.look(Sample { at, cpu_ms, memory: GIB / 1_000 * memory + 1_000 }) == until
        })
    }

    #[test]
    fn a_busy_second_is_no_strain_and_ten_are() {
        let mut pressure = pressure();
        assert!((5..20).contains(&seconds(&mut pressure, 2_000, 0, true).unwrap_or(0)));
        assert!((1..10).contains(&seconds(&mut pressure, 200, 0, false).unwrap_or(0)));
        assert_eq!(seconds(&mut pressure, 1_700, 0, true), None, "85 % of two processors is not yet too much");
    }

    #[test]
    fn memory_counts_at_once_and_the_door_opens_later_than_it_closed() {
        let mut pressure = pressure();
        assert_eq!(seconds(&mut pressure, 0, 899, true), None);
        assert_eq!(seconds(&mut pressure, 0, 900, true), Some(1));
        assert_eq!(seconds(&mut pressure, 0, 850, false), None);
        assert_eq!(seconds(&mut pressure, 0, 799, false), Some(1));
    }

    #[test]
    fn this_process_can_be_looked_at() {
        let gauges = Gauges::open().0.expect("Linux has /proc");
        for _ in 0..2 {
            let seen = gauges.sample(Millis(0));
            assert!(seen.is_some_and(|seen| seen.memory > 1 << 20 && seen.memory < ceiling().memory));
        }
    }

    #[test]
    fn what_the_system_says_is_read_with_care() {
        assert_eq!(cpu_ms("1 (a ) b) S 0 0 0 0 0 0 0 0 0 0 12 30 0"), Some(420));
        assert_eq!(cpu_ms("1 (x) S 0"), None);
        assert_eq!(kilobytes("Name:\tx\nVmRSS:\t  2048 kB\n", "VmRSS:"), Some(2 << 20));
        assert_eq!(kilobytes("VmRSS:\t many kB\n", "VmRSS:"), None);
        assert_eq!(group_limit("12:cpu:/x\n"), None);
    }
}
