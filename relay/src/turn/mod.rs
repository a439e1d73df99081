//! The TURN machine: decides, opens no socket, reads no clock.
//!
//! Driving contract: handle one input, act on the returned [`Forward`] at once (or keep it in the send batch), drain
//! [`Turn::poll_action`], sleep until [`Turn::poll_timeout`].

mod allocate;
mod allocation;
mod binding;
mod channel;
mod channel_bind;
mod consent;
mod counters;
mod create_permission;
mod ear;
mod forward;
mod icmp;
mod io;
mod meter;
mod nat_discovery;
mod opening;
mod peer;
mod permission;
mod port_bag;
mod ports;
mod quota;
mod refresh;
mod refusal;
mod reject;
mod relayed;
mod request;
mod send;
mod settings;
mod shared;
mod slab;
mod small_map;
mod snapshot;
mod tcp;
mod timers;
mod total;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha12Rng;

use allocation::{Allocations, Key};
use meter::Rates;
use opening::Openings;
use total::Share;

use crate::access::{Limiter, Rate};
use crate::auth::Identity;
use crate::calls::Carried;
use crate::time::{Millis, Now};
use crate::wire::{Class, classify, indication};

pub use crate::routes::{AddressId, ClientPath, Connection, FiveTuple, RelayedAddress, RelayedPort, Routes, Transport};
pub use counters::{Counters, Path, Reason, Relayed};
pub use io::{Action, Command, Forward, HEADROOM, OpenError, Packet, TAILROOM};
pub use meter::{Limits, Payload};
pub use nat_discovery::{NatDiscovery, Site};
pub use ports::Ports;
pub use settings::Settings;
pub use shared::Shared;
pub use snapshot::{Going, PackedShared, PackedTurn};
pub use tcp::{Bytes, ConnectionId, Connections, TcpAction, TcpCounters, TcpEvent};

/// One worker's machine. It owns the five-tuples the kernel hashes to that worker.
pub struct Turn {
    shared: Arc<Shared>,
    worker: u16,
    allocations: Allocations,
    openings: Openings,
    limiter: Limiter,
    call_rates: Rates,
    call_payload: Payload,
    user_rates: Rates,
    share: Share,
    icmp_rate: Option<Rate>,
    actions: VecDeque<Action>,
    counters: Arc<Counters>,
    /// When the packet at work came, in microseconds.
    arrival: u64,
    /// Where the transaction ids of Data indications have got to.
    indications: u128,
    tcp: tcp::Desk,
    draining: bool,
}

impl Turn {
    /// `worker` is this worker's mailbox number; `seed` must differ between workers.
    pub fn new(shared: Arc<Shared>, worker: u16, seed: [u8; 32]) -> Turn {
        let mut random = ChaCha12Rng::from_seed(seed);
        let settings = &shared.settings;
        Turn {
            limiter: Limiter::new(&settings.unauthenticated, random.next_u64()),
            call_rates: Rates::new(settings.call_limits),
            call_payload: settings.call_payload,
            user_rates: Rates::new(settings.user_limits),
            share: Share::new(settings.total_limits),
            icmp_rate: icmp::icmp_rate(),
            shared,
            worker,
            allocations: Allocations::new(random.next_u64()),
            openings: Openings::new(random.next_u64()),
            actions: VecDeque::new(),
            counters: Arc::default(),
            arrival: 0,
            indications: u128::from(random.next_u64()) << 64 | u128::from(random.next_u64()),
            tcp: tcp::Desk::new(random.next_u64()),
            draining: false,
        }
    }

    /// A datagram from a client.
    pub fn handle_client(&mut self, now: Now, from: &FiveTuple, packet: &mut Packet<'_>) -> Forward {
        self.arrival = now.fine();
        match classify(packet.bytes()) {
            Class::ChannelData => self.client_to_peer(now.mono, from, packet),
            Class::Stun if indication::is_send(packet.bytes()) => self.send(now.mono, from, packet),
            Class::Stun => {
                self.stun(now, from, packet.bytes());
                Forward::None
            }
            Class::Other => self.dropped(Reason::Unrecognised),
        }
    }

    /// A datagram that arrived at the socket of a relayed port of this worker.
    pub fn handle_peer(&mut self, now: Now, to: RelayedPort, peer: SocketAddr, packet: &mut Packet<'_>) -> Forward {
        self.peer_to_client(now.mono, to, peer, packet)
    }

    /// A stream client's connection is closed: its five-tuple is no more, and neither is its allocation (RFC 8656 §3.1).
    pub fn handle_disconnect(&mut self, client: &FiveTuple) {
        if let Some(key) = self.allocations.find(client) {
            self.free(key);
        }
    }

    /// Whether a client has an allocation, expired or not.
    pub fn has_allocation(&self, client: &FiveTuple) -> bool {
        self.allocations.find(client).is_some()
    }

