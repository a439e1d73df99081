//! System calls the standard library does not offer: batched UDP with packet information and kernel time stamps, epoll,
//! limits, thread priority. The only file with `unsafe`; each block says why it is sound.
#![allow(unsafe_code)]

use std::{
    io, mem,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, SocketAddrV6},
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
    ptr,
    time::Duration,
};

/// Datagrams moved by one system call at most.
pub const BATCH: usize = 64;
/// Longest datagram received whole; what a TURN server answers fits.
const DATAGRAM: usize = 1500;
/// Longest datagram sent in a batch.
pub const OUTGOING: usize = 192;
const CONTROL: usize = 128;

/// Raises the soft limit of open files to the hard one and returns it.
pub fn raise_open_files() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid rlimit for the whole call.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) })?;
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: as above; the kernel only reads it.
    check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) })?;
    Ok(limit.rlim_cur)
}

/// Asks for a better share of the processor and for short turns, so that this thread is run soon after it wakes. Threads
/// and processes it starts later inherit both. False where the better share is not allowed; short turns always are.
pub fn raise_priority(nice: i32) -> bool {
    prefer(nice) || {
        prefer(0);
        false
    }
}

/// `struct sched_attr` of sched_setattr(2), first version.
#[repr(C)]
struct Scheduling {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    /// For ordinary threads, since Linux 6.12: the length of a turn, nanoseconds.
    runtime: u64,
    deadline: u64,
    period: u64,
}

/// The shortest turn the kernel grants.
const SHORT_TURN: u64 = 100_000;

fn prefer(nice: i32) -> bool {
    let size = mem::size_of::<Scheduling>() as u32;
    let ordinary = libc::SCHED_OTHER as u32;
    let wish =
        Scheduling { size, policy: ordinary, flags: 0, nice, priority: 0, runtime: SHORT_TURN, deadline: 0, period: 0 };
    // SAFETY: the kernel reads `size` bytes of a live struct; 0 is the calling thread.
    unsafe { libc::syscall(libc::SYS_sched_setattr, 0, ptr::from_ref(&wish), 0) == 0 }
}

/// Makes this thread run before every ordinary one, where that is allowed. For threads that sleep most of the time.
pub fn go_real_time() -> bool {
    let lowest = libc::sched_param { sched_priority: 1 };
    // SAFETY: the kernel reads a live struct; 0 is the calling thread.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_RR, &lowest) == 0 }
}

/// Keeps this thread, and threads and processes it starts later, on these processors. False where that is not allowed.
pub fn stay_on(processors: &[u32]) -> bool {
    // SAFETY: a plain C bit set; all zeroes are the empty set. CPU_SET checks the bounds itself.
    let set = unsafe {
        let mut set: libc::cpu_set_t = mem::zeroed();
        processors.iter().for_each(|processor| libc::CPU_SET(*processor as usize, &mut set));
        set
    };
    // SAFETY: pointer and size describe `set`; pid 0 is the calling thread.
    unsafe { libc::sched_setaffinity(0, mem::size_of::<libc::cpu_set_t>(), &set) == 0 }
}

/// Lets this thread's sleeps end within a microsecond of their time instead of fifty.
pub fn sharpen_sleeps() {
    // SAFETY: PR_SET_TIMERSLACK takes a number of nanoseconds and touches no memory.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1_000 as libc::c_ulong, 0, 0, 0) };
}

/// Clock ticks a second of /proc/PID/stat, and the page size.
pub fn ticks_and_page() -> (u64, u64) {
    // SAFETY: sysconf has no preconditions.
    let (ticks, page) = unsafe { (libc::sysconf(libc::_SC_CLK_TCK), libc::sysconf(libc::_SC_PAGESIZE)) };
    (ticks.max(1) as u64, page.max(1) as u64)
}

