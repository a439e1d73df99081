//! The route table: relayed port → the way to its client. The one thing workers share on the packet path, and what the
//! ledger of calls and the TURN machine have in common: relayed ports, five-tuples, routes.
//!
//! One slot per port and relayed address, written by the owner of the allocation (control path, one writer lock per
//! address) and read by every worker without a lock: a seqlock of plain atomics. The [`crate::calls::Ledger`] kills
//! routes from any thread; a killed route stays dead until its port is installed anew, whatever its owner still writes.
//!
//! Slots come in chunks made when first needed, so an address costs memory only for the ports it has used, and a chunk that nobody
//! holds a port of gives its memory back.

mod five_tuple;
mod pages;
mod relayed_port;
mod words;

use std::net::SocketAddr;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU64, fence};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crate::time::Millis;

pub use five_tuple::{ClientPath, Connection, FiveTuple, Transport};
pub use relayed_port::{AddressId, RelayedAddress, RelayedPort};

/// Slots per chunk, and chunks per relayed address: 65 536 ports. A table is small if ports are taken of few chunks.
pub(crate) const CHUNK: usize = 128;
const CHUNKS: usize = 65_536 / CHUNK;

/// Relayed addresses there may ever be: [`AddressId`] counts no further.
pub(crate) const MOST_ADDRESSES: usize = 256;

/// How often a reader looks again while the slot is being written, before it gives the packet up.
const ATTEMPTS: usize = 64;

/// Relayed port → client path, expiry, call, permissions, channels.
pub struct Routes {
    /// By [`AddressId`]. Only filled up: who was given one may hold a port there.
    tables: Box<[OnceLock<Table>]>,
}

struct Table {
    address: RelayedAddress,
    /// Held by whoever writes: where the sequence of a slot begins that has none, beyond whatever was counted in memory given back.
    writer: Mutex<u64>,
    chunks: Box<[OnceLock<Box<Chunk>>]>,
}

/// Whole pages, which can be given back. A slot is three cache lines; a hairpin reads the first two.
#[repr(align(4096))]
struct Chunk {
    slots: [words::Words; CHUNK],
}

const _: () = assert!(align_of::<Chunk>() == pages::PAGE && size_of::<Chunk>().is_multiple_of(pages::PAGE));
const _: () = assert!(size_of::<words::Words>() == 3 * 64);

/// A new route.
#[derive(Clone, Copy)]
pub(crate) struct Route {
    pub(crate) client: ClientPath,
    pub(crate) expires: Millis,
    pub(crate) kind: Kind,
}

/// What stands behind a relayed port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// A socket: reachable from outside, and through the kernel from here.
    Real,
    /// A number in this table: reachable by the other side of its call only.
    Virtual { call: CallSide },
}

/// One side of a call; zero before the handle is paired. The two sides of a call differ in the lowest bit.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct CallSide(u64);

/// What the table says about a packet from one relayed port to another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Delivery {
    /// The receiver bound a channel to the sender.
    Channel { to: ClientPath, number: u16 },
    /// The receiver has no channel for the sender: a Data indication.
    Indication { to: ClientPath },
    /// Nobody holds that port.
    Gone,
    /// The receiver has no permission for the sender.
    NotPermitted,
    /// The slot holds too little to tell; the receiver's socket leads to its owner, who knows.
    AskOwner,
    /// Could not be read: it was being written all the time.
    Busy,
}

/// What its own slot says about the sender.
#[derive(Clone, Copy)]
struct Sender {
    port: RelayedPort,
    real: bool,
    side: CallSide,
}

/// A channel bound to a relayed port of this server.
#[derive(Clone, Copy)]
pub(crate) struct ChannelEntry {
    pub(crate) number: u16,
    pub(crate) peer: RelayedPort,
    pub(crate) until: Millis,
}

impl CallSide {
    /// Side `b` (true) or `a` of the call numbered `id`, which starts at 1.
    pub(crate) const fn new(id: u64, b: bool) -> CallSide {
        CallSide(id << 1 | b as u64)
    }

    const fn word(self) -> u64 {
        self.0
    }

    pub(crate) const fn is_paired(self) -> bool {
        self.0 != 0
    }

    /// The other side of its call.
    pub(crate) const fn partner(self) -> CallSide {
        CallSide(self.0 ^ 1)
    }

    /// Are these the two sides of one call?
    const fn faces(self, other: CallSide) -> bool {
        self.is_paired() && self.partner().0 == other.0
    }
}

