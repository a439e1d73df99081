//! One caller as a state machine: hello, queue, allocate, matched, offer and answer, channel, check, talk, hang up.
//!
//! It opens no socket, reads no clock, rolls no dice; [`Machine`] says how it is driven.
//!
//! ```text
//! Opening ─► Greeting ─► Waiting ─► Negotiating ─► Talking ─► HangingUp ─► Freeing ─► Done
//!                           ▲────── requeued ◄────────┘  any failure ────────►┘
//! ```

mod ending;
mod full;
mod leg;
mod machine;
mod plan;
pub mod record;
mod resume;
pub mod signal;
mod solo;

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use rand::RngCore;
use rand_chacha::{ChaCha12Rng, rand_core::SeedableRng};

use crate::{
    media::stream::Account,
    peer::{
        stun::{self, Method, View},
        turn::{Event, Failure, FailureReason, TurnClient},
        ways::{Way, Ways},
    },
    scenario::{Depth, Transport},
    time::Nanos,
};
use leg::Leg;
pub use machine::Machine;
pub use plan::{Output, Plan, Terms};
use record::{Cause, Outcome, Record, Times, Told};
pub use resume::Cut;
use signal::{Frame, Ice, Role};
pub use solo::Solo;

/// Waiting for `ended` after a hang-up, and for the allocation to be given back, each at most.
const GOODBYE: Duration = Duration::from_secs(2);
/// The one channel a caller binds.
const CHANNEL: u16 = stun::FIRST_CHANNEL;
/// The Data indication (RFC 8656 §11.4), in which data comes before the channel is bound.
const DATA_METHOD: u16 = 0x007;
const DATA: u16 = 0x0013;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Opening,
    Greeting,
    Waiting,
    Negotiating,
    Talking,
    HangingUp,
    Freeing,
    Done,
}

/// See the module's text.
pub struct Caller {
    terms: Terms,
    token: String,
    hold: Duration,
    patience: Duration,
    random: ChaCha12Rng,
    state: State,
    turn: Option<TurnClient>,
    ways: Ways,
    relayed: Option<SocketAddr>,
    leg: Option<Leg>,
    /// The current step must be over by then.
    deadline: Option<Nanos>,
    hang_up_at: Option<Nanos>,
    last_call: bool,
    /// When it was put back into the queue, until it is matched again.
    put_back: Option<Nanos>,
    /// It has asked to leave the queue, and what that makes of its attempt unless it is matched first.
    leaving: Option<Outcome>,
    may_text: bool,
    awaiting_account: bool,
    session: Option<resume::Session>,
    outputs: VecDeque<Output>,
    last_error: Option<String>,
    record: Record,
    outcome: Option<Outcome>,
}

impl Caller {
    /// A caller that begins now.
    pub fn new(plan: Plan, terms: Terms, now: Nanos) -> Caller {
        let times = Times { intended: plan.intended, started: now, ..Times::default() };
        Caller {
            terms,
            token: plan.token,
            hold: plan.person.hold,
            patience: plan.person.patience,
            random: ChaCha12Rng::from_seed(plan.random),
            state: State::Opening,
            turn: None,
            ways: Ways::default(),
            relayed: None,
            leg: None,
            deadline: Some(now.after(terms.setup_timeout)),
            hang_up_at: None,
            last_call: false,
            put_back: None,
            leaving: None,
            may_text: false,
            awaiting_account: false,
            session: None,
            outputs: VecDeque::new(),
            last_error: None,
            record: Record::new(plan.number, plan.person.criteria, times),
            outcome: None,
        }
    }
}

impl Machine for Caller {
    fn handle_open(&mut self) {
        self.state = State::Greeting;
        self.signal(signal::hello(&self.token));
    }

    fn handle_unreachable(&mut self, now: Nanos) {
        self.fail(now, Cause::Connect);
        self.pump(now, now);
    }

    fn handle_frame(&mut self, now: Nanos, text: &str) {
        match serde_json::from_str(text) {
            Ok(frame) => {
                self.count_frame(text);
                self.handle(now, frame);
            }
            Err(_) => self.fail(now, Cause::Protocol),
        }
        self.pump(now, now);
    }

