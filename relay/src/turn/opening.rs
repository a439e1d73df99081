//! Allocations whose sockets are being bound, one after the other: the answer waits for [`super::Turn::handle_opened`].

use std::collections::HashMap;
use std::hash::BuildHasher;

use super::Turn;
use super::allocate::Wanted;
use super::io::OpenError;
use super::ports::Token;
use super::reject::Reject;
use super::request::Answer;
use crate::auth::{Authenticated, Identity};
use crate::hashing::{Hashed, Seeded, seeded};
use crate::routes::{FiveTuple, RelayedPort};
use crate::time::{Millis, Now};
use crate::wire::TransactionId;

/// Ports tried for one relayed address before it is refused with 508: another program may sit on some of them.
pub(crate) const MAX_ATTEMPTS: usize = 4;

/// An Allocate that was found good and waits for its sockets, one after the other.
pub(crate) struct Opening {
    pub(crate) client: FiveTuple,
    pub(crate) owner: Authenticated,
    pub(crate) transaction: TransactionId,
    pub(crate) wanted: Wanted,
    pub(crate) token: Option<Token>,
    /// Families still to be tried, the last one first.
    pub(crate) to_try: Vec<bool>,
    /// Ports that work.
    pub(crate) ports: Vec<RelayedPort>,
    /// Families that could not be had, and why.
    pub(crate) missing: Vec<(bool, Reject)>,
    /// Ports that could not be bound; given back once this is over, so that none is tried twice.
    pub(crate) failed: Vec<RelayedPort>,
}

impl Turn {
    /// Takes a port of each family that is still to be tried. One with a socket is waited for; after the last one the
    /// allocation is made, or refused as the first family was.
    pub(super) fn open_next(&mut self, now: Millis, mut opening: Opening) -> Result<Answer, Reject> {
        while let Some(ipv6) = opening.to_try.pop() {
            match self.obtain(now, &mut opening, ipv6) {
                Err(why) => opening.missing.push((ipv6, why)),
                // Nothing outside can reach it, so it has no socket.
                Ok(port) if matches!(opening.owner.identity(), Identity::Call(_)) => opening.ports.push(port),
                Ok(port) => {
                    self.wait_for_socket(port, opening);
                    return Ok(Answer::Later);
                }
            }
        }
        self.establish(now, opening).map(Answer::Now)
    }

    fn wait_for_socket(&mut self, port: RelayedPort, opening: Opening) {
        self.actions.push_back(opening.wanted.open(port));
        self.openings.insert(port, opening);
    }

    /// The answer to [`super::Action::Open`]: the port is the allocation's, or another one is tried.
    pub(super) fn opened(&mut self, now: Now, port: RelayedPort, result: Result<(), OpenError>) {
        let Some(mut opening) = self.openings.take(port) else { return };
        match result {
            Ok(()) => opening.ports.push(port),
            Err(_) => match self.another_port(now.mono, port, opening) {
                Some(given_up) => opening = given_up,
                None => return,
            },
        }
        let (client, transaction, key) = (opening.client, opening.transaction, *opening.owner.key());
        match self.open_next(now.mono, opening) {
            Ok(Answer::Now(reply)) => self.succeed(&client, reply.finish(Some(&key))),
            Ok(Answer::Later) => {}
            Err(why) => self.refuse_later(&client, transaction, &key, why),
        }
    }

    /// A port could not be bound. The opening comes back if its family is given up.
    fn another_port(&mut self, now: Millis, failed: RelayedPort, mut opening: Opening) -> Option<Opening> {
        if let Some(token) = opening.token.take() {
            self.shared.ports.cancel(&token);
        }
        opening.failed.push(failed);
        let ipv6 = self.shared.is_ipv6(failed);
        let tried = opening.failed.iter().filter(|port| self.shared.is_ipv6(**port) == ipv6).count();
        let retry = !opening.wanted.is_reserved() && tried < MAX_ATTEMPTS;
        match retry.then(|| self.take_port(&opening.wanted, ipv6, &opening.owner, now)).flatten() {
            Some((port, token)) => {
                opening.token = token;
                self.wait_for_socket(port, opening);
                None
            }
            None => {
                self.shared.quota.release(opening.owner.identity());
                opening.missing.push((ipv6, Reject::NoCapacity));
                Some(opening)
            }
        }
    }
}

/// Bounded by the quota, which counts them as allocations.
pub(crate) struct Openings {
    /// Boxed, so that nothing of one stays in the table when it is gone: what is freed is overwritten.
    by_port: HashMap<RelayedPort, Box<Opening>, Seeded>,
    /// By the seeded hash of the five-tuple, for the same reason.
    by_client: HashMap<u64, TransactionId, Hashed>,
    hash: Seeded,
}

impl Openings {
    pub(crate) fn new(hash_seed: u64) -> Openings {
        let hash = seeded(hash_seed);
        Openings { by_port: HashMap::with_hasher(hash.clone()), by_client: HashMap::default(), hash }
    }

    pub(crate) fn insert(&mut self, port: RelayedPort, opening: Opening) {
        self.by_client.insert(self.hash.hash_one(opening.client), opening.transaction);
        self.by_port.insert(port, Box::new(opening));
    }

    pub(crate) fn take(&mut self, port: RelayedPort) -> Option<Opening> {
        let opening = self.by_port.remove(&port)?;
        self.by_client.remove(&self.hash.hash_one(opening.client));
        Some(*opening)
    }

    /// The Allocate that is being worked on for this five-tuple.
    pub(crate) fn transaction(&self, client: &FiveTuple) -> Option<TransactionId> {
        self.by_client.get(&self.hash.hash_one(client)).copied()
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.by_port.len()
    }
}
