//! Every TCP allocation and every peer connection, for all workers and the edge. A lock inside: control path only.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha12Rng;

use super::counters::TcpCounters;
use super::{
    BIND_MILLIS, CONNECT_MILLIS, CONNECTIONS_OF_ONE_ALLOCATION, ConnectionId, MOST_CONNECTIONS,
    WAITING_OF_ONE_ALLOCATION,
};
use crate::auth::Identity;
use crate::hashing::{Seeded, seeded};
use crate::routes::{FiveTuple, RelayedPort, Routes};
use crate::time::Millis;
use crate::turn::reject::Reject;

/// What is open. Bounded by the quota of allocations and by [`MOST_CONNECTIONS`].
pub struct Connections {
    routes: Arc<Routes>,
    /// Each way of one allocation, as of the newest settings; zero: no limit.
    bits_per_second: AtomicU64,
    inner: Mutex<Inner>,
    counters: TcpCounters,
}

struct Inner {
    /// Boxed, both: what is freed is overwritten, and no address stays in a table.
    allocations: HashMap<RelayedPort, Box<Listening>, Seeded>,
    connections: HashMap<ConnectionId, Box<Entry>, Seeded>,
    /// Those that are not bound, by the worker that has their allocation and by their end.
    waiting: BTreeSet<(u16, Millis, ConnectionId)>,
    random: ChaCha12Rng,
    hash: Seeded,
}

/// A TCP allocation as others than its owner need it.
struct Listening {
    worker: u16,
    client: FiveTuple,
    owner: Identity,
    /// Who may come in, until when: a copy of what the allocation's owner granted, as bounded.
    permissions: HashMap<IpAddr, Millis, Seeded>,
    peers: HashMap<SocketAddr, ConnectionId, Seeded>,
    waiting: usize,
}

struct Entry {
    port: RelayedPort,
    peer: SocketAddr,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// To be connected until then.
    Connecting(Millis),
    /// To be bound until then.
    Unbound(Millis),
    Bound,
}

/// A connection that was not connected, or bound, in time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Overdue {
    pub(crate) id: ConnectionId,
    pub(crate) port: RelayedPort,
}

impl Connections {
    /// `seed` from a good source of randomness: ids come from it.
    pub(crate) fn new(routes: Arc<Routes>, seed: [u8; 32]) -> Connections {
        let mut random = ChaCha12Rng::from_seed(seed);
        let hash = seeded(random.next_u64());
        let inner = Inner {
            allocations: HashMap::with_hasher(hash.clone()),
            connections: HashMap::with_hasher(hash.clone()),
            waiting: BTreeSet::new(),
            random,
            hash,
        };
        let (bits_per_second, counters) = (AtomicU64::new(0), TcpCounters::default());
        Connections { routes, bits_per_second, inner: Mutex::new(inner), counters }
    }

    /// What an allocation made from now on may pass each way, in bits a second; zero: no limit.
    pub(crate) fn set_bits_per_second(&self, bits: u64) {
        self.bits_per_second.store(bits, Relaxed);
    }

    /// What an allocation made now may pass each way, in bits a second; zero: no limit.
    pub fn bits_per_second(&self) -> u64 {
        self.bits_per_second.load(Relaxed)
    }

    pub(super) fn routes(&self) -> &Routes {
        &self.routes
    }

    pub fn counters(&self) -> &TcpCounters {
        &self.counters
    }

