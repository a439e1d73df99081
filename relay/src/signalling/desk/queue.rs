//! Waiting: `queue`, `tune`, `leave`, positions, and the moment two tickets become a call.

use std::sync::Arc;

use rand_chacha::rand_core::RngCore as _;

use super::call::{Call, Seat};
use super::session::{Place, Session, Side, Standing, Waiting};
use super::timers::Timer;
use super::{ACCEPT_MS, ACK_MS, CONNECT_MS, Connection, DESCRIPTION_MS, Desk, FIRST_GENERATION, HINTS};
use crate::matchmaking::{Criteria, MAX_AVOID, Match, Person, Recent, Refused, Ticket, TicketId};
use crate::signalling::codes::ErrorCode;
use crate::signalling::ids::Id;
use crate::signalling::limits::{Meter, Rate};
use crate::signalling::message::{Offer, Partner, Queue, Queued, Reply, Role, Step};
use crate::signalling::sdp;
use crate::signalling::token::Claims;
use crate::time::{Millis, Now};

/// Positions are told once a second to those who just began to wait …
pub(super) const POSITION_MS: u64 = 1_000;
/// … and every five to those who have waited longer than ten: their place changes slowly.
const LATER_POSITION_MS: u64 = 5_000;
/// … and to all together so many a second, however many they are: with a hundred thousand waiting the desk would otherwise look at
/// 20,000 of them a second and more, and an arrival would often come upon a desk that is busy with it.
const POSITIONS_PER_SEC: u32 = 4_000;
/// That many a second also when all come due at once, because they all came at once.
pub(super) const POSITIONS: Rate = Rate { burst: 64, per_minute: POSITIONS_PER_SEC * 60 };
const EARLY_WAIT_MS: u64 = 10_000;
const LAST_STAGE: u8 = crate::matchmaking::STAGES - 1;

/// Who is about to talk, and the ticket that brought them.
pub(super) type Sitter = (Connection, Waiting);

/// A wish to wait, checked.
pub(super) struct Entry {
    pub(super) q: Option<u64>,
    /// t0: now, or what an innocent keeps.
    pub(super) since: Millis,
    pub(super) criteria: Criteria,
    pub(super) offer: Option<String>,
}

impl Desk {
    pub(super) fn queue(&mut self, now: Now, from: Connection, q: Option<u64>, queue: &Queue) {
        let Some(session) = self.sessions.get_mut(&from) else { return };
        if let Err(retry_ms) = session.meters.take(Meter::Queue, now.mono) {
            return self.too_often(now, from, q, Some(retry_ms));
        }
        if self.closes() {
            return self.busy(from, q);
        }
        let Some(criteria) = self.criteria(from, queue) else { return self.refuse(now, from, q, ErrorCode::Criteria) };
        let offer = match &queue.offer {
            None => None,
            Some(offer) if offer.generation != FIRST_GENERATION => {
                return self.refuse(now, from, q, ErrorCode::Generation);
            }
            Some(offer) => match sdp::rebuild(&offer.sdp, sdp::Kind::Offer, FIRST_GENERATION) {
                Ok(offer) => Some(offer),
                Err(sdp::BadSdp) => return self.refuse(now, from, q, ErrorCode::Sdp),
            },
        };
        self.enqueue(now, from, Entry { q, since: now.mono, criteria, offer });
    }

    /// Wishes within what the token entitles to; `None` otherwise.
    fn criteria(&self, from: Connection, queue: &Queue) -> Option<Criteria> {
        let claims = &self.sessions.get(&from)?.caller.as_ref()?.claims;
        let wants = queue.gender.unwrap_or(claims.entitled);
        let level = queue.level.map_or(claims.level, Into::into);
        let known = queue.topics.iter().all(|topic| usize::from(topic) < self.settings.topics.len());
        let allowed = wants.is_subset(claims.entitled) && (level == claims.level || claims.level_free) && known;
        allowed.then_some(Criteria {
            wants,
            level,
            max_distance: queue.max_distance,
            topics: queue.topics,
            topic_mode: queue.topic_mode.into(),
            countries: queue.countries,
        })
    }

