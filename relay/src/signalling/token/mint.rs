//! Makes tokens: what an app's backend does. Here for the demo page, the load generator and tests.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer as _, SigningKey};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::matchmaking::{Band, Gender, Level};
use crate::signalling::message::{BandWord, GenderWord, LevelWord};
use crate::time::Unix;

/// Signs tokens under one `kid`.
#[derive(Clone)]
pub struct Minter {
    kid: String,
    issuer: String,
    audience: String,
    key: Signing,
}

#[derive(Clone)]
enum Signing {
    Hs256(Vec<u8>),
    Ed25519(Box<SigningKey>),
}

/// What to say of a caller.
#[derive(Clone)]
pub struct Profile {
    /// Pseudonym: 16 to 43 base64url characters.
    pub sub: String,
    pub band: Band,
    pub gender: Gender,
    pub level: Level,
    /// Lets the caller choose another level in `queue`.
    pub level_free: bool,
    /// Genders this caller may ask for.
    pub entitled: Vec<Gender>,
    pub pool: Option<String>,
    /// At most 512 bytes of JSON.
    pub card: Option<Value>,
    /// First 8 bytes of SHA-256 of blocked pseudonyms.
    pub blocks: Vec<[u8; 8]>,
    pub relay_only: bool,
    /// Two capital letters.
    pub country: Option<String>,
    /// An appointment both callers' tokens name.
    pub with: Option<String>,
}

impl Profile {
    /// An adult at B1 who may ask for everybody.
    pub fn adult(sub: impl Into<String>) -> Profile {
        Profile {
            sub: sub.into(),
            band: Band::Adult,
            gender: Gender::X,
            level: Level::B1,
            level_free: false,
            entitled: Gender::ALL.to_vec(),
            pool: None,
            card: None,
            blocks: Vec::new(),
            relay_only: false,
            country: None,
            with: None,
        }
    }
}

impl Minter {
    /// HS256 with this secret, at least [`super::MIN_SECRET_BYTES`] long to be accepted.
    pub fn hs256(kid: &str, secret: &[u8], issuer: &str, audience: &str) -> Minter {
        Minter::new(kid, Signing::Hs256(secret.to_vec()), issuer, audience)
    }

    /// EdDSA with this Ed25519 seed.
    pub fn ed25519(kid: &str, seed: &[u8; 32], issuer: &str, audience: &str) -> Minter {
        Minter::new(kid, Signing::Ed25519(Box::new(SigningKey::from_bytes(seed))), issuer, audience)
    }

    fn new(kid: &str, key: Signing, issuer: &str, audience: &str) -> Minter {
        Minter { kid: kid.into(), issuer: issuer.into(), audience: audience.into(), key }
    }

    /// The raw public key, if this is an EdDSA minter.
    pub fn public_key(&self) -> Option<[u8; 32]> {
        match &self.key {
            Signing::Hs256(_) => None,
            Signing::Ed25519(key) => Some(key.verifying_key().to_bytes()),
        }
    }

    /// A token good for `life_secs`, once. `jti` must not have been used before.
    pub fn mint(&self, now: Unix, life_secs: u64, jti: &str, profile: &Profile) -> String {
        self.sign(&self.claims(now, life_secs, jti, profile))
    }

    /// Signs any claims, however wrong they are: tests need that.
    pub fn sign(&self, claims: &Value) -> String {
        let alg = match self.key {
            Signing::Hs256(_) => "HS256",
            Signing::Ed25519(_) => "EdDSA",
        };
        let header = json!({ "alg": alg, "kid": self.kid, "typ": "JWT" });
        let signed = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
        let signature = match &self.key {
            Signing::Hs256(secret) => Hmac::<Sha256>::new_from_slice(secret)
                .map(|mac| mac.chain_update(signed.as_bytes()).finalize().into_bytes().to_vec())
                .unwrap_or_default(),
            Signing::Ed25519(key) => key.sign(signed.as_bytes()).to_bytes().to_vec(),
        };
        format!("{signed}.{}", encode(signature))
    }

    /// The claims [`Minter::mint`] signs.
    pub fn claims(&self, now: Unix, life_secs: u64, jti: &str, profile: &Profile) -> Value {
        let blocks: Vec<String> = profile.blocks.iter().map(encode).collect();
        let entitled: Vec<GenderWord> = profile.entitled.iter().map(|gender| GenderWord::from(*gender)).collect();
        let mut claims = json!({
            "iss": self.issuer, "aud": self.audience, "jti": jti,
            "iat": now.0, "nbf": now.0, "exp": now.0.saturating_add(life_secs),
            "sub": profile.sub,
            "age": { "ok": true, "band": BandWord::from(profile.band) },
            "g": GenderWord::from(profile.gender),
            "lvl": LevelWord::from(profile.level),
            "lvl_free": profile.level_free,
            "gp": entitled,
            "blk": blocks,
            "relay": if profile.relay_only { "always" } else { "may_direct" },
        });
        if let Some(pool) = &profile.pool {
            claims["pool"] = json!(pool);
        }
        if let Some(country) = &profile.country {
            claims["country"] = json!(country);
        }
        if let Some(with) = &profile.with {
            claims["with"] = json!(with);
        }
        if let Some(card) = &profile.card {
            claims["card"] = card.clone();
        }
        claims
    }
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl fmt::Debug for Minter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Minter[redacted]")
    }
}

impl fmt::Debug for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Profile[redacted]")
    }
}
