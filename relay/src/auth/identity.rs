//! Whom a verified request is from, and the proof of it.

use serde::{Deserialize, Serialize};

use crate::calls::Handle;
use crate::time::Unix;
use crate::wire::{Key, PasswordAlgorithm};

/// A keyed hash of a user's name: tells users apart without saying who they are.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct PersonHash(pub u64);

/// Whom a verified request is from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Identity {
    /// Ordinary credentials, static or time-limited. Time-limited ones of the same user are the same person.
    User(PersonHash),
    /// A call-bound credential: may reach its partner only.
    Call(Handle),
}

/// Proof that a request carried valid credentials. Only this module makes one, or has made it in the relay whose snapshot it comes from.
/// Keep it with the allocation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Authenticated {
    pub(super) identity: Identity,
    /// Keyed hash of the realm and the whole user name, so that the owner of an allocation is recognised.
    pub(super) name: u64,
    pub(super) key: Key,
    /// How the key was made.
    pub(super) algorithm: PasswordAlgorithm,
    /// Set for time-limited credentials.
    pub(super) expires: Option<Unix>,
    /// The generation of the authenticator that looked the credential up.
    pub(super) generation: u32,
}

impl Authenticated {
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// The same, looked up by an authenticator that is not this process's: as after a reload, the owner of today's credentials is looked for
    /// at the next request.
    #[must_use]
    pub(crate) fn of_another_process(self) -> Authenticated {
        Authenticated { generation: u32::MAX, ..self }
    }

    /// Signs the answer to the request this came from, with the attribute that answer must carry (RFC 8489 §9.2.4).
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Whether the credential was time-limited and its time is over. The expiry second itself is too late.
    pub(super) fn expired(&self, now: Unix) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}
