//! Listening to one side of a call, for as long as signalling asks: since when media flows, how much of it is missing, how unevenly it comes.
//!
//! Of a packet only the RTP header is looked at (RFC 3550 §5.1), which SRTP leaves in the clear, and nothing of it is kept but counts.

use super::RelayedPort;
use super::Turn;
use crate::auth::Identity;
use crate::calls::{Heard, Media};
use crate::time::Millis;

/// A sequence number this far from the last one begins a new stream (RFC 3550 §A.1).
const MAX_DROPOUT: u16 = 3_000;
/// Payload types below have a clock of 8 kHz (RFC 3551 §6); WebRTC's others that carry voice have Opus's of 48 kHz (RFC 7587 §4.1).
const STATIC_TYPES: u8 = 35;

/// What was heard since the ear was opened.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ear {
    since: Option<Millis>,
    source: u32,
    last: u16,
    counts: Media,
    /// When the last packet came, and its timestamp.
    arrival: Millis,
    timestamp: u32,
    /// Sixteenths of a millisecond.
    jitter: i64,
}

/// What of an RTP header says how a stream is doing.
struct Header {
    sequence: u16,
    timestamp: u32,
    source: u32,
    ticks_per_milli: i64,
}

impl Turn {
    /// Says in the ledger what was heard of a side of a call; with `media` its stream is listened to from now on.
    pub(super) fn listen(&mut self, port: RelayedPort, media: bool) {
        let Some(key) = self.allocations.find_port(port) else { return };
        let Some(allocation) = self.allocations.get_mut(key) else { return };
        let Identity::Call(handle) = allocation.owner.identity() else { return };
        let media_heard = allocation.ear.as_deref().map(Ear::heard);
        let heard = Heard { last: allocation.heard, media: media_heard.unwrap_or_default() };
        match (media, &allocation.ear) {
            (true, None) => allocation.ear = Some(Box::default()),
            (false, Some(_)) => allocation.ear = None,
            _ => {}
        }
        self.shared.ledger.note_heard(&handle, heard);
    }
}

impl Ear {
    /// A packet of that side. Data path.
    pub(crate) fn hear(&mut self, now: Millis, payload: &[u8]) {
        let Some(header) = Header::read(payload) else { return };
        self.since.get_or_insert(now);
        let step = header.sequence.wrapping_sub(self.last);
        let back = self.last.wrapping_sub(header.sequence);
        let is_new = self.counts.received == 0 || header.source != self.source;
        if is_new || step.min(back) > MAX_DROPOUT {
            (self.source, self.last) = (header.source, header.sequence);
            self.counts.expected = self.counts.expected.saturating_add(1);
            (self.arrival, self.timestamp) = (now, header.timestamp);
        } else if step <= MAX_DROPOUT {
            self.last = header.sequence;
            self.counts.expected = self.counts.expected.saturating_add(step.into());
            self.steady(&header, now);
        }
        self.counts.received = self.counts.received.saturating_add(1);
    }

    /// RFC 3550 §6.4.1 and §A.8, in milliseconds: timestamps are numbers modulo 2^32, so only their difference says anything.
    fn steady(&mut self, header: &Header, now: Millis) {
        let waited = (now.0 as i64).wrapping_sub(self.arrival.0 as i64);
        let ticks = header.timestamp.wrapping_sub(self.timestamp).cast_signed();
        let difference = (waited - i64::from(ticks) / header.ticks_per_milli).abs().min(1 << 20);
        (self.arrival, self.timestamp) = (now, header.timestamp);
        self.jitter += difference - (self.jitter + 8) / 16;
    }

    fn heard(&self) -> Media {
        let jitter_ms = u32::try_from(self.jitter / 16).unwrap_or(0);
        Media { since: self.since, jitter_ms, ..self.counts }
    }
}

impl Header {
    /// `None` for whatever is no RTP: STUN, DTLS (RFC 7983), RTCP (RFC 5761 §4), noise.
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
            ticks_per_milli: if second & 0x7F < STATIC_TYPES { 8 } else { 48 },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Opus in 20 ms frames, packet `number` of a stream that begins shortly before its numbers and its timestamps wrap.
    fn packet(number: u32) -> [u8; 20] {
        let mut bytes = [0; 20];
        (bytes[0], bytes[1]) = (0x80, 111);
        bytes[2..4].copy_from_slice(&(65_530 + number).to_be_bytes()[2..]);
        bytes[4..8].copy_from_slice(&number.wrapping_mul(960).wrapping_sub(20_000).to_be_bytes());
        bytes
    }

    fn listen(packets: impl Iterator<Item = (u32, u64)>) -> Media {
        let mut ear = Ear::default();
        packets.for_each(|(number, at)| ear.hear(Millis(at), &packet(number)));
        ear.heard()
    }

    #[test]
    fn a_whole_stream_is_whole_across_the_wrap_of_its_numbers() {
        let media = listen((0..100).map(|number| (number, 1_000 + u64::from(number) * 20)));
        assert_eq!(media, Media { since: Some(Millis(1_000)), expected: 100, received: 100, jitter_ms: 0 });
    }

    #[test]
    fn what_is_missing_is_counted_and_what_comes_late_is_not() {
        let gaps = listen((0..100).filter(|number| number % 10 != 5).map(|number| (number, u64::from(number) * 20)));
        assert_eq!((gaps.expected, gaps.received), (100, 90));
        let swapped = listen((0..100).map(|number| (number ^ 1, u64::from(number) * 20)));
        assert_eq!((swapped.expected, swapped.received), (99, 100), "the very first one came second");
    }

    #[test]
    fn uneven_arrival_is_jitter() {
        let media = listen((0..500).map(|number| (number, u64::from(number) * 20 + u64::from(number % 2) * 40)));
        assert!((38..=40).contains(&media.jitter_ms), "{}", media.jitter_ms);
    }

    #[test]
    fn a_new_source_or_a_leap_begins_anew_and_loses_nothing() {
        let mut ear = Ear::default();
        (0..10).for_each(|number| ear.hear(Millis(u64::from(number) * 20), &packet(number)));
        let mut other = packet(40_000);
        ear.hear(Millis(300), &other);
        other[11] = 1;
        ear.hear(Millis(320), &other);
        assert_eq!((ear.heard().expected, ear.heard().received), (12, 12));
    }

    #[test]
    fn only_rtp_is_media() {
        let mut ear = Ear::default();
        let rtcp = [0x80, 200, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let (stun, dtls) = ([0; 20], [22; 60]);
        for bytes in [&rtcp[..], &stun, &dtls, &packet(0)[..11], &[]] {
            ear.hear(Millis(5), bytes);
        }
        assert_eq!(ear.heard(), Media::default());
    }
}
