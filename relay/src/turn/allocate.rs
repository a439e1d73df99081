//! Allocate (RFC 8656 §7.2). Step 1, authentication, has happened.

use super::Turn;
use super::allocation::{Allocation, Granted};
use super::counters::Reason;
use super::five_tuple::FiveTuple;
use super::io::{Action, OpenError};
use super::opening::{MAX_ATTEMPTS, Opening};
use super::ports::{Token, Wish};
use super::reject::Reject;
use super::relayed_port::RelayedPort;
use super::request::Answer;
use super::routes::{Kind, Route};
use super::settings::Settings;
use super::tcp::{self, TcpAction};
use crate::auth::{Authenticated, Identity};
use crate::calls::NoLeg;
use crate::time::{Millis, Now};
use crate::wire::{Key, Message, Method, Reply, TransactionId};

/// IP protocol numbers in REQUESTED-TRANSPORT.
const UDP: u8 = 17;
const TCP: u8 = 6;

/// What a good Allocate asks for.
#[derive(Clone, Copy)]
pub(crate) struct Wanted {
    /// RFC 6062.
    tcp: bool,
    ipv6: bool,
    port: WantedPort,
    lifetime_secs: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum WantedPort {
    Any,
    /// EVEN-PORT, R bit 0.
    Even,
    /// EVEN-PORT, R bit 1.
    Pair,
    /// RESERVATION-TOKEN.
    Reserved(Token),
}

impl Turn {
    pub(super) fn allocate(
        &mut self,
        now: Now,
        from: &FiveTuple,
        request: &Message<'_>,
        who: &Authenticated,
    ) -> Result<Answer, Reject> {
        if let Some(again) = self.repeated(from, request, who) {
            return again;
        }
        let wanted = Wanted::read(from, request, &self.shared.settings)?;
        let reserved = matches!(wanted.port, WantedPort::Reserved(_));
        if !reserved && self.shared.addresses(wanted.ipv6).is_empty() {
            return Err(Reject::FamilyNotSupported); // step 7
        }
        if wanted.tcp && matches!(who.identity(), Identity::Call(_)) {
            return Err(Reject::Forbidden); // its partner's relayed address has no TCP
        }
        if self.draining {
            return Err(Reject::NoCapacity);
        }
        if let Identity::Call(handle) = who.identity() {
            self.shared.ledger.may_allocate(&handle)?;
        }
        self.shared.quota.admit(who.identity())?; // step 10
        let Some((port, token)) = self.take_port(&wanted, who, now.mono) else {
            self.shared.quota.release(who.identity());
            return Err(Reject::NoCapacity); // steps 5 and 8
        };
        let opening = Opening {
            client: *from,
            owner: who.clone(),
            transaction: request.transaction(),
            wanted,
            token,
            failed: Vec::new(),
        };
        match who.identity() {
            // Nothing outside can reach it, so it has no socket.
            Identity::Call(_) => self.establish(now.mono, port, opening).map(Answer::Now),
            Identity::User(_) => {
                self.openings.insert(port, opening);
                self.actions.push_back(wanted.open(port));
                Ok(Answer::Later)
            }
        }
    }

    /// The answer to [`Action::Open`]: the allocation exists now, or another port is tried.
    pub(super) fn opened(&mut self, now: Now, port: RelayedPort, result: Result<(), OpenError>) {
        let Some(mut opening) = self.openings.take(port) else { return };
        if result.is_ok() {
            let (client, transaction, key) = (opening.client, opening.transaction, *opening.owner.key());
            if let Ok(reply) = self.establish(now.mono, port, opening) {
                self.succeed(&client, reply.finish(Some(&key)));
            } else {
                self.refuse_later(&client, transaction, &key, Reject::NoCapacity);
            }
            return;
        }
        if let Some(token) = opening.token.take() {
            self.shared.ports.cancel(&token);
        }
        opening.failed.push(port);
        let retry = !matches!(opening.wanted.port, WantedPort::Reserved(_)) && opening.failed.len() < MAX_ATTEMPTS;
        match retry.then(|| self.take_port(&opening.wanted, &opening.owner, now.mono)).flatten() {
            Some((port, token)) => {
                opening.token = token;
                self.actions.push_back(opening.wanted.open(port));
                self.openings.insert(port, opening);
            }
            None => self.give_up(opening),
        }
    }

    fn give_up(&mut self, opening: Opening) {
        for port in opening.failed {
            self.shared.ports.give_back(port);
        }
        self.shared.quota.release(opening.owner.identity());
        self.refuse_later(&opening.client, opening.transaction, opening.owner.key(), Reject::NoCapacity);
    }

    /// Step 2: the five-tuple is in use. A retransmission gets the answer its original got.
    fn repeated(
        &mut self,
        from: &FiveTuple,
        request: &Message<'_>,
        who: &Authenticated,
    ) -> Option<Result<Answer, Reject>> {
        if let Some(transaction) = self.openings.transaction(from) {
            if transaction != request.transaction() {
                return Some(Err(Reject::Mismatch));
            }
            self.counters.drop_packet(Reason::InProgress);
            return Some(Ok(Answer::Later));
        }
        let allocation = self.allocations.get(self.allocations.find(from)?)?;
        let same = allocation.granted.transaction == request.transaction();
        if !same || allocation.owner.identity() != who.identity() {
            return Some(Err(Reject::Mismatch));
        }
        Some(self.success(Reply::success(request), allocation).map(Answer::Now))
    }

