//! Another process takes the place of this one, and everybody keeps theirs (`relay upgrade`).
//!
//! In the old one: [`Desk::hold`], and no new match is made; when no call is in set-up any more, or it has taken too long, [`Desk::pack`].
//! Whoever is packed hears close code 1012 ([`Desk::dismiss`]) and resumes with the other process, where [`Desk::unpack`] has made them sessions
//! whose connection broke. What cannot move, calls with media that comes over a stream, stays here and is served as in a drain.
//!
//! Until the other process has taken over nothing is lost: [`Desk::go_on`] after `hold`, [`Desk::take_back`] after `pack`. What is packed must
//! come back to one desk only, once. The allocations of [`Packed::moves`] move with it, and no others: `pack` leaves their handles open on
//! this relay, `unpack` opens and pairs them on the other one, where allocations can be given to them from then on.

use std::sync::Arc;

use super::call::Call;
use super::hearing::LOOK_MS;
use super::packed::{BadPacked, Contents, Packed};
use super::session::{Paused, Place, Session, Side};
use super::timers::Timer;
use super::trust::Pending;
use super::{AGE_LOOK_MS, Connection, Counters, Desk, Output, RESTART_MS, RESUME_MS, Settings};
use crate::calls::Handle;
use crate::matchmaking::Recent;
use crate::signalling::codes::{CloseCode, ErrorCode};
use crate::signalling::ids::Id;
use crate::signalling::message::{By, PeerState, Reply, Why};
use crate::signalling::relay_desk::RelayDesk;
use crate::signalling::token::Verifier;
use crate::time::Now;

/// How far this desk is on its way to another process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Handing {
    #[default]
    Nothing,
    /// No new matches.
    Held,
    /// What could move has moved.
    Packed,
}

impl Desk {
    /// From now on tickets wait and nobody is matched; everything else goes on, calls in set-up to their end.
    pub fn hold(&mut self, now: Now) {
        self.clock = now;
        self.queues.hold(now);
        if self.handing == Handing::Nothing {
            self.handing = Handing::Held;
        }
        self.settle(now);
    }

    /// What could move has been packed and has not come back.
    pub fn has_moved(&self) -> bool {
        self.handing == Handing::Packed
    }

    /// Undoes [`Desk::hold`]: who has waited for each other is matched at once.
    pub fn go_on(&mut self, now: Now) {
        self.clock = now;
        self.queues.go_on(now);
        self.handing = Handing::Nothing;
        self.settle(now);
    }

    /// Packs whoever can move, and forgets them; what they say is not heard until [`Desk::dismiss`]. A call one of whose handles `stays` stays whole; a call in
    /// set-up is over, at nobody's fault. What `stays` for somebody in no call is closed: the other desk finds them another place.
    ///
    /// A report that is still on its way goes on from here; who made it is told to try again, for the answer could not follow them: rather
    /// delivered twice than not at all.
    ///
    /// `None` if nothing could be packed, which is a fault of this program: everybody is away then, here.
    pub fn pack(&mut self, now: Now, stays: &dyn Fn(&Handle) -> bool) -> Option<Packed> {
        self.clock = now;
        self.queues.hold(now);
        self.give_up_set_ups();
        self.end_hosted();
        self.come_home(now);
        self.handing = Handing::Packed;
        let contents = self.take_out(now, stays);
        let packed = Packed::new(self, &contents);
        if packed.is_none() {
            self.handing = Handing::Held;
            self.install(now, contents);
            self.dismiss(now);
        }
        self.settle(now);
        packed
    }

    /// The other process did not take over: what this desk has packed is back, everybody away. Matches are made once [`Desk::go_on`] says so.
    ///
    /// # Errors
    /// [`BadPacked`]: nothing is changed.
    pub fn take_back(&mut self, now: Now, packed: &Packed) -> Result<(), BadPacked> {
        self.clock = now;
        let (contents, _) = packed.open()?;
        self.handing = Handing::Held;
        self.install(now, contents);
        self.dismiss(now);
        Ok(())
    }

    /// Everybody who is packed hears close code 1012. Ten thousand who close and come back are more work than all else in an upgrade:
    /// not before the media is where they come to.
    pub fn dismiss(&mut self, now: Now) {
        self.clock = now;
        for to in std::mem::take(&mut self.packed_lines) {
            self.outputs.push_back(Output::Close { to, code: CloseCode::RESTART });
        }
        self.settle(now);
    }

