//! Who is calling: the token an app's backend signs, in the first frame (matching.md §4.2).
//!
//! A token is a compact JWS (RFC 7515) whose algorithm is pinned to its `kid`: what the token itself says about its
//! algorithm can only agree or be refused. Order of checks: signature, dates and addressee, then age before anything
//! else is looked at, then the other claims, then that it is used for the first time.

mod claims;
mod mint;
mod replay;

pub use claims::Claims;
pub use mint::{Minter, Profile};
pub use replay::digest as token_digest;

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature, VerifyingKey};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use self::claims::Dated;
use self::replay::Replay;
use super::message::deeper_than;
use crate::matchmaking::{Band, Pepper, Person};
use crate::time::Unix;

/// Longest token read, in bytes: 512 blocks and a card fit.
pub const MAX_TOKEN_BYTES: usize = 12 * 1024;
/// Longest life of a token, from `nbf` or `iat` (whichever is earlier) to `exp`, in seconds.
pub const MAX_LIFE_SECS: u64 = 600;
/// Tolerated difference of clocks, in seconds.
pub const SKEW_SECS: u64 = 30;
/// Shortest HS256 secret, in bytes (RFC 7518 §3.2).
pub const MIN_SECRET_BYTES: usize = 32;
/// Deepest nesting in claims; the card is the deepest.
const MAX_CLAIM_DEPTH: usize = 8;

/// A key a `kid` stands for. It decides the algorithm.
#[derive(Clone)]
pub enum Key {
    /// EdDSA over Ed25519 (RFC 8037): this server can verify, not mint.
    Ed25519(VerifyingKey),
    /// HMAC-SHA256 with a shared secret.
    Hs256(Vec<u8>),
}

/// Why a key cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadKey {
    /// Not a point on the curve, or one that signs everything.
    NotAKey,
    /// Shorter than [`MIN_SECRET_BYTES`].
    TooShort,
}

/// Why a token opens no door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejected {
    /// Malformed, forged, for somebody else, out of time, used before.
    Token,
    /// No age, not confirmed, unknown band, or younger than admitted.
    Age,
    /// The memory of used tokens is full.
    Busy,
}

/// What the operator decided about tokens.
#[derive(Clone)]
pub struct Settings {
    /// Required `iss`.
    pub issuer: String,
    /// Required `aud`, alone or in a list.
    pub audience: String,
    /// By `kid`.
    pub keys: Vec<(String, Key)>,
    /// Youngest band admitted.
    pub min_band: Band,
}

/// Verifies tokens and remembers, until they expire, which were used.
pub struct Verifier {
    settings: Settings,
    pepper: Pepper,
    replay: Replay,
}

/// What a verifier knows beside its settings, for another process to go on with.
#[derive(Serialize, Deserialize)]
pub(super) struct Memory {
    pepper: Pepper,
    replay: Replay,
}

impl Key {
    /// A raw Ed25519 public key.
    ///
    /// # Errors
    /// [`BadKey::NotAKey`].
    pub fn ed25519(public: &[u8; 32]) -> Result<Key, BadKey> {
        let key = VerifyingKey::from_bytes(public).map_err(|_| BadKey::NotAKey)?;
        if key.is_weak() { Err(BadKey::NotAKey) } else { Ok(Key::Ed25519(key)) }
    }

    /// A shared secret.
    ///
    /// # Errors
    /// [`BadKey::TooShort`].
    pub fn hs256(secret: &[u8]) -> Result<Key, BadKey> {
        if secret.len() < MIN_SECRET_BYTES { Err(BadKey::TooShort) } else { Ok(Key::Hs256(secret.to_vec())) }
    }

    /// The only `alg` a token under this key may name.
    const fn algorithm(&self) -> &'static str {
        match self {
            Key::Ed25519(_) => "EdDSA",
            Key::Hs256(_) => "HS256",
        }
    }

    fn verifies(&self, signed: &[u8], signature: &[u8]) -> bool {
        match self {
            Key::Ed25519(key) => {
                Signature::from_slice(signature).is_ok_and(|signature| key.verify_strict(signed, &signature).is_ok())
            }
            Key::Hs256(secret) => Hmac::<Sha256>::new_from_slice(secret)
                .is_ok_and(|mac| mac.chain_update(signed).verify_slice(signature).is_ok()),
        }
    }
}

/// RFC 7515 §4.1. Members not named here are ignored, except `crit`, which says that ignoring is not allowed.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: String,
    #[serde(default)]
    crit: Option<serde::de::IgnoredAny>,
}

impl Verifier {
    pub fn new(settings: Settings, pepper: Pepper) -> Verifier {
        Verifier { settings, pepper, replay: Replay::default() }
    }

    /// Goes on where another one stood.
    pub(super) fn with_memory(settings: Settings, Memory { pepper, replay }: Memory) -> Verifier {
        Verifier { settings, pepper, replay }
    }

    /// See [`Pepper::mark`].
    pub(super) fn mark(&self) -> u64 {
        self.pepper.mark()
    }

    /// To be read as a [`Memory`].
    pub(super) fn memory(&self) -> impl Serialize + '_ {
        (&self.pepper, &self.replay)
    }

    /// Goes by other keys, issuer, audience or age from now on. Which tokens were used is not forgotten.
    pub fn adopt(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// Checks one token and marks it used.
    ///
    /// # Errors
    /// [`Rejected`]; in that case nothing of the token is kept, not even that it was seen.
    pub fn verify(&mut self, now: Unix, token: &str) -> Result<Claims, Rejected> {
        let payload = self.signed_payload(token).ok_or(Rejected::Token)?;
        let json = std::str::from_utf8(&payload).map_err(|_| Rejected::Token)?;
        if deeper_than(json, MAX_CLAIM_DEPTH) {
            return Err(Rejected::Token);
        }
        let dated = Dated::read(json, now, &self.settings).ok_or(Rejected::Token)?;
        let band = claims::age_gate(json, self.settings.min_band).ok_or(Rejected::Age)?;
        let claims = claims::read(json, band, &dated, &self.pepper).ok_or(Rejected::Token)?;
        self.replay.first_use(now, &dated.jti, dated.expires)?;
        Ok(claims)
    }

    /// The person behind a pseudonym, as the claims of their token name them.
    pub fn person(&self, sub: &str) -> Person {
        self.pepper.person(sub)
    }

    /// The person behind an entry of a token's `blk`.
    pub fn blocked(&self, entry: [u8; 8]) -> Person {
        self.pepper.blocked(entry)
    }

    /// Forgets used tokens that have expired. Also happens with each verification.
    pub fn forget_expired(&mut self, now: Unix) {
        self.replay.forget_expired(now);
    }

    fn signed_payload(&self, token: &str) -> Option<Vec<u8>> {
        if token.len() > MAX_TOKEN_BYTES {
            return None;
        }
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, payload) = signed.split_once('.')?;
        let header: Header = serde_json::from_slice(&decode(header)?).ok()?;
        let key = self.settings.keys.iter().find(|(kid, _)| *kid == header.kid).map(|(_, key)| key)?;
        if header.crit.is_some() || header.alg != key.algorithm() {
            return None;
        }
        // A dot in the payload does not decode, so there are exactly three parts.
        key.verifies(signed.as_bytes(), &decode(signature)?).then(|| decode(payload))?
    }
}

fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[redacted]", self.algorithm())
    }
}

#[cfg(test)]
mod tests;
