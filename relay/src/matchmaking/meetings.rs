//! Appointments: exactly the two whose tokens name the same meeting are matched, a booked lesson for instance.
//!
//! They wait beside the queues. Cohorts, blocks and that nobody meets themselves hold here as everywhere; level, gender, topics and
//! countries do not, because the app has chosen. Nobody widens, and nobody waits long: a meeting has two people.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use super::policy::{Policy, may_ever_meet};
use super::ticket::{Meeting, Person, Ticket, TicketId};
use super::{MAX_AVOID, Match, Refused};

/// People who wait for one meeting: the two it is for, and some more who got a token for it by mistake.
const MAX_WAITING: usize = 4;

#[derive(Default)]
pub(super) struct Meetings {
    // All keys are keyed hashes or numbers of ours.
    waiting: HashMap<Meeting, Vec<Ticket>, FixedState>,
    places: HashMap<TicketId, Meeting, FixedState>,
    persons: HashMap<Person, TicketId, FixedState>,
}

impl Meetings {
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn waits(&self, id: TicketId) -> bool {
        self.places.contains_key(&id)
    }

    pub(super) fn has(&self, person: Person) -> bool {
        self.persons.contains_key(&person)
    }

    pub(super) fn ticket_of(&self, person: Person) -> Option<TicketId> {
        self.persons.get(&person).copied()
    }

    /// Matches the ticket with the first of its meeting it may meet, or lets it wait.
    pub(super) fn join(&mut self, meeting: Meeting, ticket: Ticket, policy: &Policy) -> Result<Option<Match>, Refused> {
        let waiting = self.waiting.entry(meeting).or_default();
        if let Some(at) = waiting.iter().position(|other| may_ever_meet(&ticket, other, policy)) {
            let waiter = waiting[at].id;
            self.cancel(waiter);
            return Ok(Some(Match { waiter, arrival: ticket.id, waiter_stage: 0, arrival_stage: 0 }));
        }
        self.wait(meeting, ticket)
    }

    /// Lets the ticket wait, whoever else does.
    pub(super) fn wait(&mut self, meeting: Meeting, ticket: Ticket) -> Result<Option<Match>, Refused> {
        let waiting = self.waiting.entry(meeting).or_default();
        if waiting.len() >= MAX_WAITING {
            return Err(Refused::Full);
        }
        self.places.insert(ticket.id, meeting);
        self.persons.insert(ticket.person, ticket.id);
        waiting.push(ticket);
        Ok(None)
    }

    /// Matches one that waits with the first of its meeting it may meet.
    pub(super) fn search_again(&mut self, id: TicketId, policy: &Policy) -> Option<Match> {
        let waiting = self.waiting.get(self.places.get(&id)?)?;
        let ticket = waiting.iter().find(|ticket| ticket.id == id)?;
        let other = waiting.iter().find(|other| other.id != id && may_ever_meet(ticket, other, policy))?.id;
        [id, other].into_iter().for_each(|id| _ = self.cancel(id));
        Some(Match { waiter: id.min(other), arrival: id.max(other), waiter_stage: 0, arrival_stage: 0 })
    }

    /// Takes a ticket out; false if it does not wait here.
    pub(super) fn cancel(&mut self, id: TicketId) -> bool {
        let Some(meeting) = self.places.remove(&id) else { return false };
        let Some(waiting) = self.waiting.get_mut(&meeting) else { return false };
        if let Some(at) = waiting.iter().position(|ticket| ticket.id == id) {
            self.persons.remove(&waiting.remove(at).person);
        }
        if waiting.is_empty() {
            self.waiting.remove(&meeting);
        }
        true
    }

    pub(super) fn avoid(&mut self, id: TicketId, person: Person) -> Result<(), Refused> {
        let meeting = self.places.get(&id).ok_or(Refused::Unknown)?;
        let waiting = self.waiting.get_mut(meeting).ok_or(Refused::Unknown)?;
        let ticket = waiting.iter_mut().find(|ticket| ticket.id == id).ok_or(Refused::Unknown)?;
        if ticket.avoid.len() >= MAX_AVOID {
            return Err(Refused::Full);
        }
        ticket.avoid.push(person);
        Ok(())
    }
}
