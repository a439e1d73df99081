//! Listening to one side of a call as its packets reach the relay: since when media flows, what of it is missing, doubled, late or
//! silent, how unevenly it comes (RFC 3550 §A.1, §A.3, §A.8), and how far away its sender is (see [`super::consent`]).
//!
//! Of a packet only the RTP header is looked at (RFC 3550 §5.1), which SRTP leaves in the clear, and nothing of it is kept but counts.
//! No header extension is ever read, so encrypted ones (RFC 6904, RFC 9335) change nothing.

use serde::{Deserialize, Serialize};

use super::RelayedPort;
use super::Turn;
use super::allocation::Allocation;
use super::consent::Check;
use super::shared::Shared;
use crate::auth::Identity;
use crate::calls::{Heard, Media};
use crate::time::Millis;

/// A sequence number this far from the highest one begins a new stream (RFC 3550 §A.1).
const MAX_DROPOUT: u16 = 3_000;
/// Payload types below have a clock of 8 kHz (RFC 3551 §6); WebRTC's others that carry voice have Opus's of 48 kHz (RFC 7587 §4.1).
const STATIC_TYPES: u8 = 35;
/// The longest frame one packet of voice holds (RFC 7587 §4.2): timestamps that advance by more per packet have passed over silence.
const LONGEST_FRAME_MS: u32 = 120;
/// Longest difference in the way of two packets that counts as jitter, in microseconds: a minute.
const MAX_DIFFERENCE: u64 = 60_000_000;

/// What was heard of one side. What a packet that comes as expected touches stands in one cache line.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[repr(C, align(64))]
pub(crate) struct Ear {
    /// The one that speaks, and the one that spoke before it: a new one may begin while the old one ends.
    streams: [Stream; 2],
    /// When the first packet of media came.
    since: Option<Millis>,
    /// Nothing but that is wanted.
    first_only: bool,
    /// What the streams before these two came to.
    past: Media,
    /// To the sender and back in microseconds, smoothed (RFC 6298 §2).
    round_trip: Option<u32>,
}

/// One synchronisation source (RFC 3550 §3). None yet while `base` is above `highest`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[repr(C)]
struct Stream {
    source: u32,
    /// The highest sequence number, wraps counted, and the lowest. The first stands for itself plus 65 536: others may have been overtaken by it.
    highest: u32,
    base: u32,
    /// What the timestamp and the time between two packets are expected to advance by: a frame, and that in microseconds.
    frame: u32,
    frame_micros: u32,
    /// The last packet's.
    timestamp: u32,
    /// Sixteenths of a microsecond.
    jitter: u32,
    /// Numbers between `base` and `highest` that have not come.
    missing: u32,
    /// Which of the last 64 numbers have come, the highest one in the lowest bit.
    seen: u64,
    /// When the last packet came, in microseconds.
    arrival: u64,
    /// By how many ticks the last packet's timestamp lies behind the highest one's, if it was overtaken.
    behind: u32,
    duplicates: u32,
    reordered: u32,
    /// Milliseconds of the stream's own time for which there was no packet, because there was nothing to say.
    silent_ms: u32,
}

/// What of an RTP header says how a stream is doing.
struct Header {
    sequence: u16,
    timestamp: u32,
    source: u32,
    payload_type: u8,
}

impl Turn {
    /// Says in the ledger what was heard of a side of a call. With `media` its stream is listened to from now on: all the time where
    /// [`super::Settings::quality`] says so, else until its first packet.
    pub(super) fn listen(&mut self, port: RelayedPort, media: bool) {
        let Some(key) = self.allocations.find_port(port) else { return };
        let Some(allocation) = self.allocations.get_mut(key) else { return };
        allocation.say_what_was_heard(&self.shared);
        let quality = self.shared.settings.quality;
        allocation.ear.take_if(|ear| !media || ear.first_only == quality);
        if media && !quality {
            allocation.ear.get_or_insert_with(|| Box::new(Ear::for_the_first_packet()));
        }
    }
}

impl Allocation {
    /// A packet of its client, at `at` in microseconds. Data path. The ear is made with the first packet of a call: who waits needs none.
    #[inline]
    pub(super) fn hear(&mut self, at: u64, payload: &[u8], shared: &Shared) {
        let Some(ear) = &mut self.ear else {
            if self.is_call_bound() && shared.settings.quality {
                self.open_ear(at, payload, shared);
            }
            return;
        };
        if !ear.hear(at, payload) && payload.first().is_some_and(|first| *first < 4) {
            self.notice_check(at, payload, shared);
        }
    }

