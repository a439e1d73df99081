//! Allocate (RFC 8656 §7.2). Step 1, authentication, has happened; step 11 (300) is for servers that send clients elsewhere.
//! The steps' numbers stand beside what performs them.
//!
//! Every relayed address counts in the quota, so a dual allocation counts twice: it is ports and sockets that run out. Who has
//! one place left gets one address, and 508 for the other. That step 7 demands IPv4 of requests that name no family is read
//! as meant for requests that want one address: ADDITIONAL-ADDRESS-FAMILY names both, and step 9 tells what to do if one is
//! missing.

use super::Turn;
use super::allocation::{Allocation, Granted};
use super::counters::Reason;
use super::io::Action;
use super::opening::Opening;
use super::ports::{Token, Wish};
use super::refresh::family_number;
use super::reject::Reject;
use super::relayed::Relayed;
use super::request::Answer;
use super::settings::Settings;
use super::tcp::{self, TcpAction};
use crate::access;
use crate::auth::{Authenticated, Identity};
use crate::calls::NoLeg;
use crate::routes::{FiveTuple, Kind, RelayedPort, Route};
use crate::time::{Millis, Now};
use crate::wire::{ErrorCode, Key, Message, Method, Reply, TransactionId, UnknownAttributes, attribute as attr};

/// IP protocol numbers in REQUESTED-TRANSPORT.
const UDP: u8 = 17;
const TCP: u8 = 6;

/// What a good Allocate asks for.
#[derive(Clone, Copy)]
pub(crate) struct Wanted {
    /// RFC 6062.
    pub(super) tcp: bool,
    families: Families,
    port: WantedPort,
    lifetime_secs: u32,
}

