//! Listeners that come and go while the workers run.
//!
//! A new one is bound for every worker before any of them hears of it. One that is taken away is still read for those who have an
//! allocation through it and deaf to everybody else; once no worker has such a client it is closed by all of them. Any worker may send to a
//! client of another, so none closes it alone.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::socket::{BindError, Listener, open_listeners};
use super::worker::Worker;
use super::{Running, mailbox::MAILBOX_LISTENERS};
use crate::time::{Millis, Now};
use crate::turn::{FiveTuple, Transport};

/// How often it is looked whether a listener that was taken away is still needed, in milliseconds.
const LOOK_MILLIS: u64 = 1_000;
/// Listeners that one process may ever open for each worker: a five-tuple names its own by a number that is never used twice.
const MOST_LISTENERS: usize = u16::MAX as usize;

/// A listening address bound for every worker, which none of them reads yet.
pub struct Opened {
    address: SocketAddr,
    listeners: Vec<Listener>,
    lent: Vec<OwnedFd>,
}

impl Opened {
    /// Port 0 is resolved.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// What a worker is told.
pub(super) enum Change {
    Open(Listener),
    Retire(u16, Arc<Retiring>),
    Resume(u16),
}

/// A listener as those know it who do not read it.
pub(super) struct Known {
    address: SocketAddr,
    /// Its sockets once more, for who takes this process's place.
    lent: Vec<OwnedFd>,
    retiring: Option<Arc<Retiring>>,
}

impl Known {
    pub(super) fn new(address: SocketAddr, lent: Vec<OwnedFd>) -> Known {
        Known { address, lent, retiring: None }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// It was not taken away.
    pub(super) fn is_offered(&self) -> bool {
        self.retiring.is_none()
    }
}

/// The end of a listener, agreed on by all workers.
pub(super) struct Retiring {
    state: AtomicU8,
    /// By worker: nobody of its clients came by it, and nobody will.
    empty: Box<[AtomicBool]>,
    lent: Mutex<Vec<OwnedFd>>,
}

const RETIRING: u8 = 0;
const RESUMED: u8 = 1;
const OVER: u8 = 2;

impl Retiring {
    fn new(workers: usize, lent: Vec<OwnedFd>) -> Retiring {
        let empty = (0..workers).map(|_| AtomicBool::new(false)).collect();
        Retiring { state: AtomicU8::new(RETIRING), empty, lent: Mutex::new(lent) }
    }

    fn has_none(&self, worker: u16) {
        if let Some(empty) = self.empty.get(usize::from(worker)) {
            empty.store(true, Ordering::Release);
        }
    }

    /// Whether it may be closed. From then on it cannot be taken back.
    fn is_over(&self) -> bool {
        let unused = self.empty.iter().all(|empty| empty.load(Ordering::Acquire));
        if unused && self.state.compare_exchange(RETIRING, OVER, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            self.lent().clear();
        }
        self.state.load(Ordering::Acquire) == OVER
    }

    fn is_retiring(&self) -> bool {
        self.state.load(Ordering::Acquire) == RETIRING
    }

    /// Takes it back, if it is not over.
    fn resume(&self) -> Option<Vec<OwnedFd>> {
        self.state.compare_exchange(RETIRING, RESUMED, Ordering::AcqRel, Ordering::Acquire).ok()?;
        Some(std::mem::take(&mut *self.lent()))
    }

    fn lent(&self) -> std::sync::MutexGuard<'_, Vec<OwnedFd>> {
        self.lent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    /// Binds an address for every worker.
    ///
    /// # Errors
    /// Why it could not be bound; nothing stays open.
    pub fn open(&self, address: SocketAddr) -> Result<Opened, BindError> {
        let trouble = |source| BindError { address: Some(address), source };
        if self.known().len() >= MOST_LISTENERS {
            return Err(trouble(io::Error::other("this process has opened too many listeners; restart it")));
        }
        let listeners = open_listeners(address, self.mailboxes.len(), self.receive_buffer_bytes, Vec::new())?;
        let bound = listeners.first().map_or(address, |listener| listener.address);
        let lent = listeners.iter().map(|it| it.socket.try_clone()).collect::<io::Result<_>>().map_err(trouble)?;
        Ok(Opened { address: bound, listeners, lent })
    }

    /// Whether every worker can be told of another change.
    pub fn hears_of_listeners(&self) -> bool {
        self.mailboxes.iter().all(|mailbox| mailbox.listener_changes() < MAILBOX_LISTENERS)
    }

    /// Whether this address was taken away and is still there for those who came by it.
    pub fn is_retiring(&self, address: SocketAddr) -> bool {
        self.known().iter().any(|it| it.address == address && it.retiring.as_ref().is_some_and(|it| it.is_retiring()))
    }

