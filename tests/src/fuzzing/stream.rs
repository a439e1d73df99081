//! Everything that reads the beginning of a stream: framing, PROXY header, what is spoken.

use relay::stream::proxy::{self, Parsed};
use relay::stream::sniff::{ENOUGH_BYTES, Spoken, sniff};
use relay::wire::framing::{self, Frame};

/// Longest message wanted.
const LIMIT: usize = 9216;

/// Reads the bytes as all three; each must make progress, stop, or ask for more within its bound, and not change its mind.
pub(super) fn run(bytes: &[u8]) {
    frames(bytes);
    match proxy::parse(bytes) {
        Parsed::Header(header) => assert!((proxy::HEADER_BYTES..=bytes.len()).contains(&header.len)),
        Parsed::Incomplete(needed) => assert!(needed > bytes.len() && needed <= proxy::MAX_BYTES),
        Parsed::Refused => assert_eq!(proxy::parse(&[bytes, b"more"].concat()), Parsed::Refused),
    }
    let spoken = sniff(bytes);
    if spoken != Spoken::Unclear {
        assert_eq!(sniff(&[bytes, b"more"].concat()), spoken);
    } else {
        assert!(bytes.len() < ENOUGH_BYTES);
    }
}

/// The stream whole and byte by byte is the same messages.
fn frames(bytes: &[u8]) {
    let (mut rest, mut waiting, mut bytewise) = (bytes, Vec::new(), bytes.iter());
    loop {
        match framing::next(rest, LIMIT) {
            Frame::Message { len, padded } => {
                assert!(len <= LIMIT && len <= padded && padded <= rest.len() && padded % 4 == 0 && len > 0);
                while framing::next(&waiting, LIMIT) == Frame::Incomplete {
                    waiting.push(*bytewise.next().expect("as many bytes as there are"));
                }
                assert_eq!(framing::next(&waiting, LIMIT), Frame::Message { len, padded });
                assert_eq!(waiting, rest[..padded]);
                waiting.clear();
                rest = &rest[padded..];
            }
            Frame::TooLong { padded } => return assert!(padded > LIMIT && padded % 4 == 0),
            Frame::Incomplete | Frame::Garbage => return,
        }
    }
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let binding = b"\x00\x01\x00\x00\x21\x12\xa4\x42twelve bytes".to_vec();
    let channel = b"\x40\x01\x00\x05voice\0\0\0".to_vec();
    let proxy = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc6\x33\x64\x07\xcb\x00\x71\x01\xc0\x01\x0d\x96".to_vec();
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec();
    let both = [&binding[..], &channel, &channel, &binding].concat();
    let behind = [&proxy[..], &binding].concat();
    let http = b"GET /v1/ws HTTP/1.1\r\nhost: x\r\n\r\n".to_vec();
    vec![binding, channel, proxy, hello, both, behind, http]
}
