//! What a caller sets out with, and what it wants done.

use std::{net::SocketAddr, time::Duration};

use crate::{
    media::{packet::StreamId, voice::Voice},
    peer::{full::FullPeer, note::Note},
    population::Person,
    scenario::{Depth, Transport},
    time::{Clock, Nanos},
};

/// What holds for every caller of a run.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    pub depth: Depth,
    pub setup_timeout: Duration,
    /// Whether voice-like packets flow.
    pub media: bool,
    /// Used instead of the TURN server in `ice`.
    pub turn: Option<SocketAddr>,
    pub transport: Transport,
    /// Tries UDP, then TCP, then TLS; `transport` is UDP then.
    pub falls_back: bool,
    /// The run's clock: the full peer's library wants it as the standard library's.
    pub clock: Clock,
    /// Whether a caller that is cut off asks for its session back; else it comes anew.
    pub resumes: bool,
    /// The target has several nodes: who is put back into the queue out of a call that was up waits on, because its partner's node
    /// may have died, and who waits may lose its place on the relay, because its call may be on another. Else both end it.
    pub stays: bool,
    /// How full callers speak, and what their pauses are drawn from.
    pub voice: (Voice, u64),
}

/// What one caller sets out with.
#[derive(Clone)]
pub struct Plan {
    pub number: u32,
    /// t0, the schedule's start.
    pub intended: Nanos,
    pub person: Person,
    pub token: String,
    /// Seeds transaction numbers and ICE passwords.
    pub random: [u8; 32],
}

/// What the caller wants done.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// A frame for the server.
    Signal(String),
    /// Datagrams go to this TURN server from now on, and nowhere they went before.
    Attach(Transport, SocketAddr),
    /// A datagram for the TURN server.
    Datagram(Vec<u8>),
    /// Expect this stream.
    Hear { channel: u16, stream: StreamId },
    /// Send this stream.
    Talk { channel: u16, stream: StreamId },
    /// What a full caller noticed of its media.
    Note(Note),
    /// A full caller's path is secured: the media thread speaks and hears for it from now on.
    HandOver { channel: u16, peer: Box<FullPeer> },
    /// What came for such a peer and is not the media thread's any more.
    Pass { at: Nanos, data: Vec<u8> },
    /// Stop both and send the account.
    Hush,
    /// The session is had again on a new connection.
    Resumed,
    /// Nothing more: close the WebSocket.
    Close,
}