    /// Has every worker listen; answers the number of the listener.
    pub fn listen(&self, opened: Opened) -> u16 {
        let mut known = self.known();
        let number = known.len() as u16;
        known.push(Known::new(opened.address, opened.lent));
        for (mailbox, listener) in self.mailboxes.iter().zip(opened.listeners) {
            mailbox.change_listeners(Change::Open(listener));
        }
        number
    }

    /// Takes a listener away from everybody who has no allocation through it.
    pub fn retire(&self, number: u16) {
        let mut known = self.known();
        let Some(it) = known.get_mut(usize::from(number)).filter(|it| it.retiring.is_none()) else { return };
        let retiring = Arc::new(Retiring::new(self.mailboxes.len(), std::mem::take(&mut it.lent)));
        it.retiring = Some(Arc::clone(&retiring));
        for mailbox in &self.mailboxes {
            mailbox.change_listeners(Change::Retire(number, Arc::clone(&retiring)));
        }
    }

    /// Gives a listener at this address back to everybody, if there is one that was taken away; answers its number.
    pub fn resume(&self, address: SocketAddr) -> Option<u16> {
        let mut known = self.known();
        let (number, it) =
            known.iter_mut().enumerate().rfind(|(_, it)| it.address == address && it.retiring.is_some())?;
        it.lent = it.retiring.as_ref()?.resume()?;
        it.retiring = None;
        for mailbox in &self.mailboxes {
            mailbox.change_listeners(Change::Resume(number as u16));
        }
        Some(number as u16)
    }

    /// Every listening socket, those of one address together, for who takes this process's place.
    ///
    /// # Errors
    /// If there are no descriptors left.
    pub fn listeners(&self) -> io::Result<Vec<(SocketAddr, OwnedFd)>> {
        let known = self.known();
        let all = known.iter().flat_map(|it| it.lent.iter().map(|socket| (it.address, socket)));
        all.map(|(address, socket)| Ok((address, socket.try_clone()?))).collect()
    }

    pub(super) fn known(&self) -> std::sync::MutexGuard<'_, Vec<Known>> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The listeners a worker has for those alone who came by them.
#[derive(Default)]
pub(super) struct Retired {
    listeners: Vec<(u16, Arc<Retiring>)>,
    look: Option<Millis>,
}

impl Retired {
    /// When to look whether they are needed.
    pub(super) fn poll_timeout(&self) -> Option<Millis> {
        self.look
    }

    fn has(&self, listener: u16) -> bool {
        self.listeners.iter().any(|(number, _)| *number == listener)
    }
}

impl Worker {
    /// The mailbox rang: what has come and gone.
    pub(super) fn change_listeners(&mut self, now: Now) {
        for change in self.mailbox.take_listener_changes() {
            match change {
                Change::Open(listener) => {
                    let place = self.sockets.add_listener(listener);
                    let known = self.sockets.get(place).map(|socket| self.epoll.add(socket, place.number()));
                    if !matches!(known, Some(Ok(()))) {
                        self.counters.open_failures.add(1);
                    }
                }
                Change::Retire(number, retiring) => {
                    self.retired.listeners.push((number, retiring));
                    self.retired.look = Some(now.mono);
                }
                Change::Resume(number) => self.retired.listeners.retain(|(other, _)| *other != number),
            }
        }
    }

    /// Whether what this client sends to a listener that was taken away is nobody's business any more.
    pub(super) fn is_turned_away(&self, from: &FiveTuple) -> bool {
        !self.retired.listeners.is_empty() && self.retired.has(from.listener) && !self.turn.has_allocation(from)
    }

    /// Stage 7 for listeners that were taken away.
    pub(super) fn tick_retired(&mut self, now: Now) {
        if self.retired.look.is_none_or(|due| due > now.mono) {
            return;
        }
        let (turn, sockets, worker) = (&self.turn, &mut self.sockets, self.number);
        self.retired.listeners.retain(|(number, retiring)| {
            let came_by = |client: FiveTuple| client.transport == Transport::Udp && client.listener == *number;
            if !turn.clients().any(came_by) {
                retiring.has_none(worker);
            }
            let over = retiring.is_over();
            if over {
                sockets.close_listener(*number);
            }
            !over
        });
        self.retired.look = (!self.retired.listeners.is_empty()).then(|| now.mono.after(LOOK_MILLIS));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_listener_is_over_when_no_worker_needs_it_and_can_be_taken_back_before() {
        let retiring = Retiring::new(2, Vec::new());
        retiring.has_none(0);
        assert!(!retiring.is_over(), "the other worker has a client there");
        assert!(retiring.resume().is_some());
        retiring.has_none(1);
        assert!(!retiring.is_over(), "somebody wanted it back");
        let retiring = Retiring::new(1, vec![std::net::UdpSocket::bind("127.0.0.1:0").unwrap().into()]);
        retiring.has_none(0);
        assert!(retiring.is_over() && retiring.lent().is_empty() && retiring.resume().is_none());
    }
}
