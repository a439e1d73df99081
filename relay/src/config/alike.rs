//! What must be written alike on every node of a cluster, in one number: a queue is looked after by one node for all, by its own settings, and
//! topics travel by their place in the list. Nodes tell each other the number, and operators see where it differs.

use sha2::{Digest as _, Sha256};

use super::Settings;

/// Equal where the settings are. No secret goes into it.
pub fn rules(settings: &Settings) -> u64 {
    let Settings { auth, calls, matching, .. } = settings;
    let keys: Vec<&str> = auth.tokens.iter().map(|key| key.kid.as_str()).collect();
    let tokens = (&auth.issuer, &auth.audience, keys);
    let calls = (calls.path, &calls.direct_bands, calls.acceptance, calls.payload);
    let matching = (&matching.topics, matching.min_band, matching.recent_partners);
    let digest = Sha256::digest(format!("{tokens:?} {calls:?} {matching:?}"));
    let mut short = [0; 8];
    short.copy_from_slice(&digest[..8]);
    u64::from_be_bytes(short)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::Path;

    use super::*;

    #[test]
    fn what_decides_about_matching_counts_and_what_is_a_nodes_own_does_not() {
        let of = |text: &str| rules(&crate::config::parse(text, Path::new("")).unwrap());
        assert_eq!(of(""), of("relay.ports = '2000-3000'"));
        for other in ["matching.topics = ['a']", "matching.min_band = '18+'", "calls.acceptance = true"] {
            assert_ne!(of(""), of(other), "{other}");
        }
        assert_ne!(of("matching.topics = ['a', 'b']"), of("matching.topics = ['b', 'a']"), "they go by number");
    }
}
