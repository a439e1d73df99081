//! Cores and CPU time of threads.
#![allow(unsafe_code)] // affinity has no safe call in the standard library

use std::fs;

/// Cores this process may use.
pub(crate) fn allowed() -> Vec<usize> {
    // SAFETY: a plain C bit set; pointer and size describe it; CPU_ISSET stays below CPU_SETSIZE.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set);
        (0..libc::CPU_SETSIZE as usize).filter(|core| libc::CPU_ISSET(*core, &set)).collect()
    }
}

/// Keeps this thread, and those and the processes it starts from now on, on one core.
pub(crate) fn pin(core: usize) {
    pin_to(&[core]);
}

/// As [`pin`], to any of these.
pub(crate) fn pin_to(cores: &[usize]) {
    // SAFETY: a plain C bit set; pointer and size describe it; CPU_SET ignores what is beyond CPU_SETSIZE.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        cores.iter().for_each(|core| libc::CPU_SET(*core, &mut set));
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set);
    }
}

/// CPU nanoseconds used so far by the threads of this process whose name starts with `name`.
pub(crate) fn thread_nanos(name: &str) -> u64 {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    tasks
        .filter(|task| fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm.starts_with(name)))
        .filter_map(|task| fs::read_to_string(task.path().join("schedstat")).ok())
        .filter_map(|stat| stat.split(' ').next()?.parse::<u64>().ok())
        .sum()
}
