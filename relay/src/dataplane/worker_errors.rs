//! ICMP errors about datagrams that relayed sockets sent: taken from the socket's error queue and shown to the machine. They
//! come from anybody who knows or guesses a relayed address, so they are bounded before they are believed.

use std::collections::VecDeque;

use super::sockets::Place;
use super::sys::Arena;
use super::worker::{Hands, Worker};
use crate::time::{Millis, Now};
use crate::turn::RelayedPort;

/// Errors taken from one socket between two waits.
const ERRORS: usize = 16;
/// How long a socket that brought too many is deaf to them. An error queue shares its memory with the receive buffer: what
/// nobody takes out keeps data from getting in.
const DEAF_MILLIS: u64 = 10_000;

/// Room for errors, and the sockets that are deaf to them, by when that ends: each got there by a flood of its own.
pub(super) struct Errors {
    arena: Arena,
    deaf: VecDeque<(Millis, RelayedPort)>,
}

impl Errors {
    /// No room for payload: what the error quotes of the datagram stays in the kernel.
    pub(super) fn new() -> Errors {
        Errors { arena: Arena::new(ERRORS, 0, 0, 0), deaf: VecDeque::new() }
    }

    /// When the first deaf socket may hear again.
    pub(super) fn poll_timeout(&self) -> Option<Millis> {
        self.deaf.front().map(|(end, _)| *end)
    }
}

impl Worker {
    /// Stage 2 for an error queue.
    pub(super) fn take_errors(&mut self, hands: &mut Hands, now: Now, place: Place) {
        let Place::Relayed(port) = place else { return };
        let Some(socket) = self.sockets.get(place) else { return };
        let Ok(count) = hands.errors.arena.receive_errors(socket) else { return };
        self.counters.icmp_errors.add(count as u64);
        for slot in 0..count {
            if let Some((peer, error)) = hands.errors.arena.take_error(slot) {
                self.turn.handle_icmp(now, port, peer, error);
                self.act(hands, now);
            }
        }
        if !self.sockets.note_errors(port, count, now.mono) {
            self.counters.icmp_floods.add(1);
            hands.errors.deaf.push_back((now.mono.after(DEAF_MILLIS), port));
        }
    }

    /// Stage 7 for sockets that were deaf for long enough.
    pub(super) fn tick_errors(&mut self, hands: &mut Hands, now: Now) {
        while let Some(&(_, port)) = hands.errors.deaf.front().filter(|(end, _)| *end <= now.mono) {
            hands.errors.deaf.pop_front();
            self.sockets.hear_errors(port, true);
        }
    }
}
