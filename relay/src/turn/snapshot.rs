//! Allocations in a snapshot, for the relay that takes over from this one (`server/handover.rs`).
//!
//! Only what packets over UDP reach can go: a connection's TLS state stays where it is, and a call with one side on a connection stays
//! whole, because both sides of a call are relayed to each other inside one process. Everything is written with the numbers that the other
//! relay has for listeners and relayed addresses; moments are the same on both sides, whose clocks are one.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::Turn;
use super::allocation::{Allocation, Granted};
use super::channel::Channel;
use super::ear::Ear;
use super::peer::Peer;
use super::ports::{Reservation, Token};
use super::relayed::Relayed;
use super::shared::Shared;
use crate::auth::{Authenticated, Identity};
use crate::calls::{Carried, Handle, Ledger, PackedLedger};
use crate::routes::{AddressId, ChannelEntry, FiveTuple, RelayedPort, Transport};
use crate::time::Millis;

/// Who goes to another relay, and what numbers they have there.
pub struct Going {
    /// By the numbers here; `None`: the other relay does not listen there.
    listeners: Vec<Option<u16>>,
    addresses: Vec<Option<AddressId>>,
    stays: HashSet<Handle>,
}

/// What one worker's machine has.
#[derive(Default, Serialize, Deserialize)]
pub struct PackedTurn {
    allocations: Vec<PackedAllocation>,
}

/// What all workers share.
#[derive(Default, Serialize, Deserialize)]
pub struct PackedShared {
    ledger: PackedLedger,
    reservations: Vec<(Token, Reservation)>,
}

#[derive(Serialize, Deserialize)]
struct PackedAllocation {
    listener: u16,
    local: SocketAddr,
    remote: SocketAddr,
    relayed: Vec<(RelayedPort, Millis)>,
    owner: Authenticated,
    granted: Granted,
    heard: Millis,
    carried: Carried,
    ear: Option<Box<Ear>>,
    channels: Vec<PackedChannel>,
    permissions: Vec<(IpAddr, Millis)>,
}

#[derive(Serialize, Deserialize)]
struct PackedChannel {
    number: u16,
    peer: SocketAddr,
    outside: Option<SocketAddr>,
    until: Millis,
}

impl Going {
    /// By the numbers here: the number there. Calls that cannot go are known once [`Going::with_whole_calls`] has looked.
    pub fn new(listeners: Vec<Option<u16>>, addresses: Vec<Option<AddressId>>) -> Going {
        Going { listeners, addresses, stays: HashSet::new() }
    }

    /// Of a call either both sides go or none.
    #[must_use]
    pub fn with_whole_calls(mut self, ledger: &Ledger) -> Going {
        self.stays =
            ledger.handles_of_calls(|port, client| self.port(port).is_none() || self.listener(client).is_none());
        self
    }

    /// Sides of calls that do not go.
    pub fn stays(&self) -> &HashSet<Handle> {
        &self.stays
    }

    fn listener(&self, client: &FiveTuple) -> Option<u16> {
        let listener = *self.listeners.get(usize::from(client.listener))?;
        listener.filter(|_| client.transport == Transport::Udp)
    }

    fn port(&self, port: RelayedPort) -> Option<RelayedPort> {
        let address = (*self.addresses.get(usize::from(port.address.0))?)?;
        Some(RelayedPort { address, ..port })
    }

    fn takes(&self, allocation: &Allocation) -> bool {
        let in_call_that_stays = match allocation.owner.identity() {
            Identity::Call(handle) => self.stays.contains(&handle),
            Identity::User(_) => false,
        };
        let reachable = self.listener(&allocation.client).is_some();
        !in_call_that_stays && reachable && allocation.relayed.ports().all(|port| self.port(port).is_some())
    }

    fn pack(&self, allocation: &Allocation) -> Option<PackedAllocation> {
        let relayed = |ipv6| {
            let port = allocation.relayed.of(ipv6)?;
            Some((self.port(port)?, allocation.relayed.expires(ipv6)))
        };
        let channels = allocation.channels.iter().map(|(number, Channel { peer, until })| PackedChannel {
            number,
            peer: peer.name,
            outside: peer.outside,
            until: *until,
        });
        Some(PackedAllocation {
            listener: self.listener(&allocation.client)?,
            local: allocation.client.local,
            remote: allocation.client.remote,
            relayed: [false, true].into_iter().filter_map(relayed).collect(),
            owner: allocation.owner.clone(),
            granted: allocation.granted,
            heard: allocation.heard,
            carried: allocation.carried,
            ear: allocation.ear.clone(),
            channels: channels.collect(),
            permissions: allocation.permissions.iter().collect(),
        })
    }
}

