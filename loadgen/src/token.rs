//! Tokens as an app's backend mints them (JWS; matching.md §4.2): HS256 or EdDSA, one per caller, used once.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ed25519_dalek::{Signer, SigningKey};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::population::{BANDS, Criteria, GENDERS, LEVELS, pseudonym};

/// How long a token is good, seconds: the protocol allows ten minutes.
const LIFE_SECS: u64 = 300;

/// How tokens are signed.
#[derive(Clone)]
pub enum Key {
    Hs256(Vec<u8>),
    EdDsa(Box<SigningKey>),
}

/// Who vouches, to whom, under which key.
#[derive(Clone)]
pub struct Minter {
    pub kid: String,
    pub issuer: String,
    pub audience: String,
    pub key: Key,
    /// Random per run: pseudonyms and token numbers do not repeat between runs.
    pub run: [u8; 16],
}

impl Minter {
    /// A token for caller `number`, minted at `now_unix`.
    pub fn mint(&self, number: u32, criteria: &Criteria, now_unix: u64) -> String {
        self.mint_for(number, 0, None, criteria, now_unix)
    }

    /// The token of a person who comes for the `visit`-th time, for a pool of its own if it names one.
    pub fn mint_for(&self, number: u32, visit: u32, pool: Option<&str>, criteria: &Criteria, now_unix: u64) -> String {
        let mut claims = json!({
            "iss": self.issuer,
            "aud": self.audience,
            "jti": format!("{}-{number}-{visit}", URL_SAFE_NO_PAD.encode(self.run)),
            "iat": now_unix,
            "nbf": now_unix,
            "exp": now_unix + LIFE_SECS,
            "sub": pseudonym(&self.run, number),
            "age": { "ok": true, "band": BANDS[usize::from(criteria.band)] },
            "g": GENDERS[usize::from(criteria.gender)],
            "lvl": LEVELS[usize::from(criteria.level)],
            "gp": GENDERS,
            "blk": criteria.blocks.iter().map(|other| self.block(*other)).collect::<Vec<_>>(),
            "cap": { "text": true, "next": true },
        });
        if let Some(pool) = pool {
            claims["pool"] = json!(pool);
        }
        self.sign(&claims)
    }

    /// First eight bytes of SHA-256 of the blocked caller's pseudonym.
    fn block(&self, number: u32) -> String {
        URL_SAFE_NO_PAD.encode(&Sha256::digest(pseudonym(&self.run, number))[..8])
    }

    fn sign(&self, claims: &Value) -> String {
        let alg = match self.key {
            Key::Hs256(_) => "HS256",
            Key::EdDsa(_) => "EdDSA",
        };
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let header = json!({ "alg": alg, "kid": self.kid, "typ": "JWT" });
        let signed = format!("{}.{}", encode(&header), encode(claims));
        let signature = match &self.key {
            Key::Hs256(secret) => hmac_sha256(secret, signed.as_bytes()),
            Key::EdDsa(key) => key.sign(signed.as_bytes()).to_bytes().to_vec(),
        };
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

impl Key {
    /// `secret` as written for HS256; the 32-byte seed in base64url for EdDSA.
    pub fn parse(algorithm: &str, secret: &str) -> Result<Key, String> {
        match algorithm {
            "HS256" if secret.len() >= 32 => Ok(Key::Hs256(secret.as_bytes().to_vec())),
            "HS256" => Err("--token-secret: HS256 needs at least 32 bytes".to_owned()),
            "EdDSA" => {
                let seed = URL_SAFE_NO_PAD.decode(secret.trim_end_matches('=')).ok();
                let seed: Option<[u8; 32]> = seed.and_then(|seed| seed.try_into().ok());
                let seed = seed.ok_or("--token-secret: EdDSA needs the 32-byte private key in base64url")?;
                Ok(Key::EdDsa(Box::new(SigningKey::from_bytes(&seed))))
            }
            other => Err(format!("--token-alg {other}: expected HS256 or EdDSA")),
        }
    }
}

impl fmt::Debug for Minter {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Minter[redacted]")
    }
}

fn hmac_sha256(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key);
    let mac = mac.unwrap_or_else(|_| unreachable!("HMAC takes keys of any length"));
    mac.chain_update(message).finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use ed25519_dalek::{Signature, Verifier};

    use super::*;
    use crate::scenario::Scenario;

    fn minter(key: Key) -> Minter {
        Minter { kid: "k".into(), issuer: "i".into(), audience: "a".into(), key, run: [3; 16] }
    }

    fn criteria() -> Criteria {
        let Scenario { mix, hold, patience, .. } = Scenario::default();
        Criteria { blocks: vec![9], ..mix.person(1, 1, hold, patience).criteria }
    }

    fn parts(token: &str) -> (String, Value, Vec<u8>) {
        let words: Vec<&str> = token.split('.').collect();
        let claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(words[1]).unwrap()).unwrap();
        (format!("{}.{}", words[0], words[1]), claims, URL_SAFE_NO_PAD.decode(words[2]).unwrap())
    }

    #[test]
    fn hs256_is_that_of_rfc_7515() {
        // RFC 7515 A.1, key and signing input as given there.
        let key = URL_SAFE_NO_PAD
            .decode("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow")
            .unwrap();
        let input = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6\
                     Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
        let signature = URL_SAFE_NO_PAD.encode(hmac_sha256(&key, input.as_bytes()));
        assert_eq!(signature, "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
    }

    #[test]
    fn eddsa_tokens_verify_with_the_public_key() {
        let key = SigningKey::from_bytes(&[5; 32]);
        let public = key.verifying_key();
        let (signed, _, signature) = parts(&minter(Key::EdDsa(Box::new(key))).mint(1, &criteria(), 1000));
        public.verify(signed.as_bytes(), &Signature::from_slice(&signature).unwrap()).unwrap();
    }

    #[test]
    fn a_block_names_the_hash_of_the_blocked_callers_pseudonym() {
        let minter = minter(Key::Hs256(vec![1; 32]));
        let (_, claims, _) = parts(&minter.mint(1, &criteria(), 1000));
        let expected = URL_SAFE_NO_PAD.encode(&Sha256::digest(pseudonym(&minter.run, 9))[..8]);
        assert_eq!(claims["blk"][0], expected);
        assert_eq!(claims["exp"], 1300);
    }

    #[test]
    fn keys_are_checked_before_the_run() {
        assert!(Key::parse("HS256", "short").is_err());
        assert!(Key::parse("EdDSA", "AAAA").is_err());
        assert!(Key::parse("none", "x").is_err());
        assert!(Key::parse("EdDSA", &URL_SAFE_NO_PAD.encode([1; 32])).is_ok());
    }
}
