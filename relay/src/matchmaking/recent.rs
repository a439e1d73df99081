//! Whom somebody talked with lately, so that the same two do not meet again at once (matching.md §5.5).
//! Held in memory, under keyed hashes, and forgotten after half an hour (T3).

use std::collections::{HashMap, VecDeque};
use std::fmt;

use foldhash::fast::FixedState;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

use super::ticket::{Meeting, Person};
use crate::time::Millis;

/// Partners remembered per person.
pub const MAX_RECENT: usize = 20;
/// How long a partner is remembered, in milliseconds.
pub const RECENT_TTL_MS: u64 = 30 * 60 * 1000;
/// Meetings remembered in all; beyond it the oldest is forgotten early.
pub(super) const MAX_MEETINGS: usize = 1 << 20;

/// The key that turns pseudonyms into [`Person`]s, drawn at start and never written anywhere.
#[derive(Clone)]
pub struct Pepper([u8; 32]);

impl Pepper {
    pub const fn new(key: [u8; 32]) -> Pepper {
        Pepper(key)
    }

    /// The person behind a token's `sub`.
    pub fn person(&self, pseudonym: &str) -> Person {
        let digest = Sha256::digest(pseudonym.as_bytes());
        let mut short = [0; 8];
        short.copy_from_slice(&digest[..8]);
        self.blocked(short)
    }

    /// The appointment that tokens of this pool call by that name.
    pub fn meeting(&self, pool: &str, name: &str) -> Meeting {
        let digest = Sha256::new().chain_update(pool).chain_update([0]).chain_update(name).finalize();
        let mut short = [0; 8];
        short.copy_from_slice(&digest[..8]);
        Meeting(self.blocked(short).0)
    }

    /// The person behind an entry of a token's `blk`: the first 8 bytes of SHA-256 of the pseudonym.
    pub fn blocked(&self, entry: [u8; 8]) -> Person {
        // HMAC takes keys of every length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else { return Person(0) };
        mac.update(&entry);
        let tag = mac.finalize().into_bytes();
        let mut short = [0; 8];
        short.copy_from_slice(&tag[..8]);
        Person(u64::from_be_bytes(short))
    }
}

impl fmt::Debug for Pepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pepper[redacted]")
    }
}

/// Everybody's last partners. Bounded by [`MAX_RECENT`] a person and a million meetings in all.
#[derive(Default)]
pub struct RecentPartners {
    // Persons are keyed hashes already, so a fixed hasher gives nobody a handle on collisions.
    rings: HashMap<Person, VecDeque<(Millis, Person)>, FixedState>,
    /// One entry per side of a meeting, oldest first.
    expiry: VecDeque<(Millis, Person)>,
}

impl RecentPartners {
    /// Remembers on both sides that the two have met.
    pub fn met(&mut self, now: Millis, a: Person, b: Person) {
        self.forget_expired(now);
        self.remember(now, a, b);
        self.remember(now, b, a);
    }

    /// Remembers on one side only.
    pub fn note(&mut self, now: Millis, person: Person, partner: Person) {
        self.forget_expired(now);
        self.remember(now, person, partner);
    }

