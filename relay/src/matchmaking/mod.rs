//! Who talks to whom.
//!
//! A pure machine: (event, time) in, pairs out. No clock, randomness or socket inside, so a tape of events replays exactly.
//!
//! Driving it: call one of `enqueue`, `cancel`, `tune`, `handle_timeout`; then take every pair from `poll_match`; then sleep
//! until `poll_timeout` and call `handle_timeout`. A deadline in the past means work is left over from a slice: call again
//! after the arrivals that are waiting.

//!
//! Inside, a ticket goes: `Matchmaker` (which pool, which cohort) → `engine` (what an event does) → `search` (the exact best partner, over
//! `index`, `bucket` and `arena`) → out as a [`Match`], or into the lists, from where `stages` bring it back to the search.

mod arena;
mod bucket;
mod census;
mod cohorts;
mod crowd;
mod deadlines;
mod directory;
mod engine;
mod hint;
mod index;
mod meetings;
mod policy;
mod rates;
mod recent;
mod region;
mod scan;
mod search;
mod stages;
mod ticket;

#[cfg(test)]
pub(crate) mod tests;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use foldhash::fast::FixedState;

use arena::Rank;
use bucket::Masks;
use cohorts::Cohorts;
use deadlines::Deadlines;
use directory::{Directory, MAX_ENGINES, MAX_SLOTS, Place};
use engine::{Engine, Limits, Pairing, Prospect, Rules};
use meetings::Meetings;
use search::Found;

pub use census::{Census, Group, Starved, TOLD_TOGETHER, Waiting};
pub use hint::{Hint, Relax};
pub(crate) use policy::bands_meet;
pub use policy::{Policy, Recent, compatible};
pub use recent::{MAX_RECENT, Pepper, RECENT_TTL_MS, RecentPartners, entry};
pub use region::{Countries, Country, MAX_COUNTRIES};
pub use ticket::{
    Band, Criteria, Gender, GenderSet, Level, MAX_AVOID, MAX_TOPICS, Meeting, Person, STAGES, Ticket, TicketId,
    TopicMode, TopicSet,
};

use crate::time::Millis;

/// People who were held and are looked for in a row: less than a millisecond's work.
const CATCH_UP_SLICE: usize = 512;

/// Two tickets that left the queue together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match {
    /// The one that was found waiting.
    pub waiter: TicketId,
    /// The one whose arrival, change or widening found the other.
    pub arrival: TicketId,
    /// Stages at the moment of the match.
    pub waiter_stage: u8,
    pub arrival_stage: u8,
}

/// Where a waiting ticket stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Waiting tickets of the same gender, wish and level that are older.
    pub ahead: u32,
    pub stage: u8,
    /// `None` when there is nothing to estimate from.
    pub eta: Option<Eta>,
}

/// When a match is expected, from now, in milliseconds: half and nine tenths of the waits are shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Eta {
    pub p50_ms: u64,
    pub p90_ms: u64,
}

/// Why a ticket was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The number is already waiting.
    DuplicateTicket,
    /// The person is already waiting.
    DuplicatePerson,
    /// The bound on tickets or pools is reached.
    Full,
    /// Wants nobody, too many topics, a distance above 5, or too long an avoid list.
    BadCriteria,
    /// No such ticket is waiting.
    Unknown,
}

/// All queues of this server: pools by name, each split into age cohorts that share nothing.
pub struct Matchmaker {
    rules: Arc<Rules>,
    /// What recent partners are to whoever comes now.
    recent: Recent,
    /// The latest time seen. A clock that steps back is held.
    now: Millis,
    pools: HashMap<Box<str>, Cohorts, FixedState>,
    engines: Vec<Engine>,
    spare: Vec<u16>,
    tickets: Directory,
    persons: Directory,
    meetings: Meetings,
    waiting: usize,
    deadlines: Deadlines,
    matches: VecDeque<Match>,
    /// Nobody is paired.
    held: bool,
    /// Who came or changed meanwhile, and waits; who has waited longest first, beside those of appointments.
    unsearched: BTreeSet<(Option<Rank>, TicketId)>,
    /// Reused between events.
    pairings: Vec<Pairing>,
}

impl Matchmaker {
    /// Longest name of a pool, in bytes.
    pub const MAX_POOL_NAME: usize = 128;

    /// An empty matchmaker. Bounds beyond what it can hold (8 million tickets, 21 thousand pools) are lowered to that.
    pub fn new(policy: Policy) -> Matchmaker {
        Matchmaker::with_limits(policy, Limits::DEFAULT)
    }

