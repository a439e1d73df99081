//! TCP allocations (RFC 6062): connections to and from peers, each joined to a connection of its client.
//!
//! A connection's way: asked for by the client ([`connect`]) or come to the relayed transport address
//! ([`Connections::admit_peer`]), it waits under its CONNECTION-ID until the client names that on a new connection of its own
//! ([`bind`]). From there on the edge passes bytes, and nobody here sees them.
//!
//! What is open stands in [`Connections`], which all workers and the edge share: the connection that names an id may belong
//! to another worker than the allocation. All of it is off the packet path.
//!
//! Permissions let peers come in (§5.3). What the client itself opens is judged by the policy alone (§5.2), and a permission
//! that ends leaves connections that exist alone. Call-bound credentials have no TCP allocations.

mod bind;
mod connect;
mod counters;
mod table;

use std::fmt;
use std::net::SocketAddr;

use super::peer::Peer;
use super::reject::Reject;
use super::settings::Settings;
use super::shared::Shared;
use crate::routes::{Connection, FiveTuple, RelayedPort};
use crate::time::Millis;
use crate::wire::Message;

pub(crate) use connect::Desk;
pub use counters::{Bytes, TcpCounters};
pub use table::Connections;

/// Peer connections of one allocation, in any state; beyond: 508, or closed at once.
pub(crate) const CONNECTIONS_OF_ONE_ALLOCATION: usize = 64;
/// Of these, such as are being opened or wait to be bound.
pub(crate) const WAITING_OF_ONE_ALLOCATION: usize = 32;
/// Peer connections of everybody together.
pub(crate) const MOST_CONNECTIONS: usize = 2048;
/// How long a peer may take to answer: "The timeout value MUST be at least 30 seconds" (RFC 6062 §5.2).
pub(crate) const CONNECT_MILLIS: u64 = 30_000;
/// How long a peer connection waits to be bound (RFC 6062 §5.2, §5.3).
pub(crate) const BIND_MILLIS: u64 = 30_000;

/// CONNECTION-ID (RFC 6062 §6.2.1): random, and of use to the owner of its allocation only.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u32);

/// What the edge must do. In order; what it does takes its time.
pub enum TcpAction {
    /// Listen on this relayed port and say how it went with [`super::Turn::handle_opened`], always. Each peer that comes is
    /// shown to [`Connections::admit_peer`].
    Listen { port: RelayedPort },
    /// Listen no more, and close every connection of this port, its clients' as well.
    Close { port: RelayedPort },
    /// Connect from this relayed port and say how it went with [`TcpEvent::Connected`].
    Connect { port: RelayedPort, id: ConnectionId, to: SocketAddr },
    /// Close this peer connection, or open it no more.
    Abandon { port: RelayedPort, id: ConnectionId },
    /// The client's connection is no longer a TURN client's but the other end of this peer connection; the first it is sent
    /// is `reply`.
    Bind { client: Connection, port: RelayedPort, id: ConnectionId, reply: Vec<u8> },
}

/// What the edge tells the worker that has the allocation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TcpEvent {
    /// The answer to [`TcpAction::Connect`].
    Connected { id: ConnectionId, success: bool },
    /// A peer was admitted by [`Connections::admit_peer`].
    Accepted { id: ConnectionId },
}

impl Connections {
    /// A peer has connected to a relayed port. Answers what its connection is called and the worker to tell; without an
    /// answer, close it at once (RFC 6062 §5.3).
    pub fn admit_peer(&self, now: Millis, port: RelayedPort, from: SocketAddr) -> Option<(u16, ConnectionId)> {
        self.admit(now, port, Peer::unchecked(self.routes(), from).name)
    }
}

impl Shared {
    /// Whether a TCP allocation has this transport address now, under either of its names.
    pub(super) fn is_tcp_relayed(&self, address: SocketAddr) -> bool {
        self.routes.locate(address).is_some_and(|port| self.tcp.is_listening(port))
    }
}

/// Whether an Allocate that names TCP may be granted (RFC 6062 §5.1).
pub(super) fn check_allocate(from: &FiveTuple, request: &Message<'_>, settings: &Settings) -> Result<(), Reject> {
    if !from.transport.is_stream() {
        return Err(Reject::BadRequest);
    }
    if !settings.tcp_allocations {
        return Err(Reject::UnsupportedTransport);
    }
    // What only makes sense for datagrams or pairs of ports; a second address would need a listener of its own.
    let excluded = request.dont_fragment()?
        || request.even_port()?.is_some()
        || request.reservation_token()?.is_some()
        || request.additional_address_family()?.is_some();
    if excluded { Err(Reject::BadRequest) } else { Ok(()) }
}

impl fmt::Debug for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConnectionId([redacted])")
    }
}

impl fmt::Debug for TcpAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, port) = match self {
            TcpAction::Listen { port } => ("Listen", port),
            TcpAction::Close { port } => ("Close", port),
            TcpAction::Connect { port, .. } => ("Connect", port),
            TcpAction::Abandon { port, .. } => ("Abandon", port),
            TcpAction::Bind { port, .. } => ("Bind", port),
        };
        write!(f, "{name}({port:?})")
    }
}
