//! Whom somebody talked with lately, so that the same two do not meet again at once (matching.md §5.5).
//! Held in memory, under keyed hashes, and forgotten after half an hour (T3).

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::ser::SerializeSeq as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use super::ticket::{Meeting, Person};
use crate::time::Millis;

/// Partners remembered per person.
pub const MAX_RECENT: usize = 20;
/// How long a partner is remembered, in milliseconds.
pub const RECENT_TTL_MS: u64 = 30 * 60 * 1000;
/// Meetings remembered in all; beyond it the oldest is forgotten early.
pub(super) const MAX_MEETINGS: usize = 1 << 20;

/// The key that turns pseudonyms into [`Person`]s, drawn at start and never written anywhere; a process that takes over is handed it.
#[derive(Clone, Serialize, Deserialize)]
pub struct Pepper([u8; 32]);

impl Pepper {
    pub const fn new(key: [u8; 32]) -> Pepper {
        Pepper(key)
    }

    /// The person behind a token's `sub`.
    pub fn person(&self, pseudonym: &str) -> Person {
        self.blocked(entry(pseudonym))
    }

    /// The appointment that tokens of this pool call by that name.
    pub fn meeting(&self, pool: &str, name: &str) -> Meeting {
        let digest = Sha256::new().chain_update(pool).chain_update([0]).chain_update(name).finalize();
        let mut short = [0; 8];
        short.copy_from_slice(&digest[..8]);
        Meeting(self.blocked(short).0)
    }

    /// Which key it is, without saying more of it: two who agree know people by the same hashes.
    pub fn mark(&self) -> u64 {
        let digest = Sha256::new().chain_update(b"which pepper\0").chain_update(self.0).finalize();
        let mut short = [0; 8];
        short.copy_from_slice(&digest[..8]);
        u64::from_be_bytes(short)
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

/// What stands for a pseudonym in a token's `blk`, and where nodes tell each other of somebody: the first 8 bytes of its SHA-256.
pub fn entry(pseudonym: &str) -> [u8; 8] {
    let digest = Sha256::digest(pseudonym.as_bytes());
    let mut short = [0; 8];
    short.copy_from_slice(&digest[..8]);
    short
}

impl fmt::Debug for Pepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pepper[redacted]")
    }
}

/// Everybody's last partners. Bounded by [`MAX_RECENT`] a person and a million meetings in all: some 50 bytes for each side of each.
#[derive(Default)]
pub struct RecentPartners {
    /// Oldest first, so that they expire from the front.
    sides: Sides,
    /// The number of each person's latest side.
    // A tree, because half of those in it change every quarter of an hour: a hash table fills with the holes they leave and doubles once
    // more, an hour after it was full (seen in `tests/soak.sh`).
    latest: BTreeMap<Person, u64>,
}

/// A meeting as one of the two remembers it.
struct Side {
    at: Millis,
    owner: Person,
    partner: Person,
    /// How many sides back the owner's one before is; 0 if there was none.
    back: u32,
}

/// A queue in pieces: one piece more or less as it grows and shrinks, where a ring would double, and walk through all of what it once took.
#[derive(Default)]
struct Sides {
    pieces: VecDeque<Vec<Side>>,
    /// Number of the first place of the first piece. A number is never used twice.
    begin: u64,
    /// Number of the first side that is left; the others follow without a gap.
    first: u64,
}

/// Sides of one piece.
const PIECE: usize = 1 << 10;

impl Sides {
    fn end(&self) -> u64 {
        let full = self.pieces.len().saturating_sub(1) * PIECE;
        self.begin + (full + self.pieces.back().map_or(0, Vec::len)) as u64
    }

    fn len(&self) -> usize {
        (self.end() - self.first) as usize
    }

    fn get(&self, number: u64) -> Option<&Side> {
        let at = (number >= self.first).then(|| (number - self.begin) as usize)?;
        self.pieces.get(at / PIECE)?.get(at % PIECE)
    }

    fn front(&self) -> Option<&Side> {
        self.get(self.first)
    }

