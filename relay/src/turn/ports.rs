//! The allocator of relayed ports, real and virtual alike: random (RFC 8656 §7.2: hard to predict), each handed out
//! once, ports in == ports out. Taking any port, an even one or an even pair costs the same however full the range is.
//!
//! Virtual ports lie together instead, a chunk of the route table after the other, in chunks chosen at random: nobody outside can
//! send to them, so there is nothing to predict, and a table of ports scattered over the whole range is ten times as large.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::RangeInclusive;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rand::{Rng, RngCore, SeedableRng};
use rand_chacha::ChaCha12Rng;
use serde::{Deserialize, Serialize};

use super::port_bag::PortBag;
use crate::auth::PersonHash;
use crate::hashing::{Seeded, seeded};
use crate::routes::{AddressId, CHUNK, RelayedPort};
use crate::time::Millis;

/// How long the second port of a pair is held for its token (RFC 8656 §7.2 recommends 30 s).
pub(crate) const RESERVATION_MILLIS: u64 = 30_000;

/// RESERVATION-TOKEN (RFC 8656 §18.9).
pub(crate) type Token = [u8; 8];

/// One allocator for all workers. A lock inside: control path only.
pub struct Ports {
    inner: Mutex<Inner>,
}

struct Inner {
    pools: Vec<Pool>,
    reserved: HashMap<Token, Reservation, Seeded>,
    /// The same reservations by their end.
    ending: BTreeSet<(Millis, Token)>,
    /// How many of them a user has.
    holders: HashMap<PersonHash, u32, Seeded>,
    max_reserved: usize,
    random: ChaCha12Rng,
}

/// The second port of a pair.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Reservation {
    pub(crate) port: RelayedPort,
    pub(crate) end: Millis,
    pub(crate) holder: PersonHash,
}

/// The free ports of one relayed address.
struct Pool {
    /// Ports somebody holds that are not of the range any more.
    outside: BTreeSet<u16>,
    range: RangeInclusive<u16>,
    even: PortBag,
    odd: PortBag,
    /// Even ports that are free together with the odd one above them.
    pairs: PortBag,
    /// Free ports of chunks that virtual ports were taken from.
    together: PortBag,
    /// Those chunks by their lowest port, and how many ports of each somebody holds.
    chunks: BTreeMap<u16, usize>,
}

/// Which port will do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wish {
    Any,
    /// EVEN-PORT without the R bit.
    Even,
    /// One of a chunk that is in use already.
    Virtual,
}

impl Ports {
    /// All ports of `range` free on each of `addresses` relayed addresses.
    pub fn new(addresses: usize, range: &RangeInclusive<u16>, max_reservations: u32, seed: [u8; 32]) -> Ports {
        let mut random = ChaCha12Rng::from_seed(seed);
        let hash = seeded(random.next_u64());
        let inner = Inner {
            pools: (0..addresses).map(|_| Pool::all_free(range)).collect(),
            reserved: HashMap::with_hasher(hash.clone()),
            ending: BTreeSet::new(),
            holders: HashMap::with_hasher(hash),
            max_reserved: max_reservations as usize,
            random,
        };
        Ports { inner: Mutex::new(inner) }
    }

    /// Ports nobody holds on one address.
    pub fn free(&self, address: AddressId) -> usize {
        self.lock().pools.get(usize::from(address.0)).map_or(0, |pool| pool.even.len() + pool.odd.len())
    }

    /// A port of this address that nobody may ever have. Only before any is handed out.
    pub(crate) fn withhold(&self, port: RelayedPort) {
        if let Some(pool) = self.lock().pools.get_mut(usize::from(port.address.0)) {
            pool.remove(port.port);
        }
    }

    /// Ports of so many relayed addresses; those of the ones that are new are free.
    pub(crate) fn know(&self, addresses: usize, range: &RangeInclusive<u16>) {
        let pools = &mut self.lock().pools;
        while pools.len() < addresses {
            pools.push(Pool::all_free(range));
        }
    }

    /// From now on ports of this range are handed out. Who holds one keeps it, and it comes back into the range it belongs to by then.
    pub(crate) fn set_range(&self, range: &RangeInclusive<u16>) {
        let inner = &mut *self.lock();
        for pool in inner.pools.iter_mut().filter(|pool| pool.range != *range) {
            *pool = pool.moved_to(range);
        }
    }

