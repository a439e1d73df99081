//! The system calls of the packet path: recvmmsg, sendmmsg, epoll, eventfd, affinity and a few socket options.
//! The only file of the data plane with `unsafe`; everything it offers is safe to call.
#![allow(unsafe_code)] // the standard library has none of these calls

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use super::names::{Beside, Control, Leaving, Name};
use crate::wire::Icmp;

/// Receive slots: each a buffer with headroom in front, its sender's address, and its control bytes.
///
/// The vectors are filled once and never grow, so the pointers between them stay good for the life of the arena.
pub(super) struct Arena {
    bytes: Vec<u8>,
    names: Vec<Name>,
    controls: Vec<Control>,
    _iovecs: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
    headroom: usize,
    stride: usize,
}

/// What one slot holds after a receive.
pub(super) struct Received {
    /// Bytes in the slot, behind the headroom.
    pub(super) len: usize,
    /// `None` for an address family we did not ask for.
    pub(super) from: Option<SocketAddr>,
    /// The datagram was longer than the slot.
    pub(super) truncated: bool,
    pub(super) beside: Beside,
}

impl Arena {
    /// `slots` buffers of `capacity` bytes with room around them. Memory is touched only as datagrams fill it.
    pub(super) fn new(slots: usize, headroom: usize, capacity: usize, tailroom: usize) -> Arena {
        // A whole number of cache lines, and not of pages: equal offsets in neighbouring slots fall into different cache sets.
        let stride = (headroom + capacity + tailroom).next_multiple_of(128) + 64;
        let mut bytes = vec![0u8; slots * stride];
        let mut names = vec![Name::EMPTY; slots];
        let mut controls = vec![Control::EMPTY; slots];
        let mut iovecs: Vec<libc::iovec> = (0..slots)
            .map(|slot| libc::iovec {
                iov_base: bytes.as_mut_ptr().wrapping_add(slot * stride + headroom).cast(),
                iov_len: capacity,
            })
            .collect();
        let headers = (0..slots)
            .map(|slot| {
                let mut header = empty_header();
                header.msg_hdr.msg_name = names.as_mut_ptr().wrapping_add(slot).cast();
                header.msg_hdr.msg_namelen = Name::CAPACITY;
                header.msg_hdr.msg_iov = iovecs.as_mut_ptr().wrapping_add(slot);
                header.msg_hdr.msg_iovlen = 1;
                header.msg_hdr.msg_control = controls.as_mut_ptr().wrapping_add(slot).cast();
                header.msg_hdr.msg_controllen = Control::CAPACITY as _;
                header
            })
            .collect();
        keep_private(&bytes);
        Arena { bytes, names, controls, _iovecs: iovecs, headers, headroom, stride }
    }

    pub(super) fn slots(&self) -> usize {
        self.headers.len()
    }

    /// Receives what is waiting, without blocking, into at most `count` slots from `first` on; answers how many were filled.
    pub(super) fn receive(&mut self, socket: BorrowedFd<'_>, first: usize, count: usize) -> io::Result<usize> {
        self.receive_from(socket, first, count, 0)
    }

    /// Takes what the socket's error queue holds, at most as much as there are slots.
    pub(super) fn receive_errors(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        self.receive_from(socket, 0, self.slots(), libc::MSG_ERRQUEUE)
    }