    fn push_back(&mut self, side: Side) {
        match self.pieces.back_mut().filter(|piece| piece.len() < PIECE) {
            Some(piece) => piece.push(side),
            None => {
                let mut piece = Vec::with_capacity(PIECE);
                piece.push(side);
                self.pieces.push_back(piece);
            }
        }
    }

    /// Overwrites it and gives its place up; the piece goes with the last of it.
    fn drop_front(&mut self) {
        let Some(front) = self.iter_mut().next() else { return };
        (front.owner, front.partner) = (NOBODY, NOBODY);
        self.first += 1;
        if self.first - self.begin == PIECE as u64 {
            self.pieces.pop_front();
            self.begin = self.first;
        }
    }

    fn iter(&self) -> impl Iterator<Item = &Side> {
        let gone = (self.first - self.begin) as usize;
        self.pieces.iter().flatten().skip(gone)
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = &mut Side> {
        let gone = (self.first - self.begin) as usize;
        self.pieces.iter_mut().flatten().skip(gone)
    }
}

/// Stands for whoever was erased.
const NOBODY: Person = Person(0);
/// Sides looked at for one person. More than twenty only if the same two met again.
const MAX_STEPS: usize = 4 * MAX_RECENT;

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
    pub fn of(&self, now: Millis, person: Person) -> impl Iterator<Item = Person> + use<> {
        let mut found = Vec::new();
        let counting = self.sides_of(person).take(MAX_STEPS).take_while(|side| now.since(side.at) < RECENT_TTL_MS);
        for partner in counting.map(|side| side.partner).filter(|partner| *partner != NOBODY) {
            if found.len() < MAX_RECENT && !found.contains(&partner) {
                found.push(partner);
            }
        }
        found.into_iter().rev()
    }

    /// Forgets what is older than [`RECENT_TTL_MS`]. `met` does it too; call it from a timer so that silence forgets as well.
    pub fn forget_expired(&mut self, now: Millis) {
        while self.sides.front().is_some_and(|side| now.since(side.at) >= RECENT_TTL_MS) {
            self.forget_oldest();
        }
    }

    /// When [`RecentPartners::forget_expired`] has something to do.
    pub fn poll_timeout(&self) -> Option<Millis> {
        self.sides.front().map(|side| side.at.after(RECENT_TTL_MS))
    }

    /// Forgets whom `person` met, and that anybody met them (`DELETE /v1/subjects`).
    pub fn forget(&mut self, person: Person) {
        self.latest.remove(&person);
        for side in self.sides.iter_mut().filter(|side| side.owner == person || side.partner == person) {
            (side.owner, side.partner) = (if side.owner == person { NOBODY } else { side.owner }, NOBODY);
        }
    }

    /// Latest first.
    fn sides_of(&self, person: Person) -> impl Iterator<Item = &Side> {
        let mut next = self.latest.get(&person).copied();
        std::iter::from_fn(move || {
            let number = next?;
            let side = self.sides.get(number)?;
            next = number.checked_sub(side.back.into()).filter(|_| side.back > 0);
            Some(side)
        })
    }

    fn remember(&mut self, now: Millis, owner: Person, partner: Person) {
        if self.sides.len() >= 2 * MAX_MEETINGS {
            self.forget_oldest();
        }
        let number = self.sides.end();
        // Whoever has a latest side still has it among the two million: the distance fits.
        let back = self.latest.insert(owner, number).map_or(0, |before| (number - before) as u32);
        self.sides.push_back(Side { at: now, owner, partner, back });
    }

    fn forget_oldest(&mut self) {
        let Some(owner) = self.sides.front().map(|side| side.owner) else { return };
        if self.latest.get(&owner) == Some(&self.sides.first) {
            self.latest.remove(&owner);
        }
        self.sides.drop_front();
    }
}

/// Every side, oldest first; the places of each person's are found again in reading.
impl Serialize for RecentPartners {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut all = serializer.serialize_seq(Some(self.sides.len()))?;
        for Side { at, owner, partner, .. } in self.sides.iter() {
            all.serialize_element(&(at, owner, partner))?;
        }
        all.end()
    }
}

