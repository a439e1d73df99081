//! Who and what the app has withdrawn: held until the tokens in question have expired anyway, and bounded.

use std::collections::HashMap;

use foldhash::fast::FixedState;
use serde::{Deserialize, Serialize};

use crate::matchmaking::Person;
use crate::time::Unix;

/// Revocations held at once.
pub const MAX_DENIED: usize = 1 << 16;

/// The deny set is full of revocations that still count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DenyFull;

/// Whom or what a revocation names, as every node can work it out for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Revoked {
    /// As in a token's `blk`.
    Person([u8; 8]),
    /// The digest of a token's `jti`.
    Token(u128),
}

/// What the app has asked of one node and all must do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Ended now, and let in no more until then.
    Revoke(Revoked, Unix),
    /// Ended and forgotten, and may come back.
    Erase([u8; 8]),
}

/// Both keys are keyed or plain hashes of what an app's backend chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum Denied {
    Person(Person),
    Token(u128),
}

#[derive(Default, Serialize, Deserialize)]
pub(super) struct Deny {
    until: HashMap<Denied, Unix, FixedState>,
}

impl Deny {
    /// Holds until then; a later end wins.
    pub(super) fn add(&mut self, now: Unix, denied: Denied, until: Unix) -> Result<(), DenyFull> {
        if self.until.len() >= MAX_DENIED && !self.until.contains_key(&denied) {
            self.until.retain(|_, until| *until > now);
            if self.until.len() >= MAX_DENIED {
                return Err(DenyFull);
            }
        }
        let held = self.until.entry(denied).or_insert(until);
        *held = (*held).max(until);
        Ok(())
    }

    /// Until when it holds, if it does.
    pub(super) fn holds(&self, now: Unix, denied: Denied) -> Option<Unix> {
        self.until.get(&denied).copied().filter(|until| *until > now)
    }

    pub(super) fn len(&self) -> usize {
        self.until.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revocation_holds_until_its_end_and_a_later_end_wins() {
        let (mut deny, one) = (Deny::default(), Denied::Token(1));
        deny.add(Unix(0), one, Unix(10)).unwrap_or_default();
        deny.add(Unix(0), one, Unix(5)).unwrap_or_default();
        assert_eq!((deny.holds(Unix(9), one), deny.holds(Unix(10), one)), (Some(Unix(10)), None));
        assert_eq!(deny.holds(Unix(0), Denied::Person(Person(1))), None);
    }

    #[test]
    fn a_full_set_forgets_what_is_over_and_nothing_else() {
        let mut deny = Deny::default();
        for token in 0..MAX_DENIED as u128 {
            assert_eq!(deny.add(Unix(0), Denied::Token(token), Unix(10 + token as u64 % 2)), Ok(()));
        }
        assert_eq!(deny.add(Unix(0), Denied::Token(u128::MAX), Unix(99)), Err(DenyFull));
        assert_eq!(deny.add(Unix(10), Denied::Token(u128::MAX), Unix(99)), Ok(()));
        assert_eq!(deny.len(), MAX_DENIED / 2 + 1);
    }
}
