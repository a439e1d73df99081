//! How calls and connections end. The relay first, then the words: see [`Desk::dissolve`].

use std::sync::Arc;

use super::call::{Call, Seat};
use super::queue::Entry;
use super::session::{Last, Place, Side};
use super::timers::Timer;
use super::{AGE_LOOK_MS, Connection, Desk, MAX_CALL_MS};
use crate::matchmaking::Criteria;
use crate::signalling::codes::ErrorCode;
use crate::signalling::ids::Id;
use crate::signalling::limits::Meter;
use crate::signalling::message::{By, Reply, Why};
use crate::time::Now;

/// Set-ups in a row that may fail without anybody's visible fault before a caller is no longer put back into the queue:
/// somebody whose network lets nothing through should not use up everybody else.
pub(super) const MAX_FAILURES: u8 = 3;

impl Desk {
    pub(super) fn hangup(&mut self, _now: Now, q: Option<u64>, call: Id, side: Side) {
        let Some(call) = self.dissolve(call, Why::Hangup) else { return };
        self.tell_ended(&call, side, q, By::Own, Why::Hangup, false);
        self.tell_ended(&call, side.other(), None, By::Peer, Why::Hangup, false);
    }

    /// Hangs up and waits again, as one transition: there is no moment with two tickets, nor one in which somebody else's
    /// frame could come between.
    pub(super) fn next(&mut self, now: Now, q: Option<u64>, call: Id, side: Side) {
        let Some(from) = self.calls.get(&call).map(|call| call.seat(side).connection) else { return };
        let Some(session) = self.sessions.get_mut(&from) else { return };
        if !session.caller.as_ref().is_some_and(|caller| caller.claims.may_next) {
            return self.refuse(now, from, q, ErrorCode::Criteria);
        }
        if let Err(retry_ms) = session.meters.take(Meter::Next, now.mono) {
            return self.too_often(now, from, q, Some(retry_ms));
        }
        let Some(call) = self.dissolve(call, Why::Next) else { return };
        self.tell_ended(&call, side, q, By::Own, Why::Next, false);
        self.tell_ended(&call, side.other(), None, By::Peer, Why::Next, false);
        if let Some(criteria) = self.last_wishes(from) {
            self.enqueue(now, from, Entry { q, since: now.mono, criteria, offer: None });
        }
    }

    /// Somebody sleeps: the others keep their place.
    pub(super) fn ack_due(&mut self, now: Now, id: Id) {
        let Some(call) = self.calls.get(&id) else { return };
        let asleep = Side::BOTH.map(|side| !call.seat(side).awake);
        if asleep.contains(&true) {
            self.fail_setup(now, id, asleep, Why::Asleep);
        }
    }

    pub(super) fn description_due(&mut self, now: Now, id: Id) {
        let Some(call) = self.calls.get(&id) else { return };
        let Some(owing) = call.owes_description() else { return };
        if now.mono < call.description_due {
            return self.timers.set(call.description_due, Timer::Description(id));
        }
        self.fail_setup(now, id, Side::BOTH.map(|side| side == owing), Why::Deadline);
    }

    /// The call must stand by now; from here on its age is looked at from time to time.
    pub(super) fn connect_due(&mut self, now: Now, id: Id) {
        let Some(call) = self.calls.get(&id) else { return };
        if !call.connected {
            self.unconnected(now, id, Why::Deadline);
        } else if now.mono.since(call.matched) >= MAX_CALL_MS {
            self.end_for_both(id, Why::Deadline);
        } else {
            self.timers.set(now.mono.after(AGE_LOOK_MS), Timer::Connect(id));
        }
    }

    pub(super) fn ice_failed(&mut self, now: Now, id: Id) {
        let Some(call) = self.calls.get(&id) else { return };
        match (call.connected, call.restarted) {
            (false, _) => self.unconnected(now, id, Why::Failed),
            // New paths may lead where the old ones no longer do; if those fail too, none does.
            (true, None) => self.begin_restart(now, id, None),
            (true, Some(_)) => self.end_for_both(id, Why::Failed),
        }
    }

    /// Ends a call that stood, at nobody's wish.
    pub(super) fn end_for_both(&mut self, id: Id, why: Why) {
        let Some(call) = self.dissolve(id, why) else { return };
        for side in Side::BOTH {
            self.tell_ended(&call, side, None, By::Server, why, false);
        }
    }