    /// A desk that goes on where another one stood, with settings of its own. Everybody is away for [`RESUME_MS`] from now. For the rest it is
    /// as after [`Desk::adopt`]: what stands goes on as it began.
    ///
    /// # Errors
    /// [`BadPacked`].
    pub fn unpack(
        settings: Settings,
        relay: Box<dyn RelayDesk>,
        seed: [u8; 32],
        counters: Arc<Counters>,
        packed: &Packed,
        now: Now,
    ) -> Result<Desk, BadPacked> {
        let mut desk = Desk::new(settings, relay, seed, counters);
        desk.take_over(now, packed)?;
        Ok(desk)
    }

    /// The same for a desk at which nobody has sat yet.
    ///
    /// # Errors
    /// [`BadPacked`]: nothing is changed.
    pub fn take_over(&mut self, now: Now, packed: &Packed) -> Result<(), BadPacked> {
        self.clock = now;
        let (mut contents, knowledge) = packed.open()?;
        // With its pepper, whatever the cluster's key is by now: who is here is known by it, and who is blocked. See `people_mark`.
        self.verifier = Verifier::with_memory(self.settings.token.clone(), knowledge.memory);
        self.tags = knowledge.tags;
        if let Some(secret) = self.settings.tag_secret {
            self.tags.move_on(secret);
        }
        if self.settings.matching.recent != Recent::Allow {
            self.recent = knowledge.recent;
        }
        self.blocks = knowledge.blocks;
        self.deny = knowledge.deny;
        self.tickets = knowledge.tickets;
        self.sealed = self.settings.await_revocations && (knowledge.sealed || !knowledge.open);
        self.counters.set_awaiting_revocations(self.sealed);
        if !self.settings.open {
            contents.sessions.retain(|session| matches!(session.place, Place::InCall(..)));
        }
        let lost = self.open_on_relay(&mut contents);
        let calls: Vec<_> = contents.calls.iter().map(|call| call.id).collect();
        self.install(now, contents);
        for call in calls.iter().filter_map(|id| self.calls.get(id)) {
            let (waiter, handle) = (call.waiter.connection, call.waiter.handle);
            if let Some(pool) = self.claims(waiter).map(|claims| claims.pool.clone()) {
                self.relay.count_for(handle, &pool);
            }
        }
        lost.into_iter().for_each(|call| self.end_for_both(call, Why::Lost));
        self.settle(now);
        Ok(())
    }
}

impl Desk {
    /// As when a connection breaks in set-up, but that neither side is to blame.
    fn give_up_set_ups(&mut self) {
        let in_set_up = self.calls.values().filter(|call| !call.connected).map(|call| call.id);
        let mut in_set_up: Vec<Id> = in_set_up.collect();
        in_set_up.sort_unstable();
        for id in in_set_up {
            let Some(call) = self.dissolve(id, Why::Lost) else { continue };
            for side in Side::BOTH {
                let seat = call.seat(side);
                self.tell_ended(&call, side, None, By::Server, Why::Lost, true);
                if let Some(session) = self.sessions.get_mut(&seat.connection) {
                    session.place = Place::Paused(Paused { handle: None, since: seat.since, offer: None });
                }
            }
        }
    }

    /// Takes out of every table what moves, and says goodbye to it.
    fn take_out(&mut self, now: Now, stays: &dyn Fn(&Handle) -> bool) -> Contents {
        let moves = |call: &mut Call| !Side::BOTH.iter().any(|side| stays(&call.seat(*side).handle));
        let mut calls: Vec<Call> = self.calls.extract_if(|_, call| moves(call)).map(|(_, call)| call).collect();
        calls.sort_unstable_by_key(|call| call.id);
        let mut bound: Vec<_> = self.bound.extract_if(|_, bound| !bound.handles.iter().any(stays)).collect();
        bound.sort_unstable_by_key(|(id, _)| *id);
        let here = |session: &Session| matches!(session.place, Place::InCall(id, _) if self.calls.contains_key(&id));
        let going = self.sessions.iter().filter(|(_, session)| !here(session)).map(|(connection, _)| *connection);
        let mut going: Vec<Connection> = going.collect();
        going.sort_unstable();
        self.answer_reports(now, &going);
        let sessions = going.into_iter().filter_map(|connection| self.part_with(connection, stays)).collect();
        Contents { sessions, calls, bound }
    }

    fn answer_reports(&mut self, now: Now, going: &[Connection]) {
        let moves =
            |pending: &Pending| self.sids.get(&pending.sid).filter(|at| going.binary_search(at).is_ok()).copied();
        let under_way = self.reports.iter().filter_map(|(id, pending)| Some((*id, moves(pending)?, pending.q)));
        let mut under_way: Vec<_> = under_way.collect();
        under_way.sort_unstable();
        for (id, to, q) in under_way {
            self.reports.remove(&id);
            self.refuse(now, to, q, ErrorCode::ReportRetry);
        }
    }

