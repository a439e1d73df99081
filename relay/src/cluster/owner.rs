//! The owner of queues: an engine over tickets that live elsewhere, and over this node's own. It picks; homes decide (`home`).
//!
//! All it knows is soft: homes tell it again when it asks, when it is new, when it was thought dead. A ticket it has picked stays out of
//! the engine until its home says what became of it, and that is asked until it is answered.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use super::message::{CallId, NodeId, Pair, Peer, QueueKey, Seat};
use super::rows::HeardRow;
use crate::matchmaking::{Criteria, Hint, Match, Matchmaker, Person, Policy, Position, Refused, Ticket, TicketId};
use crate::time::Millis;

/// A pairing's tickets are asked for after so long: longer than a promise lasts.
pub(super) const CLAIM_MS: u64 = 1_250;
/// The engine's clock is ahead of the node's by a day, so that somebody who began to wait before this process did is not younger for it.
const AHEAD_MS: u64 = 24 * 3_600_000;

pub(super) struct Owner {
    me: Peer,
    engine: Matchmaker,
    homes: HashMap<NodeId, Ledger, FixedState>,
    entries: HashMap<TicketId, Entry, FixedState>,
    claims: HashMap<CallId, Claim, FixedState>,
    announced: u64,
    proposed: u64,
    max_of_node: usize,
}

/// One home's tickets.
#[derive(Default)]
struct Ledger {
    row: HeardRow,
    ids: HashMap<u64, TicketId, FixedState>,
}

struct Entry {
    home: Peer,
    number: u64,
    epoch: u32,
    queue: QueueKey,
    /// Picked: not in the engine.
    claim: Option<CallId>,
}

/// A pairing whose end is not known.
struct Claim {
    /// Those whose home has not said what became of them.
    sides: [Option<TicketId>; 2],
}

/// A ticket as a home says it.
pub(super) struct Waits<'a> {
    pub(super) home: Peer,
    pub(super) number: u64,
    pub(super) epoch: u32,
    pub(super) fresh: bool,
    pub(super) pool: &'a str,
    pub(super) queue: QueueKey,
    pub(super) ticket: Ticket,
}

/// Whose ticket made room for a newer one of the same person.
pub(super) type Displaced = Option<(Peer, u64, u32)>;

/// The engine's now.
pub(super) const fn ahead(now: Millis) -> Millis {
    now.after(AHEAD_MS)
}

impl Owner {
    pub(super) fn new(me: Peer, policy: Policy, max_of_node: usize) -> Owner {
        Owner {
            me,
            engine: Matchmaker::new(policy),
            homes: HashMap::default(),
            entries: HashMap::default(),
            claims: HashMap::default(),
            announced: 0,
            proposed: 0,
            max_of_node,
        }
    }

    pub(super) const fn engine(&self) -> &Matchmaker {
        &self.engine
    }

    pub(super) const fn engine_mut(&mut self) -> &mut Matchmaker {
        &mut self.engine
    }

    pub(super) fn row(&mut self, home: NodeId) -> &mut HeardRow {
        &mut self.homes.entry(home).or_default().row
    }

    /// A ticket waits, for the first time or again. `ticket.since` is on the engine's clock.
    pub(super) fn waits(&mut self, now: Millis, waits: Waits<'_>) -> Result<Displaced, Refused> {
        let Waits { home, number, epoch, fresh, pool, queue, mut ticket } = waits;
        if let Some(id) = self.id(home.node, number) {
            let entry = self.entries.get(&id);
            if entry.is_some_and(|entry| entry.claim.is_none() && entry.epoch >= epoch || entry.epoch > epoch) {
                return Ok(None);
            }
            self.remove(id);
        }
        let held = self.homes.get(&home.node).map_or(0, |ledger| ledger.ids.len());
        if home != self.me && held >= self.max_of_node {
            return Err(Refused::Full);
        }
        let displaced = if self.homes.len() > 1 { self.displace(&ticket, home, fresh) } else { None };
        self.announced += 1;
        let id = TicketId(self.announced);
        ticket.id = id;
        self.engine.enqueue(ahead(now), pool, ticket)?;
        self.entries.insert(id, Entry { home, number, epoch, queue, claim: None });
        self.homes.entry(home.node).or_default().ids.insert(number, id);
        Ok(displaced)
    }

    /// Somebody who came to another node leaves no shadow here. On one node the desk sees to that.
    fn displace(&mut self, ticket: &Ticket, home: Peer, fresh: bool) -> Displaced {
        let held = self.engine.ticket_of(ticket.person)?;
        let entry = self.entries.get(&held).filter(|entry| fresh && entry.home != home)?;
        let shadow = (entry.home, entry.number, entry.epoch);
        self.remove(held);
        Some(shadow)
    }

    /// A ticket does not wait any more.
    pub(super) fn gone(&mut self, home: NodeId, number: u64) {
        if let Some(id) = self.id(home, number) {
            self.remove(id);
        }
    }

