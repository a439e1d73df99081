//! Whose datagrams go through which socket.
//!
//! Towards a loopback target a few sockets speak for everybody: each caller has an address of its own in 127.0.0.0/8,
//! chosen per datagram (IP_PKTINFO), so that descriptors do not limit callers and one sendmmsg serves many. Towards any
//! other target a caller has a socket of its own.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    os::fd::AsFd,
    sync::Arc,
};

use crate::sys;

/// Sockets that speak for all callers of a loopback target.
pub const SHARED: usize = 2;
/// Receive buffer of a shared socket: a second of 1 000 calls.
const SHARED_RECEIVE_BUFFER: i32 = 64 << 20;
/// The first caller's address; 127.0.0.0/16 is left to servers.
const FIRST_ADDRESS: u32 = 0x7F01_0000;
/// Addresses before they are used again.
const ADDRESSES: u32 = 0x00FE_0000;

/// The sockets every run has.
pub struct Sockets {
    shared: Vec<UdpSocket>,
}

/// Where one caller's datagrams leave from and arrive at.
#[derive(Clone, Debug)]
pub enum Source {
    Shared { lane: usize, address: Ipv4Addr },
    Own { number: u32, socket: Arc<UdpSocket> },
}

/// Names a source among all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub u64);

const OWN: u64 = 1 << 63;

impl Sockets {
    pub fn open() -> io::Result<Sockets> {
        let shared = (0..SHARED).map(|_| {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            sys::describe_datagrams(socket.as_fd())?;
            sys::set_receive_buffer(socket.as_fd(), SHARED_RECEIVE_BUFFER)?;
            Ok(socket)
        });
        Ok(Sockets { shared: shared.collect::<io::Result<_>>()? })
    }

    pub fn shared(&self) -> &[UdpSocket] {
        &self.shared
    }

    /// A source for caller `number` towards `server`.
    pub fn source(&self, number: u32, server: SocketAddr) -> io::Result<Source> {
        if let Some(address) = loopback_address(number, server.ip()) {
            return Ok(Source::Shared { lane: number as usize % SHARED, address });
        }
        let unspecified: IpAddr =
            if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind((unspecified, 0))?;
        socket.connect(server)?;
        Source::of_socket(number, socket)
    }

    /// Sends one datagram at once, from any thread.
    pub fn send(&self, source: &Source, bytes: &[u8], server: SocketAddr) -> io::Result<()> {
        match source {
            Source::Shared { lane, address } => sys::send(self.shared[*lane].as_fd(), bytes, Some(*address), server),
            Source::Own { socket, .. } => socket.send(bytes).map(drop),
        }
    }
}

impl Source {
    /// A connected socket that is caller `number`'s alone.
    pub fn of_socket(number: u32, socket: UdpSocket) -> io::Result<Source> {
        if socket.local_addr()?.is_ipv4() {
            sys::describe_datagrams(socket.as_fd())?;
        }
        Ok(Source::Own { number, socket: Arc::new(socket) })
    }

    pub fn key(&self) -> Key {
        match self {
            Source::Shared { lane, address } => shared_key(*lane, *address),
            Source::Own { number, .. } => Key(OWN | u64::from(*number)),
        }
    }
}

impl Key {
    /// Whether this source has a socket of its own.
    pub fn is_own(self) -> bool {
        self.0 & OWN != 0
    }
}

/// The key of what came to `address` through shared socket `lane`.
pub fn shared_key(lane: usize, address: Ipv4Addr) -> Key {
    Key((lane as u64) << 32 | u64::from(address.to_bits()))
}

/// The address caller `number` has towards a server on the IPv4 loopback network; none towards any other.
pub fn loopback_address(number: u32, server: IpAddr) -> Option<Ipv4Addr> {
    let local = matches!(server, IpAddr::V4(v4) if v4.is_loopback());
    local.then(|| Ipv4Addr::from_bits(FIRST_ADDRESS + number % ADDRESSES))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn callers_of_a_loopback_target_differ_in_address_and_share_sockets() {
        let sockets = Sockets::open().unwrap();
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = server.local_addr().unwrap();
        let sources: Vec<Source> = (0..40).map(|number| sockets.source(number, to).unwrap()).collect();
        let mut seen = std::collections::HashSet::new();
        for source in &sources {
            sockets.send(source, b"x", to).unwrap();
            seen.insert(server.recv_from(&mut [0; 8]).unwrap().1);
        }
        assert_eq!(seen.len(), 40);
        assert_eq!(seen.iter().map(SocketAddr::port).collect::<std::collections::HashSet<_>>().len(), SHARED);
    }

    #[test]
    fn addresses_stay_in_the_loopback_network_and_clear_of_servers() {
        let server = IpAddr::from([127, 0, 0, 1]);
        for number in [0, 1, ADDRESSES - 1, ADDRESSES, u32::MAX] {
            let address = loopback_address(number, server).unwrap();
            assert!(address.is_loopback() && address.octets()[1] != 0 && address != Ipv4Addr::new(127, 255, 255, 255));
        }
        assert_eq!(loopback_address(1, IpAddr::from([192, 0, 2, 1])), None);
    }
}