/// Makes `socket` say which local address a datagram came to, when it arrived (CLOCK_REALTIME), and how many were
/// dropped before it.
pub fn describe_datagrams(socket: BorrowedFd<'_>) -> io::Result<()> {
    set(socket, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?;
    set(socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)?;
    set(socket, libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 1)
}

/// A receive buffer of `bytes`, beyond net.core.rmem_max where the process may.
pub fn set_receive_buffer(socket: BorrowedFd<'_>, bytes: i32) -> io::Result<()> {
    set(socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, bytes)
        .or_else(|_| set(socket, libc::SOL_SOCKET, libc::SO_RCVBUF, bytes))
}

fn set(socket: BorrowedFd<'_>, level: i32, option: i32, value: i32) -> io::Result<()> {
    // SAFETY: the kernel reads one int from a live reference.
    check(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            ptr::from_ref(&value).cast(),
            mem::size_of::<i32>() as libc::socklen_t,
        )
    })
}

fn check(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Control bytes aligned as `cmsghdr` wants them.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; CONTROL]);

/// One received datagram and what the kernel said about it.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    pub bytes: &'a [u8],
    /// The local IPv4 address it was sent to.
    pub local: Option<Ipv4Addr>,
    /// Arrival on CLOCK_REALTIME.
    pub arrived: Option<Duration>,
    /// Datagrams the socket has dropped so far.
    pub dropped: Option<u32>,
}

/// Buffers for one recvmmsg.
pub struct Inbox {
    data: Box<[[u8; DATAGRAM]; BATCH]>,
    control: Box<[Control; BATCH]>,
    lengths: [Lengths; BATCH],
}

/// What a system call used of one message's buffers.
#[derive(Clone, Copy, Default)]
struct Lengths {
    data: usize,
    name: libc::socklen_t,
    control: usize,
}

impl Default for Inbox {
    fn default() -> Inbox {
        Inbox {
            data: Box::new([[0; DATAGRAM]; BATCH]),
            control: Box::new([Control([0; CONTROL]); BATCH]),
            lengths: [Lengths::default(); BATCH],
        }
    }
}

impl Inbox {
    /// Takes up to [`BATCH`] waiting datagrams without blocking; 0 when none wait.
    pub fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        let mut iovecs = [libc::iovec { iov_base: ptr::null_mut(), iov_len: DATAGRAM }; BATCH];
        let mut headers = [NO_MESSAGE; BATCH];
        let buffers = self.data.iter_mut().zip(self.control.iter_mut());
        for (((data, control), iovec), header) in buffers.zip(&mut iovecs).zip(&mut headers) {
            iovec.iov_base = data.as_mut_ptr().cast();
            header.msg_hdr.msg_iov = iovec;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = control.0.as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = CONTROL;
        }
        let (first, count, flags) = (headers.as_mut_ptr(), BATCH as libc::c_uint, libc::MSG_DONTWAIT as _);
        // SAFETY: every header points to an iovec, a data and a control buffer that outlive the call and are borrowed
        // exclusively, with their true lengths.
        let got = unsafe { libc::recvmmsg(socket.as_raw_fd(), first, count, flags, ptr::null_mut()) };
        let Ok(got) = usize::try_from(got) else { return would_block(io::Error::last_os_error()) };
        for (lengths, header) in self.lengths.iter_mut().zip(&headers[..got]) {
            lengths.data = (header.msg_len as usize).min(DATAGRAM);
            lengths.control = header.msg_hdr.msg_controllen.min(CONTROL);
        }
        Ok(got)
    }

    /// Datagram `index` of the last batch.
    pub fn datagram(&self, index: usize) -> Received<'_> {
        let lengths = self.lengths[index];
        let bytes = &self.data[index][..lengths.data];
        let mut received = Received { bytes, local: None, arrived: None, dropped: None };
        for (level, kind, value) in ControlMessages(&self.control[index].0[..lengths.control]) {
            match (level, kind) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => received.local = value.get(8..12).map(ipv4),
                (libc::SOL_SOCKET, libc::SO_TIMESTAMPNS) => received.arrived = timespec(value),
                (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => received.dropped = native_u32(value),
                _ => {}
            }
        }
        received
    }
}

/// Walks control messages by their own lengths, with bounds checked by slices.
struct ControlMessages<'a>(&'a [u8]);

