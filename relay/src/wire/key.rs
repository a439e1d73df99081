//! Keys of credentials, and the names derived from them (RFC 8489 §9.2.2, §14.4, §18.5.1).

use std::fmt;

use md5::Md5;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::integrity::Integrity;
use super::password_algorithm::PasswordAlgorithm;

/// Bytes of a USERHASH (RFC 8489 §14.4).
pub const USERHASH: usize = 32;

/// The HMAC key of a credential, and which HMAC signs with it. Printing one prints nothing of it.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(into = "(Vec<u8>, Integrity)", try_from = "(Vec<u8>, Integrity)")]
pub struct Key {
    bytes: [u8; Key::MAX],
    len: u8,
    signs: Integrity,
}

/// For a snapshot.
impl From<Key> for (Vec<u8>, Integrity) {
    fn from(key: Key) -> (Vec<u8>, Integrity) {
        (key.bytes[..usize::from(key.len)].to_vec(), key.signs)
    }
}

impl TryFrom<(Vec<u8>, Integrity)> for Key {
    type Error = &'static str;

    fn try_from((written, signs): (Vec<u8>, Integrity)) -> Result<Key, &'static str> {
        let mut bytes = [0; Key::MAX];
        bytes.get_mut(..written.len()).ok_or("a key is longer than any")?.copy_from_slice(&written);
        Ok(Key { bytes, len: written.len() as u8, signs })
    }
}

impl Key {
    /// Room for a SHA-256 key; a longer short-term password is refused.
    pub const MAX: usize = 32;

    /// The long-term key of clients that know only RFC 5389: MD5, and it signs with MESSAGE-INTEGRITY.
    pub fn long_term(username: &[u8], realm: &[u8], password: &[u8]) -> Key {
        Key::derive(PasswordAlgorithm::Md5, username, realm, password)
    }

    /// The long-term key: the hash of username ":" realm ":" password (RFC 8489 §18.5.1). All three must be prepared with
    /// OpaqueString (RFC 8265) if they are not ASCII. A SHA-256 key signs with MESSAGE-INTEGRITY-SHA256.
    pub fn derive(algorithm: PasswordAlgorithm, username: &[u8], realm: &[u8], password: &[u8]) -> Key {
        let parts = [username, b":", realm, b":", password];
        match algorithm {
            PasswordAlgorithm::Md5 => Key::from_bytes(&digest::<Md5>(&parts), Integrity::Sha1),
            PasswordAlgorithm::Sha256 => Key::from_bytes(&digest::<Sha256>(&parts), Integrity::Sha256),
        }
    }

    /// The short-term key, which is the password itself (RFC 8489 §9.1.1). `None` if it is longer than [`Key::MAX`].
    pub fn short_term(password: &[u8]) -> Option<Key> {
        (password.len() <= Key::MAX).then(|| Key::from_bytes(password, Integrity::Sha1))
    }

    /// The same key, signing with this attribute.
    pub fn signing_with(self, signs: Integrity) -> Key {
        Key { signs, ..self }
    }

    /// The attribute that messages signed with this key carry.
    pub fn signs(&self) -> Integrity {
        self.signs
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// At most [`Key::MAX`] bytes.
    fn from_bytes(key: &[u8], signs: Integrity) -> Key {
        let mut bytes = [0; Key::MAX];
        bytes[..key.len()].copy_from_slice(key);
        Key { bytes, len: key.len() as u8, signs }
    }
}

/// What stands in USERHASH for this user: SHA-256(username ":" realm) (RFC 8489 §14.4).
pub fn userhash(username: &[u8], realm: &[u8]) -> [u8; USERHASH] {
    digest::<Sha256>(&[username, b":", realm]).into()
}

fn digest<D: Digest>(parts: &[&[u8]]) -> sha2::digest::Output<D> {
    let mut digest = D::new();
    parts.iter().for_each(|part| digest.update(part));
    digest.finalize()
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key([redacted])")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn the_keys_are_those_of_other_implementations() {
        // RFC 8489 §9.2.2; the second with Python: hashlib.sha256(b"user:realm:pass").hexdigest()
        let key = |algorithm| Key::derive(algorithm, b"user", b"realm", b"pass");
        assert_eq!(hex(key(PasswordAlgorithm::Md5).as_bytes()), "8493fbc53ba582fb4c044c456bdc40eb");
        assert_eq!(
            hex(key(PasswordAlgorithm::Sha256).as_bytes()),
            "07e934117abd40836e7c6329b54731b2b2d2a5f9a71f544922d75e0730d8251b"
        );
        assert_eq!(Key::long_term(b"user", b"realm", b"pass").as_bytes(), key(PasswordAlgorithm::Md5).as_bytes());
    }

    #[test]
    fn the_userhash_is_that_of_the_rfc() {
        // RFC 8489 appendix B.1
        let hash = userhash("マトリックス".as_bytes(), b"example.org");
        assert_eq!(hex(&hash), "4a3cf38fef6992bda952c6780417da0f24819415569e60b205c46e41407f1704");
    }

    #[test]
    fn a_short_term_password_is_the_key_if_it_fits() {
        assert_eq!(Key::short_term(b"abc").unwrap().as_bytes(), b"abc");
        assert!(Key::short_term(&[b'x'; 32]).is_some());
        assert!(Key::short_term(&[b'x'; 33]).is_none());
    }
}
