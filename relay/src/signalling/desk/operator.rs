//! What the app's backend may ask of the desk over the operator's listener: revocation, what is held of somebody, and the end of a shift.

use serde::Serialize;

use super::deny::{Change, Denied, DenyFull, Revoked};
use super::session::Place;
use super::{Connection, Desk};
use crate::matchmaking::{Census, entry};
use crate::signalling::codes::ErrorCode;
use crate::signalling::token::{MAX_LIFE_SECS, SKEW_SECS, token_digest};
use crate::time::{Now, Unix};

/// How long a revocation holds if nothing is said: no token that exists now outlives it.
pub const DENY_SECS: u64 = MAX_LIFE_SECS + 2 * SKEW_SECS;
/// The longest revocation. What should last longer is the app's: it mints no more tokens.
pub const MAX_DENY_SECS: u64 = 24 * 3_600;

/// Whom or what a revocation names.
#[derive(Clone, Copy)]
pub enum Subject<'a> {
    /// The pseudonym of a token's `sub`.
    Person(&'a str),
    /// A token's `jti`.
    Token(&'a str),
}

impl Subject<'_> {
    /// By what other nodes know it.
    pub fn revoked(self) -> Revoked {
        match self {
            Subject::Person(sub) => Revoked::Person(entry(sub)),
            Subject::Token(jti) => Revoked::Token(token_digest(jti)),
        }
    }
}

/// Everything held of one person, all of it for as long as a connection or a few minutes more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Held {
    pub connected: bool,
    /// "idle", "queued", "paused", "call", or nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<&'static str>,
    /// Partners remembered so that the two do not meet again at once.
    pub recent_partners: usize,
    /// People blocked here; lasting blocks live in the app.
    pub blocks: usize,
    /// Unix time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub denied_until: Option<u64>,
}

impl Desk {
    /// Ends session, ticket, call and media of a person or a token, now, and lets it in no more for `secs`. Whether there was anybody.
    ///
    /// # Errors
    /// [`DenyFull`]: what is there now has ended all the same, but it may come back.
    pub fn revoke(&mut self, now: Now, subject: Subject<'_>, secs: u64) -> Result<bool, DenyFull> {
        self.withdraw(now, subject.revoked(), revoked_until(now.unix, secs))
    }

    /// What another node was asked.
    ///
    /// # Errors
    /// As of [`Desk::revoke`], of any of them.
    pub fn heed(&mut self, now: Now, changes: &[Change]) -> Result<(), DenyFull> {
        let mut held = Ok(());
        for change in changes {
            match *change {
                Change::Revoke(revoked, until) => {
                    let until = until.min(revoked_until(now.unix, MAX_DENY_SECS));
                    held = held.and(self.withdraw(now, revoked, until).map(drop));
                }
                Change::Erase(entry) => self.erase_entry(now, entry),
            }
        }
        held
    }

    fn withdraw(&mut self, now: Now, revoked: Revoked, until: Unix) -> Result<bool, DenyFull> {
        self.clock = now;
        let denied = self.denied(revoked);
        let ended = self.connection_of(denied);
        if let Some(connection) = ended {
            self.refuse(now, connection, None, ErrorCode::Revoked);
        }
        let held = self.deny.add(now.unix, denied, until);
        self.settle(now);
        held.map(|()| ended.is_some())
    }

    /// What was revoked before this run; from now on people are let in. Entries that are over are passed over.
    ///
    /// # Errors
    /// [`DenyFull`]: not all of it can be held, and nobody is let in.
    pub fn recall<'a>(&mut self, now: Now, revoked: impl Iterator<Item = (Subject<'a>, Unix)>) -> Result<(), DenyFull> {
        for (subject, until) in revoked.filter(|(_, until)| *until > now.unix) {
            let denied = self.denied(subject.revoked());
            self.deny.add(now.unix, denied, until.min(revoked_until(now.unix, MAX_DENY_SECS)))?;
        }
        self.sealed = false;
        self.counters.set_awaiting_revocations(false);
        Ok(())
    }

    fn denied(&self, revoked: Revoked) -> Denied {
        match revoked {
            Revoked::Person(entry) => Denied::Person(self.verifier.blocked(entry)),
            Revoked::Token(digest) => Denied::Token(digest),
        }
    }

    fn connection_of(&self, denied: Denied) -> Option<Connection> {
        match denied {
            Denied::Person(person) => self.people.get(&person).copied().or_else(|| self.guest_of(person)),
            Denied::Token(token) => self
                .sessions
                .iter()
                .find(|(_, session)| session.caller.as_ref().is_some_and(|caller| caller.claims.token == token))
                .map(|(connection, _)| *connection),
        }
    }

    /// What is held of the person behind a pseudonym.
    pub fn held(&self, now: Now, sub: &str) -> Held {
        let person = self.verifier.person(sub);
        let session = self.people.get(&person).and_then(|connection| self.sessions.get(connection));
        let state = |place: &Place| match place {
            Place::New => None,
            Place::Idle => Some("idle"),
            Place::Queued(_) => Some("queued"),
            Place::Paused(_) => Some("paused"),
            Place::InCall(..) | Place::Abroad(_) => Some("call"),
        };
        Held {
            connected: session.is_some_and(|session| !session.away),
            state: session.and_then(|session| state(&session.place)),
            recent_partners: self.recent.of(now.mono, person).count(),
            blocks: self.blocks.of(now.mono, person).count(),
            denied_until: self.deny.holds(now.unix, Denied::Person(person)).map(|until| until.0),
        }
    }

    /// One slice of a census of those who wait; whether it was the last.
    pub fn count_waiting(&self, now: Now, census: &mut Census) -> bool {
        self.queues.count(now, census)
    }

    /// Ends what is there of a person and forgets the rest, on every side. No revocation: who has a token may come back.
    pub fn erase(&mut self, now: Now, sub: &str) {
        self.erase_entry(now, entry(sub));
    }

    fn erase_entry(&mut self, now: Now, entry: [u8; 8]) {
        self.clock = now;
        let person = self.verifier.blocked(entry);
        if let Some(connection) = self.connection_of(Denied::Person(person)) {
            self.refuse(now, connection, None, ErrorCode::Revoked);
        }
        self.recent.forget(person);
        self.blocks.forget(person);
        for session in self.sessions.values_mut() {
            if let Some(caller) = session.caller.as_mut() {
                caller.last = caller.last.take().filter(|last| last.person != person);
            }
        }
        self.settle(now);
    }
}

/// When a revocation of now ends.
pub fn revoked_until(now: Unix, secs: u64) -> Unix {
    Unix(now.0.saturating_add(secs.min(MAX_DENY_SECS)))
}