    fn handle_closed(&mut self, now: Nanos) {
        self.record.unheard = self.state == State::Waiting;
        if self.state < State::HangingUp {
            let cause = self.last_error.take().map_or(Cause::SocketLost, Cause::Refused);
            self.settle(Outcome::Failed(cause));
        }
        if self.state < State::Freeing {
            self.free(now);
        }
        self.pump(now, now);
    }

    fn handle_cut(&mut self, asked: bool) -> Cut {
        self.cut(asked)
    }

    fn handle_reopened(&mut self) {
        self.ask_to_resume();
    }

    fn handle_datagram(&mut self, at: Nanos, now: Nanos, datagram: &[u8]) {
        if let Some((CHANNEL, data)) = stun::parse_channel_data(datagram) {
            self.handle_peer_data(at, now, data);
        } else if let Some(message) = View::parse(datagram) {
            match (message.method(), message.get(DATA)) {
                (DATA_METHOD, Some(data)) => self.handle_peer_data(at, now, data),
                _ => {
                    if let Some(turn) = &mut self.turn {
                        turn.handle_message(at, &message);
                    }
                }
            }
        }
        self.pump(at, now);
    }

    /// The partner's first packet arrived; it may come before the answer to our own check.
    fn handle_first_voice(&mut self, at: Nanos, now: Nanos) {
        if self.leg.is_some() && self.record.times.first_voice.is_none() {
            self.record.times.first_voice = Some(at);
            self.come_up(now);
        }
    }

    fn handle_account(&mut self, now: Nanos, account: Account) {
        self.record.account = Some(account);
        self.awaiting_account = false;
        self.pump(now, now);
    }

    fn handle_timeout(&mut self, now: Nanos) {
        if let Some(turn) = &mut self.turn {
            turn.handle_timeout(now);
        }
        if self.ways.is_due(now) && self.state < State::HangingUp {
            self.try_next_way(now);
        }
        if let Some(check) = self.leg.as_mut().and_then(|leg| leg.check.as_mut()) {
            check.handle_timeout(now);
        }
        if let Some(full) = self.leg.as_mut().and_then(|leg| leg.full.as_mut()) {
            full.handle_timeout(now);
        }
        if self.hang_up_at.is_some_and(|at| at <= now) {
            self.settle(Outcome::Completed);
            self.hang_up(now);
        }
        if self.deadline.is_some_and(|at| at <= now) {
            self.deadline = None;
            self.run_out(now);
        }
        self.pump(now, now);
    }

    /// Whoever still waits for a partner no longer loses patience.
    fn handle_last_call(&mut self) {
        self.last_call = true;
        if self.state == State::Waiting && self.leaving.is_none() {
            self.deadline = None;
        }
    }

    fn handle_leave(&mut self, now: Nanos) {
        self.leave(now);
        self.pump(now, now);
    }