impl<'a> Iterator for ControlMessages<'a> {
    type Item = (i32, i32, &'a [u8]);

    fn next(&mut self) -> Option<(i32, i32, &'a [u8])> {
        const HEADER: usize = mem::size_of::<libc::cmsghdr>();
        let head = self.0.get(..HEADER)?;
        let word = |at: usize| head.get(at..at + 4).and_then(native_u32);
        let length = usize::from_ne_bytes(head.get(..8)?.try_into().ok()?);
        let value = self.0.get(HEADER..length)?;
        self.0 = self.0.get(length.next_multiple_of(8)..).unwrap_or(&[]);
        Some((word(8)? as i32, word(12)? as i32, value))
    }
}

fn ipv4(octets: &[u8]) -> Ipv4Addr {
    Ipv4Addr::new(octets[0], octets[1], octets[2], octets[3])
}

fn native_u32(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?))
}

fn timespec(bytes: &[u8]) -> Option<Duration> {
    let secs = i64::from_ne_bytes(bytes.get(..8)?.try_into().ok()?);
    let nanos = i64::from_ne_bytes(bytes.get(8..16)?.try_into().ok()?);
    Some(Duration::new(u64::try_from(secs).ok()?, u32::try_from(nanos).ok()?))
}

/// Datagrams collected for one sendmmsg.
pub struct Outbox {
    data: Box<[[u8; OUTGOING]; BATCH]>,
    control: Box<[Control; BATCH]>,
    names: Box<[libc::sockaddr_storage; BATCH]>,
    lengths: [Lengths; BATCH],
    waiting: usize,
}

impl Default for Outbox {
    fn default() -> Outbox {
        Outbox {
            data: Box::new([[0; OUTGOING]; BATCH]),
            control: Box::new([Control([0; CONTROL]); BATCH]),
            names: Box::new([NO_NAME; BATCH]),
            lengths: [Lengths::default(); BATCH],
            waiting: 0,
        }
    }
}

impl Outbox {
    pub fn is_full(&self) -> bool {
        self.waiting == BATCH
    }

    pub fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Datagrams collected.
    pub fn len(&self) -> usize {
        self.waiting
    }

    /// Adds a datagram of `length` bytes (at most [`OUTGOING`]) that `write` fills in, from local address `source` to `to`.
    /// Must not be full.
    pub fn push(&mut self, source: Option<Ipv4Addr>, to: SocketAddr, length: usize, write: impl FnOnce(&mut [u8])) {
        let at = self.waiting;
        write(&mut self.data[at][..length]);
        let name = write_name(&mut self.names[at], to);
        let control = source.map_or(0, |source| write_source(&mut self.control[at], source));
        self.lengths[at] = Lengths { data: length, name, control };
        self.waiting += 1;
    }

    /// Sends all that was collected and forgets it. Returns how many the kernel took; the rest are drops of ours.
    pub fn flush(&mut self, socket: BorrowedFd<'_>) -> usize {
        let mut iovecs = [libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 }; BATCH];
        let mut headers = [NO_MESSAGE; BATCH];
        for (at, (iovec, header)) in iovecs.iter_mut().zip(&mut headers).enumerate().take(self.waiting) {
            let lengths = self.lengths[at];
            *iovec = libc::iovec { iov_base: self.data[at].as_mut_ptr().cast(), iov_len: lengths.data };
            header.msg_hdr.msg_iov = iovec;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_name = ptr::from_mut(&mut self.names[at]).cast();
            header.msg_hdr.msg_namelen = lengths.name;
            header.msg_hdr.msg_control = self.control[at].0.as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = lengths.control;
        }
        let mut sent = 0;
        while sent < self.waiting {
            let (first, count) = (headers[sent..].as_mut_ptr(), (self.waiting - sent) as libc::c_uint);
            // SAFETY: the first `waiting` headers point to buffers that outlive the call and are borrowed exclusively,
            // with their true lengths; the kernel reads them and writes `msg_len`.
            let took = unsafe { libc::sendmmsg(socket.as_raw_fd(), first, count, libc::MSG_DONTWAIT as _) };
            match took {
                took if took > 0 => sent += took as usize,
                _ if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
                _ => break,
            }
        }
        self.waiting = 0;
        sent
    }
}

