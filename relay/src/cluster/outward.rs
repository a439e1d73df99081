//! What follows from an input: effects of homes, picks of our engine, and what others are told of that.

use foldhash::fast::FixedState;
use std::collections::HashMap;

use super::attributes::Attributes;
use super::home::Effect;
use super::members::{DEAD_AFTER_MS, GATHER_MS};
use super::message::{Announcement, Body, CallId, Envelope, MAX_NAMED, Op, Pair, Peer, QueueKey, Turned};
use super::owner::{self, Waits};
use super::timers::Timer;
use super::{ASK_AGAIN_MS, Cluster, Output, SILENT_MS, To, rows};
use crate::matchmaking::{Match, Refused, TicketId};

impl Cluster {
    /// After every input: what homes decided, engines picked and we said to ourselves, until nothing is left; then out with what is urgent.
    pub(super) fn settle(&mut self) {
        loop {
            if let Some(effect) = self.home.poll() {
                self.act(effect);
            } else if let Some(body) = self.inbox.pop_front() {
                self.hear(self.me, body);
            } else if let Some(pair) = self.owner.poll_pick() {
                self.propose(pair);
            } else {
                break;
            }
        }
        while let Some((to, body)) = self.rows.poll(self.clock) {
            self.send(to, body);
        }
        self.counters.set_gauges(self.members.alive(), self.members.is_alone(), self.owner.len());
    }

    fn act(&mut self, effect: Effect) {
        match effect {
            Effect::Send(to, body) => {
                self.counters.count_said(&body);
                self.send(to, body);
            }
            Effect::Paired { waiter, arrival, stages: [waiter_stage, arrival_stage] } => {
                let (waiter, arrival) = (TicketId(waiter), TicketId(arrival));
                self.outputs.push_back(Output::Paired(Match { waiter, arrival, waiter_stage, arrival_stage }));
            }
            Effect::Matched(matched) => {
                if matched.leads {
                    self.counters.count_commit()
                } else {
                    self.counters.count_entered()
                }
                self.own.remove(&matched.ticket);
                self.timers.set(self.clock.after(self.settings.set_up_ms), Timer::SetUp(matched.call));
                self.outputs.push_back(Output::Matched(matched));
            }
            Effect::Ended { call, ticket, why } => {
                self.counters.count_ended(why);
                self.outputs.push_back(Output::Ended { call, ticket: TicketId(ticket), why });
            }
            Effect::Left(number, owner) => {
                let expected = self.own.get(&number).is_some_and(|own| own.owner == owner);
                self.unsay(number, if expected { rows::EXPECTED_MS } else { rows::LAZY_MS });
                if self.home.is_promised(number) { self.counters.count_grant() } else { _ = self.own.remove(&number) }
            }
            Effect::Returned(number) => self.say_again(number),
            Effect::Wake(call) => self.timers.set(self.clock.after(ASK_AGAIN_MS), Timer::Home(call)),
            Effect::LeaseExpired => self.counters.count_lease_expired(),
        }
    }

    /// Our engine picked two: the follower's home is asked, be it this one.
    fn propose(&mut self, pair: Pair) {
        self.counters.count_proposed();
        let to = pair.follower.home;
        if to == self.me && pair.decider.home == self.me {
            self.home.claim(self.me, pair);
        } else {
            self.timers.set(self.clock.after(owner::CLAIM_MS), Timer::Claim(pair.call));
            self.send(to, Body::Claim(pair));
        }
    }

    /// A pairing of ours came to nothing, or we do not know: its tickets are asked for, and put back when their homes say so.
    pub(super) fn release(&mut self, call: CallId) {
        for (home, ticket) in self.owner.unsettled(call) {
            self.counters.count_release();
            self.send(home, Body::Release { tickets: vec![ticket] });
        }
    }

    /// Asks until the homes have answered, or are dead.
    pub(super) fn release_due(&mut self, call: CallId) {
        if !self.owner.unsettled(call).is_empty() {
            self.timers.set(self.clock.after(owner::CLAIM_MS), Timer::Claim(call));
            self.release(call);
        }
    }

