//! One voice-like packet: ChannelData around RTP around a payload that says whose it is and when it left.
//!
//! ```text
//! 0        4             16        24          32                  36      40      48         56      at most 176
//! channel  RTP header    magic     call hash   side ‖ 0 ‖ length   number  check   sent, ns   filler
//! ```

use crate::peer::stun::{CHANNEL_HEADER, write_channel_header};

/// RTP header without contributing sources or extension (RFC 3550 §5.1).
const RTP_HEADER: usize = 12;
/// The longest payload: G.711 at 20 ms.
pub const PAYLOAD: usize = 160;
/// The shortest: what identifies a packet, without filler.
pub const SHORTEST: usize = 40;
/// In front of the payload.
pub const OVERHEAD: usize = CHANNEL_HEADER + RTP_HEADER;
/// The whole datagram with the longest payload.
pub const LEN: usize = CHANNEL_HEADER + RTP_HEADER + PAYLOAD;
/// Packets a second in each direction.
pub const RATE: u32 = 50;
/// RTP clock ticks a packet: 8 kHz.
const TICKS: u32 = 160;
const MAGIC: u64 = 0x6c6f_6164_6765_6e31; // "loadgen1"
const FILLER: usize = PAYLOAD - SHORTEST;

/// Who sends: every packet of one direction of one call carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamId {
    /// Hash of the call's identifier.
    pub call: u64,
    /// 0: the offerer sends, 1: the answerer.
    pub side: u8,
}

/// What a received packet says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    pub stream: StreamId,
    pub number: u32,
    /// RTP's sixteen bits of the number.
    pub sequence: u16,
    /// Nanoseconds on the run's clock.
    pub sent: u64,
}

/// What arrived in a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    Media(Packet),
    /// RTP of ours by its looks, but not as it was sent.
    Corrupt,
    /// Something else, STUN for instance.
    Other,
}

impl StreamId {
    /// The direction in which the partner sends.
    pub fn partner(self) -> StreamId {
        StreamId { side: self.side ^ 1, ..self }
    }
}

/// What one packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    pub stream: StreamId,
    pub number: u32,
    /// Nanoseconds on the run's clock.
    pub sent: u64,
    pub payload_type: u8,
    /// RTP clock.
    pub timestamp: u32,
    /// The first packet of a talk spurt (RFC 3551 §4.1).
    pub marker: bool,
}

/// Writes packet `number` of `stream` for `channel`, as G.711 without pauses has it.
pub fn write(buffer: &mut [u8; LEN], channel: u16, stream: StreamId, number: u32, sent: u64) {
    let (timestamp, marker) = (number.wrapping_mul(TICKS), number == 0);
    write_frame(buffer, channel, Frame { stream, number, sent, payload_type: 0, timestamp, marker });
}

/// Writes `frame` for `channel`; the payload, a multiple of eight bytes from [`SHORTEST`] on, fills the buffer.
pub fn write_frame(buffer: &mut [u8], channel: u16, frame: Frame) {
    let (header, rest) = buffer.split_at_mut(CHANNEL_HEADER);
    if let Ok(header) = header.try_into() {
        write_channel_header(header, channel, rest.len() as u16);
    }
    let (rtp, payload) = rest.split_at_mut(RTP_HEADER);
    let Frame { stream, number, sent, .. } = frame;
    rtp[0] = 0x80;
    rtp[1] = frame.payload_type | if frame.marker { 0x80 } else { 0 };
    rtp[2..4].copy_from_slice(&(number as u16).to_be_bytes());
    rtp[4..8].copy_from_slice(&frame.timestamp.to_be_bytes());
    rtp[8..12].copy_from_slice(&(mix(stream.call ^ u64::from(stream.side)) as u32).to_be_bytes());
    write_payload(payload, stream, number, sent);
}

/// The payload alone.
pub fn write_payload(payload: &mut [u8], stream: StreamId, number: u32, sent: u64) {
    let [high, low] = (payload.len() as u16).to_be_bytes();
    payload[..8].copy_from_slice(&MAGIC.to_be_bytes());
    payload[8..16].copy_from_slice(&stream.call.to_be_bytes());
    payload[16..20].copy_from_slice(&[stream.side, 0, high, low]);
    payload[20..24].copy_from_slice(&number.to_be_bytes());
    payload[24..32].copy_from_slice(&checksum(stream, number, sent).to_be_bytes());
    payload[32..40].copy_from_slice(&sent.to_be_bytes());
    fill(&mut payload[SHORTEST..], stream, number);
}

