//! Opening the UDP sockets: listeners, shared by the workers through SO_REUSEPORT, and relayed sockets.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use socket2::{Domain, Protocol, Socket, Type};

use super::sys;

/// A worker's socket for one configured listener address.
pub(super) struct Listener {
    pub(super) socket: OwnedFd,
    /// As bound: port 0 is resolved, an unspecified address is not.
    pub(super) address: SocketAddr,
    /// Bound to every address: datagrams say which one they came to, and replies leave from it.
    pub(super) wildcard: bool,
}

/// Why the listeners could not be opened. Names the address and what to do.
#[derive(Debug)]
pub struct BindError {
    /// The configured address; `None` if the trouble came before any.
    pub address: Option<SocketAddr>,
    pub source: io::Error,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(address) = self.address else {
            return write!(f, "cannot start the UDP workers: {}", self.source);
        };
        write!(f, "cannot listen on udp {address}: ")?;
        let port = address.port();
        match self.source.raw_os_error() {
            Some(libc::EADDRINUSE) => write!(
                f,
                "port {port} is in use. Find who holds it with `ss -ulpn 'sport = :{port}'` and stop it, or change [listen] udp"
            ),
            Some(libc::EADDRNOTAVAIL) => {
                f.write_str("this machine has no such address. `ip -br address` lists what it has; change [listen] udp")
            }
            Some(libc::EACCES) => write!(
                f,
                "no right to use port {port}. Grant CAP_NET_BIND_SERVICE (systemd: AmbientCapabilities), or choose a port from 1024 up in [listen] udp"
            ),
            Some(libc::EMFILE) => f.write_str("too few file descriptors. Raise `ulimit -n` (systemd: LimitNOFILE)"),
            Some(libc::EAFNOSUPPORT) => {
                f.write_str("this machine does not speak that IP version. Remove the address from [listen] udp")
            }
            _ => write!(f, "{}. See [listen] udp", self.source),
        }
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// Opens one socket for each of `workers` on `address`. Port 0 is chosen once and shared.
/// `inherited` are bound to it already and come first.
pub(super) fn open_listeners(
    address: SocketAddr,
    workers: usize,
    receive_buffer_bytes: usize,
    inherited: Vec<OwnedFd>,
) -> Result<Vec<Listener>, BindError> {
    let (mut bound, mut inherited) = (address, inherited.into_iter());
    (0..workers)
        .map(|worker| {
            let share = workers > 1;
            let listener = match inherited.next() {
                Some(socket) => adopt_listener(socket.into(), bound, share, receive_buffer_bytes)?,
                None => open_listener(bound, worker == 0, share, receive_buffer_bytes)?,
            };
            bound = listener.address;
            Ok(listener)
        })
        .collect::<io::Result<_>>()
        .map_err(|source| BindError { address: Some(address), source })
}

/// The first socket binds without SO_REUSEPORT and allows sharing only afterwards. Otherwise a second server of the
/// same user would silently take half of our clients instead of being told that the port is in use. A worker alone shares with
/// nobody: the kernel then need not choose among sockets for each datagram.
fn open_listener(address: SocketAddr, first: bool, share: bool, receive_buffer_bytes: usize) -> io::Result<Listener> {
    let socket = open(address)?;
    if !first {
        socket.set_reuse_port(true)?;
    }
    grow_receive_buffer(&socket, receive_buffer_bytes)?;
    let wildcard = says_where_to(&socket, address)?;
    socket.bind(&address.into())?;
    if first && share {
        socket.set_reuse_port(true)?;
    }
    let address = socket.local_addr()?.as_socket().unwrap_or(address);
    Ok(Listener { socket: socket.into(), address, wildcard })
}

/// The same of a socket that was bound by somebody else.
fn adopt_listener(
    socket: Socket,
    address: SocketAddr,
    share: bool,
    receive_buffer_bytes: usize,
) -> io::Result<Listener> {
    socket.set_nonblocking(true)?;
    hear_what_came_beside(&socket, address)?;
    grow_receive_buffer(&socket, receive_buffer_bytes)?;
    let wildcard = says_where_to(&socket, address)?;
    if share {
        socket.set_reuse_port(true)?;
    }
    Ok(Listener { socket: socket.into(), address, wildcard })
}

/// A socket bound to every address is asked to say which one each datagram came to. Whether it is one.
fn says_where_to(socket: &Socket, address: SocketAddr) -> io::Result<bool> {
    let wildcard = address.ip().is_unspecified();
    if wildcard {
        let (level, option) = match address {
            SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_PKTINFO),
            SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
        };
        sys::set_option(socket.as_fd(), level, option, 1)?;
    }
    Ok(wildcard)
}

