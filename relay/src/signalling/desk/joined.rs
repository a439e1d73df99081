//! This desk among others: what the bus brings, and what the cluster wants done.

use std::fmt;
use std::sync::Arc;

use super::queue::Entry;
use super::queues::Queues;
use super::session::Waiting;
use super::words::{First, Word};
use super::{ACCEPT_MS, CONNECT_MS, Connection, Desk, Output, Settings};
use crate::cluster::{self, Body, CallId, Cluster, Counters, Envelope, Load, Luggage, Matched, Peer, To, Turned};
use crate::matchmaking::{Matchmaker, Pepper, TicketId};
use crate::signalling::codes::ErrorCode;
use crate::time::Now;

/// The desk that hosts a call ends what is not connected in time. If it does not, the cluster does, so much later.
const GRACE_MS: u64 = 2_000;

/// What a desk needs to know to be one of several.
#[derive(Clone)]
pub struct Joined {
    pub me: Peer,
    /// Turns pseudonyms into persons; every node of the cluster has the same.
    pub pepper: [u8; 32],
    pub load: Load,
    pub counters: Arc<Counters>,
}

impl Queues {
    pub(super) fn new(settings: &Settings) -> Queues {
        let Some(Joined { me, load, counters, .. }) = &settings.joined else {
            return Queues::Alone(Matchmaker::new(settings.matching.clone()));
        };
        let alone = cluster::Settings::alone(settings.matching.clone());
        let agree_ms = if settings.acceptance { ACCEPT_MS } else { 0 };
        let settings =
            cluster::Settings { joins: true, load: *load, set_up_ms: agree_ms + CONNECT_MS + GRACE_MS, ..alone };
        // The first timeout is in the past, so the cluster begins as soon as anybody looks at the time.
        Queues::Joined(Box::new(Cluster::new(settings, Now::default(), *me, Arc::clone(counters))))
    }
}

impl Settings {
    pub(super) fn pepper(&self) -> Option<Pepper> {
        self.joined.as_ref().map(|joined| Pepper::new(joined.pepper))
    }
}

impl Desk {
    /// Something another desk has said, and who says so by the seal.
    pub fn handle_bus(&mut self, now: Now, from: Peer, payload: &[u8]) {
        self.clock = now;
        if let Some(cluster) = self.queues.cluster() {
            cluster.handle_sealed(now, from, payload);
        }
        self.settle(now);
    }

    /// The bus is up, as it is at first, or down: then this node matches its own.
    pub fn handle_bus_state(&mut self, now: Now, up: bool) {
        self.clock = now;
        if let Some(cluster) = self.queues.cluster() {
            cluster.handle_bus(now, up);
        }
        self.settle(now);
    }

    /// What this node still takes; others go by it.
    pub fn set_load(&mut self, now: Now, load: Load) {
        self.clock = now;
        if let Some(cluster) = self.queues.cluster() {
            cluster.set_load(now, load);
        }
        self.settle(now);
    }

    /// Does what the cluster wants.
    pub(super) fn settle_joined(&mut self, now: Now) {
        while let Some(news) = self.queues.poll_news() {
            match news {
                cluster::Output::Send { to, envelope } => self.publish(now, to, envelope),
                cluster::Output::Paired(pair) => self.matched(now, pair),
                cluster::Output::Matched(matched) => self.matched_beyond(now, &matched),
                cluster::Output::Ended { call, why, .. } => self.ended_beyond(now, call, why),
                cluster::Output::Partner { call, heard, .. } => self.partner_heard(call, heard),
                cluster::Output::Passed { call, luggage, .. } => self.hear_word(now, call, &luggage),
                cluster::Output::Turned { ticket, why } => self.turned(now, ticket, why),
            }
        }
    }

    /// With what this desk sends along: who promises, and who decides, introduces somebody. Who has gone meanwhile promises nothing.
    fn publish(&mut self, now: Now, to: To, mut envelope: Envelope) {
        match &mut envelope.body {
            Body::Grant { pair, luggage } => match self.promised(now, TicketId(pair.follower.number)) {
                Some(first) => *luggage = first.luggage(),
                None => return,
            },
            Body::Commit { call, luggage, .. } => match self.decided(*call) {
                Some(said) => *luggage = said,
                None => return,
            },
            _ => {}
        }
        self.outputs.push_back(Output::Bus { to, payload: envelope.encode() });
    }

