//! What was promised, beside what was seen.

use serde::Serialize;

use super::answer::Answer;
use super::data_map::{Datum, data_map};
use super::kernel::{Kernel, Task};
use super::paragraphs::paragraphs;
use crate::sandbox::Probe;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Holds {
    Yes,
    No,
    /// Not visible to this user, or on this kernel: nothing is proven.
    Unknown,
}

/// One promise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    pub name: &'static str,
    pub promise: &'static str,
    pub holds: Holds,
    /// In words.
    pub seen: String,
}

/// Everything that `relay prove` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Proof {
    /// Every check holds.
    pub proven: bool,
    pub checks: Vec<Check>,
    pub daemon: Answer,
    pub kernel: Kernel,
    pub data: Vec<Datum>,
    pub privacy: Vec<String>,
}

/// Compares what the daemon and the kernel say with what was promised.
pub fn prove(daemon: Answer, kernel: Kernel) -> Proof {
    let checks = checks(&daemon, &kernel);
    let proven = checks.iter().all(|check| check.holds == Holds::Yes);
    let (data, privacy) = (data_map(&daemon.facts), paragraphs(&daemon.facts, proven));
    Proof { proven, checks, daemon, kernel, data, privacy }
}

fn checks(daemon: &Answer, kernel: &Kernel) -> Vec<Check> {
    vec![
        landlock(daemon, kernel),
        each_task(kernel, "seccomp", "no thread can make a system call that is not on the list", |task| {
            task.seccomp.map(|mode| (mode == 2, format!("mode {mode}")))
        }),
        each_task(kernel, "no_new_privs", "no thread can gain privileges", |task| {
            task.no_new_privs.map(|set| (set == 1, format!("no_new_privs {set}")))
        }),
        each_task(kernel, "capabilities", "no thread has any capability", |task| {
            task.capabilities.map(|set| (set == 0, format!("{set:#x}")))
        }),
        descriptors(kernel),
        zero("file_size", "no regular file can grow", file_size(daemon, kernel)),
        zero("core_limit", "no core file", kernel.core_limit),
        zero("dump_filter", "a dump made all the same has no memory in it", kernel.dump_filter),
        Check {
            name: "dumpable",
            promise: "the kernel dumps no core, to a file or a handler",
            holds: if daemon.dumpable { Holds::No } else { Holds::Yes },
            seen: format!("PR_GET_DUMPABLE {}", u8::from(daemon.dumpable)),
        },
        zero("no_new_code", "no memory is writable and executable", kernel.writable_and_executable.map(|it| it as u64)),
        zero("swap", "nothing of it is in swap now", kernel.swapped_kib),
    ]
}

/// Every thread there is must have been refused. Threads that were not asked are not proven.
fn landlock(daemon: &Answer, kernel: &Kernel) -> Check {
    let said = |task: &Task| daemon.threads.iter().find(|thread| thread.id == task.id).map(|thread| thread.writing);
    let wrote = kernel.tasks.iter().find(|task| said(task).is_some_and(|probe| probe != Probe::Denied));
    let silent = kernel.tasks.iter().find(|task| said(task).is_none());
    let (holds, seen) = match (kernel.tasks.is_empty(), wrote, silent) {
        (true, ..) => (Holds::Unknown, "no thread is visible in /proc".to_owned()),
        (_, Some(task), _) => (Holds::No, format!("thread {} ({}): {:?}", task.id, task.name, said(task))),
        (_, _, Some(task)) => (Holds::Unknown, format!("thread {} ({}) did not try", task.id, task.name)),
        _ => (Holds::Yes, format!("{} threads tried, {} were denied", kernel.tasks.len(), kernel.tasks.len())),
    };
    Check { name: "landlock", promise: "no thread can open a file for writing", holds, seen }
}

fn each_task(
    kernel: &Kernel,
    name: &'static str,
    promise: &'static str,
    look: impl Fn(&Task) -> Option<(bool, String)>,
) -> Check {
    let looks: Vec<_> = kernel.tasks.iter().map(|task| (task, look(task))).collect();
    let bad =
        looks.iter().find_map(|(task, seen)| seen.as_ref().filter(|(good, _)| !good).map(|(_, seen)| (task, seen)));
    let (holds, seen) = match bad {
        Some((task, seen)) => (Holds::No, format!("thread {} ({}): {seen}", task.id, task.name)),
        None if looks.is_empty() || looks.iter().any(|(_, seen)| seen.is_none()) => {
            (Holds::Unknown, "not visible in /proc".to_owned())
        }
        None => (Holds::Yes, format!("{} threads", looks.len())),
    };
    Check { name, promise, holds, seen }
}

/// Standard output and error may be a file: that is the log, which has nothing personal in it.
fn descriptors(kernel: &Kernel) -> Check {
    let (holds, seen) = match &kernel.descriptors {
        None => (Holds::Unknown, "not visible to this user: run it as root".to_owned()),
        Some(open) => {
            let kinds: Vec<_> = open.by_kind.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
            let logs: Vec<_> =
                open.writable_files.range(1..=2).map(|(_, path)| format!("; the log goes to {path}")).collect();
            let others = open.writable_files.iter().find(|(number, _)| !(1..=2).contains(*number));
            match others {
                Some((number, path)) => (Holds::No, format!("descriptor {number}: {path}")),
                None => (Holds::Yes, format!("{}{}", kinds.join(", "), logs.concat())),
            }
        }
    };
    Check { name: "descriptors", promise: "no file is open for writing but the log", holds, seen }
}