    pub(super) fn release_all(&mut self, calls: Vec<CallId>) {
        for call in calls {
            self.release(call);
        }
    }

    /// Tells the owner of its queue that a ticket waits, if it does and is not promised.
    pub(super) fn say(&mut self, number: u64) -> Result<(), Refused> {
        let Some(epoch) = self.home.waiting(number).filter(|_| !self.held) else { return Ok(()) };
        let Some(own) = self.own.get_mut(&number) else { return Ok(()) };
        let fresh = std::mem::replace(&mut own.fresh, false);
        if own.owner != self.me {
            let attributes = Attributes::of(self.clock, &own.pool, &own.ticket);
            self.counters.count_announced();
            let announcement = Announcement { number, epoch, fresh, attributes };
            self.rows.push(self.clock, own.owner, Op::Waits(Box::new(announcement)), 0);
            return Ok(());
        }
        let mut ticket = own.ticket.clone();
        ticket.since = owner::ahead(ticket.since);
        let (home, queue, pool) = (self.me, own.queue, &own.pool);
        let displaced = self.owner.waits(self.clock, Waits { home, number, epoch, fresh, pool, queue, ticket })?;
        self.tell_displaced(displaced);
        Ok(())
    }

    /// As [`Cluster::say`]; our own engine may have no place for a ticket any more, and then the desk hears it.
    pub(super) fn say_again(&mut self, number: u64) {
        if let Err(refused) = self.say(number) {
            self.turn(number, turned(refused));
        }
    }

    /// Tells the owner of its queue that a ticket does not wait.
    pub(super) fn unsay(&mut self, number: u64, within_ms: u64) {
        let Some(own) = self.own.get(&number) else { return };
        if own.owner == self.me {
            self.owner.gone(self.me.node, number);
        } else if self.members.lives(own.owner) && !self.members.is_isolated() {
            self.rows.push(self.clock, own.owner, Op::Gone(number), within_ms);
        }
    }

    /// A ticket of ours is not wanted.
    pub(super) fn turn(&mut self, number: u64, why: Turned) {
        self.home.leave(number);
        if self.own.remove(&number).is_some() {
            self.counters.count_turned();
            self.outputs.push_back(Output::Turned { ticket: TicketId(number), why });
        }
    }

    pub(super) fn tell_displaced(&mut self, displaced: owner::Displaced) {
        if let Some((home, ticket, epoch)) = displaced {
            self.send(home, Body::Turned { ticket, epoch, why: Turned::Replaced });
        }
    }

    /// Members changed: our tickets go where their queues are now, and others' come to us.
    pub(super) fn move_queues(&mut self) {
        if self.members.alive() > 1 && !self.members.is_isolated() {
            self.gather();
        }
        let mut owners: HashMap<QueueKey, Peer, FixedState> = HashMap::default();
        let mut moved: Vec<u64> = Vec::new();
        for (number, own) in &self.own {
            let owner = *owners.entry(own.queue).or_insert_with(|| self.members.owner(own.queue));
            if owner != own.owner {
                moved.push(*number);
            }
        }
        moved.sort_unstable();
        for number in moved {
            self.unsay(number, rows::LAZY_MS);
            if let Some(own) = self.own.get_mut(&number) {
                own.owner = owners.get(&own.queue).copied().unwrap_or(self.me);
            }
            self.say_again(number);
        }
    }

    /// See [`GATHER_MS`].
    fn gather(&mut self) {
        self.owner.engine_mut().hold();
        let until = self.clock.after(GATHER_MS);
        self.gathering = Some(until);
        self.timers.set(until, Timer::Gathered);
    }

    pub(super) fn gathered(&mut self) {
        if self.gathering.is_some_and(|until| until <= self.clock) {
            self.gathering = None;
            self.owner.go_on(self.clock);
        }
    }