    /// The last partners of `person` that still count, oldest first, at most [`MAX_RECENT`].
    pub fn of(&self, now: Millis, person: Person) -> impl Iterator<Item = Person> + '_ {
        let ring = self.rings.get(&person).into_iter().flatten();
        ring.filter(move |(at, _)| now.since(*at) < RECENT_TTL_MS).map(|&(_, partner)| partner)
    }

    /// Forgets what is older than [`RECENT_TTL_MS`]. `met` does it too; call it from a timer so that silence forgets as well.
    pub fn forget_expired(&mut self, now: Millis) {
        while self.expiry.front().is_some_and(|(at, _)| now.since(*at) >= RECENT_TTL_MS) {
            self.forget_oldest();
        }
    }

    /// When [`RecentPartners::forget_expired`] has something to do.
    pub fn poll_timeout(&self) -> Option<Millis> {
        self.expiry.front().map(|(at, _)| at.after(RECENT_TTL_MS))
    }

    /// Forgets whom `person` met, on their side (`DELETE /v1/subjects`).
    pub fn forget(&mut self, person: Person) {
        self.rings.remove(&person);
        for ring in self.rings.values_mut() {
            ring.retain(|&(_, partner)| partner != person);
        }
        self.rings.retain(|_, ring| !ring.is_empty());
        self.expiry.retain(|&(_, owner)| owner != person);
    }

    fn remember(&mut self, now: Millis, person: Person, partner: Person) {
        if self.expiry.len() >= 2 * MAX_MEETINGS {
            self.forget_oldest();
        }
        let ring = self.rings.entry(person).or_default();
        ring.retain(|&(_, known)| known != partner);
        if ring.len() >= MAX_RECENT {
            ring.pop_front();
        }
        ring.push_back((now, partner));
        self.expiry.push_back((now, person));
    }

    /// Each entry of a ring is no younger than its entry in `expiry`, so what goes here has had its time.
    fn forget_oldest(&mut self) {
        let Some((at, person)) = self.expiry.pop_front() else { return };
        let Some(ring) = self.rings.get_mut(&person) else { return };
        while ring.front().is_some_and(|&(met, _)| met <= at) {
            ring.pop_front();
        }
        if ring.is_empty() {
            self.rings.remove(&person);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partners(recent: &RecentPartners, now: u64, person: u64) -> Vec<u64> {
        recent.of(Millis(now), Person(person)).map(|person| person.0).collect()
    }

    #[test]
    fn both_sides_remember_a_meeting_for_half_an_hour() {
        let mut recent = RecentPartners::default();
        recent.met(Millis(1000), Person(1), Person(2));
        assert_eq!(partners(&recent, 1000 + RECENT_TTL_MS - 1, 1), [2]);
        assert_eq!(partners(&recent, 1000 + RECENT_TTL_MS - 1, 2), [1]);
        assert!(partners(&recent, 1000 + RECENT_TTL_MS, 1).is_empty());
        assert_eq!(recent.poll_timeout(), Some(Millis(1000 + RECENT_TTL_MS)));
        recent.forget_expired(Millis(1000 + RECENT_TTL_MS));
        assert!(recent.rings.is_empty() && recent.expiry.is_empty());
    }

    #[test]
    fn a_ring_holds_the_last_twenty_partners_once_each() {
        let mut recent = RecentPartners::default();
        for partner in 10..40 {
            recent.met(Millis(partner), Person(1), Person(partner));
        }
        recent.met(Millis(50), Person(1), Person(25));
        let mut expected: Vec<u64> = (20..40).filter(|&partner| partner != 25).collect();
        expected.push(25);
        assert_eq!(partners(&recent, 60, 1), expected);
    }

    #[test]
    fn meeting_again_starts_the_half_hour_anew() {
        let mut recent = RecentPartners::default();
        recent.met(Millis(0), Person(1), Person(2));
        recent.met(Millis(1000), Person(1), Person(2));
        recent.forget_expired(Millis(RECENT_TTL_MS));
        assert_eq!(partners(&recent, RECENT_TTL_MS, 1), [2]);
    }

    #[test]
    fn an_erased_person_is_in_nobodys_ring() {
        let mut recent = RecentPartners::default();
        recent.met(Millis(0), Person(1), Person(2));
        recent.met(Millis(0), Person(2), Person(3));
        recent.forget(Person(2));
        assert!(recent.rings.is_empty());
        assert_eq!(recent.expiry.len(), 2, "what is left of the others' clocks expires by itself");
    }

    #[test]
    fn a_block_in_a_token_names_the_same_person_as_their_own_token() {
        let pepper = Pepper::new([7; 32]);
        let mut entry = [0; 8];
        entry.copy_from_slice(&Sha256::digest(b"somebody-pseudonym")[..8]);
        assert_eq!(pepper.blocked(entry), pepper.person("somebody-pseudonym"));
        assert_ne!(Pepper::new([8; 32]).person("somebody-pseudonym"), pepper.person("somebody-pseudonym"));
        assert_eq!(format!("{:?} {pepper:?}", pepper.person("a")), "Person[redacted] Pepper[redacted]");
    }
}
