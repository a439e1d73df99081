//! Nonces that carry their own proof, so that nobody stores them.
//!
//! `obMatJos2` and four characters of security features (RFC 8489 §9.2), then base64url of time (its low 3 bytes), salt (3
//! bytes) and a truncated HMAC over the whole time, the salt and the client's address (8 bytes): 32 characters, no padding in
//! the attribute. A nonce whose features were altered is none of ours.

use std::net::{IpAddr, SocketAddr};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use subtle::ConstantTimeEq;

use super::mac;
use crate::time::Millis;
use crate::wire::TransactionId;

/// What a nonce starts with whose next four characters are base64 of the 24 security features (RFC 8489 §9.2).
const COOKIE: &str = "obMatJos2";
const FEATURES: usize = 4;

/// Bit 0: the challenge listed PASSWORD-ALGORITHMS. Bits count from the right, as erratum 6290 to RFC 8489 §18.1 has it and
/// the sample in appendix B.1 does.
const PASSWORD_ALGORITHMS: u8 = 1 << 0;

/// Bit 1: the server wants USERHASH.
const USERNAME_ANONYMITY: u8 = 1 << 1;

/// A nonce is good for an hour (RFC 8656 §5).
const LIFE_TICKS: u64 = 60 * 60 * 1000 / TICK_MILLIS;

/// Time in a nonce counts in these steps. What is written of it wraps after three days; what is signed does not.
const TICK_MILLIS: u64 = 16;

const TIME: usize = 3;
const SALT: usize = 3;
const PROOF: usize = 8;
const BODY: usize = TIME + SALT + PROOF;
const WRAP: u64 = 1 << (8 * TIME);

pub(super) struct Nonces {
    key: [u8; 32],
    /// The nonce cookie: 13 characters.
    prefix: String,
    /// Added to the time, so that a nonce does not tell how long this process has been running.
    origin: u64,
}

impl Nonces {
    /// Nonces that say PASSWORD-ALGORITHMS was offered, as it must be, and whether USERHASH is wanted.
    pub(super) fn new(key: [u8; 32], username_anonymity: bool) -> Nonces {
        let origin = mac::short(&key, &[b"origin"]) >> 1; // far from where it would overflow
        let features = PASSWORD_ALGORITHMS | if username_anonymity { USERNAME_ANONYMITY } else { 0 };
        let prefix = format!("{COOKIE}{}", STANDARD.encode([0, 0, features]));
        Nonces { key, prefix, origin }
    }

    /// A nonce for this client. The salt comes from the request that is answered: two requests get two nonces, a
    /// retransmission gets the same one.
    pub(super) fn make(&self, now: Millis, client: SocketAddr, answered: TransactionId) -> String {
        let mut body = [0; BODY];
        let (time, rest) = body.split_at_mut(TIME);
        let (salt, proof) = rest.split_at_mut(SALT);
        let tick = self.tick(now);
        time.copy_from_slice(written(&tick.to_be_bytes()));
        for pair in answered.0.chunks_exact(SALT) {
            salt.iter_mut().zip(pair).for_each(|(salt, byte)| *salt ^= byte);
        }
        proof.copy_from_slice(&self.proof(tick, salt, client));
        let mut nonce = self.prefix.clone();
        URL_SAFE_NO_PAD.encode_string(body, &mut nonce);
        nonce
    }

    /// Whether this is a nonce of ours for this client, not older than an hour.
    pub(super) fn is_fresh(&self, now: Millis, client: SocketAddr, nonce: &[u8]) -> bool {
        let Some(text) = nonce.strip_prefix(self.prefix.as_bytes()) else { return false };
        let mut body = [0; BODY];
        if text.len() != BODY.div_ceil(3) * 4 - 1 || URL_SAFE_NO_PAD.decode_slice(text, &mut body) != Ok(BODY) {
            return false;
        }
        let (time, rest) = body.split_at(TIME);
        let (salt, proof) = rest.split_at(SALT);
        let now = self.tick(now);
        let age = low(written(&now.to_be_bytes())).wrapping_sub(low(time)) % WRAP;
        // The latest moment that is written like this. One that is older by the wrap was signed as another.
        let genuine: bool = self.proof(now.wrapping_sub(age), salt, client).as_slice().ct_eq(proof).into();
        genuine && age <= LIFE_TICKS
    }

    fn tick(&self, now: Millis) -> u64 {
        now.0 / TICK_MILLIS + self.origin
    }

    fn proof(&self, tick: u64, salt: &[u8], client: SocketAddr) -> [u8; PROOF] {
        let ip = match client.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        let port = client.port().to_be_bytes();
        mac::short(&self.key, &[b"nonce", &tick.to_be_bytes(), salt, &ip.octets(), &port]).to_be_bytes()
    }
}

/// What a nonce says of a moment.
fn written(tick: &[u8; 8]) -> &[u8] {
    &tick[8 - TIME..]
}

