//! The stages of a worker for stream clients. A message of a stream takes a slot of the batch like a datagram, and from there
//! on nothing differs until it leaves.

use std::os::fd::AsFd;

use super::MAX_DATAGRAM_BYTES;
use super::sockets::Place;
use super::stream::{Got, Left, NewStream, READ_BYTES};
use super::streams::Pushed;
use super::worker::{Hands, Worker};
use crate::time::Now;
use crate::turn::{Connection, FiveTuple};
use crate::wire::framing::{self, Frame};

/// Full reads from one stream before the others get their turn.
const STREAM_READS: usize = 4;
/// Room for what one read brings behind the beginning of the longest message.
pub(super) const STREAM_BUFFER_BYTES: usize = READ_BYTES + MAX_DATAGRAM_BYTES;

impl Worker {
    /// New connections and what other workers left for ours.
    pub(super) fn collect_streams(&mut self, hands: &mut Hands, now: Now) {
        while let Some(new) = self.mailbox.next_stream() {
            self.adopt(hands, now, *new);
        }
        let mut parcels = std::mem::take(&mut hands.parcels);
        self.mailbox.take_parcels(&mut parcels);
        for (number, message) in parcels.iter() {
            self.push_data(number, message);
        }
        parcels.clear();
        hands.parcels = parcels;
    }

    fn adopt(&mut self, hands: &mut Hands, now: Now, new: NewStream) {
        if new.first.len() > MAX_DATAGRAM_BYTES {
            return;
        }
        let Some(number) = self.streams.insert(new, now.mono) else { return };
        let Some(stream) = self.streams.get_mut(number) else { return };
        if self.epoll.add(stream.socket.as_fd(), Place::Stream(number).number()).is_err() {
            self.streams.remove(number);
            return;
        }
        self.counters.streams.add(1);
        // It may have said everything already.
        self.read_stream(hands, now, number);
    }

    /// Stages 2 to 4 for a stream that has something, or room.
    pub(super) fn serve_stream(&mut self, hands: &mut Hands, now: Now, number: u32) {
        self.streams.room(number);
        self.read_stream(hands, now, number);
    }

    fn read_stream(&mut self, hands: &mut Hands, now: Now, number: u32) {
        let mut buffer = std::mem::take(&mut hands.stream_buffer);
        for round in 0.. {
            let Some(stream) = self.streams.get_mut(number).filter(|stream| stream.stays()) else { break };
            let waiting = stream.unfinished.len();
            buffer[..waiting].copy_from_slice(&stream.unfinished);
            self.counters.stream_reads.add(1);
            let Ok(got) = stream.read(&mut buffer[waiting..], round < STREAM_READS) else {
                self.streams.doom(number);
                break;
            };
            if stream.wants_to_write() {
                self.streams.soil(number);
            }
            let (count, full) = match got {
                Got::Some(count) => (count, true),
                Got::Last(count) => (count, false),
            };
            hands.turn.received |= count > 0;
            self.take_messages(hands, now, number, &buffer[..waiting + count]);
            buffer[..waiting + count].fill(0); // nothing that was relayed stays
            if !full {
                break;
            }
        }
        hands.stream_buffer = buffer;
    }

    /// Finds the messages in what has arrived and keeps the beginning of the last.
    fn take_messages(&mut self, hands: &mut Hands, now: Now, number: u32, bytes: &[u8]) {
        let mut rest = bytes;
        loop {
            let Some(stream) = self.streams.get_mut(number).filter(|stream| !stream.doomed) else { return };
            if stream.departing {
                // What follows a ConnectionBind is data.
                stream.unfinished.clear();
                return stream.unfinished.extend_from_slice(rest);
            }
            let skipped = stream.skip.min(rest.len());
            stream.skip -= skipped;
            rest = &rest[skipped..];
            let frame = match rest.first() {
                Some(first) if !self.turn.may_begin_message(*first) => Frame::Garbage,
                _ => framing::next(rest, MAX_DATAGRAM_BYTES),
            };
            match frame {
                Frame::Message { len, padded } => {
                    stream.heard = now.mono;
                    let client = stream.client;
                    self.take_message(hands, now, &client, &rest[..len]);
                    rest = &rest[padded..];
                }
                Frame::TooLong { padded } => {
                    stream.skip = padded;
                    self.counters.too_long.add(1);
                }
                Frame::Incomplete => {
                    stream.unfinished.clear();
                    stream.unfinished.extend_from_slice(rest);
                    return;
                }
                Frame::Garbage => {
                    self.counters.streams_garbage.add(1);
                    return self.streams.doom(number);
                }
            }
        }
    }

