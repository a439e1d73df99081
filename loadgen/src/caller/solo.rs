//! A caller without signalling: one allocation at any TURN server (RFC 8656), held and given back. With media it permits
//! and binds its own relayed transport address, so that its voice passes through the relay and comes back to it; nobody
//! else is needed, and allocations come as independently as their schedule.

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use super::{
    CHANNEL, GOODBYE, Machine, Output, Plan, Terms,
    record::{Cause, Outcome, Record, Step, Times},
};
use crate::{
    media::{packet, packet::StreamId, stream::Account},
    peer::{
        stun::View,
        turn::{Credential, Event, Failure, FailureReason, TurnClient},
        ways::{Way, Ways},
    },
    scenario::Transport,
    time::Nanos,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Allocating,
    Binding,
    Held,
    Freeing,
    Done,
}

/// See the module's text.
pub struct Solo {
    terms: Terms,
    hold: Duration,
    state: State,
    turn: TurnClient,
    ways: Ways,
    random: [u8; 32],
    /// Of clients that tried other ways before.
    retransmissions: u32,
    stream: StreamId,
    hearing: bool,
    deadline: Option<Nanos>,
    free_at: Option<Nanos>,
    outputs: VecDeque<Output>,
    record: Record,
    outcome: Option<Outcome>,
}

impl Solo {
    /// A caller that allocates now at `server`.
    pub fn new(plan: Plan, terms: Terms, server: SocketAddr, credential: Credential, now: Nanos) -> Solo {
        let times = Times { intended: plan.intended, started: now, ice: Some(now), ..Times::default() };
        let mut ways = ways(&terms, server, &credential);
        let way = ways.next(now).unwrap_or(Way { transport: terms.transport, server, credential });
        let (turn, attach) = begin(way, &plan.random, now);
        let mut solo = Solo {
            terms,
            hold: plan.person.hold,
            state: State::Allocating,
            turn,
            ways,
            random: plan.random,
            retransmissions: 0,
            stream: StreamId { call: packet::hash(&format!("{:?}", plan.random)), side: 0 },
            hearing: false,
            deadline: Some(now.after(terms.setup_timeout)),
            free_at: None,
            outputs: VecDeque::from([attach]),
            record: Record::new(plan.number, plan.person.criteria, times),
            outcome: None,
        };
        solo.pump(now, now);
        solo
    }

    fn pump(&mut self, at: Nanos, now: Nanos) {
        while let Some(event) = self.turn.poll_event() {
            self.handle_event(at, now, event);
        }
        while let Some(bytes) = self.turn.poll_transmit() {
            self.outputs.push_back(Output::Datagram(bytes));
        }
        let accounted = !self.hearing;
        if self.state == State::Freeing && self.record.times.freed.is_some() && accounted {
            self.finish();
        }
    }

    fn handle_event(&mut self, at: Nanos, now: Nanos, event: Event) {
        match event {
            Event::Allocated { relayed, sent } => {
                self.record.times.allocate_sent.get_or_insert(sent);
                self.record.times.allocated = Some(at);
                self.record.reached = self.ways.arrive();
                self.proceed(now, relayed);
            }
            Event::Permitted { sent } => self.record.times.permit = Some((sent, at)),
            Event::Bound { sent, .. } if self.state == State::Binding => {
                self.record.times.channel = Some((sent, at));
                self.record.times.connected = Some(at);
                let (channel, stream) = (CHANNEL, self.stream);
                self.outputs.extend([Output::Hear { channel, stream }, Output::Talk { channel, stream }]);
                self.hearing = true;
            }
            Event::Bound { .. } => {}
            Event::Freed => self.record.times.freed = Some(at),
            Event::Failed(failure) => self.handle_failure(now, failure),
        }
    }

    fn try_next_way(&mut self, now: Nanos) {
        let Some(way) = self.ways.next(now) else { return };
        self.random.rotate_left(1);
        let (turn, attach) = begin(way, &self.random, now);
        self.retransmissions += std::mem::replace(&mut self.turn, turn).retransmissions;
        // Ways that led nowhere cost their time.
        self.record.times.allocate_sent.get_or_insert(self.record.times.started);
        self.outputs.push_back(attach);
    }

    fn proceed(&mut self, now: Nanos, relayed: SocketAddr) {
        if self.terms.media {
            self.state = State::Binding;
            self.turn.permit(now, relayed);
            self.turn.bind(now, CHANNEL, relayed);
        } else {
            self.record.times.connected = Some(now);
            self.hold(now);
        }
    }

    fn hold(&mut self, now: Nanos) {
        self.state = State::Held;
        self.deadline = None;
        self.free_at = Some(now.after(self.hold));
    }

