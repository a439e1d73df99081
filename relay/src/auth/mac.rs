//! HMACs with the few shapes this module needs.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::Sha256;

/// HMAC-SHA-256 over the parts, one after the other. Parts that vary in length need a separator of the caller's.
pub(super) fn sha256(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

/// Base64 of HMAC-SHA-256: the password of a call-bound credential, and of a time-limited one in its newer form.
pub(super) fn password_sha256(secret: &[u8], username: &[u8]) -> String {
    STANDARD.encode(sha256(secret, &[username]))
}

/// Base64 of HMAC-SHA-1: the password of a time-limited credential (draft-uberti-behave-turn-rest §2.2).
pub(super) fn password_sha1(secret: &[u8], username: &[u8]) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret).expect("HMAC takes keys of any length");
    mac.update(username);
    STANDARD.encode(mac.finalize().into_bytes())
}

/// The first eight bytes of HMAC-SHA-256 as a number.
pub(super) fn short(key: &[u8], parts: &[&[u8]]) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = sha256(key, parts);
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}
