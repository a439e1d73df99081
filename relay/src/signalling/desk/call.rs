//! One call: two seats, what each owes, what each has spent.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::calls::Handle;
use crate::matchmaking::Person;
use crate::signalling::ids::Id;
use crate::signalling::limits::LIMITS;
use crate::signalling::message::MicState;
use crate::time::Millis;

use super::hearing::Hearing;
use super::quality::Quality;
use super::session::Side;
use super::{Connection, FIRST_GENERATION};

/// Candidates held for a side whose description has not been relayed yet (matching.md §4.8).
pub(super) const MAX_EARLY: usize = 16;

#[derive(Serialize, Deserialize)]
pub(super) struct Call {
    pub(super) id: Id,
    pub(super) waiter: Seat,
    pub(super) arrival: Seat,
    pub(super) matched: Millis,
    /// ICE generation; a restart raises it.
    pub(super) generation: u32,
    /// Both may go direct, so candidates of every type pass.
    pub(super) direct: bool,
    /// Whose offer waits for an answer.
    pub(super) offered: Option<Side>,
    /// An answer has been relayed at least once.
    pub(super) negotiated: bool,
    /// When the description that is owed in set-up must be there.
    pub(super) description_due: Millis,
    /// Both sides said so, at least once.
    pub(super) connected: bool,
    /// A restart is under way since then.
    pub(super) restarted: Option<Millis>,
    /// People are asked; an answer waits here until both have agreed.
    pub(super) acceptance: bool,
    pub(super) held: Option<String>,
    /// When the streams are judged next, once the call stands.
    pub(super) window: Option<Millis>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Seat {
    /// Its session says which, where it is unpacked.
    #[serde(skip)]
    pub(super) connection: Connection,
    pub(super) person: Person,
    /// For a report, should there be one.
    pub(super) sub: Arc<str>,
    pub(super) handle: Handle,
    /// t0 of the ticket, given back to the innocent.
    pub(super) since: Millis,
    pub(super) awake: bool,
    /// A description of this side has been relayed.
    pub(super) described: bool,
    pub(super) connected: bool,
    /// Its person agreed.
    pub(super) accepted: bool,
    /// Its connection broke, and the partner knows.
    pub(super) away: bool,
    /// Its own ICE says that it hears nothing.
    pub(super) ice_lost: bool,
    /// What the relay hears of it.
    pub(super) hearing: Hearing,
    /// How well.
    pub(super) quality: Quality,
    pub(super) mic: MicState,
    /// It misses its partner since then: its own ICE says so, or the relay does not hear the partner.
    pub(super) stalled: Option<Millis>,
    /// A timer looks after that.
    pub(super) watched: bool,
    /// When `typing` was last passed on.
    pub(super) typed: Option<Millis>,
    pub(super) early: Vec<EarlyCandidate>,
    descriptions_left: u32,
    candidates_left: u32,
}

/// A candidate that passed and waits for its description; `line` absent: end of candidates.
#[derive(Serialize, Deserialize)]
pub(super) struct EarlyCandidate {
    pub(super) line: Option<String>,
    pub(super) mid: Option<String>,
}

impl Call {
    /// Nothing stands in the way of the answer.
    pub(super) fn agreed(&self) -> bool {
        !self.acceptance || self.waiter.accepted && self.arrival.accepted
    }

    /// What the relay issued may stand in the descriptions: the addresses are those of the first generation, and no direct path,
    /// found a round trip later, would come second to them.
    pub(super) fn is_warm(&self) -> bool {
        self.generation == FIRST_GENERATION && !self.direct
    }

    pub(super) fn seat(&self, side: Side) -> &Seat {
        match side {
            Side::Waiter => &self.waiter,
            Side::Arrival => &self.arrival,
        }
    }

    pub(super) fn seat_mut(&mut self, side: Side) -> &mut Seat {
        match side {
            Side::Waiter => &mut self.waiter,
            Side::Arrival => &mut self.arrival,
        }
    }

    /// In set-up only the waiter offers. Later either may. If both do, the waiter's stands and the arrival, who is
    /// polite, takes its own back when it sees it (perfect negotiation).
    pub(super) fn may_offer(&self, side: Side) -> bool {
        match (self.negotiated, self.offered) {
            (false, offered) => side == Side::Waiter && offered.is_none(),
            (true, None) => true,
            (true, Some(other)) => side == Side::Waiter && other == Side::Arrival,
        }
    }

    /// The side that owes a description, while one is owed in set-up.
    pub(super) fn owes_description(&self) -> Option<Side> {
        match (self.negotiated || self.held.is_some(), self.offered) {
            (true, _) => None,
            (false, None) => Some(Side::Waiter),
            (false, Some(side)) => Some(side.other()),
        }
    }
}

impl Seat {
    pub(super) fn new(connection: Connection, person: Person, sub: Arc<str>, handle: Handle, since: Millis) -> Seat {
        Seat {
            connection,
            person,
            sub,
            handle,
            since,
            awake: false,
            described: false,
            connected: false,
            accepted: false,
            away: false,
            ice_lost: false,
            hearing: Hearing::default(),
            quality: Quality::default(),
            mic: MicState::On,
            stalled: None,
            watched: false,
            typed: None,
            early: Vec::new(),
            descriptions_left: LIMITS.sdp_per_call,
            candidates_left: LIMITS.cand_per_call,
        }
    }

    /// A new generation begins, with a share of its own.
    pub(super) fn renew(&mut self) {
        (self.described, self.connected) = (false, false);
        self.early.clear();
        (self.descriptions_left, self.candidates_left) = (LIMITS.sdp_per_call, LIMITS.cand_per_call);
    }

    /// False once the call's share of offers and answers is spent.
    pub(super) fn spend_description(&mut self) -> bool {
        spend(&mut self.descriptions_left)
    }

    /// False once the call's share of candidates is spent.
    pub(super) fn spend_candidate(&mut self) -> bool {
        spend(&mut self.candidates_left)
    }
}

fn spend(left: &mut u32) -> bool {
    let some = *left > 0;
    *left = left.saturating_sub(1);
    some
}
