//! Guests: callers of another node in calls that are relayed, and so kept, here. To the code of calls a guest is a session like any other,
//! under a number that no connection has; what it would be told goes to its home, and what its client says comes from there.

use super::queue::Sitter;
use super::session::{Caller, Place, Session, Side, Standing, Waiting};
use super::words::{First, Hosted, Introduction, Keeps, Over, Word};
use super::{Call, Connection, Desk};
use crate::cluster::{CallId, Luggage, Matched};
use crate::matchmaking::{Person, TicketId, bands_meet};
use crate::signalling::codes::{CloseCode, ErrorCode};
use crate::signalling::ids::Id;
use crate::signalling::message::{By, TextFrame, Why, parse};
use crate::time::{Millis, Now};

/// Somebody else's caller.
pub(super) struct Guest {
    pub(super) call: CallId,
    /// Of whom they talk with here, until `matched` is written.
    introduction: Option<Introduction>,
    /// What their home is told with the word that it is a call, until it knows.
    pub(super) luggage: Luggage,
}

impl Desk {
    /// This node relays, so the call is this desk's.
    pub(super) fn host(&mut self, now: Now, matched: &Matched, own: Sitter, other: Introduction) {
        let Matched { call, waited, leads, .. } = *matched;
        let (connection, waiting) = own;
        let own = self.introduction(now, connection, waiting.since);
        let meets = own.as_ref().is_some_and(|own| self.may_meet(own, &other));
        let handle = self.random_handle();
        if !meets || self.relay.open(handle).is_err() {
            self.end_shared(now, call);
            self.relay.close(waiting.handle);
            return self.busy(connection, None);
        }
        let introduction = own.filter(|_| leads);
        let (guest, since) = self.let_in(now, other, Guest { call, introduction, luggage: Luggage::default() });
        let told = Standing::default();
        let theirs = Waiting { id: TicketId(0), handle, since, offer: None, told, warned: false };
        let (own, theirs) = ((connection, waiting), (guest, theirs));
        if waited { self.sit_down(now, own, theirs) } else { self.sit_down(now, theirs, own) }
    }

    /// No owner of a queue, nor another home, brings together who may not meet.
    fn may_meet(&self, own: &Introduction, other: &Introduction) -> bool {
        let (own, other) = (&own.claims, &other.claims);
        own.pool == other.pool
            && bands_meet(own.band, other.band, &self.settings.matching)
            && own.person != other.person
    }

    fn let_in(&mut self, now: Now, introduction: Introduction, guest: Guest) -> (Connection, Millis) {
        let Introduction { claims, wishes, may_direct, follows, age_ms, keeps } = introduction;
        // The edge counts upwards.
        let connection = Connection(self.absent);
        self.absent -= 1;
        let (sid, key) = (Id::random(&mut self.rng), Id::random(&mut self.rng));
        let (warm, wishes, last) = (None, Some(wishes), None);
        let caller = Caller { sid, key, claims, may_direct, warm, wishes, failures: keeps.failures, last };
        let mut session = Session::new(now.mono);
        (session.meters, session.traced) = (keeps.meters(now.mono), follows);
        session.caller = Some(Box::new(caller));
        self.sessions.insert(connection, session);
        self.shared.insert(guest.call, connection);
        self.guests.insert(connection, guest);
        (connection, Millis(now.mono.0.saturating_sub(age_ms)))
    }

    /// `matched` for a guest goes to its home; given back if it is none.
    pub(super) fn seat_guest(&mut self, connection: Connection, id: Id, frame: TextFrame) -> Option<TextFrame> {
        let Some(guest) = self.guests.get_mut(&connection) else { return Some(frame) };
        let hosted = Hosted { id, frame: frame.into() };
        match guest.introduction.take() {
            // Goes with the word that it is a call, and again with it.
            Some(introduction) => guest.luggage = First { introduction, hosted: Some(hosted) }.luggage(),
            None => {
                let call = guest.call;
                self.pass(call, &Word::Hosted(hosted));
            }
        }
        None
    }

    /// A frame for a guest goes to its home; given back if it is none.
    pub(super) fn tell_guest(&mut self, to: Connection, frame: TextFrame) -> Option<TextFrame> {
        let Some(call) = self.guests.get(&to).map(|guest| guest.call) else { return Some(frame) };
        self.pass(call, &Word::Tell(frame.into()));
        None
    }

    /// The home of a guest closes its connection; false if it is none.
    pub(super) fn shut_guest(&mut self, to: Connection, code: CloseCode) -> bool {
        let call = self.guests.get(&to).map(|guest| guest.call);
        if let Some(call) = call {
            self.pass(call, &Word::Shut(code.0));
        }
        call.is_some()
    }

