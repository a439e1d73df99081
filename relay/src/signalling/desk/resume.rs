//! Connections that break, and how their sessions go on (matching.md §4.1, §4.4).
//!
//! A session whose connection breaks is *away* for at most [`RESUME_MS`]: a ticket of it is out of the queue and keeps its t0 (PAUSED), a
//! call that stands goes on (its media does not depend on this connection), one that does not stand yet is given up, because a stranger
//! should not wait for somebody who may not come back. The session's number and key, the key good once, bring it back on another connection.

use subtle::ConstantTimeEq as _;

use super::end::MAX_FAILURES;
use super::queue::Entry;
use super::session::{Paused, Place, Session, Side};
use super::timers::Timer;
use super::words::Word;
use super::{Connection, Desk, LAST_CALL_MS, Output, RESUME_MS};
use crate::signalling::codes::{CloseCode, ErrorCode};
use crate::signalling::ids::Id;
use crate::signalling::limits::Meter;
use crate::signalling::message::{PeerState, Reply, Resume, Resumed, StateWord, TextFrame};
use crate::time::Now;

impl Desk {
    /// The connection broke without a word.
    pub(super) fn break_off(&mut self, now: Now, connection: Connection) {
        let Some(session) = self.sessions.get_mut(&connection) else { return };
        if session.caller.is_none() {
            return self.forget(now, connection);
        }
        if !std::mem::replace(&mut session.away, true) {
            self.away += 1;
        }
        self.timers.set(now.mono.after(RESUME_MS), Timer::Gone(connection));
        match session.place {
            Place::New | Place::Idle | Place::Paused(_) => {}
            Place::Queued(_) => self.pause(connection),
            Place::InCall(call, side) => self.part_from_call(now, connection, call, side),
            Place::Abroad(_) => self.tell_host(connection, &Word::Broke),
        }
    }

    pub(super) fn pause(&mut self, connection: Connection) {
        let Some(session) = self.sessions.get_mut(&connection) else { return };
        if let Place::Queued(waiting) = std::mem::replace(&mut session.place, Place::Idle) {
            session.place =
                Place::Paused(Paused { handle: Some(waiting.handle), since: waiting.since, offer: waiting.offer });
            self.queues.cancel(self.clock, waiting.id);
            self.waiting.remove(&waiting.id);
        }
    }

