//! The relay alone, for an app that has its own matchmaker: two places on the relay that reach each other and nothing else.
//!
//! A call made here has no sessions. It ends when the app says so, when it is as old as it may be, or when nobody has an allocation in
//! it any more once the time to start is over.

use serde::{Deserialize, Serialize};

use super::hand_on::Handing;
use super::timers::Timer;
use super::{CREDENTIAL_SECS, Desk};
use crate::calls::{Full, Handle};
use crate::signalling::ids::Id;
use crate::signalling::message::Ice;
use crate::time::{Millis, Now};

/// Calls of this kind at once.
pub const MAX_BOUND: usize = 1 << 16;
/// Longest time a credential may wait for its allocation, in seconds: an app may have to push it to a phone.
pub const MAX_START_SECS: u32 = 600;
/// Longest life of a call, in seconds, and the one it has if nothing is said.
pub const MAX_BOUND_SECS: u32 = 24 * 3_600;
pub const BOUND_SECS: u32 = 4 * 3_600;
/// How often it is looked whether anybody is there.
const LOOK_MS: u64 = 30_000;

#[derive(Serialize, Deserialize)]
pub(super) struct Bound {
    pub(super) handles: [Handle; 2],
    generation: u32,
    /// Before, nobody need have come.
    start_by: Millis,
    until: Millis,
}

/// How long a call may take to start and to last, in seconds.
#[derive(Clone, Copy, Debug)]
pub struct Lifetime {
    pub start_secs: u32,
    pub max_secs: u32,
}

impl Bound {
    pub(super) fn next_look(&self, now: Now) -> Millis {
        now.mono.after(LOOK_MS).min(self.until)
    }
}

impl Default for Lifetime {
    fn default() -> Lifetime {
        Lifetime { start_secs: CREDENTIAL_SECS, max_secs: BOUND_SECS }
    }
}

impl Desk {
    /// Two places bound to each other, with what each side puts into `RTCPeerConnection`.
    ///
    /// # Errors
    /// [`Full`], here or on the relay.
    pub fn bind_call(&mut self, now: Now, life: Lifetime) -> Result<(Id, [Ice<'_>; 2]), Full> {
        if self.bound.len() >= MAX_BOUND || self.draining || self.handing == Handing::Packed {
            return Err(Full);
        }
        let handles = [self.random_handle(), self.random_handle()];
        if !self.pair_on_relay(handles) {
            return Err(Full);
        }
        let start_secs = life.start_secs.clamp(1, MAX_START_SECS);
        let max_secs = life.max_secs.clamp(1, MAX_BOUND_SECS);
        let (id, after) = (Id::random(&mut self.rng), |secs: u32| now.mono.after(u64::from(secs) * 1_000));
        let bound = Bound { handles, generation: 1, start_by: after(start_secs), until: after(max_secs) };
        self.timers.set(bound.start_by.min(bound.until), Timer::Bound(id));
        self.bound.insert(id, bound);
        Ok((id, handles.map(|handle| self.ice_for(now, handle, 1, false, start_secs))))
    }

    /// Fresh credentials for the same call, for an ICE restart or a side that was late.
    pub fn rebind_call(&mut self, now: Now, id: Id, start_secs: u32) -> Option<[Ice<'_>; 2]> {
        let start_secs = start_secs.clamp(1, MAX_START_SECS);
        let bound = self.bound.get_mut(&id)?;
        bound.generation = bound.generation.saturating_add(1);
        bound.start_by = bound.start_by.max(now.mono.after(u64::from(start_secs) * 1_000));
        let (handles, generation) = (bound.handles, bound.generation);
        Some(handles.map(|handle| self.ice_for(now, handle, generation, false, start_secs)))
    }

    /// Ends it; false if there is no such call (any more). No packet passes once this is back.
    pub fn unbind_call(&mut self, id: Id) -> bool {
        let Some(bound) = self.bound.remove(&id) else { return false };
        bound.handles.iter().for_each(|handle| self.relay.close(*handle));
        true
    }

    pub(super) fn look_after_bound(&mut self, now: Now, id: Id) {
        let Some(bound) = self.bound.get(&id) else { return };
        let empty = bound.handles.iter().all(|handle| self.relay.relayed(handle).is_empty());
        if now.mono >= bound.until || empty && now.mono >= bound.start_by {
            self.unbind_call(id);
        } else {
            self.timers.set(bound.next_look(now), Timer::Bound(id));
        }
    }
}