    /// Puts an idle caller into the queue: place on the relay, ticket, `queued`.
    pub(super) fn enqueue(&mut self, now: Now, from: Connection, entry: Entry) {
        if self.closes() {
            return; // seen off within this input
        }
        let Some(caller) = self.sessions.get_mut(&from).and_then(|session| session.caller.as_deref_mut()) else {
            return;
        };
        caller.wishes = Some(entry.criteria);
        let pool = caller.claims.pool.clone();
        let handle = match caller.warm.take() {
            Some(warm) => warm,
            None => {
                let fresh = self.random_handle();
                if self.relay.open(fresh).is_err() {
                    return self.busy(from, entry.q);
                }
                fresh
            }
        };
        self.tickets += 1;
        let id = TicketId(self.tickets);
        let Some(ticket) = self.ticket(now, from, id, &entry) else { return };
        match self.queues.enqueue(now, &pool, ticket) {
            Ok(()) => {}
            Err(refused) => {
                self.relay.close(handle);
                return match refused {
                    Refused::BadCriteria => self.refuse(now, from, entry.q, ErrorCode::Criteria),
                    Refused::Full | Refused::DuplicatePerson | Refused::DuplicateTicket | Refused::Unknown => {
                        self.busy(from, entry.q);
                    }
                };
            }
        }
        self.waiting.insert(id, from);
        let told = self.standing(now, id);
        let waiting = Waiting { id, handle, since: entry.since, offer: entry.offer, told, warned: false };
        if let Some(session) = self.sessions.get_mut(&from) {
            session.place = Place::Queued(waiting);
        }
        self.tell_queued(now, from, entry.q, told);
        self.timers.set(now.mono.after(POSITION_MS), Timer::Position(from, id));
    }

    pub(super) fn waiting_of(&self, connection: Connection) -> Option<&Waiting> {
        match &self.sessions.get(&connection)?.place {
            Place::Queued(waiting) => Some(waiting),
            _ => None,
        }
    }

    pub(super) fn claims(&self, of: Connection) -> Option<&Claims> {
        self.sessions.get(&of)?.caller.as_ref().map(|caller| &caller.claims)
    }

    fn ticket(&self, now: Now, from: Connection, id: TicketId, entry: &Entry) -> Option<Ticket> {
        let claims = self.claims(from)?;
        // Those who made an appointment have chosen each other.
        let recent = self.recent.of(now.mono, claims.person).filter(|_| claims.meeting.is_none());
        let blocked = self.blocks.of(now.mono, claims.person);
        let avoid: Vec<_> = blocked.chain(claims.blocks.iter().copied()).take(MAX_AVOID).collect();
        let criteria = entry.criteria;
        Some(Ticket {
            id,
            person: claims.person,
            band: claims.band,
            gender: claims.gender,
            wants: criteria.wants,
            level: criteria.level,
            max_distance: criteria.max_distance,
            topics: criteria.topics,
            topic_mode: criteria.topic_mode,
            country: claims.country,
            countries: criteria.countries,
            meeting: claims.meeting,
            recent: recent.take(MAX_AVOID - avoid.len()).collect(),
            avoid,
            since: entry.since,
        })
    }

    fn tell_queued(&mut self, now: Now, to: Connection, q: Option<u64>, told: Standing) {
        let tk = Id::random(&mut self.rng);
        let Some(Session { caller: Some(caller), place: Place::Queued(waiting), .. }) = self.sessions.get(&to) else {
            return;
        };
        let ice = self.ice(now, waiting.handle, FIRST_GENERATION, caller.may_direct);
        let widen = self.settings.matching.widen_after_ms;
        let eta = told.eta.map(Into::into);
        let frame = Reply::Queued(Queued { q, tk, ahead: told.ahead, eta, widen, ice: &ice }).frame();
        self.send_frame(to, frame);
        self.tell_pass(now, to);
    }

    fn standing(&mut self, now: Now, id: TicketId) -> Standing {
        self.queues.position(now, id).map_or_else(Standing::default, |position| Standing {
            ahead: position.ahead,
            stage: position.stage,
            eta: position.eta,
            hint: None,
        })
    }