impl<'de> Deserialize<'de> for RecentPartners {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RecentPartners, D::Error> {
        let mut recent = RecentPartners::default();
        for (at, owner, partner) in Vec::<(Millis, Person, Person)>::deserialize(deserializer)? {
            if owner != NOBODY && partner != NOBODY {
                recent.remember(at, owner, partner);
            }
        }
        Ok(recent)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
        assert!(recent.sides.len() == 0 && recent.latest.is_empty());
    }

    #[test]
    fn the_last_twenty_partners_are_known_once_each() {
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
        recent.met(Millis(0), Person(3), Person(4));
        recent.forget(Person(2));
        assert_eq!([1, 2, 3, 4].map(|person| partners(&recent, 0, person)), [vec![], vec![], vec![4], vec![3]]);
        assert!(recent.sides.iter_mut().all(|side| side.owner != Person(2) && side.partner != Person(2)));
        recent.met(Millis(1), Person(2), Person(3));
        assert_eq!(partners(&recent, 1, 2), [3], "who comes back is somebody new");
    }

    #[test]
    fn what_is_beyond_the_bound_is_forgotten_oldest_first_and_its_room_given_back() {
        let mut recent = RecentPartners::default();
        for number in 0..=MAX_MEETINGS as u64 {
            recent.met(Millis(number / 1000), Person(2 * number + 1), Person(2 * number + 2));
        }
        assert_eq!(recent.sides.len(), 2 * MAX_MEETINGS);
        assert!(partners(&recent, 2000, 1).is_empty() && partners(&recent, 2000, 2).is_empty());
        assert_eq!((partners(&recent, 2000, 3), partners(&recent, 2000, 4)), (vec![4], vec![3]));
        recent.forget_expired(Millis(RECENT_TTL_MS + 2000));
        assert!(recent.sides.len() == 0 && recent.latest.is_empty());
        assert!(recent.sides.pieces.len() <= 1);
    }

    proptest! {
        /// Against everybody's meetings in a plain list.
        #[test]
        fn partners_are_those_of_the_last_half_hour(
            steps in prop::collection::vec((0..RECENT_TTL_MS / 4, 1..9_u64, 1..9_u64, 0..20_u8), 0..60)
        ) {
            let (mut recent, mut model, mut now) = (RecentPartners::default(), Vec::new(), 0);
            for (pause, a, b, kind) in steps {
                now += pause;
                if kind == 0 {
                    recent.forget(Person(a));
                    model.retain(|&(_, owner, partner)| owner != a && partner != a);
                } else if a != b {
                    recent.met(Millis(now), Person(a), Person(b));
                    model.extend([(now, a, b), (now, b, a)]);
                }
                for person in 1..9 {
                    let counts = |&&(at, owner, _): &&(u64, u64, u64)| owner == person && now - at < RECENT_TTL_MS;
                    let mut expected: Vec<u64> = Vec::new();
                    for &(_, _, partner) in model.iter().filter(counts) {
                        expected.retain(|known| *known != partner);
                        expected.push(partner);
                    }
                    prop_assert_eq!(partners(&recent, now, person), expected);
                }
            }
        }
    }

    #[test]
    fn a_block_in_a_token_names_the_same_person_as_their_own_token() {
        let pepper = Pepper::new([7; 32]);
        let mut entry = [0; 8];
        entry.copy_from_slice(&Sha256::digest(b"somebody-pseudonym")[..8]);
        assert_eq!(pepper.blocked(entry), pepper.person("somebody-pseudonym"));
        assert_ne!(Pepper::new([8; 32]).person("somebody-pseudonym"), pepper.person("somebody-pseudonym"));
        assert_eq!(pepper.mark(), Pepper::new([7; 32]).mark());
        assert_ne!(pepper.mark(), Pepper::new([8; 32]).mark());
        assert_eq!(format!("{:?} {pepper:?}", pepper.person("a")), "Person[redacted] Pepper[redacted]");
    }
}
