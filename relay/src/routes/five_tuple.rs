//! The five-tuple: what a client is to this server (RFC 8656 §2).

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::SocketAddr;

/// How a client reaches this server. A stream is a five-tuple whose datagrams arrive through a connection; which one is part
/// of the five-tuple, so that nothing meant for one connection reaches the next one from the same address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Transport {
    Udp,
    Tcp(Connection),
    Tls(Connection),
}

/// A connection of a stream client: the worker that owns it, and its number there.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Connection {
    pub worker: u16,
    /// Never the same for two connections that follow each other closely.
    pub number: u32,
}

/// Client address, our address, transport, and the listener between them. An allocation belongs to exactly one of these.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FiveTuple {
    /// Index of the listening socket in the settings' order, of its transport; the same for every worker of one address.
    pub listener: u16,
    pub transport: Transport,
    /// The address the client sent to (IP_PKTINFO on a wildcard listener): replies leave from it.
    pub local: SocketAddr,
    /// The client.
    pub remote: SocketAddr,
}

/// The way back to a client: its five-tuple, read from our side. Any worker may send along it.
pub type ClientPath = FiveTuple;

impl Transport {
    /// The connection, over TCP or TLS.
    pub fn connection(self) -> Option<Connection> {
        match self {
            Transport::Udp => None,
            Transport::Tcp(connection) | Transport::Tls(connection) => Some(connection),
        }
    }

    /// TCP or TLS: the client's address is proved by its handshake, and messages are never lost or reordered.
    pub fn is_stream(self) -> bool {
        self.connection().is_some()
    }

    fn name(self) -> &'static str {
        match self {
            Transport::Udp => "udp",
            Transport::Tcp(_) => "tcp",
            Transport::Tls(_) => "tls",
        }
    }
}

impl fmt::Debug for FiveTuple {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FiveTuple(listener {}, {}, [redacted])", self.listener, self.transport.name())
    }
}

/// Every packet is looked up by its five-tuple: a few whole words instead of the many small pieces of the derived hash.
impl Hash for FiveTuple {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash_address(&self.remote, state);
        hash_address(&self.local, state);
        match self.transport {
            Transport::Udp => state.write_u32(u32::from(self.listener) << 8),
            Transport::Tcp(connection) => state.write_u64(u64::from(connection.number) << 32 | 1),
            Transport::Tls(connection) => state.write_u64(u64::from(connection.number) << 32 | 2),
        }
    }
}

fn hash_address<H: Hasher>(address: &SocketAddr, state: &mut H) {
    match address {
        SocketAddr::V4(v4) => state.write_u64(u64::from(v4.ip().to_bits()) << 16 | u64::from(v4.port())),
        SocketAddr::V6(v6) => {
            state.write_u128(v6.ip().to_bits());
            state.write_u16(v6.port());
        }
    }
}