    /// Everything that home ever said is void. Pairings that come to nothing by it.
    pub(super) fn forget_home(&mut self, home: NodeId) -> Vec<CallId> {
        let Some(ledger) = self.homes.get_mut(&home) else { return Vec::new() };
        let mut ids: Vec<TicketId> = std::mem::take(&mut ledger.ids).into_values().collect();
        ids.sort_unstable();
        let claims: Vec<CallId> = ids.iter().filter_map(|id| self.entries.get(id)?.claim).collect();
        for id in ids {
            self.remove(id);
        }
        claims
    }

    /// That home may come back with rows of another life.
    pub(super) fn bury_home(&mut self, home: NodeId) -> Vec<CallId> {
        let claims = self.forget_home(home);
        self.homes.remove(&home);
        claims
    }

    /// A ticket of this node asks for something else, and keeps its place.
    pub(super) fn tune(&mut self, now: Millis, number: u64, epoch: u32, criteria: Criteria) -> Result<(), Refused> {
        let id = self.in_engine(self.me.node, number).ok_or(Refused::Unknown)?;
        self.engine.tune(ahead(now), id, criteria)?;
        self.set_epoch(id, epoch);
        Ok(())
    }

    /// A ticket of this node avoids somebody more.
    pub(super) fn avoid(&mut self, number: u64, epoch: u32, person: Person) -> Result<(), Refused> {
        let id = self.in_engine(self.me.node, number).ok_or(Refused::Unknown)?;
        self.engine.avoid(id, person)?;
        self.set_epoch(id, epoch);
        Ok(())
    }

    fn set_epoch(&mut self, id: TicketId, epoch: u32) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.epoch = epoch;
        }
    }

    pub(super) fn position(&self, now: Millis, home: NodeId, number: u64) -> Option<Position> {
        self.engine.position(ahead(now), self.in_engine(home, number)?)
    }

    pub(super) fn hint(&self, home: NodeId, number: u64) -> Option<Hint> {
        self.engine.hint(self.in_engine(home, number)?)
    }

    pub(super) fn handle_timeout(&mut self, now: Millis) {
        self.engine.handle_timeout(ahead(now));
    }

    /// See [`Matchmaker::go_on`].
    pub(super) fn go_on(&mut self, now: Millis) {
        self.engine.go_on(ahead(now));
    }

    pub(super) fn poll_timeout(&self) -> Option<Millis> {
        self.engine.poll_timeout().map(|at| Millis(at.0.saturating_sub(AHEAD_MS)))
    }

    /// The next two who fit.
    pub(super) fn poll_pick(&mut self) -> Option<Pair> {
        while let Some(Match { waiter, arrival, waiter_stage, arrival_stage }) = self.engine.poll_match() {
            let call = CallId { owner: self.me, number: self.proposed + 1 };
            let (Some(one), Some(other)) =
                (self.pick(waiter, waiter_stage, call), self.pick(arrival, arrival_stage, call))
            else {
                continue; // an entry for each in the engine: cannot be
            };
            self.proposed += 1;
            self.claims.insert(call, Claim { sides: [Some(waiter), Some(arrival)] });
            // Our own ticket promises first: that saves a message.
            let decider_waited = one.0.home != self.me || other.0.home == self.me;
            let (decider, follower) = if decider_waited { (one.0, other.0) } else { (other.0, one.0) };
            return Some(Pair { call, queue: one.1, decider, follower, decider_waited });
        }
        None
    }

    fn pick(&mut self, id: TicketId, stage: u8, call: CallId) -> Option<(Seat, QueueKey)> {
        let entry = self.entries.get_mut(&id)?;
        entry.claim = Some(call);
        Some((Seat { home: entry.home, number: entry.number, epoch: entry.epoch, stage }, entry.queue))
    }

    /// A pairing came to nothing, or nobody says what became of it: whose tickets are to be asked for, until none is.
    pub(super) fn unsettled(&self, call: CallId) -> Vec<(Peer, u64)> {
        let sides = self.claims.get(&call).map_or([None; 2], |claim| claim.sides);
        let seat = |id| self.entries.get(&id).map(|entry: &Entry| (entry.home, entry.number));
        sides.into_iter().flatten().filter_map(seat).collect()
    }

    /// How many wait or are picked, of all homes.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    fn id(&self, home: NodeId, number: u64) -> Option<TicketId> {
        self.homes.get(&home)?.ids.get(&number).copied()
    }

    fn in_engine(&self, home: NodeId, number: u64) -> Option<TicketId> {
        let id = self.id(home, number)?;
        self.entries.get(&id).is_some_and(|entry| entry.claim.is_none()).then_some(id)
    }

    fn remove(&mut self, id: TicketId) {
        let Some(entry) = self.entries.remove(&id) else { return };
        if let Some(ledger) = self.homes.get_mut(&entry.home.node) {
            ledger.ids.remove(&entry.number);
        }
        let Some(call) = entry.claim else {
            self.engine.cancel(id);
            return;
        };
        let Some(claim) = self.claims.get_mut(&call) else { return };
        for side in &mut claim.sides {
            side.take_if(|side| *side == id);
        }
        if claim.sides == [None, None] {
            self.claims.remove(&call);
        }
    }

    #[cfg(test)]
    pub(super) fn claims(&self) -> usize {
        self.claims.len()
    }
}
