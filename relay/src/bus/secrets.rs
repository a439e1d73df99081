//! What else the cluster's key is good for: secrets that every node must have alike, and that nobody types twice.
//!
//! They are made of the key that sealed first when a node started, and stay with it until it ends, whatever a reload does to the keys: by
//! them people are known, and what was blocked is blocked by them. So nodes that differ in it match nobody with each other (`matching`).

use std::fmt;

use super::seal::derive;

/// Of one key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Secrets {
    /// Keys the hashes by which people are known: `matchmaking::Pepper`.
    pub people: [u8; 32],
    /// Keys the tags of texts, by which a report is believed.
    pub tags: [u8; 32],
}

impl Secrets {
    pub fn of(key: &[u8]) -> Secrets {
        let of = |what| derive(key, what, &[]);
        Secrets { people: of(b"relay cluster 1 people"), tags: of(b"relay cluster 1 tags") }
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_of_one_key_have_the_same_secrets_and_no_two_of_them_are_alike() {
        let (one, other) = (Secrets::of(b"a key"), Secrets::of(b"another key"));
        assert_eq!(one, Secrets::of(b"a key"));
        let all = [one.people, one.tags, other.people, other.tags];
        assert!(all.iter().enumerate().all(|(at, secret)| !all[..at].contains(secret)));
        assert_eq!(format!("{one:?}"), "Secrets[redacted]");
    }
}