    /// Peer connections now, in any state.
    pub fn len(&self) -> usize {
        self.lock().connections.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// For the edge: a connection is over that it was not told to close.
    pub fn ended(&self, id: ConnectionId) {
        self.lock().remove(id);
    }

    /// A TCP allocation exists.
    pub(crate) fn listen(&self, port: RelayedPort, worker: u16, client: FiveTuple, owner: Identity) {
        let inner = &mut *self.lock();
        let listening = Listening {
            worker,
            client,
            owner,
            permissions: HashMap::with_hasher(inner.hash.clone()),
            peers: HashMap::with_hasher(inner.hash.clone()),
            waiting: 0,
        };
        inner.allocations.insert(port, Box::new(listening));
    }

    pub(crate) fn is_listening(&self, port: RelayedPort) -> bool {
        self.lock().allocations.contains_key(&port)
    }

    /// The allocation is over, and with it all its connections.
    pub(crate) fn close(&self, port: RelayedPort) {
        let inner = &mut *self.lock();
        let ids: Vec<ConnectionId> =
            inner.allocations.get(&port).map(|it| it.peers.values().copied().collect()).unwrap_or_default();
        for id in ids {
            inner.remove(id);
        }
        inner.allocations.remove(&port);
    }

    /// The allocation's owner has granted a permission. `most`: as many as an allocation may have.
    pub(crate) fn permit(&self, port: RelayedPort, peer: IpAddr, until: Millis, most: u16, now: Millis) {
        let inner = &mut *self.lock();
        let Some(listening) = inner.allocations.get_mut(&port) else { return };
        if listening.permissions.len() >= usize::from(most) {
            listening.permissions.retain(|_, until| *until > now);
        }
        listening.permissions.insert(peer, until);
    }

    /// The client asks for a connection (RFC 6062 §5.2).
    pub(crate) fn begin(&self, now: Millis, port: RelayedPort, peer: SocketAddr) -> Result<ConnectionId, Reject> {
        let id = self.lock().insert(port, peer, State::Connecting(now.after(CONNECT_MILLIS)))?;
        self.counters.count(&self.counters.connects);
        Ok(id)
    }

    /// A peer has come; `peer` is its canonical name (RFC 6062 §5.3).
    pub(crate) fn admit(&self, now: Millis, port: RelayedPort, peer: SocketAddr) -> Option<(u16, ConnectionId)> {
        let admitted = self.lock().admit(now, port, peer);
        let counter = if admitted.is_some() { &self.counters.attempts } else { &self.counters.refused_peers };
        self.counters.count(counter);
        admitted
    }

    /// The peer has answered: the time to bind begins. `None` if nobody waits for that any more.
    pub(crate) fn connected(&self, now: Millis, id: ConnectionId) -> Option<()> {
        let inner = &mut *self.lock();
        matches!(inner.connections.get(&id)?.state, State::Connecting(_)).then_some(())?;
        inner.change(id, State::Unbound(now.after(BIND_MILLIS)))
    }

    /// The peer has not answered.
    pub(crate) fn failed(&self, id: ConnectionId) {
        self.lock().remove(id);
    }

    /// The control connection of one that waits to be bound, and its peer's name.
    pub(crate) fn attempt(&self, id: ConnectionId) -> Option<(FiveTuple, SocketAddr)> {
        let inner = &*self.lock();
        let entry = inner.connections.get(&id).filter(|entry| matches!(entry.state, State::Unbound(_)))?;
        Some((inner.allocations.get(&entry.port)?.client, entry.peer))
    }

    /// Binds a connection that waits for it: once, and for the owner of its allocation only.
    pub(crate) fn bind(&self, id: ConnectionId, who: Identity) -> Option<RelayedPort> {
        let inner = &mut *self.lock();
        let entry = inner.connections.get(&id).filter(|entry| matches!(entry.state, State::Unbound(_)))?;
        let port = entry.port;
        inner.allocations.get(&port).filter(|listening| listening.owner == who)?;
        inner.change(id, State::Bound)?;
        self.counters.count(&self.counters.bound);
        Some(port)
    }

    /// When this worker must ask for what is overdue.
    pub(crate) fn next_end(&self, worker: u16) -> Option<Millis> {
        self.lock().first_waiting(worker).map(|(end, _)| end)
    }

    /// Takes out a connection of this worker whose time is over.
    pub(crate) fn pop_overdue(&self, worker: u16, now: Millis) -> Option<Overdue> {
        let inner = &mut *self.lock();
        let (_, id) = inner.first_waiting(worker).filter(|(end, _)| *end <= now)?;
        let port = inner.remove(id)?;
        self.counters.count(&self.counters.overdue);
        Some(Overdue { id, port })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        let inner = self.lock();
        debug_assert_eq!(inner.waiting.len(), inner.allocations.values().map(|it| it.waiting).sum::<usize>());
        debug_assert_eq!(inner.connections.len(), inner.allocations.values().map(|it| it.peers.len()).sum::<usize>());
        inner.waiting.len()
    }
}

impl Inner {
    fn admit(&mut self, now: Millis, port: RelayedPort, peer: SocketAddr) -> Option<(u16, ConnectionId)> {
        let listening = self.allocations.get(&port)?;
        let worker = listening.worker;
        listening.permissions.get(&peer.ip()).filter(|until| **until > now)?;
        let id = self.insert(port, peer, State::Unbound(now.after(BIND_MILLIS))).ok()?;
        Some((worker, id))
    }

    fn insert(&mut self, port: RelayedPort, peer: SocketAddr, state: State) -> Result<ConnectionId, Reject> {
        let listening = self.allocations.get(&port).ok_or(Reject::Mismatch)?;
        if listening.peers.contains_key(&peer) {
            return Err(Reject::ConnectionExists);
        }
        let full = listening.peers.len() >= CONNECTIONS_OF_ONE_ALLOCATION
            || listening.waiting >= WAITING_OF_ONE_ALLOCATION
            || self.connections.len() >= MOST_CONNECTIONS;
        if full {
            return Err(Reject::NoCapacity);
        }
        let id = self.new_id();
        self.connections.insert(id, Box::new(Entry { port, peer, state }));
        if let Some(listening) = self.allocations.get_mut(&port) {
            listening.peers.insert(peer, id);
        }
        self.note(id, port, state, true);
        Ok(id)
    }

    fn change(&mut self, id: ConnectionId, state: State) -> Option<()> {
        let entry = self.connections.get_mut(&id)?;
        let (port, old) = (entry.port, std::mem::replace(&mut entry.state, state));
        self.note(id, port, old, false);
        self.note(id, port, state, true);
        Some(())
    }

    fn remove(&mut self, id: ConnectionId) -> Option<RelayedPort> {
        let Entry { port, peer, state } = *self.connections.remove(&id)?;
        self.note(id, port, state, false);
        if let Some(listening) = self.allocations.get_mut(&port) {
            listening.peers.remove(&peer);
        }
        Some(port)
    }

    /// Keeps the list of those that wait, and how many each allocation has of them.
    fn note(&mut self, id: ConnectionId, port: RelayedPort, state: State, begins: bool) {
        let (State::Connecting(end) | State::Unbound(end)) = state else { return };
        let Some(listening) = self.allocations.get_mut(&port) else { return };
        if begins {
            self.waiting.insert((listening.worker, end, id));
            listening.waiting += 1;
        } else {
            self.waiting.remove(&(listening.worker, end, id));
            listening.waiting -= 1;
        }
    }

    fn first_waiting(&self, worker: u16) -> Option<(Millis, ConnectionId)> {
        let all = (worker, Millis(0), ConnectionId(0))..=(worker, Millis(u64::MAX), ConnectionId(u32::MAX));
        self.waiting.range(all).next().map(|(_, end, id)| (*end, *id))
    }

    fn new_id(&mut self) -> ConnectionId {
        loop {
            let id = ConnectionId(self.random.next_u32());
            if !self.connections.contains_key(&id) {
                return id;
            }
        }
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
