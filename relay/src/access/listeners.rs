//! Where this server itself listens, as a question the data path can afford to ask.

use std::net::{IpAddr, SocketAddr};

use super::canonical;

const WORDS: usize = 65_536 / 64;

/// This server's own addresses and listeners.
pub(super) struct Own {
    listeners: Vec<(IpAddr, u16)>,
    addresses: Vec<IpAddr>,
    /// One bit for each port somebody of ours listens on.
    ports: Box<[u64; WORDS]>,
}

impl Own {
    pub(super) fn new(listeners: &[SocketAddr], addresses: &[IpAddr]) -> Own {
        let mut ports = Box::new([0; WORDS]);
        for listener in listeners {
            ports[usize::from(listener.port() / 64)] |= 1u64 << (listener.port() % 64);
        }
        Own {
            listeners: listeners.iter().map(|addr| (canonical(addr.ip()), addr.port())).collect(),
            addresses: addresses.iter().copied().map(canonical).collect(),
            ports,
        }
    }

    /// Whether a packet to this canonical address would arrive at a listener of ours. The unspecified address is always one
    /// of ours: the kernel takes it for loopback.
    #[inline]
    pub(super) fn listens(&self, ip: IpAddr, port: u16) -> bool {
        ip.is_unspecified() || self.has_port(port) && self.listens_exactly(ip, port)
    }

    /// Whether the canonical address is one of this machine.
    pub(super) fn is_address(&self, ip: IpAddr) -> bool {
        self.addresses.contains(&ip)
    }

    fn has_port(&self, port: u16) -> bool {
        self.ports[usize::from(port / 64)] & 1 << (port % 64) != 0
    }

    /// An own address counts for every listener of that port, since behind a one-to-one NAT they are the same machine.
    fn listens_exactly(&self, ip: IpAddr, port: u16) -> bool {
        self.listeners.iter().filter(|(_, listening)| *listening == port).any(|(listener, _)| {
            *listener == ip || self.is_address(ip) || (listener.is_unspecified() && ip.is_loopback())
        })
    }
}
