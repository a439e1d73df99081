//! Readiness of many sockets, as thin as it gets.
#![allow(unsafe_code)] // the standard library has no epoll

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

pub(crate) struct Epoll {
    epoll: OwnedFd,
    ready: Vec<libc::epoll_event>,
    count: usize,
}

impl Epoll {
    pub(crate) fn new(room: usize) -> io::Result<Epoll> {
        // SAFETY: no pointer goes in; a descriptor that is not negative is new and ours.
        let epoll = unsafe {
            let fd = libc::epoll_create1(libc::EPOLL_CLOEXEC);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(fd)
        };
        Ok(Epoll { epoll, ready: vec![libc::epoll_event { events: 0, u64: 0 }; room], count: 0 })
    }

    /// Tells of `socket` whenever it can be read, as `number`.
    pub(crate) fn add(&self, socket: &impl AsRawFd, number: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: number };
        // SAFETY: the event lives through the call; the kernel copies it.
        let done =
            unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, socket.as_raw_fd(), &raw mut event) };
        if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Waits until something can be read; `None` waits for ever. The numbers are in [`Epoll::ready`].
    pub(crate) fn wait(&mut self, patience: Option<Duration>) {
        let millis = patience.map_or(-1, |patience| patience.as_millis() as i32);
        // SAFETY: pointer and length describe `ready`.
        let count = unsafe {
            libc::epoll_wait(self.epoll.as_raw_fd(), self.ready.as_mut_ptr(), self.ready.len() as i32, millis)
        };
        self.count = usize::try_from(count).unwrap_or(0); // interrupted: nothing was ready
    }

    pub(crate) fn ready(&self) -> usize {
        self.count
    }

    pub(crate) fn number(&self, i: usize) -> u64 {
        self.ready[i].u64
    }
}
