//! What two people in a call send each other through the desk. Whoever names a call that is not theirs, not there or
//! over gets one and the same answer.

use super::call::{EarlyCandidate, MAX_EARLY, Seat};
use super::session::{Place, Side};
use super::timers::Timer;
use super::{Connection, DESCRIPTION_MS, Desk};
use crate::calls::Handle;
use crate::signalling::candidate::{self, Verdict};
use crate::signalling::codes::ErrorCode;
use crate::signalling::evidence::Said;
use crate::signalling::ids::Id;
use crate::signalling::limits::Meter;
use crate::signalling::message::{Cand, IceState, Reply, Request, SdpFrame, Step, TextRequest};
use crate::signalling::sdp::{self, Kind};
use crate::time::{Millis, Now};

/// `typing` is passed on this often.
const TYPING_MS: u64 = 1_000;

/// A request about the sender's own call.
#[derive(Clone, Copy)]
pub(super) struct Context {
    pub(super) now: Now,
    pub(super) from: Connection,
    pub(super) q: Option<u64>,
    pub(super) call: Id,
    pub(super) side: Side,
}

impl Desk {
    pub(super) fn of_call(&mut self, now: Now, from: Connection, q: Option<u64>, request: Request) {
        let place = self.sessions.get(&from).map(|session| &session.place);
        let (Some(named), Some(&Place::InCall(call, side))) = (named(&request), place) else {
            return self.refuse(now, from, q, ErrorCode::Call);
        };
        if named != call {
            return self.refuse(now, from, q, ErrorCode::Call);
        }
        self.wake(now, call, side);
        let context = Context { now, from, q, call, side };
        match request {
            Request::Offer(frame) => self.description(context, Kind::Offer, &frame),
            Request::Answer(frame) => self.description(context, Kind::Answer, &frame),
            Request::Cand(cand) => self.cand(context, cand),
            Request::Ice { state, .. } => self.ice_state(context, state),
            Request::Text(text) => self.text(context, &text),
            Request::Typing { .. } => self.typing(now, call, side),
            Request::Mic { state, .. } => self.microphone(context, state),
            Request::Heard { downlink, .. } => self.downlink(context, downlink),
            Request::Accept { .. } => self.accept(context),
            Request::Decline { .. } => self.decline(context),
            Request::Restart { .. } => self.restart(context),
            Request::Hangup { .. } => self.hangup(now, q, call, side),
            Request::Next { .. } => self.next(now, q, call, side),
            // `ack` says no more than any frame of the call: somebody is there.
            _ => {}
        }
    }

