//! The TURN machine: decides, opens no socket, reads no clock.
//!
//! Driving contract: handle one input, act on the returned [`Forward`] at once (or keep it in the send batch), drain
//! [`Turn::poll_action`], sleep until [`Turn::poll_timeout`].

mod counters;
mod five_tuple;
mod io;
mod ports;
mod relayed_port;
mod routes;
mod settings;
mod shared;

use std::net::SocketAddr;
use std::sync::Arc;

use crate::time::{Millis, Now};

pub use counters::{Counters, Path, Reason, Relayed};
pub use five_tuple::{ClientPath, FiveTuple, Transport};
pub use io::{Action, Command, Forward, HEADROOM, OpenError, Packet, TAILROOM};
pub use ports::Ports;
pub use relayed_port::{AddressId, RelayedAddress, RelayedPort};
pub use routes::Routes;
pub use settings::Settings;
pub use shared::Shared;

/// One worker's machine. It owns the five-tuples the kernel hashes to that worker.
pub struct Turn {
    counters: Arc<Counters>,
}

impl Turn {
    /// `worker` is this worker's mailbox number; `seed` must differ between workers.
    pub fn new(shared: Arc<Shared>, worker: u16, seed: [u8; 32]) -> Turn {
        let _ = (shared, worker, seed);
        Turn { counters: Arc::default() }
    }

    /// A datagram from a client.
    pub fn handle_client(&mut self, now: Now, from: &FiveTuple, packet: &mut Packet<'_>) -> Forward {
        let _ = (now, from, packet);
        Forward::None
    }

    /// A datagram that arrived at the socket of a relayed port of this worker.
    pub fn handle_peer(&mut self, now: Now, to: RelayedPort, peer: SocketAddr, packet: &mut Packet<'_>) -> Forward {
        let _ = (now, to, peer, packet);
        Forward::None
    }

    /// The answer to [`Action::Open`].
    pub fn handle_opened(&mut self, now: Now, port: RelayedPort, result: Result<(), OpenError>) {
        let _ = (now, port, result);
    }

    /// A wish of another thread.
    pub fn handle_command(&mut self, now: Now, command: Command) {
        let _ = (now, command);
    }

    /// Time has come to or past [`Turn::poll_timeout`].
    pub fn handle_timeout(&mut self, now: Now) {
        let _ = now;
    }

    /// When to call [`Turn::handle_timeout`]; `None` while nothing can expire.
    pub fn poll_timeout(&self) -> Option<Millis> {
        None
    }

    /// The next thing to do for the edge, oldest first.
    pub fn poll_action(&mut self) -> Option<Action> {
        None
    }

    /// What this worker counted so far.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }
}