    fn handle_failure(&mut self, now: Nanos, Failure { request, reason }: Failure) {
        match self.state {
            State::Allocating if reason == FailureReason::Timeout && self.ways.has_more() => self.try_next_way(now),
            State::Allocating => {
                self.settle(Outcome::Failed(Cause::Allocate(reason)));
                self.finish(); // nothing to give back
            }
            State::Binding => {
                self.settle(Outcome::Failed(Cause::Channel(reason)));
                self.free(now);
            }
            State::Held => {
                self.settle(Outcome::Failed(Cause::Dropped(format!("{request:?}"))));
                self.free(now);
            }
            State::Freeing | State::Done => {}
        }
    }

    fn settle(&mut self, outcome: Outcome) {
        self.outcome.get_or_insert(outcome);
    }

    fn free(&mut self, now: Nanos) {
        if self.hearing {
            self.outputs.push_back(Output::Hush);
        }
        self.record.times.hung_up = Some(now);
        self.state = State::Freeing;
        self.ways = Ways::default();
        self.free_at = None;
        self.deadline = Some(now.after(GOODBYE));
        self.turn.free(now);
    }

    fn finish(&mut self) {
        self.state = State::Done;
        self.deadline = None;
        self.outputs.push_back(Output::Close);
    }

    fn furthest_step(&self) -> Step {
        match self.state {
            State::Allocating => Step::Registered,
            _ if self.record.times.channel.is_some() => Step::ChannelBound,
            _ => Step::Allocated,
        }
    }
}

/// Where a caller of these terms tries to allocate, the first place first.
fn ways(terms: &Terms, server: SocketAddr, credential: &Credential) -> Ways {
    let way = |transport, server| Way { transport, server, credential: credential.clone() };
    let stream = terms.falls_back.then(|| way(Transport::Tcp, terms.turn.unwrap_or(server)));
    Ways::new([way(terms.transport, server)].into_iter().chain(stream))
}

/// A client that allocates by `way`, and what has to be attached for it.
fn begin(way: Way, random: &[u8; 32], now: Nanos) -> (TurnClient, Output) {
    let mut transaction = [0; 12];
    transaction.copy_from_slice(&random[..12]);
    let mut turn = TurnClient::new(way.credential, transaction);
    turn.over_stream(way.transport != Transport::Udp);
    turn.allocate(now);
    (turn, Output::Attach(way.transport, way.server))
}

impl Machine for Solo {
    fn handle_datagram(&mut self, at: Nanos, now: Nanos, datagram: &[u8]) {
        if let Some(message) = View::parse(datagram) {
            self.turn.handle_message(at, &message);
        }
        self.pump(at, now);
    }

    fn handle_first_voice(&mut self, at: Nanos, now: Nanos) {
        if self.state == State::Binding {
            self.record.times.first_voice = Some(at);
            self.hold(now);
        }
    }

    fn handle_account(&mut self, now: Nanos, account: Account) {
        self.record.account = Some(account);
        self.hearing = false;
        self.pump(now, now);
    }

    fn handle_timeout(&mut self, now: Nanos) {
        self.turn.handle_timeout(now);
        if self.state == State::Allocating && self.ways.is_due(now) {
            self.try_next_way(now);
        }
        if self.free_at.is_some_and(|at| at <= now) {
            self.settle(Outcome::Completed);
            self.free(now);
        }
        if self.deadline.is_some_and(|at| at <= now) {
            self.deadline = None;
            if self.state == State::Freeing {
                self.finish();
            } else {
                self.settle(Outcome::Failed(Cause::Timeout(self.furthest_step())));
                self.free(now);
            }
        }
        self.pump(now, now);
    }

    fn handle_leave(&mut self, now: Nanos) {
        if self.state < State::Freeing {
            self.settle(if self.is_up() { Outcome::Cut } else { Outcome::InFlight });
            self.free(now);
        }
        self.pump(now, now);
    }

    fn poll_timeout(&self) -> Option<Nanos> {
        [self.turn.poll_timeout(), self.ways.poll_timeout(), self.free_at, self.deadline].into_iter().flatten().min()
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn is_done(&self) -> bool {
        self.state == State::Done
    }

    fn is_up(&self) -> bool {
        self.record.times.is_up(self.terms.depth, self.terms.media)
    }

    fn is_talking(&self) -> bool {
        self.state == State::Held
    }

    fn into_record(mut self: Box<Self>) -> Record {
        self.record.turn_retransmissions = self.retransmissions + self.turn.retransmissions;
        self.record.outcome = self.outcome.unwrap_or(Outcome::InFlight);
        self.record
    }
}

#[cfg(test)]
#[path = "solo_tests.rs"]
mod tests;