// SAFETY: all-zero bytes are a valid mmsghdr: null pointers with zero lengths.
const NO_MESSAGE: libc::mmsghdr = unsafe { mem::zeroed() };
// SAFETY: all-zero bytes are a valid sockaddr_storage: family "unspecified".
const NO_NAME: libc::sockaddr_storage = unsafe { mem::zeroed() };

/// Sends one datagram of any length from `source`.
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8], source: Option<Ipv4Addr>, to: SocketAddr) -> io::Result<()> {
    let mut name = NO_NAME;
    let mut control = Control([0; CONTROL]);
    let mut iovec = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let mut header = NO_MESSAGE.msg_hdr;
    header.msg_iov = &mut iovec;
    header.msg_iovlen = 1;
    header.msg_namelen = write_name(&mut name, to);
    header.msg_name = ptr::from_mut(&mut name).cast();
    header.msg_controllen = source.map_or(0, |source| write_source(&mut control, source));
    header.msg_control = control.0.as_mut_ptr().cast();
    // SAFETY: all pointers lead to locals and to `bytes`, which outlive the call; the kernel only reads them.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &header, libc::MSG_DONTWAIT) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn write_name(name: &mut libc::sockaddr_storage, address: SocketAddr) -> libc::socklen_t {
    match address {
        SocketAddr::V4(address) => {
            // SAFETY: sockaddr_storage is larger than, and aligned for, every sockaddr.
            unsafe { ptr::from_mut(name).cast::<libc::sockaddr_in>().write(sockaddr_v4(address)) };
            mem::size_of::<libc::sockaddr_in>() as libc::socklen_t
        }
        SocketAddr::V6(address) => {
            // SAFETY: as above.
            unsafe { ptr::from_mut(name).cast::<libc::sockaddr_in6>().write(sockaddr_v6(address)) };
            mem::size_of::<libc::sockaddr_in6>() as libc::socklen_t
        }
    }
}

fn sockaddr_v4(address: SocketAddrV4) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: address.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.ip().octets()) },
        sin_zero: [0; 8],
    }
}

fn sockaddr_v6(address: SocketAddrV6) -> libc::sockaddr_in6 {
    libc::sockaddr_in6 {
        sin6_family: libc::AF_INET6 as libc::sa_family_t,
        sin6_port: address.port().to_be(),
        sin6_flowinfo: address.flowinfo(),
        sin6_addr: libc::in6_addr { s6_addr: address.ip().octets() },
        sin6_scope_id: address.scope_id(),
    }
}

/// One IP_PKTINFO message that names the source address; returns its length with padding.
fn write_source(control: &mut Control, source: Ipv4Addr) -> usize {
    const HEADER: usize = mem::size_of::<libc::cmsghdr>();
    const INFO: usize = mem::size_of::<libc::in_pktinfo>();
    let bytes = &mut control.0;
    bytes[..8].copy_from_slice(&(HEADER + INFO).to_ne_bytes());
    bytes[8..12].copy_from_slice(&libc::IPPROTO_IP.to_ne_bytes());
    bytes[12..16].copy_from_slice(&libc::IP_PKTINFO.to_ne_bytes());
    bytes[16..20].fill(0); // any interface
    bytes[20..24].copy_from_slice(&source.octets()); // ipi_spec_dst: where it leaves from
    bytes[24..28].fill(0);
    (HEADER + INFO).next_multiple_of(8)
}

fn would_block(error: io::Error) -> io::Result<usize> {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(0),
        _ => Err(error),
    }
}

/// Waits for any of many descriptors; each has a number of the caller's choice.
pub struct Epoll {
    fd: OwnedFd,
    events: Vec<libc::epoll_event>,
}

impl Epoll {
    pub fn new() -> io::Result<Epoll> {
        // SAFETY: no pointers.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        check(fd)?;
        Ok(Epoll { fd: own(fd), events: vec![libc::epoll_event { events: 0, u64: 0 }; BATCH] })
    }

