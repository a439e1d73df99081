//! `hello`: the age gate, the token, one connection per person.

use super::deny::Denied;
use super::passes::Traveller;
use super::session::{Caller, Place};
use super::{Connection, Desk};
use crate::calls::Handle;
use crate::signalling::codes::ErrorCode;
use crate::signalling::ids::Id;
use crate::signalling::limits::LIMITS;
use crate::signalling::message::{self, Hello, RelayWord, Reply, Resumed, Welcome};
use crate::signalling::token::{Claims, Rejected};
use crate::time::Now;

impl Desk {
    pub(super) fn hello(&mut self, now: Now, from: Connection, q: Option<u64>, hello: &Hello) {
        if let Some(resume) = hello.resume.as_ref().filter(|_| hello.versions.contains(&message::VERSION))
            && let Some(old) = self.resumable(now, resume)
        {
            return self.resume(now, from, q, old, resume.n);
        }
        if let Some(pass) = hello.pass.as_ref().filter(|_| hello.versions.contains(&message::VERSION)) {
            match self.traveller(now, pass) {
                Some(Traveller::Arrived(papers)) => return self.take_in(now, from, q, *papers),
                Some(Traveller::Early) if hello.token.is_none() => return self.turn_away(now, from, q),
                _ => {}
            }
        }
        if !self.admits() {
            return self.turn_away(now, from, q);
        }
        let Some(token) = &hello.token else { return self.refuse(now, from, q, ErrorCode::Token) };
        let claims = match self.verifier.verify(now.unix, token) {
            Ok(claims) => claims,
            Err(Rejected::Age) => return self.refuse(now, from, q, ErrorCode::Age),
            Err(Rejected::Token) => return self.refuse(now, from, q, ErrorCode::Token),
            Err(Rejected::Busy) => return self.refuse(now, from, q, ErrorCode::Busy),
        };
        if self.is_denied(now, &claims) {
            return self.refuse(now, from, q, ErrorCode::Revoked);
        }
        if !hello.versions.contains(&message::VERSION) {
            return self.refuse(now, from, q, ErrorCode::Version);
        }
        self.welcome(now, from, q, claims, None);
    }

    pub(super) fn is_denied(&self, now: Now, claims: &Claims) -> bool {
        let denied = [Denied::Person(claims.person), Denied::Token(claims.token)];
        denied.iter().any(|denied| self.deny.holds(now.unix, *denied).is_some())
    }

    /// Of two connections of one person the newer one stays.
    fn replace_older(&mut self, now: Now, claims: &Claims) {
        if let Some(older) = self.people.get(&claims.person).copied() {
            self.refuse(now, older, None, ErrorCode::Replaced);
        }
    }

    /// `resumed`: where somebody stands who has stood elsewhere.
    pub(super) fn welcome(
        &mut self,
        now: Now,
        from: Connection,
        q: Option<u64>,
        claims: Claims,
        resumed: Option<Resumed>,
    ) {
        self.replace_older(now, &claims);
        let warm = self.random_handle();
        if self.relay.open(warm).is_err() {
            return self.refuse(now, from, q, ErrorCode::Busy);
        }
        let may_direct =
            self.settings.direct_first && self.settings.direct_bands.contains(&claims.band) && !claims.relay_only;
        let (sid, key) = (Id::random(&mut self.rng), Id::random(&mut self.rng));
        let Some(session) = self.sessions.get_mut(&from) else { return };
        self.people.insert(claims.person, from);
        self.sids.insert(sid, from);
        let (warm, wishes, failures, last) = (Some(warm), None, 0, None);
        session.caller = Some(Box::new(Caller { sid, key, claims, may_direct, warm, wishes, failures, last }));
        session.place = Place::Idle;
        self.counters.count_welcomed();
        self.greet(now, from, q, resumed);
        self.tell_pass(now, from);
    }

    /// `welcome`, to a new session or to one that is resumed.
    pub(super) fn greet(&mut self, now: Now, to: Connection, q: Option<u64>, resumed: Option<Resumed>) {
        let place = self.place_on_relay(to);
        let Some(caller) = self.sessions.get(&to).and_then(|session| session.caller.as_ref()) else { return };
        let ice = place.map(|(handle, generation, direct)| self.ice(now, handle, generation, direct));
        let policy = message::Policy {
            relay: if caller.may_direct { RelayWord::MayDirect } else { RelayWord::Always },
            acceptance: self.settings.acceptance,
            text: caller.claims.may_text,
            next: caller.claims.may_next,
            direct: caller.may_direct,
            report: self.settings.reports,
        };
        let welcome = Welcome {
            q,
            v: message::VERSION,
            sid: caller.sid,
            key: caller.key,
            hb_ms: self.settings.heartbeat_ms,
            limits: &LIMITS,
            policy,
            topics: &self.settings.topics,
            topics_rev: self.topics_rev,
            ice: ice.as_ref(),
            resumed,
        };
        let frame = Reply::Welcome(welcome).frame();
        self.send_plain(to, frame);
    }

    /// Handle, generation and path of whatever this session has open on the relay, which is opened if there is nothing.
    fn place_on_relay(&mut self, of: Connection) -> Option<(Handle, u32, bool)> {
        let session = self.sessions.get(&of)?;
        let caller = session.caller.as_ref()?;
        let direct = caller.may_direct;
        let open = match &session.place {
            Place::Queued(waiting) => Some(waiting.handle),
            Place::Paused(paused) => paused.handle.or(caller.warm),
            Place::InCall(id, side) => {
                let call = self.calls.get(id)?;
                return Some((call.seat(*side).handle, call.generation, call.direct));
            }
            // Only the host may say; a restart does.
            Place::Abroad(_) => return None,
            Place::New | Place::Idle => caller.warm,
        };
        if let Some(handle) = open {
            return Some((handle, 1, direct));
        }
        let fresh = self.random_handle();
        self.relay.open(fresh).ok()?;
        self.sessions.get_mut(&of)?.caller.as_mut()?.warm = Some(fresh);
        Some((fresh, 1, direct))
    }
}

/// FNV-1a over the names: changes when the list does.
pub(super) fn topics_revision(topics: &[String]) -> u32 {
    let bytes = topics.iter().flat_map(|topic| topic.bytes().chain([0]));
    bytes.fold(0x811C_9DC5, |hash: u32, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}
