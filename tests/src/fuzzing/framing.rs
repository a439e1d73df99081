//! Messages out of a stream. The bytes are a stream and, before it, where it is cut: however it arrives, the messages are
//! those that a second, plainer reader finds in the whole.

use super::bytes::Script;
use relay::wire::framing::{self, Frame};

/// Longest message wanted.
const LIMIT: usize = 9216;
/// Cuts at the beginning of the script.
const CUTS: usize = 8;

/// What a stream turned out to be: its messages, and whether it went out of step.
#[derive(PartialEq, Eq, Debug, Default)]
struct Read {
    messages: Vec<Vec<u8>>,
    too_long: usize,
    garbage: bool,
}

pub(super) fn run(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let cuts: Vec<usize> = (0..CUTS).map(|_| usize::from(script.byte())).collect();
    let stream = bytes.get(CUTS..).unwrap_or_default();
    let expected = plainly(stream);
    assert_eq!(arrive(stream, &[stream.len()]), expected, "all at once");
    assert_eq!(arrive(stream, &cuts), expected, "in pieces");
    assert_eq!(arrive(stream, &[1]), expected, "byte by byte");
}

/// As a worker reads: what is unfinished waits in front of what arrives, which never exceeds the longest message.
fn arrive(stream: &[u8], pieces: &[usize]) -> Read {
    let (mut read, mut waiting, mut skip, mut rest) = (Read::default(), Vec::new(), 0, stream);
    for piece in pieces.iter().cycle() {
        if rest.is_empty() || read.garbage {
            break;
        }
        let (now, later) = rest.split_at((*piece).clamp(1, rest.len()));
        rest = later;
        waiting.extend_from_slice(now);
        take(&mut read, &mut waiting, &mut skip);
        assert!(waiting.len() < LIMIT.next_multiple_of(4), "what waits has a bound");
    }
    read
}

fn take(read: &mut Read, waiting: &mut Vec<u8>, skip: &mut usize) {
    loop {
        let skipped = (*skip).min(waiting.len());
        waiting.drain(..skipped);
        *skip -= skipped;
        match framing::next(waiting, LIMIT) {
            Frame::Message { len, padded } => {
                assert!(0 < len && len <= padded && padded <= waiting.len());
                assert_eq!(padded - len, framing::padding(len).len());
                read.messages.push(waiting[..len].to_vec());
                waiting.drain(..padded);
            }
            Frame::TooLong { padded } => {
                assert!(padded > LIMIT, "longer than wanted");
                read.too_long += 1;
                *skip = padded;
            }
            Frame::Incomplete => return,
            Frame::Garbage => {
                read.garbage = true;
                return;
            }
        }
    }
}

/// RFC 8489 §5 and RFC 8656 §12.5 in the order of their sentences, over the whole stream.
fn plainly(stream: &[u8]) -> Read {
    let (mut read, mut at) = (Read::default(), 0);
    while let Some(&first) = stream.get(at) {
        let length = |field: &[u8]| usize::from(field[0]) << 8 | usize::from(field[1]);
        let Some(field) = stream.get(at + 2..at + 4) else {
            read.garbage = first > 0x7F;
            return read;
        };
        let whole = match first >> 6 {
            0 => {
                let cookie: Vec<u8> = stream.iter().skip(at + 4).take(4).copied().collect();
                if !length(field).is_multiple_of(4) || !0x2112_A442_u32.to_be_bytes().starts_with(&cookie) {
                    read.garbage = true;
                    return read;
                }
                if cookie.len() < 4 {
                    return read;
                }
                20 + length(field)
            }
            1 => 4 + length(field),
            _ => {
                read.garbage = true;
                return read;
            }
        };
        let end = at + whole.div_ceil(4) * 4;
        if whole > LIMIT {
            read.too_long += 1;
        } else if end <= stream.len() {
            read.messages.push(stream[at..at + whole].to_vec());
        }
        at = end;
    }
    read
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let binding = b"\x00\x01\x00\x00\x21\x12\xa4\x42twelve bytes".to_vec();
    let with_attribute = b"\x00\x01\x00\x08\x21\x12\xa4\x42twelve bytes\x80\x22\x00\x03abc\0".to_vec();
    let channel = b"\x40\x01\x00\x05voice\0\0\0".to_vec();
    let empty = b"\x40\x01\x00\x00".to_vec();
    let too_long = [&b"\x4f\xff\x24\x01"[..], &[7; 9220], &binding].concat();
    let streams = [
        [&binding[..], &channel, &empty, &with_attribute].concat(),
        [&channel[..], &channel, &channel, b"\x80"].concat(),
        too_long,
        [&with_attribute[..], b"\x00\x01\x00\x01"].concat(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
    ];
    let cuts: [&[u8; CUTS]; 2] = [&[1, 2, 3, 4, 5, 6, 7, 8], &[19, 20, 21, 3, 1, 255, 4, 11]];
    streams.iter().zip(cuts.iter().cycle()).map(|(stream, cuts)| [&cuts[..], stream].concat()).collect()
}
