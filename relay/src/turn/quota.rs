//! How many allocations there may be: of one user, and of everybody, all workers together (RFC 8656 §7.2: 486 and 508).

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::reject::Reject;
use crate::auth::{Identity, PersonHash};
use crate::hashing::{Seeded, give_back, seeded};

/// Counts per user and in total. A lock inside: control path only.
pub(crate) struct Quota {
    inner: Mutex<Inner>,
}

struct Inner {
    max_total: u32,
    max_user: u32,
    total: u32,
    /// Users with at least one allocation.
    users: HashMap<PersonHash, u32, Seeded>,
}

impl Quota {
    pub(crate) fn new(max_total: u32, max_user: u32, hash_seed: u64) -> Quota {
        let inner = Inner { max_total, max_user, total: 0, users: HashMap::with_hasher(seeded(hash_seed)) };
        Quota { inner: Mutex::new(inner) }
    }

    /// Other limits from now on. Who is above them keeps what there is and gets no more.
    pub(crate) fn set_limits(&self, max_total: u32, max_user: u32) {
        let inner = &mut *self.lock();
        (inner.max_total, inner.max_user) = (max_total, max_user);
    }

    /// Counts one more. What is admitted must be released once. Call-bound credentials have their limit in the ledger.
    pub(crate) fn admit(&self, who: Identity) -> Result<(), Reject> {
        let inner = &mut *self.lock();
        if inner.total >= inner.max_total {
            return Err(Reject::NoCapacity);
        }
        if let Identity::User(person) = who {
            let used = inner.users.get(&person).copied().unwrap_or(0);
            if used >= inner.max_user {
                return Err(Reject::QuotaReached);
            }
            inner.users.insert(person, used + 1);
        }
        inner.total += 1;
        Ok(())
    }

    /// Counts one that another process has admitted, whatever the limits.
    pub(crate) fn admitted(&self, who: Identity) {
        let inner = &mut *self.lock();
        inner.total += 1;
        if let Identity::User(person) = who {
            *inner.users.entry(person).or_default() += 1;
        }
    }

    pub(crate) fn release(&self, who: Identity) {
        let inner = &mut *self.lock();
        inner.total = inner.total.saturating_sub(1);
        if let Identity::User(person) = who
            && let Some(used) = inner.users.get_mut(&person)
        {
            *used = used.saturating_sub(1);
            if *used == 0 {
                inner.users.remove(&person);
                give_back(&mut inner.users);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::calls::Handle;

    const ALICE: Identity = Identity::User(PersonHash(1));
    const BOB: Identity = Identity::User(PersonHash(2));

    #[test]
    fn a_user_at_the_limit_hinders_nobody_else_and_may_come_back() {
        let quota = Quota::new(10, 2, 0);
        assert_eq!(quota.admit(ALICE), Ok(()));
        assert_eq!(quota.admit(ALICE), Ok(()));
        assert_eq!(quota.admit(ALICE), Err(Reject::QuotaReached));
        assert_eq!(quota.admit(BOB), Ok(()));
        quota.release(ALICE);
        assert_eq!(quota.admit(ALICE), Ok(()));
    }

    #[test]
    fn new_limits_count_from_the_next_allocation_on() {
        let quota = Quota::new(10, 10, 0);
        for _ in 0..3 {
            quota.admit(ALICE).unwrap();
        }
        quota.set_limits(10, 2);
        assert_eq!(quota.admit(ALICE), Err(Reject::QuotaReached));
        assert_eq!(quota.admit(BOB), Ok(()));
        quota.set_limits(4, 10);
        assert_eq!(quota.admit(ALICE), Err(Reject::NoCapacity));
        quota.release(ALICE);
        assert_eq!(quota.admit(ALICE), Ok(()));
    }

    #[test]
    fn the_total_counts_everybody_and_nobody_is_remembered_without_allocations() {
        let quota = Quota::new(2, 2, 0);
        let call = Identity::Call(Handle([0; 12]));
        quota.admit(call).unwrap();
        quota.admit(BOB).unwrap();
        assert_eq!(quota.admit(call), Err(Reject::NoCapacity));
        quota.release(BOB);
        quota.release(call);
        assert_eq!(quota.lock().users.len(), 0);
        assert_eq!(quota.lock().total, 0);
    }
}
