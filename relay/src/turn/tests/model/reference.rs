//! The model: RFC 8656 in plain maps and moments. Section numbers stand beside what obeys them; what is this server's own
//! is said to be. Nothing here is shared with the machine, and nothing here is clever.
//!
//! It is told what was asked, with addresses already looked up, and says what must be answered or delivered.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use super::asked::{Answer, Body, Claim, Identity, Peer, Port, Request, Time};

pub(super) const MAX_PERMISSIONS: usize = 3;
pub(super) const MAX_CHANNELS: usize = 3;
/// Allocations of one handle (this server).
const HANDLE_ALLOCATIONS: usize = 2;
const HOUR: u64 = 3_600_000;

#[derive(Clone, Debug)]
pub(super) struct Allocation {
    pub(super) owner: Identity,
    username: String,
    sha256: bool,
    transaction: u64,
    granted: u32,
    token: Option<[u8; 8]>,
    pub(super) relayed: SocketAddr,
    pub(super) expires: u64,
    permissions: BTreeMap<IpAddr, u64>,
    pub(super) channels: BTreeMap<u16, (SocketAddr, u64)>,
}

struct Reservation {
    port: SocketAddr,
    holder: Identity,
    ends: u64,
}

pub(super) struct Model {
    user_allocations: u32,
    /// By client: a client is a five-tuple.
    pub(super) allocations: BTreeMap<usize, Allocation>,
    reservations: BTreeMap<[u8; 8], Reservation>,
    /// Open handles and their partners.
    pub(super) handles: BTreeMap<usize, Option<usize>>,
}

impl Allocation {
    pub(super) fn is_of_a_call(&self) -> bool {
        matches!(self.owner, Identity::Handle(_))
    }

    pub(super) fn permits(&self, peer: IpAddr, now: Time) -> bool {
        self.permissions.get(&peer).is_some_and(|&ends| now.millis < ends)
    }

    pub(super) fn channel_of(&self, peer: SocketAddr, now: Time) -> Option<u16> {
        let mut bound = self.channels.iter().filter(|(_, (to, ends))| *to == peer && now.millis < *ends);
        bound.next().map(|(&number, _)| number)
    }
}

impl Model {
    pub(super) fn new(user_allocations: u32, handles: usize) -> Model {
        let (allocations, reservations) = (BTreeMap::new(), BTreeMap::new());
        Model { user_allocations, allocations, reservations, handles: (0..handles).map(|open| (open, None)).collect() }
    }

    /// What has ended is gone.
    pub(super) fn forget(&mut self, now: Time) {
        self.allocations.retain(|_, allocation| now.millis < allocation.expires);
        self.reservations.retain(|_, reservation| now.millis < reservation.ends);
    }

    pub(super) fn relayed(&self, client: usize) -> Option<SocketAddr> {
        self.allocations.get(&client).map(|allocation| allocation.relayed)
    }

    /// Relayed addresses that must have a socket: those of users.
    pub(super) fn sockets(&self) -> Vec<SocketAddr> {
        let of_users = self.allocations.values().filter(|allocation| !allocation.is_of_a_call());
        let mut all: Vec<_> = of_users.map(|allocation| allocation.relayed).collect();
        all.sort();
        all
    }

    /// Relayed ports that are not free.
    pub(super) fn taken(&self) -> usize {
        self.allocations.len() + self.reservations.len()
    }

    pub(super) fn is_taken(&self, port: SocketAddr) -> bool {
        self.allocations.values().any(|allocation| allocation.relayed == port)
            || self.reservations.values().any(|reservation| reservation.port == port)
    }

    /// What must be answered. If that is [`Answer::Allocated`], [`Model::allocated`] must follow.
    pub(super) fn ask(&mut self, now: Time, client: usize, request: &Request) -> Answer {
        self.forget(now);
        if let Err(code) = self.authenticate(now, client, request) {
            return Answer::Refused(code);
        }
        if request.claim.unknown_attribute {
            return Answer::Refused(420); // RFC 8489 §6.3.1
        }
        if let Body::Allocate { transport, family, port, lifetime } = request.body {
            return self.allocate(client, request, (transport, family, port, lifetime)).unwrap_or_else(Answer::Refused);
        }
        let Some(allocation) = self.allocations.get_mut(&client) else { return Answer::Refused(437) }; // §5
        if allocation.owner != request.claim.identity {
            return Answer::Refused(441); // §5
        }
        (allocation.username, allocation.sha256) = (request.claim.username.clone(), request.claim.sha256);
        let answer = match &request.body {
            Body::Refresh { lifetime, family } => self.refresh(now, client, *lifetime, *family),
            Body::Permit(peers) => self.permit(now, client, peers),
            Body::Bind(number, peer) => self.bind(now, client, *number, *peer),
            Body::Allocate { .. } => unreachable!(),
        };
        answer.unwrap_or_else(Answer::Refused)
    }

