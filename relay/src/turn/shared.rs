//! What all workers share.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha12Rng;

use super::consent::Checks;
use super::ports::Ports;
use super::quota::Quota;
use super::settings::Settings;
use super::tcp::Connections;
use super::total::Total;
use crate::access::Policy;
use crate::auth::Authenticator;
use crate::calls::Ledger;
use crate::routes::{AddressId, MOST_ADDRESSES, RelayedAddress, RelayedPort, Routes};

/// What all workers share, behind one `Arc`. Packets touch only `routes`, and `policy` for its map of own listeners.
pub struct Shared {
    /// Its addresses are all there have ever been, so that each keeps its [`AddressId`].
    pub settings: Settings,
    /// Those of them that new allocations are made on.
    offered: Vec<AddressId>,
    pub routes: Arc<Routes>,
    pub ports: Arc<Ports>,
    pub ledger: Arc<Ledger>,
    /// What TCP allocations have open.
    pub tcp: Arc<Connections>,
    pub authenticator: Authenticator,
    pub policy: Policy,
    pub(crate) quota: Arc<Quota>,
    pub(crate) total: Arc<Total>,
    /// Connectivity checks under way between the sides of calls.
    pub(crate) checks: Arc<Checks>,
    /// What takes the place of this after a reload.
    successor: OnceLock<Arc<Shared>>,
}

impl Shared {
    /// `seed` from a good source of randomness: relayed ports and reservation tokens come from it. Relayed addresses beyond
    /// the 256th are left out.
    pub fn new(mut settings: Settings, authenticator: Authenticator, policy: Policy, seed: [u8; 32]) -> Arc<Shared> {
        settings.addresses.truncate(MOST_ADDRESSES);
        let mut random = ChaCha12Rng::from_seed(seed);
        let mut port_seed = [0; 32];
        random.fill_bytes(&mut port_seed);
        let mut tcp_seed = [0; 32];
        random.fill_bytes(&mut tcp_seed);
        let routes = Arc::new(Routes::new(&settings.addresses));
        let ports = Ports::new(settings.addresses.len(), &settings.ports, settings.max_reservations, port_seed);
        withhold_own_listeners(&ports, &settings, &policy);
        let ledger = Ledger::new(Arc::clone(&routes), settings.max_handles, random.next_u64());
        let tcp = Connections::new(Arc::clone(&routes), tcp_seed);
        tcp.set_bits_per_second(settings.user_limits.bits_per_second);
        let quota = Quota::new(settings.max_allocations, settings.user_allocations, random.next_u64());
        Arc::new(Shared {
            ports: Arc::new(ports),
            ledger: Arc::new(ledger),
            quota: Arc::new(quota),
            total: Arc::default(),
            checks: Arc::new(Checks::new(random.next_u64())),
            tcp: Arc::new(tcp),
            offered: places(&settings.addresses, &settings.addresses),
            routes,
            settings,
            authenticator,
            policy,
            successor: OnceLock::new(),
        })
    }

    /// Puts other settings, credentials and lists in the place of these. Everything that lives stays: allocations with their ports, on
    /// addresses that are no longer offered too, routes, calls. Workers follow when they get [`super::Command::Reload`], so that a
    /// packet meets no lock and nobody sees half of the old and half of the new. Of two successors the first one counts.
    pub fn succeed(&self, settings: Settings, authenticator: Authenticator, policy: Policy) -> Arc<Shared> {
        let mut addresses = self.settings.addresses.clone();
        addresses.extend(settings.addresses.iter().filter(|it| !self.settings.addresses.contains(it)));
        addresses.truncate(MOST_ADDRESSES);
        let offered = places(&addresses, &settings.addresses);
        let settings = Settings { addresses, ..settings };
        self.routes.know(&settings.addresses);
        self.ports.know(settings.addresses.len(), &settings.ports);
        self.ports.set_range(&settings.ports);
        withhold_own_listeners(&self.ports, &settings, &policy);
        self.quota.set_limits(settings.max_allocations, settings.user_allocations);
        self.total.refill();
        self.tcp.set_bits_per_second(settings.user_limits.bits_per_second);
        let successor = || {
            Arc::new(Shared {
                ports: Arc::clone(&self.ports),
                ledger: Arc::clone(&self.ledger),
                quota: Arc::clone(&self.quota),
                total: Arc::clone(&self.total),
                checks: Arc::clone(&self.checks),
                tcp: Arc::clone(&self.tcp),
                offered,
                routes: Arc::clone(&self.routes),
                settings,
                authenticator,
                policy,
                successor: OnceLock::new(),
            })
        };
        Arc::clone(self.successor.get_or_init(successor))
    }

    /// The newest that has taken the place of this, if any has.
    pub(crate) fn newest(&self) -> Option<Arc<Shared>> {
        let mut newest = self.successor.get()?;
        while let Some(newer) = newest.successor.get() {
            newest = newer;
        }
        Some(Arc::clone(newest))
    }

    /// Relayed addresses of one family that are offered.
    pub(crate) fn addresses(&self, ipv6: bool) -> Vec<AddressId> {
        let is_of_family = |id: &AddressId| self.is_ipv6(RelayedPort { address: *id, port: 0 }) == ipv6;
        self.offered.iter().copied().filter(is_of_family).collect()
    }

    /// Whether these addresses can take the place of those in effect. Not if one of them shares a name with one that is known: both would
    /// have the same ports; nor beyond the 256th that this process has known.
    pub fn takes(&self, addresses: &[RelayedAddress]) -> bool {
        let known = &self.settings.addresses;
        let fresh: Vec<_> = addresses.iter().filter(|it| !known.contains(it)).collect();
        let shares = |it: &RelayedAddress| known.iter().any(|own| own.bind == it.bind || own.public == it.public);
        known.len() + fresh.len() <= MOST_ADDRESSES && !fresh.into_iter().any(shares)
    }

    /// Does somebody hold this address as a relayed transport address of ours, under either of its names?
    pub(crate) fn is_live_relayed(&self, address: SocketAddr) -> bool {
        self.routes.locate(address).is_some_and(|port| self.routes.is_live(port) || self.tcp.is_listening(port))
    }

    pub(crate) fn is_ipv6(&self, port: RelayedPort) -> bool {
        self.settings.addresses.get(usize::from(port.address.0)).is_some_and(|address| address.public.is_ipv6())
    }
}

/// Where `wanted` stand among `all`.
fn places(all: &[RelayedAddress], wanted: &[RelayedAddress]) -> Vec<AddressId> {
    let numbered = (0..=u8::MAX).map(AddressId).zip(all);
    numbered.filter(|(_, address)| wanted.contains(address)).map(|(id, _)| id).collect()
}

/// A relayed address that is a listener of ours, too, could not be bound, or, being virtual, be reached by nobody: the
/// policy denies every listener as a peer.
fn withhold_own_listeners(ports: &Ports, settings: &Settings, policy: &Policy) {
    for (id, address) in (0..=u8::MAX).map(AddressId).zip(&settings.addresses) {
        let taken = |port: &u16| {
            [address.bind, address.public].iter().any(|ip| policy.is_own_listener(SocketAddr::new(*ip, *port)))
        };
        for port in settings.ports.clone().filter(taken) {
            ports.withhold(RelayedPort { address: id, port });
        }
    }
}
