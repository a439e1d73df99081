//! Proof of what was said, without keeping it (matching.md §4.10).
//!
//! Each relayed text is stamped with a tag only this server can make. The client keeps text and tag; a report brings both back, and
//! the server sees that it relayed exactly this, in this call, from this side, at that minute. The key changes every day and tags of
//! the day before yesterday verify no more: from then on anybody may have written anything.
//!
//! A day's key comes from the secret and the date, not from the key of the day before: nodes that started on different days must
//! agree.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use super::ids::Id;
use crate::time::Unix;

const MAC_BYTES: usize = 16;
const MINUTE_BYTES: usize = 4;
const MINUTES_PER_DAY: u32 = 24 * 60;
/// Clocks of nodes may differ by so much.
const SKEW_MINUTES: u32 = 1;

/// One text as it was relayed. `side` 0 is the waiter's, 1 the arrival's.
#[derive(Clone, Copy)]
pub struct Said<'a> {
    pub call: Id,
    pub side: u8,
    pub k: u32,
    pub b: &'a str,
}

/// Makes and checks tags.
#[derive(Serialize, Deserialize)]
pub struct Tags {
    secret: [u8; 32],
    /// Of before the last change: what was said under it can be proved for as long as any tag can.
    previous: Option<[u8; 32]>,
}

impl Tags {
    /// Nodes that share the secret verify each other's tags.
    pub const fn new(secret: [u8; 32]) -> Tags {
        Tags { secret, previous: None }
    }

    /// From now on tags are made with another secret.
    pub fn move_on(&mut self, secret: [u8; 32]) {
        if secret != self.secret {
            self.previous = Some(std::mem::replace(&mut self.secret, secret));
        }
    }

    /// The tag, base64url: the minute, then 16 bytes of MAC.
    pub fn stamp(&self, now: Unix, said: Said<'_>) -> String {
        let minute = minute(now);
        let mut tag = [0; MINUTE_BYTES + MAC_BYTES];
        tag[..MINUTE_BYTES].copy_from_slice(&minute.to_be_bytes());
        tag[MINUTE_BYTES..].copy_from_slice(&mac_of(&self.secret, minute, said));
        URL_SAFE_NO_PAD.encode(tag)
    }

    /// When it was said, if it was.
    pub fn verify(&self, now: Unix, said: Said<'_>, tag: &str) -> Option<Unix> {
        let mut bytes = [0; MINUTE_BYTES + MAC_BYTES];
        let length = URL_SAFE_NO_PAD.decode_slice(tag, &mut bytes).ok()?;
        let (stamped, mac) = bytes.split_first_chunk::<MINUTE_BYTES>()?;
        let (minute, latest) = (u32::from_be_bytes(*stamped), minute(now).saturating_add(SKEW_MINUTES));
        let oldest_day = (latest / MINUTES_PER_DAY).saturating_sub(1);
        let timely = minute <= latest && minute / MINUTES_PER_DAY >= oldest_day;
        let made_with = |secret: &[u8; 32]| bool::from(mac_of(secret, minute, said).ct_eq(mac));
        let genuine = made_with(&self.secret) || self.previous.as_ref().is_some_and(made_with);
        (length == bytes.len() && timely && genuine).then_some(Unix(u64::from(minute) * 60))
    }
}

fn mac_of(secret: &[u8; 32], minute: u32, said: Said<'_>) -> [u8; MAC_BYTES] {
    let day = minute / MINUTES_PER_DAY;
    let key = hmac(secret, &[b"pair.v1 tags of texts", &day.to_be_bytes()]);
    let parts = [&said.call.0[..], &[said.side], &said.k.to_be_bytes(), &minute.to_be_bytes(), said.b.as_bytes()];
    let mut short = [0; MAC_BYTES];
    short.copy_from_slice(&hmac(&key, &parts)[..MAC_BYTES]);
    short
}

fn minute(now: Unix) -> u32 {
    u32::try_from(now.0 / 60).unwrap_or(u32::MAX)
}

/// HMAC-SHA256 over the parts; every part but the last has a fixed length.
pub(super) fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    // HMAC takes keys of every length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const NOON: Unix = Unix(1_800_014_400 / 86_400 * 86_400 + 43_200);

    fn said(b: &str) -> Said<'_> {
        Said { call: Id([7; 16]), side: 1, k: 3, b }
    }

    #[test]
    fn what_was_said_verifies_and_nothing_else_does() {
        let tags = Tags::new([1; 32]);
        let tag = tags.stamp(NOON, said("hello"));
        assert_eq!(tags.verify(NOON, said("hello"), &tag), Some(NOON));
        for other in [
            said("hellO"),
            said(""),
            Said { call: Id([8; 16]), ..said("hello") },
            Said { side: 0, ..said("hello") },
            Said { k: 4, ..said("hello") },
        ] {
            assert_eq!(tags.verify(NOON, other, &tag), None);
        }
        assert_eq!(Tags::new([2; 32]).verify(NOON, said("hello"), &tag), None);
    }

    #[test]
    fn what_was_said_under_the_secret_before_is_proved_until_the_next_change() {
        let mut tags = Tags::new([1; 32]);
        let old = tags.stamp(NOON, said("hello"));
        tags.move_on([2; 32]);
        let new = tags.stamp(NOON, said("hello"));
        assert_ne!(old, new);
        tags.move_on([2; 32]); // the same again is no change
        assert!([&old, &new].iter().all(|tag| tags.verify(NOON, said("hello"), tag) == Some(NOON)));
        tags.move_on([3; 32]);
        assert_eq!(tags.verify(NOON, said("hello"), &old), None);
        assert_eq!(tags.verify(NOON, said("hello"), &new), Some(NOON));
    }

    #[test]
    fn every_bit_of_a_tag_counts() {
        let tags = Tags::new([1; 32]);
        let tag = tags.stamp(NOON, said("hello"));
        let bytes = URL_SAFE_NO_PAD.decode(&tag).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut bent = bytes.clone();
            bent[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(tags.verify(NOON, said("hello"), &URL_SAFE_NO_PAD.encode(&bent)), None, "bit {bit}");
        }
        for broken in ["", "AAAA", "not base64!", &tag[..tag.len() - 2], &format!("{tag}AA")] {
            assert_eq!(tags.verify(NOON, said("hello"), broken), None, "{broken}");
        }
    }

    #[test]
    fn tags_of_the_day_before_yesterday_prove_nothing() {
        let tags = Tags::new([1; 32]);
        let tag = tags.stamp(NOON, said("hello"));
        let later = |hours: u64| Unix(NOON.0 + hours * 3_600);
        assert!(tags.verify(later(35), said("hello"), &tag).is_some(), "all of the next day");
        assert_eq!(tags.verify(later(36), said("hello"), &tag), None);
        assert_eq!(tags.verify(Unix(NOON.0 - 180), said("hello"), &tag), None, "nor do those of the future");
    }
}
