//! Which tokens were used: each opens one connection (matching.md §4.2).

use std::collections::{BTreeMap, BTreeSet};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use super::{Rejected, SKEW_SECS};
use crate::time::Unix;

/// Used tokens remembered at once; beyond it new ones are refused rather than old ones forgotten. A million over the
/// longest life of a token are 1 600 new connections a second.
const MAX_REMEMBERED: usize = 1 << 20;

#[derive(Default)]
pub(super) struct Replay {
    // A tree keeps its size where as many come as go; a hash table would double once more for the holes they leave.
    used: BTreeSet<u128>,
    by_expiry: BTreeMap<u64, Vec<u128>>,
}

impl Replay {
    /// Marks the token used.
    pub(super) fn first_use(&mut self, now: Unix, jti: &str, expires: Unix) -> Result<(), Rejected> {
        self.forget_expired(now);
        let digest = digest(jti);
        if self.used.contains(&digest) {
            return Err(Rejected::Token);
        }
        if self.used.len() >= MAX_REMEMBERED {
            return Err(Rejected::Busy);
        }
        self.used.insert(digest);
        self.by_expiry.entry(expires.0).or_default().push(digest);
        Ok(())
    }

    pub(super) fn forget_expired(&mut self, now: Unix) {
        while let Some(entry) = self.by_expiry.first_entry() {
            // The very last second in which the token would be taken is remembered too.
            if *entry.key() >= now.0.saturating_sub(SKEW_SECS) {
                return;
            }
            for digest in entry.remove() {
                self.used.remove(&digest);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.used.len()
    }
}

impl Serialize for Replay {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.by_expiry.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Replay {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Replay, D::Error> {
        let by_expiry = BTreeMap::<u64, Vec<u128>>::deserialize(deserializer)?;
        let used: BTreeSet<u128> = by_expiry.values().flatten().copied().collect();
        if used.len() > MAX_REMEMBERED {
            return Err(D::Error::custom("more tokens than are remembered"));
        }
        Ok(Replay { used, by_expiry })
    }
}

/// What is remembered of a token's `jti`.
pub fn digest(jti: &str) -> u128 {
    let mut short = [0; 16];
    short.copy_from_slice(&Sha256::digest(jti.as_bytes())[..16]);
    u128::from_be_bytes(short)
}
