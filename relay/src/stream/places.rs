//! How many connections there may be: in all, and from one network. No address is kept, only keyed hashes.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use ipnet::IpNet;

/// Connections counted until their [`Place`]s are dropped.
pub(super) struct Places {
    key: RandomState,
    most: usize,
    most_of_one_network: u32,
    exempt: RwLock<Vec<IpNet>>,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    total: usize,
    /// Networks with at least one connection: never more than there are connections.
    networks: HashMap<u64, u32>,
}

/// One connection's place; dropping it gives it back.
pub(super) struct Place {
    places: Arc<Places>,
    network: Option<u64>,
}

impl Places {
    /// Prefixes in `exempt` are counted in all, but not by network.
    pub(super) fn new(most: usize, most_of_one_network: u32, exempt: Vec<IpNet>) -> Arc<Places> {
        let (key, exempt) = (RandomState::new(), RwLock::new(exempt));
        Arc::new(Places { key, most, most_of_one_network, exempt, taken: Mutex::default() })
    }

    /// For connections that come from now on.
    pub(super) fn set_exempt(&self, exempt: Vec<IpNet>) {
        *self.exempt.write().unwrap_or_else(PoisonError::into_inner) = exempt;
    }

    fn is_exempt(&self, source: IpAddr) -> bool {
        self.exempt.read().unwrap_or_else(PoisonError::into_inner).iter().any(|net| net.contains(&source))
    }

    /// A place for a connection whose source is not known yet (behind a proxy): counted in all only.
    pub(super) fn take(self: &Arc<Places>) -> Option<Place> {
        let mut taken = self.lock();
        if taken.total >= self.most {
            return None;
        }
        taken.total += 1;
        Some(Place { places: Arc::clone(self), network: None })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Counts it for the network of `source`. Answers whether there is room; the place is to be dropped if not.
    pub(super) fn is_from(&mut self, source: IpAddr) -> bool {
        let source = source.to_canonical();
        if self.places.is_exempt(source) {
            return true;
        }
        let network = self.places.key.hash_one(network(source));
        let mut taken = self.places.lock();
        let count = taken.networks.entry(network).or_default();
        if *count >= self.places.most_of_one_network {
            return false;
        }
        *count += 1;
        drop(taken);
        self.network = Some(network);
        true
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        taken.total = taken.total.saturating_sub(1);
        if let Some(network) = self.network
            && let Some(count) = taken.networks.get_mut(&network)
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                taken.networks.remove(&network);
            }
        }
    }
}

/// The /24 or /56 an address is in.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(v4) => IpAddr::V4((u32::from(v4) & 0xFFFF_FF00).into()),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 72))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn from(places: &Arc<Places>, source: &str) -> Option<Place> {
        let mut place = places.take()?;
        place.is_from(source.parse().unwrap()).then_some(place)
    }

    #[test]
    fn a_network_has_its_share_and_gets_it_back() {
        let places = Places::new(100, 2, Vec::new());
        let held = [from(&places, "198.51.100.1").unwrap(), from(&places, "198.51.100.2").unwrap()];
        assert!(from(&places, "198.51.100.3").is_none(), "the same /24");
        assert!(from(&places, "::ffff:198.51.100.4").is_none(), "the same in other clothes");
        assert!(from(&places, "198.51.101.1").is_some());
        drop(held);
        assert!(from(&places, "198.51.100.3").is_some());
        assert!(places.lock().networks.is_empty(), "nothing is remembered of those who left");
        assert_eq!(places.lock().total, 0);
    }

    #[test]
    fn all_together_have_a_bound_and_exempt_networks_only_that() {
        let places = Places::new(3, 1, vec!["10.0.0.0/8".parse().unwrap()]);
        let held: Vec<_> = (0..3).map(|_| from(&places, "10.1.2.3").unwrap()).collect();
        assert!(from(&places, "10.1.2.3").is_none() && from(&places, "2001:db8::1").is_none());
        drop(held);
        let _one = from(&places, "2001:db8:0:1::1").unwrap();
        assert!(from(&places, "2001:db8:0:ff::1").is_none(), "the same /56");
    }
}