    /// A random free port on one of `addresses`, tried from a random one onwards.
    pub(crate) fn take(&self, addresses: &[AddressId], wish: Wish, now: Millis) -> Option<RelayedPort> {
        let inner = &mut *self.lock();
        inner.expire(now);
        inner.on_some_address(addresses, |pool, random| pool.take(wish, random))
    }

    /// An even port, and the one above it held for the token until 30 s from now, whatever becomes of the first.
    /// `max_held`: how many reservations this user may have at once.
    pub(crate) fn take_pair(
        &self,
        addresses: &[AddressId],
        holder: PersonHash,
        max_held: u32,
        now: Millis,
    ) -> Option<(RelayedPort, Token)> {
        let inner = &mut *self.lock();
        inner.expire(now);
        let held = inner.holders.get(&holder).copied().unwrap_or(0);
        if inner.reserved.len() >= inner.max_reserved || held >= max_held {
            return None;
        }
        let first = inner.on_some_address(addresses, Pool::take_pair)?;
        let port = RelayedPort { port: first.port + 1, ..first };
        Some((first, inner.reserve(port, holder, now.after(RESERVATION_MILLIS))))
    }

    /// The port held for this token; the token is good once.
    pub(crate) fn redeem(&self, token: &Token, now: Millis) -> Option<RelayedPort> {
        let inner = &mut *self.lock();
        inner.expire(now);
        inner.unreserve(token)
    }

    /// Lets go of a reservation nobody was told about.
    pub(crate) fn cancel(&self, token: &Token) {
        let inner = &mut *self.lock();
        if let Some(port) = inner.unreserve(token) {
            inner.give_back(port);
        }
    }

    /// A port that somebody holds already: it was given out by another process. False if it is held here.
    pub(crate) fn hold(&self, port: RelayedPort) -> bool {
        self.lock().pools.get_mut(usize::from(port.address.0)).is_some_and(|pool| pool.hold(port.port))
    }

    /// What is held for tokens, for [`Ports::reserve_again`] in another process.
    pub(crate) fn reservations(&self) -> Vec<(Token, Reservation)> {
        self.lock().reserved.iter().map(|(token, reservation)| (*token, *reservation)).collect()
    }

    /// Held for the token that another process has given out.
    pub(crate) fn reserve_again(&self, token: Token, reservation: Reservation) {
        if self.hold(reservation.port) {
            self.lock().hold_for(token, reservation);
        }
    }

    /// A port somebody took comes back. Giving back a free port changes nothing.
    pub(crate) fn give_back(&self, port: RelayedPort) {
        self.lock().give_back(port);
    }

    /// Lets go of reservations whose time is over.
    pub(crate) fn expire(&self, now: Millis) {
        self.lock().expire(now);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn on_some_address(
        &mut self,
        addresses: &[AddressId],
        take: impl Fn(&mut Pool, &mut ChaCha12Rng) -> Option<u16>,
    ) -> Option<RelayedPort> {
        if addresses.is_empty() {
            return None;
        }
        let start = self.random.random_range(0..addresses.len());
        (0..addresses.len()).find_map(|step| {
            let address = addresses[(start + step) % addresses.len()];
            let pool = self.pools.get_mut(usize::from(address.0))?;
            Some(RelayedPort { address, port: take(pool, &mut self.random)? })
        })
    }

    fn give_back(&mut self, port: RelayedPort) {
        if let Some(pool) = self.pools.get_mut(usize::from(port.address.0)) {
            pool.give_back(port.port);
        }
    }

    fn reserve(&mut self, port: RelayedPort, holder: PersonHash, end: Millis) -> Token {
        let mut token = Token::default();
        self.random.fill_bytes(&mut token);
        self.hold_for(token, Reservation { port, end, holder });
        token
    }

    fn hold_for(&mut self, token: Token, reservation: Reservation) {
        self.reserved.insert(token, reservation);
        self.ending.insert((reservation.end, token));
        *self.holders.entry(reservation.holder).or_default() += 1;
    }

    fn unreserve(&mut self, token: &Token) -> Option<RelayedPort> {
        let Reservation { port, end, holder } = self.reserved.remove(token)?;
        self.ending.remove(&(end, *token));
        if let Some(held) = self.holders.get_mut(&holder) {
            *held -= 1;
            if *held == 0 {
                self.holders.remove(&holder);
            }
        }
        Some(port)
    }

    fn expire(&mut self, now: Millis) {
        while let Some(&(_, token)) = self.ending.first().filter(|(end, _)| *end <= now) {
            match self.unreserve(&token) {
                Some(port) => self.give_back(port),
                None => break,
            }
        }
    }
}

impl Pool {
    fn all_free(range: &RangeInclusive<u16>) -> Pool {
        let [even, odd, pairs, together] = [(); 4].map(|()| PortBag::empty(range));
        let (outside, chunks) = (BTreeSet::new(), BTreeMap::new());
        let mut pool = Pool { outside, range: range.clone(), even, odd, pairs, together, chunks };
        for port in range.clone() {
            pool.give_back(port);
        }
        pool
    }