    /// The session of this connection, away; `None` if it is nobody's yet.
    fn part_with(&mut self, connection: Connection, stays: &dyn Fn(&Handle) -> bool) -> Option<Session> {
        if matches!(self.sessions.get(&connection)?.place, Place::Queued(_)) {
            self.pause(connection);
        }
        let mut session = self.sessions.remove(&connection)?;
        if std::mem::replace(&mut session.away, true) {
            self.away -= 1;
        } else {
            self.packed_lines.push(connection);
        }
        let caller = session.caller.as_mut()?;
        self.sids.remove(&caller.sid);
        self.people.remove(&caller.claims.person);
        let paused = if let Place::Paused(paused) = &mut session.place { Some(&mut paused.handle) } else { None };
        for place in [Some(&mut caller.warm), paused].into_iter().flatten() {
            if let Some(handle) = place.take_if(|handle| stays(handle)) {
                self.relay.close(handle);
            }
        }
        Some(session)
    }

    /// Has this relay know their places. Whoever waits and finds none here finds one on coming back. Calls that found none are returned.
    fn open_on_relay(&mut self, contents: &mut Contents) -> Vec<Id> {
        for session in &mut contents.sessions {
            let paused = if let Place::Paused(paused) = &mut session.place { Some(&mut paused.handle) } else { None };
            let warm = session.caller.as_mut().map(|caller| &mut caller.warm);
            for place in [warm, paused].into_iter().flatten() {
                place.take_if(|handle| self.relay.open(*handle).is_err());
            }
        }
        contents.bound.retain(|(_, bound)| self.pair_on_relay(bound.handles));
        let seats = |call: &Call| Side::BOTH.map(|side| call.seat(side).handle);
        let lost = contents.calls.iter().filter(|call| !self.pair_on_relay(seats(call))).map(|call| call.id);
        lost.collect()
    }

    /// Two places bound to each other; neither is left if that cannot be.
    pub(super) fn pair_on_relay(&mut self, handles: [Handle; 2]) -> bool {
        let opened = handles.iter().all(|handle| self.relay.open(*handle).is_ok());
        let paired = opened && self.relay.pair(handles[0], handles[1]).is_ok();
        if !paired {
            handles.iter().for_each(|handle| self.relay.close(*handle));
        }
        paired
    }

    /// Everybody in here is away from now on, and may come back.
    fn install(&mut self, now: Now, contents: Contents) {
        let Contents { sessions, calls, bound } = contents;
        for (id, bound) in bound {
            self.timers.set(bound.next_look(now), Timer::Bound(id));
            self.bound.insert(id, bound);
        }
        for mut call in calls {
            self.wake_for(now, &mut call);
            self.calls.insert(call.id, call);
        }
        let parted: Vec<_> = sessions.into_iter().filter_map(|session| self.seat(now, session)).collect();
        for (id, side) in parted {
            self.tell_partner(id, side, &Reply::Peer { call: id, s: PeerState::Reconnecting });
        }
    }

    /// The timers of a call that stands.
    fn wake_for(&mut self, now: Now, call: &mut Call) {
        self.timers.set(now.mono.after(AGE_LOOK_MS), Timer::Connect(call.id));
        if let Some(since) = call.restarted {
            self.timers.set(since.after(RESTART_MS), Timer::Restarted(call.id, call.generation));
        }
        if !call.direct {
            self.timers.set(now.mono.after(LOOK_MS), Timer::Listen(call.id));
        }
        let id = call.id;
        for side in Side::BOTH {
            let seat = call.seat_mut(side);
            seat.hearing.begin_anew();
            seat.watched = seat.stalled.is_some();
            if seat.watched {
                self.timers.set(now.mono, Timer::Stalled(id, side));
            }
        }
    }

    /// One session, under a connection that nobody has. Its seat, if its partner does not know yet that it is empty.
    fn seat(&mut self, now: Now, mut session: Session) -> Option<(Id, Side)> {
        // The edge counts upwards.
        let connection = Connection(self.absent);
        self.absent -= 1;
        self.away += 1;
        session.tidying = false;
        let mut parted = None;
        if let Place::InCall(id, side) = session.place
            && let Some(call) = self.calls.get_mut(&id)
        {
            let seat = call.seat_mut(side);
            seat.connection = connection;
            parted = (!std::mem::replace(&mut seat.away, true)).then_some((id, side));
        }
        if let Some(caller) = session.caller.as_ref() {
            self.sids.insert(caller.sid, connection);
            self.people.insert(caller.claims.person, connection);
        }
        self.sessions.insert(connection, session);
        self.timers.set(now.mono.after(RESUME_MS), Timer::Gone(connection));
        self.tidy_later(now, connection);
        parted
    }
}