    fn with_limits(mut policy: Policy, limits: Limits) -> Matchmaker {
        policy.max_tickets = policy.max_tickets.min(MAX_SLOTS);
        policy.max_pools = policy.max_pools.min(MAX_ENGINES / 3);
        policy.widen_after_ms = policy.widen_after_ms.map(|after| after.min(Policy::MAX_WIDEN_MS));
        let bound = policy.max_tickets;
        let masks = Masks::new(&policy);
        Matchmaker {
            recent: policy.recent,
            rules: Arc::new(Rules { policy, masks, limits }),
            now: Millis(0),
            pools: HashMap::default(),
            engines: Vec::new(),
            spare: Vec::new(),
            tickets: Directory::of_counted(bound),
            persons: Directory::of_any(bound),
            meetings: Meetings::default(),
            waiting: 0,
            deadlines: Deadlines::default(),
            matches: VecDeque::new(),
            held: false,
            unsearched: BTreeSet::new(),
            pairings: Vec::new(),
        }
    }

    /// From now on recent partners are this to whoever comes. Those who wait were told that no partner of theirs is there, and go on under
    /// the rule they came under.
    pub fn set_recent(&mut self, recent: Recent) {
        self.recent = recent;
    }

    /// Pairs nobody before [`Matchmaker::go_on`]: who comes or changes waits, and nobody widens.
    pub fn hold(&mut self) {
        self.held = true;
        self.engines.iter_mut().for_each(|engine| engine.held = true);
    }

    /// Pairs again, first those who came or changed meanwhile: whoever has waited longest chooses first. A slice of them now, the rest from the
    /// timer.
    pub fn go_on(&mut self, now: Millis) {
        let now = self.advance(now);
        self.held = false;
        self.engines.iter_mut().for_each(|engine| engine.held = false);
        self.catch_up(now);
    }

    /// Looks for those who were not looked for, at most one slice of them.
    fn catch_up(&mut self, now: Millis) {
        for _ in 0..CATCH_UP_SLICE {
            let Some((_, id)) = self.unsearched.pop_first() else { break };
            let Some(place) = self.place(id) else {
                self.matches.extend(self.meetings.search_again(id, &self.rules.policy));
                continue;
            };
            let pairing = self.engines[usize::from(place.engine)].search_again(now, place.slot);
            self.pairings.extend(pairing);
            self.settle(place.engine);
        }
    }

    /// Matches the ticket at once or lets it wait in `pool`, with the seniority of `ticket.since`.
    ///
    /// # Errors
    /// [`Refused`]; the ticket is then not waiting, and whoever waits already is not touched.
    pub fn enqueue(&mut self, now: Millis, pool: &str, mut ticket: Ticket) -> Result<(), Refused> {
        let now = self.advance(now);
        if !is_acceptable(pool, &ticket) {
            return Err(Refused::BadCriteria);
        }
        let Ticket { avoid, recent, .. } = &mut ticket;
        for list in [&mut *avoid, recent] {
            list.sort_unstable();
            list.dedup();
        }
        recent.retain(|person| avoid.binary_search(person).is_err());
        let prospect = self.look(now, pool, &ticket);
        self.admit(&ticket)?;
        if let Some(meeting) = ticket.meeting {
            let id = ticket.id;
            let found = match self.held {
                true => self.meetings.wait(meeting, ticket)?,
                false => self.meetings.join(meeting, ticket, &self.rules.policy)?,
            };
            self.matches.extend(found);
            self.note_unsearched(id);
            return Ok(());
        }
        let (engine, prospect) = match prospect {
            Some(prospect) => prospect,
            None => {
                let engine = self.open_pool(pool)?.engine(ticket.band);
                (engine, self.engines[usize::from(engine)].look(now, &ticket, self.recent))
            }
        };
        let (id, person) = (ticket.id, ticket.person);
        match self.engines[usize::from(engine)].enqueue(ticket, prospect) {
            Ok(pairing) => self.pairings.push(pairing),
            Err(slot) => {
                self.tickets.insert(id.0, Place { engine, slot });
                self.persons.insert(person.0, Place { engine, slot });
                self.waiting += 1;
                self.note_unsearched(id);
            }
        }
        self.settle(engine);
        Ok(())
    }

    fn note_unsearched(&mut self, id: TicketId) {
        if self.held {
            let turn = (self.place(id).map(|place| self.rank(place)), id);
            self.unsearched.insert(turn);
        }
    }

    fn rank(&self, Place { engine, slot }: Place) -> Rank {
        self.engines[usize::from(engine)].arena.rank(slot)
    }

