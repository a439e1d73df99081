//! Descriptors: how many this process may hold, and those it was started with; and the clock that systemd goes by. A system-call file.
#![allow(unsafe_code, reason = "getrlimit, setrlimit, clock_gettime, SCM_RIGHTS, and descriptors of number 3 and up")]

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};

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

/// Room for one descriptor beside a message, aligned as the kernel wants it.
#[repr(C, align(8))]
struct Beside([u8; 64]);

/// Bytes of the control message that carries one descriptor.
const ONE: u32 = size_of::<RawFd>() as u32;

/// Sends a few bytes, and with them a descriptor of ours if there is one (unix(7), SCM_RIGHTS).
pub(super) fn send(through: BorrowedFd<'_>, bytes: &[u8], descriptor: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let mut beside = Beside([0; 64]);
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: all zeros is a message without anything, for this plain C structure.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    (message.msg_iov, message.msg_iovlen) = (&raw mut part, 1);
    if let Some(descriptor) = descriptor {
        message.msg_control = beside.0.as_mut_ptr().cast();
        // SAFETY: arithmetic on a constant.
        message.msg_controllen = unsafe { libc::CMSG_SPACE(ONE) } as _;
        // SAFETY: the control buffer is larger than CMSG_SPACE of one descriptor and aligned, so the first header and its data lie in it.
        unsafe {
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(ONE) as _;
            libc::CMSG_DATA(header).cast::<RawFd>().write_unaligned(descriptor.as_raw_fd());
        }
    }
    // SAFETY: every pointer in `message` is to something that lives through the call; the kernel only reads.
    let sent = unsafe { libc::sendmsg(through.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL) };
    match usize::try_from(sent) {
        Ok(length) if length == bytes.len() => Ok(()),
        Ok(_) => Err(io::ErrorKind::WriteZero.into()),
        Err(_) => Err(io::Error::last_os_error()),
    }
}

/// Receives what [`send`] has sent: how many bytes, and the descriptor. The kernel never joins two messages of which one has a descriptor.
pub(super) fn receive(through: BorrowedFd<'_>, bytes: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut beside = Beside([0; 64]);
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    // SAFETY: as in `send`.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    (message.msg_iov, message.msg_iovlen) = (&raw mut part, 1);
    message.msg_control = beside.0.as_mut_ptr().cast();
    // SAFETY: arithmetic on a constant; room for one descriptor, so that the kernel installs no second one.
    message.msg_controllen = unsafe { libc::CMSG_SPACE(ONE) } as _;
    // SAFETY: every pointer in `message` is to something that lives through the call, with its true length.
    let length = unsafe { libc::recvmsg(through.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC) };
    let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
    // SAFETY: the kernel has written as many control bytes as `msg_controllen` says; a first header is null or lies in them.
    let descriptor = unsafe {
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        let rights = !header.is_null()
            && (*header).cmsg_level == libc::SOL_SOCKET
            && (*header).cmsg_type == libc::SCM_RIGHTS
            && (*header).cmsg_len as usize >= libc::CMSG_LEN(ONE) as usize;
        // It was just made for this process, which alone owns it.
        rights.then(|| OwnedFd::from_raw_fd(libc::CMSG_DATA(header).cast::<RawFd>().read_unaligned()))
    };
    Ok((length, descriptor))
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
