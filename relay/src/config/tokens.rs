//! The keys that tokens are signed with.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::file::Token;
use super::problems::{Collector, quoted};
use super::secret::Secret;
use super::settings::{TokenKey, VerifyingKey};
use super::table::At;
use super::values::choice;

/// HS256 asks for a key at least as long as its output (RFC 7518 §3.2).
const HS256_SECRET_BYTES: usize = 32;
const PUBLIC_KEY_BYTES: usize = 32;
const LONGEST_KID: usize = 64;

#[derive(Clone, Copy)]
enum Algorithm {
    EdDsa,
    Hs256,
}

pub(super) fn keys(tokens: &[Token], found: &mut Collector) -> Vec<TokenKey> {
    let mut keys: Vec<TokenKey> = Vec::new();
    for token in tokens {
        let kid = kid(token, &keys, found);
        let key = verifying_key(token, found);
        if let (Some(kid), Some(key)) = (kid, key) {
            keys.push(TokenKey { kid, key });
        }
    }
    keys
}

fn kid(token: &Token, earlier: &[TokenKey], found: &mut Collector) -> Option<String> {
    let Some(At { at, value }) = &token.kid else {
        found.absence(token.at, "an entry of auth.tokens lacks `kid`, the name by which tokens choose their key");
        return None;
    };
    if value.is_empty() || value.len() > LONGEST_KID {
        found.value(
            *at,
            format!("kid in an entry of auth.tokens has {} bytes; it needs 1 to {LONGEST_KID}", value.len()),
        );
        return None;
    }
    if earlier.iter().any(|key| key.kid == *value) {
        found.value(*at, format!("auth.tokens: the kid {} is used twice", quoted(value)));
        return None;
    }
    Some(value.clone())
}

fn verifying_key(token: &Token, found: &mut Collector) -> Option<VerifyingKey> {
    let Some(alg) = &token.alg else {
        found.absence(token.at, "an entry of auth.tokens lacks `alg`: \"EdDSA\" or \"HS256\"");
        return None;
    };
    let choices = [("EdDSA", Algorithm::EdDsa), ("HS256", Algorithm::Hs256)];
    match choice("alg in an entry of auth.tokens", alg, &choices, found)? {
        Algorithm::EdDsa => {
            refuse(token.secret.as_ref(), "an EdDSA entry of auth.tokens takes `public_key`, not `secret`", found);
            public_key(token, found)
        }
        Algorithm::Hs256 => {
            refuse(token.public_key.as_ref(), "an HS256 entry of auth.tokens takes `secret`, not `public_key`", found);
            shared_secret(token, found)
        }
    }
}

fn refuse(superfluous: Option<&At<String>>, message: &str, found: &mut Collector) {
    if let Some(written) = superfluous {
        found.value(written.at, message);
    }
}

fn public_key(token: &Token, found: &mut Collector) -> Option<VerifyingKey> {
    let Some(At { at, value }) = &token.public_key else {
        found.absence(token.at, "an EdDSA entry of auth.tokens lacks `public_key`");
        return None;
    };
    let Ok(bytes) = URL_SAFE_NO_PAD.decode(value.trim_end_matches('=')) else {
        found.value(*at, "public_key in auth.tokens is not base64url; write the raw 32 bytes of the key, not PEM");
        return None;
    };
    let Ok(key) = <[u8; PUBLIC_KEY_BYTES]>::try_from(bytes.as_slice()) else {
        found.value(
            *at,
            format!("public_key in auth.tokens has {} bytes; an Ed25519 key has {PUBLIC_KEY_BYTES}", bytes.len()),
        );
        return None;
    };
    // A weak key would let anyone's signature pass.
    if ed25519_dalek::VerifyingKey::from_bytes(&key).is_ok_and(|key| !key.is_weak()) {
        return Some(VerifyingKey::EdDsa(key));
    }
    found.value(*at, "public_key in auth.tokens is not an Ed25519 public key");
    None
}

fn shared_secret(token: &Token, found: &mut Collector) -> Option<VerifyingKey> {
    let Some(At { at, value }) = &token.secret else {
        found.absence(token.at, "an HS256 entry of auth.tokens lacks `secret`");
        return None;
    };
    if value.len() < HS256_SECRET_BYTES {
        let message =
            format!("secret in auth.tokens has {} bytes; HS256 needs at least {HS256_SECRET_BYTES}", value.len());
        found.value(*at, message);
        return None;
    }
    Some(VerifyingKey::Hs256(Secret::new(value.as_str())))
}