    /// A `position` frame if anything has changed, and the next look at it.
    pub(super) fn tell_position(&mut self, now: Now, to: Connection, ticket: TicketId) {
        if self.waiting.get(&ticket) != Some(&to) {
            return;
        }
        // How long it takes to tell everybody.
        let turn = self.waiting.len() as u64 * 1_000 / u64::from(POSITIONS_PER_SEC);
        if self.positions.take(POSITIONS, now.mono).is_err() {
            let later = 1 + self.rng.next_u64() % (turn + 1);
            return self.timers.set(now.mono.after(later), Timer::Position(to, ticket));
        }
        let mut standing = self.standing(now, ticket);
        let Some(Session { place: Place::Queued(waiting), .. }) = self.sessions.get_mut(&to) else { return };
        // Looking for a hint costs more than a position: for those who have waited long.
        let long = now.mono.since(waiting.since) >= EARLY_WAIT_MS;
        let looks = long && self.hints.take(HINTS, now.mono).is_ok();
        standing.hint = if looks { self.queues.hint(ticket) } else { waiting.told.hint };
        let hopeless = looks && standing.stage == LAST_STAGE && standing.hint.is_none();
        let warns = hopeless && !waiting.warned;
        waiting.warned |= hopeless;
        let changed = std::mem::replace(&mut waiting.told, standing) != standing;
        let early = now.mono.since(waiting.since) < EARLY_WAIT_MS;
        let pause = turn.max(if early { POSITION_MS } else { LATER_POSITION_MS });
        self.timers.set(now.mono.after(pause), Timer::Position(to, ticket));
        if changed {
            let Standing { ahead, stage, eta, hint } = standing;
            self.send(to, &Reply::Position { ahead, eta: eta.map(Into::into), stage, hint: hint.map(Into::into) });
        }
        if warns {
            self.refuse(now, to, None, ErrorCode::NoSupply);
        }
    }

    /// The same wait under a new ticket: what it avoids has changed beyond what the old one can hold.
    pub(super) fn renew_ticket(&mut self, now: Now, from: Connection) {
        let Some(session) = self.sessions.get_mut(&from) else { return };
        let Some(caller) = session.caller.as_mut() else { return };
        let Some(criteria) = caller.wishes else { return };
        if let Place::Queued(waiting) = std::mem::replace(&mut session.place, Place::Idle) {
            caller.warm = Some(waiting.handle);
            self.queues.cancel(now, waiting.id);
            self.waiting.remove(&waiting.id);
            self.enqueue(now, from, Entry { q: None, since: waiting.since, criteria, offer: waiting.offer });
        }
    }

    pub(super) fn tune(&mut self, now: Now, from: Connection, q: Option<u64>, wish: &Queue) {
        let Some(session) = self.sessions.get_mut(&from) else { return };
        if let Err(retry_ms) = session.meters.take(Meter::Tune, now.mono) {
            return self.too_often(now, from, q, Some(retry_ms));
        }
        let Place::Queued(Waiting { id, .. }) = session.place else { return };
        let tuned = self.criteria(from, wish).filter(|wishes| self.queues.tune(now, id, *wishes).is_ok());
        let Some(wishes) = tuned else { return self.refuse(now, from, q, ErrorCode::Criteria) };
        if let Some(caller) = self.sessions.get_mut(&from).and_then(|session| session.caller.as_mut()) {
            caller.wishes = Some(wishes);
        }
        self.send(from, &Reply::Tuned { q });
        self.tell_pass(now, from);
    }

    pub(super) fn leave(&mut self, now: Now, from: Connection, q: Option<u64>) {
        let Some(session) = self.sessions.get_mut(&from) else { return };
        if let Place::Queued(waiting) = std::mem::replace(&mut session.place, Place::Idle) {
            self.spend(&waiting);
            self.send(from, &Reply::Left { q });
            self.tell_pass(now, from);
        }
    }

    /// A ticket that leads nowhere: out of the queue, off the relay.
    pub(super) fn spend(&mut self, waiting: &Waiting) {
        self.queues.cancel(self.clock, waiting.id);
        self.waiting.remove(&waiting.id);
        self.relay.close(waiting.handle);
    }

    /// Two tickets left the queue together.
    pub(super) fn matched(&mut self, now: Now, pair: Match) {
        let waiter = self.take_ticket(pair.waiter);
        let arrival = self.take_ticket(pair.arrival);
        // Tickets leave `waiting` exactly when they leave the matchmaker, so both are there.
        if let (Some(waiter), Some(arrival)) = (waiter, arrival) {
            self.sit_down(now, waiter, arrival);
        }
    }