    /// RFC 8489 §9.2.4, and §5 of RFC 8656: a nonce is good for an hour.
    fn authenticate(&self, now: Time, client: usize, request: &Request) -> Result<(), u16> {
        let claim = &request.claim;
        if !claim.genuine {
            return Err(401);
        }
        let allocation = self.allocations.get(&client);
        let known = allocation.is_some_and(|all| all.username == claim.username && all.sha256 == claim.sha256);
        if let Some((minted, until)) = claim.minted.filter(|_| !known) {
            // Ours: the key of call-bound credentials moves on every hour, and the one before is good for another.
            let too_old = now.millis / HOUR > minted / HOUR + 1;
            let begins = allocation.is_none() && matches!(request.body, Body::Allocate { .. });
            if too_old || begins && until <= now.unix {
                return Err(401);
            }
        }
        let fresh = claim.nonce.is_some_and(|made| now.millis - made <= HOUR);
        if fresh { Ok(()) } else { Err(438) }
    }

    /// RFC 8656 §7.2, step by step.
    fn allocate(
        &mut self,
        client: usize,
        request: &Request,
        (transport, family, port, lifetime): (Option<u8>, Option<u8>, Port, Option<u32>),
    ) -> Result<Answer, u16> {
        let who = &request.claim.identity;
        if let Some(all) = self.allocations.get(&client) {
            let same = all.transaction == request.transaction && all.owner == *who;
            let again = Answer::Again { lifetime: all.granted, relayed: all.relayed, token: all.token };
            return if same { Ok(again) } else { Err(437) }; // step 2
        }
        match transport {
            Some(17) => {}
            None => return Err(400), // step 3
            Some(_) => return Err(442),
        }
        let token = matches!(port, Port::Token(_) | Port::TokenAndEven);
        if port == Port::TokenAndEven || token && family.is_some() {
            return Err(400); // step 5
        }
        if family.is_some_and(|family| family != 1 && family != 2) {
            return Err(440); // step 7
        }
        let mine = |all: &&Allocation| all.owner == *who;
        let held = self.allocations.values().filter(mine).count();
        match who {
            Identity::Handle(handle) if !self.handles.contains_key(handle) => return Err(403), // ours
            Identity::Handle(_) if held >= HANDLE_ALLOCATIONS => return Err(486),
            Identity::User(_) if held >= self.user_allocations as usize => return Err(486), // step 10
            _ => {}
        }
        let exactly = match port {
            Port::Token(token) => Some(self.reservations.remove(&token).ok_or(508_u16)?.port),
            Port::Pair => {
                // Ours: nobody holds more reservations than it may have allocations, and calls need none.
                let holds = self.reservations.values().filter(|reservation| reservation.holder == *who).count();
                if matches!(who, Identity::Handle(_)) || holds >= self.user_allocations as usize {
                    return Err(508);
                }
                None
            }
            _ => None,
        };
        let even = matches!(port, Port::Even | Port::Pair);
        let ipv6 = exactly.map_or(family == Some(2), |port| port.is_ipv6());
        Ok(Answer::Allocated { lifetime: granted(lifetime), ipv6, even, token: port == Port::Pair, exactly })
    }

    /// The server chose: the allocation exists, and the port above it is held for the token for 30 s (§7.2 step 6).
    pub(super) fn allocated(
        &mut self,
        now: Time,
        client: usize,
        request: &Request,
        relayed: SocketAddr,
        (granted, token): (u32, Option<[u8; 8]>),
    ) {
        let owner = request.claim.identity.clone();
        if let Some(token) = token {
            let port = SocketAddr::new(relayed.ip(), relayed.port() + 1);
            let reservation = Reservation { port, holder: owner.clone(), ends: now.millis + 30_000 };
            self.reservations.insert(token, reservation);
        }
        let Claim { username, sha256, .. } = request.claim.clone();
        let (transaction, expires) = (request.transaction, now.millis + u64::from(granted) * 1000);
        let (permissions, channels) = (BTreeMap::new(), BTreeMap::new());
        let all = Allocation {
            owner,
            username,
            sha256,
            transaction,
            granted,
            token,
            relayed,
            expires,
            permissions,
            channels,
        };
        self.allocations.insert(client, all);
    }

    /// §8.2.
    fn refresh(&mut self, now: Time, client: usize, lifetime: Option<u32>, family: Option<u8>) -> Result<Answer, u16> {
        let all = self.allocations.get_mut(&client).ok_or(437_u16)?;
        let own = if all.relayed.is_ipv6() { 2 } else { 1 };
        if family.is_some_and(|family| family != own) {
            return Err(443);
        }
        if lifetime == Some(0) {
            self.allocations.remove(&client);
            return Ok(Answer::Refreshed(0));
        }
        all.expires = now.millis + u64::from(granted(lifetime)) * 1000;
        Ok(Answer::Refreshed(granted(lifetime)))
    }

