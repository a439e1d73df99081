//! What clients of a cluster take along for the case that this node dies, and clients of nodes that have died (matching.md §4.13).

use rand_chacha::rand_core::RngCore as _;

use super::queue::Entry;
use super::session::Place;
use super::{Connection, Desk, MAX_CALL_MS};
use crate::cluster::Over;
use crate::signalling::codes::ErrorCode;
use crate::signalling::message::{Reply, Resumed, StateWord};
use crate::signalling::pass::{GOOD_FOR_MS, Papers, Wait, Written};
use crate::time::{Millis, Now, Unix};

/// Somebody with the pass of another node.
pub(super) enum Traveller {
    Arrived(Box<Papers>),
    /// That node still lives, as far as is known here. It may not be known for long.
    Early,
}

impl Desk {
    /// A pass that says what has changed: who this is, or where they wait.
    pub(super) fn tell_pass(&mut self, now: Now, to: Connection) {
        let (Some(passes), Some(by)) = (&self.passes, self.settings.joined.as_ref().map(|joined| joined.me)) else {
            return;
        };
        let Some(session) = self.sessions.get(&to).filter(|_| !self.guests.contains_key(&to)) else { return };
        let Some(caller) = session.caller.as_ref() else { return };
        let since = match &session.place {
            Place::Queued(waiting) => Some(waiting.since),
            Place::Paused(paused) => Some(paused.since),
            Place::New | Place::Idle | Place::InCall(..) | Place::Abroad(_) => None,
        };
        let wait = since.zip(caller.wishes).map(|(since, criteria)| {
            let secs = now.mono.since(since) / 1_000;
            Wait { since: Unix(now.unix.0.saturating_sub(secs)), criteria }
        });
        let mut salt = [0; 16];
        self.rng.fill_bytes(&mut salt);
        let pass = passes.seal(salt, &Written { by, given: now.unix, claims: &caller.claims, wait });
        if let Some(pass) = pass {
            self.send(to, &Reply::Pass { pass: &pass });
        }
    }

    /// Whose pass this is, if it is one that may be good.
    pub(super) fn traveller(&mut self, now: Now, pass: &str) -> Option<Traveller> {
        let papers = self.passes.as_ref()?.open(pass)?;
        let kept_secs = now.unix.0.saturating_sub(papers.given.0);
        match self.queues.cluster()?.over(now, papers.by) {
            Over::NotYet => Some(Traveller::Early),
            Over::Since(millis) => (millis <= GOOD_FOR_MS && kept_secs <= MAX_CALL_MS / 1_000)
                .then(|| Traveller::Arrived(Box::new(papers))),
            Over::Unknown => None,
        }
    }

    /// As if they had resumed here: known, and where they waited.
    pub(super) fn take_in(&mut self, now: Now, from: Connection, q: Option<u64>, papers: Papers) {
        let Papers { claims, wait, .. } = papers;
        if !self.admits() {
            return self.turn_away(now, from, q);
        }
        if self.is_denied(now, &claims) {
            return self.refuse(now, from, q, ErrorCode::Revoked);
        }
        let state = if wait.is_some() { StateWord::Queued } else { StateWord::Idle };
        self.welcome(now, from, q, claims, Some(Resumed { state, call: None, generation: None, q: 0 }));
        if self.sessions.get(&from).is_none_or(|session| session.caller.is_none()) {
            return;
        }
        self.counters.count_resumed();
        if let Some(Wait { since, criteria }) = wait {
            let waited_ms = now.unix.0.saturating_sub(since.0).saturating_mul(1_000);
            let since = Millis(now.mono.0.saturating_sub(waited_ms));
            self.enqueue(now, from, Entry { q: None, since, criteria, offer: None });
        }
    }
}
