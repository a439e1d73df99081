//! ChannelData: four bytes of header, then the payload (RFC 8656 §12.4). Data path: nothing is copied.

/// Bytes in front of the payload.
pub const HEADER: usize = 4;

/// A ChannelData message; the payload is `datagram[HEADER..HEADER + len]`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct View {
    pub number: u16,
    pub len: usize,
}

/// Reads the header. `None` if the datagram is shorter than it says (RFC 8656 §12.6: discard). Bytes beyond the stated
/// length are padding and ignored. The number may be any in 0x4000-0x7FFF: which are valid is for the allocation to say.
#[inline]
pub fn parse(datagram: &[u8]) -> Option<View> {
    let &[n0, n1, l0, l1, ref rest @ ..] = datagram else { return None };
    let view = View { number: u16::from_be_bytes([n0, n1]), len: usize::from(u16::from_be_bytes([l0, l1])) };
    (n0 & 0xC0 == 0x40 && view.len <= rest.len()).then_some(view)
}

/// Writes the header into the first [`HEADER`] bytes of `buf`; the payload of `len` bytes is already behind them.
/// A shorter buffer is left alone.
#[inline]
pub fn write_header(buf: &mut [u8], number: u16, len: u16) {
    if let Some(header) = buf.first_chunk_mut::<HEADER>() {
        let ([n0, n1], [l0, l1]) = (number.to_be_bytes(), len.to_be_bytes());
        *header = [n0, n1, l0, l1];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_header_reads_back() {
        let mut buf = [0xAA; 10];
        write_header(&mut buf, 0x4001, 6);
        assert_eq!(parse(&buf), Some(View { number: 0x4001, len: 6 }));
        assert_eq!(buf[HEADER..], [0xAA; 6]);
    }

    #[test]
    fn a_message_shorter_than_it_says_is_refused() {
        assert_eq!(parse(&[0x40, 0, 0, 2, 1]), None);
        assert_eq!(parse(&[0x40, 0, 0xFF, 0xFF, 1]), None);
        assert_eq!(parse(&[0x40, 0, 0]), None);
    }

    #[test]
    fn padding_behind_the_payload_is_ignored() {
        assert_eq!(parse(&[0x40, 0, 0, 1, 7, 0, 0, 0]), Some(View { number: 0x4000, len: 1 }));
    }

    #[test]
    fn an_empty_payload_is_a_message() {
        assert_eq!(parse(&[0x4F, 0xFF, 0, 0]), Some(View { number: 0x4FFF, len: 0 }));
    }

    #[test]
    fn numbers_outside_the_channel_bits_are_no_channel_data() {
        assert_eq!(parse(&[0x3F, 0xFF, 0, 0]), None);
        assert_eq!(parse(&[0x80, 0, 0, 0]), None);
    }

    #[test]
    fn a_buffer_too_short_for_a_header_is_left_alone() {
        let mut buf = [1, 2, 3];
        write_header(&mut buf, 0x4000, 0);
        assert_eq!(buf, [1, 2, 3]);
    }
}
