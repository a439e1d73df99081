//! How many descriptors this process may hold. A system-call file.
#![allow(unsafe_code, reason = "getrlimit and setrlimit")]

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