/// Opens a real relayed socket, which hears of ICMP errors (RFC 8656 §11.5). Its receive buffer stays at `receive_buffer_bytes`: it serves one allocation.
pub(super) fn open_relayed(address: SocketAddr, receive_buffer_bytes: usize) -> io::Result<OwnedFd> {
    let socket = open(address)?;
    socket.set_recv_buffer_size(receive_buffer_bytes)?;
    // There may be thousands, too many to ask each now and then: the datagrams themselves tell what was lost before them.
    sys::set_option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 1)?;
    hear_errors(socket.as_fd(), address.is_ipv6(), true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// A socket for one client alone, beside the `listener` it has come by. Between its bind and its connect it takes what is meant for others:
/// microseconds, and they are read like its own.
pub(super) fn open_connected(
    listener: BorrowedFd<'_>,
    local: SocketAddr,
    remote: SocketAddr,
    receive_buffer_bytes: usize,
) -> io::Result<OwnedFd> {
    // A worker alone shares with nobody until now.
    socket2::SockRef::from(&listener).set_reuse_port(true)?;
    let socket = open(local)?;
    socket.set_reuse_port(true)?;
    socket.set_recv_buffer_size(receive_buffer_bytes)?;
    socket.bind(&local.into())?;
    socket.connect(&remote.into())?;
    Ok(socket.into())
}

/// Whether the socket queues what ICMP says about its datagrams. Turning that off forgets what waits.
pub(super) fn hear_errors(socket: BorrowedFd<'_>, ipv6: bool, hear: bool) -> io::Result<()> {
    let (level, option) =
        if ipv6 { (libc::IPPROTO_IPV6, libc::IPV6_RECVERR) } else { (libc::IPPROTO_IP, libc::IP_RECVERR) };
    sys::set_option(socket, level, option, hear.into())
}

/// Whether datagrams may be fragmented, on this machine or on the way. Forbidden, they leave with DF set (IPv6 has no such bit
/// and no fragments made on the way) if the interface carries them whole; what earlier ICMP errors said of the path does not
/// count, so that a client who probes it gets each answer itself.
pub(super) fn allow_fragments(socket: BorrowedFd<'_>, ipv6: bool, allow: bool) -> io::Result<()> {
    let (level, option, mode) = match (ipv6, allow) {
        // DF is 0 (RFC 8656 §14, §15), and nobody who forges ICMP makes us send crumbs.
        (false, true) => (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_OMIT),
        (false, false) => (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_PROBE),
        (true, true) => (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_WANT),
        (true, false) => (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_PROBE),
    };
    sys::set_option(socket, level, option, mode)
}

/// Whether the kernel says DSCP and ECN of each datagram the socket receives.
pub(super) fn hear_marks(socket: BorrowedFd<'_>, ipv6: bool, hear: bool) -> io::Result<()> {
    let (level, option) =
        if ipv6 { (libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS) } else { (libc::IPPROTO_IP, libc::IP_RECVTOS) };
    sys::set_option(socket, level, option, hear.into())
}

/// Non-blocking, closed on exec, one IP version only, told about DSCP and ECN of each datagram, and sending
/// what may be fragmented.
fn open(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM.nonblocking().cloexec(), Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    hear_what_came_beside(&socket, address)?;
    Ok(socket)
}

fn hear_what_came_beside(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    hear_marks(socket.as_fd(), address.is_ipv6(), true)?;
    allow_fragments(socket.as_fd(), address.is_ipv6(), true)
}

/// Beyond net.core.rmem_max if we have the right to, else up to it.
fn grow_receive_buffer(socket: &Socket, bytes: usize) -> io::Result<()> {
    let value = i32::try_from(bytes).unwrap_or(i32::MAX);
    match sys::set_option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, value) {
        Ok(()) => Ok(()),
        Err(_) => socket.set_recv_buffer_size(bytes),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn error(code: i32) -> String {
        BindError { address: Some("192.0.2.1:3478".parse().unwrap()), source: io::Error::from_raw_os_error(code) }
            .to_string()
    }

    #[test]
    fn a_bind_error_names_the_address_and_a_way_out() {
        for (code, fix) in
            [(libc::EADDRINUSE, "ss -ulpn 'sport = :3478'"), (libc::EADDRNOTAVAIL, "ip -br"), (libc::EACCES, "CAP_NET")]
        {
            let text = error(code);
            assert!(text.contains("192.0.2.1:3478") && text.contains(fix) && text.contains("[listen] udp"), "{text}");
        }
    }

    #[test]
    fn an_address_that_is_not_ours_is_refused() {
        let refused = open_listeners("192.0.2.77:0".parse().unwrap(), 1, 4096, Vec::new()).err().unwrap();
        assert_eq!(refused.source.raw_os_error(), Some(libc::EADDRNOTAVAIL));
    }

    #[test]
    fn every_worker_gets_the_same_port() {
        let listeners = open_listeners("127.0.0.1:0".parse().unwrap(), 3, 4096, Vec::new()).unwrap();
        assert_ne!(listeners[0].address.port(), 0);
        assert!(listeners.iter().all(|listener| listener.address == listeners[0].address));
    }

    #[test]
    fn a_second_server_of_the_same_user_is_told_that_the_port_is_in_use() {
        let held = open_listeners("127.0.0.1:0".parse().unwrap(), 2, 4096, Vec::new()).unwrap();
        let refused = open_listeners(held[0].address, 2, 4096, Vec::new()).err().unwrap();
        assert_eq!(refused.source.raw_os_error(), Some(libc::EADDRINUSE));
    }

    #[test]
    fn listeners_get_the_receive_buffer_they_ask_for() {
        let four_mib = 4 << 20;
        let listeners = open_listeners("127.0.0.1:0".parse().unwrap(), 1, four_mib, Vec::new()).unwrap();
        let granted = socket2::SockRef::from(&listeners[0].socket).recv_buffer_size().unwrap();
        let limit: usize = std::fs::read_to_string("/proc/sys/net/core/rmem_max").unwrap().trim().parse().unwrap();
        assert!(granted >= four_mib.min(limit), "{granted}");
    }

    #[test]
    fn an_inherited_socket_is_used_and_the_other_workers_join_it() {
        let bound = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = bound.local_addr().unwrap();
        let listeners = open_listeners(address, 2, 4096, vec![bound.into()]).unwrap();
        assert!(listeners.len() == 2 && listeners.iter().all(|listener| listener.address == address));
    }
}