    fn receive_from(&mut self, socket: BorrowedFd<'_>, first: usize, count: usize, queue: i32) -> io::Result<usize> {
        let end = (first + count).min(self.headers.len());
        let headers = &mut self.headers[first.min(end)..end];
        // SAFETY: every header points at one name, one iovec, one control buffer and one piece of `bytes`, all owned
        // by `self`, exclusively borrowed during the call, of the sizes given, and not overlapping another slot's.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                headers.len() as libc::c_uint,
                (libc::MSG_DONTWAIT | queue) as _,
                std::ptr::null_mut(),
            )
        };
        usize::try_from(received).map_err(|_| io::Error::last_os_error())
    }

    /// What a filled slot holds. Makes the slot ready for its next receive as well: call it once for each filled slot.
    pub(super) fn take(&mut self, slot: usize) -> Received {
        let header = &mut self.headers[slot];
        let control_bytes = header.msg_hdr.msg_controllen;
        let received = Received {
            len: (header.msg_len as usize).min(self.stride - self.headroom),
            from: self.names[slot].read(),
            truncated: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
            beside: if control_bytes == 0 { Beside::default() } else { self.controls[slot].read(control_bytes) },
        };
        header.msg_hdr.msg_namelen = Name::CAPACITY;
        header.msg_hdr.msg_controllen = Control::CAPACITY as _;
        received
    }

    /// As [`Arena::take`], for a slot filled from an error queue: where the datagram went that the error is about, and what
    /// ICMP said. `None` if it was not ICMP.
    pub(super) fn take_error(&mut self, slot: usize) -> Option<(SocketAddr, Icmp)> {
        let error = self.controls[slot].read_icmp(self.headers[slot].msg_hdr.msg_controllen);
        Some((self.take(slot).from?, error?))
    }

    /// Overwrites the datagrams in the first `filled` slots, with what was written in front of and behind them, and whom they are from.
    pub(super) fn wipe(&mut self, filled: usize) {
        for slot in 0..filled {
            let used = self.headroom + (self.headers[slot].msg_len as usize) + self.headroom;
            let start = slot * self.stride;
            self.bytes[start..start + used.min(self.stride)].fill(0);
            self.names[slot] = Name::EMPTY;
        }
    }

    /// The whole slot: headroom, datagram, room behind.
    pub(super) fn slot(&self, slot: usize) -> &[u8] {
        &self.bytes[slot * self.stride..(slot + 1) * self.stride]
    }

    /// A datagram that came another way.
    pub(super) fn put(&mut self, slot: usize, message: &[u8]) {
        let start = slot * self.stride + self.headroom;
        self.bytes[start..start + message.len()].copy_from_slice(message);
        self.headers[slot].msg_len = message.len() as libc::c_uint;
    }

    pub(super) fn slot_mut(&mut self, slot: usize) -> &mut [u8] {
        &mut self.bytes[slot * self.stride..(slot + 1) * self.stride]
    }
}

/// One datagram to send.
pub(super) struct Datagram<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) to: SocketAddr,
    pub(super) leaving: Leaving,
}

/// Attempts at one datagram while the socket has errors of earlier ones to report: each attempt collects one.
const SEND_ATTEMPTS: usize = 3;

/// Message headers for sending up to a fixed number of datagrams with one call.
pub(super) struct Outgoing {
    names: Vec<Name>,
    controls: Vec<Control>,
    iovecs: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
}

impl Outgoing {
    pub(super) fn new(capacity: usize) -> Outgoing {
        let mut names = vec![Name::EMPTY; capacity];
        let mut iovecs = vec![libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; capacity];
        let headers = (0..capacity)
            .map(|i| {
                let mut header = empty_header();
                header.msg_hdr.msg_name = names.as_mut_ptr().wrapping_add(i).cast();
                header.msg_hdr.msg_iov = iovecs.as_mut_ptr().wrapping_add(i);
                header.msg_hdr.msg_iovlen = 1;
                header
            })
            .collect();
        Outgoing { names, controls: vec![Control::EMPTY; capacity], iovecs, headers }
    }

    /// Sends the datagrams in order without blocking, as many as there are headers; `failed` hears
    /// of each one that could not be sent; the others go on. Answers the number sent and the number of system calls.
    pub(super) fn send<'a>(
        &mut self,
        socket: BorrowedFd<'_>,
        datagrams: impl Iterator<Item = Datagram<'a>>,
        mut failed: impl FnMut(io::Error),
    ) -> (usize, usize) {
        let mut filled = 0;
        for datagram in datagrams.take(self.headers.len()) {
            self.fill(filled, &datagram);
            filled += 1;
        }
        let (mut next, mut sent, mut calls, mut attempts) = (0, 0, 0, 0);
        while next < filled {
            let headers = &mut self.headers[next..filled];
            calls += 1;
            // SAFETY: each of these headers was filled above in this very call: its name, iovec and control buffer are
            // owned by `self`, its bytes borrowed for 'a, which outlives the call. The kernel only reads through them.
            let done = unsafe {
                let count = headers.len() as libc::c_uint;
                libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), count, libc::MSG_DONTWAIT as _)
            };
            match usize::try_from(done) {
                Ok(done) => {
                    next += done;
                    sent += done;
                    attempts = 0;
                }
                Err(_) => {
                    let error = io::Error::last_os_error();
                    attempts += 1;
                    if attempts < SEND_ATTEMPTS && may_be_left_over(&error) {
                        continue;
                    }
                    failed(error);
                    next += 1; // the error is about the first one
                    attempts = 0;
                }
            }
        }
        self.names[..filled].fill(Name::EMPTY);
        (sent, calls)
    }

    fn fill(&mut self, i: usize, datagram: &Datagram<'_>) {
        self.iovecs[i] =
            libc::iovec { iov_base: datagram.bytes.as_ptr().cast_mut().cast(), iov_len: datagram.bytes.len() };
        let header = &mut self.headers[i].msg_hdr;
        header.msg_namelen = self.names[i].write(datagram.to);
        (header.msg_control, header.msg_controllen) =
            match self.controls[i].write(&datagram.leaving, datagram.to.is_ipv6()) {
                0 => (std::ptr::null_mut(), 0),
                len => (self.controls.as_mut_ptr().wrapping_add(i).cast(), len as _),
            };
    }
}

