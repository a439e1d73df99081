//! Tokens as an app's backend would mint them (JWS, HS256), written without a line of the relay's code.

use crate::daemon::{AUDIENCE, DEV_KEY, ISSUER};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use hmac::{KeyInit, Mac};
use serde_json::{Map, Value, json};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// What a token says. Every claim can be changed or removed, also into nonsense.
pub struct Claims(Map<String, Value>);

impl Claims {
    /// An intermediate speaker of 18 or over who talks to anyone. `name` becomes the card and, padded, the pseudonym.
    pub fn adult(name: &str) -> Claims {
        static SERIAL: AtomicU64 = AtomicU64::new(0);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let claims = json!({
            "iss": ISSUER, "aud": AUDIENCE, "iat": now, "nbf": now, "exp": now + 300,
            "jti": format!("{}-{now}-{serial}", std::process::id()),
            "sub": format!("{name:_<16}"), "age": { "ok": true, "band": "18+" },
            "g": "x", "lvl": "B1", "gp": ["f", "m", "x"], "card": { "n": name },
        });
        let Value::Object(claims) = claims else { unreachable!("written as an object above") };
        Claims(claims)
    }

    /// Replaces or adds one claim; `null` removes it.
    #[must_use]
    pub fn with(mut self, claim: &str, value: Value) -> Claims {
        match value {
            Value::Null => drop(self.0.remove(claim)),
            value => drop(self.0.insert(claim.to_owned(), value)),
        }
        self
    }

    /// Signed with the key every [`crate::Daemon::local`] knows.
    pub fn token(&self) -> String {
        self.sign("dev", "HS256", DEV_KEY.as_bytes())
    }

    /// Signed by HMAC-SHA256 whatever `alg` claims, for tests of forgeries.
    pub fn sign(&self, kid: &str, alg: &str, key: &[u8]) -> String {
        let header = BASE64URL.encode(json!({ "typ": "JWT", "alg": alg, "kid": kid }).to_string());
        let body = BASE64URL.encode(Value::Object(self.0.clone()).to_string());
        let mut mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(key).unwrap();
        mac.update(format!("{header}.{body}").as_bytes());
        format!("{header}.{body}.{}", BASE64URL.encode(mac.finalize().into_bytes()))
    }
}
