//! The five-tuple: what a client is to this server (RFC 8656 §2).

use std::fmt;
use std::net::SocketAddr;

/// How a client reaches this server. Streams (TCP, TLS) join in a later issue as five-tuples whose datagrams arrive through a channel.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Transport {
    Udp,
}

/// Client address, our address, transport, and the listener between them. An allocation belongs to exactly one of these.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct FiveTuple {
    /// Index of the listening socket in the settings' order; the same for every worker of one address.
    pub listener: u16,
    pub transport: Transport,
    /// The address the client sent to (IP_PKTINFO on a wildcard listener): replies leave from it.
    pub local: SocketAddr,
    /// The client.
    pub remote: SocketAddr,
}

/// The way back to a client: its five-tuple, read from our side. Any worker may send along it.
pub type ClientPath = FiveTuple;

impl fmt::Debug for FiveTuple {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FiveTuple(listener {}, {:?}, [redacted])", self.listener, self.transport)
    }
}