    pub(super) fn tell_generation(&mut self, to: Connection, generation: u32) {
        if let Some(call) = self.guests.get(&to).map(|guest| guest.call) {
            self.pass(call, &Word::Generation(generation));
        }
    }

    pub(super) fn guest_connected(&mut self, connection: Connection) {
        let Some(guest) = self.guests.get_mut(&connection) else { return };
        guest.luggage = Luggage::default();
        let call = guest.call;
        self.pass(call, &Word::Connected);
        if let Some(cluster) = self.queues.cluster() {
            cluster.connected(call);
        }
    }

    /// The guest's call is over: their home hears how, and has them again.
    pub(super) fn see_guest_off(
        &mut self,
        call: &Call,
        side: Side,
        (q, by, why): (Option<u64>, By, Why),
        requeued: bool,
    ) {
        let (seat, partner) = (call.seat(side), call.seat(side.other()));
        let Some(guest) = self.guests.get(&seat.connection).map(|guest| guest.call) else { return };
        let now = self.clock;
        let blocked = self.blocks.of(now.mono, partner.person).any(|person| person == seat.person);
        let keeps = self.sessions.get(&seat.connection).and_then(|session| keeps(now, session));
        self.pass(guest, &Word::Over(Over { q, by, why, requeued, blocked, keeps }));
        self.sessions.remove(&seat.connection);
        self.let_go(now, seat.connection);
    }

    /// Nobody of another node is behind this connection any more.
    pub(super) fn let_go(&mut self, now: Now, connection: Connection) {
        if let Some(guest) = self.guests.remove(&connection) {
            self.end_shared(now, guest.call);
        }
    }

    /// Their home may not have heard yet what the app has withdrawn.
    pub(super) fn guest_of(&self, person: Person) -> Option<Connection> {
        self.guests.keys().copied().find(|guest| self.claims(*guest).is_some_and(|claims| claims.person == person))
    }

    /// What a guest's home says.
    pub(super) fn hear_home(&mut self, now: Now, guest: Connection, word: Word) {
        let Some(session) = self.sessions.get_mut(&guest) else { return };
        let Place::InCall(id, side) = session.place else { return };
        match word {
            // Its home has held it to the rate of frames.
            Word::Said(frame) => {
                if let Ok(envelope) = parse(&frame) {
                    self.of_call(now, guest, envelope.q, envelope.request);
                }
            }
            Word::Broke => self.part_from_call(now, guest, id, side),
            Word::Back => self.sits_again(id, side),
            Word::Quiet { blocks } => self.turn_guest_from(now, id, side, blocks),
            Word::Follows(on) => session.traced = on,
            // A host's.
            Word::Hosted(_) | Word::Tell(_) | Word::Generation(_) | Word::Connected | Word::Shut(_) | Word::Over(_) => {
            }
        }
    }

    fn turn_guest_from(&mut self, now: Now, id: Id, side: Side, blocks: bool) {
        let Some(call) = self.calls.get(&id) else { return };
        let (own, partner) = (call.seat(side).person, call.seat(side.other()).person);
        if blocks {
            self.blocks.note(now.mono, own, partner);
        }
        self.hang_up_quietly(id, side, if blocks { Why::Block } else { Why::Report });
    }

    /// The guest's node is silent, or heard again.
    pub(super) fn guest_heard(&mut self, guest: Connection, heard: bool) {
        let Some(&Place::InCall(id, side)) = self.sessions.get(&guest).map(|session| &session.place) else { return };
        if heard {
            self.sits_again(id, side);
        } else {
            self.part_from_call(self.clock, guest, id, side);
        }
    }

    /// Before everybody moves: calls with other nodes do not.
    pub(super) fn end_hosted(&mut self) {
        let mut guests: Vec<Connection> = self.guests.keys().copied().collect();
        guests.sort_unstable();
        for guest in guests {
            if let Some(&Place::InCall(id, _)) = self.sessions.get(&guest).map(|session| &session.place) {
                self.end_for_both(id, Why::Lost);
            }
        }
    }

    /// The relay would not have it: a guest's home finds them another partner; who is here is told of our fault.
    pub(super) fn send_home(&mut self, now: Now, connection: Connection) {
        if self.guests.contains_key(&connection) {
            self.forget(now, connection);
        } else {
            self.refuse(now, connection, None, ErrorCode::Internal);
        }
    }
}

/// What a session takes along.
pub(super) fn keeps(now: Now, session: &Session) -> Option<Keeps> {
    Some(Keeps::new(now.mono, session.caller.as_ref()?.failures, &session.meters))
}
