//! Users from the configuration, found by name and by USERHASH in constant time.

use std::collections::HashMap;

use crate::wire::{Key, PasswordAlgorithm, USERHASH, userhash};

pub(super) struct Users {
    by_name: HashMap<Vec<u8>, Keys>,
    names: HashMap<[u8; USERHASH], Vec<u8>>,
}

/// A password as either algorithm leaves it. The password itself is not kept.
struct Keys {
    md5: Key,
    sha256: Key,
}

impl Users {
    pub(super) fn new(users: &[(String, String)], realm: &str) -> Users {
        let by_name = users.iter().map(|(name, password)| {
            let key = |algorithm| Key::derive(algorithm, name.as_bytes(), realm.as_bytes(), password.as_bytes());
            let keys = Keys { md5: key(PasswordAlgorithm::Md5), sha256: key(PasswordAlgorithm::Sha256) };
            (name.clone().into_bytes(), keys)
        });
        let names = users.iter().map(|(name, _)| {
            let name = name.as_bytes();
            (userhash(name, realm.as_bytes()), name.to_vec())
        });
        Users { by_name: by_name.collect(), names: names.collect() }
    }

    pub(super) fn key(&self, name: &[u8], algorithm: PasswordAlgorithm) -> Option<Key> {
        self.by_name.get(name).map(|keys| match algorithm {
            PasswordAlgorithm::Md5 => keys.md5,
            PasswordAlgorithm::Sha256 => keys.sha256,
        })
    }

    /// The name behind a USERHASH (RFC 8489 §14.4).
    pub(super) fn name(&self, hash: &[u8; USERHASH]) -> Option<&[u8]> {
        self.names.get(hash).map(Vec::as_slice)
    }
}