/// Where the log is a file it must be able to grow, and so nothing is promised.
fn file_size(daemon: &Answer, kernel: &Kernel) -> Option<u64> {
    let promised = daemon.kept.as_ref().is_some_and(|kept| kept.file_size_zero);
    let logs_to_a_file =
        kernel.descriptors.as_ref().is_some_and(|open| open.writable_files.range(1..=2).next().is_some());
    if logs_to_a_file && !promised { Some(0) } else { kernel.file_size_limit }
}

fn zero(name: &'static str, promise: &'static str, seen: Option<u64>) -> Check {
    let (holds, seen) = match seen {
        Some(0) => (Holds::Yes, "0".to_owned()),
        Some(u64::MAX) => (Holds::No, "no limit".to_owned()),
        Some(number) => (Holds::No, number.to_string()),
        None => (Holds::Unknown, "not visible to this user: run it as root".to_owned()),
    };
    Check { name, promise, holds, seen }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prove::{Descriptors, Facts, Thread};
    use crate::sandbox::Kept;

    fn daemon() -> Answer {
        let kept =
            Kept { landlock: Some(7), seccomp: true, no_new_privileges: true, file_size_zero: true, missing: vec![] };
        let thread = |id| Thread { id, writing: Probe::Denied };
        Answer {
            version: "0".to_owned(),
            pid: 9,
            facts: Facts::default(),
            kept: Some(kept),
            dumpable: false,
            threads: vec![thread(9), thread(10)],
        }
    }

    fn kernel() -> Kernel {
        let task = |id| Task {
            id,
            name: "udp-0".to_owned(),
            seccomp: Some(2),
            filters: Some(1),
            no_new_privs: Some(1),
            capabilities: Some(0),
            user: Some(0),
        };
        Kernel {
            tasks: vec![task(9), task(10)],
            descriptors: Some(Descriptors::default()),
            core_limit: Some(0),
            file_size_limit: Some(0),
            dump_filter: Some(0),
            writable_and_executable: Some(0),
            swapped_kib: Some(0),
            locked_kib: Some(0),
        }
    }

    fn broken(daemon: Answer, kernel: Kernel) -> Vec<(&'static str, Holds)> {
        let proof = prove(daemon, kernel);
        let broken: Vec<_> =
            proof.checks.iter().filter(|it| it.holds != Holds::Yes).map(|it| (it.name, it.holds)).collect();
        assert_eq!(proof.proven, broken.is_empty());
        broken
    }

    #[test]
    fn what_is_as_promised_is_proven() {
        assert_eq!(broken(daemon(), kernel()), []);
    }

    #[test]
    fn each_thing_that_is_not_as_promised_is_found() {
        let spoil = |name, change: &dyn Fn(&mut Answer, &mut Kernel)| {
            let (mut daemon, mut kernel) = (daemon(), kernel());
            change(&mut daemon, &mut kernel);
            assert_eq!(broken(daemon, kernel), [(name, Holds::No)]);
        };
        spoil("landlock", &|daemon, _| daemon.threads[1].writing = Probe::Opened);
        spoil("landlock", &|daemon, _| daemon.threads[1].writing = Probe::NotTried);
        spoil("seccomp", &|_, kernel| kernel.tasks[1].seccomp = Some(0));
        spoil("no_new_privs", &|_, kernel| kernel.tasks[0].no_new_privs = Some(0));
        spoil("capabilities", &|_, kernel| kernel.tasks[0].capabilities = Some(1 << 21));
        spoil("file_size", &|_, kernel| kernel.file_size_limit = Some(u64::MAX));
        spoil("core_limit", &|_, kernel| kernel.core_limit = Some(u64::MAX));
        spoil("dump_filter", &|_, kernel| kernel.dump_filter = Some(0x33));
        spoil("dumpable", &|daemon, _| daemon.dumpable = true);
        spoil("no_new_code", &|_, kernel| kernel.writable_and_executable = Some(1));
        spoil("swap", &|_, kernel| kernel.swapped_kib = Some(4));
        spoil("descriptors", &|_, kernel| {
            let open = kernel.descriptors.get_or_insert_default();
            open.writable_files.insert(7, "/tmp/recording".to_owned());
        });
    }

    #[test]
    fn a_thread_that_was_not_asked_and_what_is_not_visible_prove_nothing() {
        let mut silent = daemon();
        silent.threads.pop();
        assert_eq!(broken(silent, kernel()), [("landlock", Holds::Unknown)]);
        let hidden = broken(daemon(), Kernel { descriptors: None, dump_filter: None, ..kernel() });
        assert_eq!(hidden, [("descriptors", Holds::Unknown), ("dump_filter", Holds::Unknown)]);
        assert!(broken(daemon(), Kernel::default()).len() > 8, "nothing is visible");
    }

    #[test]
    fn a_log_in_a_file_is_told_and_no_fault() {
        let (mut daemon, mut kernel) = (daemon(), kernel());
        daemon.kept.get_or_insert_default().file_size_zero = false;
        kernel.file_size_limit = Some(u64::MAX);
        kernel.descriptors.get_or_insert_default().writable_files.insert(2, "/var/log/relay".to_owned());
        let proof = prove(daemon, kernel);
        assert!(proof.proven);
        assert!(proof.checks.iter().any(|check| check.seen.contains("the log goes to /var/log/relay")));
    }
}
