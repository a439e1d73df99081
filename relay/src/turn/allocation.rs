//! Allocations of one worker: found by five-tuple, by relayed port, and by when they end, all in constant time or close.

use std::collections::HashMap;
use std::hash::BuildHasher;

use super::channel::Channels;
use super::five_tuple::FiveTuple;
use super::hashing::{Hashed, Seeded, seeded};
use super::meter::Meter;
use super::permission::Permissions;
use super::ports::Token;
use super::relayed_port::RelayedPort;
use super::timers::Timers;
use crate::auth::{Authenticated, Identity};
use crate::time::Millis;
use crate::wire::TransactionId;

/// One allocation (RFC 8656 §6). It exists once its relayed port works. In the order a packet needs the fields, and
/// kept that way: what requests alone need comes last, in cache lines packets do not touch.
#[repr(C)]
pub(crate) struct Allocation {
    pub(crate) client: FiveTuple,
    expires: Millis,
    pub(crate) relayed: RelayedPort,
    call_bound: bool,
    /// Relays TCP (RFC 6062) and no datagrams.
    pub(crate) tcp: bool,
    /// From the client.
    pub(crate) sent: Meter,
    pub(crate) channels: Channels,
    pub(crate) permissions: Permissions,
    /// To the client, from outside.
    pub(crate) received: Meter,
    pub(crate) owner: Authenticated,
    pub(crate) granted: Granted,
}

/// What the Allocate was answered, so that its retransmission is answered alike (RFC 8656 §7.2).
#[derive(Clone, Copy)]
pub(crate) struct Granted {
    pub(crate) transaction: TransactionId,
    pub(crate) lifetime_secs: u32,
    pub(crate) token: Option<Token>,
}

/// Place of an allocation in its table. Valid until the allocation is removed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Key(u32);

pub(crate) struct Allocations {
    places: Vec<Option<Allocation>>,
    empty: Vec<u32>,
    /// By the seeded hash of the five-tuple, so that entries are small; the allocation itself says whether it is the one.
    /// Should two ever have the same 64 bits, the newer one is found and the older one runs out.
    by_client: HashMap<u64, Key, Hashed>,
    by_port: HashMap<RelayedPort, Key, Seeded>,
    ends: Timers,
    hash: Seeded,
}

impl Allocation {
    pub(crate) fn is_call_bound(&self) -> bool {
        self.call_bound
    }

    pub(crate) fn is_live(&self, now: Millis) -> bool {
        self.expires > now
    }
}

impl Allocations {
    pub(crate) fn new(hash_seed: u64) -> Allocations {
        let hash = seeded(hash_seed);
        Allocations {
            places: Vec::new(),
            empty: Vec::new(),
            by_client: HashMap::default(),
            by_port: HashMap::with_hasher(hash.clone()),
            ends: Timers::default(),
            hash,
        }
    }

    /// The five-tuple and the port must be free.
    pub(crate) fn insert(
        &mut self,
        client: FiveTuple,
        relayed: RelayedPort,
        owner: Authenticated,
        granted: Granted,
        expires: Millis,
    ) -> Key {
        let (permissions, channels) = (Permissions::new(self.hash.clone()), Channels::new(self.hash.clone()));
        let call_bound = matches!(owner.identity(), Identity::Call(_));
        let (sent, received) = (Meter::default(), Meter::default());
        let allocation = Allocation {
            client,
            expires,
            relayed,
            call_bound,
            tcp: false,
            sent,
            channels,
            permissions,
            received,
            owner,
            granted,
        };
        let key = match self.empty.pop() {
            Some(place) => Key(place),
            None => {
                self.places.push(None);
                Key(self.places.len() as u32 - 1)
            }
        };
        self.places[key.0 as usize] = Some(allocation);
        self.by_client.insert(self.hash.hash_one(client), key);
        self.by_port.insert(relayed, key);
        self.ends.set(expires, key);
        key
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<Allocation> {
        let allocation = self.places.get_mut(key.0 as usize)?.take()?;
        self.empty.push(key.0);
        let hash = self.hash.hash_one(allocation.client);
        if self.by_client.get(&hash) == Some(&key) {
            self.by_client.remove(&hash);
        }
        self.by_port.remove(&allocation.relayed);
        self.ends.clear(allocation.expires, key);
        Some(allocation)
    }

    pub(crate) fn find(&self, client: &FiveTuple) -> Option<Key> {
        let key = *self.by_client.get(&self.hash.hash_one(client))?;
        self.get(key).filter(|allocation| allocation.client == *client).map(|_| key)
    }

    pub(crate) fn find_port(&self, port: RelayedPort) -> Option<Key> {
        self.by_port.get(&port).copied()
    }

    pub(crate) fn get(&self, key: Key) -> Option<&Allocation> {
        self.places.get(key.0 as usize)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut Allocation> {
        self.places.get_mut(key.0 as usize)?.as_mut()
    }

    /// Moves the end of an allocation.
    pub(crate) fn extend(&mut self, key: Key, expires: Millis) {
        if let Some(allocation) = self.places.get_mut(key.0 as usize).and_then(Option::as_mut) {
            self.ends.clear(allocation.expires, key);
            allocation.expires = expires;
            self.ends.set(expires, key);
        }
    }

    pub(crate) fn next_end(&self) -> Option<Millis> {
        self.ends.next()
    }

    /// An allocation that is over and still there. Each is named once: free it.
    pub(crate) fn pop_ended(&mut self, now: Millis) -> Option<Key> {
        self.ends.pop_due(now)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        debug_assert_eq!(self.by_client.len(), self.by_port.len());
        self.by_client.len()
    }

    #[cfg(test)]
    pub(crate) fn timers(&self) -> usize {
        self.ends.len()
    }
}
