//! Revocations as nodes tell each other of them: digests and an end, never a pseudonym. Pure.
//!
//! A message on a bus can be lost, and a node cut off. So each holds what is in force, says in every sign of life what that comes to in
//! one number, and who hears another number asks for the list.

use std::collections::BTreeMap;

use crate::signalling::desk::{Change, MAX_DENIED, Revoked};
use crate::time::Unix;

/// Held at once: as many as the desk denies.
pub(super) const MAX_HELD: usize = MAX_DENIED;
/// Entries of one page of the list; a page is shorter than a message may be.
pub(super) const PAGE: usize = 2_000;
/// One entry as it travels: kind, digest, end.
const ENTRY_BYTES: usize = 1 + 16 + 8;

pub(super) fn write(change: Change, to: &mut Vec<u8>) {
    let (kind, digest, until) = match change {
        Change::Revoke(Revoked::Person(short), until) => (b'p', widened(short), until.0),
        Change::Revoke(Revoked::Token(digest), until) => (b't', digest, until.0),
        Change::Erase(short) => (b'e', widened(short), 0),
    };
    to.push(kind);
    to.extend_from_slice(&digest.to_be_bytes());
    to.extend_from_slice(&until.to_be_bytes());
}

fn read_one(entry: &[u8]) -> Option<Change> {
    let (kind, rest) = entry.split_first()?;
    let (digest, until) = rest.split_first_chunk::<16>()?;
    let (digest, until) = (u128::from_be_bytes(*digest), Unix(u64::from_be_bytes(until.try_into().ok()?)));
    let short = || u64::try_from(digest).ok().map(u64::to_be_bytes);
    Some(match kind {
        b'p' => Change::Revoke(Revoked::Person(short()?), until),
        b't' => Change::Revoke(Revoked::Token(digest), until),
        b'e' => Change::Erase(short()?),
        _ => return None,
    })
}

fn widened(short: [u8; 8]) -> u128 {
    u64::from_be_bytes(short).into()
}

/// All of a message, or nothing.
pub(super) fn read(message: &[u8]) -> Option<Vec<Change>> {
    let entries = message.chunks(ENTRY_BYTES);
    entries.map(read_one).collect()
}

/// What is in force.
#[derive(Debug, Default)]
pub(super) struct Book {
    until: BTreeMap<Revoked, Unix>,
}

impl Book {
    /// Whether that is news: a later end than what is held.
    pub(super) fn add(&mut self, now: Unix, revoked: Revoked, until: Unix) -> bool {
        if until <= now || self.until.get(&revoked).is_some_and(|held| *held >= until) {
            return false;
        }
        if self.until.len() >= MAX_HELD && !self.until.contains_key(&revoked) {
            self.forget_ended(now);
            if self.until.len() >= MAX_HELD {
                // Full, as the desk's own list is: it is told all the same, and says so.
                return true;
            }
        }
        self.until.insert(revoked, until);
        true
    }

    pub(super) fn forget_ended(&mut self, now: Unix) {
        self.until.retain(|_, until| *until > now);
    }

    pub(super) fn len(&self) -> usize {
        self.until.len()
    }

    /// Of all that is in force, whatever the order it came in. Two books of the same entries have the same.
    pub(super) fn digest(&self, now: Unix) -> u64 {
        let in_force = self.until.iter().filter(|(_, until)| **until > now);
        in_force.map(|(revoked, until)| mixed(*revoked, *until)).fold(0, |sum, one| sum ^ one)
    }

    /// The page that follows `after`, and whether it is not the last.
    pub(super) fn page(&self, after: Option<Revoked>) -> (Vec<u8>, bool) {
        let from = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let mut rest = self.until.range((from, std::ops::Bound::Unbounded));
        let mut page = Vec::new();
        for (revoked, until) in rest.by_ref().take(PAGE) {
            write(Change::Revoke(*revoked, *until), &mut page);
        }
        (page, rest.next().is_some())
    }
}