    /// Whether a client may send messages that begin like this: STUN, or ChannelData of a number that can be bound here.
    /// On a stream anything else means that client and server are out of step (RFC 8656 §12, RFC 7983).
    pub fn may_begin_message(&self, first: u8) -> bool {
        matches!(first, 0x00..=0x4F) || matches!(first, 0x50..=0x7F) && self.shared.settings.legacy_channels
    }

    /// The answer to [`Action::Open`].
    pub fn handle_opened(&mut self, now: Now, port: RelayedPort, result: Result<(), OpenError>) {
        self.opened(now, port, result);
    }

    /// A wish of another thread.
    pub fn handle_command(&mut self, now: Now, command: Command) {
        match command {
            Command::Close(port) => self.close_if_call_is_over(port),
            Command::Drain => self.draining = true,
            Command::Reload => self.reload(),
            Command::Listen { port, media } => self.listen(port, media),
            Command::Tcp(event) => self.tcp_event(now, event),
        }
    }

    /// Time has come to or past [`Turn::poll_timeout`].
    pub fn handle_timeout(&mut self, now: Now) {
        while let Some(key) = self.allocations.pop_ended(now.mono) {
            self.end_what_is_over(key, now.mono);
        }
        self.end_overdue_tcp(now.mono);
        self.shared.ports.expire(now.mono);
    }

    /// When to call [`Turn::handle_timeout`]; `None` while nothing can expire.
    pub fn poll_timeout(&self) -> Option<Millis> {
        [self.allocations.next_end(), self.tcp.next_end()].into_iter().flatten().min()
    }

    /// The next thing to do for the edge, oldest first.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Every relayed address there has been, by [`AddressId`].
    pub fn addresses(&self) -> &[RelayedAddress] {
        &self.shared.settings.addresses
    }

    /// Whoever has an allocation here.
    pub fn clients(&self) -> impl Iterator<Item = FiveTuple> {
        self.allocations.clients()
    }

    /// What this worker counted so far.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// Every meter begins anew: what was used up under another limit says nothing under this one.
    fn reload(&mut self) {
        let Some(newest) = self.shared.newest() else { return };
        self.shared = newest;
        let settings = &self.shared.settings;
        self.limiter.set_limits(&settings.unauthenticated);
        self.call_rates = Rates::new(settings.call_limits);
        self.call_payload = settings.call_payload;
        self.user_rates = Rates::new(settings.user_limits);
        self.share = Share::new(settings.total_limits);
        self.allocations.refill_meters();
    }

    /// The command may arrive late: by then the port may belong to somebody else, who is left alone.
    fn close_if_call_is_over(&mut self, port: RelayedPort) {
        let Some(key) = self.allocations.find_port(port) else { return };
        if let Some(Identity::Call(handle)) = self.allocations.get(key).map(|allocation| allocation.owner.identity())
            && !self.shared.ledger.is_open(&handle)
        {
            self.free(key);
        }
    }

    /// Ends an allocation: nothing reaches it any more, then its ports, five-tuple and places in the quota are free.
    fn free(&mut self, key: Key) {
        let Some(allocation) = self.allocations.remove(key) else { return };
        allocation.say_what_was_heard(&self.shared);
        let mut carried = allocation.carried;
        for port in allocation.relayed.ports() {
            self.let_go(port, allocation.owner.identity(), allocation.tcp, std::mem::take(&mut carried));
        }
        self.counters.allocation_freed();
    }

    /// Ends the relayed address of one family, and the allocation if it has no other.
    fn free_family(&mut self, key: Key, ipv6: bool) {
        let held = self.allocations.get(key).filter(|allocation| allocation.relayed.of(ipv6).is_some());
        let Some((identity, tcp)) = held.map(|allocation| (allocation.owner.identity(), allocation.tcp)) else {
            return;
        };
        match self.allocations.shed(key, ipv6) {
            // What it has carried is counted with the address that is left.
            Some(port) => self.let_go(port, identity, tcp, Carried::default()),
            None => self.free(key),
        }
    }

    fn end_what_is_over(&mut self, key: Key, now: Millis) {
        let ended = self.allocations.get(key).map(|allocation| allocation.relayed.ended(now));
        for ipv6 in ended.into_iter().flatten() {
            self.free_family(key, ipv6);
        }
    }

    /// A relayed port that was an allocation's is nobody's.
    fn let_go(&mut self, port: RelayedPort, identity: Identity, tcp: bool, carried: Carried) {
        match identity {
            Identity::User(_) if tcp => self.end_tcp(port),
            Identity::User(_) => {
                self.shared.routes.kill(port);
                self.actions.push_back(Action::Close { port });
            }
            Identity::Call(handle) => self.shared.ledger.freed(&handle, port, carried),
        }
        self.shared.ports.give_back(port);
        self.shared.quota.release(identity);
    }
}

#[cfg(test)]
mod tests;