    /// Reports `fd` as `token` while it is readable; closing it ends that.
    pub fn add(&self, fd: BorrowedFd<'_>, token: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: token };
        // SAFETY: both descriptors are open and `event` outlives the call.
        check(unsafe { libc::epoll_ctl(self.fd.as_raw_fd(), libc::EPOLL_CTL_ADD, fd.as_raw_fd(), &mut event) })
    }

    /// The tokens of readable descriptors, after at most `timeout_ms` (−1: for ever, 0: at once).
    pub fn wait(&mut self, timeout_ms: i32) -> impl Iterator<Item = u64> + '_ {
        let (events, room) = (self.events.as_mut_ptr(), self.events.len() as i32);
        // SAFETY: `events` has room for as many entries as are said.
        let ready = unsafe { libc::epoll_wait(self.fd.as_raw_fd(), events, room, timeout_ms) };
        self.events.iter().take(ready.max(0) as usize).map(|event| event.u64)
    }
}

/// A counter another thread can raise to wake a waiter.
pub struct EventFd(OwnedFd);

impl EventFd {
    pub fn new() -> io::Result<EventFd> {
        // SAFETY: no pointers.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        check(fd)?;
        Ok(EventFd(own(fd)))
    }

    pub fn raise(&self) {
        let one = 1u64;
        // SAFETY: eight readable bytes. A full counter already wakes the waiter, so the result does not matter.
        unsafe { libc::write(self.0.as_raw_fd(), ptr::from_ref(&one).cast(), 8) };
    }

    pub fn clear(&self) {
        let mut count = 0u64;
        // SAFETY: eight writable bytes. An empty counter is what we want, so the result does not matter.
        unsafe { libc::read(self.0.as_raw_fd(), ptr::from_mut(&mut count).cast(), 8) };
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        std::os::fd::AsFd::as_fd(&self.0)
    }
}

fn own(fd: RawFd) -> OwnedFd {
    // SAFETY: `fd` was just returned by the kernel and nobody else has it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{
        net::{IpAddr, UdpSocket},
        os::fd::AsFd,
    };

    use super::*;

    #[test]
    fn one_socket_speaks_for_many_loopback_addresses() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let client = UdpSocket::bind("0.0.0.0:0").unwrap();
        describe_datagrams(client.as_fd()).unwrap();
        let to = server.local_addr().unwrap();
        let mut outbox = Outbox::default();
        for last in [7, 8] {
            outbox.push(Some(Ipv4Addr::new(127, 9, 9, last)), to, 4, |bytes| bytes.fill(last));
        }
        assert_eq!(outbox.flush(client.as_fd()), 2);
        send(client.as_fd(), b"nine", Some(Ipv4Addr::new(127, 9, 9, 9)), to).unwrap();
        let mut buffer = [0; 64];
        for last in [7, 8, 9] {
            let (_, from) = server.recv_from(&mut buffer).unwrap();
            assert_eq!(from.ip(), IpAddr::from([127, 9, 9, last]));
            server.send_to(&[last], from).unwrap();
        }
        let mut inbox = Inbox::default();
        assert_eq!(inbox.receive(client.as_fd()).unwrap(), 3);
        for (index, last) in [7, 8, 9].into_iter().enumerate() {
            let received = inbox.datagram(index);
            assert_eq!(received.bytes, [last]);
            assert_eq!(received.local, Some(Ipv4Addr::new(127, 9, 9, last)));
            assert!(received.arrived.is_some());
        }
        assert_eq!(inbox.receive(client.as_fd()).unwrap(), 0);
    }

    #[test]
    fn an_event_wakes_the_waiter_once() {
        let (mut epoll, event) = (Epoll::new().unwrap(), EventFd::new().unwrap());
        epoll.add(event.fd(), 9).unwrap();
        assert_eq!(epoll.wait(0).count(), 0);
        event.raise();
        assert_eq!(epoll.wait(0).collect::<Vec<_>>(), [9]);
        event.clear();
        assert_eq!(epoll.wait(0).count(), 0);
    }
}