    /// §10.2: all peers or none.
    fn permit(&mut self, now: Time, client: usize, peers: &[Peer]) -> Result<Answer, u16> {
        for peer in peers {
            self.may_name(client, peer, false)?;
        }
        if peers.is_empty() {
            return Err(400);
        }
        let all = self.allocations.get_mut(&client).ok_or(437_u16)?;
        if !all.is_of_a_call() {
            all.permissions.retain(|_, ends| now.millis < *ends);
            let mut after = all.permissions.clone();
            after.extend(peers.iter().map(|peer| (peer.name.ip(), now.millis + 300_000))); // §9
            if after.len() > MAX_PERMISSIONS {
                return Err(508);
            }
            all.permissions = after;
        }
        Ok(Answer::Done)
    }

    /// §12.2.
    fn bind(&mut self, now: Time, client: usize, number: Option<u16>, peer: Option<Peer>) -> Result<Answer, u16> {
        let (Some(number), Some(peer)) = (number, peer) else { return Err(400) };
        if !(0x4000..=0x4FFF).contains(&number) {
            return Err(400);
        }
        self.may_name(client, &peer, true)?;
        let all = self.allocations.get_mut(&client).ok_or(437_u16)?;
        all.channels.retain(|_, (_, ends)| now.millis < *ends);
        let other_peer = all.channels.get(&number).is_some_and(|(bound, _)| *bound != peer.name);
        let other_number = all.channel_of(peer.name, now).is_some_and(|bound| bound != number);
        if other_peer || other_number {
            return Err(400);
        }
        if !all.channels.contains_key(&number) && all.channels.len() >= MAX_CHANNELS {
            return Err(508);
        }
        if !all.is_of_a_call() {
            all.permissions.retain(|_, ends| now.millis < *ends);
            if !all.permissions.contains_key(&peer.name.ip()) && all.permissions.len() >= MAX_PERMISSIONS {
                return Err(508);
            }
            all.permissions.insert(peer.name.ip(), now.millis + 300_000);
        }
        all.channels.insert(number, (peer.name, now.millis + 600_000)); // §12
        Ok(Answer::Done)
    }

    /// 403, then 443 (§10.2, §12.2). `exactly`: the port counts too.
    fn may_name(&self, client: usize, peer: &Peer, exactly: bool) -> Result<(), u16> {
        let all = self.allocations.get(&client).ok_or(437_u16)?;
        let allowed = match all.owner {
            Identity::Handle(handle) => self.is_partner(handle, peer),
            Identity::User(_) => {
                let denied = peer.denied && !self.is_held(peer);
                !peer.listener && !denied && (!exactly || peer.name.port() != 0)
            }
        };
        if !allowed {
            return Err(403);
        }
        let families = [peer.written_ipv6, peer.name.is_ipv6()];
        if families.iter().all(|&ipv6| ipv6 == all.relayed.is_ipv6()) { Ok(()) } else { Err(443) }
    }

    fn is_held(&self, peer: &Peer) -> bool {
        self.allocations.values().any(|all| all.relayed == peer.name)
    }

    /// Ours: whom call-bound credentials may reach.
    fn is_partner(&self, handle: usize, peer: &Peer) -> bool {
        let Some(Some(partner)) = self.handles.get(&handle) else { return false };
        let of_partner = |all: &&Allocation| all.owner == Identity::Handle(*partner);
        self.allocations.values().filter(of_partner).any(|all| all.relayed == peer.name)
    }

    /// §3.1: the five-tuple is no more.
    pub(super) fn disconnect(&mut self, client: usize) {
        self.allocations.remove(&client);
    }

    pub(super) fn open(&mut self, handle: usize) {
        self.handles.entry(handle).or_default();
    }

    /// Whether they are a call now.
    pub(super) fn pair(&mut self, one: usize, other: usize) -> bool {
        let free = |handle| self.handles.get(&handle) == Some(&None);
        let may = one != other && free(one) && free(other);
        if may {
            self.handles.insert(one, Some(other));
            self.handles.insert(other, Some(one));
        }
        may || self.handles.get(&one) == Some(&Some(other))
    }

    /// A call ends for both.
    pub(super) fn close(&mut self, handle: usize) {
        let Some(partner) = self.handles.remove(&handle) else { return };
        let gone: Vec<_> = std::iter::once(handle).chain(partner).map(Identity::Handle).collect();
        if let Some(partner) = partner {
            self.handles.remove(&partner);
        }
        self.allocations.retain(|_, all| !gone.contains(&all.owner));
    }
}

/// §7.2, §8.2: at least the default of ten minutes, at most an hour.
fn granted(asked: Option<u32>) -> u32 {
    asked.unwrap_or(600).clamp(600, 3600)
}
