//! The relayed transport addresses of one allocation: an IPv4 one, an IPv6 one, or both (RFC 8656 §6). Each has its own
//! time-to-expiry.

use crate::routes::RelayedPort;
use crate::time::Millis;

/// At most one port of each family. What is sent to a peer leaves from the one of the peer's family.
#[derive(Clone, Copy)]
pub(crate) struct Relayed {
    /// IPv4, then IPv6. One that ends at zero is not there.
    legs: [Leg; 2],
}

#[derive(Clone, Copy)]
struct Leg {
    expires: Millis,
    port: RelayedPort,
}

impl Relayed {
    pub(crate) const NONE: Relayed = Relayed { legs: [Leg::NONE; 2] };

    /// Adds the port of one family, or moves its end. `expires` is never zero: time starts later.
    pub(crate) fn set(&mut self, ipv6: bool, port: RelayedPort, expires: Millis) {
        self.legs[usize::from(ipv6)] = Leg { expires, port };
    }

    pub(crate) fn remove(&mut self, ipv6: bool) -> Option<RelayedPort> {
        std::mem::replace(&mut self.legs[usize::from(ipv6)], Leg::NONE).there()
    }

    /// When the address of that family ends, or ended.
    pub(crate) fn expires(&self, ipv6: bool) -> Millis {
        self.legs[usize::from(ipv6)].expires
    }

    /// The port of that family.
    pub(crate) fn of(&self, ipv6: bool) -> Option<RelayedPort> {
        self.legs[usize::from(ipv6)].there()
    }

    /// The port of that family, while its time is not over.
    #[inline]
    pub(crate) fn live(&self, ipv6: bool, now: Millis) -> Option<RelayedPort> {
        let leg = &self.legs[usize::from(ipv6)];
        (leg.expires > now).then_some(leg.port)
    }

    /// Whether this one of its ports may still be used.
    #[inline]
    pub(crate) fn holds(&self, port: RelayedPort, now: Millis) -> bool {
        self.legs.iter().any(|leg| leg.port == port && leg.expires > now)
    }

    #[inline]
    pub(crate) fn is_live(&self, now: Millis) -> bool {
        self.legs.iter().any(|leg| leg.expires > now)
    }

    /// IPv4 first.
    pub(crate) fn ports(&self) -> impl Iterator<Item = RelayedPort> {
        self.legs.into_iter().filter_map(Leg::there)
    }

    /// Which families there are, IPv4 (false) first.
    pub(crate) fn families(&self) -> impl Iterator<Item = bool> + use<> {
        let legs = self.legs;
        [false, true].into_iter().filter(move |ipv6| legs[usize::from(*ipv6)].there().is_some())
    }

    /// Families whose time is over.
    pub(crate) fn ended(&self, now: Millis) -> impl Iterator<Item = bool> + use<> {
        let relayed = *self;
        self.families().filter(move |ipv6| relayed.live(*ipv6, now).is_none())
    }

    /// When the first of them ends.
    pub(crate) fn next_end(&self) -> Millis {
        let ends = self.legs.iter().filter(|leg| leg.there().is_some()).map(|leg| leg.expires);
        ends.min().unwrap_or_default()
    }
}

impl Leg {
    const NONE: Leg = Leg { expires: Millis(0), port: RelayedPort { address: crate::routes::AddressId(0), port: 0 } };

    fn there(self) -> Option<RelayedPort> {
        (self.expires != Millis(0)).then_some(self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::turn::AddressId;

    const V4: RelayedPort = RelayedPort { address: AddressId(0), port: 50_000 };
    const V6: RelayedPort = RelayedPort { address: AddressId(1), port: 50_002 };

    #[test]
    fn each_family_has_its_own_port_and_its_own_end() {
        let mut relayed = Relayed::NONE;
        assert_eq!(relayed.ports().count(), 0);
        assert!(!relayed.is_live(Millis(0)));
        relayed.set(false, V4, Millis(100));
        relayed.set(true, V6, Millis(200));
        assert_eq!(relayed.ports().collect::<Vec<_>>(), [V4, V6]);
        assert_eq!(relayed.next_end(), Millis(100));
        assert_eq!((relayed.live(false, Millis(99)), relayed.live(false, Millis(100))), (Some(V4), None));
        assert!(relayed.holds(V6, Millis(199)) && !relayed.holds(V4, Millis(100)));
        assert_eq!(relayed.ended(Millis(100)).collect::<Vec<_>>(), [false]);
        assert!(relayed.is_live(Millis(199)) && !relayed.is_live(Millis(200)));
    }

    #[test]
    fn a_removed_family_leaves_the_other() {
        let mut relayed = Relayed::NONE;
        relayed.set(false, V4, Millis(100));
        relayed.set(true, V6, Millis(100));
        assert_eq!(relayed.remove(false), Some(V4));
        assert_eq!(relayed.remove(false), None);
        assert_eq!((relayed.of(false), relayed.of(true)), (None, Some(V6)));
        assert_eq!(relayed.families().collect::<Vec<_>>(), [true]);
    }
}