impl PackedTurn {
    /// Its allocations.
    pub fn len(&self) -> usize {
        self.allocations.len()
    }

    pub fn is_empty(&self) -> bool {
        self.allocations.is_empty()
    }
}

impl Shared {
    /// Without the calls that stay. Reservations go, whoever stays: their tokens are redeemed where newcomers are.
    pub fn pack(&self, going: &Going) -> PackedShared {
        let reservations = self.ports.reservations().into_iter();
        let reservations = reservations.filter_map(|(token, held)| Some((token, held, going.port(held.port)?)));
        PackedShared {
            ledger: self.ledger.pack(going.stays()),
            reservations: reservations.map(|(token, held, port)| (token, Reservation { port, ..held })).collect(),
        }
    }

    /// Before any [`Turn::unpack`], whose allocations belong to these calls.
    pub fn unpack(&self, packed: PackedShared) {
        self.ledger.unpack(&packed.ledger);
        for (token, reservation) in packed.reservations {
            self.ports.reserve_again(token, reservation);
        }
    }
}

impl Turn {
    /// The allocations that go. They stay here as well, until [`Turn::part_with`].
    pub fn pack(&self, going: &Going) -> PackedTurn {
        let all = self.allocations.iter().filter(|it| going.takes(it));
        PackedTurn { allocations: all.filter_map(|it| going.pack(it)).collect() }
    }

    /// Whether this client's allocation, if it has one, goes.
    pub fn goes(&self, client: &FiveTuple, going: &Going) -> bool {
        let allocation = self.allocations.find(client).and_then(|key| self.allocations.get(key));
        allocation.is_some_and(|allocation| going.takes(allocation))
    }

    /// Relayed ports with sockets that go: the number here, and the one there.
    pub fn sockets_that_go(&self, going: &Going) -> Vec<(RelayedPort, RelayedPort)> {
        let real = |it: &&Allocation| !it.is_call_bound() && going.takes(it);
        let ports = self.allocations.iter().filter(real).flat_map(|it| it.relayed.ports());
        ports.filter_map(|port| Some((port, going.port(port)?))).collect()
    }

    /// Those that go are another process's from now on.
    pub fn part_with(&mut self, going: &Going) {
        let clients: Vec<FiveTuple> =
            self.allocations.iter().filter(|it| going.takes(it)).map(|it| it.client).collect();
        for client in clients {
            self.handle_disconnect(&client);
        }
    }

    /// Goes on with another relay's allocations, and says how many there are. One whose call has ended meanwhile is none any more.
    pub fn unpack(&mut self, packed: PackedTurn) -> usize {
        packed.allocations.into_iter().filter_map(|it| self.unpack_one(it)).count()
    }

    fn unpack_one(&mut self, packed: PackedAllocation) -> Option<()> {
        let PackedAllocation { listener, local, remote, owner, granted, .. } = packed;
        let client = FiveTuple { listener, transport: Transport::Udp, local, remote };
        let mut relayed = Relayed::NONE;
        for (port, expires) in packed.relayed {
            if !self.shared.ports.hold(port) {
                continue;
            }
            self.shared.quota.admitted(owner.identity());
            if self.make_route(port, client, owner.identity(), expires, false).is_ok() {
                relayed.set(self.shared.is_ipv6(port), port, expires);
            }
        }
        relayed.ports().next()?;
        let key = self.allocations.insert(client, relayed, owner.of_another_process(), granted);
        self.counters.allocation_created();
        let (shared, allocation) = (&self.shared, self.allocations.get_mut(key)?);
        (allocation.heard, allocation.carried, allocation.ear) = (packed.heard, packed.carried, packed.ear);
        for (ip, until) in packed.permissions {
            allocation.permissions.insert(ip, until);
            let own = shared.routes.locate(SocketAddr::new(ip, 0));
            if let (Some(own), Some(port)) = (own, allocation.relayed.of(ip.is_ipv6())) {
                shared.routes.permit(port, own.address, until);
            }
        }
        for PackedChannel { number, peer, outside, until } in packed.channels {
            let peer = Peer { outside, ..Peer::unchecked(&shared.routes, peer) };
            allocation.channels.insert(number, Channel { peer, until });
            if let (Some(own), Some(port)) = (peer.own, allocation.relayed.of(peer.name.is_ipv6())) {
                shared.routes.bind_channel(port, ChannelEntry { number, peer: own, until }, Millis(0));
            }
        }
        allocation.say_what_was_heard(shared);
        Some(())
    }
}