    /// Two people are a call, which is relayed here.
    pub(super) fn sit_down(&mut self, now: Now, (waiter, mut first): Sitter, (arrival, second): Sitter) {
        let id = Id::random(&mut self.rng);
        if self.relay.pair(first.handle, second.handle).is_err() {
            return self.unpaired(now, [(waiter, first), (arrival, second)]);
        }
        if let Some(pool) = self.claims(waiter).map(|claims| claims.pool.clone()) {
            self.relay.count_for(first.handle, &pool);
        }
        let direct = self.may_direct(waiter) && self.may_direct(arrival);
        let offer = first.offer.take();
        let offer = if direct { offer } else { offer.map(|offer| self.with_own_candidates(&offer, &first.handle)) };
        let acceptance = self.settings.acceptance;
        let (Some(one), Some(other)) = (self.claims(waiter), self.claims(arrival)) else { return };
        let ((one, one_sub), (other, other_sub)) =
            ((one.person, Arc::clone(&one.sub)), (other.person, Arc::clone(&other.sub)));
        let mut call = Call {
            id,
            waiter: Seat::new(waiter, one, one_sub, first.handle, first.since),
            arrival: Seat::new(arrival, other, other_sub, second.handle, second.since),
            matched: now.mono,
            generation: FIRST_GENERATION,
            direct,
            offered: offer.is_some().then_some(Side::Waiter),
            negotiated: false,
            description_due: now.mono.after(DESCRIPTION_MS),
            connected: false,
            restarted: None,
            acceptance,
            held: None,
            window: None,
        };
        call.waiter.described = offer.is_some();
        self.counters.count_matched();
        self.counters.wait.observe(now.mono.since(first.since));
        self.counters.wait.observe(now.mono.since(second.since));
        self.meet(now, waiter, arrival);
        self.timers.set(now.mono.after(ACK_MS), Timer::Ack(id));
        self.timers.set(call.description_due, Timer::Description(id));
        if acceptance {
            self.timers.set(now.mono.after(ACCEPT_MS), Timer::Accept(id));
        } else {
            self.timers.set(now.mono.after(CONNECT_MS), Timer::Connect(id));
        }
        for side in Side::BOTH {
            if let Some(session) = self.sessions.get_mut(&call.seat(side).connection) {
                session.place = Place::InCall(id, side);
            }
        }
        self.introduce(now, &call, Side::Waiter, None);
        self.introduce(now, &call, Side::Arrival, offer.as_deref());
        self.calls.insert(id, call);
        self.trace_both(id, Step::Matched);
    }

    pub(super) fn take_ticket(&mut self, ticket: TicketId) -> Option<Sitter> {
        let connection = self.waiting.remove(&ticket)?;
        let session = self.sessions.get_mut(&connection)?;
        match std::mem::replace(&mut session.place, Place::Idle) {
            Place::Queued(waiting) => Some((connection, waiting)),
            _ => None,
        }
    }

    /// The relay would not pair them: a fault of this server, and both are told so.
    fn unpaired(&mut self, now: Now, sides: [Sitter; 2]) {
        for (connection, waiting) in sides {
            self.relay.close(waiting.handle);
            self.send_home(now, connection);
        }
    }

    fn may_direct(&self, connection: Connection) -> bool {
        let caller = self.sessions.get(&connection).and_then(|session| session.caller.as_ref());
        caller.is_some_and(|caller| caller.may_direct)
    }

    fn meet(&mut self, now: Now, a: Connection, b: Connection) {
        let people = (self.claims(a).map(|claims| claims.person), self.claims(b).map(|claims| claims.person));
        if let (Some(a), Some(b)) = people {
            self.note_meeting(now, a, b);
        }
    }

    pub(super) fn note_meeting(&mut self, now: Now, a: Person, b: Person) {
        if self.settings.matching.recent != Recent::Allow {
            self.recent.met(now.mono, a, b);
        }
    }

    /// `matched`, as one side sees it.
    fn introduce(&mut self, now: Now, call: &Call, side: Side, offer: Option<&str>) {
        let (own, other) = (call.seat(side), call.seat(side.other()));
        let (Some(mine), Some(theirs)) = (self.wishes(own.connection), self.wishes(other.connection)) else { return };
        let Some(claims) = self.claims(other.connection) else { return };
        let shared = crate::matchmaking::TopicSet(mine.topics.0 & theirs.topics.0);
        let ice = self.ice(now, own.handle, call.generation, call.direct);
        let frame = Reply::Matched {
            call: call.id,
            role: if side == Side::Waiter { Role::Offerer } else { Role::Answerer },
            polite: side == Side::Arrival,
            generation: call.generation,
            peer: Partner { card: claims.card.as_deref(), lvl: theirs.level.into(), topics: shared.iter().collect() },
            ice: &ice,
            offer: offer.map(|sdp| Offer { generation: call.generation, sdp }),
            moved: self.is_guest(own.connection),
            deadline_ms: if call.acceptance { ACCEPT_MS } else { CONNECT_MS },
        }
        .frame();
        if let Some(frame) = self.seat_guest(own.connection, call.id, frame) {
            self.send_frame(own.connection, frame);
        }
    }

    fn wishes(&self, of: Connection) -> Option<Criteria> {
        self.sessions.get(&of)?.caller.as_ref()?.wishes
    }
}
