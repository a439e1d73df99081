//! Polling: listeners a busy worker reads without waiting for them. Whoever waits for a socket is called back by the kernel at each datagram that comes
//! in and, since the room it took is free again, at each that goes out. A worker that naps would sleep through it, so epoll is told of its
//! listeners only while it does not; network cards are driven alike, by interrupts or polled.

use super::sockets::Place;
use super::worker::Worker;

/// With more listeners than these, reading those that have nothing is taken to cost more than being called. Not measured.
const MOST_LISTENERS: u16 = 4;

impl Worker {
    /// Begins or ends polling, to be called before each wait; answers which it is.
    pub(super) fn poll_or_wait(&mut self) -> bool {
        let polls = self.nap.is_worth_it() && !self.departed && self.sockets.listeners() <= MOST_LISTENERS;
        if polls != self.polls && !self.departed {
            self.polls = polls;
            for place in (0..self.sockets.listeners()).map(Place::Listener) {
                let Some(listener) = self.sockets.get(place) else { continue };
                // One that came meanwhile is known to epoll already, which does no harm.
                let _ = if polls { self.epoll.remove(listener) } else { self.epoll.add(listener, place.number()) };
            }
        }
        polls
    }
}