/// Whether an error of a call may be what ICMP said about an earlier datagram, to whomever it went. The kernel reports such an
/// error once, in the place of doing what the call asks for.
pub(super) fn may_be_left_over(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().unwrap_or(0),
        libc::ECONNREFUSED
            | libc::EHOSTUNREACH
            | libc::ENETUNREACH
            | libc::EHOSTDOWN
            | libc::ENONET
            | libc::ENOPROTOOPT
            | libc::EOPNOTSUPP
            | libc::EMSGSIZE
            | libc::EACCES
            | libc::EPROTO
    )
}

fn empty_header() -> libc::mmsghdr {
    // SAFETY: a plain C structure of integers and pointers; all zeroes are a valid value of each.
    unsafe { std::mem::zeroed() }
}

/// An epoll instance; each entry carries a number of the caller's choice.
pub(super) struct Epoll(OwnedFd);

/// Room for the answers of one [`Epoll::wait`].
pub(super) struct Ready {
    events: Vec<libc::epoll_event>,
    count: usize,
}

impl Ready {
    pub(super) fn new(capacity: usize) -> Ready {
        Ready { events: vec![libc::epoll_event { events: 0, u64: 0 }; capacity], count: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// More may be ready than there was room for.
    pub(super) fn is_full(&self) -> bool {
        self.count == self.events.len()
    }

    pub(super) fn get(&self, i: usize) -> u64 {
        self.events[i].u64
    }

    /// There is something in its error queue, or it is broken.
    pub(super) fn has_error(&self, i: usize) -> bool {
        self.events[i].events & libc::EPOLLERR as u32 != 0
    }
}

impl Epoll {
    pub(super) fn new() -> io::Result<Epoll> {
        // SAFETY: no pointers; a non-negative answer is a new descriptor that nobody else owns.
        unsafe { Ok(Epoll(OwnedFd::from_raw_fd(checked(libc::epoll_create1(libc::EPOLL_CLOEXEC))?))) }
    }

    /// Level-triggered interest in input: what a bounded batch leaves is named again by the next wait. Edge-triggered was
    /// measured and costs the same (1.01 to 1.03 times at 20 000 packets/s, 0.99 at the limit). Closing the descriptor ends it.
    pub(super) fn add(&self, source: BorrowedFd<'_>, number: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, source, number, libc::EPOLLIN)
    }

    /// For a stream added before: whether room for output is of interest too.
    pub(super) fn watch_room(&self, source: BorrowedFd<'_>, number: u64, room: bool) -> io::Result<()> {
        let events = libc::EPOLLIN | if room { libc::EPOLLOUT } else { 0 };
        self.control(libc::EPOLL_CTL_MOD, source, number, events)
    }

    /// Forgets a descriptor that goes on living elsewhere.
    pub(super) fn remove(&self, source: BorrowedFd<'_>) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_DEL, source, 0, 0)
    }

    fn control(&self, what: i32, source: BorrowedFd<'_>, number: u64, events: i32) -> io::Result<()> {
        let mut event = libc::epoll_event { events: events as u32, u64: number };
        // SAFETY: `event` lives through the call; both descriptors are open, being borrowed or owned.
        let done = unsafe { libc::epoll_ctl(self.0.as_raw_fd(), what, source.as_raw_fd(), &raw mut event) };
        checked(done).map(|_| ())
    }

    /// Waits for input, at most `timeout_millis` (negative: for ever).
    pub(super) fn wait(&self, ready: &mut Ready, timeout_millis: i32) -> io::Result<()> {
        ready.count = 0;
        let room = i32::try_from(ready.events.len()).unwrap_or(i32::MAX);
        // SAFETY: the kernel writes at most `room` events into a buffer that has that many.
        let count = unsafe { libc::epoll_wait(self.0.as_raw_fd(), ready.events.as_mut_ptr(), room, timeout_millis) };
        ready.count = checked(count)? as usize;
        Ok(())
    }
}

/// A new eventfd, non-blocking and closed on exec.
pub(super) fn eventfd() -> io::Result<OwnedFd> {
    // SAFETY: no pointers; a non-negative answer is a new descriptor that nobody else owns.
    unsafe { Ok(OwnedFd::from_raw_fd(checked(libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC))?)) }
}

/// Sets an integer socket option that no crate at hand has a name for.
pub(super) fn set_option(socket: BorrowedFd<'_>, level: i32, option: i32, value: i32) -> io::Result<()> {
    let len = size_of::<i32>() as libc::socklen_t;
    // SAFETY: the pointer and length describe `value`, which lives through the call.
    checked(unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), len) }).map(|_| ())
}

