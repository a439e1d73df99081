//! How other threads reach a worker: a bounded queue and an eventfd that wakes it. Off the packet path.

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::listening::Change;
use super::parcels::Parcels;
use super::stream::NewStream;
use super::succession::Freeze;
use super::sys;
use crate::turn::Command;

/// Commands a mailbox holds before [`Mailboxes::post`] refuses more.
pub const MAILBOX_COMMANDS: usize = 16 * 1024;

/// Accepted streams a mailbox holds before [`Mailboxes::adopt`] refuses more.
pub const MAILBOX_STREAMS: usize = 4 * 1024;

/// Errands a mailbox holds before [`Mailboxes::send`] refuses more.
pub const MAILBOX_ERRANDS: usize = 16;

/// Changes of listeners that may wait in a mailbox before a reload is refused; one reload adds few.
pub(super) const MAILBOX_LISTENERS: usize = 256;

/// Something to be done in a worker's thread. Packets wait for it.
pub type Errand = Box<dyn FnOnce() + Send>;

/// The mailboxes of all workers. Cheap to clone.
#[derive(Clone)]
pub struct Mailboxes(Arc<[Arc<Mailbox>]>);

/// Why a command was not taken; it comes back to the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PostError {
    /// [`MAILBOX_COMMANDS`] are waiting already. Try again later: the worker is slow, not gone.
    Full(Command),
    /// There is no worker of that number.
    NoSuchWorker(Command),
}

/// A worker has too much waiting, or there is none of that number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

impl Mailboxes {
    pub(super) fn new(mailboxes: impl IntoIterator<Item = Arc<Mailbox>>) -> Mailboxes {
        Mailboxes(mailboxes.into_iter().collect())
    }

    /// Number of workers; they are numbered from 0.
    pub fn workers(&self) -> u16 {
        self.0.len() as u16
    }

    /// Hands a command to a worker and wakes it. Never blocks for longer than the worker takes to empty its queue.
    pub fn post(&self, worker: u16, command: Command) -> Result<(), PostError> {
        match self.0.get(usize::from(worker)) {
            Some(mailbox) => mailbox.post(command),
            None => Err(PostError::NoSuchWorker(command)),
        }
    }

    /// Gives a stream client to a worker, which serves it from now on. Refused, and closed, if [`MAILBOX_STREAMS`] wait there
    /// already or there is no such worker.
    pub fn adopt(&self, worker: u16, stream: Box<NewStream>) -> Result<(), Refused> {
        let mailbox = self.0.get(usize::from(worker)).ok_or(Refused)?;
        let mut streams = locked(&mailbox.streams);
        if streams.len() >= MAILBOX_STREAMS {
            return Err(Refused);
        }
        streams.push_back(stream);
        let first = streams.len() == 1;
        drop(streams);
        if first {
            mailbox.ring();
        }
        Ok(())
    }

    /// Has something done in a worker's thread. Refused if [`MAILBOX_ERRANDS`] wait there already or there is no such worker.
    pub fn send(&self, worker: u16, errand: Errand) -> Result<(), Refused> {
        let mailbox = self.0.get(usize::from(worker)).ok_or(Refused)?;
        let mut errands = locked(&mailbox.errands);
        if errands.len() >= MAILBOX_ERRANDS {
            return Err(Refused);
        }
        errands.push(errand);
        drop(errands);
        mailbox.ring();
        Ok(())
    }

    /// Leaves a message for a stream that another worker owns. Packet path: copied, and allocated for only while the queue
    /// grows. Answers whether that worker must be woken with [`Mailboxes::ring`], soon; an error says that its queue is full.
    pub(super) fn leave(&self, worker: u16, number: u32, message: &[u8]) -> Result<bool, Refused> {
        let mailbox = self.0.get(usize::from(worker)).ok_or(Refused)?;
        locked(&mailbox.parcels).push(number, message)
    }

    pub(super) fn ring(&self, worker: u16) {
        if let Some(mailbox) = self.0.get(usize::from(worker)) {
            mailbox.ring();
        }
    }

    /// Hands a command to every worker.
    pub fn post_all(&self, command: Command) -> Result<(), PostError> {
        (0..self.workers()).try_for_each(|worker| self.post(worker, command))
    }
}

impl fmt::Debug for Mailboxes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mailboxes({})", self.0.len())
    }
}

/// One worker's mailbox.
pub(super) struct Mailbox {
    queue: Mutex<VecDeque<Command>>,
    streams: Mutex<VecDeque<Box<NewStream>>>,
    parcels: Mutex<Parcels>,
    errands: Mutex<Vec<Errand>>,
    listeners: Mutex<Vec<Change>>,
    wake: File,
    stop: AtomicBool,
    depart: AtomicBool,
    departed: AtomicBool,
    freeze: Mutex<Option<Freeze>>,
}