    fn poll_timeout(&self) -> Option<Nanos> {
        let turn = self.turn.as_ref().and_then(TurnClient::poll_timeout);
        let check = self.leg.as_ref().and_then(|leg| leg.check.as_ref()).and_then(|check| check.poll_timeout());
        let full = self.leg.as_ref().and_then(|leg| leg.full.as_ref()).and_then(|full| full.poll_timeout());
        let way = self.ways.poll_timeout();
        [turn, way, check, full, self.hang_up_at, self.deadline].into_iter().flatten().min()
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

    fn is_waiting(&self) -> bool {
        self.state == State::Waiting
    }

    fn is_talking(&self) -> bool {
        self.state == State::Talking
    }

    fn into_record(mut self: Box<Self>) -> Record {
        self.forget_turn();
        self.forget_leg();
        self.record.outcome = self.outcome.unwrap_or(Outcome::InFlight);
        self.record
    }
}

impl Caller {
    fn handle(&mut self, now: Nanos, frame: Frame) {
        match frame {
            Frame::Welcome { sid, key, resumed: Some(_), .. } => {
                self.keep_session(sid, key);
                self.outputs.push_back(Output::Resumed);
            }
            Frame::Welcome { topics, policy, ice, sid, key, .. } if self.state == State::Greeting => {
                self.keep_session(sid, key);
                self.token = String::new();
                self.record.times.registered = Some(now);
                self.may_text = policy.text;
                self.fit_topics(topics.len());
                self.allocate(now, ice);
                self.signal(signal::queue(&self.record.criteria));
                self.record.times.queue_sent = Some(now);
                self.wait(now);
            }
            Frame::Queued { ice } if self.state == State::Waiting => {
                self.record.times.queued.get_or_insert(now);
                self.allocate(now, ice);
            }
            Frame::Left if self.state == State::Waiting => self.give_up(now),
            Frame::Matched { call, role, generation, peer, ice, offer, moved } => {
                if self.state != State::Waiting {
                    let in_a_call = [State::Negotiating, State::Talking, State::HangingUp].contains(&self.state);
                    self.record.double_matched |= in_a_call;
                    return;
                }
                let common_topics = peer.topics.iter().fold(0, |set, topic| set | 1 << (topic & 63));
                let partner_level = signal::level(&peer.lvl);
                self.record.told = Some(Told { call: call.clone(), role, partner_level, common_topics });
                self.record.rematch = self.put_back.take().map(|at| now.since(at)).or(self.record.rematch);
                self.record.moved = false;
                if moved {
                    self.move_over();
                }
                self.begin_leg(now, call, role, generation, ice);
                if let Some(offer) = offer {
                    self.handle_description(now, &offer.sdp);
                }
                // Matched while asking to leave: who had lost patience takes the call, who must go hangs up.
                if self.leaving.take() == Some(Outcome::Unmatched) {
                    self.leave(now);
                }
            }
            Frame::Offer(described) | Frame::Answer(described) if self.in_call(&described.call) => {
                self.handle_description(now, &described.sdp);
            }
            Frame::Cand { call, c: Some(line) } if self.in_call(&call) => self.handle_candidate(now, &line),
            Frame::Text { call, b } if self.in_call(&call) => {
                self.record.times.text = b.parse().map(|sent| now.since(Nanos(sent))).ok();
                self.begin_hold(now);
            }
            Frame::Ended { call, why, requeued } if self.in_call(&call) => self.handle_ended(now, &why, requeued),
            Frame::Error { q, code, fatal } => self.handle_error(now, q, code, fatal),
            _ => {}
        }
    }

    /// Topics the server has; a caller who chose one that does not exist chose another.
    fn fit_topics(&mut self, known: usize) {
        let chosen = self.record.criteria.topics;
        let known = known.min(64) as u64;
        let fitted = (0..64u64).filter(|topic| chosen >> topic & 1 == 1 && known > 0);
        self.record.criteria.topics = fitted.fold(0, |set, topic| set | 1 << (topic % known));
        self.record.criteria.require_topic &= self.record.criteria.topics != 0;
    }

    fn wait(&mut self, now: Nanos) {
        self.state = State::Waiting;
        self.deadline = (!self.last_call).then(|| now.after(self.patience));
    }

    /// The call is on another relay than the allocation made for it, which the server takes back: it is made there, and measured.
    fn move_over(&mut self) {
        self.leave_place();
        self.record.moved = true;
    }

    fn leave_place(&mut self) {
        self.forget_turn();
        self.ways = Ways::default();
        let times = &mut self.record.times;
        (times.ice, times.allocate_sent, times.allocated) = (None, None, None);
    }

    /// Allocates as soon as there is a credential, and once.
    fn allocate(&mut self, now: Nanos, ice: Option<Ice>) {
        let wanted = self.turn.is_none() && self.terms.depth.relays();
        let Some(ice) = ice.filter(|_| wanted) else { return };
        self.ways = Ways::new(ice.ways(&self.terms));
        self.record.times.ice = Some(now);
        if !self.try_next_way(now) {
            self.fail(now, Cause::NoTurnServer);
        }
    }

    /// Allocates by the next way that is left; false if none is.
    fn try_next_way(&mut self, now: Nanos) -> bool {
        let Some(Way { transport, server, credential }) = self.ways.next(now) else { return false };
        self.forget_turn();
        let mut turn = TurnClient::new(credential, self.draw());
        turn.over_stream(transport != Transport::Udp);
        turn.allocate(now);
        self.turn = Some(turn);
        // Ways that led nowhere cost their time.
        self.record.times.allocate_sent.get_or_insert(now);
        self.outputs.push_back(Output::Attach(transport, server));
        true
    }

