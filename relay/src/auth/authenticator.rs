//! Checks a request by the steps of RFC 8489 §9.2.4 and writes the answer if one fails.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use super::call_keys::{self, CallKeys};
use super::identity::{Authenticated, Identity, PersonHash};
use super::nonce::Nonces;
use super::rest::{self, RestName};
use super::{Settings, mac};
use crate::time::Now;
use crate::wire::{ErrorCode, Key, Message, Method, Reply};

/// Checks the long-term credential mechanism. One for all workers; holds no state per client.
pub struct Authenticator {
    realm: String,
    users: HashMap<Vec<u8>, Key>,
    rest_secrets: Vec<String>,
    call_keys: Arc<CallKeys>,
    nonces: Nonces,
    /// Hashes names.
    name_key: [u8; 32],
    /// Compared against when there is nothing to compare against, so that an unknown user takes as long as a wrong password.
    decoy: Key,
}

/// Why a request was not accepted.
#[derive(Clone, Copy, Debug)]
pub enum Refusal {
    /// 401: no, unknown, wrong or expired credentials. Always the same answer.
    Challenge,
    /// 438: the nonce is too old or was never ours. The credentials were right: the answer carries integrity by this key.
    StaleNonce(Key),
    /// 400: MESSAGE-INTEGRITY without USERNAME, REALM or NONCE, or one of them is not what it can be.
    BadRequest,
}

/// What a request says about its sender, not yet believed.
struct Claim<'a> {
    username: &'a [u8],
    nonce: &'a [u8],
}

impl Authenticator {
    /// `secret` from a good source of randomness; the same for all workers, so that a nonce is good on each of them.
    pub fn new(settings: Settings, call_keys: Arc<CallKeys>, secret: [u8; 32]) -> Authenticator {
        let Settings { realm, users, rest_secrets } = settings;
        let key = |name: &str, password: &str| Key::long_term(name.as_bytes(), realm.as_bytes(), password.as_bytes());
        let users = users.iter().map(|(name, password)| (name.clone().into_bytes(), key(name, password))).collect();
        let derive = |purpose: &[u8]| mac::sha256(&secret, &[purpose]);
        Authenticator {
            decoy: Key::long_term(&derive(b"decoy"), realm.as_bytes(), b""),
            nonces: Nonces::new(derive(b"nonces")),
            name_key: derive(b"names"),
            realm,
            users,
            rest_secrets,
            call_keys,
        }
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
        let claim = self.claim(request)?;
        let found = self.recognise(now, claim.username, request, allocate).ok_or(Refusal::Challenge)?;
        self.check_nonce(now, client, claim.nonce, found)
    }

    /// Checks a request on an allocation that `owner` made: the same user name is checked against the same key, which stays
    /// good while the allocation lives although the keys of new credentials have moved on. Time-limited credentials that have
    /// expired can no longer prolong it, only end it.
    ///
    /// Another user name is checked in full. Compare identities: if they differ, answer 441 (RFC 8656 §5); if not, a fresh
    /// credential of the same user or call, and what comes back is the better owner to keep.
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
        let claim = self.claim(request)?;
        if self.name_hash(claim.username) != owner.name {
            return self.authenticate(now, client, request, false);
        }
        if !request.integrity_matches(&owner.key) || (prolongs(request) && owner.expired(now.unix)) {
            return Err(Refusal::Challenge);
        }
        self.check_nonce(now, client, claim.nonce, owner.clone())
    }

    /// The whole answer to a request that was refused (RFC 8489 §9.2.4).
    pub fn refuse(&self, now: Now, client: SocketAddr, request: &Message<'_>, refusal: &Refusal) -> Vec<u8> {
        let reply = Reply::error(request, refusal.code());
        let challenge =
            |reply: Reply| reply.realm(&self.realm).nonce(&self.nonces.make(now.mono, client, request.transaction()));
        match refusal {
            Refusal::BadRequest => reply.finish(None),
            Refusal::Challenge => challenge(reply).finish(None),
            Refusal::StaleNonce(key) => challenge(reply).finish(Some(key)),
        }
    }

    /// The first steps of RFC 8489 §9.2.4: is there integrity, and all that belongs to it?
    fn claim<'a>(&self, request: &Message<'a>) -> Result<Claim<'a>, Refusal> {
        if !request.has_integrity() {
            return Err(Refusal::Challenge);
        }
        let (Ok(Some(username)), Ok(Some(realm)), Ok(Some(nonce))) =
            (request.username(), request.realm(), request.nonce())
        else {
            return Err(Refusal::BadRequest);
        };
        if realm != self.realm.as_bytes() {
            return Err(Refusal::Challenge);
        }
        Ok(Claim { username, nonce })
    }

    /// Finds the credential whose key made the request's integrity.
    fn recognise(&self, now: Now, username: &[u8], request: &Message<'_>, allocate: bool) -> Option<Authenticated> {
        let signed_by = |key: &Key| request.integrity_matches(key);
        let long_term = |password: String| Key::long_term(username, self.realm.as_bytes(), password.as_bytes());
        let found =
            |identity, key, expires| Some(Authenticated { identity, name: self.name_hash(username), key, expires });

        if let Some(&key) = self.users.get(username) {
            return signed_by(&key)
                .then(|| self.person(b"static", username))
                .and_then(|person| found(person, key, None));
        }
        if let Some(name) = call_keys::parse(username).filter(|name| !allocate || name.expires > now.unix) {
            let key = self.call_keys.passwords(now.mono, username).map(long_term).find(signed_by)?;
            return found(Identity::Call(name.handle), key, None);
        }
        if let Some(RestName { expires, user }) = rest::parse(username).filter(|name| name.expires > now.unix) {
            let key = rest::passwords(&self.rest_secrets, username).map(long_term).find(signed_by)?;
            return found(self.person(b"rest", user), key, Some(expires));
        }
        signed_by(&self.decoy);
        None
    }

    /// The last step: only who has the right password learns that the nonce was wrong (RFC 8489 §9.2.4).
    fn check_nonce(
        &self,
        now: Now,
        client: SocketAddr,
        nonce: &[u8],
        found: Authenticated,
    ) -> Result<Authenticated, Refusal> {
        if self.nonces.is_fresh(now.mono, client, nonce) { Ok(found) } else { Err(Refusal::StaleNonce(found.key)) }
    }

    /// Users of the two kinds are different people even if their names are equal.
    fn person(&self, kind: &[u8], user: &[u8]) -> Identity {
        Identity::User(PersonHash(mac::short(&self.name_key, &[kind, b":", user])))
    }

    fn name_hash(&self, username: &[u8]) -> u64 {
        mac::short(&self.name_key, &[b"name:", username])
    }
}

/// Whether granting the request makes an allocation live longer.
fn prolongs(request: &Message<'_>) -> bool {
    matches!(request.method(), Method::Allocate | Method::Refresh) && request.lifetime() != Ok(Some(0))
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

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authenticator([redacted])")
    }
}

#[cfg(test)]
#[path = "authenticator_tests.rs"]
mod tests;