/// Datagrams a socket has lost, ever, most of them to a full receive buffer; wraps. The same count as SO_RXQ_OVFL's, but asked for
/// when it is wanted, and not paid for with every datagram.
pub(super) fn lost(socket: BorrowedFd<'_>) -> io::Result<u32> {
    const DROPS: usize = libc::SK_MEMINFO_DROPS as usize;
    let mut counts = [0u32; DROPS + 1];
    let mut len = size_of_val(&counts) as libc::socklen_t;
    // SAFETY: pointer and length describe `counts`; the kernel writes at most so much, whatever else it could tell.
    let done = unsafe {
        let (option, value) = (libc::SO_MEMINFO, counts.as_mut_ptr().cast());
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, value, &raw mut len)
    };
    checked(done).map(|_| counts[DROPS])
}

/// Leaves the pages of packet memory out of dumps, and out of swap as soon as they are used, as far as the system lets us.
fn keep_private(bytes: &[u8]) {
    const PAGE: usize = 4096; // larger pages hold whole numbers of these, and are then refused
    const MLOCK_ONFAULT: libc::c_uint = 1;
    let start = bytes.as_ptr().addr() / PAGE * PAGE;
    let length = (bytes.as_ptr().addr() + bytes.len()).next_multiple_of(PAGE) - start;
    // SAFETY: neither call reads or writes memory, nor moves or unmaps it; neighbours on the first and last page lose nothing.
    unsafe {
        let start = std::ptr::without_provenance_mut(start);
        libc::madvise(start, length, libc::MADV_DONTDUMP);
        libc::syscall(libc::SYS_mlock2, start, length, MLOCK_ONFAULT);
    }
}

/// Processor time this thread has used; zero if the kernel would not say.
pub(super) fn thread_cpu() -> Duration {
    let mut used = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one `timespec` to the place given, which lives until the call returns.
    let done = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut used) };
    if done != 0 { Duration::ZERO } else { Duration::new(used.tv_sec as u64, used.tv_nsec as u32) }
}

/// The cores this thread may run on: what `taskset` and cpusets left of the machine. Empty if the kernel would not say.
pub(super) fn allowed_cores() -> Vec<usize> {
    // SAFETY: a plain C bit set; all zeroes are the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: pointer and size describe `set`; pid 0 is the calling thread.
    let done = unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) };
    if done != 0 {
        return Vec::new();
    }
    // SAFETY: CPU_ISSET reads a bit below CPU_SETSIZE of an initialised set.
    (0..libc::CPU_SETSIZE as usize).filter(|core| unsafe { libc::CPU_ISSET(*core, &set) }).collect()
}

/// Keeps the calling thread on one core.
pub(super) fn pin(core: usize) -> io::Result<()> {
    // SAFETY: a plain C bit set; all zeroes are the empty set. CPU_SET checks the bounds itself.
    let set = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(core, &mut set);
        set
    };
    // SAFETY: pointer and size describe `set`; pid 0 is the calling thread.
    checked(unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) }).map(|_| ())
}

/// Gives free memory inside the heap back to the system. Takes milliseconds and locks the heap: not for threads that packets wait
/// for.
pub fn give_heap_back() {
    // SAFETY: no pointers; glibc allows it from any thread at any time.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}

fn checked(answer: RawFd) -> io::Result<RawFd> {
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(answer) }
}