impl Mailbox {
    pub(super) fn new() -> io::Result<Mailbox> {
        let wake = File::from(sys::eventfd()?);
        Ok(Mailbox {
            queue: Mutex::default(),
            streams: Mutex::default(),
            parcels: Mutex::default(),
            errands: Mutex::default(),
            listeners: Mutex::default(),
            wake,
            stop: AtomicBool::new(false),
            depart: AtomicBool::new(false),
            departed: AtomicBool::new(false),
            freeze: Mutex::default(),
        })
    }

    /// Becomes readable when there is something to do.
    pub(super) fn readiness(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.ring();
    }

    /// The listeners are to be given away.
    pub(super) fn depart(&self) {
        self.depart.store(true, Ordering::Release);
        self.ring();
    }

    pub(super) fn is_to_depart(&self) -> bool {
        self.depart.load(Ordering::Acquire)
    }

    pub(super) fn say_departed(&self) {
        self.departed.store(true, Ordering::Release);
    }

    pub(super) fn has_departed(&self) -> bool {
        self.departed.load(Ordering::Acquire)
    }

    /// The worker is to stand still.
    pub(super) fn freeze(&self, freeze: Freeze) {
        *locked(&self.freeze) = Some(freeze);
        self.ring();
    }

    pub(super) fn take_freeze(&self) -> Option<Freeze> {
        locked(&self.freeze).take()
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Call before anything is taken, so that what is left meanwhile rings again.
    pub(super) fn answer(&self) {
        let mut clear = [0; 8];
        // EAGAIN: nobody rang, nothing to clear.
        let _ = (&self.wake).read(&mut clear);
    }

    /// Takes all commands. `into` must be empty; its memory becomes the next queue's.
    pub(super) fn take(&self, into: &mut VecDeque<Command>) {
        std::mem::swap(&mut *self.lock(), into);
    }

    /// Takes all errands.
    pub(super) fn take_errands(&self) -> Vec<Errand> {
        std::mem::take(&mut *locked(&self.errands))
    }

    /// Tells the worker of listeners that come or go. Whoever does has asked [`Mailbox::listener_changes`] before.
    pub(super) fn change_listeners(&self, change: Change) {
        locked(&self.listeners).push(change);
        self.ring();
    }

    /// How many changes of listeners wait.
    pub(super) fn listener_changes(&self) -> usize {
        locked(&self.listeners).len()
    }

    pub(super) fn take_listener_changes(&self) -> Vec<Change> {
        std::mem::take(&mut *locked(&self.listeners))
    }

    /// Takes the stream that has waited longest.
    pub(super) fn next_stream(&self) -> Option<Box<NewStream>> {
        locked(&self.streams).pop_front()
    }

    /// Takes all parcels. `into` must be empty; its memory becomes the next queue's.
    pub(super) fn take_parcels(&self, into: &mut Parcels) {
        std::mem::swap(&mut *locked(&self.parcels), into);
    }

    fn post(&self, command: Command) -> Result<(), PostError> {
        let mut queue = self.lock();
        if queue.len() >= MAILBOX_COMMANDS {
            return Err(PostError::Full(command));
        }
        queue.push_back(command);
        let first = queue.len() == 1;
        drop(queue);
        if first {
            self.ring();
        }
        Ok(())
    }

    fn ring(&self) {
        // The only error is a counter about to overflow, and then the worker is being woken already.
        let _ = (&self.wake).write(&1u64.to_ne_bytes());
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Command>> {
        locked(&self.queue)
    }
}

fn locked<T>(queue: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while pushing leaves a queue that is still a queue.
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_full_mailbox_gives_the_command_back_and_takes_more_once_emptied() {
        let mailboxes = Mailboxes::new([Arc::new(Mailbox::new().unwrap())]);
        for _ in 0..MAILBOX_COMMANDS {
            mailboxes.post(0, Command::Drain).unwrap();
        }
        assert_eq!(mailboxes.post(0, Command::Drain), Err(PostError::Full(Command::Drain)));
        let mut taken = VecDeque::new();
        mailboxes.0[0].take(&mut taken);
        assert_eq!(taken.len(), MAILBOX_COMMANDS);
        assert_eq!(mailboxes.post(0, Command::Drain), Ok(()));
    }

    #[test]
    fn there_is_no_mailbox_beyond_the_last_worker() {
        let mailboxes = Mailboxes::new([Arc::new(Mailbox::new().unwrap())]);
        assert_eq!(mailboxes.post(1, Command::Drain), Err(PostError::NoSuchWorker(Command::Drain)));
    }
}
