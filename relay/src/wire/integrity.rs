//! MESSAGE-INTEGRITY, computed and compared by the `stun` crate, and MESSAGE-INTEGRITY-SHA256 (RFC 8489 §14.5, §14.6).

use std::ops::Range;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::STUN_HEADER;
use super::attribute::{self as attr, ATTRIBUTE_HEADER};
use super::key::Key;

/// The two attributes that protect a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Integrity {
    /// MESSAGE-INTEGRITY: HMAC-SHA1.
    Sha1,
    /// MESSAGE-INTEGRITY-SHA256: HMAC-SHA256.
    Sha256,
}

impl Integrity {
    pub(super) const fn attribute(self) -> u16 {
        match self {
            Integrity::Sha1 => attr::MESSAGE_INTEGRITY,
            Integrity::Sha256 => attr::MESSAGE_INTEGRITY_SHA256,
        }
    }
}

/// Bytes of an HMAC-SHA1.
const SHA1: usize = 20;

/// Bytes of an HMAC-SHA256. What we write is never cut off.
pub(super) const SHA256: usize = 32;

/// A shorter part of an HMAC-SHA256 proves nothing (RFC 8489 §14.6).
const SHA256_MIN: usize = 16;

/// Whether the attribute whose value is at `value` is right for the message in front of it.
pub(super) fn matches(which: Integrity, datagram: &[u8], value: &Range<usize>, key: &Key) -> bool {
    match which {
        Integrity::Sha1 => sha1_matches(datagram, value, key),
        Integrity::Sha256 => sha256_matches(datagram, value, key),
    }
}

fn sha1_matches(datagram: &[u8], value: &Range<usize>, key: &Key) -> bool {
    if value.len() != SHA1 {
        return false; // the `stun` crate would miscount
    }
    let Some(mut message) = decode_until(datagram, value.end) else { return false };
    stun::integrity::MessageIntegrity(key.as_bytes().to_vec()).check(&mut message).is_ok()
}

/// "At most 32 bytes, but it MUST be at least 16 bytes and MUST be a multiple of 4 bytes": an initial portion (§14.6).
fn sha256_matches(datagram: &[u8], value: &Range<usize>, key: &Key) -> bool {
    if !(SHA256_MIN..=SHA256).contains(&value.len()) || !value.len().is_multiple_of(4) {
        return false;
    }
    let (Some(stated), Some(before)) =
        (datagram.get(value.clone()), datagram.get(..value.start.saturating_sub(ATTRIBUTE_HEADER)))
    else {
        return false;
    };
    sha256(before, value.len(), key).is_some_and(|right| right[..stated.len()].ct_eq(stated).into())
}

/// HMAC-SHA256 of a message to which an attribute with a value of `size` bytes will be added: the length in the header
/// counts it, the text does not (RFC 8489 §14.6). `None` if that is no message.
pub(super) fn sha256(before: &[u8], size: usize, key: &Key) -> Option<[u8; SHA256]> {
    let (header, attributes) = before.split_first_chunk::<STUN_HEADER>()?;
    let length = u16::try_from(attributes.len() + ATTRIBUTE_HEADER + size).ok()?;
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).ok()?;
    mac.update(&header[..2]);
    mac.update(&length.to_be_bytes());
    mac.update(&header[4..]);
    mac.update(attributes);
    Some(mac.finalize().into_bytes().into())
}

/// The message up to `end`, its length adjusted to match (RFC 8489 §14.5), as the `stun` crate sees it. What follows is cut
/// off first, so that the crate's own reading of it cannot matter.
fn decode_until(datagram: &[u8], end: usize) -> Option<stun::message::Message> {
    let mut raw = datagram.get(..end)?.to_vec();
    let length = u16::try_from(end.checked_sub(STUN_HEADER)?).ok()?;
    raw.get_mut(2..4)?.copy_from_slice(&length.to_be_bytes());
    let mut message = stun::message::Message { raw, ..Default::default() };
    message.decode().ok()?;
    Some(message)
}
