//! Nonces that carry their own proof, so that nobody stores them.
//!
//! `obMatJos2` and four characters of security features (RFC 8489 §9.2), then base64url of time (4 bytes), salt (2 bytes)
//! and a truncated HMAC over both and the client's address (8 bytes): 32 characters, no padding in the attribute.

use std::net::{IpAddr, SocketAddr};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq;

use super::mac;
use crate::time::Millis;
use crate::wire::TransactionId;

/// The nonce cookie and 24 feature bits, none of them set: no PASSWORD-ALGORITHMS, no USERHASH (RFC 8489 §9.2, §18.1).
const PREFIX: &str = "obMatJos2AAAA";

/// A nonce is good for an hour (RFC 8656 §5).
const LIFE_TICKS: u32 = (60 * 60 * 1000 / TICK_MILLIS) as u32;

/// Time in a nonce counts in these steps and wraps after two years.
const TICK_MILLIS: u64 = 16;

const TIME: usize = 4;
const SALT: usize = 2;
const PROOF: usize = 8;
const BODY: usize = TIME + SALT + PROOF;

pub(super) struct Nonces {
    key: [u8; 32],
    /// Added to the time, so that a nonce does not tell how long this process has been running.
    origin: u32,
}

impl Nonces {
    pub(super) fn new(key: [u8; 32]) -> Nonces {
        let origin = mac::short(&key, &[b"origin"]) as u32;
        Nonces { key, origin }
    }

    /// A nonce for this client. The salt comes from the request that is answered: two requests get two nonces, a
    /// retransmission gets the same one.
    pub(super) fn make(&self, now: Millis, client: SocketAddr, answered: TransactionId) -> String {
        let mut body = [0; BODY];
        let (time, rest) = body.split_at_mut(TIME);
        let (salt, proof) = rest.split_at_mut(SALT);
        time.copy_from_slice(&self.tick(now).to_be_bytes());
        for pair in answered.0.chunks_exact(SALT) {
            salt.iter_mut().zip(pair).for_each(|(salt, byte)| *salt ^= byte);
        }
        proof.copy_from_slice(&self.proof(time, salt, client));
        let mut nonce = String::from(PREFIX);
        URL_SAFE_NO_PAD.encode_string(body, &mut nonce);
        nonce
    }

    /// Whether this is a nonce of ours for this client, not older than an hour.
    pub(super) fn is_fresh(&self, now: Millis, client: SocketAddr, nonce: &[u8]) -> bool {
        let Some(text) = nonce.strip_prefix(PREFIX.as_bytes()) else { return false };
        let mut body = [0; BODY];
        if text.len() != BODY.div_ceil(3) * 4 - 1 || URL_SAFE_NO_PAD.decode_slice(text, &mut body) != Ok(BODY) {
            return false;
        }
        let (time, rest) = body.split_at(TIME);
        let (salt, proof) = rest.split_at(SALT);
        let genuine: bool = self.proof(time, salt, client).as_slice().ct_eq(proof).into();
        let made = time.try_into().map_or(0, u32::from_be_bytes);
        genuine && self.tick(now).wrapping_sub(made) <= LIFE_TICKS
    }

    fn tick(&self, now: Millis) -> u32 {
        ((now.0 / TICK_MILLIS) as u32).wrapping_add(self.origin)
    }

    fn proof(&self, time: &[u8], salt: &[u8], client: SocketAddr) -> [u8; PROOF] {
        let ip = match client.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        let port = client.port().to_be_bytes();
        mac::short(&self.key, &[b"nonce", time, salt, &ip.octets(), &port]).to_be_bytes()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::HashSet;

    use super::*;

    const START: Millis = Millis(5_000);
    const HOUR: u64 = 3_600_000;

    fn nonces() -> Nonces {
        Nonces::new([1; 32])
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
    fn a_nonce_has_the_cookie_and_no_features_and_needs_no_padding() {
        let nonce = nonces().make(START, client(), transaction(1));
        assert!(nonce.starts_with("obMatJos2AAAA"));
        assert_eq!(nonce.len(), 32);
    }

    #[test]
    fn a_nonce_is_good_for_an_hour_and_not_longer() {
        let nonces = nonces();
        let nonce = nonces.make(START, client(), transaction(1));
        for (age, fresh) in [(0, true), (HOUR - 100, true), (HOUR, true), (HOUR + 100, false), (30 * 24 * HOUR, false)]
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
        assert!(!Nonces::new([2; 32]).is_fresh(START, client(), nonce.as_bytes()));
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
        for foreign in [&b""[..], b"nonce", b"obMatJos2AAAA", &nonce[..31], &long, &[0xFF; 763]] {
            assert!(!nonces.is_fresh(START, client(), foreign));
        }
    }

    #[test]
    fn nonces_of_one_moment_differ_and_those_of_a_retransmission_do_not() {
        let nonces = nonces();
        let made: HashSet<_> = (0..60).map(|n| nonces.make(START, client(), transaction(n))).collect();
        assert_eq!(made.len(), 60);
        assert_eq!(nonces.make(START, client(), transaction(7)), nonces.make(START, client(), transaction(7)));
    }

    #[test]
    fn a_nonce_does_not_tell_the_uptime() {
        let time = |key| Nonces::new([key; 32]).make(Millis(0), client(), transaction(1))[13..18].to_owned();
        assert_ne!(time(1), time(2));
    }
}
