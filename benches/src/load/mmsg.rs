//! recvmmsg and sendmmsg on the same messages, IPv4, as thin as it gets. Deliberately not the relay's own code: the
//! yardstick must not change when the relay does.
#![allow(unsafe_code)] // the standard library has neither call

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::ops::Range;
use std::os::fd::AsRawFd;

const CONTROL_WORDS: usize = 4; // CMSG_SPACE(struct in_pktinfo) = 32 bytes

pub(crate) struct Mmsg {
    bytes: Vec<u8>,
    stride: usize,
    names: Vec<libc::sockaddr_in>,
    controls: Vec<[u64; CONTROL_WORDS]>,
    iovecs: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
}

impl Mmsg {
    pub(crate) fn new(messages: usize, stride: usize) -> Mmsg {
        let mut bytes = vec![0u8; messages * stride];
        // SAFETY: plain C structures; all zeroes are a valid value of each.
        let (name, header): (libc::sockaddr_in, libc::mmsghdr) = unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
        let mut names = vec![name; messages];
        let mut iovecs: Vec<libc::iovec> = (0..messages)
            .map(|i| libc::iovec { iov_base: bytes.as_mut_ptr().wrapping_add(i * stride).cast(), iov_len: stride })
            .collect();
        let mut headers = vec![header; messages];
        for (i, header) in headers.iter_mut().enumerate() {
            header.msg_hdr.msg_name = names.as_mut_ptr().wrapping_add(i).cast();
            header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_in>() as u32;
            header.msg_hdr.msg_iov = iovecs.as_mut_ptr().wrapping_add(i);
            header.msg_hdr.msg_iovlen = 1;
        }
        Mmsg { bytes, stride, names, controls: vec![[0; CONTROL_WORDS]; messages], iovecs, headers }
    }

    pub(crate) fn capacity(&self) -> usize {
        self.headers.len()
    }

    /// Receives into the first messages: waits for one, or takes what is there.
    pub(crate) fn receive(&mut self, socket: &UdpSocket, wait: bool) -> io::Result<usize> {
        self.receive_at(0..self.capacity(), socket, wait)
    }

    /// Receives into these messages.
    pub(crate) fn receive_at(&mut self, slots: Range<usize>, socket: &UdpSocket, wait: bool) -> io::Result<usize> {
        let flags = if wait { libc::MSG_WAITFORONE } else { libc::MSG_DONTWAIT };
        let headers = &mut self.headers[slots];
        let count = headers.len() as u32;
        // SAFETY: every header points at one name, one iovec and one piece of `bytes`, owned by `self` and disjoint.
        let received = unsafe {
            libc::recvmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), count, flags as _, std::ptr::null_mut())
        };
        usize::try_from(received).map_err(|_| io::Error::last_os_error())
    }

    pub(crate) fn received(&self, i: usize) -> &[u8] {
        &self.bytes[i * self.stride..][..self.headers[i].msg_len as usize]
    }

    /// Who sent a received message.
    pub(crate) fn from(&self, i: usize) -> SocketAddrV4 {
        let name = &self.names[i];
        SocketAddrV4::new(Ipv4Addr::from(u32::from_be(name.sin_addr.s_addr)), u16::from_be(name.sin_port))
    }

    /// Turns a received message into one to `to`, as it is.
    pub(crate) fn forward(&mut self, i: usize, to: SocketAddrV4) {
        let name = &mut self.names[i];
        name.sin_addr.s_addr = u32::from(*to.ip()).to_be();
        name.sin_port = to.port().to_be();
        self.iovecs[i].iov_len = self.headers[i].msg_len as usize;
    }

    /// Makes message `i` one of `length` bytes to `to`, from wherever the kernel likes.
    pub(crate) fn address(&mut self, i: usize, to: SocketAddrV4, length: usize) {
        self.names[i].sin_family = libc::AF_INET as u16;
        self.names[i].sin_addr.s_addr = u32::from(*to.ip()).to_be();
        self.names[i].sin_port = to.port().to_be();
        self.iovecs[i].iov_len = length;
    }

    /// Makes message `i` one from `source` to `to`; `fill` writes it and answers its length.
    pub(crate) fn write(
        &mut self,
        i: usize,
        source: Ipv4Addr,
        to: SocketAddrV4,
        fill: impl FnOnce(&mut [u8]) -> usize,
    ) {
        self.names[i].sin_family = libc::AF_INET as u16;
        self.names[i].sin_addr.s_addr = u32::from(*to.ip()).to_be();
        self.names[i].sin_port = to.port().to_be();
        self.iovecs[i].iov_len = fill(&mut self.bytes[i * self.stride..][..self.stride]);
        // struct cmsghdr { 28, IPPROTO_IP, IP_PKTINFO } and struct in_pktinfo { 0, source, 0 }
        let kind = (libc::IP_PKTINFO as u64) << 32 | libc::IPPROTO_IP as u64;
        self.controls[i] = [28, kind, u64::from(u32::from(source).to_be()) << 32, 0];
        let header = &mut self.headers[i].msg_hdr;
        header.msg_control = self.controls.as_mut_ptr().wrapping_add(i).cast();
        header.msg_controllen = size_of::<[u64; CONTROL_WORDS]>() as _;
    }

    /// Sends the first `count` messages; answers how many left.
    pub(crate) fn send(&mut self, socket: &UdpSocket, count: usize) -> usize {
        self.send_at(0..count, socket)
    }

    /// Sends these messages.
    pub(crate) fn send_at(&mut self, slots: Range<usize>, socket: &UdpSocket) -> usize {
        let headers = &mut self.headers[slots];
        let mut sent = 0;
        while sent < headers.len() {
            let rest = &mut headers[sent..];
            // SAFETY: as for `receive`; the control buffers are owned by `self` too.
            let done = unsafe { libc::sendmmsg(socket.as_raw_fd(), rest.as_mut_ptr(), rest.len() as u32, 0) };
            if done <= 0 {
                break;
            }
            sent += done as usize;
        }
        sent
    }

    /// Makes these messages ready to receive again after they were forwarded.
    pub(crate) fn reset(&mut self, slots: Range<usize>) {
        for i in slots {
            self.iovecs[i].iov_len = self.stride;
            self.headers[i].msg_hdr.msg_namelen = size_of::<libc::sockaddr_in>() as u32;
        }
    }
}

/// Sets SO_RCVBUFFORCE, else SO_RCVBUF.
pub(crate) fn grow_receive_buffer(socket: &UdpSocket, bytes: i32) {
    for option in [libc::SO_RCVBUF, libc::SO_RCVBUFFORCE] {
        let len = size_of::<i32>() as u32;
        // SAFETY: pointer and length describe `bytes`. Without the right to exceed rmem_max the second call changes nothing.
        unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, (&raw const bytes).cast(), len) };
    }
}