impl Routes {
    /// An empty table for these addresses, in the settings' order.
    pub fn new(addresses: &[RelayedAddress]) -> Routes {
        let routes = Routes { tables: (0..MOST_ADDRESSES).map(|_| OnceLock::new()).collect() };
        routes.know(addresses);
        routes
    }

    /// The same list again, longer: those known are what they were, those behind them are new.
    pub(crate) fn know(&self, addresses: &[RelayedAddress]) {
        for (table, address) in self.tables.iter().zip(addresses) {
            table.get_or_init(|| Table {
                address: *address,
                writer: Mutex::new(0),
                chunks: (0..CHUNKS).map(|_| OnceLock::new()).collect(),
            });
        }
    }

    fn table(&self, address: AddressId) -> Option<&Table> {
        self.tables.get(usize::from(address.0))?.get()
    }

    /// The relayed port that `address` names, in its bound or its public form, whether anybody holds it or not.
    pub fn locate(&self, address: SocketAddr) -> Option<RelayedPort> {
        let ip = address.ip();
        let mut known = self.tables.iter().map_while(OnceLock::get).map(|table| table.address);
        let place = known.position(|own| own.public == ip || own.bind == ip)?;
        Some(RelayedPort { address: AddressId(u8::try_from(place).ok()?), port: address.port() })
    }

    /// Does somebody hold this relayed port?
    pub fn is_live(&self, port: RelayedPort) -> bool {
        self.slot(port).is_some_and(|slot| slot[words::FLAGS].load(Acquire) & words::LIVE != 0)
    }

    /// The form clients and peers see.
    pub fn public(&self, port: RelayedPort) -> Option<SocketAddr> {
        self.table(port.address).map(|table| SocketAddr::new(table.address.public, port.port))
    }

    /// The form the socket is bound to.
    pub fn bind(&self, port: RelayedPort) -> Option<SocketAddr> {
        self.table(port.address).map(|table| SocketAddr::new(table.address.bind, port.port))
    }

    /// Ends a route at once, from any thread. Packets already read are the last.
    pub fn kill(&self, port: RelayedPort) {
        self.write(port, |words| {
            words[words::FLAGS].store(0, Relaxed);
            words[words::CALL].store(0, Relaxed);
            words::forget_path(words);
        });
    }

    /// Makes a route for a port its owner has just taken.
    pub(crate) fn install(&self, port: RelayedPort, route: &Route) {
        self.make_chunk(port);
        self.write(port, |slot| words::store_route(slot, route));
    }

    /// A new expiry for a living route.
    pub(crate) fn refresh(&self, port: RelayedPort, expires: Millis) {
        self.write_living(port, |slot| slot[words::EXPIRES].store(expires.0, Relaxed));
    }

    /// Lets packets from one of our relayed addresses (any port, RFC 8656 §9) through to this route.
    pub(crate) fn permit(&self, port: RelayedPort, from: AddressId, until: Millis) {
        self.write_living(port, |slot| words::store_permission(slot, from, until));
    }

    /// Remembers a channel bound to a relayed port of ours.
    pub(crate) fn bind_channel(&self, port: RelayedPort, entry: ChannelEntry, now: Millis) {
        self.write_living(port, |slot| words::store_channel(slot, entry, now));
    }

    /// Names the call a virtual route belongs to.
    pub(crate) fn set_call(&self, port: RelayedPort, side: CallSide) {
        self.write_living(port, |slot| slot[words::CALL].store(side.0, Relaxed));
    }

    /// The way to whoever holds this port.
    pub(crate) fn client(&self, port: RelayedPort) -> Option<ClientPath> {
        let (table, slot) = (self.table(port.address)?, self.slot(port)?);
        let _nobody_writes = table.lock();
        (slot[words::FLAGS].load(Relaxed) & words::LIVE != 0).then(|| words::client(slot))
    }

    /// May these two virtual ports reach each other?
    pub(crate) fn are_partners(&self, one: RelayedPort, other: RelayedPort) -> bool {
        self.side(one).faces(self.side(other))
    }

    /// Where a packet from `from` to `to` goes.
    pub(crate) fn deliver(&self, from: RelayedPort, to: RelayedPort, now: Millis) -> Delivery {
        let Some(slot) = self.slot(to) else { return Delivery::Gone };
        let Some(sender) = self.slot(from) else { return Delivery::NotPermitted };
        let sender = Sender::of(sender, from);
        for _ in 0..ATTEMPTS {
            let before = slot[words::SEQUENCE].load(Acquire);
            if before == 0 {
                return Delivery::Gone; // never written, or given back
            }
            if before & 1 == 0 {
                let delivery = look(slot, sender, now);
                fence(Acquire);
                if slot[words::SEQUENCE].load(Relaxed) == before {
                    return delivery;
                }
            }
            std::hint::spin_loop();
        }
        Delivery::Busy
    }

