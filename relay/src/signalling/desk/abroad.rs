//! Callers of this node in calls that another one hosts. Their connection is here, and everything that is not of the call: `ping`, `trace`,
//! `block` and `report`. What is of the call goes to the host, and what that has to say comes from there.

use std::sync::Arc;

use super::end::MAX_FAILURES;
use super::guests::keeps;
use super::negotiate::named;
use super::queue::{Entry, Sitter};
use super::session::{Last, Paused, Place, Side};
use super::timers::Timer;
use super::words::{First, Hosted, Introduction, Over, Word};
use super::{Connection, Desk, FIRST_GENERATION, Output};
use crate::cluster::{self, CallId, Luggage, Matched};
use crate::matchmaking::Person;
use crate::signalling::codes::{CloseCode, ErrorCode};
use crate::signalling::ids::Id;
use crate::signalling::message::{By, PeerState, Reply, Request, Resumed, StateWord, Why};
use crate::time::{Millis, Now};

/// Who wants a call to end does not wait longer for its host to say so.
const ENDS_MS: u64 = 3_000;

/// A caller's place in a call that another node hosts.
pub(super) struct Abroad {
    pub(super) call: CallId,
    /// As clients know it, once the host has said.
    id: Option<Id>,
    side: Side,
    generation: u32,
    /// t0 of the ticket.
    since: Millis,
    /// The partner.
    person: Person,
    sub: Arc<str>,
    pub(super) connected: bool,
    /// Its caller wants it to end, and why.
    ends: Option<Why>,
    /// A block that is answered when the call is over, as where calls are one's own.
    blocked: Option<Option<u64>>,
    /// What the host is told with the word that it is a call, until it knows.
    pub(super) luggage: Luggage,
}

impl Desk {
    /// The other node relays: what was opened here is not needed.
    pub(super) fn go_abroad(&mut self, now: Now, matched: &Matched, own: Sitter, first: First) {
        let (connection, waiting) = own;
        let introduction = self.introduction(now, connection, waiting.since).filter(|_| matched.leads);
        let luggage =
            introduction.map(|introduction| First { introduction, hosted: None }.luggage()).unwrap_or_default();
        self.relay.close(waiting.handle);
        let First { introduction: Introduction { claims, .. }, hosted } = first;
        let Some(session) = self.sessions.get_mut(&connection) else { return };
        let abroad = Abroad {
            call: matched.call,
            id: None,
            side: if matched.waited { Side::Waiter } else { Side::Arrival },
            generation: FIRST_GENERATION,
            since: waiting.since,
            person: claims.person,
            sub: claims.sub,
            connected: false,
            ends: None,
            blocked: None,
            luggage,
        };
        session.place = Place::Abroad(Box::new(abroad));
        self.shared.insert(matched.call, connection);
        if let Some(own) = self.claims(connection).map(|claims| claims.person) {
            self.note_meeting(now, own, claims.person);
        }
        if let Some(hosted) = hosted {
            self.hosted(connection, hosted);
        }
    }

    /// For another node: who has this connection.
    pub(super) fn introduction(&self, now: Now, of: Connection, since: Millis) -> Option<Introduction> {
        let session = self.sessions.get(&of)?;
        let caller = session.caller.as_ref()?;
        Some(Introduction {
            claims: caller.claims.of_a_guest(),
            wishes: caller.wishes?,
            may_direct: caller.may_direct,
            follows: session.traced,
            age_ms: now.mono.since(since),
            keeps: keeps(now, session)?,
        })
    }

    /// What the host says.
    pub(super) fn hear_host(&mut self, now: Now, connection: Connection, word: Word) {
        let Some(session) = self.sessions.get_mut(&connection) else { return };
        let Place::Abroad(abroad) = &mut session.place else { return };
        match word {
            Word::Hosted(hosted) => self.hosted(connection, hosted),
            Word::Tell(frame) => {
                if let Some(frame) = frame.checked().filter(|_| abroad.id.is_some()) {
                    self.send_frame(connection, frame);
                }
            }
            Word::Generation(generation) => abroad.generation = generation,
            Word::Connected => {
                let call = abroad.call;
                abroad.connected = true;
                abroad.luggage = Luggage::default();
                if let Some(caller) = session.caller.as_mut() {
                    caller.failures = 0;
                }
                if let Some(cluster) = self.queues.cluster() {
                    cluster.connected(call);
                }
                self.tell_pass(now, connection);
            }
            Word::Shut(code) => {
                if !session.away {
                    self.outputs.push_back(Output::Close { to: connection, code: CloseCode(code.clamp(1_000, 4_999)) });
                }
                self.forget(now, connection);
            }
            Word::Over(over) => self.over(now, connection, over),
            // A home's.
            Word::Said(_) | Word::Broke | Word::Back | Word::Quiet { .. } | Word::Follows(_) => {}
        }
    }

