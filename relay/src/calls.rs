//! What TURN and matchmaking share: the call.
//!
//! Signalling opens a handle per ticket, pairs two handles into a call and closes them. TURN allocates only for open
//! handles and lets each side reach exactly the other. Everything here is control path.

mod heard;
mod pools;
mod snapshot;

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::hashing::{Seeded, give_back, seeded};
use crate::routes::{CallSide, ClientPath, Kind, RelayedPort, Route, Routes};
use crate::time::Millis;

use heard::Sound;
pub use heard::{Heard, Media};
pub(crate) use pools::Carried;
pub use pools::{MOST_POOLS, PoolTraffic};
use pools::{PoolId, Pools};
pub use snapshot::PackedLedger;

/// One ticket's place on the relay, later one side of a call. Random, 96 bits: knowing one tells nothing of another.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Handle(pub [u8; 12]);

/// The ledger holds as many handles as it may.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full;

/// One of the two handles is closed, unknown, or already in a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Gone;

/// A handle that is not open may not allocate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NoLeg {
    /// Never opened, or its call is over.
    Closed,
    /// The handle has [`MAX_ALLOCATIONS`] already.
    Enough,
}

/// Allocations of one handle: one per address family, or one old and one new around an ICE restart.
pub const MAX_ALLOCATIONS: usize = 2;

/// What a side holds: each allocation by the worker that has it and its relayed port.
pub type Held = [Option<(u16, RelayedPort)>; MAX_ALLOCATIONS];

/// Handle → leg → partner. A lock inside: control path only; packets see its decisions in the routes.
pub struct Ledger {
    routes: Arc<Routes>,
    inner: Mutex<Inner>,
}

struct Inner {
    legs: HashMap<Handle, Leg, Seeded>,
    pools: Pools,
    max_handles: usize,
    last_call: u64,
}

/// What an open handle has.
#[derive(Default)]
struct Leg {
    partner: Option<Handle>,
    /// This side of the call, for the routes; the default before there is one.
    side: CallSide,
    allocations: Held,
    /// When anything of it was last heard; zero for never.
    heard: Millis,
    /// What was heard of its media, once there is any.
    sound: Option<Box<Sound>>,
    /// Where what its side relays is counted.
    pool: PoolId,
}

impl Ledger {
    pub(crate) fn new(routes: Arc<Routes>, max_handles: u32, hash_seed: u64) -> Ledger {
        let (legs, pools) = (HashMap::with_hasher(seeded(hash_seed)), Pools::new(seeded(hash_seed)));
        Ledger { routes, inner: Mutex::new(Inner { legs, pools, max_handles: max_handles as usize, last_call: 0 }) }
    }

    /// Lets the holder of this handle's credentials allocate. Opening an open handle changes nothing.
    ///
    /// # Errors
    /// [`Full`] at `Settings::max_handles`.
    pub fn open(&self, handle: Handle) -> Result<(), Full> {
        let inner = &mut *self.lock();
        if inner.legs.len() >= inner.max_handles && !inner.legs.contains_key(&handle) {
            return Err(Full);
        }
        inner.legs.entry(handle).or_default();
        Ok(())
    }

    /// Makes two open handles a call: from now on each may reach exactly the other's relayed addresses, those made later
    /// included, and needs no CreatePermission for it: the pairing is the permission. Pairing the two of a call changes nothing.
    ///
    /// # Errors
    /// [`Gone`] if one of them is closed, unknown or already paired, or both are the same.
    pub fn pair(&self, a: Handle, b: Handle) -> Result<(), Gone> {
        let inner = &mut *self.lock();
        if inner.legs.get(&a).is_some_and(|leg| leg.partner == Some(b)) {
            return Ok(());
        }
        let unpaired = |handle| inner.legs.get(handle).is_some_and(|leg| leg.partner.is_none());
        if a == b || !unpaired(&a) || !unpaired(&b) {
            return Err(Gone);
        }
        inner.last_call += 1;
        for (is_b, own, other) in [(false, a, b), (true, b, a)] {
            let side = CallSide::new(inner.last_call, is_b);
            let Some(leg) = inner.legs.get_mut(&own) else { continue };
            leg.partner = Some(other);
            leg.side = side;
            for &(_, port) in leg.allocations.iter().flatten() {
                self.routes.set_call(port, side);
            }
        }
        Ok(())
    }

    /// Ends the handle and, if it is in a call, the other side's with it. No packet of the call passes once this has
    /// returned. The caller posts `Command::Close` to the workers named, which free the allocations; an allocation whose
    /// command is lost relays nothing and ends at its next request or expiry.
    pub fn close(&self, handle: Handle) -> Vec<(u16, RelayedPort)> {
        let inner = &mut *self.lock();
        let Some(leg) = inner.legs.remove(&handle) else { return Vec::new() };
        let partner = leg.partner.and_then(|partner| inner.legs.remove(&partner));
        let mut held = Vec::new();
        for leg in std::iter::once(leg).chain(partner) {
            for (worker, port) in leg.allocations.into_iter().flatten() {
                self.routes.kill(port);
                inner.pools.ends(port, leg.pool);
                held.push((worker, port));
            }
        }
        give_back(&mut inner.legs);
        held
    }