/// Spread over all bits (the finisher of SplitMix64), so that entries do not cancel each other out.
fn mixed(revoked: Revoked, until: Unix) -> u64 {
    let of = match revoked {
        Revoked::Person(short) => u64::from_be_bytes(short),
        Revoked::Token(digest) => (digest >> 64) as u64 ^ (digest as u64).rotate_left(1) ^ 1,
    };
    let finish = |mut it: u64| {
        it = (it ^ it >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        it = (it ^ it >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        it ^ it >> 31
    };
    finish(finish(of).wrapping_add(until.0.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const ANN: Revoked = Revoked::Person([1; 8]);

    #[test]
    fn changes_travel_as_they_are() {
        let all = [
            Change::Revoke(ANN, Unix(7)),
            Change::Revoke(Revoked::Token(u128::MAX - 5), Unix(u64::MAX)),
            Change::Erase([0xff; 8]),
        ];
        let mut message = Vec::new();
        all.iter().for_each(|change| write(*change, &mut message));
        assert_eq!(read(&message).unwrap(), all);
        for length in 1..message.len() {
            assert_eq!(read(&message[..length]).is_some(), length % ENTRY_BYTES == 0, "{length}");
        }
        message[0] = b'x';
        assert_eq!(read(&message), None);
        assert_eq!(read(b""), Some(vec![]));
    }

    #[test]
    fn only_a_later_end_is_news() {
        let mut book = Book::default();
        assert!(book.add(Unix(0), ANN, Unix(10)));
        assert!(!book.add(Unix(0), ANN, Unix(10)) && !book.add(Unix(0), ANN, Unix(9)));
        assert!(book.add(Unix(0), ANN, Unix(11)) && !book.add(Unix(11), ANN, Unix(11)), "over");
        assert_eq!(book.len(), 1);
        book.forget_ended(Unix(11));
        assert_eq!(book.len(), 0);
    }

    #[test]
    fn the_same_entries_come_to_the_same_number_in_every_order() {
        let entries: Vec<_> = (0..100).map(|n| (Revoked::Token(n), Unix(50 + n as u64))).collect();
        let (mut a, mut b) = (Book::default(), Book::default());
        entries.iter().for_each(|(who, until)| assert!(a.add(Unix(0), *who, *until)));
        entries.iter().rev().for_each(|(who, until)| assert!(b.add(Unix(0), *who, *until)));
        assert_eq!(a.digest(Unix(0)), b.digest(Unix(0)));
        b.forget_ended(Unix(60));
        assert_eq!(a.digest(Unix(60)), b.digest(Unix(60)), "what has ended does not count");
        assert!(b.add(Unix(60), ANN, Unix(99)));
        assert_ne!(a.digest(Unix(60)), b.digest(Unix(60)));
        assert_eq!(Book::default().digest(Unix(0)), 0);
    }

    #[test]
    fn a_list_of_any_length_comes_in_pages() {
        let mut book = Book::default();
        let many = PAGE as u128 * 2 + 1;
        (0..many).for_each(|n| assert!(book.add(Unix(0), Revoked::Token(n), Unix(9))));
        let (mut copy, mut after, mut pages) = (Book::default(), None, 0);
        loop {
            let (page, more) = book.page(after);
            pages += 1;
            for change in read(&page).unwrap() {
                let Change::Revoke(revoked, until) = change else { panic!() };
                copy.add(Unix(0), revoked, until);
                after = Some(revoked);
            }
            if !more {
                break;
            }
        }
        assert_eq!((pages, copy.len(), copy.digest(Unix(0))), (3, book.len(), book.digest(Unix(0))));
    }

    #[test]
    fn a_full_book_tells_what_it_cannot_hold() {
        let mut book = Book::default();
        (0..MAX_HELD as u128).for_each(|n| assert!(book.add(Unix(0), Revoked::Token(n), Unix(9))));
        assert!(book.add(Unix(0), ANN, Unix(9)) && book.len() == MAX_HELD);
        assert!(book.add(Unix(9), ANN, Unix(99)) && book.len() == 1);
    }
}
