//! What one session was sent lately, so that a broken connection loses nothing (matching.md §4.1, X1).
//!
//! Frames are numbered; the last ones are kept for as long as a connection may be resumed, and no longer. At the end of a call
//! everything is wiped.

use std::collections::VecDeque;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::RESUME_MS;
use crate::signalling::message::{MAX_SAFE_INTEGER, TextFrame};
use crate::time::Millis;

/// Frames kept for one session.
pub(super) const MAX_FRAMES: usize = 64;
/// Bytes kept for one session.
pub(super) const MAX_BYTES: usize = 64 * 1024;

#[derive(Default)]
pub(super) struct Replay {
    last: u64,
    /// Nothing up to here can be sent again.
    floor: u64,
    bytes: usize,
    frames: VecDeque<Sent>,
}

#[derive(Serialize, Deserialize)]
struct Sent {
    n: u64,
    at: Millis,
    json: String,
}

impl Replay {
    /// Numbers a frame and keeps a copy.
    pub(super) fn number(&mut self, now: Millis, frame: &mut TextFrame) {
        self.last += 1;
        frame.number(self.last);
        self.bytes += frame.json.len();
        self.frames.push_back(Sent { n: self.last, at: now, json: frame.json.clone() });
        while self.frames.len() > MAX_FRAMES || self.bytes > MAX_BYTES {
            self.forget_oldest();
        }
    }

    /// Whether everything after `n` can be sent again. A number that was never used belongs to somebody else's session.
    pub(super) fn reaches_back_to(&self, n: u64) -> bool {
        (self.floor..=self.last).contains(&n)
    }

    /// Everything after `n`, in order.
    pub(super) fn after(&self, n: u64) -> impl Iterator<Item = &str> {
        self.frames.iter().filter(move |sent| sent.n > n).map(|sent| &*sent.json)
    }

    /// The client has everything up to `n`.
    pub(super) fn acknowledged(&mut self, n: u64) {
        while self.frames.front().is_some_and(|sent| sent.n <= n) {
            self.forget_oldest();
        }
    }

    /// Forgets what is too old to be asked for.
    pub(super) fn forget_expired(&mut self, now: Millis) {
        while self.frames.front().is_some_and(|sent| now.since(sent.at) >= RESUME_MS) {
            self.forget_oldest();
        }
    }

    /// The call is over: what belonged to it cannot be had again, and nobody misses it.
    pub(super) fn wipe(&mut self) {
        self.frames.clear();
        self.bytes = 0;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    fn forget_oldest(&mut self) {
        if let Some(sent) = self.frames.pop_front() {
            self.floor = sent.n;
            self.bytes -= sent.json.len();
        }
    }
}

impl Serialize for Replay {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.last, self.floor, &self.frames).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Replay {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Replay, D::Error> {
        let (last, floor, frames) = <(u64, u64, VecDeque<Sent>)>::deserialize(deserializer)?;
        let bytes = frames.iter().map(|sent| sent.json.len()).sum();
        if last > MAX_SAFE_INTEGER || frames.len() > MAX_FRAMES || bytes > MAX_BYTES {
            return Err(D::Error::custom("more than is kept"));
        }
        Ok(Replay { last, floor, bytes, frames })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(replay: &mut Replay, at: u64, json: &str) -> String {
        let mut frame = TextFrame { json: json.to_owned(), droppable: false };
        replay.number(Millis(at), &mut frame);
        frame.json
    }

    fn after(replay: &Replay, n: u64) -> Vec<&str> {
        replay.after(n).collect()
    }

    #[test]
    fn frames_are_numbered_and_can_be_had_again() {
        let mut replay = Replay::default();
        assert_eq!(send(&mut replay, 0, r#"{"t":"left"}"#), r#"{"t":"left","n":1}"#);
        send(&mut replay, 0, r#"{"t":"tuned"}"#);
        assert!((0..=2).all(|n| replay.reaches_back_to(n)) && !replay.reaches_back_to(3));
        assert_eq!(after(&replay, 1), [r#"{"t":"tuned","n":2}"#]);
        replay.acknowledged(1);
        assert!(!replay.reaches_back_to(0));
        assert_eq!(after(&replay, 1).len(), 1);
    }

    #[test]
    fn nothing_is_kept_longer_than_a_connection_may_be_resumed() {
        let mut replay = Replay::default();
        send(&mut replay, 0, "{}");
        send(&mut replay, 1, "{}");
        replay.forget_expired(Millis(RESUME_MS));
        assert!(!replay.reaches_back_to(0) && replay.reaches_back_to(1));
        replay.forget_expired(Millis(RESUME_MS + 1));
        assert!(replay.is_empty() && replay.bytes == 0 && replay.reaches_back_to(2));
    }

    #[test]
    fn the_buffer_is_bounded_in_frames_and_in_bytes() {
        let mut replay = Replay::default();
        for _ in 0..2 * MAX_FRAMES {
            send(&mut replay, 0, "{}");
        }
        assert_eq!((replay.frames.len(), replay.floor), (MAX_FRAMES, MAX_FRAMES as u64));
        send(&mut replay, 0, &"x".repeat(MAX_BYTES));
        assert!(replay.is_empty() && replay.bytes == 0);
    }

    #[test]
    fn a_wiped_buffer_is_empty_and_can_still_be_resumed_from() {
        let mut replay = Replay::default();
        send(&mut replay, 0, r#"{"t":"text"}"#);
        replay.wipe();
        send(&mut replay, 0, r#"{"t":"ended"}"#);
        assert!(replay.reaches_back_to(0));
        assert_eq!(after(&replay, 0), [r#"{"t":"ended","n":2}"#]);
    }
}