    /// What the call of this handle relays is counted for that pool, when it is over.
    pub fn count_for(&self, handle: &Handle, pool: &str) {
        let inner = &mut *self.lock();
        let pool = inner.pools.find(pool);
        let partner = inner.legs.get(handle).and_then(|leg| leg.partner);
        for side in [Some(*handle), partner].into_iter().flatten() {
            if let Some(leg) = inner.legs.get_mut(&side) {
                leg.pool = pool;
            }
        }
    }

    /// What the calls of each pool have relayed, as far as it may be told.
    pub fn pool_traffic(&self) -> Vec<PoolTraffic> {
        self.lock().pools.traffic()
    }

    /// Relayed addresses, as clients see them, that this server issued to that handle and that are still held.
    pub fn relayed(&self, handle: &Handle) -> Vec<SocketAddr> {
        let inner = self.lock();
        let held = inner.legs.get(handle).into_iter().flat_map(|leg| leg.allocations.iter().flatten());
        held.filter_map(|&(_, port)| self.routes.public(port)).collect()
    }

    /// What was heard of that side when its workers were last asked ([`crate::turn::Command::Listen`]), and whom to ask now.
    pub fn heard(&self, handle: &Handle) -> Option<(Heard, Held)> {
        let inner = self.lock();
        let leg = inner.legs.get(handle)?;
        let media = leg.sound.as_deref().map(Sound::media).unwrap_or_default();
        Some((Heard { last: leg.heard, media }, leg.allocations))
    }

    /// One allocation's answer.
    pub(crate) fn note_heard(&self, handle: &Handle, port: RelayedPort, heard: Heard) {
        let inner = &mut *self.lock();
        let Some(leg) = inner.legs.get_mut(handle) else { return };
        leg.heard = leg.heard.max(heard.last);
        let place = leg.allocations.iter().position(|held| held.is_some_and(|(_, held)| held == port));
        if let Some(place) = place.filter(|_| heard.media != Media::default()) {
            leg.sound.get_or_insert_default().note(place, heard.media);
        }
    }

    /// Handles open now.
    pub fn open_handles(&self) -> usize {
        self.lock().legs.len()
    }

    pub(crate) fn is_open(&self, handle: &Handle) -> bool {
        self.lock().legs.contains_key(handle)
    }

    /// Would [`Ledger::allocated`] succeed now?
    pub(crate) fn may_allocate(&self, handle: &Handle) -> Result<(), NoLeg> {
        let inner = self.lock();
        let leg = inner.legs.get(handle).ok_or(NoLeg::Closed)?;
        if leg.allocations.iter().any(Option::is_none) { Ok(()) } else { Err(NoLeg::Enough) }
    }

    /// Notes an allocation and installs its route in one step: a close sees it, or comes first and refuses it.
    pub(crate) fn allocated(
        &self,
        handle: &Handle,
        worker: u16,
        port: RelayedPort,
        client: ClientPath,
        expires: Millis,
    ) -> Result<(), NoLeg> {
        let inner = &mut *self.lock();
        let leg = inner.legs.get_mut(handle).ok_or(NoLeg::Closed)?;
        let place = leg.allocations.iter_mut().find(|place| place.is_none()).ok_or(NoLeg::Enough)?;
        *place = Some((worker, port));
        self.routes.install(port, &Route { client, expires, kind: Kind::Virtual { call: leg.side } });
        Ok(())
    }

    /// The owner lets go of the port; call it before the port may be taken again. `carried`: what was relayed from there.
    pub(crate) fn freed(&self, handle: &Handle, port: RelayedPort, carried: Carried) {
        let inner = &mut *self.lock();
        self.routes.kill(port);
        let pool = inner.legs.get(handle).map(|leg| leg.pool);
        inner.pools.freed(port, pool, carried);
        if let Some(leg) = inner.legs.get_mut(handle) {
            for (place, held) in leg.allocations.iter_mut().enumerate() {
                if held.take_if(|(_, held)| *held == port).is_some()
                    && let Some(sound) = &mut leg.sound
                {
                    sound.end(place);
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Handle {
    /// Base64url without padding: 16 characters.
    pub fn to_base64url(self) -> String {
        use base64::Engine as _;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(self.0)
    }

    /// The reverse of [`Handle::to_base64url`]; `None` for anything else.
    pub fn from_base64url(text: &str) -> Option<Handle> {
        use base64::Engine as _;
        let mut bytes = [0; 12];
        let length = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
        (length == bytes.len()).then_some(Handle(bytes))
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handle([redacted])")
    }
}
