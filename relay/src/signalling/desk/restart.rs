//! ICE restart, and what happens when one side misses the other (matching.md §4.4, §4.8): its own ICE says so, or the relay.

use super::session::Side;
use super::timers::Timer;
use super::{Desk, MAX_RESTARTS, RESTART_MS};
use crate::signalling::codes::ErrorCode;
use crate::signalling::ids::Id;
use crate::signalling::limits::Meter;
use crate::signalling::message::{PeerState, Reply, Step, Why};
use crate::time::Now;

use super::negotiate::Context;

/// A side that hears nothing for so long gets new paths …
const STALLED_RESTART_MS: u64 = 5_000;
/// … and one that still hears nothing has lost its partner.
const STALLED_LOST_MS: u64 = 20_000;

impl Desk {
    /// Somebody asks for new paths.
    pub(super) fn restart(&mut self, context: Context) {
        let Context { now, from, q, call: id, .. } = context;
        let Some(call) = self.calls.get(&id) else { return };
        if !call.connected {
            return self.refuse(now, from, q, ErrorCode::State);
        }
        let Some(session) = self.sessions.get_mut(&from) else { return };
        if let Err(retry_ms) = session.meters.take(Meter::Restart, now.mono) {
            return self.too_often(now, from, q, Some(retry_ms));
        }
        // Both often ask at once; who comes second has been told already.
        if call.restarted.is_none() {
            self.begin_restart(now, id, Some((context.side, q)));
        }
    }

    /// A new generation with fresh credentials for both; what the old one still sends is stale.
    pub(super) fn begin_restart(&mut self, now: Now, id: Id, asked: Option<(Side, Option<u64>)>) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        if call.generation > MAX_RESTARTS {
            return self.end_for_both(id, Why::Failed);
        }
        call.generation += 1;
        (call.restarted, call.offered) = (Some(now.mono), None);
        Side::BOTH.iter().for_each(|side| call.seat_mut(*side).renew());
        let (generation, direct) = (call.generation, call.direct);
        let seats = Side::BOTH.map(|side| (side, call.seat(side).connection, call.seat(side).handle));
        self.counters.count_restart();
        self.timers.set(now.mono.after(RESTART_MS), Timer::Restarted(id, generation));
        for (side, to, handle) in seats {
            let q = asked.filter(|(asker, _)| *asker == side).and_then(|(_, q)| q);
            let ice = self.ice(now, handle, generation, direct);
            let frame = Reply::Restart { q, call: id, generation, ice: &ice, deadline_ms: RESTART_MS }.frame();
            self.tell_generation(to, generation);
            self.send_frame(to, frame);
        }
        self.trace_both(id, Step::Restarted);
    }

    pub(super) fn restart_due(&mut self, now: Now, id: Id, generation: u32) {
        let Some(call) = self.calls.get(&id).filter(|call| call.generation == generation) else { return };
        let Some(since) = call.restarted else { return };
        // Clients that do not say so may hear each other all the same.
        if call.is_heard_since(since) {
            self.connected(now, id, since);
        } else {
            self.end_for_both(id, Why::Failed);
        }
    }

    /// One side begins to miss the other.
    pub(super) fn stalled(&mut self, now: Now, id: Id, side: Side) {
        let Some(call) = self.calls.get_mut(&id).filter(|call| call.connected) else { return };
        let seat = call.seat_mut(side);
        if seat.stalled.is_some() {
            return;
        }
        seat.stalled = Some(now.mono);
        let (to, watched) = (seat.connection, std::mem::replace(&mut seat.watched, true));
        if !watched {
            self.timers.set(now.mono.after(STALLED_RESTART_MS), Timer::Stalled(id, side));
        }
        self.send(to, &Reply::Peer { call: id, s: PeerState::Stalled });
        self.trace(id, side, Step::Silence);
    }

    pub(super) fn still_stalled(&mut self, now: Now, id: Id, side: Side) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let restarting = call.restarted.is_some();
        let seat = call.seat_mut(side);
        let Some(since) = seat.stalled else {
            seat.watched = false;
            return;
        };
        let silence = now.mono.since(since);
        if silence >= STALLED_LOST_MS {
            return self.end_for_both(id, Why::Lost);
        }
        let next = if silence >= STALLED_RESTART_MS { STALLED_LOST_MS } else { STALLED_RESTART_MS };
        self.timers.set(since.after(next), Timer::Stalled(id, side));
        if !restarting && silence >= STALLED_RESTART_MS {
            self.begin_restart(now, id, None);
        }
    }

    /// One reason to miss the other is gone; it may be the last.
    pub(super) fn heard_again(&mut self, id: Id, side: Side) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        if call.seat(side).ice_lost || call.seat(side.other()).hearing.silent {
            return;
        }
        let seat = call.seat_mut(side);
        let to = seat.connection;
        if seat.stalled.take().is_some() {
            self.send(to, &Reply::Peer { call: id, s: PeerState::Back });
            self.trace(id, side, Step::HeardAgain);
        }
    }
}
