//! What waits to be written to one stream client: bounded, whole messages only. Pure.
//!
//! A client that reads slower than it is sent to loses the oldest relayed data: late voice is worth nothing, and TURN promises
//! datagrams. Answers to its requests are never dropped: a client that does not even read those is given up by its owner.

use std::collections::VecDeque;

use crate::wire::framing::padding;

/// Relayed data that waits for one client, in bytes. A second of good voice is half as much.
pub(super) const OUTBOX_DATA_BYTES: usize = 32 * 1024;
/// Answers that wait for one client, in bytes: more than a hundred.
pub(super) const OUTBOX_REPLY_BYTES: usize = 16 * 1024;
/// Written with one call at most, in bytes: what one TLS record holds.
pub(super) const CHUNK_BYTES: usize = 16 * 1024;
/// Memory one queue keeps while nothing waits, in bytes, until its connection is found to be quiet: room for a quarter of a second
/// of voice, so that late packets that come together do not use the heap each time.
const KEPT_BYTES: usize = 4 * 1024;

#[derive(Default)]
pub(super) struct Outbox {
    replies: Fifo,
    data: Fifo,
}

/// Whole messages, oldest first.
#[derive(Default)]
struct Fifo {
    bytes: VecDeque<u8>,
    lengths: VecDeque<u16>,
}

/// More answers wait than any client that reads would let.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unread;

impl Outbox {
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.replies.lengths.is_empty() && self.data.lengths.is_empty()
    }

    /// Appends a relayed message, padded with zeros; answers how many older ones had to go for it.
    pub(super) fn push_data(&mut self, message: &[u8]) -> u64 {
        let mut dropped = 0;
        while self.data.bytes.len() + message.len() + padding(message.len()).len() > OUTBOX_DATA_BYTES {
            if !self.data.drop_front() {
                return dropped + 1; // no room even alone: it is the one to go
            }
            dropped += 1;
        }
        self.data.push(message);
        dropped
    }

    /// Appends an answer.
    pub(super) fn push_reply(&mut self, message: &[u8]) -> Result<(), Unread> {
        if self.replies.bytes.len() + message.len() > OUTBOX_REPLY_BYTES {
            return Err(Unread);
        }
        self.replies.push(message);
        Ok(())
    }

    /// Moves whole messages, answers first, to the end of `chunk`, at most [`CHUNK_BYTES`] of them and at least one if there
    /// is any. Answers how many. What is moved is on its way: it can be dropped no more.
    pub(super) fn fill(&mut self, chunk: &mut Vec<u8>) -> u64 {
        let mut room = CHUNK_BYTES;
        let replies = self.replies.fill(chunk, &mut room);
        // An answer that did not fit keeps its place in front of the data.
        if self.replies.lengths.is_empty() { replies + self.data.fill(chunk, &mut room) } else { replies }
    }

    /// Gives the memory of what has left back.
    pub(super) fn shrink(&mut self) {
        for fifo in [&mut self.replies, &mut self.data] {
            if fifo.lengths.is_empty() {
                *fifo = Fifo::default();
            }
        }
    }

    /// Moves one message, an answer before data, into the empty `chunk`. Answers whether there was any.
    pub(super) fn pop(&mut self, chunk: &mut Vec<u8>) -> bool {
        self.replies.fill(chunk, &mut 0) > 0 || self.data.fill(chunk, &mut 0) > 0
    }
}

impl Fifo {
    fn push(&mut self, message: &[u8]) {
        let padding = padding(message.len());
        // Messages are far shorter than 64 KiB, and what is not would be cut here on its way in, not on its way out.
        let Ok(length) = u16::try_from(message.len() + padding.len()) else { return };
        self.bytes.extend(message);
        self.bytes.extend(padding);
        self.lengths.push_back(length);
    }

    fn drop_front(&mut self) -> bool {
        let Some(length) = self.lengths.pop_front() else { return false };
        self.bytes.drain(..usize::from(length));
        true
    }

