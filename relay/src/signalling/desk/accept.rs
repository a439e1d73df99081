//! People who are asked before they are connected (`policy.acceptance`).
//!
//! Both sides prepare meanwhile: offers and the offerer's candidates travel at once. The answer waits here, and without it no voice can
//! pass, so an agreement costs no set-up time and nobody is heard by somebody who has not agreed.

use super::call::EarlyCandidate;
use super::negotiate::Context;
use super::session::Side;
use super::timers::Timer;
use super::{CONNECT_MS, Desk};
use crate::signalling::codes::ErrorCode;
use crate::signalling::ids::Id;
use crate::signalling::limits::Meter;
use crate::signalling::message::{By, Reply, Step, Why};
use crate::time::Now;

impl Desk {
    pub(super) fn accept(&mut self, context: Context) {
        let Context { now, from, q, call: id, side } = context;
        let Some(call) = self.calls.get_mut(&id) else { return };
        if call.agreed() {
            return self.refuse(now, from, q, ErrorCode::State);
        }
        call.seat_mut(side).accepted = true;
        if call.agreed() {
            self.timers.set(now.mono.after(CONNECT_MS), Timer::Connect(id));
            self.release_answer(now, id);
        }
    }

    /// A stranger who is turned away keeps their place; who turns away starts anew when they like.
    pub(super) fn decline(&mut self, context: Context) {
        let Context { now, from, q, call: id, side } = context;
        let Some(call) = self.calls.get(&id) else { return };
        if call.agreed() {
            return self.refuse(now, from, q, ErrorCode::State);
        }
        let Some(session) = self.sessions.get_mut(&from) else { return };
        if let Err(retry_ms) = session.meters.take(Meter::Next, now.mono) {
            return self.too_often(now, from, q, Some(retry_ms));
        }
        let Some(call) = self.dissolve(id, Why::Declined) else { return };
        self.tell_ended(&call, side, q, By::Own, Why::Declined, false);
        self.tell_ended(&call, side.other(), None, By::Peer, Why::Declined, true);
        self.requeue(now, call.seat(side.other()));
    }

    /// Who has not agreed by now has not.
    pub(super) fn accept_due(&mut self, now: Now, id: Id) {
        let Some(call) = self.calls.get(&id).filter(|call| !call.agreed()) else { return };
        let silent = Side::BOTH.map(|side| !call.seat(side).accepted);
        self.fail_setup(now, id, silent, Why::Declined);
    }

    /// Passes on the answer that waits, with the candidates behind it.
    pub(super) fn release_answer(&mut self, now: Now, id: Id) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let (Some(sdp), Some(offerer)) = (call.held.take(), call.offered.take()) else { return };
        let side = offerer.other();
        if !std::mem::replace(&mut call.negotiated, true) {
            self.counters.answer.observe(now.mono.since(call.matched));
            self.timers.set(now.mono, Timer::Listen(id));
        }
        let (generation, warm) = (call.generation, call.is_warm());
        let seat = call.seat_mut(side);
        seat.described = true;
        let (early, handle) = (std::mem::take(&mut seat.early), seat.handle);
        let sdp = if warm { self.with_own_candidates(&sdp, &handle) } else { sdp };
        self.tell_partner(id, side, &Reply::Answer { call: id, generation, sdp: &sdp });
        self.trace_both(id, Step::AnswerPassed);
        self.tell_candidates(id, side, generation, early);
    }

    pub(super) fn tell_candidates(&mut self, call: Id, side: Side, generation: u32, early: Vec<EarlyCandidate>) {
        for EarlyCandidate { line, mid } in early {
            self.tell_partner(call, side, &Reply::Cand { call, generation, c: line.as_deref(), mid: mid.as_deref() });
        }
    }
}
