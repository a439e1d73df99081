//! One queue: those of one pool and one age cohort. A ticket in here can be paired with tickets in here, and with no others.
//!
//! Every event (arrival, change, widening) searches once, at the stage it leaves the ticket at. So whenever no widening is due and no search
//! is unfinished, no two who wait are compatible.

use std::collections::VecDeque;
use std::sync::Arc;

use super::arena::{Arena, Entry, Rank, Slot};
use super::bucket::{Bucket, CLASSES, Masks};
use super::crowd::Crowd;
use super::index::Index;
use super::policy::{Avoided, Policy, Recent};
use super::rates::Rates;
use super::region::Region;
use super::scan::Scan;
use super::search::{Field, Found, Seeker, search};
use super::stages::{Stages, reached};
use super::ticket::{Band, Criteria, Person, Ticket, TicketId};
use super::{Position, Refused, ticket::MAX_AVOID};
use crate::time::Millis;

/// What all engines of a matchmaker have in common.
pub(super) struct Rules {
    pub(super) policy: Policy,
    pub(super) masks: Masks,
    pub(super) limits: Limits,
}

/// How much one event may do.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// Tickets a search may pass over because one of the two avoids the other.
    pub(super) skips: u32,
    /// Work of one `handle_timeout`, in tickets or buckets looked at: well under a millisecond.
    pub(super) slice: u32,
    /// Tickets that an unfinished search looks at in one `handle_timeout`.
    pub(super) scan: u32,
}

impl Limits {
    pub(super) const DEFAULT: Limits = Limits { skips: 4096, slice: 8192, scan: 4096 };
}

/// What a change of stage costs besides its search, in the unit of [`Limits::slice`].
const RELINK_WORK: u32 = 8;

/// One of two who were paired.
#[derive(Clone, Copy)]
pub(super) struct Side {
    pub(super) id: TicketId,
    pub(super) person: Person,
    pub(super) stage: u8,
    /// Where it waited; `None` if it never did.
    pub(super) slot: Option<u32>,
}

#[derive(Clone, Copy)]
pub(super) struct Pairing {
    pub(super) waiter: Side,
    pub(super) arrival: Side,
}

/// What awaits an arrival: holds until the next event.
#[derive(Clone, Copy)]
pub(super) struct Prospect {
    rank: Rank,
    bucket: Bucket,
    rule: Recent,
    pub(super) found: Found,
}

pub(super) struct Engine {
    rules: Arc<Rules>,
    /// Whom it is for.
    pub(super) bands: &'static [Band],
    pub(super) arena: Arena,
    index: Index,
    stages: Stages,
    rates: Rates,
    /// Seniority per class, for positions.
    crowds: Box<[Crowd; CLASSES]>,
    /// Searches that ran out of skips.
    scans: VecDeque<Scan>,
    arrivals: u32,
    /// Nobody is looked for.
    pub(super) held: bool,
}

impl Engine {
    pub(super) fn new(rules: Arc<Rules>, bands: &'static [Band]) -> Engine {
        Engine {
            rules,
            bands,
            arena: Arena::default(),
            index: Index::default(),
            stages: Stages::new(),
            rates: Rates::new(),
            crowds: Box::new(std::array::from_fn(|_| Crowd::default())),
            scans: VecDeque::new(),
            arrivals: 0,
            held: false,
        }
    }

    /// Looks for a partner for somebody who has not been let in yet: the longest part of an arrival, which changes nothing.
    /// `rule`: what recent partners are to it.
    pub(super) fn look(&mut self, now: Millis, ticket: &Ticket, rule: Recent) -> Prospect {
        self.rates.advance(now);
        let rank = Rank::new(ticket.since.min(now), self.arrivals.wrapping_add(1));
        let fresh = Bucket::new(ticket.gender, &ticket.criteria(), 0);
        let bucket = reached(fresh, rank, now, &self.rates, &self.rules.policy);
        let &Ticket { person, topics, avoid: ref blocked, ref recent, .. } = ticket;
        let avoid = Avoided { blocked, recent }.at_stage(bucket.stage(), rule);
        let seeker = Seeker { bucket, person, topics, region: region(ticket), avoid };
        let (found, _) = self.find(&seeker);
        if let Found::Partner(waiter) = found {
            self.arena.read_ahead(waiter);
        }
        Prospect { rank, bucket, rule, found }
    }