    fn take_message(&mut self, hands: &mut Hands, now: Now, client: &FiveTuple, message: &[u8]) {
        if hands.batch.free() == 0 {
            self.flush(hands);
        }
        self.counters.from_clients.add(1);
        self.nap.count(1);
        let slot = hands.batch.place(message);
        let forward = self.turn.handle_client(now, client, &mut hands.batch.packet(slot, message.len()));
        self.queue(hands, now, slot, forward, 0); // RFC 8656 §15: Best Effort, Not-ECT
    }

    /// Stage 4 for a stream client: here, or left for the worker that owns it.
    pub(super) fn queue_for_stream(
        &mut self,
        hands: &mut Hands,
        to: Connection,
        message: (usize, std::ops::Range<usize>),
    ) {
        let bytes = hands.batch.bytes(message.0, message.1);
        if to.worker == self.number {
            return self.push_data(to.number, bytes);
        }
        match self.everybody.leave(to.worker, to.number, bytes) {
            Ok(first) => {
                self.counters.parcels.add(1);
                if first && !hands.to_ring.contains(&to.worker) {
                    hands.to_ring.push(to.worker);
                }
            }
            Err(_) => self.counters.parcels_full.add(1),
        }
    }

    fn push_data(&mut self, number: u32, message: &[u8]) {
        match self.streams.push_data(number, message) {
            Pushed::Waits { dropped: 0 } => {}
            Pushed::Waits { dropped } => self.counters.stream_slow.add(dropped),
            Pushed::Gone => self.counters.stream_gone.add(1),
        }
    }

    /// An answer; the machine that gives it belongs to the worker that owns the stream.
    pub(super) fn reply_on_stream(&mut self, to: Connection, bytes: &[u8]) {
        let stream = self.streams.get_mut(to.number).filter(|stream| to.worker == self.number && !stream.doomed);
        let Some(stream) = stream else { return self.counters.stream_gone.add(1) };
        if stream.outbox.push_reply(bytes).is_ok() {
            self.streams.soil(to.number);
        } else {
            self.counters.streams_unread.add(1);
            self.streams.doom(to.number);
        }
    }

    /// Stage 8: write to streams what this turn brought, wake the workers that were left something, close what is over.
    pub(super) fn flush_streams(&mut self, hands: &mut Hands, now: Now) {
        for worker in hands.to_ring.drain(..) {
            self.everybody.ring(worker);
        }
        while let Some(number) = self.streams.next_dirty() {
            self.flush_stream(number);
        }
        while let Some(number) = self.streams.next_doomed() {
            self.close_stream(number);
            self.act(hands, now);
        }
        self.hand_over_streams();
    }

    fn flush_stream(&mut self, number: u32) {
        let Some(stream) = self.streams.get_mut(number).filter(|stream| !stream.doomed) else { return };
        let (mut moved, mut calls) = (0, 0);
        let left = stream.flush(&mut moved, &mut calls);
        self.counters.sent.add(moved);
        self.counters.stream_writes.add(calls);
        let Ok(left) = left else { return self.streams.doom(number) };
        let wait = left == Left::Some;
        if wait != stream.waits_for_room {
            stream.waits_for_room = wait;
            let watched = self.epoll.watch_room(stream.socket.as_fd(), Place::Stream(number).number(), wait);
            if watched.is_err() {
                self.streams.doom(number);
            }
        }
    }

    /// The five-tuple is no more: what it allocated goes at once.
    fn close_stream(&mut self, number: u32) {
        let Some(mut stream) = self.streams.remove(number) else { return };
        stream.farewell();
        self.counters.streams.sub(1);
        self.turn.handle_disconnect(&stream.client);
    }

    /// Stage 7 for streams: those that are silent for too long and have nothing here.
    pub(super) fn tick_streams(&mut self, now: Now) {
        while let Some(number) = self.streams.due(now.mono) {
            let Some(stream) = self.streams.get_mut(number) else { continue };
            let has_allocation = self.turn.has_allocation(&stream.client);
            if self.streams.is_silent(number, now.mono, has_allocation) {
                self.counters.streams_idle.add(1);
                self.streams.doom(number);
            }
        }
    }
}
