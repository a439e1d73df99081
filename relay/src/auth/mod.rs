//! Who is asking: the long-term credential mechanism (RFC 8489 §9.2) with nonces nobody stores.
//!
//! Three kinds of credentials, told apart by the user name:
//!
//! - static ones, from the configuration;
//! - time-limited ones (draft-uberti-behave-turn-rest), `<expiry>:<user>`, signed with a shared secret;
//! - call-bound ones, `1.<expiry>.<handle>.<generation>`, minted here by [`CallKeys`] and good for one side of one call.
//!
//! Nothing is kept for a source that has not proved who it is, and nothing for one that has: the allocation keeps its
//! [`Authenticated`]. Not supported yet: PASSWORD-ALGORITHMS, USERHASH, MESSAGE-INTEGRITY-SHA256; our nonces say so.

mod authenticator;
mod call_keys;
mod identity;
mod mac;
mod nonce;
mod rest;

use std::fmt;

pub use authenticator::{Authenticator, Refusal};
pub use call_keys::CallKeys;
pub use identity::{Authenticated, Identity, PersonHash};
pub use rest::rest_credential;

/// Realm and the ordinary credentials, static and time-limited.
#[derive(Clone, Default)]
pub struct Settings {
    /// 1 to 127 characters (RFC 8489 §14.9). Short realms make small challenges.
    pub realm: String,
    /// Name and password, both prepared with OpaqueString (RFC 8265) if they are not ASCII.
    pub users: Vec<(String, String)>,
    /// Secrets of time-limited credentials, newest first. Each one is tried.
    pub rest_secrets: Vec<String>,
}

/// What a client is given to put into its ICE server list.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    pub username: String,
    pub password: String,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Settings({} users, {} secrets, [redacted])", self.users.len(), self.rest_secrets.len())
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential([redacted])")
    }
}
