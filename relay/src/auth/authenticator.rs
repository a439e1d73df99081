//! Checks a request by the steps of RFC 8489 §9.2.4 and writes the answer if one fails.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use super::call_keys::{self, CallKeys};
use super::claim::{Claim, Name, OFFERED};
use super::identity::{Authenticated, Identity, PersonHash};
use super::nonce::Nonces;
use super::rest::{self, RestName};
use super::users::Users;
use super::{Settings, mac};
use crate::time::Now;
use crate::wire::{ErrorCode, Integrity, Key, Message, Method, Reply};

/// Checks the long-term credential mechanism. One for all workers; holds no state per client.
pub struct Authenticator {
    /// Named by every challenge.
    realm: Realm,
    /// Those whose clients are served on: a request that names one is checked with it, and answered in it.
    former_realms: Vec<Realm>,
    rest_secrets: Vec<String>,
    rest_expiry_on_refresh: bool,
    sha1: bool,
    call_keys: Arc<CallKeys>,
    nonces: Nonces,
    /// Hashes names.
    name_key: [u8; 32],
    /// Compared against when there is nothing to compare against, so that an unknown user takes as long as a wrong password.
    decoy: Key,
    /// How many others came before with other credentials.
    generation: u32,
}

/// A name that keys are made with, and the users' keys.
struct Realm {
    name: String,
    users: Users,
}

/// Why a request was not accepted.
#[derive(Clone, Copy, Debug)]
pub enum Refusal {
    /// 401: no, unknown, wrong, expired or too weak credentials. Always the same answer.
    Challenge,
    /// 438: the nonce is too old or was never ours. The credentials were right: the answer carries integrity by this key.
    StaleNonce(Key),
    /// 400: integrity without a name, REALM or NONCE, one of them is not what it can be, or the list of password algorithms
    /// is not the one we sent.
    BadRequest,
}

impl Authenticator {
    /// `secret` from a good source of randomness; the same for all workers, so that a nonce is good on each of them.
    pub fn new(settings: Settings, call_keys: Arc<CallKeys>, secret: [u8; 32]) -> Authenticator {
        let Settings { realm, former_realms, users, rest_secrets, rest_expiry_on_refresh, sha1, username_anonymity } =
            settings;
        let derive = |purpose: &[u8]| mac::sha256(&secret, &[purpose]);
        let known = |name: String| Realm { users: Users::new(&users, &name), name };
        Authenticator {
            decoy: Key::long_term(&derive(b"decoy"), realm.as_bytes(), b""),
            nonces: Nonces::new(derive(b"nonces"), username_anonymity),
            name_key: derive(b"names"),
            former_realms: former_realms.into_iter().map(known).collect(),
            realm: known(realm),
            rest_secrets,
            rest_expiry_on_refresh,
            sha1,
            call_keys,
            generation: 0,
        }
    }

    /// This one takes the place of another, made with the same secret, so that its nonces and names stay good. Allocations made
    /// with credentials that it does not know fail at their next request.
    #[must_use]
    pub fn after(self, older: &Authenticator) -> Authenticator {
        Authenticator { generation: older.generation.wrapping_add(1), ..self }
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
        let found = self.recognise(now, &claim, request, allocate).ok_or(Refusal::Challenge)?;
        self.check_nonce(now, client, &claim, found)
    }