    fn fill(&mut self, chunk: &mut Vec<u8>, room: &mut usize) -> u64 {
        let (mut moved, mut bytes) = (0, 0);
        while let Some(length) = self.lengths.front().map(|length| usize::from(*length)) {
            if length > *room && (bytes > 0 || !chunk.is_empty()) {
                break;
            }
            self.lengths.pop_front();
            *room = room.saturating_sub(length);
            bytes += length;
            moved += 1;
        }
        let (front, back) = self.bytes.as_slices();
        let split = bytes.min(front.len());
        chunk.extend_from_slice(&front[..split]);
        chunk.extend_from_slice(&back[..bytes - split]);
        self.bytes.drain(..bytes);
        if self.bytes.is_empty() && self.bytes.capacity() > KEPT_BYTES {
            *self = Fifo::default();
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn written(outbox: &mut Outbox) -> Vec<u8> {
        let mut all = Vec::new();
        while !outbox.is_empty() {
            let mut chunk = Vec::new();
            assert!(outbox.fill(&mut chunk) > 0);
            assert!(chunk.len() <= CHUNK_BYTES);
            all.extend(chunk);
        }
        all
    }

    #[test]
    fn messages_leave_in_order_each_padded_with_zeros() {
        let mut outbox = Outbox::default();
        for message in [&b"12345"[..], b"1234", b"1"] {
            assert_eq!(outbox.push_data(message), 0);
        }
        assert_eq!(written(&mut outbox), b"12345\0\0\x001234\x31\0\0\0");
    }

    #[test]
    fn answers_go_before_data() {
        let mut outbox = Outbox::default();
        outbox.push_data(b"data");
        outbox.push_reply(b"answer..").unwrap();
        assert_eq!(written(&mut outbox), b"answer..data");
    }

    #[test]
    fn forty_megabytes_for_a_client_that_never_reads_are_never_more_than_the_bound_and_the_newest_stays() {
        let mut outbox = Outbox::default();
        let (mut dropped, sent) = (0, 40_000u64);
        for number in 0..sent {
            let mut message = number.to_be_bytes().to_vec();
            message.resize(1000, 0);
            dropped += outbox.push_data(&message);
            assert!(outbox.data.bytes.len() <= OUTBOX_DATA_BYTES);
        }
        let left = written(&mut outbox);
        assert_eq!(left.len() as u64 / 1000, sent - dropped);
        assert_eq!(left[left.len() - 1000..][..8], (sent - 1).to_be_bytes());
        assert!(outbox.data.bytes.capacity() <= KEPT_BYTES, "memory comes back");
        outbox.push_data(b"voice");
        assert_eq!(written(&mut outbox).len(), 8);
        outbox.shrink();
        assert_eq!(
            (outbox.data.bytes.capacity(), outbox.data.lengths.capacity()),
            (0, 0),
            "all of it, once it is quiet"
        );
    }

    #[test]
    fn data_never_pushes_out_an_answer_and_unread_answers_have_an_end() {
        let mut outbox = Outbox::default();
        outbox.push_reply(&[1; 100]).unwrap();
        for _ in 0..100 {
            outbox.push_data(&[2; 1000]);
        }
        let mut answers = 1;
        while outbox.push_reply(&[1; 100]).is_ok() {
            answers += 1;
        }
        assert_eq!(answers, OUTBOX_REPLY_BYTES / 100);
        assert_eq!(written(&mut outbox).iter().filter(|byte| **byte == 1).count(), answers * 100);
    }

    #[test]
    fn the_longest_message_there_is_fits() {
        let mut outbox = Outbox::default();
        let longest = vec![3; crate::dataplane::MAX_DATAGRAM_BYTES + crate::turn::HEADROOM];
        assert_eq!(outbox.push_data(&longest), 0);
        assert_eq!(written(&mut outbox).len(), longest.len());
    }
}