    /// The side of a call that stands behind this port; of none if nobody does.
    pub(crate) fn side(&self, port: RelayedPort) -> CallSide {
        CallSide(self.slot(port).map_or(0, |slot| slot[words::CALL].load(Acquire)))
    }

    /// Gives the memory of chunks back in which nobody holds a port. A lock for some microseconds each: control path only.
    pub fn give_memory_back(&self) {
        for table in self.tables.iter().map_while(OnceLock::get) {
            table.chunks.iter().filter_map(OnceLock::get).for_each(|chunk| table.give_back(chunk));
        }
    }

    fn slot(&self, port: RelayedPort) -> Option<&words::Words> {
        let table = self.table(port.address)?;
        let chunk = table.chunks.get(usize::from(port.port) / CHUNK)?.get()?;
        chunk.slots.get(usize::from(port.port) % CHUNK)
    }

    fn make_chunk(&self, port: RelayedPort) {
        let Some(table) = self.table(port.address) else { return };
        if let Some(chunk) = table.chunks.get(usize::from(port.port) / CHUNK) {
            chunk.get_or_init(|| Box::new(Chunk::empty()));
        }
    }

    fn write_living(&self, port: RelayedPort, change: impl FnOnce(&words::Words)) {
        self.write(port, |slot| {
            if slot[words::FLAGS].load(Relaxed) & words::LIVE != 0 {
                change(slot);
            }
        });
    }

    /// One writer at a time per address; readers see all of a change or none of it.
    fn write(&self, port: RelayedPort, change: impl FnOnce(&words::Words)) {
        let Some(table) = self.table(port.address) else { return };
        let Some(slot) = self.slot(port) else { return };
        let first = table.lock();
        let sequence = match slot[words::SEQUENCE].load(Relaxed) {
            0 => *first,
            sequence => sequence,
        };
        slot[words::SEQUENCE].store(sequence.wrapping_add(1), Relaxed);
        fence(Release);
        change(slot);
        slot[words::SEQUENCE].store(sequence.wrapping_add(2), Release);
    }
}

impl Table {
    fn lock(&self) -> MutexGuard<'_, u64> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Unless somebody holds a port in it. No sequence is counted twice, so a reader who began before sees that what it read is gone.
    fn give_back(&self, chunk: &Chunk) {
        let mut first = self.lock();
        let is_live = |slot: &words::Words| slot[words::FLAGS].load(Relaxed) & words::LIVE != 0;
        let last = chunk.slots.iter().map(|slot| slot[words::SEQUENCE].load(Relaxed)).max().unwrap_or(0);
        if last != 0 && !chunk.slots.iter().any(is_live) {
            *first = last.max(*first);
            pages::discard(chunk.slots.as_flattened());
        }
    }
}

/// The decision itself, on words that may be half written; the caller throws the answer away if they were.
fn look(slot: &words::Words, sender: Sender, now: Millis) -> Delivery {
    let flags = slot[words::FLAGS].load(Relaxed);
    if flags & words::LIVE == 0 || slot[words::EXPIRES].load(Relaxed) <= now.0 {
        return Delivery::Gone;
    }
    let real = flags & words::REAL != 0;
    if !(real && sender.real) {
        let receiver = CallSide(slot[words::CALL].load(Relaxed));
        if !sender.side.faces(receiver) {
            return Delivery::NotPermitted;
        }
    } else {
        match words::permission(slot, sender.port.address) {
            Some(until) if until > now => {}
            Some(_) => return Delivery::NotPermitted,
            None => return Delivery::AskOwner,
        }
    }
    let to = words::client(slot);
    match words::channel(slot, sender.port, now) {
        Some(number) => Delivery::Channel { to, number },
        None if real && flags & words::CHANNELS_OVERFLOWED != 0 => Delivery::AskOwner,
        None => Delivery::Indication { to },
    }
}

impl Sender {
    /// A killed route reads as virtual and in no call: it reaches nobody.
    fn of(slot: &words::Words, port: RelayedPort) -> Sender {
        let real = slot[words::FLAGS].load(Acquire) & words::REAL != 0;
        Sender { port, real, side: CallSide(slot[words::CALL].load(Acquire)) }
    }
}

impl Chunk {
    const fn empty() -> Chunk {
        Chunk { slots: [const { [const { AtomicU64::new(0) }; words::COUNT] }; CHUNK] }
    }
}

#[cfg(test)]
mod tests;