    /// Looks for a partner before anybody asks whether the ticket may come in, and meanwhile reads ahead what that question and the
    /// match will ask for: most of the price of an arrival is waiting for memory, so as little as possible is waited for in turn.
    fn look(&mut self, now: Millis, pool: &str, ticket: &Ticket) -> Option<(u16, Prospect)> {
        self.tickets.read_ahead(ticket.id.0);
        self.persons.read_ahead(ticket.person.0);
        if ticket.meeting.is_some() {
            return None;
        }
        let number = self.pools.get(pool)?.engine(ticket.band);
        let engine = &mut self.engines[usize::from(number)];
        let prospect = engine.look(now, ticket, self.recent);
        if let Found::Partner(waiter) = prospect.found {
            let slot = engine.arena.slot(waiter);
            self.tickets.read_ahead(slot.id.0);
            self.persons.read_ahead(slot.person.0);
        }
        Some((number, prospect))
    }

    /// Takes the ticket out of its queue; false if it does not wait (any more).
    pub fn cancel(&mut self, id: TicketId) -> bool {
        let place = self.place(id);
        if !self.unsearched.is_empty() {
            let turn = (place.map(|place| self.rank(place)), id);
            self.unsearched.remove(&turn);
        }
        let Some(place) = place else { return self.meetings.cancel(id) };
        let engine = &mut self.engines[usize::from(place.engine)];
        let person = engine.arena.slot(place.slot).person;
        self.persons.read_ahead(person.0);
        engine.cancel(place.slot);
        self.forget(place, id, person);
        self.settle(place.engine);
        true
    }

    /// Changes what a waiting ticket asks for. It keeps its seniority, and is matched at once if that is now possible.
    ///
    /// # Errors
    /// [`Refused::Unknown`] or [`Refused::BadCriteria`]; the ticket then waits as before, if it does.
    pub fn tune(&mut self, now: Millis, id: TicketId, criteria: Criteria) -> Result<(), Refused> {
        let now = self.advance(now);
        let meets = self.meetings.waits(id);
        let place = self.place(id);
        if place.is_none() && !meets {
            return Err(Refused::Unknown);
        }
        if !criteria.is_valid() {
            return Err(Refused::BadCriteria);
        }
        // An appointment does not ask for anything.
        let Some(place) = place else { return Ok(()) };
        let pairing = self.engines[usize::from(place.engine)].tune(now, place.slot, &criteria);
        self.pairings.extend(pairing);
        self.note_unsearched(id);
        self.settle(place.engine);
        Ok(())
    }

    /// Adds somebody to the people a waiting ticket avoids; holds from the next event on.
    ///
    /// # Errors
    /// [`Refused::Unknown`], or [`Refused::Full`] if the ticket avoids [`MAX_AVOID`] people already.
    pub fn avoid(&mut self, id: TicketId, person: Person) -> Result<(), Refused> {
        let Some(place) = self.place(id) else { return self.meetings.avoid(id, person) };
        self.engines[usize::from(place.engine)].avoid(place.slot, person)
    }

    /// Where the ticket stands; `None` if it does not wait (any more).
    pub fn position(&self, now: Millis, id: TicketId) -> Option<Position> {
        if self.meetings.waits(id) {
            return Some(Position { ahead: 0, stage: 0, eta: None });
        }
        let place = self.place(id)?;
        Some(self.engines[usize::from(place.engine)].position(now, place.slot))
    }

    /// Which one of its wishes, if given up, would match the ticket at once, and with how many; `None` if none would, or if it does not wait.
    pub fn hint(&self, id: TicketId) -> Option<Hint> {
        let place = self.place(id)?;
        self.engines[usize::from(place.engine)].hint(place.slot)
    }

    /// Looks for those who were held, and does the widening that is due, at most one slice of each.
    pub fn handle_timeout(&mut self, now: Millis) {
        let now = self.advance(now);
        if self.held {
            return;
        }
        self.catch_up(now);
        let mut budget = self.rules.limits.slice;
        while budget > 0
            && let Some(engine) = self.deadlines.due(now)
        {
            self.engines[usize::from(engine)].work(now, &mut budget, &mut self.pairings);
            self.settle(engine);
        }
    }

    /// When to call [`Matchmaker::handle_timeout`] next; not in the future while a slice is left over.
    pub fn poll_timeout(&self) -> Option<Millis> {
        let work_left = (!self.unsearched.is_empty()).then_some(self.now);
        work_left.or(self.deadlines.next()).filter(|_| !self.held)
    }

    /// The next pair, in the order they were made.
    pub fn poll_match(&mut self) -> Option<Match> {
        self.matches.pop_front()
    }

    /// The ticket with which that person waits.
    pub(crate) fn ticket_of(&self, person: Person) -> Option<TicketId> {
        let slot = |place: Place| self.engines[usize::from(place.engine)].arena.slot(place.slot);
        let place = self.persons.find(person.0, |place| slot(place).person == person);
        place.map(|place| slot(place).id).or_else(|| self.meetings.ticket_of(person))
    }