fn low(written: &[u8]) -> u64 {
    written.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

/// "If the NONCE attribute starts with the nonce cookie with the STUN Security Feature Password algorithms bit set to 1"
/// (RFC 8489 §9.2.4), whoever made it.
pub(super) fn says_algorithms_were_offered(nonce: &[u8]) -> bool {
    let features = nonce.strip_prefix(COOKIE.as_bytes()).and_then(|rest| rest.get(..FEATURES));
    let mut bits = [0; 3];
    features.is_some_and(|text| STANDARD.decode_slice(text, &mut bits) == Ok(3)) && bits[2] & PASSWORD_ALGORITHMS != 0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::HashSet;

    use super::*;

    const START: Millis = Millis(5_000);
    const HOUR: u64 = 3_600_000;

    fn nonces() -> Nonces {
        Nonces::new([1; 32], false)
    }

    fn client() -> SocketAddr {
        "192.0.2.1:4000".parse().unwrap()
    }

    fn transaction(n: u64) -> TransactionId {
        let mut id = [0; 12];
        id[4..].copy_from_slice(&n.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
        TransactionId(id)
    }

    #[test]
    fn a_nonce_has_the_cookie_and_the_true_features_and_needs_no_padding() {
        for (anonymity, cookie) in [(false, "obMatJos2AAAB"), (true, "obMatJos2AAAD")] {
            let nonce = Nonces::new([1; 32], anonymity).make(START, client(), transaction(1));
            assert!(nonce.starts_with(cookie), "{nonce}");
            assert_eq!(nonce.len(), 32);
            assert!(says_algorithms_were_offered(nonce.as_bytes()));
        }
    }

    #[test]
    fn a_nonce_that_offered_something_else_is_refused() {
        let (plain, hidden) = (nonces(), Nonces::new([1; 32], true));
        let nonce = plain.make(START, client(), transaction(1));
        assert!(!hidden.is_fresh(START, client(), nonce.as_bytes()));
        let raised = nonce.replace("AAAB", "AAAD");
        assert!(!plain.is_fresh(START, client(), raised.as_bytes()));
    }

    #[test]
    fn only_the_cookie_with_bit_zero_says_that_algorithms_were_offered() {
        for nonce in ["obMatJos2AAAB", "obMatJos2AAADrest", "obMatJos2///////"] {
            assert!(says_algorithms_were_offered(nonce.as_bytes()), "{nonce}");
        }
        for nonce in [
            "",
            "obMatJos2",
            "obMatJos2AAA",
            "obMatJos2AAAA",
            "obMatJos2AAAC",
            "obMatJos2gAAA",
            "obMatJos2A-_B",
            "xobMatJos2AAAB",
        ] {
            assert!(!says_algorithms_were_offered(nonce.as_bytes()), "{nonce}");
        }
    }

    #[test]
    fn a_nonce_is_good_for_an_hour_and_not_longer() {
        let nonces = nonces();
        let nonce = nonces.make(START, client(), transaction(1));
        for (age, fresh) in
            [(0, true), (HOUR - 100, true), (HOUR, true), (HOUR + 100, false), (WRAP * TICK_MILLIS, false)]
        {
            assert_eq!(nonces.is_fresh(START.after(age), client(), nonce.as_bytes()), fresh, "after {age} ms");
        }
    }

    #[test]
    fn a_nonce_from_the_future_is_refused() {
        let nonces = nonces();
        let nonce = nonces.make(START.after(HOUR), client(), transaction(1));
        assert!(!nonces.is_fresh(START, client(), nonce.as_bytes()));
    }

    #[test]
    fn a_nonce_is_of_no_use_to_another_address_port_or_server() {
        let nonce = nonces().make(START, client(), transaction(1));
        for other in ["192.0.2.1:4001", "192.0.2.2:4000", "[::1]:4000"] {
            assert!(!nonces().is_fresh(START, other.parse().unwrap(), nonce.as_bytes()), "{other}");
        }
        assert!(!Nonces::new([2; 32], false).is_fresh(START, client(), nonce.as_bytes()));
    }

    #[test]
    fn an_altered_or_foreign_nonce_is_refused() {
        let nonces = nonces();
        let nonce = nonces.make(START, client(), transaction(1)).into_bytes();
        for place in 0..nonce.len() {
            for bit in 0..8 {
                let mut altered = nonce.clone();
                altered[place] ^= 1 << bit;
                assert!(!nonces.is_fresh(START, client(), &altered), "bit {bit} of byte {place}");
            }
        }
        let long = [&nonce[..], b"A"].concat();
        for foreign in [&b""[..], b"nonce", b"obMatJos2AAAB", &nonce[..31], &long, &[0xFF; 763]] {
            assert!(!nonces.is_fresh(START, client(), foreign));
        }
    }

    #[test]
    fn nonces_of_one_moment_differ_and_those_of_a_retransmission_do_not() {
        let nonces = nonces();
        let made: HashSet<_> = (0..200).map(|n| nonces.make(START, client(), transaction(n))).collect();
        assert_eq!(made.len(), 200);
        assert_eq!(nonces.make(START, client(), transaction(7)), nonces.make(START, client(), transaction(7)));
    }

    #[test]
    fn a_nonce_does_not_tell_the_uptime() {
        let time = |key| Nonces::new([key; 32], false).make(Millis(0), client(), transaction(1))[13..18].to_owned();
        assert_ne!(time(1), time(2));
    }
}