/// Reads what came behind the ChannelData header; every byte is checked.
pub fn read(data: &[u8]) -> Content {
    let Some((rtp, payload)) = data.split_at_checked(RTP_HEADER) else { return Content::Other };
    if rtp[0] >> 6 != 2 {
        return Content::Other; // STUN begins with two zero bits (RFC 7983)
    }
    let sequence = u16::from_be_bytes([rtp[2], rtp[3]]);
    match read_payload(payload) {
        Some(packet) if packet.number as u16 == sequence => Content::Media(Packet { sequence, ..packet }),
        _ => Content::Corrupt,
    }
}

/// What a payload says, if every byte of it is as it was written; the sequence number is the payload's own.
pub fn read_payload(payload: &[u8]) -> Option<Packet> {
    let length = payload.len();
    if !(SHORTEST..=PAYLOAD).contains(&length) || !length.is_multiple_of(8) || word(payload, 0) != MAGIC {
        return None;
    }
    let stream = StreamId { call: word(payload, 8), side: payload[16] };
    let number = word(payload, 16) as u32;
    let sent = word(payload, 32);
    let mut expected = [0; FILLER];
    let expected = &mut expected[..length - SHORTEST];
    fill(expected, stream, number);
    let whole = word(payload, 24) == checksum(stream, number, sent)
        && payload[17] == 0
        && payload[18..20] == (length as u16).to_be_bytes()
        && payload[SHORTEST..] == *expected;
    whole.then_some(Packet { stream, number, sequence: number as u16, sent })
}

/// A hash of text that is the same in every build.
pub fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

fn fill(filler: &mut [u8], stream: StreamId, number: u32) {
    let mut state = mix(stream.call ^ (u64::from(number) << 1) ^ u64::from(stream.side));
    for chunk in filler.chunks_exact_mut(8) {
        chunk.copy_from_slice(&state.to_be_bytes());
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    }
}

fn checksum(stream: StreamId, number: u32, sent: u64) -> u64 {
    mix(mix(stream.call ^ sent) ^ (u64::from(number) << 8) ^ u64::from(stream.side))
}

/// The finaliser of SplitMix64.
pub(super) fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

fn word(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_be_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::stun::parse_channel_data;

    const STREAM: StreamId = StreamId { call: 0x1234_5678_9abc_def0, side: 1 };

    fn written() -> [u8; LEN] {
        let mut buffer = [0; LEN];
        write(&mut buffer, 0x4001, STREAM, 70_001, 123_456_789);
        buffer
    }

    #[test]
    fn a_packet_is_read_as_it_was_written() {
        let buffer = written();
        let (channel, data) = parse_channel_data(&buffer).unwrap_or((0, &[]));
        assert_eq!(channel, 0x4001);
        let packet = Packet { stream: STREAM, number: 70_001, sequence: 70_001u32 as u16, sent: 123_456_789 };
        assert_eq!(read(data), Content::Media(packet));
    }

    #[test]
    fn a_change_to_any_byte_of_the_payload_is_noticed() {
        for at in CHANNEL_HEADER + RTP_HEADER..LEN {
            let mut buffer = written();
            buffer[at] ^= 0x10;
            let changed = read(&buffer[CHANNEL_HEADER..]);
            assert!(changed == Content::Corrupt, "byte {at}: {changed:?}");
        }
    }

    #[test]
    fn a_truncated_packet_is_corrupt_and_stun_is_something_else() {
        let buffer = written();
        assert_eq!(read(&buffer[CHANNEL_HEADER..LEN - 1]), Content::Corrupt);
        assert_eq!(read(&buffer[CHANNEL_HEADER..LEN - 8]), Content::Corrupt);
        assert_eq!(read(&[0x01, 0x01, 0, 0, 0x21, 0x12, 0xa4, 0x42, 0, 0, 0, 0, 0]), Content::Other);
        assert_eq!(read(&[]), Content::Other);
    }
}