    /// Tickets waiting in all pools.
    pub fn waiting(&self) -> usize {
        self.waiting + self.meetings.len()
    }

    /// Goes on with a census for one slice, a fraction of a millisecond; whether all have been counted.
    pub fn count(&self, now: Millis, census: &mut Census) -> bool {
        census.advance(now, &self.engines, self.meetings.len())
    }

    /// Searches that go on from the timer.
    #[cfg(test)]
    fn unfinished(&self) -> usize {
        self.engines.iter().map(Engine::unfinished).sum()
    }

    /// Places in lists that are kept beside the chain.
    #[cfg(test)]
    fn stands_beside(&self) -> usize {
        self.engines.iter().map(|engine| engine.arena.stands_beside()).sum()
    }

    fn advance(&mut self, now: Millis) -> Millis {
        self.now = self.now.max(now);
        self.now
    }

    fn admit(&self, ticket: &Ticket) -> Result<(), Refused> {
        if self.place(ticket.id).is_some() || self.meetings.waits(ticket.id) {
            return Err(Refused::DuplicateTicket);
        }
        let same =
            |place: Place| self.engines[usize::from(place.engine)].arena.slot(place.slot).person == ticket.person;
        if self.persons.find(ticket.person.0, same).is_some() || self.meetings.has(ticket.person) {
            return Err(Refused::DuplicatePerson);
        }
        if self.waiting() >= self.rules.policy.max_tickets { Err(Refused::Full) } else { Ok(()) }
    }

    fn place(&self, id: TicketId) -> Option<Place> {
        self.tickets.find(id.0, |place| self.engines[usize::from(place.engine)].arena.slot(place.slot).id == id)
    }

    /// Makes the engines of a pool that is named for the first time. At the bound an empty pool makes room.
    fn open_pool(&mut self, pool: &str) -> Result<&Cohorts, Refused> {
        if self.pools.len() >= self.rules.policy.max_pools {
            self.drop_empty_pool()?;
        }
        let Matchmaker { rules, engines, spare, held, .. } = self;
        let fresh = |bands| {
            let mut engine = Engine::new(Arc::clone(rules), bands);
            engine.held = *held;
            engine
        };
        let cohorts = Cohorts::new(rules.policy.minor_bands_meet, |bands| match spare.pop() {
            Some(number) => {
                engines[usize::from(number)] = fresh(bands);
                number
            }
            None => {
                engines.push(fresh(bands));
                (engines.len() - 1) as u16
            }
        });
        Ok(self.pools.entry(pool.into()).or_insert(cohorts))
    }

    fn drop_empty_pool(&mut self) -> Result<(), Refused> {
        let is_empty =
            |cohorts: &Cohorts| cohorts.engines().all(|engine| self.engines[usize::from(engine)].arena.len() == 0);
        let (name, cohorts) = self.pools.iter().find(|(_, cohorts)| is_empty(cohorts)).ok_or(Refused::Full)?;
        let (name, engines): (Box<str>, Vec<u16>) = (name.clone(), cohorts.engines().collect());
        self.pools.remove(&name);
        for engine in engines {
            self.deadlines.set(engine, self.now, None);
            self.spare.push(engine);
        }
        Ok(())
    }

    /// After an event in an engine: reports its pairs and notes when it wants to be woken.
    fn settle(&mut self, engine: u16) {
        let mut pairings = std::mem::take(&mut self.pairings);
        for Pairing { waiter, arrival } in pairings.drain(..) {
            for side in [waiter, arrival] {
                if let Some(slot) = side.slot {
                    self.forget(Place { engine, slot }, side.id, side.person);
                }
            }
            let (waiter_stage, arrival_stage) = (waiter.stage, arrival.stage);
            self.matches.push_back(Match { waiter: waiter.id, arrival: arrival.id, waiter_stage, arrival_stage });
        }
        self.pairings = pairings;
        let timeout = self.engines[usize::from(engine)].poll_timeout(self.now);
        self.deadlines.set(engine, self.now, timeout);
    }

    fn forget(&mut self, place: Place, id: TicketId, person: Person) {
        self.tickets.remove(id.0, place);
        self.persons.remove(person.0, place);
        self.waiting -= 1;
    }
}

/// Whether any engine would take it.
pub(crate) fn is_acceptable(pool: &str, ticket: &Ticket) -> bool {
    ticket.criteria().is_valid()
        && ticket.recent.len() <= MAX_RECENT
        && ticket.avoid.len() + ticket.recent.len() <= MAX_AVOID
        && pool.len() <= Matchmaker::MAX_POOL_NAME
}
