//! Where one message ends and the next begins on a stream (RFC 8656 §12.5, RFC 8489 §6.2.2). Pure: bytes in, lengths out.
//!
//! There is no way back into step: bytes that begin no message end the connection.

use super::{MAGIC_COOKIE, STUN_HEADER, channel_data};

/// Messages are aligned to this on a stream.
const ALIGNMENT: usize = 4;

/// What lies at the beginning of a stretch of stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Frame {
    /// A whole message of `len` bytes; the next one begins after `padded`.
    Message { len: usize, padded: usize },
    /// A message that goes on: more bytes are needed.
    Incomplete,
    /// A message of more than `limit` bytes: pass over `padded` bytes.
    TooLong { padded: usize },
    /// No message begins like this.
    Garbage,
}

/// Looks at the beginning of `stream`; messages of up to `limit` bytes (padding apart) are wanted.
///
/// STUN messages are their own padding: their length is a multiple of four. ChannelData is padded to one (RFC 8656 §12.5);
/// it is whole when its padding is there too.
#[inline]
pub fn next(stream: &[u8], limit: usize) -> Frame {
    let len = match *stream {
        [0x00..=0x3F, _, l0, l1, ref rest @ ..] => {
            let value = usize::from(u16::from_be_bytes([l0, l1]));
            let cookie = &rest[..rest.len().min(MAGIC_COOKIE.len())];
            if !value.is_multiple_of(ALIGNMENT) || !MAGIC_COOKIE.starts_with(cookie) {
                return Frame::Garbage;
            }
            if cookie.len() < MAGIC_COOKIE.len() {
                return Frame::Incomplete; // a length is believed when the cookie is there, however the stream is cut
            }
            STUN_HEADER + value
        }
        [0x40..=0x7F, _, l0, l1, ..] => channel_data::HEADER + usize::from(u16::from_be_bytes([l0, l1])),
        [0x80..=0xFF, ..] => return Frame::Garbage,
        _ => return Frame::Incomplete,
    };
    let padded = len.next_multiple_of(ALIGNMENT);
    if len > limit {
        Frame::TooLong { padded }
    } else if stream.len() < padded {
        Frame::Incomplete
    } else {
        Frame::Message { len, padded }
    }
}

/// Zero bytes to append to a message of `len` bytes.
#[inline]
pub fn padding(len: usize) -> &'static [u8] {
    &[0; ALIGNMENT - 1][..len.next_multiple_of(ALIGNMENT) - len]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    const LIMIT: usize = 9216;

    fn channel(number: u16, payload: &[u8]) -> Vec<u8> {
        let mut bytes = [number.to_be_bytes(), (payload.len() as u16).to_be_bytes()].concat();
        bytes.extend_from_slice(payload);
        bytes
    }

    fn stun(value: usize) -> Vec<u8> {
        let mut bytes = vec![0, 1];
        bytes.extend_from_slice(&(value as u16).to_be_bytes());
        bytes.extend_from_slice(&MAGIC_COOKIE);
        bytes.resize(STUN_HEADER + value, 7);
        bytes
    }

    /// Messages found when the stream arrives in pieces of these lengths.
    fn arrive(stream: &[u8], mut pieces: impl Iterator<Item = usize>) -> Result<Vec<Vec<u8>>, Frame> {
        let (mut waiting, mut messages, mut rest) = (Vec::new(), Vec::new(), stream);
        while !rest.is_empty() {
            let (now, later) = rest.split_at(pieces.next().unwrap_or(1).clamp(1, rest.len()));
            waiting.extend_from_slice(now);
            rest = later;
            loop {
                match next(&waiting, LIMIT) {
                    Frame::Message { len, padded } => {
                        messages.push(waiting[..len].to_vec());
                        waiting.drain(..padded);
                    }
                    Frame::Incomplete => break,
                    other => return Err(other),
                }
            }
        }
        Ok(messages)
    }

    #[test]
    fn channel_data_of_every_length_is_whole_with_its_padding_and_not_before() {
        for len in 0..10 {
            let bytes = channel(0x4001, &vec![9; len]);
            let mut padded = bytes.clone();
            padded.extend_from_slice(padding(bytes.len()));
            assert!(padded.len().is_multiple_of(4) && padded.len() < bytes.len() + 4);
            let whole = Frame::Message { len: bytes.len(), padded: padded.len() };
            assert_eq!(next(&padded, LIMIT), whole);
            for cut in 0..padded.len() {
                assert_eq!(next(&padded[..cut], LIMIT), Frame::Incomplete, "{cut} of {len}");
            }
            padded.extend_from_slice(b"next");
            assert_eq!(next(&padded, LIMIT), whole, "whatever follows");
        }
    }

    #[test]
    fn a_stun_message_is_whole_with_its_last_attribute() {
        let bytes = stun(8);
        assert_eq!(next(&bytes, LIMIT), Frame::Message { len: 28, padded: 28 });
        for cut in 0..28 {
            assert_eq!(next(&bytes[..cut], LIMIT), Frame::Incomplete);
        }
    }

    #[test]
    fn what_begins_no_message_is_garbage_as_soon_as_it_shows() {
        for bytes in [
            &b"\x80"[..],
            b"\xFF\xFF",
            b"\x00\x01\x00\x01",
            b"\x00\x01\x00\x00\x21\x13",
            b"\x16\x03\x01\x02\x00\x01",
            b"\x00\x01\x00\x00\x00\x00\x00\x00",
        ] {
            assert_eq!(next(bytes, LIMIT), Frame::Garbage, "{bytes:?}");
        }
    }

    #[test]
    fn a_message_over_the_limit_is_passed_over_with_its_padding() {
        assert_eq!(next(&[0x40, 0, 0xFF, 0xFF], LIMIT), Frame::TooLong { padded: 65_540 });
        assert_eq!(next(&[0x40, 0, 0x24, 0x00], LIMIT), Frame::TooLong { padded: 9220 });
        assert_eq!(next(&[0x40, 0, 0x23, 0xFC], LIMIT), Frame::Incomplete);
        assert_eq!(next(&stun(9200)[..8], LIMIT), Frame::TooLong { padded: 9220 });
        assert_eq!(next(&stun(9200)[..7], LIMIT), Frame::Incomplete, "it may still turn out to be garbage");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn messages_come_out_as_they_went_in_however_the_stream_is_cut(
            lengths in prop::collection::vec((any::<bool>(), 0usize..600), 0..12),
            cuts in prop::collection::vec(1usize..700, 0..40),
        ) {
            let sent: Vec<Vec<u8>> = lengths
                .iter()
                .map(|&(is_stun, len)| if is_stun { stun(len / 4 * 4) } else { channel(0x4000, &vec![5; len]) })
                .collect();
            let mut stream = Vec::new();
            for message in &sent {
                stream.extend_from_slice(message);
                stream.extend_from_slice(padding(message.len()));
            }
            prop_assert_eq!(arrive(&stream, cuts.into_iter()).unwrap(), sent.clone());
            prop_assert_eq!(arrive(&stream, std::iter::empty()).unwrap(), sent, "byte by byte");
        }

        #[test]
        fn any_bytes_make_progress_or_end(bytes in prop::collection::vec(any::<u8>(), 0..64), limit in 0usize..100) {
            match next(&bytes, limit) {
                Frame::Message { len, padded } => {
                    prop_assert!(len > 0 && len <= limit && padded >= len && padded <= bytes.len() && padded % 4 == 0);
                }
                Frame::TooLong { padded } => prop_assert!(padded > 0 && padded % 4 == 0),
                Frame::Incomplete | Frame::Garbage => {}
            }
        }
    }
}