    fn handle_turn(&mut self, at: Nanos, now: Nanos, event: Event) {
        match event {
            Event::Allocated { relayed, sent } => {
                self.record.times.allocate_sent.get_or_insert(sent);
                self.record.times.allocated = Some(at);
                self.record.reached = self.ways.arrive();
                self.relayed = Some(relayed);
                self.offer_candidate(now);
                self.bind(now);
            }
            Event::Permitted { sent } => self.record.times.permit = Some((sent, at)),
            Event::Bound { sent, .. } => {
                if self.record.times.channel.is_none() {
                    self.record.times.channel = Some((sent, at));
                }
                self.start_check(now);
            }
            Event::Freed => self.record.times.freed = Some(at),
            Event::Failed(failure) if self.state < State::HangingUp => self.handle_turn_failure(now, failure),
            Event::Failed(_) => {}
        }
    }

    fn handle_turn_failure(&mut self, now: Nanos, Failure { request, reason }: Failure) {
        match request {
            Method::Allocate if reason == FailureReason::Timeout && self.try_next_way(now) => {}
            // Its place is taken back when it is matched on another relay, of which it hears by another way: `matched` says what counts.
            Method::Allocate if self.terms.stays && self.state == State::Waiting => self.leave_place(),
            Method::Allocate => self.fail(now, Cause::Allocate(reason)),
            Method::CreatePermission | Method::ChannelBind => self.fail(now, Cause::Channel(reason)),
            Method::Refresh | Method::Binding => {} // a lost allocation shows as lost voice
        }
    }

    /// The partner's voice is here, or without media the check came through: tell the partner, by the in-call text.
    fn come_up(&mut self, now: Nanos) {
        if self.state != State::Talking || !self.is_up() {
            return;
        }
        let Some(leg) = &self.leg else { return };
        let (text, offerer) = (signal::text(&leg.call, now.0), leg.role == Role::Offerer);
        if self.may_text && self.terms.depth != Depth::Matching {
            self.signal(text);
        }
        if offerer {
            self.begin_hold(now);
        } else {
            self.deadline = None;
        }
    }

    /// The side that offered will hang up. Its hold begins when both are known to hear each other, so that a short call
    /// does not end before the other side has heard it.
    fn begin_hold(&mut self, now: Nanos) {
        let silent = !self.may_text || self.terms.depth == Depth::Matching;
        let heard = self.record.times.text.is_some() || silent;
        let offerer = self.leg.as_ref().is_some_and(|leg| leg.role == Role::Offerer);
        if offerer && heard && self.state == State::Talking && self.is_up() && self.hang_up_at.is_none() {
            self.deadline = None;
            // Without descriptions the server ends the call soon anyway.
            let hold = if self.terms.depth == Depth::Matching { Duration::ZERO } else { self.hold };
            self.hang_up_at = Some(now.after(hold));
        }
    }

    /// Moves what the TURN client and the check have to say into outputs and decisions.
    fn pump(&mut self, at: Nanos, now: Nanos) {
        while let Some(event) = self.turn.as_mut().and_then(TurnClient::poll_event) {
            self.handle_turn(at, now, event);
        }
        self.pump_check(now);
        self.pump_full(now);
        while let Some(bytes) = self.turn.as_mut().and_then(TurnClient::poll_transmit) {
            self.outputs.push_back(Output::Datagram(bytes));
        }
        let freed = self.turn.is_none() || self.record.times.freed.is_some();
        if self.state == State::Freeing && freed && !self.awaiting_account {
            self.finish();
        }
    }

    fn signal(&mut self, frame: String) {
        self.outputs.push_back(Output::Signal(frame));
    }

    fn forget_turn(&mut self) {
        if let Some(turn) = self.turn.take() {
            self.record.turn_retransmissions += turn.retransmissions;
        }
        self.relayed = None;
    }

    fn draw<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.random.fill_bytes(&mut bytes);
        bytes
    }
}

impl Record {
    pub(super) fn new(number: u32, criteria: crate::population::Criteria, times: Times) -> Record {
        Record {
            number,
            criteria,
            times,
            told: None,
            outcome: Outcome::InFlight,
            account: None,
            turn_retransmissions: 0,
            check_retransmissions: 0,
            check_rejections: 0,
            requeued: 0,
            left: Vec::new(),
            double_matched: false,
            unheard: false,
            node: 0,
            rematch: None,
            moved: false,
            direct: false,
            reached: None,
        }
    }
}

#[cfg(test)]
mod tests;
