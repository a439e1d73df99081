//! FINGERPRINT (RFC 8489 §14.7): a CRC-32 that tells STUN from other protocols. On the data path, since some clients add it
//! to Send indications, hence our own table instead of the `stun` crate's, which is built at each call.

use std::ops::Range;

use super::attribute::ATTRIBUTE_HEADER;
use super::malformed::Malformed;

const SIZE: usize = 4;

/// XORed into the checksum (RFC 8489 §14.7).
const MASK: u32 = 0x5354_554E;

/// Checks the attribute whose value is at `value`: four bytes, the last of the message, and right.
#[inline]
pub(super) fn check(datagram: &[u8], value: &Range<usize>) -> Result<(), Malformed> {
    if value.len() != SIZE || value.end != datagram.len() {
        return Err(Malformed::Fingerprint);
    }
    let (covered, stated) = (&datagram[..value.start - ATTRIBUTE_HEADER], &datagram[value.clone()]);
    if (crc32(covered) ^ MASK).to_be_bytes() != stated {
        return Err(Malformed::Fingerprint);
    }
    Ok(())
}

/// CRC-32 as in ITU V.42, eight bytes at a time.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = !0;
    let mut eights = bytes.chunks_exact(8);
    for eight in &mut eights {
        crc = step8(crc, eight);
    }
    for &byte in eights.remainder() {
        crc = (crc >> 8) ^ TABLES[0][usize::from(crc as u8 ^ byte)];
    }
    !crc
}

fn step8(crc: u32, eight: &[u8]) -> u32 {
    let folded = crc.to_le_bytes();
    let mut next = 0;
    for (place, &byte) in eight.iter().enumerate() {
        let byte = byte ^ folded.get(place).copied().unwrap_or(0);
        next ^= TABLES[7 - place][usize::from(byte)];
    }
    next
}

/// `TABLES[n][b]` is the CRC of byte `b` followed by `n` zero bytes.
static TABLES: [[u32; 256]; 8] = tables();

const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ ((crc & 1) * 0xEDB8_8320);
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut zeros = 1;
    while zeros < 8 {
        let mut byte = 0;
        while byte < 256 {
            let crc = tables[zeros - 1][byte];
            tables[zeros][byte] = (crc >> 8) ^ tables[0][(crc & 0xFF) as usize];
            byte += 1;
        }
        zeros += 1;
    }
    tables
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_check_value_of_the_standard_comes_out() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    proptest! {
        #[test]
        fn agrees_with_the_stun_crate(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(crc32(&bytes) ^ MASK, stun::fingerprint::fingerprint_value(&bytes));
        }
    }
}
