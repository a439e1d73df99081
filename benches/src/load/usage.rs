//! What a process has used, from the kernel's own account of it (`/proc`). CPU time of the scheduler is exact, so that a
//! busy machine disturbs it little.

use std::fs;

/// CPU time and task switches of all threads of a process so far.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Usage {
    pub(crate) nanos: u64,
    pub(crate) switches: u64,
}

impl Usage {
    pub(crate) fn of(pid: u32) -> Usage {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        tasks.fold(Usage::default(), |sum, task| {
            let read = |name: &str| fs::read_to_string(task.path().join(name)).unwrap_or_default();
            Usage { nanos: sum.nanos + nanos(&read("schedstat")), switches: sum.switches + switches(&read("status")) }
        })
    }

    pub(crate) fn since(self, before: Usage) -> Usage {
        // A thread that has ended takes its account with it.
        Usage {
            nanos: self.nanos.saturating_sub(before.nanos),
            switches: self.switches.saturating_sub(before.switches),
        }
    }
}

fn nanos(schedstat: &str) -> u64 {
    schedstat.split(' ').next().and_then(|field| field.parse().ok()).unwrap_or(0)
}

fn switches(status: &str) -> u64 {
    status.lines().filter(|line| line.contains("ctxt_switches")).filter_map(number).sum()
}

/// Memory that would come back if the process ended, in bytes: its private pages.
pub(crate) fn private_bytes(pid: u32) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    rollup.lines().filter(|line| line.starts_with("Private_")).filter_map(number).sum::<u64>() * 1024
}

/// Open descriptors: each socket among them costs the kernel memory that no process is charged with.
pub(crate) fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

fn number(line: &str) -> Option<u64> {
    line.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_used_something() {
        let before = Usage::of(std::process::id());
        let sum = (0..20_000_000_u64).fold(0, |sum, i| std::hint::black_box(sum ^ i));
        std::hint::black_box(sum);
        let used = Usage::of(std::process::id()).since(before);
        assert!(used.nanos > 0);
        assert!(private_bytes(std::process::id()) > 100_000);
        assert!(descriptors(std::process::id()) > 2);
    }

    #[test]
    fn fields_are_where_the_kernel_puts_them() {
        assert_eq!(nanos("123456 789 12\n"), 123_456);
        assert_eq!(switches("Name:\tx\nvoluntary_ctxt_switches:\t15\nnonvoluntary_ctxt_switches:\t4\n"), 19);
    }
}