    fn promised(&self, now: Now, ticket: TicketId) -> Option<First> {
        let connection = *self.waiting.get(&ticket)?;
        let since = self.waiting_of(connection)?.since;
        Some(First { introduction: self.introduction(now, connection, since)?, hosted: None })
    }

    fn decided(&self, call: CallId) -> Option<Luggage> {
        let connection = self.shared.get(&call)?;
        let guest = self.guests.get(connection).map(|guest| &guest.luggage);
        guest.or_else(|| Some(&self.abroad(*connection)?.luggage)).cloned()
    }

    /// A ticket of ours and one of another node are a call.
    fn matched_beyond(&mut self, now: Now, matched: &Matched) {
        let own = self.take_ticket(TicketId(matched.ticket));
        match (own, First::read(&matched.luggage)) {
            (Some(own), Some(first)) if matched.hosts => self.host(now, matched, own, first.introduction),
            (Some(own), Some(first)) => self.go_abroad(now, matched, own, first),
            (Some((connection, waiting)), None) => {
                // Of another version, or no desk's word: asked again at once it would be the same.
                self.end_shared(now, matched.call);
                self.relay.close(waiting.handle);
                self.busy(connection, None);
            }
            (None, _) => self.end_shared(now, matched.call),
        }
    }

    fn ended_beyond(&mut self, now: Now, call: CallId, why: cluster::Why) {
        let Some(&connection) = self.shared.get(&call) else { return };
        if self.guests.contains_key(&connection) {
            self.forget(now, connection);
        } else {
            self.ended_at_home(now, connection, why);
        }
    }

    fn partner_heard(&mut self, call: CallId, heard: bool) {
        let Some(&connection) = self.shared.get(&call) else { return };
        if self.guests.contains_key(&connection) {
            self.guest_heard(connection, heard);
        } else {
            self.host_heard(connection, heard);
        }
    }

    fn hear_word(&mut self, now: Now, call: CallId, luggage: &Luggage) {
        let (Some(&connection), Some(word)) = (self.shared.get(&call), Word::read(luggage)) else { return };
        if self.guests.contains_key(&connection) {
            self.hear_home(now, connection, word);
        } else {
            self.hear_host(now, connection, word);
        }
    }

    /// The owner of its queue would not have a ticket.
    fn turned(&mut self, now: Now, ticket: TicketId, why: Turned) {
        let Some((connection, waiting)) = self.take_ticket(ticket) else { return };
        if let Some(caller) = self.sessions.get_mut(&connection).and_then(|session| session.caller.as_mut()) {
            caller.warm = Some(waiting.handle);
        }
        match why {
            // They came to another node since: of two connections of one person the newer one stays.
            Turned::Replaced => self.refuse(now, connection, None, ErrorCode::Replaced),
            Turned::BadCriteria => self.refuse(now, connection, None, ErrorCode::Criteria),
            Turned::Full => self.busy(connection, None),
            // They wait at another node too. Said anew, this one is the newer.
            Turned::Duplicate => self.wait_anew(now, connection, waiting),
        }
    }

    fn wait_anew(&mut self, now: Now, connection: Connection, waiting: Waiting) {
        let caller = self.sessions.get(&connection).and_then(|session| session.caller.as_ref());
        let Some(criteria) = caller.and_then(|caller| caller.wishes) else { return };
        let Waiting { since, offer, .. } = waiting;
        self.enqueue(now, connection, Entry { q: None, since, criteria, offer });
    }

    /// To the other desk of that call.
    pub(super) fn pass(&mut self, call: CallId, word: &Word) {
        let now = self.clock;
        if let Some(cluster) = self.queues.cluster() {
            cluster.pass(now, call, word.luggage());
        }
    }

    /// This node is not in that call any more; the other one hears it.
    pub(super) fn end_shared(&mut self, now: Now, call: CallId) {
        self.shared.remove(&call);
        if let Some(cluster) = self.queues.cluster() {
            cluster.end(now, call);
        }
    }

    /// Connections of callers, without the guests.
    pub(super) fn own_sessions(&self) -> usize {
        self.sessions.len() - self.guests.len()
    }

    pub(super) fn is_guest(&self, connection: Connection) -> bool {
        self.guests.contains_key(&connection)
    }
}

impl fmt::Debug for Joined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Joined[redacted]")
    }
}
