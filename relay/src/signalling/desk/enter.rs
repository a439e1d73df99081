//! `hello`: the age gate, the token, one connection per person.

use super::session::{Caller, Place};
use super::{Connection, Desk};
use crate::calls::Handle;
use crate::signalling::codes::ErrorCode;
use crate::signalling::ids::Id;
use crate::signalling::limits::LIMITS;
use crate::signalling::message::{self, Hello, RelayWord, Reply, Welcome};
use crate::signalling::token::{Claims, Rejected};
use crate::time::Now;

impl Desk {
    pub(super) fn hello(&mut self, now: Now, from: Connection, q: Option<u64>, hello: &Hello) {
        let claims = match self.verifier.verify(now.unix, &hello.token) {
            Ok(claims) => claims,
            Err(Rejected::Age) => return self.refuse(now, from, q, ErrorCode::Age),
            Err(Rejected::Token) => return self.refuse(now, from, q, ErrorCode::Token),
            Err(Rejected::Busy) => return self.refuse(now, from, q, ErrorCode::Busy),
        };
        if !hello.versions.contains(&message::VERSION) {
            return self.refuse(now, from, q, ErrorCode::Version);
        }
        self.replace_older(now, &claims);
        let handle = self.random_handle();
        if self.relay.open(handle).is_err() {
            return self.refuse(now, from, q, ErrorCode::Busy);
        }
        self.welcome(now, from, q, claims, handle);
    }

    /// Of two connections of one person the newer one stays.
    fn replace_older(&mut self, now: Now, claims: &Claims) {
        if let Some(older) = self.people.get(&claims.person).copied() {
            self.refuse(now, older, None, ErrorCode::Replaced);
        }
    }

    fn welcome(&mut self, now: Now, from: Connection, q: Option<u64>, claims: Claims, warm: Handle) {
        let (sid, key) = (Id::random(&mut self.rng), Id::random(&mut self.rng));
        let may_direct =
            self.settings.direct_first && self.settings.direct_bands.contains(&claims.band) && !claims.relay_only;
        let policy = message::Policy {
            relay: if may_direct { RelayWord::MayDirect } else { RelayWord::Always },
            acceptance: false,
            text: claims.may_text,
            next: claims.may_next,
            direct: may_direct,
        };
        let welcome = Welcome {
            q,
            v: message::VERSION,
            sid,
            key,
            hb_ms: self.settings.heartbeat_ms,
            limits: &LIMITS,
            policy,
            topics: &self.settings.topics,
            topics_rev: self.topics_rev,
            ice: &self.ice(now, warm, 1, may_direct),
        };
        let frame = Reply::Welcome(welcome).frame();
        let Some(session) = self.sessions.get_mut(&from) else { return };
        self.people.insert(claims.person, from);
        session.caller = Some(Box::new(Caller { claims, may_direct, warm: Some(warm), wishes: None, failures: 0 }));
        session.place = Place::Idle;
        self.counters.count_welcomed();
        self.send_frame(from, frame);
    }
}

/// FNV-1a over the names: changes when the list does.
pub(super) fn topics_revision(topics: &[String]) -> u32 {
    let bytes = topics.iter().flat_map(|topic| topic.bytes().chain([0]));
    bytes.fold(0x811C_9DC5, |hash: u32, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}