    /// Checks a request on an allocation that `owner` made: the same user name is checked against the same key, which stays
    /// good while the allocation lives although the keys of new credentials have moved on. Time-limited credentials that have
    /// expired can no longer prolong it, only end it.
    ///
    /// Another user name or realm, or a key made in another way, is checked in full. Compare identities: if they differ, answer 441
    /// (RFC 8656 §5); if not, a fresh credential of the same user or call, and what comes back is the better owner to keep.
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
        let same_name = self.username(&claim).is_some_and(|name| self.name_hash(&claim, name) == owner.name);
        if !same_name || claim.algorithm != owner.algorithm {
            return self.authenticate(now, client, request, false);
        }
        let owner = &self.renewed(request, &claim, owner).ok_or(Refusal::Challenge)?;
        let too_late = self.rest_expiry_on_refresh && prolongs(request) && owner.expired(now.unix);
        if !request.integrity_matches(&owner.key) || too_late {
            return Err(Refusal::Challenge);
        }
        self.check_nonce(now, client, &claim, owner.clone())
    }

    /// The owner of an allocation by the credentials of today, if it has any: a secret may have been removed, a password changed.
    /// Whether they have expired is another question, and call-bound ones end with their call.
    fn renewed(&self, request: &Message<'_>, claim: &Claim<'_>, owner: &Authenticated) -> Option<Authenticated> {
        if owner.generation == self.generation || matches!(owner.identity, Identity::Call(_)) {
            return Some(owner.clone());
        }
        let username = self.username(claim)?;
        let key = match self.realm(claim).users.key(username, claim.algorithm) {
            Some(key) => Some(key).filter(|key| request.integrity_matches(key)),
            None => rest::parse(username).and_then(|_| {
                let passwords = rest::passwords(&self.rest_secrets, username);
                passwords.map(|it| self.long_term(claim, username, &it)).find(|key| request.integrity_matches(key))
            }),
        }?;
        Some(Authenticated { key, generation: self.generation, ..owner.clone() })
    }

    fn long_term(&self, claim: &Claim<'_>, username: &[u8], password: &str) -> Key {
        Key::derive(claim.algorithm, username, claim.realm, password.as_bytes())
    }

    /// The whole answer to a request that was refused (RFC 8489 §9.2.4).
    pub fn refuse(&self, now: Now, client: SocketAddr, request: &Message<'_>, refusal: &Refusal) -> Vec<u8> {
        let reply = Reply::error(request, refusal.code());
        let challenge = |reply: Reply, realm: &Realm| {
            let nonce = self.nonces.make(now.mono, client, request.transaction());
            reply.realm(&realm.name).nonce(&nonce).password_algorithms(&OFFERED)
        };
        match refusal {
            Refusal::BadRequest => reply.finish(None),
            Refusal::Challenge => challenge(reply, &self.realm).finish(None),
            Refusal::StaleNonce(key) => {
                // In the realm its key was made with: a client takes the one it hears now.
                let realm = request.realm().ok().flatten().and_then(|named| self.find(named));
                challenge(reply, realm.unwrap_or(&self.realm)).finish(Some(key))
            }
        }
    }

    fn claim<'a>(&self, request: &Message<'a>) -> Result<Claim<'a>, Refusal> {
        let claim = Claim::read(request)?;
        let too_weak = !self.sha1 && request.integrity() != Some(Integrity::Sha256);
        if too_weak || self.find(claim.realm).is_none() {
            return Err(Refusal::Challenge);
        }
        Ok(claim)
    }

    fn find(&self, realm: &[u8]) -> Option<&Realm> {
        std::iter::once(&self.realm).chain(&self.former_realms).find(|known| known.name.as_bytes() == realm)
    }

    fn realm(&self, claim: &Claim<'_>) -> &Realm {
        self.find(claim.realm).unwrap_or(&self.realm)
    }

    /// The name in the clear. What a hash hides can be looked up for static users only.
    fn username<'a>(&'a self, claim: &Claim<'a>) -> Option<&'a [u8]> {
        match &claim.name {
            Name::Plain(name) => Some(name),
            Name::Hidden(hash) => self.realm(claim).users.name(hash),
        }
    }

    /// Finds the credential whose key made the request's integrity.
    fn recognise(&self, now: Now, claim: &Claim<'_>, request: &Message<'_>, allocate: bool) -> Option<Authenticated> {
        let algorithm = claim.algorithm;
        let signed_by = |key: &Key| request.integrity_matches(key);
        let Some(username) = self.username(claim) else {
            signed_by(&self.decoy);
            return None;
        };
        let long_term = |password: String| self.long_term(claim, username, &password);
        let found = |identity, key, expires| {
            let (name, generation) = (self.name_hash(claim, username), self.generation);
            Some(Authenticated { identity, name, key, algorithm, expires, generation })
        };

        if let Some(key) = self.realm(claim).users.key(username, algorithm) {
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
        claim: &Claim<'_>,
        found: Authenticated,
    ) -> Result<Authenticated, Refusal> {
        let found = Authenticated { key: found.key.signing_with(self.answers_with(claim)), ..found };
        if self.nonces.is_fresh(now.mono, client, claim.nonce) {
            Ok(found)
        } else {
            Err(Refusal::StaleNonce(found.key))
        }
    }

    /// "Any response … MUST include the MESSAGE-INTEGRITY-SHA256 attribute …, unless the request was processed as though
    /// PASSWORD-ALGORITHM was MD5 (because the request contained neither PASSWORD-ALGORITHMS nor PASSWORD-ALGORITHM). In
    /// that case, the MESSAGE-INTEGRITY attribute MUST be used instead" (RFC 8489 §9.2.4). Without SHA-1 there is no such
    /// case.
    fn answers_with(&self, claim: &Claim<'_>) -> Integrity {
        if claim.negotiated || !self.sha1 { Integrity::Sha256 } else { Integrity::Sha1 }
    }

    /// Users of the two kinds are different people even if their names are equal.
    fn person(&self, kind: &[u8], user: &[u8]) -> Identity {
        Identity::User(PersonHash(mac::short(&self.name_key, &[kind, b":", user])))
    }

    /// Of the name as it is signed, realm and all.
    fn name_hash(&self, claim: &Claim<'_>, username: &[u8]) -> u64 {
        mac::short(&self.name_key, &[b"name:", claim.realm, b":", username])
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