    fn hosted(&mut self, connection: Connection, Hosted { id, frame }: Hosted) {
        let Some(session) = self.sessions.get_mut(&connection) else { return };
        let Place::Abroad(abroad) = &mut session.place else { return };
        if session.away && abroad.id.is_none() {
            // Nobody is matched who is not there, and on coming back they hear of no call.
            self.tell_host(connection, &Word::Broke);
        } else if let Some(frame) = frame.checked().filter(|_| abroad.id.is_none()) {
            abroad.id = Some(id);
            self.send_frame(connection, frame);
        }
    }

    /// A frame about a call that is hosted elsewhere.
    pub(super) fn pass_on(&mut self, now: Now, from: Connection, q: Option<u64>, request: &Request, frame: &str) {
        let Some(session) = self.sessions.get_mut(&from) else { return };
        let Place::Abroad(abroad) = &mut session.place else { return };
        if abroad.id.is_none() || named(request) != abroad.id {
            return self.refuse(now, from, q, ErrorCode::Call);
        }
        let call = abroad.call;
        if matches!(request, Request::Hangup { .. }) {
            self.ends_abroad(now, from, Why::Hangup);
        }
        self.pass(call, &Word::Said(frame.to_owned()));
    }

    /// Its caller wants the call to end; if the host does not say so, it ends without.
    fn ends_abroad(&mut self, now: Now, from: Connection, why: Why) {
        let Some(session) = self.sessions.get_mut(&from) else { return };
        let Place::Abroad(abroad) = &mut session.place else { return };
        if abroad.ends.is_none() {
            self.timers.set(now.mono.after(ENDS_MS), Timer::Ends(from));
        }
        abroad.ends = Some(why);
    }

    pub(super) fn ends_due(&mut self, now: Now, connection: Connection) {
        let waits = self.abroad(connection).filter(|abroad| abroad.ends.is_some());
        if let Some(call) = waits.map(|abroad| abroad.call) {
            self.end_shared(now, call);
            self.ended_at_home(now, connection, cluster::Why::Partner);
        }
    }

    /// Ends a call for a reason that its host is told and the partner is not; false if it is not hosted elsewhere.
    pub(super) fn turn_from_abroad(&mut self, now: Now, from: Connection, why: Why) -> bool {
        let Some(call) = self.abroad(from).map(|abroad| abroad.call) else { return false };
        self.ends_abroad(now, from, why);
        self.pass(call, &Word::Quiet { blocks: why == Why::Block });
        true
    }

    /// Whether a block is answered once the call is over.
    pub(super) fn answers_at_the_end(&mut self, from: Connection, q: Option<u64>) -> bool {
        let Some(session) = self.sessions.get_mut(&from) else { return false };
        let Place::Abroad(abroad) = &mut session.place else { return false };
        abroad.blocked = Some(q);
        true
    }

    /// The partner of that call, if this is where the caller is: person, pseudonym, side.
    pub(super) fn partner_abroad(&self, from: Connection, named: Id) -> Option<(Person, Arc<str>, Side)> {
        let abroad = self.abroad(from).filter(|abroad| abroad.id == Some(named))?;
        Some((abroad.person, Arc::clone(&abroad.sub), abroad.side.other()))
    }

    /// Something about the caller's connection that the host should know.
    pub(super) fn tell_host(&mut self, from: Connection, word: &Word) {
        if let Some(call) = self.abroad(from).map(|abroad| abroad.call) {
            self.pass(call, word);
        }
    }

    /// The host's node is silent, or heard again.
    pub(super) fn host_heard(&mut self, to: Connection, heard: bool) {
        if let Some(id) = self.abroad(to).and_then(|abroad| abroad.id) {
            let s = if heard { PeerState::Back } else { PeerState::Reconnecting };
            self.send(to, &Reply::Peer { call: id, s });
        }
    }