    fn wake(&mut self, now: Now, id: Id, side: Side) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        if !std::mem::replace(&mut call.seat_mut(side).awake, true) {
            self.counters.ack.observe(now.mono.since(call.matched));
            self.trace(id, side, Step::Awake);
        }
    }

    fn description(&mut self, context: Context, kind: Kind, frame: &SdpFrame) {
        let Context { now, from, q, call, side } = context;
        let Some(state) = self.calls.get_mut(&call) else { return };
        if !state.seat_mut(side).spend_description() {
            return self.too_often(now, from, q, None);
        }
        if frame.generation < state.generation {
            return;
        }
        if frame.generation > state.generation {
            return self.refuse(now, from, q, ErrorCode::Generation);
        }
        let in_turn = match kind {
            Kind::Offer => state.may_offer(side),
            Kind::Answer => state.offered == Some(side.other()) && state.held.is_none(),
        };
        if !in_turn {
            return self.refuse(now, from, q, ErrorCode::State);
        }
        let generation = state.generation;
        let Ok(sdp) = sdp::rebuild(&frame.sdp, kind, generation) else {
            return self.refuse(now, from, q, ErrorCode::Sdp);
        };
        match kind {
            Kind::Offer => self.offer(now, call, side, &sdp),
            Kind::Answer => {
                state.held = Some(sdp);
                if state.agreed() {
                    self.release_answer(now, call);
                }
            }
        }
    }

    fn offer(&mut self, now: Now, id: Id, side: Side, sdp: &str) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.offered = Some(side);
        // The answer to an offer that was overtaken would fit neither.
        call.held = None;
        if !call.negotiated {
            call.description_due = now.mono.after(DESCRIPTION_MS);
            self.timers.set(call.description_due, Timer::Description(id));
        }
        let (generation, warm) = (call.generation, call.is_warm());
        let seat = call.seat_mut(side);
        seat.described = true;
        let (early, handle) = (std::mem::take(&mut seat.early), seat.handle);
        let sdp = if warm { &self.with_own_candidates(sdp, &handle) } else { sdp };
        self.tell_partner(id, side, &Reply::Offer { call: id, generation, sdp });
        self.trace_both(id, Step::OfferPassed);
        self.tell_candidates(id, side, generation, early);
    }

    /// What a warm relay was issued needs no word of its client's: the partner can check it at once (matching.md §4.6, §4.8). In later
    /// generations addresses of the one before may still be held, so the client says which are meant.
    pub(super) fn with_own_candidates(&self, sdp: &str, handle: &Handle) -> String {
        sdp::with_candidates(sdp, candidate::of_issued(&self.relay.relayed(handle)))
    }

    fn cand(&mut self, context: Context, cand: Cand) {
        let Context { now, from, q, call, side } = context;
        let Some(state) = self.calls.get_mut(&call) else { return };
        if !state.seat_mut(side).spend_candidate() {
            return self.too_often(now, from, q, None);
        }
        if cand.generation < state.generation {
            return;
        }
        if cand.generation > state.generation {
            return self.refuse(now, from, q, ErrorCode::Generation);
        }
        if cand.mid.as_deref().is_some_and(|mid| !sdp::is_mid(mid)) {
            return self.refuse(now, from, q, ErrorCode::Candidate);
        }
        let (direct, generation, seat) = (state.direct, state.generation, state.seat_mut(side));
        let line = match cand.c.filter(|line| !line.is_empty()) {
            None => None,
            Some(line) => {
                let issued = self.relay.relayed(&seat.handle);
                let judge = if direct { candidate::direct } else { candidate::relay_only };
                match judge(&line, &issued) {
                    Verdict::Pass(line) => Some(line),
                    Verdict::Drop => return self.trace(call, side, Step::CandidateDropped),
                    Verdict::Refuse => return self.refuse(now, from, q, ErrorCode::Candidate),
                }
            }
        };
        if seat.described {
            let (c, mid) = (line.as_deref(), cand.mid.as_deref());
            self.tell_partner(call, side, &Reply::Cand { call, generation, c, mid });
            self.trace(call, side, Step::CandidatePassed);
        } else if !hold(seat, EarlyCandidate { line, mid: cand.mid }) {
            self.too_often(now, from, q, None);
        }
    }

    fn ice_state(&mut self, context: Context, state: IceState) {
        let Context { now, from, q, call, side } = context;
        let Some(found) = self.calls.get_mut(&call) else { return };
        match state {
            IceState::Checking => {}
            IceState::Disconnected => {
                found.seat_mut(side).ice_lost = true;
                self.stalled(now, call, side);
            }
            IceState::Failed => self.ice_failed(now, call),
            IceState::Connected if !found.negotiated => self.refuse(now, from, q, ErrorCode::State),
            IceState::Connected => {
                found.seat_mut(side).connected = true;
                found.seat_mut(side).ice_lost = false;
                let both = Side::BOTH.iter().all(|side| found.seat(*side).connected);
                let since = match (both, found.restarted, found.connected) {
                    (true, Some(restarted), _) => Some(restarted),
                    (true, None, false) => Some(found.matched),
                    _ => None,
                };
                self.heard_again(call, side);
                if let Some(since) = since {
                    self.connected(now, call, since);
                }
            }
        }
    }

    /// Both hear each other, for the first time or after a restart.
    pub(super) fn connected(&mut self, now: Now, id: Id, since: Millis) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let setup_ms = now.mono.since(since);
        call.restarted = None;
        let first = !std::mem::replace(&mut call.connected, true);
        let seats = Side::BOTH.map(|side| call.seat(side).connection);
        if first {
            self.counters.count_connected();
            self.counters.setup.observe(setup_ms);
        }
        for connection in seats {
            if let Some(caller) = self.sessions.get_mut(&connection).and_then(|session| session.caller.as_mut()) {
                caller.failures = 0;
            }
            self.guest_connected(connection);
            self.send(connection, &Reply::Connected { call: id, setup_ms });
            self.tell_pass(now, connection);
        }
        self.trace_both(id, Step::Connected);
    }

    /// In-call text: passed on and forgotten.
    fn text(&mut self, context: Context, text: &TextRequest) {
        let Context { now, from, q, call, side } = context;
        let Some(state) = self.calls.get(&call) else { return };
        let seats = Side::BOTH.map(|side| state.seat(side).connection);
        let may = |connection: &Connection| {
            let caller = self.sessions.get(connection).and_then(|session| session.caller.as_ref());
            caller.is_some_and(|caller| caller.claims.may_text)
        };
        if !seats.iter().all(may) {
            return self.refuse(now, from, q, ErrorCode::Criteria);
        }
        let Some(session) = self.sessions.get_mut(&from) else { return };
        if let Err(retry_ms) = session.meters.take(Meter::Text, now.mono) {
            return self.too_often(now, from, q, Some(retry_ms));
        }
        self.counters.count_text();
        let tag = self.tags.stamp(now.unix, Said { call, side: side.number(), k: text.k, b: &text.b });
        self.tell_partner(call, side, &Reply::Text { call, k: text.k, b: &text.b, tag: &tag });
    }

    /// At most one a second: more says no more.
    fn typing(&mut self, now: Now, call: Id, side: Side) {
        let Some(seat) = self.calls.get_mut(&call).map(|call| call.seat_mut(side)) else { return };
        if seat.typed.is_none_or(|at| now.mono.since(at) >= TYPING_MS) {
            seat.typed = Some(now.mono);
            self.tell_partner(call, side, &Reply::Typing { call });
        }
    }

    pub(super) fn tell_partner(&mut self, call: Id, side: Side, reply: &Reply<'_>) {
        if let Some(to) = self.calls.get(&call).map(|call| call.seat(side.other()).connection) {
            self.send(to, reply);
        }
    }
}

/// The call that a request is about which only a call's two sides may make.
pub(super) const fn named(request: &Request) -> Option<Id> {
    match request {
        Request::Ack { call }
        | Request::Accept { call }
        | Request::Decline { call }
        | Request::Restart { call }
        | Request::Ice { call, .. }
        | Request::Typing { call }
        | Request::Mic { call, .. }
        | Request::Heard { call, .. }
        | Request::Hangup { call }
        | Request::Next { call } => call.0,
        Request::Offer(frame) | Request::Answer(frame) => frame.call.0,
        Request::Cand(cand) => cand.call.0,
        Request::Text(text) => text.call.0,
        _ => None,
    }
}

/// Keeps a candidate until its description; false if that many cannot be kept.
fn hold(seat: &mut Seat, candidate: EarlyCandidate) -> bool {
    let room = seat.early.len() < MAX_EARLY;
    if room {
        seat.early.push(candidate);
    }
    room
}
