//! Who is asking: the long-term credential mechanism (RFC 8489 §9.2) with nonces nobody stores.
//!
//! Three kinds of credentials, told apart by the user name:
//!
//! - static ones, from the configuration;
//! - time-limited ones (draft-uberti-behave-turn-rest), `<expiry>:<user>`, signed with a shared secret;
//! - call-bound ones, `1.<expiry>.<handle>.<generation>`, minted here by [`CallKeys`] and good for one side of one call.
//!
//! Nothing is kept for a source that has not proved who it is, and nothing for one that has: the allocation keeps its
//! [`Authenticated`].
//!
//! Every challenge offers SHA-256 and MD5, and its nonce says that it did. Clients that know only RFC 5389 pass that over and
//! are answered as before, unless SHA-1 is switched off. USERHASH is understood for static users; the other kinds carry in
//! their name what is needed to check them, which a hash of it does not.

mod authenticator;
mod call_keys;
mod claim;
mod identity;
mod mac;
mod nonce;
mod rest;
mod users;

#[cfg(test)]
mod tests;

use std::fmt;

pub use authenticator::{Authenticator, Refusal};
pub use call_keys::{CallKeys, Ring};
pub use identity::{Authenticated, Identity, PersonHash};
pub use rest::rest_credential;

/// Realm and the ordinary credentials, static and time-limited, and which proofs of them count.
#[derive(Clone)]
pub struct Settings {
    /// 1 to 127 characters (RFC 8489 §14.9). Up to 16 bytes keep a challenge within 96.
    pub realm: String,
    /// Realms that were this one before, newest first: clients that know one go on with it, and whoever asks anew hears the newest.
    pub former_realms: Vec<String>,
    /// Name and password, both prepared with OpaqueString (RFC 8265) if they are not ASCII.
    pub users: Vec<(String, String)>,
    /// Secrets of time-limited credentials, newest first. Each one is tried.
    pub rest_secrets: Vec<String>,
    /// Also refuse to prolong an allocation by time-limited credentials that have expired since. To begin one they must
    /// always be good.
    pub rest_expiry_on_refresh: bool,
    /// Accept MESSAGE-INTEGRITY alone. Without it only MESSAGE-INTEGRITY-SHA256 counts (RFC 8489 §16.3), which browsers do
    /// not send.
    pub sha1: bool,
    /// Ask clients to hide their name (RFC 8489 §9.2: Username anonymity). They then send USERHASH, as all that know it must,
    /// and only static users can be recognised by it: not for time-limited or call-bound credentials.
    pub username_anonymity: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            realm: String::new(),
            former_realms: Vec::new(),
            users: Vec::new(),
            rest_secrets: Vec::new(),
            rest_expiry_on_refresh: true,
            sha1: true,
            username_anonymity: false,
        }
    }
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
