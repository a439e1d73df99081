//! What /proc says about a process, without asking the process.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Serialize;

/// One thread.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Task {
    pub id: i32,
    pub name: String,
    /// 2 is a filter.
    pub seccomp: Option<u64>,
    pub filters: Option<u64>,
    pub no_new_privs: Option<u64>,
    /// Inheritable, permitted, effective and ambient ones, together.
    pub capabilities: Option<u64>,
    pub user: Option<u32>,
}

/// What is open, and what of it could be written to and would stay.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Descriptors {
    /// `socket`, `eventpoll`, `eventfd`, `pipe`, `device`, `file`.
    pub by_kind: BTreeMap<String, usize>,
    /// Regular files open for writing, by descriptor.
    pub writable_files: BTreeMap<i32, String>,
}

/// `None` wherever this user may not look, or this kernel does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Kernel {
    pub tasks: Vec<Task>,
    pub descriptors: Option<Descriptors>,
    /// Soft limits in bytes; `u64::MAX` is none.
    pub core_limit: Option<u64>,
    pub file_size_limit: Option<u64>,
    /// What a dump of this process would hold.
    pub dump_filter: Option<u64>,
    pub writable_and_executable: Option<usize>,
    pub swapped_kib: Option<u64>,
    pub locked_kib: Option<u64>,
}

impl Kernel {
    pub fn of(pid: u32) -> Kernel {
        let process = Path::new("/proc").join(pid.to_string());
        let text = |name: &str| fs::read_to_string(process.join(name)).ok();
        let status = text("status").unwrap_or_default();
        let limits = text("limits");
        let limit = |name| limits.as_deref().and_then(|text| soft_limit(text, name));
        Kernel {
            tasks: tasks(&process),
            descriptors: descriptors(&process),
            core_limit: limit("Max core file size"),
            file_size_limit: limit("Max file size"),
            dump_filter: text("coredump_filter").and_then(|text| u64::from_str_radix(text.trim(), 16).ok()),
            writable_and_executable: text("maps")
                .filter(|maps| !maps.is_empty())
                .map(|maps| writable_and_executable(&maps)),
            swapped_kib: kib(&status, "VmSwap:"),
            locked_kib: kib(&status, "VmLck:"),
        }
    }
}

fn tasks(process: &Path) -> Vec<Task> {
    let Ok(entries) = fs::read_dir(process.join("task")) else { return Vec::new() };
    let ids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut tasks: Vec<Task> = ids
        .filter_map(|id: i32| {
            let status = fs::read_to_string(process.join("task").join(id.to_string()).join("status")).ok()?;
            Some(task(id, &status))
        })
        .collect();
    tasks.sort_unstable_by_key(|task| task.id);
    tasks
}

fn task(id: i32, status: &str) -> Task {
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let number = |name: &str| field(name)?.parse().ok();
    let sets = ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"];
    let capabilities = sets.iter().try_fold(0, |all, name| Some(all | u64::from_str_radix(field(name)?, 16).ok()?));
    Task {
        id,
        name: field("Name:").unwrap_or_default().to_owned(),
        seccomp: number("Seccomp:"),
        filters: number("Seccomp_filters:"),
        no_new_privs: number("NoNewPrivs:"),
        capabilities,
        user: field("Uid:").and_then(|ids| ids.split_whitespace().nth(1)?.parse().ok()),
    }
}

fn descriptors(process: &Path) -> Option<Descriptors> {
    let mut found = Descriptors::default();
    for entry in fs::read_dir(process.join("fd")).ok()?.flatten() {
        // Closed meanwhile.
        let Ok(target) = fs::read_link(entry.path()) else { continue };
        let target = target.to_string_lossy().into_owned();
        let number: i32 = entry.file_name().to_str()?.parse().ok()?;
        let kind = kind(&target, &entry.path());
        *found.by_kind.entry(kind.to_owned()).or_default() += 1;
        if kind == "file" && is_writable(process, number) {
            found.writable_files.insert(number, target);
        }
    }
    Some(found)
}

fn kind(target: &str, link: &Path) -> &'static str {
    match target.split_once(':').map_or(target, |(kind, _)| kind) {
        "socket" => "socket",
        "pipe" => "pipe",
        "anon_inode" if target.contains("eventpoll") => "eventpoll",
        "anon_inode" if target.contains("eventfd") => "eventfd",
        "anon_inode" => "anonymous",
        _ if target.starts_with("/dev/") || target.starts_with("/proc/") => "device",
        // Where the link leads can be asked through the link, whatever became of the name.
        _ if fs::metadata(link).is_ok_and(|about| !about.is_file()) => "device",
        _ => "file",
    }
}

/// The octal flags of proc_pid_fdinfo(5). What cannot be read counts as writable.
fn is_writable(process: &Path, descriptor: i32) -> bool {
    let info = fs::read_to_string(process.join("fdinfo").join(descriptor.to_string())).unwrap_or_default();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok()).is_none_or(|flags| flags & 3 != 0)
}

fn soft_limit(limits: &str, name: &str) -> Option<u64> {
    let words = limits.lines().find_map(|line| line.strip_prefix(name))?;
    match words.split_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

fn writable_and_executable(maps: &str) -> usize {
    maps.lines()
        .filter(|line| line.split(' ').nth(1).is_some_and(|rights| rights.contains('w') && rights.contains('x')))
        .count()
}

fn kib(status: &str, name: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix(name))?.trim().strip_suffix(" kB")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_field_by_field() {
        let status = "Name:\tudp-0\nUid:\t0\t7\t0\t0\nCapInh:\t0\nCapPrm:\t0\nCapEff:\t400\nCapAmb:\t0\nNoNewPrivs:\t1\nSeccomp:\t2\n";
        let expected = Task {
            id: 5,
            name: "udp-0".to_owned(),
            seccomp: Some(2),
            filters: None,
            no_new_privs: Some(1),
            capabilities: Some(0x400),
            user: Some(7),
        };
        assert_eq!(task(5, status), expected);
        assert_eq!(task(5, "Name:\tx\n").capabilities, None, "not known is not none");
    }

    #[test]
    fn limits_and_maps_are_read() {
        let limits = "Limit  Soft Limit\nMax file size             unlimited            unlimited            bytes\nMax core file size        0                    0                    bytes\n";
        assert_eq!(soft_limit(limits, "Max file size"), Some(u64::MAX));
        assert_eq!(soft_limit(limits, "Max core file size"), Some(0));
        assert_eq!(writable_and_executable("1-2 rw-p 0 0 0\n2-3 r-xp 0 0 0\n3-4 rwxp 0 0 0\n"), 1);
    }

    /// This test process has written nothing, and has its own files open.
    #[test]
    fn this_process_can_be_looked_at() {
        let file = std::env::temp_dir().join(format!("relay-prove-{}", std::process::id()));
        let open = fs::File::create(&file).expect("a temporary file");
        let kernel = Kernel::of(std::process::id());
        let seen = kernel.descriptors.expect("our own");
        assert!(seen.writable_files.values().any(|path| Path::new(path) == file), "{seen:?}");
        assert!(!kernel.tasks.is_empty() && kernel.dump_filter.is_some());
        drop(open);
        let _ = fs::remove_file(file);
    }
}
