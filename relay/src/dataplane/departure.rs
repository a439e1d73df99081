//! Giving the listeners to a successor without losing those who talk: each UDP client with an allocation here gets a socket of its own,
//! connected to it, which the kernel prefers to any listener (the best match wins). Then nothing comes through the listeners that is ours,
//! and another process may read from them. What is sent to clients still leaves through the listeners, whose descriptors this process keeps.

use std::collections::HashSet;

use super::batch::SLOTS;
use super::sockets::Place;
use super::worker::{Hands, Worker};
use crate::time::Now;
use crate::turn::{FiveTuple, Transport, Turn};

/// Batches read from each listener at the end: what lay in it when the clients moved.
const LAST_BATCHES: usize = 64;

impl Worker {
    /// The listeners are somebody else's from now on.
    pub(super) fn depart(&mut self, hands: &mut Hands, now: Now) {
        self.move_clients(hands, now, |_, _| true);
        self.close_listeners();
        self.mailbox.say_departed();
    }

    /// Moves those clients that `which` is true for.
    pub(super) fn move_clients(&mut self, hands: &mut Hands, now: Now, which: impl Fn(&Turn, &FiveTuple) -> bool) {
        let mut moved = HashSet::new();
        self.open_own_sockets(&mut moved, &which);
        if moved.is_empty() {
            return;
        }
        for index in 0..self.sockets.listeners() {
            for _ in 0..LAST_BATCHES {
                if !self.receive(hands, now, Place::Listener(index), SLOTS) {
                    break;
                }
            }
        }
        self.flush(hands);
        self.act(hands, now);
        // Whoever allocated with what lay there.
        self.open_own_sockets(&mut moved, &which);
    }

    /// The listeners stay: sockets of single clients from that number on are read to their end and closed.
    pub(super) fn move_back(&mut self, hands: &mut Hands, now: Now, from: u32) {
        for number in from..self.sockets.departures() {
            for _ in 0..LAST_BATCHES {
                if !self.receive(hands, now, Place::Departed(number), SLOTS) {
                    break;
                }
            }
        }
        self.flush(hands);
        self.act(hands, now);
        self.sockets.forget_departures(from);
    }

    /// They are read no more.
    pub(super) fn close_listeners(&mut self) {
        for index in 0..self.sockets.listeners() {
            if let Some(listener) = self.sockets.get(Place::Listener(index)) {
                // A listener that epoll does not know is not read either.
                let _ = self.epoll.remove(listener);
            }
        }
        // Who reads them now has perhaps asked for that already, of these same sockets.
        self.sockets.hear_marks(true);
        self.departed = true;
    }

    fn open_own_sockets(&mut self, moved: &mut HashSet<FiveTuple>, which: impl Fn(&Turn, &FiveTuple) -> bool) {
        for client in self.turn.clients().filter(|client| client.transport == Transport::Udp) {
            if !which(&self.turn, &client) || !moved.insert(client) {
                continue;
            }
            let opened = self
                .sockets
                .depart(&client)
                .and_then(|(number, socket)| self.epoll.add(socket, Place::Departed(number).number()));
            if opened.is_err() {
                self.counters.open_failures.add(1);
            }
        }
    }
}