/// Which relayed addresses are wanted. The address behind a RESERVATION-TOKEN has the family it has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Families {
    Ipv4,
    Ipv6,
    /// ADDITIONAL-ADDRESS-FAMILY.
    Both,
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
        if access::is_tunnelled(from.remote.ip()) {
            return Err(Reject::Forbidden); // §21.4; without an allocation there is no ChannelBind either
        }
        let wanted = Wanted::read(from, request, &self.shared.settings)?; // steps 3 to 6, 8 and 9
        if !self.has_family_of(&wanted) {
            return Err(Reject::FamilyNotSupported); // step 7
        }
        if wanted.tcp && matches!(who.identity(), Identity::Call(_)) {
            return Err(Reject::Forbidden); // its partner's relayed address has no TCP
        }
        if self.draining {
            return Err(self.elsewhere(from));
        }
        if let Identity::Call(handle) = who.identity() {
            self.shared.ledger.may_allocate(&handle)?;
        }
        let opening = Opening {
            client: *from,
            owner: who.clone(),
            transaction: request.transaction(),
            wanted,
            token: None,
            to_try: wanted.families.last_first(),
            ports: Vec::new(),
            missing: Vec::new(),
            failed: Vec::new(),
        };
        self.open_next(now.mono, opening)
    }

    /// Steps 7 to 10 for one family: a place in the quota and a port.
    pub(super) fn obtain(&mut self, now: Millis, opening: &mut Opening, ipv6: bool) -> Result<RelayedPort, Reject> {
        if !opening.wanted.is_reserved() && self.shared.addresses(ipv6).is_empty() {
            return Err(Reject::FamilyNotSupported); // step 7
        }
        self.shared.quota.admit(opening.owner.identity())?; // step 10: each relayed address counts
        let Some((port, token)) = self.take_port(&opening.wanted, ipv6, &opening.owner, now) else {
            self.shared.quota.release(opening.owner.identity());
            return Err(Reject::NoCapacity); // steps 5, 8 and 9
        };
        opening.token = token;
        Ok(port)
    }

    /// Whether there is an address of at least one family that would do.
    fn has_family_of(&self, wanted: &Wanted) -> bool {
        wanted.is_reserved() || wanted.families.last_first().iter().any(|ipv6| !self.shared.addresses(*ipv6).is_empty())
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

    pub(super) fn take_port(
        &self,
        wanted: &Wanted,
        ipv6: bool,
        who: &Authenticated,
        now: Millis,
    ) -> Option<(RelayedPort, Option<Token>)> {
        let (ports, settings) = (&self.shared.ports, &self.shared.settings);
        let addresses = self.shared.addresses(ipv6);
        match wanted.port {
            WantedPort::Any => {
                let wish = if matches!(who.identity(), Identity::Call(_)) { Wish::Virtual } else { Wish::Any };
                Some((ports.take(&addresses, wish, now)?, None))
            }
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

    /// Every port that could be had works: the allocation exists from here on, if there is any.
    pub(super) fn establish(&mut self, now: Millis, opening: Opening) -> Result<Reply, Reject> {
        let Opening { client, owner, transaction, wanted, token, ports, mut missing, failed, to_try: _ } = opening;
        for port in failed {
            self.shared.ports.give_back(port);
        }
        let expires = now.after(u64::from(wanted.lifetime_secs) * 1000);
        let mut relayed = Relayed::NONE;
        for port in ports {
            let ipv6 = self.shared.is_ipv6(port);
            match self.make_route(port, client, owner.identity(), expires, wanted.tcp) {
                Ok(()) => relayed.set(ipv6, port, expires),
                Err(gone) => missing.push((ipv6, gone.into())),
            }
        }
        if relayed.ports().next().is_none() {
            return Err(missing.first().map_or(Reject::NoCapacity, |(_, why)| *why));
        }
        let missing = missing.first().map(|(ipv6, why)| (*ipv6, partly(*why)));
        let granted = Granted { transaction, lifetime_secs: wanted.lifetime_secs, token, missing };
        let key = self.allocations.insert(client, relayed, owner, granted);
        if wanted.tcp {
            self.begin_tcp(key);
        }
        self.counters.allocation_created();
        let allocation = self.allocations.get(key).ok_or(Reject::NoCapacity)?;
        self.success(Reply::success_to(Method::Allocate, transaction), allocation)
    }

    /// From here on the port leads to its client. If it cannot, it is free again.
    pub(super) fn make_route(
        &self,
        port: RelayedPort,
        client: FiveTuple,
        who: Identity,
        expires: Millis,
        tcp: bool,
    ) -> Result<(), NoLeg> {
        match who {
            Identity::User(_) if tcp => {} // connections find their allocation in `Shared::tcp`
            Identity::User(_) => self.shared.routes.install(port, &Route { client, expires, kind: Kind::Real }),
            Identity::Call(handle) => {
                if let Err(gone) = self.shared.ledger.allocated(&handle, self.worker, port, client, expires) {
                    self.shared.ports.give_back(port);
                    self.shared.quota.release(who);
                    return Err(gone);
                }
            }
        }
        Ok(())
    }

    fn success(&self, reply: Reply, allocation: &Allocation) -> Result<Reply, Reject> {
        let mut reply = reply;
        for port in allocation.relayed.ports() {
            reply = reply.xor_relayed_address(self.shared.routes.public(port).ok_or(Reject::NoCapacity)?);
        }
        if let Some((ipv6, why)) = allocation.granted.missing {
            reply = reply.address_error_code(family_number(ipv6), why); // step 9: met in part
        }
        let reply = reply.lifetime(allocation.granted.lifetime_secs).xor_mapped_address(allocation.client.remote);
        Ok(match allocation.granted.token {
            Some(token) => reply.reservation_token(token),
            None => reply,
        })
    }

    pub(super) fn refuse_later(&mut self, to: &FiveTuple, transaction: TransactionId, key: &Key, why: Reject) {
        let bytes = Reply::error_to(Method::Allocate, transaction, why.code()).finish(Some(key));
        self.send_reply(to, why.code().code(), bytes);
    }
}

impl Wanted {
    /// Steps 3 to 9, as far as the request alone tells.
    fn read(from: &FiveTuple, request: &Message<'_>, settings: &Settings) -> Result<Wanted, Reject> {
        let tcp = match request.requested_transport()? {
            Some(UDP) => false,
            Some(TCP) => tcp::check_allocate(from, request, settings).map(|()| true)?,
            None => return Err(Reject::BadRequest), // step 3
            Some(_) => return Err(Reject::UnsupportedTransport),
        };
        let whole = request.dont_fragment()?; // step 4: supported, see `Forward::ToPeer`, with one exception below
        let (token, even) = (request.reservation_token()?, request.even_port()?);
        let (family, additional) = (request.requested_address_family()?, request.additional_address_family()?);
        if token.is_some() && (even.is_some() || family.is_some() || additional.is_some()) {
            return Err(Reject::BadRequest); // step 5
        }
        let families = match (family, additional) {
            (Some(_), Some(_)) => return Err(Reject::BadRequest), // step 6
            (None | Some(1), None) => Families::Ipv4,
            (Some(2), None) => Families::Ipv6,
            (Some(_), None) => return Err(Reject::FamilyNotSupported), // step 7
            (None, Some(_)) if even == Some(true) => return Err(Reject::BadRequest), // step 8
            (None, Some(2)) => Families::Both,
            (None, Some(_)) => return Err(Reject::BadRequest), // step 9, §18.11
        };
        if whole && families == Families::Ipv6 && from.remote.is_ipv4() && !from.transport.is_stream() {
            // From IPv4 to IPv6 only, by a program that does not see the DF bit of what comes in (§3.7). An allocation for
            // both families is granted: towards IPv4 the attribute does what it says.
            return Err(Reject::UnknownAttribute(UnknownAttributes::only(attr::DONT_FRAGMENT)));
        }
        let port = match (token, even) {
            (Some(token), _) => WantedPort::Reserved(token),
            (None, Some(true)) => WantedPort::Pair,
            (None, Some(false)) => WantedPort::Even,
            (None, None) => WantedPort::Any,
        };
        Ok(Wanted { tcp, families, port, lifetime_secs: lifetime_secs(settings, request.lifetime()?) })
    }

    /// The port is the one behind a token and no other.
    pub(super) fn is_reserved(&self) -> bool {
        matches!(self.port, WantedPort::Reserved(_))
    }

    /// How its socket is asked for.
    pub(super) fn open(&self, port: RelayedPort) -> Action {
        if self.tcp { Action::Tcp(TcpAction::Listen { port }) } else { Action::Open { port } }
    }
}

impl Families {
    /// As a list to take from: IPv6 is true, and IPv4 comes out first.
    fn last_first(self) -> Vec<bool> {
        match self {
            Families::Ipv4 => vec![false],
            Families::Ipv6 => vec![true],
            Families::Both => vec![true, false],
        }
    }
}

/// Why a family is missing from a dual allocation: 440 or 508, whatever stood in the way (step 9).
fn partly(why: Reject) -> ErrorCode {
    match why {
        Reject::FamilyNotSupported => ErrorCode::AddressFamilyNotSupported,
        _ => ErrorCode::InsufficientCapacity,
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