    #[cold]
    fn open_ear(&mut self, at: u64, payload: &[u8], shared: &Shared) {
        if self.relayed.ports().any(|port| shared.routes.side(port).is_paired()) {
            self.ear = Some(Box::default());
            self.hear(at, payload, shared);
        }
    }

    /// A connectivity check (RFC 8445 §7) towards the partner is noted for it; an answer to one of the partner's tells this side's round trip.
    #[cold]
    fn notice_check(&mut self, at: u64, payload: &[u8], shared: &Shared) {
        let (Some(check), Some(ear)) = (Check::read(payload), &mut self.ear) else { return };
        let Some(port) = self.relayed.ports().next() else { return };
        let side = shared.routes.side(port);
        match check {
            Check::Request(transaction) => shared.checks.asks(side.partner(), transaction, at),
            Check::Answer(transaction) => {
                if let Some(micros) = shared.checks.answers(side, transaction, at).filter(|_| !ear.first_only) {
                    ear.note_round_trip(micros);
                }
            }
        }
    }

    /// Into the ledger. A dual allocation has one ear, known by the first of its ports.
    pub(super) fn say_what_was_heard(&self, shared: &Shared) {
        let (Identity::Call(handle), Some(port)) = (self.owner.identity(), self.relayed.ports().next()) else { return };
        let media = self.ear.as_deref().map(Ear::heard).unwrap_or_default();
        shared.ledger.note_heard(&handle, port, Heard { last: self.heard, media });
    }
}

impl Ear {
    fn for_the_first_packet() -> Ear {
        Ear { first_only: true, ..Ear::default() }
    }

    /// A packet of that side, at `at` in microseconds; whether it was media. Data path, and not part of its other code: who has no ear
    /// should not pay for the registers this takes.
    #[inline(never)]
    fn hear(&mut self, at: u64, payload: &[u8]) -> bool {
        let Some(header) = Header::read(payload) else { return false };
        let stream = &mut self.streams[0];
        if stream.is_next(&header) {
            stream.next(at, &header)
        } else {
            self.hear_what_was_not_expected(at, &header)
        }
        true
    }

    #[cold]
    fn hear_what_was_not_expected(&mut self, at: u64, header: &Header) {
        self.since.get_or_insert(Millis(at / 1000));
        if self.first_only {
            return;
        }
        if !self.streams[0].is(header.source) {
            self.streams.swap(0, 1);
        }
        let stream = &mut self.streams[0];
        if !(stream.is(header.source) && stream.take(at, header)) {
            self.past = self.past.and(&stream.heard());
            *stream = Stream::beginning(at, header);
        }
    }

    fn note_round_trip(&mut self, micros: u32) {
        let smoothed = |before: u32| before - before / 8 + micros / 8;
        self.round_trip = Some(self.round_trip.map_or(micros, smoothed));
    }

    fn heard(&self) -> Media {
        let [now, before] = &self.streams;
        let jitter_micros = now.jitter >> 4;
        let round_trip_micros = self.round_trip;
        Media {
            since: self.since,
            jitter_micros,
            round_trip_micros,
            ..self.past.and(&before.heard()).and(&now.heard())
        }
    }
}

impl Default for Stream {
    fn default() -> Stream {
        Stream {
            source: 0,
            highest: 0,
            base: 1,
            frame: u32::MAX,
            frame_micros: 0,
            timestamp: 0,
            jitter: 0,
            missing: 0,
            seen: 0,
            arrival: 0,
            behind: 0,
            duplicates: 0,
            reordered: 0,
            silent_ms: 0,
        }
    }
}

impl Stream {
    fn beginning(at: u64, header: &Header) -> Stream {
        let first = (1 << 16) + u32::from(header.sequence);
        let (source, timestamp) = (header.source, header.timestamp);
        Stream { source, highest: first, base: first, timestamp, seen: 1, arrival: at, ..Stream::default() }
    }

    fn is(&self, source: u32) -> bool {
        self.source == source && self.base <= self.highest
    }

    /// The next number of this stream, one frame later.
    #[inline]
    fn is_next(&self, header: &Header) -> bool {
        header.source == self.source
            && header.timestamp.wrapping_sub(self.timestamp) == self.frame
            && header.sequence == (self.highest as u16).wrapping_add(1)
    }

    #[inline]
    fn next(&mut self, at: u64, header: &Header) {
        self.highest = self.highest.wrapping_add(1);
        self.seen = self.seen << 1 | 1;
        self.timestamp = header.timestamp;
        self.steady(at.wrapping_sub(self.arrival).cast_signed().abs_diff(self.frame_micros.into()));
        self.arrival = at;
    }

