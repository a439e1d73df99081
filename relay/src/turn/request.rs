//! From a STUN datagram to the method that answers it, and the answer's signature.

use super::Turn;
use super::allocation::Key;
use super::binding::binding;
use super::counters::Reason;
use super::io::Action;
use super::reject::Reject;
use crate::auth::{Authenticated, Identity, Refusal};
use crate::routes::FiveTuple;
use crate::time::Now;
use crate::wire::{Message, MessageClass, Method, Reply};

/// A verified request that was found good.
pub(super) enum Answer {
    Now(Reply),
    /// The answer waits for something, or another copy of it is on its way.
    Later,
}

impl Turn {
    /// Requests are answered, everything else meets silence: two servers must not answer each other (RFC 8489 §16).
    pub(super) fn stun(&mut self, now: Now, from: &FiveTuple, datagram: &[u8]) {
        let Ok(message) = Message::parse(datagram) else { return self.counters.drop_packet(Reason::Malformed) };
        if message.class() != MessageClass::Request {
            return self.counters.drop_packet(Reason::NotForServers);
        }
        match message.method() {
            Method::Binding => self.binding(now, from, &message, datagram.len()),
            Method::Allocate
            | Method::Refresh
            | Method::CreatePermission
            | Method::ChannelBind
            | Method::Connect
            | Method::ConnectionBind => self.request(now, from, &message),
            Method::Send | Method::Data | Method::ConnectionAttempt | Method::Other(_) => {
                self.counters.drop_packet(Reason::UnknownMethod);
            }
        }
    }

    fn binding(&mut self, now: Now, from: &FiveTuple, request: &Message<'_>, length: usize) {
        if !self.may_answer_stranger(now, from) {
            return;
        }
        match binding(self.shared.settings.nat_discovery.as_ref(), from, request, length) {
            Ok((path, reply)) => self.succeed(&path, reply.finish(None)),
            Err(reject) => self.send_reply(from, reject.code().code(), self.refusal(request, reject).finish(None)),
        }
    }

    /// In the order of RFC 8656 §5 and RFC 8489 §6.3:
    ///
    /// 1. the credentials are right (RFC 8489 §9.2.4), whatever is asked;
    /// 2. every attribute that must be understood is, or 420 (RFC 8489 §6.3.1);
    /// 3. there is an allocation, or, for Allocate, there is none: else 437 (RFC 8656 §5, §7.2 step 2);
    /// 4. it was made by the same user, or 441 (RFC 8656 §5);
    /// 5. the method.
    fn request(&mut self, now: Now, from: &FiveTuple, request: &Message<'_>) {
        let existing = self.living(now, from);
        let authenticator = &self.shared.authenticator;
        // 1
        let verified = match existing.and_then(|key| self.allocations.get(key)) {
            Some(allocation) => authenticator.authenticate_on(now, from.remote, request, &allocation.owner),
            None => self.authenticate_new(now, from, request),
        };
        let who = match verified {
            Ok(who) => who,
            Err(why) => return self.refuse(now, from, request, existing, &why),
        };
        match self.answer(now, from, request, &who, existing) {
            Ok(Answer::Now(reply)) => self.succeed(from, reply.finish(Some(who.key()))),
            Ok(Answer::Later) => {}
            Err(reject) => {
                let bytes = self.refusal(request, reject).finish(Some(who.key()));
                self.send_reply(from, reject.code().code(), bytes);
            }
        }
    }

    fn refuse(&mut self, now: Now, from: &FiveTuple, request: &Message<'_>, existing: Option<Key>, why: &Refusal) {
        // The right password on a five-tuple whose address was proved by an earlier nonce: no stranger.
        let known = existing.is_some() && matches!(why, Refusal::StaleNonce(_));
        if known || self.may_answer_stranger(now, from) {
            let bytes = self.shared.authenticator.refuse(now, from.remote, request, why);
            self.send_reply(from, why.code().code(), bytes);
        }
    }

    /// Whether a request that may have been sent by anybody, in anybody's name, is answered (RFC 8489 §16.2.1). Nobody opens a
    /// connection in somebody else's name.
    fn may_answer_stranger(&mut self, now: Now, from: &FiveTuple) -> bool {
        let may = from.transport.is_stream() || self.limiter.admit(now.mono, from.remote.ip());
        if !may {
            self.counters.drop_packet(Reason::ReplyLimit);
        }
        may
    }

    fn answer(
        &mut self,
        now: Now,
        from: &FiveTuple,
        request: &Message<'_>,
        who: &Authenticated,
        existing: Option<Key>,
    ) -> Result<Answer, Reject> {
        let unknown = request.unknown_required();
        if !unknown.is_empty() {
            return Err(Reject::UnknownAttribute(unknown)); // 2
        }
        if request.method() == Method::Allocate {
            return self.allocate(now, from, request, who);
        }
        if request.method() == Method::ConnectionBind {
            return self.connection_bind(from, request, who, existing.is_some());
        }
        let key = existing.ok_or(Reject::Mismatch)?; // 3
        let allocation = self.allocations.get_mut(key).ok_or(Reject::Mismatch)?;
        if allocation.owner.identity() != who.identity() {
            return Err(Reject::WrongCredentials); // 4
        }
        allocation.owner = who.clone(); // perhaps a fresh credential of the same user
        // 5
        let reply = match request.method() {
            Method::Refresh => self.refresh(now.mono, key, request),
            Method::CreatePermission => self.create_permission(now.mono, key, request),
            Method::ChannelBind => self.channel_bind(now.mono, key, request),
            Method::Connect => return self.connect(now.mono, key, request),
            _ => Err(Reject::BadRequest),
        };
        reply.map(Answer::Now)
    }

    /// The allocation of this five-tuple. One whose time or call is over is gone, even if nobody has cleared it away yet.
    fn living(&mut self, now: Now, from: &FiveTuple) -> Option<Key> {
        let key = self.allocations.find(from)?;
        let allocation = self.allocations.get(key)?;
        let open = match allocation.owner.identity() {
            Identity::User(_) => true,
            Identity::Call(handle) => self.shared.ledger.is_open(&handle),
        };
        if !open || !allocation.is_live(now.mono) {
            self.free(key);
            return None;
        }
        self.end_what_is_over(key, now.mono); // one of two may be
        Some(key)
    }

    pub(super) fn succeed(&mut self, to: &FiveTuple, bytes: Vec<u8>) {
        self.send_reply(to, 0, bytes);
    }

    /// `code` zero for success.
    pub(super) fn send_reply(&mut self, to: &FiveTuple, code: u16, bytes: Vec<u8>) {
        self.counters.reply(code);
        self.actions.push_back(Action::Reply { to: *to, bytes });
    }
}
