//! What the model is asked and what it says, with addresses already looked up.

use std::net::SocketAddr;

/// Milliseconds, and seconds since 1970.
#[derive(Clone, Copy)]
pub(super) struct Time {
    pub(super) millis: u64,
    pub(super) unix: u64,
}

/// Whose allocation it is: of a user by name, or of a handle.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Identity {
    User(String),
    Handle(usize),
}

/// What a request proves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Claim {
    pub(super) identity: Identity,
    pub(super) username: String,
    pub(super) sha256: bool,
    /// Integrity is there, by a key that somebody has.
    pub(super) genuine: bool,
    /// When the nonce was made; `None`: it is not ours.
    pub(super) nonce: Option<u64>,
    /// Of call-bound credentials: when they were made, and until when they may begin an allocation.
    pub(super) minted: Option<(u64, u64)>,
    pub(super) unknown_attribute: bool,
}

/// A request with its addresses looked up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Request {
    pub(super) transaction: u64,
    pub(super) claim: Claim,
    pub(super) body: Body,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Body {
    Allocate { transport: Option<u8>, family: Option<u8>, port: Port, lifetime: Option<u32> },
    Refresh { lifetime: Option<u32>, family: Option<u8> },
    Permit(Vec<Peer>),
    Bind(Option<u16>, Option<Peer>),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Port {
    Any,
    Even,
    Pair,
    Token([u8; 8]),
    TokenAndEven,
}

/// A peer as written, and as it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Peer {
    pub(super) written_ipv6: bool,
    /// Its one name: IPv4 if it is IPv4 in disguise, public if it is an address of this server.
    pub(super) name: SocketAddr,
    /// Not to be reached, unless it is somebody's relayed address.
    pub(super) denied: bool,
    /// Not to be reached ever.
    pub(super) listener: bool,
}

/// The answer a request must get.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Answer {
    Refused(u16),
    /// A new allocation: its port is the server's choice, within these bounds.
    Allocated {
        lifetime: u32,
        ipv6: bool,
        even: bool,
        token: bool,
        exactly: Option<SocketAddr>,
    },
    /// The allocation of that request exists already: the same answer again.
    Again {
        lifetime: u32,
        relayed: SocketAddr,
        token: Option<[u8; 8]>,
    },
    Refreshed(u32),
    Done,
}

/// Where a packet must go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Delivery {
    Nowhere,
    ToPeer { from: SocketAddr, to: SocketAddr },
    ToClient { client: usize, channel: Option<u16>, source: SocketAddr },
}
