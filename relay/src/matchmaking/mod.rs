//! Who talks to whom.
//!
//! A pure machine: (event, time) in, pairs out. No clock, randomness or socket inside, so a tape of events replays exactly.
//!
//! Driving it: call one of `enqueue`, `cancel`, `tune`, `handle_timeout`; then take every pair from `poll_match`; then sleep
//! until `poll_timeout` and call `handle_timeout`. A deadline in the past means work is left over from a slice: call again
//! after the arrivals that are waiting.

mod policy;
mod recent;
mod ticket;

pub use policy::{Policy, compatible};
pub use recent::{MAX_RECENT, Pepper, RECENT_TTL_MS, RecentPartners};
pub use ticket::{
    Band, Criteria, Gender, GenderSet, Level, MAX_AVOID, MAX_TOPICS, Person, STAGES, Ticket, TicketId, TopicMode, TopicSet,
};

use crate::time::Millis;

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
pub struct Matchmaker {}

impl Matchmaker {
    pub fn new(_policy: Policy) -> Matchmaker {
        Matchmaker {}
    }

    /// Matches the ticket at once or lets it wait in `pool` since `ticket.since`.
    pub fn enqueue(&mut self, _now: Millis, _pool: &str, _ticket: Ticket) -> Result<(), Refused> {
        Err(Refused::Full)
    }

    /// Takes the ticket out of its queue; false if it does not wait (any more).
    pub fn cancel(&mut self, _id: TicketId) -> bool {
        false
    }

    /// Changes what a waiting ticket asks for. It keeps its place, and is matched at once if that is now possible.
    pub fn tune(&mut self, _now: Millis, _id: TicketId, _criteria: Criteria) -> Result<(), Refused> {
        Err(Refused::Unknown)
    }

    /// Adds somebody to the people a waiting ticket avoids; holds from the next event on.
    pub fn avoid(&mut self, _id: TicketId, _person: Person) -> Result<(), Refused> {
        Err(Refused::Unknown)
    }

    /// Where the ticket stands; `None` if it does not wait (any more).
    pub fn position(&self, _now: Millis, _id: TicketId) -> Option<Position> {
        None
    }

    /// Does the widening that is due, at most one slice of it.
    pub fn handle_timeout(&mut self, _now: Millis) {}

    /// When to call [`Matchmaker::handle_timeout`] next; in the past while a slice is left over.
    pub fn poll_timeout(&self) -> Option<Millis> {
        None
    }

    /// The next pair, in the order they were made.
    pub fn poll_match(&mut self) -> Option<Match> {
        None
    }

    /// Tickets waiting in all pools.
    pub fn waiting(&self) -> usize {
        0
    }
}
