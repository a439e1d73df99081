//! The ledger in a snapshot: what a relay that takes over from this one must know of calls before it has their allocations.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::heard::Sound;
use super::{Handle, Ledger, Media};
use crate::routes::{ClientPath, RelayedPort};
use crate::time::Millis;

/// Open handles. What it holds is for another process of the same operator and for nobody else.
#[derive(Default, Serialize, Deserialize)]
pub struct PackedLedger {
    legs: Vec<PackedLeg>,
}

#[derive(Serialize, Deserialize)]
struct PackedLeg {
    handle: Handle,
    partner: Option<Handle>,
    heard: Millis,
    /// Of allocations that are gone; those that live say it again.
    past: Option<Media>,
    pool: String,
}

impl Ledger {
    /// Every handle whose call has an allocation for which `which` is true, on either side.
    pub fn handles_of_calls(&self, which: impl Fn(RelayedPort, &ClientPath) -> bool) -> HashSet<Handle> {
        let inner = self.lock();
        let mut found = HashSet::new();
        for (handle, leg) in &inner.legs {
            let ports = leg.allocations.iter().flatten().map(|(_, port)| *port);
            if ports.filter_map(|port| Some((port, self.routes.client(port)?))).any(|(port, at)| which(port, &at)) {
                found.insert(*handle);
                found.extend(leg.partner);
            }
        }
        found
    }

    /// All but these.
    pub fn pack(&self, but: &HashSet<Handle>) -> PackedLedger {
        let inner = self.lock();
        let going = inner.legs.iter().filter(|(handle, _)| !but.contains(*handle));
        let legs = going.map(|(handle, leg)| PackedLeg {
            handle: *handle,
            partner: leg.partner,
            heard: leg.heard,
            past: leg.sound.as_deref().map(Sound::past),
            pool: inner.pools.name(leg.pool).to_owned(),
        });
        let mut legs: Vec<PackedLeg> = legs.collect();
        legs.sort_unstable_by_key(|leg| leg.handle.0);
        PackedLedger { legs }
    }

    /// Opens and pairs them again, as far as there is room.
    pub fn unpack(&self, packed: &PackedLedger) {
        for leg in &packed.legs {
            if self.open(leg.handle).is_err() {
                continue;
            }
            let inner = &mut *self.lock();
            let pool = inner.pools.find(&leg.pool);
            if let Some(open) = inner.legs.get_mut(&leg.handle) {
                open.heard = leg.heard;
                open.sound = leg.past.map(|past| Box::new(Sound::after(past)));
                open.pool = pool;
            }
        }
        for leg in &packed.legs {
            // Of the two that name each other the second finds them paired.
            let _ = leg.partner.map(|partner| self.pair(leg.handle, partner));
        }
    }
}
