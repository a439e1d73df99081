//! Call-bound credentials: minted for one side of one call, checked without looking anything up.
//!
//! The user name is `1.<expiry>.<handle>.<generation>`, the password base64 of HMAC-SHA-256 over it. The key moves on every
//! hour and the one before stays good for another; the step is one-way, so a key in memory cannot forge what was minted
//! before its predecessor. The expiry bounds the *start* of an allocation: what was started lives as long as its call.

use std::fmt;
use std::sync::{PoisonError, RwLock};

use serde::{Deserialize, Serialize};

use super::{Credential, mac};
use crate::calls::Handle;
use crate::time::{Millis, Now, Unix};

const VERSION: &str = "1";
const EPOCH_MILLIS: u64 = 60 * 60 * 1000;

/// Keys of call-bound credentials, shared by those who mint and those who check. Control path only: there is a lock inside.
pub struct CallKeys {
    ring: RwLock<Ring>,
}

/// What the keys are at a moment, for a snapshot.
#[derive(Clone, Serialize, Deserialize)]
pub struct Ring {
    epoch: u64,
    current: [u8; 32],
    previous: Option<[u8; 32]>,
}

/// What a user name of this kind says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct CallName {
    pub(super) expires: Unix,
    pub(super) handle: Handle,
    pub(super) generation: u32,
}

impl CallKeys {
    /// `seed` from a good source of randomness.
    pub fn new(seed: [u8; 32]) -> CallKeys {
        let current = mac::sha256(&seed, &[b"call keys"]);
        CallKeys { ring: RwLock::new(Ring { epoch: 0, current, previous: None }) }
    }

    /// Those that another process has had until now, whose clock this one's goes on from.
    pub fn from_ring(ring: Ring) -> CallKeys {
        CallKeys { ring: RwLock::new(ring) }
    }

    /// What [`CallKeys::from_ring`] goes on with.
    pub fn ring(&self, now: Millis) -> Ring {
        self.ring_at(now)
    }

    /// A credential that lets `handle` *start* an allocation for `ttl_secs`. What was started goes on until the call ends.
    pub fn mint(&self, now: Now, handle: Handle, generation: u32, ttl_secs: u32) -> Credential {
        let expires = now.unix.0.saturating_add(ttl_secs.into());
        let username = format!("{VERSION}.{expires}.{}.{generation}", handle.to_base64url());
        let password = mac::password_sha256(&self.ring_at(now.mono).current, username.as_bytes());
        Credential { username, password }
    }

    /// Every password that may belong to this user name: one for each key that is good now.
    pub(super) fn passwords(&self, now: Millis, username: &[u8]) -> impl Iterator<Item = String> {
        let ring = self.ring_at(now);
        let keys = [Some(ring.current), ring.previous];
        keys.into_iter().flatten().map(move |key| mac::password_sha256(&key, username))
    }

    fn ring_at(&self, now: Millis) -> Ring {
        let epoch = now.0 / EPOCH_MILLIS;
        let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner).clone();
        if epoch <= ring.epoch {
            return ring;
        }
        let mut ring = self.ring.write().unwrap_or_else(PoisonError::into_inner);
        ring.advance(epoch);
        ring.clone()
    }
}

impl Ring {
    /// Moves to `epoch` in one step, however many hours nobody asked.
    fn advance(&mut self, epoch: u64) {
        if epoch <= self.epoch {
            return; // somebody else was faster
        }
        let next = mac::sha256(&self.current, &[b"epoch", &epoch.to_be_bytes()]);
        self.previous = (epoch == self.epoch + 1).then_some(self.current);
        (self.epoch, self.current) = (epoch, next);
    }
}

/// Reads a user name; `None` if it is of another kind.
pub(super) fn parse(username: &[u8]) -> Option<CallName> {
    let mut parts = std::str::from_utf8(username).ok()?.split('.');
    let (version, expires) = (parts.next()?, parts.next()?);
    let (handle, generation) = (parts.next()?, parts.next()?);
    if version != VERSION || parts.next().is_some() {
        return None;
    }
    Some(CallName {
        expires: Unix(expires.parse().ok()?),
        handle: Handle::from_base64url(handle)?,
        generation: generation.parse().ok()?,
    })
}

impl fmt::Debug for CallKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CallKeys([redacted])")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const HANDLE: Handle = Handle([0xAB; 12]);
    const START: Now = Now { mono: Millis(0), unix: Unix(1_700_000_000), micros: 0 };

    fn good(keys: &CallKeys, now: Now, credential: &Credential) -> bool {
        keys.passwords(now.mono, credential.username.as_bytes()).any(|password| password == credential.password)
    }

    #[test]
    fn a_minted_name_reads_back() {
        let credential = CallKeys::new([1; 32]).mint(START, HANDLE, 3, 60);
        let name = CallName { expires: Unix(1_700_000_060), handle: HANDLE, generation: 3 };
        assert_eq!(parse(credential.username.as_bytes()), Some(name));
    }

    #[test]
    fn a_credential_is_known_in_its_hour_and_the_next_and_not_later() {
        let keys = CallKeys::new([1; 32]);
        let credential = keys.mint(START, HANDLE, 0, 60);
        assert!(good(&keys, START, &credential));
        assert!(good(&keys, START.after(EPOCH_MILLIS), &credential));
        assert!(!good(&keys, START.after(2 * EPOCH_MILLIS), &credential));
        assert!(!good(&keys, START, &credential), "the keys do not come back when a clock does");
    }

    #[test]
    fn hours_nobody_asked_in_are_skipped_and_forget_the_old_key() {
        let keys = CallKeys::new([1; 32]);
        let credential = keys.mint(START, HANDLE, 0, 60);
        assert!(!good(&keys, START.after(1_000_000 * EPOCH_MILLIS), &credential));
        assert!(!good(&keys, START.after(1_000_001 * EPOCH_MILLIS), &credential));
    }

    #[test]
    fn keys_of_another_seed_know_nothing_of_it() {
        let credential = CallKeys::new([1; 32]).mint(START, HANDLE, 0, 60);
        assert!(!good(&CallKeys::new([2; 32]), START, &credential));
    }

    #[test]
    fn names_of_another_shape_are_of_another_kind() {
        let handle = HANDLE.to_base64url();
        for name in [
            String::new(),
            "alice".into(),
            format!("2.1.{handle}.0"),
            format!("1.-1.{handle}.0"),
            format!("1.18446744073709551616.{handle}.0"),
            format!("1.1.{handle}.4294967296"),
            format!("1.1.{handle}.0.0"),
            format!("1.1.{handle}"),
            format!("1.1.{}.0", &handle[1..]),
            format!("1.1.{handle}AAAA.0"),
        ] {
            assert_eq!(parse(name.as_bytes()), None, "{name}");
        }
        assert_eq!(parse(&[0xFF, 0xFE]), None);
    }

    #[test]
    fn debug_shows_nothing() {
        let keys = CallKeys::new([1; 32]);
        let shown = format!("{keys:?} {:?} {HANDLE:?}", keys.mint(START, HANDLE, 0, 60));
        assert_eq!(shown, "CallKeys([redacted]) Credential([redacted]) Handle([redacted])");
    }
}
