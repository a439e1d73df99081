//! Polling: listeners a busy worker reads without waiting for them. Whoever waits for a socket is called back by the kernel at each datagram that comes
//! in and, since the room it took is free again, at each that goes out. A worker that naps would sleep through it, so epoll is told of its
//! listeners only while it does not; network cards are driven alike, by interrupts or polled.

use std::io;
use std::os::fd::BorrowedFd;

use super::sockets::Place;
use super::sys::Epoll;
use super::worker::Worker;

/// With more listeners than these, reading those that have nothing is taken to cost more than being called. Not measured.
const MOST_LISTENERS: usize = 4;

impl Worker {
    /// Begins or ends polling, to be called before each wait. Fails where epoll does not take a listener back (it may be out of watches):
    /// then polling goes on until it does.
    pub(super) fn poll_or_wait(&mut self) -> io::Result<()> {
        let polls = self.nap.is_worth_it() && !self.departed && self.sockets.open_listeners() <= MOST_LISTENERS;
        if polls != self.polls && !self.departed {
            for place in (0..self.sockets.listeners()).map(Place::Listener) {
                let Some(listener) = self.sockets.get(place) else { continue };
                if polls {
                    let _ = self.epoll.remove(listener); // it need not be known: it may have failed to get in
                } else {
                    add(&self.epoll, listener, place)?;
                }
            }
            self.polls = polls;
        }
        Ok(())
    }
}

/// A listener that came while the others were polled is known already.
fn add(epoll: &Epoll, listener: BorrowedFd<'_>, place: Place) -> io::Result<()> {
    match epoll.add(listener, place.number()) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs::File;
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_listener_that_is_known_does_no_harm_and_one_that_epoll_does_not_take_is_told() {
        let (epoll, listener) = (Epoll::new().unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        add(&epoll, listener.as_fd(), Place::Listener(0)).unwrap();
        add(&epoll, listener.as_fd(), Place::Listener(0)).unwrap();
        let never = File::open("Cargo.toml").unwrap(); // epoll takes no regular files
        add(&epoll, never.as_fd(), Place::Listener(1)).unwrap_err();
    }
}
