//! Who is asking.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::calls::Handle;
use crate::time::Now;
use crate::wire::{ErrorCode, Key, Message, Reply};

/// Realm and the ordinary credentials, static and time-limited.
#[derive(Clone, Default)]
pub struct Settings {
    /// 1 to 127 characters (RFC 8489 §14.9). Short realms make small challenges.
    pub realm: String,
    /// Name and password, both prepared with OpaqueString if they are not ASCII.
    pub users: Vec<(String, String)>,
    /// Secrets of draft-uberti-behave-turn-rest, newest first. Each one is tried.
    pub rest_secrets: Vec<String>,
}

/// Keys of call-bound credentials.
pub struct CallKeys {
    seed: [u8; 32],
}

/// What a client is given to put into its ICE server list.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    pub username: String,
    pub password: String,
}

/// A keyed hash of a user's name: tells users apart without saying who they are.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PersonHash(pub u64);

/// Whom a verified request is from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Identity {
    /// Ordinary credentials, static or time-limited.
    User(PersonHash),
    /// A call-bound credential: may reach its partner only.
    Call(Handle),
}

/// Proof that a request carried valid credentials. Only this module makes one. Keep a clone with the allocation.
#[derive(Clone, Debug)]
pub struct Authenticated {
    identity: Identity,
    key: Key,
}

/// Why a request was not accepted.
#[derive(Clone, Copy, Debug)]
pub enum Refusal {
    /// 401: no, unknown, wrong or expired credentials. Always the same answer.
    Challenge,
    /// 438: the nonce is too old or was never ours. The credentials were right: the answer carries integrity by this key.
    StaleNonce(Key),
    /// 400: MESSAGE-INTEGRITY without USERNAME, REALM or NONCE, or one of them is not what it should be.
    BadRequest,
}

/// Checks the long-term credential mechanism (RFC 8489 §9.2). One for all workers; holds no state per client.
pub struct Authenticator {
    settings: Settings,
    call_keys: Arc<CallKeys>,
    nonce_key: [u8; 32],
}

impl CallKeys {
    /// `seed` from a good source of randomness; keys are derived from it and replaced every hour.
    pub fn new(seed: [u8; 32]) -> CallKeys {
        CallKeys { seed }
    }

    /// A credential that lets `handle` *start* an allocation for `ttl_secs`. What was started goes on until the call ends.
    pub fn mint(&self, now: Now, handle: Handle, generation: u32, ttl_secs: u32) -> Credential {
        let _ = (&self.seed, now, handle, generation, ttl_secs);
        Credential { username: String::new(), password: String::new() }
    }
}

impl Authenticator {
    /// `nonce_key` from a good source of randomness; the same for all workers.
    pub fn new(settings: Settings, call_keys: Arc<CallKeys>, nonce_key: [u8; 32]) -> Authenticator {
        Authenticator { settings, call_keys, nonce_key }
    }

    /// Checks a request from `client`, whose five-tuple holds no allocation. `allocate`: this is an Allocate, so the expiry
    /// of call-bound credentials counts.
    ///
    /// # Errors
    /// Hand the [`Refusal`] to [`Authenticator::refuse`] and send what it makes.
    pub fn authenticate(
        &self,
        now: Now,
        client: SocketAddr,
        request: &Message<'_>,
        allocate: bool,
    ) -> Result<Authenticated, Refusal> {
        let _ = (&self.settings, &self.call_keys, &self.nonce_key, now, client, request, allocate);
        Err(Refusal::Challenge)
    }

    /// Checks a request on an allocation that `owner` made: the same user name is checked against the same key, which stays good
    /// while the allocation lives although the keys of new credentials have moved on. Another user is checked in full and
    /// comes back as itself: compare identities and answer 441 (RFC 8656 §5).
    ///
    /// # Errors
    /// As [`Authenticator::authenticate`].
    pub fn authenticate_on(
        &self,
        now: Now,
        client: SocketAddr,
        request: &Message<'_>,
        owner: &Authenticated,
    ) -> Result<Authenticated, Refusal> {
        let _ = owner;
        self.authenticate(now, client, request, false)
    }

    /// The whole answer to a request that was refused (RFC 8489 §9.2.4).
    pub fn refuse(&self, now: Now, client: SocketAddr, request: &Message<'_>, refusal: &Refusal) -> Vec<u8> {
        let _ = (now, client);
        Reply::error(request, refusal.code()).finish(None)
    }
}

impl Refusal {
    pub fn code(&self) -> ErrorCode {
        match self {
            Refusal::Challenge => ErrorCode::Unauthenticated,
            Refusal::StaleNonce(_) => ErrorCode::StaleNonce,
            Refusal::BadRequest => ErrorCode::BadRequest,
        }
    }
}

impl Authenticated {
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// Signs the answer.
    pub fn key(&self) -> &Key {
        &self.key
    }
}