    /// Any other packet of this source; `false` if it begins anew.
    fn take(&mut self, at: u64, header: &Header) -> bool {
        let step = header.sequence.wrapping_sub(self.highest as u16);
        let back = step.wrapping_neg();
        if step.min(back) > MAX_DROPOUT {
            return false;
        }
        let ticks = header.timestamp.wrapping_sub(self.timestamp).cast_signed();
        let ticks_per_milli = header.ticks_per_milli();
        let micros = i64::from(ticks) * 1_000 / i64::from(ticks_per_milli);
        let waited = at.wrapping_sub(self.arrival).cast_signed();
        self.steady(waited.abs_diff(micros));
        let highest = self.timestamp.wrapping_add(self.behind);
        (self.arrival, self.timestamp) = (at, header.timestamp);
        if (1..=MAX_DROPOUT).contains(&step) {
            self.behind = 0;
            self.advance(step.into());
            self.pass(step.into(), header.timestamp.wrapping_sub(highest).cast_signed(), ticks_per_milli);
        } else {
            self.behind = highest.wrapping_sub(header.timestamp);
            self.look_back(back.into());
        }
        true
    }

    fn advance(&mut self, step: u32) {
        self.highest = self.highest.saturating_add(step);
        self.missing = self.missing.saturating_add(step - 1);
        self.seen = self.seen.checked_shl(step).unwrap_or(0) | 1;
    }

    /// A number that is not new: it was overtaken, or came before. One too old to tell counts as overtaken, while any is missing.
    fn look_back(&mut self, back: u32) {
        let (number, bit) = (self.highest.saturating_sub(back), 1u64.checked_shl(back).unwrap_or(0));
        if self.seen & bit != 0 || bit == 0 && self.missing == 0 && number >= self.base {
            self.duplicates = self.duplicates.saturating_add(1);
            return;
        }
        self.seen |= bit;
        self.reordered = self.reordered.saturating_add(1);
        // What lies between it and the lowest so far is expected from now on.
        self.missing = self.missing.saturating_add(self.base.saturating_sub(number)).saturating_sub(1);
        self.base = self.base.min(number);
    }

    /// How the stream's own time went on over `step` packets. The shortest advance there was is a frame.
    fn pass(&mut self, step: u32, ticks: i32, ticks_per_milli: u32) {
        let Ok(ticks @ 1..) = u32::try_from(ticks) else { return };
        let each = ticks / step;
        if each > 0 && each < self.frame {
            self.frame = each;
            self.frame_micros = (u64::from(each) * 1_000 / u64::from(ticks_per_milli)) as u32;
        }
        if each > LONGEST_FRAME_MS * ticks_per_milli {
            let silent_ms = (ticks - step * self.frame.min(each)) / ticks_per_milli;
            self.silent_ms = self.silent_ms.saturating_add(silent_ms);
        }
    }

    /// RFC 3550 §A.8: on every packet, in order of arrival.
    #[inline]
    fn steady(&mut self, difference: u64) {
        self.jitter = self.jitter - ((self.jitter + 8) >> 4) + difference.min(MAX_DIFFERENCE) as u32;
    }

    fn heard(&self) -> Media {
        let expected = self.highest.wrapping_add(1).saturating_sub(self.base);
        let spoken_ms = u64::from(expected) * u64::from(self.frame_micros) / 1_000;
        Media {
            expected,
            received: expected.saturating_sub(self.missing),
            duplicates: self.duplicates,
            reordered: self.reordered,
            silent_ms: self.silent_ms,
            spoken_ms: u32::try_from(spoken_ms).unwrap_or(u32::MAX),
            ..Media::default()
        }
    }
}

impl Header {
    /// `None` for whatever is no RTP: STUN, DTLS (RFC 7983), RTCP (RFC 5761 §4), noise.
    #[inline]
    fn read(payload: &[u8]) -> Option<Header> {
        let (fixed, _) = payload.split_first_chunk::<12>()?;
        let [first, second, s0, s1, t0, t1, t2, t3, r0, r1, r2, r3] = *fixed;
        if first >> 6 != 2 || (192..=223).contains(&second) {
            return None;
        }
        Some(Header {
            sequence: u16::from_be_bytes([s0, s1]),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            source: u32::from_be_bytes([r0, r1, r2, r3]),
            payload_type: second & 0x7F,
        })
    }

    fn ticks_per_milli(&self) -> u32 {
        if self.payload_type < STATIC_TYPES { 8 } else { 48 }
    }
}

#[cfg(test)]
mod tests;
