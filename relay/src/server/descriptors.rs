//! Descriptors: how many this process may hold, and those it was started with; and the clock that systemd goes by. A system-call file.
#![allow(unsafe_code, reason = "getrlimit, setrlimit, clock_gettime, and descriptors of number 3 and up")]

use std::os::fd::{FromRawFd as _, OwnedFd, RawFd};

/// Raises the soft limit to the hard one: each signalling connection and each ordinary allocation needs a descriptor, and the usual
/// soft limit of 1024 is there for programs that use select(2). Returns what holds now.
pub(super) fn raise_limit() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes one `rlimit` to the place given, which lives until the call returns.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return FALLBACK;
    }
    let raised = libc::rlimit { rlim_cur: limit.rlim_max, ..limit };
    // SAFETY: the kernel only reads the `rlimit`.
    let done = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const raised) } == 0;
    if done { raised.rlim_cur } else { limit.rlim_cur }
}

/// CLOCK_MONOTONIC in microseconds.
pub(super) fn monotonic_micros() -> Option<u64> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one `timespec` to the place given, which lives until the call returns.
    let done = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) } == 0;
    let micros = u64::try_from(time.tv_sec).ok()? * 1_000_000 + u64::try_from(time.tv_nsec).ok()? / 1_000;
    done.then_some(micros)
}

/// The descriptors that a supervisor opened for this process (sd_listen_fds(3)): so many from number 3 on. Asked a second time there
/// are none.
pub(super) fn passed_on(count: RawFd) -> Vec<OwnedFd> {
    static TAKEN: std::sync::Once = std::sync::Once::new();
    let mut all = Vec::new();
    TAKEN.call_once(|| {
        for number in FIRST_PASSED_ON..FIRST_PASSED_ON.saturating_add(count.clamp(0, MOST_PASSED_ON)) {
            // SAFETY: a plain system call on a number; it fails if nothing is open there.
            let open = unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } == 0;
            if open {
                // SAFETY: it is open, was given to this process by its supervisor for it to own, and is taken once only.
                all.push(unsafe { OwnedFd::from_raw_fd(number) });
            }
        }
    });
    all
}

const FIRST_PASSED_ON: RawFd = 3;
/// More sockets than a unit lists.
const MOST_PASSED_ON: RawFd = 256;

/// What POSIX systems give at least.
const FALLBACK: u64 = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_known_and_can_be_raised_again() {
        let first = raise_limit();
        assert!(first >= 256);
        assert_eq!(raise_limit(), first);
    }
}
