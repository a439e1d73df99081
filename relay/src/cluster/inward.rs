//! Messages that arrive: who may say what, and who hears it.

use super::attributes::queue_of;
use super::members::Heard;
use super::message::{Announcement, Body, Denial, Envelope, MAX_NAMED, Op, Pair, Peer, Told, Turned};
use super::outward::turned;
use super::owner::{Waits, ahead};
use super::rows::Step;
use super::{Cluster, Luggage, Output, To};
use crate::matchmaking::{Relax, TicketId};
use crate::time::Now;

impl Cluster {
    /// Bytes of the bus, opened.
    pub fn handle_bytes(&mut self, now: Now, bytes: &[u8]) {
        match Envelope::decode(bytes) {
            Ok(envelope) => self.handle_message(now, envelope),
            Err(_) => self.counters.count_unreadable(),
        }
    }

    /// The same of somebody of whom the seal says who it is: nobody speaks for another.
    pub fn handle_sealed(&mut self, now: Now, from: Peer, bytes: &[u8]) {
        match Envelope::decode(bytes) {
            Ok(envelope) if envelope.from == from => self.handle_message(now, envelope),
            Ok(_) => self.counters.count_stray(),
            Err(_) => self.counters.count_unreadable(),
        }
    }

    /// A message of the bus.
    pub fn handle_message(&mut self, now: Now, envelope: Envelope) {
        self.clock = now.mono;
        let Envelope { from, to, body } = envelope;
        match (body, to) {
            (Body::Heartbeat(load), None) => {
                let heard = self.members.heard(now.mono, from, load);
                self.meet(from, heard);
            }
            (Body::Heartbeat(_), _) | (_, None) => self.counters.count_stray(),
            (body, Some(to)) if to == self.me && self.members.lives(from) => self.hear(from, body),
            _ => self.counters.count_stray(),
        }
        self.settle();
    }

    /// Somebody lives.
    fn meet(&mut self, from: Peer, heard: Heard) {
        match heard {
            Heard::Known => {}
            Heard::Ignored => self.counters.count_stray(),
            Heard::Reordered => self.move_queues(),
            Heard::Joined => self.welcome(from),
            Heard::Reborn { before } => {
                self.forget(before);
                self.silent.remove(&before.node);
                self.home.lost(before, true);
                self.welcome(from);
            }
        }
    }

    /// Says that we are there too, so that what we say next is not a stranger's.
    fn welcome(&mut self, from: Peer) {
        self.beat(To::Node(from.node));
        if self.silent.remove(&from.node).is_some() {
            self.tell_partners(from, true);
            self.home.audit();
        }
        self.move_queues();
    }

    /// Somebody who lives, or we ourselves, say something to us.
    pub(super) fn hear(&mut self, from: Peer, body: Body) {
        match body {
            Body::Heartbeat(_) => {}
            Body::Tickets { row, at, ops } => self.told(from, row, at, ops),
            Body::Again { row } => {
                if self.rows.restart(from, row) {
                    self.say_everything(from);
                }
            }
            Body::Release { tickets } => self.released(from, &tickets),
            Body::Turned { ticket, epoch, why } => self.turned_away(from, ticket, epoch, why),
            Body::Ask { tickets, hints } => self.asked(from, &tickets, hints),
            Body::Standings { standings } => self.stand(from, &standings),
            Body::Claim(pair) if pair.call.owner == from => self.claimed(from, pair),
            Body::Claim(_) => self.counters.count_stray(),
            // What would be refused again at once waits for its timer.
            Body::Denied { why: Denial::Node | Denial::Queue, .. } => {}
            Body::Denied { call, .. } if call.owner == self.me => self.release(call),
            Body::Denied { .. } => self.counters.count_stray(),
            Body::Grant { pair, luggage } => self.granted(from, &pair, luggage),
            Body::Commit { call, relay, luggage } => self.home.commit(from, call, relay, luggage),
            Body::Confirmed { call } => self.home.confirmed(from, call),
            Body::No { call } => self.home.no(from, call),
            Body::Frame { call, luggage } => {
                if let Some(ticket) = self.home.framed(from, call) {
                    self.outputs.push_back(Output::Passed { call, ticket: TicketId(ticket), luggage });
                }
            }
            Body::Audit { calls } => self.home.audited(from, &calls),
        }
    }

