//! A batch: datagrams received into slots, and the ones to send, which point into those same slots. Payloads are never copied.

use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::BorrowedFd;

use super::counters::IoCounters;
use super::names::Leaving;
use super::socket::allow_fragments;
use super::sockets::{Place, Sockets};
use super::sys::{Arena, Datagram, Outgoing, Received};
use crate::turn::{HEADROOM, Packet, TAILROOM};

/// Longest datagram relayed, in bytes. Longer ones are dropped and counted; voice never comes near.
pub const MAX_DATAGRAM_BYTES: usize = 9216;

/// Datagrams received before what they cause is sent.
pub(super) const SLOTS: usize = 64;

pub(super) struct Batch {
    arena: Arena,
    filled: usize,
    queued: Vec<Queued>,
    outgoing: Outgoing,
}

/// A datagram waiting for the end of the batch: a range of a slot.
pub(super) struct Queued {
    pub(super) through: Place,
    pub(super) slot: usize,
    pub(super) data: Range<usize>,
    pub(super) to: SocketAddr,
    pub(super) leaving: Leaving,
    pub(super) dont_fragment: bool,
}

impl Batch {
    pub(super) fn new() -> Batch {
        Batch {
            arena: Arena::new(SLOTS, HEADROOM, MAX_DATAGRAM_BYTES, TAILROOM),
            filled: 0,
            queued: Vec::with_capacity(SLOTS),
            outgoing: Outgoing::new(SLOTS),
        }
    }

    /// Slots left before a flush is due.
    pub(super) fn free(&self) -> usize {
        self.arena.slots() - self.filled
    }

    /// Receives what waits on a socket into at most `count` free slots and answers which were filled.
    pub(super) fn receive(&mut self, socket: BorrowedFd<'_>, count: usize) -> io::Result<Range<usize>> {
        let first = self.filled;
        self.filled += self.arena.receive(socket, first, count)?;
        Ok(first..self.filled)
    }

    /// Puts a message that came over a stream into a free slot, as if it had been received there. At most
    /// [`MAX_DATAGRAM_BYTES`]; there must be a slot free.
    pub(super) fn place(&mut self, message: &[u8]) -> usize {
        let slot = self.filled;
        self.filled += 1;
        self.arena.put(slot, message);
        slot
    }

    /// A range of a slot.
    pub(super) fn bytes(&self, slot: usize, data: Range<usize>) -> &[u8] {
        self.arena.slot(slot).get(data).unwrap_or_default()
    }

    /// What the kernel said about the datagram in a slot just filled. Call once for each.
    pub(super) fn take(&mut self, slot: usize) -> Received {
        self.arena.take(slot)
    }

    /// The datagram in a slot, with room around it.
    pub(super) fn packet(&mut self, slot: usize, len: usize) -> Packet<'_> {
        Packet::new(self.arena.slot_mut(slot), HEADROOM..HEADROOM + len)
    }

    /// Queues a range of a slot for sending. At most one for each slot, so the queue never outgrows its memory.
    pub(super) fn queue(&mut self, queued: Queued) {
        self.queued.push(queued);
    }

    /// Sends everything queued; then all slots are free. Not in the middle of a batch: what is still to be handled would lie
    /// in free slots, and the next datagrams received would overwrite what it queues.
    pub(super) fn flush(&mut self, sockets: &Sockets, counters: &IoCounters) {
        self.send_queued(sockets, counters);
        self.arena.wipe(self.filled);
        self.filled = 0;
    }

    /// Sends everything queued, one call for each socket concerned, in arrival order on each; the slots stay taken. What must
    /// not be fragmented is rare, and takes calls of its own.
    pub(super) fn send_queued(&mut self, sockets: &Sockets, counters: &IoCounters) {
        if self.queued.iter().any(|queued| queued.through != self.queued[0].through) {
            // Slots are in arrival order and each is queued once at most: the order on each socket is kept.
            self.queued.sort_unstable_by_key(|queued| (queued.through, queued.slot));
        }
        for group in self.queued.chunk_by(|a, b| a.through == b.through && a.dont_fragment == b.dont_fragment) {
            let Some(socket) = sockets.get(group[0].through) else {
                counters.no_socket.add(group.len() as u64);
                continue;
            };
            let (whole, ipv6) = (group[0].dont_fragment, group[0].to.is_ipv6());
            if whole && allow_fragments(socket, ipv6, false).is_err() {
                counters.send_failed.add(group.len() as u64);
                continue;
            }
            let datagrams = group.iter().map(|queued| Datagram {
                bytes: self.arena.slot(queued.slot).get(queued.data.clone()).unwrap_or_default(),
                to: queued.to,
                leaving: queued.leaving,
            });
            let (sent, calls) = self.outgoing.send(socket, datagrams, |error| counters.send_error(&error));
            if whole {
                let _ = allow_fragments(socket, ipv6, true); // what could be set can be set back
            }
            counters.sent.add(sent as u64);
            counters.send_calls.add(calls as u64);
        }
        self.queued.clear();
    }

    /// Sends one datagram that is not in any slot, at once. For replies of the control path.
    pub(super) fn send_now(&mut self, socket: BorrowedFd<'_>, datagram: Datagram<'_>, counters: &IoCounters) {
        let (sent, calls) = self.outgoing.send(socket, std::iter::once(datagram), |error| counters.send_error(&error));
        counters.sent.add(sent as u64);
        counters.send_calls.add(calls as u64);
    }
}
