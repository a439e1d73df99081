//! The ways in to a daemon.

use crate::Daemon;
use std::net::SocketAddr;

/// How a client talks to the relay, and over which IP version.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    Udp,
    Tcp,
    Tls,
    Udp6,
    Tcp6,
    Tls6,
}

impl Transport {
    /// Every one of them.
    pub const ALL: [Transport; 6] =
        [Transport::Udp, Transport::Tcp, Transport::Tls, Transport::Udp6, Transport::Tcp6, Transport::Tls6];

    pub fn is_stream(self) -> bool {
        !matches!(self, Transport::Udp | Transport::Udp6)
    }

    pub fn is_tls(self) -> bool {
        matches!(self, Transport::Tls | Transport::Tls6)
    }

    pub fn is_ipv6(self) -> bool {
        matches!(self, Transport::Udp6 | Transport::Tcp6 | Transport::Tls6)
    }

    /// The listener of the daemon for it.
    pub fn listener(self, daemon: &Daemon) -> SocketAddr {
        let all = match self {
            Transport::Udp | Transport::Udp6 => daemon.turns(),
            Transport::Tcp | Transport::Tcp6 => daemon.tcps(),
            Transport::Tls | Transport::Tls6 => daemon.tlss(),
        };
        let found = all.iter().find(|address| address.is_ipv6() == self.is_ipv6());
        *found.unwrap_or_else(|| panic!("this daemon has no listener for {self:?}"))
    }
}