    fn take_port(&self, wanted: &Wanted, who: &Authenticated, now: Millis) -> Option<(RelayedPort, Option<Token>)> {
        let (ports, settings) = (&self.shared.ports, &self.shared.settings);
        let addresses = self.shared.addresses(wanted.ipv6);
        match wanted.port {
            WantedPort::Any => Some((ports.take(&addresses, Wish::Any, now)?, None)),
            WantedPort::Even => Some((ports.take(&addresses, Wish::Even, now)?, None)),
            WantedPort::Reserved(token) => Some((ports.redeem(&token, now)?, None)),
            WantedPort::Pair => {
                // Call-bound credentials have no use for a second port, and no person to count it for.
                let Identity::User(person) = who.identity() else { return None };
                let (port, token) = ports.take_pair(&addresses, person, settings.user_allocations, now)?;
                Some((port, Some(token)))
            }
        }
    }

    /// The port works: the allocation exists from here on.
    fn establish(&mut self, now: Millis, port: RelayedPort, opening: Opening) -> Result<Reply, Reject> {
        let Opening { client, owner, transaction, wanted, token, failed } = opening;
        for port in failed {
            self.shared.ports.give_back(port);
        }
        let expires = now.after(u64::from(wanted.lifetime_secs) * 1000);
        match owner.identity() {
            Identity::User(_) if wanted.tcp => {}
            Identity::User(_) => self.shared.routes.install(port, &Route { client, expires, kind: Kind::Real }),
            Identity::Call(handle) => {
                if let Err(gone) = self.shared.ledger.allocated(&handle, self.worker, port, client, expires) {
                    self.shared.ports.give_back(port);
                    self.shared.quota.release(owner.identity());
                    return Err(gone.into());
                }
            }
        }
        let granted = Granted { transaction, lifetime_secs: wanted.lifetime_secs, token };
        let key = self.allocations.insert(client, port, owner, granted, expires);
        if wanted.tcp {
            self.begin_tcp(key);
        }
        self.counters.allocation_created();
        let allocation = self.allocations.get(key).ok_or(Reject::NoCapacity)?;
        self.success(Reply::success_to(Method::Allocate, transaction), allocation)
    }

    fn success(&self, reply: Reply, allocation: &Allocation) -> Result<Reply, Reject> {
        let relayed = self.shared.routes.public(allocation.relayed).ok_or(Reject::NoCapacity)?;
        let reply = reply
            .xor_relayed_address(relayed)
            .lifetime(allocation.granted.lifetime_secs)
            .xor_mapped_address(allocation.client.remote);
        Ok(match allocation.granted.token {
            Some(token) => reply.reservation_token(token),
            None => reply,
        })
    }

    fn refuse_later(&mut self, to: &FiveTuple, transaction: TransactionId, key: &Key, why: Reject) {
        let bytes = Reply::error_to(Method::Allocate, transaction, why.code()).finish(Some(key));
        self.send_reply(to, why.code().code(), bytes);
    }
}

impl Wanted {
    /// Steps 3 to 8, as far as the request alone tells.
    fn read(from: &FiveTuple, request: &Message<'_>, settings: &Settings) -> Result<Wanted, Reject> {
        let tcp = match request.requested_transport()? {
            Some(UDP) => false,
            Some(TCP) => tcp::check_allocate(from, request, settings).map(|()| true)?,
            None => return Err(Reject::BadRequest), // step 3
            Some(_) => return Err(Reject::UnsupportedTransport),
        };
        request.dont_fragment()?; // step 4: known
        let (token, even) = (request.reservation_token()?, request.even_port()?);
        let family = request.requested_address_family()?;
        if token.is_some() && (even.is_some() || family.is_some()) {
            return Err(Reject::BadRequest); // step 5
        }
        let ipv6 = match family {
            None | Some(1) => false,
            Some(2) => true,
            Some(_) => return Err(Reject::FamilyNotSupported), // step 7
        };
        let port = match (token, even) {
            (Some(token), _) => WantedPort::Reserved(token),
            (None, Some(true)) => WantedPort::Pair,
            (None, Some(false)) => WantedPort::Even,
            (None, None) => WantedPort::Any,
        };
        Ok(Wanted { tcp, ipv6, port, lifetime_secs: lifetime_secs(settings, request.lifetime()?) })
    }

    /// How its socket is asked for.
    fn open(&self, port: RelayedPort) -> Action {
        if self.tcp { Action::Tcp(TcpAction::Listen { port }) } else { Action::Open { port } }
    }
}

/// What is granted for what is asked: at least the default, at most the maximum (RFC 8656 §7.2, §8.2).
pub(super) fn lifetime_secs(settings: &Settings, asked: Option<u32>) -> u32 {
    asked.unwrap_or(0).min(settings.max_lifetime_secs).max(settings.default_lifetime_secs)
}

impl From<NoLeg> for Reject {
    fn from(why: NoLeg) -> Reject {
        match why {
            NoLeg::Closed => Reject::Forbidden,
            NoLeg::Enough => Reject::QuotaReached,
        }
    }
}
