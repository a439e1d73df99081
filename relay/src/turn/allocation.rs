//! Allocations of one worker: found by five-tuple, by relayed port, and by when they end, all in constant time or close.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use super::channel::Channels;
use super::ear::Ear;
use super::meter::Meter;
use super::permission::Permissions;
use super::ports::Token;
use super::relayed::Relayed;
use super::slab::Slab;
use super::timers::Timers;
use crate::access::Bucket;
use crate::auth::{Authenticated, Identity};
use crate::calls::Carried;
use crate::hashing::{Hashed, Seeded, give_back, seeded};
use crate::routes::{FiveTuple, RelayedPort};
use crate::time::Millis;
use crate::wire::{ErrorCode, TransactionId};

/// One allocation (RFC 8656 §6), single or dual. It exists once its relayed ports work. In the order a packet needs the fields, and
/// kept that way: what requests alone need comes last, in cache lines packets do not touch.
#[repr(C)]
pub(crate) struct Allocation {
    pub(crate) client: FiveTuple,
    pub(crate) relayed: Relayed,
    call_bound: bool,
    /// Relays TCP (RFC 6062) and no datagrams.
    pub(crate) tcp: bool,
    /// From the client.
    pub(crate) sent: Meter,
    /// When the client last sent something that was to be relayed.
    pub(crate) heard: Millis,
    /// What it has sent that was relayed, or would have been with somebody to receive it.
    pub(crate) carried: Carried,
    /// While this side of a call is listened to.
    pub(crate) ear: Option<Box<Ear>>,
    pub(crate) channels: Channels,
    pub(crate) permissions: Permissions,
    /// To the client, from outside.
    pub(crate) received: Meter,
    /// ICMP errors passed on.
    pub(crate) icmp: Bucket,
    pub(crate) owner: Authenticated,
    pub(crate) granted: Granted,
}

/// What the Allocate was answered, so that its retransmission is answered alike (RFC 8656 §7.2).
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Granted {
    pub(crate) transaction: TransactionId,
    pub(crate) lifetime_secs: u32,
    pub(crate) token: Option<Token>,
    /// The family (IPv6 is true) that was asked for and could not be had, and why (RFC 8656 §18.12).
    pub(crate) missing: Option<(bool, ErrorCode)>,
}

/// Place of an allocation in its table. Valid until the allocation is removed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Key(u32);

pub(crate) struct Allocations {
    places: Slab<Allocation>,
    /// By the seeded hash of the five-tuple, so that entries are small; the allocation itself says whether it is the one.
    /// Should two ever have the same 64 bits, the newer one is found and the older one runs out.
    by_client: HashMap<u64, Key, Hashed>,
    by_port: HashMap<RelayedPort, Key, Seeded>,
    ends: Timers,
    hash: Seeded,
    seed: u64,
}

/// For the place it leaves in its table. What it points to is overwritten as all memory that is freed.
impl Zeroize for Allocation {
    fn zeroize(&mut self) {
        self.client.remote = SocketAddr::from(([0; 4], 0));
    }
}

impl Allocation {
    pub(crate) fn is_call_bound(&self) -> bool {
        self.call_bound
    }

    pub(crate) fn is_live(&self, now: Millis) -> bool {
        self.relayed.is_live(now)
    }
}

impl Allocations {
    pub(crate) fn new(hash_seed: u64) -> Allocations {
        let hash = seeded(hash_seed);
        Allocations {
            places: Slab::default(),
            by_client: HashMap::default(),
            by_port: HashMap::with_hasher(hash.clone()),
            ends: Timers::default(),
            hash,
            seed: hash_seed,
        }
    }

    /// The five-tuple and the ports must be free; there is at least one port.
    pub(crate) fn insert(
        &mut self,
        client: FiveTuple,
        relayed: Relayed,
        owner: Authenticated,
        granted: Granted,
    ) -> Key {
        let (permissions, channels) = (Permissions::new(self.seed), Channels::new(self.seed));
        let call_bound = matches!(owner.identity(), Identity::Call(_));
        let (sent, received, icmp) = (Meter::default(), Meter::default(), Bucket::default());
        let allocation = Allocation {
            client,
            relayed,
            call_bound,
            tcp: false,
            sent,
            heard: Millis(0),
            carried: Carried::default(),
            ear: None,
            channels,
            permissions,
            received,
            icmp,
            owner,
            granted,
        };
        let key = Key(self.places.insert(allocation));
        self.by_client.insert(self.hash.hash_one(client), key);
        self.by_port.extend(relayed.ports().map(|port| (port, key)));
        self.ends.set(relayed.next_end(), key);
        key
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<Allocation> {
        let allocation = self.places.remove(key.0)?;
        let hash = self.hash.hash_one(allocation.client);
        if self.by_client.get(&hash) == Some(&key) {
            self.by_client.remove(&hash);
            give_back(&mut self.by_client);
        }
        for port in allocation.relayed.ports() {
            self.by_port.remove(&port);
        }
        give_back(&mut self.by_port);
        self.ends.clear(allocation.relayed.next_end(), key);
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
        self.places.get(key.0)
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut Allocation> {
        self.places.get_mut(key.0)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Allocation> {
        self.places.iter()
    }

    pub(crate) fn clients(&self) -> impl Iterator<Item = FiveTuple> {
        self.places.iter().map(|allocation| allocation.client)
    }

    pub(crate) fn refill_meters(&mut self) {
        for allocation in self.places.iter_mut() {
            (allocation.sent, allocation.received) = Default::default();
        }
    }

    /// Moves the end of one of its relayed addresses.
    pub(crate) fn extend(&mut self, key: Key, ipv6: bool, expires: Millis) -> Option<RelayedPort> {
        let allocation = self.places.get_mut(key.0)?;
        let port = allocation.relayed.of(ipv6)?;
        self.ends.clear(allocation.relayed.next_end(), key);
        allocation.relayed.set(ipv6, port, expires);
        self.ends.set(allocation.relayed.next_end(), key);
        Some(port)
    }

    /// Takes one of two relayed addresses away, and what belonged to it; the other one and what is its stay as they are
    /// (RFC 8656 §8.1). `None` if it is not there or the only one.
    pub(crate) fn shed(&mut self, key: Key, ipv6: bool) -> Option<RelayedPort> {
        let allocation = self.places.get_mut(key.0)?;
        allocation.relayed.of(!ipv6)?;
        let end = allocation.relayed.next_end();
        let port = allocation.relayed.remove(ipv6)?;
        allocation.permissions.forget_family(ipv6);
        allocation.channels.forget_family(ipv6);
        self.by_port.remove(&port);
        self.ends.clear(end, key);
        self.ends.set(allocation.relayed.next_end(), key);
        Some(port)
    }

    pub(crate) fn next_end(&self) -> Option<Millis> {
        self.ends.next()
    }

    /// An allocation of which at least one relayed address is over and still there. Each is named once: end what is over.
    pub(crate) fn pop_ended(&mut self, now: Millis) -> Option<Key> {
        self.ends.pop_due(now)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        let ports: usize = self.places.iter().map(|allocation| allocation.relayed.ports().count()).sum();
        debug_assert_eq!(self.by_port.len(), ports);
        self.by_client.len()
    }

    #[cfg(test)]
    pub(crate) fn timers(&self) -> usize {
        self.ends.len()
    }
}
