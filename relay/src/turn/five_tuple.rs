//! The five-tuple: what a client is to this server (RFC 8656 §2).

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::SocketAddr;

/// How a client reaches this server. Streams (TCP, TLS) join in a later issue as five-tuples whose datagrams arrive through a channel.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Transport {
    Udp,
}

/// Client address, our address, transport, and the listener between them. An allocation belongs to exactly one of these.
#[derive(Clone, Copy, PartialEq, Eq)]
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

/// Every packet is looked up by its five-tuple: a few whole words instead of the many small pieces of the derived hash.
impl Hash for FiveTuple {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash_address(&self.remote, state);
        hash_address(&self.local, state);
        state.write_u32(u32::from(self.listener) << 8 | self.transport as u32);
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
