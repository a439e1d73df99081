//! Who may open a WebSocket: the pages that may, and how many at once from one network.

use std::hash::{BuildHasher as _, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError, RwLock};

use ipnet::IpNet;

use super::limits::{Bucket, Rate};
use crate::time::Millis;

/// New connections of one network: a burst of 40, then 10 a second (matching.md §4.12).
const NEW_CONNECTIONS: Rate = Rate { burst: 40, per_minute: 600 };
/// Networks told apart at once. Two that fall on the same place share its allowance; nobody can aim, the hash is keyed.
const PLACES: usize = 1 << 14;

/// New connections per /24 or /56, in memory of a fixed size, under a key drawn at start: no address is kept.
pub(super) struct Networks {
    key: RandomState,
    buckets: Mutex<Vec<Bucket>>,
    exempt: RwLock<Vec<IpNet>>,
}

impl Networks {
    pub(super) fn new(exempt: Vec<IpNet>) -> Networks {
        let buckets = vec![Bucket::full(NEW_CONNECTIONS, Millis(0)); PLACES];
        Networks { key: RandomState::new(), buckets: Mutex::new(buckets), exempt: RwLock::new(exempt) }
    }

    /// For connections that come from now on.
    pub(super) fn set_exempt(&self, exempt: Vec<IpNet>) {
        *self.exempt.write().unwrap_or_else(PoisonError::into_inner) = exempt;
    }

    /// Whether one more may come from there.
    pub(super) fn admits(&self, now: Millis, from: IpAddr) -> bool {
        let from = from.to_canonical();
        let exempt = self.exempt.read().unwrap_or_else(PoisonError::into_inner);
        if exempt.iter().any(|net| net.contains(&from)) {
            return true;
        }
        let place = usize::try_from(self.key.hash_one(network(from)) % PLACES as u64).unwrap_or_default();
        // Nothing panics while holding it.
        let Ok(mut buckets) = self.buckets.lock() else { return false };
        buckets.get_mut(place).is_some_and(|bucket| bucket.take(NEW_CONNECTIONS, now).is_ok())
    }
}

/// The /24 or /56 an address is in.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(v4) => IpAddr::V4((u32::from(v4) & 0xFFFF_FF00).into()),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 72))),
    }
}

/// Pages that may connect.
pub(super) struct Origins {
    allowed: Vec<String>,
    /// With the demo page, the page this server itself serves on loopback may.
    own_loopback: bool,
}

impl Origins {
    pub(super) fn new(allowed: Vec<String>, own_loopback: bool) -> Origins {
        Origins { allowed, own_loopback }
    }

    /// Whether a request with these headers may proceed. A request without `Origin` does not come from a page: browsers
    /// always send one. Native clients and load generators need none, and nothing here depends on what a browser adds by
    /// itself: the token is in the first frame.
    pub(super) fn allow(&self, origin: Option<&[u8]>, host: Option<&[u8]>) -> bool {
        let Some(origin) = origin else { return true };
        let listed = self.allowed.iter().any(|allowed| allowed.as_bytes() == origin);
        listed || self.own_loopback && host.is_some_and(|host| is_own_loopback(origin, host))
    }
}

/// `Origin: http://127.0.0.1:8080` with `Host: 127.0.0.1:8080`, or `https://`: the same page is served inside TLS too. The host
/// is compared with loopback names so that a name of somebody else's that resolves to loopback (DNS rebinding) is not one of
/// ours.
pub(super) fn is_own_loopback(origin: &[u8], host: &[u8]) -> bool {
    let bare = origin.strip_prefix(b"https://").or_else(|| origin.strip_prefix(b"http://"));
    bare == Some(host) && is_loopback_host(host)
}

/// Whether a `Host` header names this machine by a loopback name.
pub(super) fn is_loopback_host(host: &[u8]) -> bool {
    let Ok(host) = std::str::from_utf8(host) else { return false };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() => name,
        _ => host,
    };
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn admitted(networks: &Networks, now: u64, from: &str, tries: usize) -> usize {
        (0..tries).filter(|_| networks.admits(Millis(now), ip(from))).count()
    }

    #[test]
    fn a_network_gets_a_burst_and_then_ten_a_second() {
        let networks = Networks::new(Vec::new());
        assert_eq!(admitted(&networks, 0, "198.51.100.1", 100), 40);
        assert_eq!(admitted(&networks, 0, "198.51.100.200", 100), 0, "the same /24");
        assert_eq!(admitted(&networks, 0, "::ffff:198.51.100.7", 100), 0, "the same in other clothes");
        assert_eq!(admitted(&networks, 1_000, "198.51.100.1", 100), 10);
        assert_eq!(admitted(&networks, 0, "2001:db8:0:1::1", 20), 20);
        assert_eq!(admitted(&networks, 0, "2001:db8:0:ff:ffff::1", 100), 20, "the same /56");
    }

    #[test]
    fn exempt_networks_are_not_counted() {
        let networks = Networks::new(vec!["127.0.0.0/8".parse().unwrap()]);
        assert_eq!(admitted(&networks, 0, "127.0.0.1", 1_000), 1_000);
        assert_eq!(admitted(&networks, 0, "198.51.100.1", 1_000), 40);
    }

    #[test]
    fn only_listed_pages_may_connect_and_clients_that_are_no_pages() {
        let origins = Origins::new(vec!["https://app.example".into()], false);
        let host = Some(&b"voice.example"[..]);
        assert!(origins.allow(Some(b"https://app.example"), host));
        assert!(origins.allow(None, host));
        for foreign in ["https://evil.example", "http://app.example", "https://app.example.evil", "null", ""] {
            assert!(!origins.allow(Some(foreign.as_bytes()), host), "{foreign}");
        }
        assert!(!origins.allow(Some(b"https://voice.example"), host), "not even our own name unless listed");
    }

    #[test]
    fn the_demo_page_may_connect_from_loopback_and_from_nowhere_else() {
        let origins = Origins::new(Vec::new(), true);
        for own in ["127.0.0.1:8080", "localhost:8080", "[::1]:8080", "localhost"] {
            for scheme in ["http", "https"] {
                assert!(origins.allow(Some(format!("{scheme}://{own}").as_bytes()), Some(own.as_bytes())), "{own}");
            }
        }
        assert!(!origins.allow(Some(b"https://127.0.0.1:8443"), Some(b"127.0.0.1:8080")));
        assert!(!origins.allow(Some(b"ftp://127.0.0.1:8080"), Some(b"127.0.0.1:8080")));
        assert!(
            !origins.allow(Some(b"http://127.0.0.1:8081"), Some(b"127.0.0.1:8080")),
            "another port is another page"
        );
        assert!(!origins.allow(Some(b"http://rebound.example:8080"), Some(b"rebound.example:8080")));
        assert!(!origins.allow(Some(b"http://127.0.0.1:8080"), None));
    }
}