    /// The call is over and its host has not said how, or cannot.
    pub(super) fn ended_at_home(&mut self, now: Now, connection: Connection, why: cluster::Why) {
        let Some(session) = self.sessions.get_mut(&connection) else { return };
        let Place::Abroad(abroad) = &session.place else { return };
        let set_up = !abroad.connected;
        let (by, why, requeued) = match (abroad.ends, why) {
            (Some(why), _) => (By::Own, why, false),
            (None, cluster::Why::Deadline) => {
                let failures = session.caller.as_mut().map_or(0, |caller| {
                    caller.failures = caller.failures.saturating_add(1);
                    caller.failures
                });
                (By::Server, Why::Deadline, set_up && failures < MAX_FAILURES)
            }
            (None, _) => (By::Peer, Why::Lost, set_up),
        };
        self.over(now, connection, Over { q: None, by, why, requeued, blocked: false, keeps: None });
    }

    /// The caller is at home again: told, and waiting if they are not to blame.
    fn over(&mut self, now: Now, connection: Connection, over: Over) {
        let Some(session) = self.sessions.get_mut(&connection) else { return };
        let Place::Abroad(abroad) = std::mem::replace(&mut session.place, Place::Idle) else { return };
        let Abroad { call, id, side, since, person, sub, blocked, .. } = *abroad;
        self.shared.remove(&call);
        if let Some(cluster) = self.queues.cluster() {
            cluster.part(call);
        }
        let away = session.away;
        let Some(caller) = session.caller.as_mut() else { return };
        if let Some(keeps) = over.keeps {
            caller.failures = keeps.failures;
            session.meters.come_back(&keeps.meters(now.mono));
        }
        if over.blocked {
            self.blocks.note(now.mono, person, caller.claims.person);
        }
        // Whom the host has not said anything of the call does not know that there was one.
        let requeued = over.requeued || id.is_none() && over.by != By::Own;
        if let Some(call) = id {
            session.replay.wipe();
            caller.last = Some(Last { call, person, sub, side: side.other(), ended: now.mono });
        }
        if requeued && away {
            // Who breaks off in one set-up after the other does not keep a place by it.
            caller.failures = caller.failures.saturating_add(1);
            if caller.failures < MAX_FAILURES {
                session.place = Place::Paused(Paused { handle: None, since, offer: None });
            }
        }
        let criteria = caller.wishes.filter(|_| !away);
        self.stands_up(connection);
        self.tidy_later(now, connection);
        if let Some(call) = id {
            self.send(connection, &Reply::Ended { q: over.q, call, by: over.by, why: over.why, requeued });
        }
        if !requeued {
            self.tell_pass(now, connection);
        }
        if let Some(q) = blocked {
            self.send(connection, &Reply::Blocked { q });
        }
        let Some(criteria) = criteria else { return };
        if requeued {
            self.enqueue(now, connection, Entry { q: None, since, criteria, offer: None });
        } else if (over.by, over.why) == (By::Own, Why::Next) {
            self.enqueue(now, connection, Entry { q: over.q, since: now.mono, criteria, offer: None });
        }
    }

    /// Where a resumed session stands that is in a call elsewhere.
    pub(super) fn resumed_abroad(&mut self, now: Now, from: Connection, abroad: &Abroad, waits: Resumed) -> Resumed {
        self.shared.insert(abroad.call, from);
        if abroad.ends.is_some() {
            self.timers.set(now.mono.after(ENDS_MS), Timer::Ends(from));
        }
        match abroad.id {
            Some(id) => {
                Resumed { state: StateWord::Call, call: Some(id), generation: Some(abroad.generation), ..waits }
            }
            None => waits,
        }
    }

    /// Before everybody moves: who is in a call elsewhere is not any more.
    pub(super) fn come_home(&mut self, now: Now) {
        let mut calls: Vec<(CallId, Connection)> = self.shared.iter().map(|(call, at)| (*call, *at)).collect();
        calls.sort_unstable();
        for (call, connection) in calls {
            let Some(requeued) = self.abroad(connection).map(|abroad| !abroad.connected) else { continue };
            let (q, by, why) = (None, By::Server, Why::Lost);
            self.end_shared(now, call);
            self.over(now, connection, Over { q, by, why, requeued, blocked: false, keeps: None });
        }
    }

    /// Calls elsewhere that do not stand yet.
    pub(super) fn set_ups_abroad(&self) -> usize {
        self.shared.values().filter(|at| self.abroad(**at).is_some_and(|abroad| !abroad.connected)).count()
    }

    pub(super) fn abroad(&self, of: Connection) -> Option<&Abroad> {
        match &self.sessions.get(&of)?.place {
            Place::Abroad(abroad) => Some(abroad),
            _ => None,
        }
    }
}