    fn claimed(&mut self, owner: Peer, pair: Pair) {
        let other = pair.decider.home;
        if other == self.me || self.members.lives(other) {
            return self.home.claim(owner, pair);
        }
        self.counters.count_denial(Denial::Node);
        self.send(owner, Body::Denied { call: pair.call, why: Denial::Node });
    }

    fn granted(&mut self, from: Peer, pair: &Pair, luggage: Luggage) {
        let (decider, follower) = (pair.decider.home.node, pair.follower.home.node);
        let (waiter, arrival) = if pair.decider_waited { (decider, follower) } else { (follower, decider) };
        let relay = self.members.relay_for(waiter, arrival);
        if let Err(why) = self.home.grant(from, pair, relay, luggage) {
            self.counters.count_denial(why);
        }
    }

    /// Changes among a home's tickets.
    fn told(&mut self, from: Peer, row: u64, at: u32, ops: Vec<Op>) {
        match self.owner.row(from.node).hear(self.clock, row, at, ops.is_empty()) {
            Step::Ignore => return,
            Step::Again => return self.send(from, Body::Again { row }),
            Step::Restart => {
                let unsettled = self.owner.forget_home(from.node);
                self.release_all(unsettled);
            }
            Step::Apply => {}
        }
        for op in ops {
            match op {
                Op::Gone(number) => self.owner.gone(from.node, number),
                Op::Waits(announcement) => self.let_wait(from, &announcement),
            }
        }
    }

    fn let_wait(&mut self, home: Peer, said: &Announcement) {
        let Announcement { number, epoch, fresh, ref attributes } = *said;
        let pool = attributes.pool();
        let waits = attributes.ticket(ahead(self.clock)).map(|ticket| {
            let queue = queue_of(pool, ticket.band, self.settings.policy.minor_bands_meet);
            self.expect(queue);
            self.owner.waits(self.clock, Waits { home, number, epoch, fresh, pool, queue, ticket })
        });
        match waits {
            Some(Ok(displaced)) => self.tell_displaced(displaced),
            Some(Err(refused)) => self.send(home, Body::Turned { ticket: number, epoch, why: turned(refused) }),
            None => self.send(home, Body::Turned { ticket: number, epoch, why: Turned::BadCriteria }),
        }
    }

    /// An owner asks what became of these.
    fn released(&mut self, owner: Peer, tickets: &[u64]) {
        for &number in tickets {
            match self.own.get(&number) {
                Some(own) if own.owner == owner && !self.held => self.say_again(number),
                _ if owner == self.me => self.owner.gone(self.me.node, number),
                _ => self.rows.push(self.clock, owner, Op::Gone(number), 0),
            }
        }
    }

    /// The owner of its queue will not have a ticket of ours.
    fn turned_away(&mut self, from: Peer, number: u64, epoch: u32, why: Turned) {
        let meant = self.own.get(&number).is_some_and(|own| own.owner == from);
        if meant && self.home.waiting(number) == Some(epoch) {
            self.turn(number, why);
        }
    }

    fn asked(&mut self, from: Peer, tickets: &[u64], hints: bool) {
        let look = |number: u64| {
            let position = self.owner.position(self.clock, from.node, number)?;
            let hint = if hints { self.owner.hint(from.node, number) } else { None };
            let word = |relax| match relax {
                Relax::Topics => 0,
                Relax::Level => 1,
                Relax::Gender => 2,
                Relax::Country => 3,
            };
            Some(Told {
                number,
                ahead: position.ahead,
                stage: position.stage,
                eta: position.eta.map(|eta| (eta.p50_ms, eta.p90_ms)),
                hint: hint.map(|hint| (word(hint.relax), hint.would_match)),
            })
        };
        let standings: Vec<Told> = tickets.iter().take(MAX_NAMED).filter_map(|&number| look(number)).collect();
        if !standings.is_empty() {
            self.send(from, Body::Standings { standings });
        }
    }

    fn stand(&mut self, from: Peer, standings: &[Told]) {
        for told in standings {
            if let Some(own) = self.own.get_mut(&told.number).filter(|own| own.owner == from) {
                own.told = Some(*told);
            }
        }
    }
}