    fn moved_to(&self, range: &RangeInclusive<u16>) -> Pool {
        let mut pool = Pool::all_free(range);
        // Chunks that virtual ports were taken from are chosen anew: those of the old range need not be in this one.
        let held = self.range.clone().filter(|port| !self.even.contains(*port) && !self.odd.contains(*port));
        for port in held.chain(self.outside.iter().copied()) {
            if range.contains(&port) {
                pool.remove(port);
            } else {
                pool.outside.insert(port);
            }
        }
        pool
    }

    fn take(&mut self, wish: Wish, random: &mut ChaCha12Rng) -> Option<u16> {
        let (even, odd) = (self.even.len(), self.odd.len());
        let from = match wish {
            Wish::Virtual if self.together.len() > 0 => &self.together,
            Wish::Virtual => return self.take_of_new_chunk(random),
            Wish::Even => &self.even,
            Wish::Any if even + odd == 0 => return None,
            Wish::Any if random.random_range(0..even + odd) < even => &self.even,
            Wish::Any => &self.odd,
        };
        let port = from.pick(random)?;
        self.remove(port);
        Some(port)
    }

    /// Any port, and from now on virtual ones are taken from beside it.
    fn take_of_new_chunk(&mut self, random: &mut ChaCha12Rng) -> Option<u16> {
        let port = self.take(Wish::Any, random)?;
        let mut held = 0;
        for beside in ports_of(chunk_of(port)) {
            if self.bag(beside).contains(beside) {
                self.together.insert(beside);
            } else if self.range.contains(&beside) {
                held += 1;
            }
        }
        self.chunks.insert(chunk_of(port), held);
        Some(port)
    }

    /// A port of a chunk comes back. One that nobody holds a port of is used no more if another has room, so that those who come after a crowd
    /// lie together as those before it.
    fn give_back_to_chunk(&mut self, port: u16) {
        let chunk = chunk_of(port);
        let Some(held) = self.chunks.get_mut(&chunk).filter(|_| !self.together.contains(port)) else { return };
        self.together.insert(port);
        *held -= 1;
        if *held == 0 && self.together.len() > CHUNK {
            self.chunks.remove(&chunk);
            ports_of(chunk).for_each(|port| self.together.remove(port));
        }
    }

    fn take_pair(&mut self, random: &mut ChaCha12Rng) -> Option<u16> {
        let port = self.pairs.pick(random)?;
        self.remove(port);
        self.remove(port + 1);
        Some(port)
    }

    fn hold(&mut self, port: u16) -> bool {
        if !self.range.contains(&port) {
            return self.outside.insert(port);
        }
        let free = self.bag(port).contains(port);
        self.remove(port);
        free
    }

    fn bag(&mut self, port: u16) -> &mut PortBag {
        if port.is_multiple_of(2) { &mut self.even } else { &mut self.odd }
    }

    fn remove(&mut self, port: u16) {
        self.bag(port).remove(port);
        self.pairs.remove(port & !1);
        if self.together.contains(port) {
            self.together.remove(port);
            self.chunks.entry(chunk_of(port)).and_modify(|held| *held += 1);
        }
    }

    fn give_back(&mut self, port: u16) {
        if self.outside.remove(&port) {
            return;
        }
        self.bag(port).insert(port);
        self.give_back_to_chunk(port);
        let (low, high) = (port & !1, port | 1);
        if self.even.contains(low) && self.odd.contains(high) {
            self.pairs.insert(low);
        }
    }
}

fn chunk_of(port: u16) -> u16 {
    port & !(CHUNK as u16 - 1)
}

fn ports_of(chunk: u16) -> RangeInclusive<u16> {
    chunk..=chunk | (CHUNK as u16 - 1)
}

const _: () = assert!(CHUNK.is_power_of_two());

#[cfg(test)]
#[path = "ports_tests.rs"]
mod tests;
