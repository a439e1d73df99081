//! How much one allocation may relay, and in a call also of what shape: token buckets for packets and for bandwidth, and a look at the
//! first header, on the data path. Whatever else is dropped and counted.

use super::Turn;
use super::allocation::Key;
use super::counters::Reason;
use crate::access::{Bucket, Rate};
use crate::time::Millis;
use crate::wire;

/// What one allocation may relay in one direction. Both hold what they let through in a second, so that bursts pass.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Zero: no limit.
    pub packets_per_second: u32,
    /// Of payload. Zero: no limit.
    pub bits_per_second: u64,
}

/// What the sides of a call may send each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Payload {
    /// STUN, DTLS, SRTP and SRTCP ([`wire::demultiplex`]): who has got hold of a call's credentials has no tunnel for IP packets.
    #[default]
    WebRtc,
    Any,
}

/// The longest payload: any single packet fits into a full bucket, however low the limit.
pub(super) const MAX_PAYLOAD_BITS: u64 = 65_535 * 8;

impl Limits {
    pub const NONE: Limits = Limits { packets_per_second: 0, bits_per_second: 0 };

    /// Plenty for one voice: Opus sends 50 packets a second (100 in 10 ms frames) of at most some 128 kbit/s, twice that
    /// with redundancy (RFC 2198), and SRTP adds 22 bytes to each; RTCP, consent checks and a text channel add a dozen
    /// packets. A DTLS handshake is a burst of a few kilobytes, ICE checks one of 50 packets.
    pub const VOICE: Limits = Limits { packets_per_second: 400, bits_per_second: 512_000 };
}

/// [`Limits`] as the buckets want them.
#[derive(Clone, Copy)]
pub(crate) struct Rates {
    packets: Option<Rate>,
    bits: Option<Rate>,
}

/// One direction of one allocation.
#[derive(Clone, Copy, Default)]
pub(crate) struct Meter {
    packets: Bucket,
    bits: Bucket,
}

/// As seen from the client.
#[derive(Clone, Copy)]
pub(crate) enum Direction {
    Sent,
    Received,
}

impl Turn {
    /// Counts a packet that is about to be relayed, or says why it is not.
    pub(super) fn meter(&mut self, now: Millis, key: Key, which: Direction, payload: &[u8]) -> Result<(), Reason> {
        let Some(allocation) = self.allocations.get_mut(key) else { return Err(Reason::NoAllocation) };
        let in_call = allocation.is_call_bound();
        let rates = if in_call { &self.call_rates } else { &self.user_rates };
        match which {
            Direction::Sent => {
                if in_call && !self.call_payload.admits(payload) {
                    return Err(Reason::PayloadShape);
                }
                allocation.heard = now;
                allocation.hear(self.arrival, payload, &self.shared);
                allocation.sent.admit(now, payload.len(), rates)?;
                allocation.carried.add(payload.len());
            }
            Direction::Received => allocation.received.admit(now, payload.len(), rates)?,
        }
        if self.share.admit(&self.shared.total, now, payload.len()) { Ok(()) } else { Err(Reason::TotalRate) }
    }
}

impl Payload {
    #[inline]
    fn admits(self, payload: &[u8]) -> bool {
        self == Payload::Any || wire::demultiplex(payload).is_some()
    }
}

impl Rates {
    pub(crate) fn new(limits: Limits) -> Rates {
        let (packets, bits) = (limits.packets_per_second.into(), limits.bits_per_second);
        Rates { packets: Rate::new(packets, packets), bits: Rate::new(bits, bits.max(MAX_PAYLOAD_BITS)) }
    }
}

impl Meter {
    fn admit(&mut self, now: Millis, payload: usize, rates: &Rates) -> Result<(), Reason> {
        if rates.packets.is_some_and(|rate| !self.packets.take(now, 1, &rate)) {
            return Err(Reason::PacketRate);
        }
        if rates.bits.is_some_and(|rate| !self.bits.take(now, payload as u64 * 8, &rate)) {
            return Err(Reason::Bandwidth);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Millis = Millis(5_000);

    /// How many of a stream's packets get through in so many seconds.
    fn through(limits: Limits, every_millis: u64, payload: usize, secs: u64) -> u64 {
        let (rates, mut meter) = (Rates::new(limits), Meter::default());
        let sent = secs * 1_000 / every_millis;
        (0..sent).map(|n| u64::from(meter.admit(START.after(n * every_millis), payload, &rates).is_ok())).sum()
    }

    #[test]
    fn voice_never_notices_its_limits() {
        assert_eq!(through(Limits::VOICE, 20, 102, 600), 30_000, "Opus at 32 kbit/s in 20 ms frames");
        assert_eq!(through(Limits::VOICE, 10, 22 + 160, 600), 60_000, "128 kbit/s in 10 ms frames");
        assert_eq!(
            through(Limits::VOICE, 20, 22 + 2 * 320, 600),
            30_000,
            "128 kbit/s in 20 ms frames, each sent twice"
        );
        let (rates, mut meter) = (Rates::new(Limits::VOICE), Meter::default());
        assert!((0..40).all(|_| meter.admit(START, 1_200, &rates).is_ok()), "forty full packets at once");
    }

    #[test]
    fn a_stream_beyond_either_limit_is_cut_down_to_it() {
        let packets = through(Limits::VOICE, 1, 10, 100);
        assert!((40_000..=40_400).contains(&packets), "{packets} packets of 400 a second");
        let packets = through(Limits::VOICE, 5, 1_200, 100);
        assert!((5_300..=5_400).contains(&packets), "{packets} packets of 9600 bits from 512 kbit/s");
    }

    #[test]
    fn each_limit_has_its_own_reason() {
        let reason = |limits, payload| {
            let (rates, mut meter) = (Rates::new(limits), Meter::default());
            (0..1_000).find_map(|_| meter.admit(START, payload, &rates).err())
        };
        assert_eq!(reason(Limits { packets_per_second: 400, bits_per_second: 0 }, 1_200), Some(Reason::PacketRate));
        assert_eq!(reason(Limits { packets_per_second: 0, bits_per_second: 512_000 }, 1_200), Some(Reason::Bandwidth));
        assert_eq!(reason(Limits::NONE, 65_535), None);
    }

    #[test]
    fn the_longest_packet_fits_through_the_lowest_limit_once_in_a_while() {
        let (rates, mut meter) = (Rates::new(Limits { packets_per_second: 1, bits_per_second: 8 }), Meter::default());
        assert_eq!(meter.admit(START, 65_535, &rates), Ok(()));
        assert_eq!(meter.admit(START.after(1_000), 2, &rates), Err(Reason::Bandwidth));
        assert_eq!(meter.admit(START.after(65_535_000), 65_535, &rates), Ok(()));
    }
}
