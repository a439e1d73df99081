//! MESSAGE-INTEGRITY (RFC 8489 §14.5), computed and compared by the `stun` crate.

use std::fmt;
use std::ops::Range;

use md5::{Digest, Md5};

use super::STUN_HEADER;

/// The HMAC key of a credential. Printing one prints nothing of it.
#[derive(Clone, Copy)]
pub struct Key {
    bytes: [u8; Key::MAX],
    len: u8,
}

impl Key {
    /// Room for a SHA-256 key; a longer short-term password is refused.
    pub const MAX: usize = 32;

    /// The long-term key MD5(username ":" realm ":" password) (RFC 8489 §9.2.2). All three must be prepared with
    /// OpaqueString (RFC 8265) if they are not ASCII.
    pub fn long_term(username: &[u8], realm: &[u8], password: &[u8]) -> Key {
        let mut md5 = Md5::new();
        for part in [username, b":", realm, b":", password] {
            md5.update(part);
        }
        let mut key = Key { bytes: [0; Key::MAX], len: 16 };
        key.bytes[..16].copy_from_slice(&md5.finalize());
        key
    }

    /// The short-term key, which is the password itself (RFC 8489 §9.1.1). `None` if it is longer than [`Key::MAX`].
    pub fn short_term(password: &[u8]) -> Option<Key> {
        let mut key = Key { bytes: [0; Key::MAX], len: u8::try_from(password.len()).ok()? };
        key.bytes.get_mut(..password.len())?.copy_from_slice(password);
        Some(key)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key([redacted])")
    }
}

/// Bytes of an HMAC-SHA1.
const SIZE: usize = 20;

/// Whether the HMAC at `value` is that of the message in front of it.
pub(super) fn matches(datagram: &[u8], value: &Range<usize>, key: &Key) -> bool {
    if value.len() != SIZE {
        return false; // the `stun` crate would miscount
    }
    let Some(mut message) = decode_until(datagram, value.end) else { return false };
    stun::integrity::MessageIntegrity(key.as_bytes().to_vec()).check(&mut message).is_ok()
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
