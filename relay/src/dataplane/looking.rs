//! Listeners a busy worker looks into by itself. Whoever waits for a socket is rung for by the kernel at each datagram that comes in and,
//! since the room it took is free again, at each that goes out. A worker that naps would sleep through it, so epoll is told of its listeners only
//! while it does not.

use super::sockets::Place;
use super::worker::Worker;

/// With more listeners than these, looking into those that have nothing costs more than being rung for.
const MOST_LISTENERS: u16 = 4;

impl Worker {
    /// Begins or ends looking, to be called before each wait; answers which it is.
    pub(super) fn look_or_wait(&mut self) -> bool {
        let looks = self.nap.is_worth_it() && !self.departed && self.sockets.listeners() <= MOST_LISTENERS;
        if looks != self.looks && !self.departed {
            self.looks = looks;
            for place in (0..self.sockets.listeners()).map(Place::Listener) {
                let Some(listener) = self.sockets.get(place) else { continue };
                // One that came meanwhile is known to epoll already, which does no harm.
                let _ = if looks { self.epoll.remove(listener) } else { self.epoll.add(listener, place.number()) };
            }
        }
        looks
    }
}
