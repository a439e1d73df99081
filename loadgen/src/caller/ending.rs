//! How a caller's attempt ends: well, badly, or because the run does. Whatever comes first settles the outcome; after that
//! it hangs up, gives its allocation back and closes.

use super::{
    Caller, GOODBYE, Machine, Output, State,
    record::{Cause, Outcome, Step, Times},
    signal,
};
use crate::{peer::ways::Ways, time::Nanos};

impl Caller {
    /// The run is over: leave the queue, hang up, be gone.
    pub(super) fn leave(&mut self, now: Nanos) {
        match self.state {
            State::Opening | State::Greeting => {
                self.settle(Outcome::InFlight);
                self.free(now);
            }
            State::Waiting => self.ask_to_leave(now, Outcome::Unmatched),
            State::Negotiating | State::Talking => {
                self.settle(if self.is_up() { Outcome::Cut } else { Outcome::InFlight });
                self.hang_up(now);
            }
            State::HangingUp | State::Freeing | State::Done => {}
        }
    }

    /// The server may have matched us already: it answers with `left`, or `matched` is on its way.
    fn ask_to_leave(&mut self, now: Nanos, outcome: Outcome) {
        self.leaving = Some(outcome);
        self.deadline = Some(now.after(GOODBYE));
        self.signal(signal::leave());
    }

    /// Out of the queue, or nobody answers.
    pub(super) fn give_up(&mut self, now: Nanos) {
        if let Some(outcome) = self.leaving.take() {
            self.settle(outcome);
            self.free(now);
        }
    }

    /// `ended` takes the call back, up or not, ours to hang up or not.
    pub(super) fn handle_ended(&mut self, now: Nanos, why: &str, requeued: bool) {
        self.record.times.ended = Some(now);
        match self.state {
            State::Negotiating | State::Talking if self.is_up() && why == "hangup" => self.settle(Outcome::Completed),
            State::Negotiating | State::Talking if requeued && self.terms.stays => return self.begin_again(now),
            State::Negotiating | State::Talking if self.is_up() => {
                self.settle(Outcome::Failed(Cause::Dropped(why.to_owned())));
            }
            State::Negotiating | State::Talking if requeued => return self.begin_again(now),
            State::Negotiating | State::Talking => self.settle(Outcome::Failed(Cause::Ended(why.to_owned()))),
            _ => {}
        }
        if self.state < State::Freeing {
            self.free(now);
        }
    }

    /// The partner did not come through; the place in the queue is kept, the relay's side starts anew.
    pub(super) fn begin_again(&mut self, now: Nanos) {
        self.hush();
        self.forget_turn();
        self.forget_leg();
        self.record.requeued += 1;
        self.put_back = Some(now);
        self.hang_up_at = None;
        let Times { intended, started, registered, queue_sent, queued, .. } = self.record.times;
        self.record.times = Times { intended, started, registered, queue_sent, queued, ..Times::default() };
        self.record.left.extend(self.record.told.take().map(|told| told.call));
        self.wait(now);
    }

    pub(super) fn handle_error(&mut self, now: Nanos, q: Option<u64>, code: String, fatal: bool) {
        let hopeless = fatal || matches!(q, Some(signal::HELLO | signal::QUEUE));
        if hopeless && self.state < State::HangingUp {
            return self.fail(now, Cause::Refused(code));
        }
        self.last_error.get_or_insert(code);
    }

    /// Time is up for the current step.
    pub(super) fn run_out(&mut self, now: Nanos) {
        match self.state {
            State::Waiting if self.leaving.is_some() => {
                self.record.unheard = true;
                self.give_up(now);
            }
            State::Waiting => self.ask_to_leave(now, Outcome::Failed(Cause::NoPartner)),
            State::HangingUp => self.free(now),
            State::Freeing => self.finish(),
            State::Done => {}
            _ => {
                let step = self.furthest_step();
                let cause = self.last_error.take().map_or(Cause::Timeout(step), Cause::Refused);
                self.fail(now, cause);
            }
        }
    }

    pub(super) fn furthest_step(&self) -> Step {
        let Times { registered, matched, allocated, channel, connected, .. } = self.record.times;
        match () {
            () if self.is_up() => Step::Heard,
            () if connected.is_some() => Step::Connected,
            () if channel.is_some() => Step::ChannelBound,
            () if matched.is_some() && allocated.is_some() => Step::Allocated,
            () if matched.is_some() => Step::Matched,
            () if registered.is_some() => Step::Registered,
            () => Step::Open,
        }
    }

    pub(super) fn fail(&mut self, now: Nanos, cause: Cause) {
        self.settle(Outcome::Failed(cause));
        if matches!(self.state, State::Negotiating | State::Talking) {
            self.hang_up(now);
        } else if self.state < State::Freeing {
            self.free(now);
        }
    }

    /// The first word on the outcome is the last.
    pub(super) fn settle(&mut self, outcome: Outcome) {
        self.outcome.get_or_insert(outcome);
    }

    pub(super) fn hang_up(&mut self, now: Nanos) {
        self.hush();
        if let Some(leg) = &self.leg {
            let hangup = signal::of_call("hangup", &leg.call);
            self.signal(hangup);
            self.record.times.hung_up = Some(now);
        }
        self.state = State::HangingUp;
        self.deadline = Some(now.after(GOODBYE));
        self.hang_up_at = None;
    }

    pub(super) fn hush(&mut self) {
        self.hush_full();
        if self.leg.as_mut().is_some_and(|leg| std::mem::take(&mut leg.hearing)) {
            self.awaiting_account = true;
            self.outputs.push_back(Output::Hush);
        }
    }

    /// Gives the allocation back, whatever came before.
    pub(super) fn free(&mut self, now: Nanos) {
        self.hush();
        self.state = State::Freeing;
        self.ways = Ways::default();
        self.hang_up_at = None;
        self.deadline = Some(now.after(GOODBYE));
        match (&mut self.turn, self.relayed) {
            (Some(turn), Some(_)) => turn.free(now),
            _ => self.forget_turn(),
        }
    }

    pub(super) fn finish(&mut self) {
        self.state = State::Done;
        self.deadline = None;
        self.outputs.push_back(Output::Close);
    }
}
