//! Allocations whose socket is being bound: the answer waits for [`super::Turn::handle_opened`].

use std::collections::HashMap;

use super::allocate::Wanted;
use super::five_tuple::FiveTuple;
use super::hashing::{Seeded, seeded};
use super::ports::Token;
use super::relayed_port::RelayedPort;
use crate::auth::Authenticated;
use crate::wire::TransactionId;

/// Ports tried for one Allocate before it is answered 508: another program may sit on some of them.
pub(crate) const MAX_ATTEMPTS: usize = 4;

/// An Allocate that was found good and waits for its socket.
pub(crate) struct Opening {
    pub(crate) client: FiveTuple,
    pub(crate) owner: Authenticated,
    pub(crate) transaction: TransactionId,
    pub(crate) wanted: Wanted,
    pub(crate) token: Option<Token>,
    /// Ports that could not be bound; given back once this is over, so that none is tried twice.
    pub(crate) failed: Vec<RelayedPort>,
}

/// Bounded by the quota, which counts them as allocations.
pub(crate) struct Openings {
    by_port: HashMap<RelayedPort, Opening, Seeded>,
    by_client: HashMap<FiveTuple, TransactionId, Seeded>,
}

impl Openings {
    pub(crate) fn new(hash_seed: u64) -> Openings {
        let hash = seeded(hash_seed);
        Openings { by_port: HashMap::with_hasher(hash.clone()), by_client: HashMap::with_hasher(hash) }
    }

    pub(crate) fn insert(&mut self, port: RelayedPort, opening: Opening) {
        self.by_client.insert(opening.client, opening.transaction);
        self.by_port.insert(port, opening);
    }

    pub(crate) fn take(&mut self, port: RelayedPort) -> Option<Opening> {
        let opening = self.by_port.remove(&port)?;
        self.by_client.remove(&opening.client);
        Some(opening)
    }

    /// The Allocate that is being worked on for this five-tuple.
    pub(crate) fn transaction(&self, client: &FiveTuple) -> Option<TransactionId> {
        self.by_client.get(client).copied()
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.by_port.len()
    }
}