    /// Somebody announces a ticket of that queue to us. Should it not be ours, they know of a change that we have yet to notice; should it never
    /// be, matching goes on nevertheless.
    pub(super) fn expect(&mut self, queue: QueueKey) {
        let is_news = self.surprised.is_none_or(|at| self.clock.since(at) >= DEAD_AFTER_MS);
        if self.gathering.is_none() && is_news && self.members.owner(queue) != self.me {
            self.surprised = Some(self.clock);
            self.gather();
        }
    }

    /// Everything that was said to that owner is said again.
    pub(super) fn say_everything(&mut self, to: Peer) {
        self.counters.count_restart();
        let mut numbers: Vec<u64> =
            self.own.iter().filter(|(_, own)| own.owner == to).map(|(number, _)| *number).collect();
        numbers.sort_unstable();
        for number in numbers {
            self.say_again(number);
        }
    }

    /// That life of a node says nothing any more, nor is it told anything.
    pub(super) fn forget(&mut self, peer: Peer) {
        self.rows.forget(peer.node);
        self.asks.remove(&peer);
        let unsettled = self.owner.bury_home(peer.node);
        self.release_all(unsettled);
    }

    /// A node is not heard any more.
    pub(super) fn bury(&mut self, peer: Peer) {
        self.forget(peer);
        self.home.lost(peer, false);
        self.move_queues();
        if self.tell_partners(peer, false) {
            self.silent.insert(peer.node, peer);
            self.timers.set(self.clock.after(SILENT_MS), Timer::Silent(peer));
        }
    }

    /// Says of every call with that node whether its partner is heard; whether there was one.
    pub(super) fn tell_partners(&mut self, peer: Peer, heard: bool) -> bool {
        let with = self.home.calls.iter().filter(|(_, shared)| shared.partner == peer);
        let mut with: Vec<_> = with.map(|(call, shared)| (*call, TicketId(shared.ticket))).collect();
        with.sort_unstable();
        let any = !with.is_empty();
        self.outputs.extend(with.into_iter().map(|(call, ticket)| Output::Partner { call, ticket, heard }));
        any
    }

    pub(super) fn still_silent(&mut self, peer: Peer) {
        if self.silent.get(&peer.node) == Some(&peer) {
            self.silent.remove(&peer.node);
            self.home.lost(peer, true);
        }
    }

    pub(super) fn ask(&mut self, number: u64, hint: bool) {
        let Some(own) = self.own.get(&number).filter(|own| own.owner != self.me) else { return };
        let (tickets, hints) = self.asks.entry(own.owner).or_default();
        if tickets.len() < MAX_NAMED && tickets.last() != Some(&number) {
            tickets.push(number);
        }
        *hints |= hint;
        self.asks_due = self.asks_due.or(Some(self.clock.after(rows::LAZY_MS)));
    }

    pub(super) fn send_asks(&mut self) {
        self.asks_due = None;
        for (to, (tickets, hints)) in std::mem::take(&mut self.asks) {
            self.send(to, Body::Ask { tickets, hints });
        }
    }

    pub(super) fn beat(&mut self, to: To) {
        let (from, body) = (self.me, Body::Heartbeat(self.members.load()));
        self.outputs.push_back(Output::Send { to, envelope: Envelope { from, to: None, body } });
    }

    pub(super) fn send(&mut self, to: Peer, body: Body) {
        if to == self.me {
            return self.inbox.push_back(body);
        }
        // What cannot be sent is asked again like what is lost.
        if !self.members.is_isolated() {
            let envelope = Envelope { from: self.me, to: Some(to), body };
            self.outputs.push_back(Output::Send { to: To::Node(to.node), envelope });
        }
    }
}

pub(super) const fn turned(refused: Refused) -> Turned {
    match refused {
        Refused::Full => Turned::Full,
        Refused::DuplicatePerson | Refused::DuplicateTicket => Turned::Duplicate,
        Refused::BadCriteria | Refused::Unknown => Turned::BadCriteria,
    }
}
