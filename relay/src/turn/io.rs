//! What goes into the machine and what comes out of it.

use std::net::SocketAddr;
use std::ops::Range;

use super::tcp::{TcpAction, TcpEvent};
use crate::routes::{ClientPath, RelayedPort};

/// Bytes to leave free in front of a received datagram: an IPv6 Data indication header takes 48 of them.
pub const HEADROOM: usize = 64;

/// Bytes to leave free behind a received datagram: a Data indication pads its payload to four bytes.
pub const TAILROOM: usize = 4;

/// A received datagram inside its buffer, with room around it so that headers are written in place.
pub struct Packet<'a> {
    pub(crate) buffer: &'a mut [u8],
    pub(crate) data: Range<usize>,
}

/// Where a packet goes, as a range of the buffer it arrived in. Act on it at once: it borrows nothing.
#[derive(Clone, PartialEq, Eq)]
pub enum Forward {
    /// Dropped and counted, or an answer waits in [`super::Turn::poll_action`].
    None,
    /// To a client, from its listener (`to.listener`), source address `to.local`.
    ToClient { to: ClientPath, data: Range<usize> },
    /// To a peer outside, through the socket of the relayed port, which this worker owns. With `dont_fragment` it goes in
    /// one piece or not at all.
    ToPeer { from: RelayedPort, to: SocketAddr, data: Range<usize>, dont_fragment: bool },
}

/// What the edge must do. Drain after every input.
pub enum Action {
    /// Send a control message.
    Reply { to: ClientPath, bytes: Vec<u8> },
    /// Bind a UDP socket for this relayed port and say how it went with [`super::Turn::handle_opened`], always.
    Open { port: RelayedPort },
    /// Close that socket. Only ever follows a successful `Open`.
    Close { port: RelayedPort },
    /// Something about a TCP allocation.
    Tcp(TcpAction),
}

/// Why a relayed socket could not be bound. Both are answered alike, after other ports were tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpenError {
    /// Another program holds the port.
    InUse,
    /// No descriptors, no address, no permission.
    Unavailable,
}

/// What other threads may ask of a worker, through its mailbox.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Command {
    /// The call of this call-bound allocation is over: free it. Harmless if it is gone or the port has a new owner.
    Close(RelayedPort),
    /// Say in the ledger what was heard of this side of a call, with `media` also of its stream from now on. Harmless if it is gone.
    Listen { port: RelayedPort, media: bool },
    /// Refuse new allocations; those that exist run on.
    Drain,
    /// [`super::Shared::succeed`] has made other settings.
    Reload,
    /// What the edge did for a TCP allocation of this worker.
    Tcp(TcpEvent),
}

impl<'a> Packet<'a> {
    /// `data` is where the datagram lies in `buffer`. A range outside the buffer reads as an empty datagram.
    pub fn new(buffer: &'a mut [u8], data: Range<usize>) -> Packet<'a> {
        let data = if data.start <= data.end && data.end <= buffer.len() { data } else { 0..0 };
        Packet { buffer, data }
    }

    /// The datagram as received.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[self.data.clone()]
    }
}

impl std::fmt::Debug for Packet<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Packet({} bytes)", self.data.len())
    }
}

impl std::fmt::Debug for Forward {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Forward::None => f.write_str("None"),
            Forward::ToClient { data, .. } => write!(f, "ToClient({} bytes)", data.len()),
            Forward::ToPeer { data, .. } => write!(f, "ToPeer({} bytes)", data.len()),
        }
    }
}

impl std::fmt::Debug for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Action::Reply { bytes, .. } => write!(f, "Reply({} bytes)", bytes.len()),
            Action::Open { port } => write!(f, "Open({port:?})"),
            Action::Close { port } => write!(f, "Close({port:?})"),
            Action::Tcp(action) => write!(f, "Tcp({action:?})"),
        }
    }
}