    /// Pairs the ticket with whom was found for it just now, or returns the slot it waits in.
    pub(super) fn enqueue(&mut self, ticket: Ticket, prospect: Prospect) -> Result<Pairing, u32> {
        let Prospect { rank, bucket, rule, found } = prospect;
        let region = region(&ticket);
        let Ticket { id, person, topics, mut avoid, recent, .. } = ticket;
        self.arrivals = self.arrivals.wrapping_add(1);
        self.rates.arrived(bucket);
        if let Found::Partner(waiter) = found {
            let arrival = Side { id, person, stage: bucket.stage(), slot: None };
            return Ok(Pairing { waiter: self.take(waiter), arrival });
        }
        avoid.extend_from_slice(&recent);
        let (avoid, recent) = (avoid.into_boxed_slice(), recent.len() as u8);
        let at = self.arena.insert(Entry { rank, person, id, topics, avoid, recent, rule, region, bucket });
        self.crowds[bucket.class()].insert(rank);
        self.wait(at, found);
        Err(at)
    }

    /// Takes a ticket out.
    pub(super) fn cancel(&mut self, at: u32) {
        self.arena.read_ahead(at);
        self.lift(at);
        self.discharge(at);
    }

    /// Gives a waiting ticket other criteria and its old seniority; its patience begins anew.
    pub(super) fn tune(&mut self, now: Millis, at: u32, criteria: &Criteria) -> Option<Pairing> {
        self.rates.advance(now);
        self.lift(at);
        let rank = self.arena.rank(at);
        let slot = self.arena.slot_mut(at);
        let old = slot.bucket;
        let fresh = Bucket::new(old.gender(), criteria, 0);
        slot.topics = criteria.topics;
        slot.region.wanted = criteria.countries;
        slot.bucket = reached(fresh, rank, now, &self.rates, &self.rules.policy);
        self.crowds[old.class()].remove(rank);
        self.crowds[fresh.class()].insert(rank);
        self.settle(at).0
    }

    /// Looks for a partner for somebody who came or changed while nobody was looked for.
    pub(super) fn search_again(&mut self, now: Millis, at: u32) -> Option<Pairing> {
        self.rates.advance(now);
        self.lift(at);
        self.settle(at).0
    }

    /// Adds somebody to avoid. Nothing else changes: who was not compatible before is not now.
    pub(super) fn avoid(&mut self, at: u32, person: Person) -> Result<(), Refused> {
        let slot = self.arena.slot_mut(at);
        let (blocked, recent) = slot.avoid.split_at(slot.blocks());
        let Err(place) = blocked.binary_search(&person) else { return Ok(()) };
        if let Ok(known) = recent.binary_search(&person) {
            // A recent partner becomes a block: those between the two places move up by one.
            let known = blocked.len() + known;
            slot.avoid[place..=known].rotate_right(1);
            slot.recent -= 1;
            return Ok(());
        }
        if slot.avoid.len() >= MAX_AVOID {
            return Err(Refused::Full);
        }
        let mut avoid = std::mem::take(&mut slot.avoid).into_vec();
        avoid.insert(place, person);
        slot.avoid = avoid.into_boxed_slice();
        Ok(())
    }

    pub(super) fn position(&self, now: Millis, at: u32) -> Position {
        let slot = self.arena.slot(at);
        let ahead = self.crowds[slot.bucket.class()].below(self.arena.rank(at)) as u32;
        Position { ahead, stage: slot.bucket.stage(), eta: self.rates.eta(now, slot.bucket, ahead) }
    }

    /// How many wait in a class.
    pub(super) fn crowd(&self, class: usize) -> u32 {
        self.crowds[class].len() as u32
    }

    /// Does what is due, until `budget` is used up; pairs go to `out`.
    pub(super) fn work(&mut self, now: Millis, budget: &mut u32, out: &mut Vec<Pairing>) {
        self.rates.advance(now);
        while *budget > 0
            && let Some(at) = self.stages.due(now, &self.arena, &self.rules.policy)
        {
            let (pairing, work) = self.widen(now, at);
            out.extend(pairing);
            *budget = budget.saturating_sub(work + RELINK_WORK);
        }
        // In addition to the budget, so that a storm of widening does not hold it up.
        if let Some(scan) = self.scans.pop_front() {
            *budget = budget.saturating_sub(self.rules.limits.scan.max(1));
            out.extend(self.scan(scan));
        }
    }

