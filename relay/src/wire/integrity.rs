//! MESSAGE-INTEGRITY and MESSAGE-INTEGRITY-SHA256 (RFC 8489 §14.5, §14.6). Our own for both: the `stun` crate copies and decodes
//! the whole message for the first, and its HMAC is the slower one.

use std::ops::Range;

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::STUN_HEADER;
use super::attribute::{self as attr, ATTRIBUTE_HEADER};
use super::key::Key;

/// The two attributes that protect a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
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
    let (Some(stated), Some(before)) = (stated(datagram, value), covered(datagram, value)) else { return false };
    stated.len() == SHA1 && sha1(before, key).is_some_and(|right| right.ct_eq(stated).into())
}

/// "At most 32 bytes, but it MUST be at least 16 bytes and MUST be a multiple of 4 bytes": an initial portion (§14.6).
fn sha256_matches(datagram: &[u8], value: &Range<usize>, key: &Key) -> bool {
    if !(SHA256_MIN..=SHA256).contains(&value.len()) || !value.len().is_multiple_of(4) {
        return false;
    }
    let (Some(stated), Some(before)) = (stated(datagram, value), covered(datagram, value)) else { return false };
    sha256(before, value.len(), key).is_some_and(|right| right[..stated.len()].ct_eq(stated).into())
}

fn stated<'a>(datagram: &'a [u8], value: &Range<usize>) -> Option<&'a [u8]> {
    datagram.get(value.clone())
}

/// What comes before the attribute. What follows it does not matter.
fn covered<'a>(datagram: &'a [u8], value: &Range<usize>) -> Option<&'a [u8]> {
    datagram.get(..value.start.checked_sub(ATTRIBUTE_HEADER)?)
}

/// HMAC-SHA1 of a message to which MESSAGE-INTEGRITY will be added. `None` if that is no message.
pub(super) fn sha1(before: &[u8], key: &Key) -> Option<[u8; SHA1]> {
    Some(hmac(<Hmac<Sha1> as KeyInit>::new_from_slice(key.as_bytes()).ok()?, before, SHA1)?.into())
}

/// HMAC-SHA256 of a message to which an attribute with a value of `size` bytes will be added. `None` if that is no message.
pub(super) fn sha256(before: &[u8], size: usize, key: &Key) -> Option<[u8; SHA256]> {
    Some(hmac(<Hmac<Sha256> as KeyInit>::new_from_slice(key.as_bytes()).ok()?, before, size)?.into())
}

/// The length in the header counts the attribute that will be added, the text does not (RFC 8489 §14.5, §14.6).
fn hmac<M: Mac>(mut mac: M, before: &[u8], size: usize) -> Option<hmac::digest::Output<M>> {
    let (header, attributes) = before.split_first_chunk::<STUN_HEADER>()?;
    let length = u16::try_from(attributes.len() + ATTRIBUTE_HEADER + size).ok()?;
    mac.update(&header[..2]);
    mac.update(&length.to_be_bytes());
    mac.update(&header[4..]);
    mac.update(attributes);
    Some(mac.finalize().into_bytes())
}
