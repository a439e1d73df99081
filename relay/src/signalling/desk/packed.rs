//! What a desk hands on to the one that takes its place, as bytes (`postcard`: in the order of the fields, without their names).
//!
//! Sessions and calls are packed as they are, so a field more or less, here or in anything these types hold, is another encoding: [`VERSION`]
//! goes up with it, and a test knows the bytes of each.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::bound::{Bound, MAX_BOUND};
use super::call::Call;
use super::deny::{Deny, MAX_DENIED};
use super::session::{Place, Session, Side};
use super::{Desk, MAX_RESTARTS};
use crate::calls::Handle;
use crate::matchmaking::RecentPartners;
use crate::signalling::evidence::Tags;
use crate::signalling::ids::Id;
use crate::signalling::message::MAX_SAFE_INTEGER;
use crate::signalling::token;

/// Of the encoding.
pub const VERSION: u16 = 1;

/// A desk's state, for another process. Names people, holds their cards and the keys that everything hangs on: for no disk and no log.
#[derive(Serialize, Deserialize)]
pub struct Packed {
    bytes: Vec<u8>,
    #[serde(skip)]
    moves: Vec<Handle>,
}

/// Not of this version, cut short, or no state that a desk could be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadPacked;

/// What moves from one desk to the other. Whom it names by connection is named by session instead.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Contents {
    /// Somebody's, and away; none of them waits.
    pub(super) sessions: Vec<Session>,
    /// They stand, and both their sessions are among these.
    pub(super) calls: Vec<Call>,
    pub(super) bound: Vec<(Id, Bound)>,
}

/// What both desks know from then on.
#[derive(Serialize, Deserialize)]
pub(super) struct Knowledge {
    pub(super) memory: token::Memory,
    pub(super) recent: RecentPartners,
    pub(super) blocks: RecentPartners,
    pub(super) deny: Deny,
    pub(super) tags: Tags,
    pub(super) tickets: u64,
    pub(super) open: bool,
    pub(super) sealed: bool,
}

impl Packed {
    /// `None` if it cannot be written, which is a fault of this program.
    pub(super) fn new(desk: &Desk, contents: &Contents) -> Option<Packed> {
        let Desk { verifier, recent, blocks, deny, tags, tickets, settings, sealed, .. } = desk;
        let knowledge = (verifier.memory(), recent, blocks, deny, tags, tickets, settings.open, sealed);
        let bytes = postcard::to_allocvec(&(VERSION, contents, knowledge)).ok()?;
        Some(Packed { bytes, moves: contents.handles().collect() })
    }

    /// The handles that are the other desk's from now on, with what is allocated for them.
    pub fn moves(&self) -> &[Handle] {
        &self.moves
    }

    /// In bytes.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether a desk can go on with it.
    pub fn is_sound(&self) -> bool {
        self.open().is_ok()
    }

    pub(super) fn open(&self) -> Result<(Contents, Knowledge), BadPacked> {
        let (version, rest) = postcard::take_from_bytes::<u16>(&self.bytes).map_err(|_| BadPacked)?;
        if version != VERSION {
            return Err(BadPacked);
        }
        let (opened, rest) = postcard::take_from_bytes::<(Contents, Knowledge)>(rest).map_err(|_| BadPacked)?;
        let (contents, knowledge) = &opened;
        let sound = rest.is_empty() && contents.is_sound() && knowledge.is_sound();
        if sound { Ok(opened) } else { Err(BadPacked) }
    }
}

impl Contents {
    /// Everything that is open on the relay for these.
    pub(super) fn handles(&self) -> impl Iterator<Item = Handle> {
        let waiting = self.sessions.iter().flat_map(|session| {
            let paused = if let Place::Paused(paused) = &session.place { paused.handle } else { None };
            session.caller.as_ref().and_then(|caller| caller.warm).into_iter().chain(paused)
        });
        let calls = self.calls.iter().flat_map(|call| Side::BOTH.map(|side| call.seat(side).handle));
        let bound = self.bound.iter().flat_map(|(_, bound)| bound.handles);
        waiting.chain(calls).chain(bound)
    }

    /// Nothing is there twice, every seat is somebody's, and nobody is where nobody can come back to.
    fn is_sound(&self) -> bool {
        let (mut seats, mut sids, mut people) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let sessions = self.sessions.iter().all(|session| {
            let sits = match session.place {
                Place::New | Place::Queued(_) | Place::Abroad(_) => false,
                Place::Idle | Place::Paused(_) => true,
                Place::InCall(id, side) => seats.insert((id, side)),
            };
            let caller = session.caller.as_ref();
            sits && session.away && caller.is_some_and(|it| sids.insert(it.sid) && people.insert(it.claims.person))
        });
        let calls = self.calls.iter().all(|call| {
            let taken = Side::BOTH.iter().all(|side| seats.remove(&(call.id, *side)));
            taken && call.connected && call.negotiated && call.generation <= MAX_RESTARTS + 1
        });
        let mut handles = BTreeSet::new();
        let apart = self.handles().all(|handle| handles.insert(handle.0));
        let bound: BTreeSet<Id> = self.bound.iter().map(|(id, _)| *id).collect();
        let bounded = bound.len() == self.bound.len() && bound.len() <= MAX_BOUND;
        sessions && calls && seats.is_empty() && apart && bounded
    }
}

impl Knowledge {
    fn is_sound(&self) -> bool {
        self.deny.len() <= MAX_DENIED && self.tickets <= MAX_SAFE_INTEGER
    }
}

impl fmt::Debug for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Packed[redacted]")
    }
}

impl fmt::Display for BadPacked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the other process speaks another version of this, or broke off")
    }
}

impl std::error::Error for BadPacked {}