    /// A set-up that led to no connection. At fault is who never described itself or, on a relayed call, never
    /// allocated, or has been here too often.
    fn unconnected(&mut self, now: Now, id: Id, why: Why) {
        let Some(call) = self.calls.get(&id) else { return };
        let seats = Side::BOTH.map(|side| call.seat(side).connection);
        let mut fault = Side::BOTH.map(|side| {
            let seat = call.seat(side);
            let allocated = call.direct || !self.relay.relayed(&seat.handle).is_empty();
            !seat.connected && (!seat.described || !allocated)
        });
        let blameless = fault == [false, false];
        for (connection, fault) in seats.iter().zip(&mut fault) {
            let Some(session) = self.sessions.get_mut(connection) else { continue };
            let Some(caller) = session.caller.as_mut() else { continue };
            if blameless {
                caller.failures = caller.failures.saturating_add(1);
                *fault = caller.failures >= MAX_FAILURES;
            }
        }
        self.fail_setup(now, id, fault, why);
    }

    /// Ends a call that never was one. Who is at fault becomes idle; who is not goes back with seniority.
    pub(super) fn fail_setup(&mut self, now: Now, id: Id, fault: [bool; 2], why: Why) {
        let Some(call) = self.dissolve(id, why) else { return };
        for (side, at_fault) in Side::BOTH.into_iter().zip(fault) {
            if at_fault {
                self.refuse(now, call.seat(side).connection, None, ErrorCode::Deadline);
                self.tell_ended(&call, side, None, By::Server, why, false);
            } else {
                let other_at_fault = fault != [false, false];
                let by = if other_at_fault { By::Peer } else { By::Server };
                self.tell_ended(&call, side, None, by, why, true);
                self.requeue(now, call.seat(side));
            }
        }
    }

    pub(super) fn requeue(&mut self, now: Now, seat: &Seat) {
        if let Some(criteria) = self.last_wishes(seat.connection) {
            self.enqueue(now, seat.connection, Entry { q: None, since: seat.since, criteria, offer: None });
        }
    }

    fn last_wishes(&self, of: Connection) -> Option<Criteria> {
        self.sessions.get(&of)?.caller.as_ref()?.wishes
    }

    /// Everything a connection leaves behind.
    pub(super) fn forget(&mut self, now: Now, connection: Connection) {
        let Some(session) = self.sessions.remove(&connection) else { return };
        self.let_go(now, connection);
        self.away -= usize::from(session.away);
        if let Some(caller) = session.caller {
            if self.people.get(&caller.claims.person) == Some(&connection) {
                self.people.remove(&caller.claims.person);
            }
            self.sids.remove(&caller.sid);
            if let Some(warm) = caller.warm {
                self.relay.close(warm);
            }
        }
        match session.place {
            Place::New | Place::Idle => {}
            Place::Paused(paused) => {
                if let Some(handle) = paused.handle {
                    self.relay.close(handle);
                }
            }
            Place::Queued(waiting) => self.spend(&waiting),
            Place::InCall(call, side) => self.lost(now, call, side),
            Place::Abroad(abroad) => self.end_shared(now, abroad.call),
        }
    }

    /// One side of a call is gone.
    pub(super) fn lost(&mut self, now: Now, id: Id, gone: Side) {
        let Some(call) = self.dissolve(id, Why::Lost) else { return };
        let stays = gone.other();
        self.tell_ended(&call, stays, None, By::Peer, Why::Lost, !call.connected);
        // Hears it if its session is resumed.
        self.tell_ended(&call, gone, None, By::Server, Why::Lost, !call.connected);
        if !call.connected {
            self.requeue(now, call.seat(stays));
        }
    }

    /// Takes the call apart: its routes are dead and its seats empty before anybody is told.
    pub(super) fn dissolve(&mut self, id: Id, why: Why) -> Option<Call> {
        let call = self.calls.remove(&id)?;
        self.count_quality(&call);
        for side in Side::BOTH {
            let seat = call.seat(side);
            self.relay.close(seat.handle);
            let other = call.seat(side.other());
            let Some(session) = self.sessions.get_mut(&seat.connection) else { continue };
            session.place = Place::Idle;
            session.replay.wipe();
            if let Some(caller) = session.caller.as_mut() {
                let (person, sub) = (other.person, Arc::clone(&other.sub));
                caller.last = Some(Last { call: id, person, sub, side: side.other(), ended: self.clock.mono });
            }
            self.stands_up(seat.connection);
            self.tidy_later(self.clock, seat.connection);
        }
        self.counters.count_ended(why);
        Some(call)
    }

    pub(super) fn tell_ended(&mut self, call: &Call, side: Side, q: Option<u64>, by: By, why: Why, requeued: bool) {
        let to = call.seat(side).connection;
        if self.is_guest(to) {
            return self.see_guest_off(call, side, (q, by, why), requeued);
        }
        if self.sessions.contains_key(&to) {
            self.send(to, &Reply::Ended { q, call: call.id, by, why, requeued });
            if !call.connected && !requeued {
                self.tell_pass(self.clock, to);
            }
        }
    }
}