    pub(super) fn part_from_call(&mut self, now: Now, connection: Connection, id: Id, side: Side) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        if call.connected {
            call.seat_mut(side).away = true;
            return self.tell_partner(id, side, &Reply::Peer { call: id, s: PeerState::Reconnecting });
        }
        let since = call.seat(side).since;
        self.lost(now, id, side);
        let Some(session) = self.sessions.get_mut(&connection) else { return };
        let Some(caller) = session.caller.as_mut() else { return };
        // Who breaks off in one set-up after the other does not keep a place by it.
        caller.failures = caller.failures.saturating_add(1);
        if caller.failures < MAX_FAILURES {
            session.place = Place::Paused(Paused { handle: None, since, offer: None });
        }
    }

    /// Nobody came back in time.
    pub(super) fn gone(&mut self, now: Now, connection: Connection) {
        if self.sessions.get(&connection).is_some_and(|session| session.away) {
            self.forget(now, connection);
        }
    }

    /// The connection whose session this resumes, if number and key are right and nothing it missed is lost.
    pub(super) fn resumable(&mut self, now: Now, resume: &Resume) -> Option<Connection> {
        let (sid, key) = (resume.sid.0?, resume.key.0?);
        let connection = *self.sids.get(&sid)?;
        let session = self.sessions.get_mut(&connection)?;
        let caller = session.caller.as_ref()?;
        let known = bool::from(caller.key.0.ct_eq(&key.0)) && session.replay.reaches_back_to(resume.n);
        (known && session.meters.take(Meter::Resume, now.mono).is_ok()).then_some(connection)
    }

    /// Moves a session from its old connection to this one. Of two connections the newer one wins.
    pub(super) fn resume(&mut self, now: Now, from: Connection, q: Option<u64>, old: Connection, n: u64) {
        let Some(mut session) = self.sessions.remove(&old) else { return };
        if session.away {
            self.away -= 1;
        } else {
            self.bid_farewell(old);
        }
        (session.away, session.tidying) = (false, false);
        let missed: Vec<String> = session.replay.after(n).map(str::to_owned).collect();
        session.replay.acknowledged(n);
        let key = Id::random(&mut self.rng);
        if let Some(caller) = session.caller.as_mut() {
            caller.key = key;
            self.people.insert(caller.claims.person, from);
            self.sids.insert(caller.sid, from);
        }
        let resumed = self.settle_in(now, from, &mut session);
        self.sessions.insert(from, session);
        self.counters.count_resumed();
        self.greet(now, from, q, Some(resumed));
        for json in missed {
            self.outputs.push_back(Output::Frame { to: from, frame: TextFrame { json, droppable: false } });
        }
        self.tidy_later(now, from);
        self.take_up_again(now, from);
        self.tell_pass(now, from);
    }

    fn bid_farewell(&mut self, old: Connection) {
        let code = ErrorCode::Replaced;
        self.counters.count_error(code);
        self.send(old, &Reply::error(None, code, None));
        self.outputs.push_back(Output::Close { to: old, code: code.close().unwrap_or(CloseCode::AWAY) });
    }

    /// Points at the new connection whatever pointed at the old one.
    fn settle_in(&mut self, now: Now, from: Connection, session: &mut Session) -> Resumed {
        let waits = Resumed { state: StateWord::Queued, call: None, generation: None, q: session.heard };
        match &session.place {
            Place::New | Place::Idle => Resumed { state: StateWord::Idle, ..waits },
            Place::Paused(_) => waits,
            Place::Queued(waiting) => {
                self.waiting.insert(waiting.id, from);
                self.timers.set(now.mono.after(super::queue::POSITION_MS), Timer::Position(from, waiting.id));
                waits
            }
            &Place::InCall(id, side) => {
                let generation = self.calls.get_mut(&id).map(|call| {
                    call.seat_mut(side).connection = from;
                    call.generation
                });
                Resumed { state: StateWord::Call, call: Some(id), generation, ..waits }
            }
            Place::Abroad(abroad) => self.resumed_abroad(now, from, abroad, waits),
        }
    }

    /// Back in the queue with the old seniority, back in the call.
    fn take_up_again(&mut self, now: Now, from: Connection) {
        let Some(session) = self.sessions.get_mut(&from) else { return };
        match &mut session.place {
            Place::New | Place::Idle | Place::Queued(_) => {}
            Place::Abroad(_) => self.tell_host(from, &Word::Back),
            Place::Paused(_) => {
                let Place::Paused(paused) = std::mem::replace(&mut session.place, Place::Idle) else { return };
                let Some(caller) = session.caller.as_mut() else { return };
                caller.warm = paused.handle.or(caller.warm);
                let Some(criteria) = caller.wishes else { return };
                self.enqueue(now, from, Entry { q: None, since: paused.since, criteria, offer: paused.offer });
            }
            &mut Place::InCall(id, side) => self.sits_again(id, side),
        }
    }

    /// A side whose connection broke has another one.
    pub(super) fn sits_again(&mut self, id: Id, side: Side) {
        let was_away = self.calls.get_mut(&id).is_some_and(|call| std::mem::take(&mut call.seat_mut(side).away));
        if was_away {
            self.tell_partner(id, side, &Reply::Peer { call: id, s: PeerState::Back });
        }
    }

    /// Forgets in time what is kept for resuming and for reporting.
    pub(super) fn tidy(&mut self, now: Now, connection: Connection) {
        let Some(session) = self.sessions.get_mut(&connection) else { return };
        session.tidying = false;
        session.replay.forget_expired(now.mono);
        if let Some(caller) = session.caller.as_mut() {
            caller.last = caller.last.take().filter(|last| now.mono.since(last.ended) < LAST_CALL_MS);
        }
        self.tidy_later(now, connection);
    }

    /// At most one such timer per session.
    pub(super) fn tidy_later(&mut self, now: Now, connection: Connection) {
        let Some(session) = self.sessions.get_mut(&connection) else { return };
        let remembers = session.caller.as_ref().is_some_and(|caller| caller.last.is_some());
        if !session.tidying && (remembers || !session.replay.is_empty()) {
            session.tidying = true;
            self.timers.set(now.mono.after(RESUME_MS), Timer::Tidy(connection));
        }
    }
}
