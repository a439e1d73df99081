//! What two desks say to each other about a call they share: the one that hosts it, and the home of its guest. As bytes (`postcard`) in the
//! luggage of the cluster's messages, so its version is theirs; believed only after it has been checked.

use serde::{Deserialize, Serialize};

use super::MAX_CALL_MS;
use crate::cluster::Luggage;
use crate::matchmaking::Criteria;
use crate::signalling::ids::Id;
use crate::signalling::limits::Meters;
use crate::signalling::message::{By, TextFrame, Why};
use crate::signalling::token::Claims;
use crate::time::Millis;

/// Clocks of nodes are not compared: moments travel as if it were now then.
const THEN: Millis = Millis(1 << 40);

/// Said about a call that both are in.
#[derive(Serialize, Deserialize)]
pub(super) enum Word {
    /// Home to host: the guest's client says this frame.
    Said(String),
    /// The guest's connection broke …
    Broke,
    /// … and is back.
    Back,
    /// The guest has turned from their partner; a block or else a report. The partner does not learn why it ends.
    Quiet { blocks: bool },
    /// The guest wants to follow the call, or no longer.
    Follows(bool),
    /// Host to home: the guest has a seat.
    Hosted(Hosted),
    /// The guest is to hear this frame.
    Tell(Frame),
    /// A new ICE generation has begun.
    Generation(u32),
    /// Both sides are connected.
    Connected,
    /// The guest's connection is to be closed with this code.
    Shut(u16),
    /// The call is over; its routes are dead.
    Over(Over),
}

/// Said with a promise, or with the word that it is a call.
#[derive(Serialize, Deserialize)]
pub(super) struct First {
    pub(super) introduction: Introduction,
    /// From the host, if it is who decides.
    pub(super) hosted: Option<Hosted>,
}

/// Who wants to talk.
#[derive(Serialize, Deserialize)]
pub(super) struct Introduction {
    /// Without blocks, which are the home's business.
    pub(super) claims: Claims,
    pub(super) wishes: Criteria,
    pub(super) may_direct: bool,
    pub(super) follows: bool,
    /// How long they have waited.
    pub(super) age_ms: u64,
    pub(super) keeps: Keeps,
}

/// What a caller takes along into a call elsewhere, and back: limits are not fresh with every call.
#[derive(Serialize, Deserialize)]
pub(super) struct Keeps {
    pub(super) failures: u8,
    meters: Meters,
}

/// A call as its guest knows it.
#[derive(Serialize, Deserialize)]
pub(super) struct Hosted {
    pub(super) id: Id,
    /// `matched`.
    pub(super) frame: Frame,
}

/// A frame for a client, not numbered.
#[derive(Serialize, Deserialize)]
pub(super) struct Frame {
    json: String,
    droppable: bool,
}

/// How it ended for the guest.
#[derive(Serialize, Deserialize)]
pub(super) struct Over {
    pub(super) q: Option<u64>,
    pub(super) by: By,
    pub(super) why: Why,
    /// Waits again with their t0.
    pub(super) requeued: bool,
    /// The partner has blocked them, which they do not learn.
    pub(super) blocked: bool,
    /// Nothing, if the host has not said how it ended.
    pub(super) keeps: Option<Keeps>,
}

impl Word {
    pub(super) fn luggage(&self) -> Luggage {
        packed(self)
    }

    pub(super) fn read(luggage: &Luggage) -> Option<Word> {
        unpacked(luggage)
    }
}

impl First {
    pub(super) fn luggage(&self) -> Luggage {
        packed(self)
    }

    /// `None`: not an introduction that a home of this version writes.
    pub(super) fn read(luggage: &Luggage) -> Option<First> {
        unpacked::<First>(luggage).filter(|first| {
            let Introduction { claims, wishes, age_ms, .. } = &first.introduction;
            claims.is_of_a_guest() && wishes.is_valid() && *age_ms <= MAX_CALL_MS
        })
    }
}

impl Keeps {
    pub(super) fn new(now: Millis, failures: u8, meters: &Meters) -> Keeps {
        Keeps { failures, meters: meters.moved(now, THEN) }
    }

    pub(super) fn meters(&self, now: Millis) -> Meters {
        self.meters.moved(THEN, now)
    }
}

impl From<TextFrame> for Frame {
    fn from(TextFrame { json, droppable }: TextFrame) -> Frame {
        Frame { json, droppable }
    }
}

impl Frame {
    /// `None`: not a frame, whoever says so.
    pub(super) fn checked(self) -> Option<TextFrame> {
        let Frame { json, droppable } = self;
        let is_object = json.starts_with("{\"t\":") && json.ends_with('}');
        let is_json = is_object && serde_json::from_str::<serde::de::IgnoredAny>(&json).is_ok();
        is_json.then_some(TextFrame { json, droppable })
    }
}

fn packed(word: &impl Serialize) -> Luggage {
    // Fails for types of unknown length only, of which there is none here; nobody reads the empty word.
    Luggage(postcard::to_allocvec(word).unwrap_or_default())
}

fn unpacked<T: for<'a> Deserialize<'a>>(luggage: &Luggage) -> Option<T> {
    let (word, left) = postcard::take_from_bytes(&luggage.0).ok()?;
    left.is_empty().then_some(word)
}