    /// When [`Engine::work`] has something to do: now, while a search is unfinished.
    pub(super) fn poll_timeout(&self, now: Millis) -> Option<Millis> {
        let next = self.stages.next(&self.rules.policy);
        if self.scans.is_empty() { next } else { Some(next.map_or(now, |due| due.min(now))) }
    }

    /// Moves a ticket to its next stage, or further if waiting there is pointless, and looks for a partner once more.
    fn widen(&mut self, now: Millis, at: u32) -> (Option<Pairing>, u32) {
        self.lift(at);
        let rank = self.arena.rank(at);
        let slot = self.arena.slot_mut(at);
        let next = slot.bucket.at_stage(slot.bucket.stage() + 1);
        slot.bucket = reached(next, rank, now, &self.rates, &self.rules.policy);
        self.settle(at)
    }

    fn find(&self, seeker: &Seeker<'_>) -> (Found, u32) {
        if self.held { (Found::Nobody, 0) } else { search(self.field(), seeker, self.rules.limits.skips) }
    }

    /// Pairs a lifted ticket, or lets it wait where it belongs now.
    fn settle(&mut self, at: u32) -> (Option<Pairing>, u32) {
        let (found, work) = self.find(&self.seeker(at));
        if let Found::Partner(waiter) = found {
            self.arena.read_ahead(waiter);
            let waiter = self.take(waiter);
            self.rates.matched(self.arena.slot(at).bucket);
            return (Some(Pairing { waiter, arrival: self.discharge(at) }), work);
        }
        self.wait(at, found);
        (None, work)
    }

    /// Puts a ticket into the lists, and remembers to go on with its search if that was not finished.
    fn wait(&mut self, at: u32, found: Found) {
        self.index.link(&mut self.arena, at);
        self.stages.link(&mut self.arena, at);
        if found == Found::TooManySkips {
            // At most one for each who waits, once those of the tuned, widened and gone are left out.
            if self.scans.len() >= self.arena.len() {
                self.scans.retain(|scan| scan.seeker(&self.arena).is_some());
            }
            self.scans.push_back(Scan::new(at, self.arena.slot(at).epoch));
        }
    }

    /// Takes a ticket out of the lists; it keeps its slot and its place in the crowd.
    fn lift(&mut self, at: u32) {
        self.index.unlink(&mut self.arena, at);
        self.stages.unlink(&mut self.arena, at);
        let slot = self.arena.slot_mut(at);
        slot.epoch = slot.epoch.wrapping_add(1);
    }

    /// Forgets a lifted ticket.
    fn discharge(&mut self, at: u32) -> Side {
        let slot = self.arena.slot(at);
        let side = Side { id: slot.id, person: slot.person, stage: slot.bucket.stage(), slot: Some(at) };
        self.crowds[slot.bucket.class()].remove(self.arena.rank(at));
        self.arena.remove(at);
        side
    }

    /// Takes a waiting ticket out because it has been found.
    fn take(&mut self, at: u32) -> Side {
        self.rates.matched(self.arena.slot(at).bucket);
        self.lift(at);
        self.discharge(at)
    }

    /// One slice of an unfinished search.
    fn scan(&mut self, mut scan: Scan) -> Option<Pairing> {
        let seeker = scan.seeker(&self.arena)?;
        if !scan.advance(self.field(), &self.seeker(seeker), self.rules.limits.scan) {
            self.scans.push_back(scan);
            return None;
        }
        let partner = scan.partner()?;
        let waiter = self.take(partner);
        Some(Pairing { waiter, arrival: self.take(seeker) })
    }

    /// Searches that go on from the timer.
    #[cfg(test)]
    pub(super) fn unfinished(&self) -> usize {
        self.scans.len()
    }

    fn seeker(&self, at: u32) -> Seeker<'_> {
        let slot = self.arena.slot(at);
        let &Slot { bucket, person, topics, region, .. } = slot;
        Seeker { bucket, person, topics, region, avoid: slot.avoided() }
    }

    pub(super) fn field(&self) -> Field<'_> {
        Field { arena: &self.arena, index: &self.index, masks: &self.rules.masks, policy: &self.rules.policy }
    }
}

fn region(ticket: &Ticket) -> Region {
    Region { home: ticket.country, wanted: ticket.countries }
}
