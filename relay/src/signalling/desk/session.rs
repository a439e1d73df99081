//! One connection: who it is, where it stands, how much it has asked.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::abroad::Abroad;
use super::replay::Replay;
use crate::calls::Handle;
use crate::matchmaking::{Criteria, Person, TicketId};
use crate::signalling::ids::Id;
use crate::signalling::limits::Meters;
use crate::signalling::token::Claims;
use crate::time::Millis;

#[derive(Serialize, Deserialize)]
pub(super) struct Session {
    pub(super) meters: Meters,
    /// Nobody before `hello`: nothing is known and nothing is kept.
    pub(super) caller: Option<Box<Caller>>,
    pub(super) place: Place,
    /// The connection broke; this session waits to be resumed.
    pub(super) away: bool,
    pub(super) replay: Replay,
    /// The highest number a request of this session bore, so that a client whose connection broke knows what has not arrived.
    pub(super) heard: u64,
    /// Wants to follow their own calls.
    pub(super) traced: bool,
    /// A timer will look over what is kept.
    pub(super) tidying: bool,
}

/// matching.md §4.4, seen from one connection. What lies between MATCHED and CONNECTED is the call's.
#[derive(Serialize, Deserialize)]
pub(super) enum Place {
    New,
    Idle,
    /// Was queued when the connection broke: out of the queue, t0 kept.
    Paused(Paused),
    InCall(Id, Side),
    /// Is paused before it is packed; last, because `postcard` counts the variants.
    #[serde(skip)]
    Queued(Waiting),
    /// In a call that another node hosts; ends before anything is packed.
    #[serde(skip)]
    Abroad(Box<Abroad>),
}

/// A wait that is interrupted.
#[derive(Serialize, Deserialize)]
pub(super) struct Paused {
    /// Its place on the relay, which stays.
    pub(super) handle: Option<Handle>,
    pub(super) since: Millis,
    pub(super) offer: Option<String>,
}

/// The call before this moment, for those who want to block or report.
#[derive(Serialize, Deserialize)]
pub(super) struct Last {
    pub(super) call: Id,
    pub(super) person: Person,
    pub(super) sub: Arc<str>,
    /// The partner's side.
    pub(super) side: Side,
    pub(super) ended: Millis,
}

/// Somebody whose token was good.
#[derive(Serialize, Deserialize)]
pub(super) struct Caller {
    pub(super) sid: Id,
    /// Resumes the session, once.
    pub(super) key: Id,
    pub(super) claims: Claims,
    /// May this caller's address be shown? Decided by the operator, the age band and the token.
    pub(super) may_direct: bool,
    /// Open on the relay since `welcome`; the first ticket takes it over.
    pub(super) warm: Option<Handle>,
    /// Criteria of the last `queue` or `tune`; `next` uses them again.
    pub(super) wishes: Option<Criteria>,
    /// Set-ups in a row that failed without anybody's visible fault.
    pub(super) failures: u8,
    pub(super) last: Option<Last>,
}

/// A ticket of this caller.
pub(super) struct Waiting {
    pub(super) id: TicketId,
    pub(super) handle: Handle,
    /// t0, the seniority.
    pub(super) since: Millis,
    /// An offer for whoever comes, rebuilt.
    pub(super) offer: Option<String>,
    /// What was last said of the place in the queue.
    pub(super) told: Standing,
    /// It was said that nobody fits.
    pub(super) warned: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) ahead: u32,
    pub(super) stage: u8,
    pub(super) eta: Option<crate::matchmaking::Eta>,
    pub(super) hint: Option<crate::matchmaking::Hint>,
}

/// A side of a call: the waiter's, who offers, or the arrival's, who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Side {
    Waiter,
    Arrival,
}

impl Place {
    /// Here or elsewhere.
    pub(super) const fn is_in_call(&self) -> bool {
        matches!(self, Place::InCall(..) | Place::Abroad(_))
    }
}

impl Side {
    pub(super) const BOTH: [Side; 2] = [Side::Waiter, Side::Arrival];

    pub(super) const fn other(self) -> Side {
        match self {
            Side::Waiter => Side::Arrival,
            Side::Arrival => Side::Waiter,
        }
    }

    /// 0 or 1.
    pub(super) const fn number(self) -> u8 {
        self as u8
    }
}

impl Session {
    pub(super) fn new(now: Millis) -> Session {
        Session {
            meters: Meters::new(now),
            caller: None,
            place: Place::New,
            away: false,
            replay: Replay::default(),
            heard: 0,
            traced: false,
            tidying: false,
        }
    }
}
