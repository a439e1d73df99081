//! The decision, and the proof of it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::listeners::Own;
use super::ranges::{denied_by_default, plain};
use super::{Settings, canonical};

/// The one policy for every method and transport.
pub struct Policy {
    allow: Vec<IpNet>,
    deny: Vec<IpNet>,
    own: Own,
}

/// A peer's transport address that passed the policy, in canonical form. Only [`Policy`] makes one.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct AllowedPeer(SocketAddr);

/// A peer's IP address that passed the policy, in canonical form: what a permission is for (RFC 8656 §9).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct AllowedAddress(IpAddr);

/// Why not. For counters only: the answer is 403 and the same for all (RFC 8656 §10.2, §12.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Denied {
    /// Port 0 reaches nothing.
    Port,
    /// A listener of this server, or the unspecified address.
    OwnListener,
    /// In `deny_peers`.
    Operator,
    /// In the default deny list, or an address of this machine.
    Default,
}

impl Policy {
    pub fn new(settings: &Settings) -> Policy {
        Policy {
            allow: settings.allow_peers.iter().copied().map(plain).collect(),
            deny: settings.deny_peers.iter().copied().map(plain).collect(),
            own: Own::new(&settings.own_listeners, &settings.own_addresses),
        }
    }

    /// For ChannelBind and Connect: may this transport address be reached? `is_live_relayed` says whether an allocation of this
    /// server has that (canonical) address now.
    ///
    /// Compare the family with the allocation's both before and after, for 443: what comes back may be IPv4 where IPv6 was
    /// written.
    ///
    /// # Errors
    /// [`Denied`]: answer 403.
    pub fn check(
        &self,
        peer: SocketAddr,
        is_live_relayed: impl FnOnce(SocketAddr) -> bool,
    ) -> Result<AllowedPeer, Denied> {
        let addr = SocketAddr::new(canonical(peer.ip()), peer.port());
        if addr.port() == 0 {
            return Err(Denied::Port);
        }
        if self.own.listens(addr.ip(), addr.port()) {
            return Err(Denied::OwnListener);
        }
        if !is_live_relayed(addr) {
            self.judge(peer.ip(), addr.ip())?;
        }
        Ok(AllowedPeer(addr))
    }

    /// For CreatePermission, which is about IP addresses: the port in the request means nothing (RFC 8656 §10.2).
    /// `is_relayed` says whether this server has relayed transport addresses at that (canonical) IP address.
    ///
    /// A permission says nothing about ports, so the data path must still ask [`Policy::is_own_listener`] before it sends
    /// through a socket, and must reach this server's own relayed addresses through its route table only.
    ///
    /// # Errors
    /// [`Denied`]: answer 403.
    pub fn check_address(
        &self,
        peer: IpAddr,
        is_relayed: impl FnOnce(IpAddr) -> bool,
    ) -> Result<AllowedAddress, Denied> {
        let ip = canonical(peer);
        if ip.is_unspecified() {
            return Err(Denied::OwnListener);
        }
        if !is_relayed(ip) {
            self.judge(peer, ip)?;
        }
        Ok(AllowedAddress(ip))
    }

    /// Data path: whether sending there would reach a listener of this server or nothing at all (port 0). Allocates nothing;
    /// one look at a bitmap in nearly all cases.
    #[inline]
    pub fn is_own_listener(&self, peer: SocketAddr) -> bool {
        peer.port() == 0 || self.own.listens(canonical(peer.ip()), peer.port())
    }

    /// What the operator wrote, then the default. A denial of either form is a denial; only the canonical form is allowed.
    fn judge(&self, written: IpAddr, canonical: IpAddr) -> Result<(), Denied> {
        if contains(&self.deny, written) || contains(&self.deny, canonical) {
            return Err(Denied::Operator);
        }
        if contains(&self.allow, canonical) {
            return Ok(());
        }
        if denied_by_default(written) || self.own.is_address(canonical) {
            return Err(Denied::Default);
        }
        Ok(())
    }
}

fn contains(nets: &[IpNet], ip: IpAddr) -> bool {
    nets.iter().any(|net| net.contains(&ip))
}

impl AllowedPeer {
    pub fn addr(self) -> SocketAddr {
        self.0
    }

    /// The permission that a channel to this peer brings with it (RFC 8656 §12).
    pub fn address(self) -> AllowedAddress {
        AllowedAddress(self.0.ip())
    }
}

impl AllowedAddress {
    pub fn ip(self) -> IpAddr {
        self.0
    }
}

impl fmt::Debug for AllowedPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AllowedPeer([redacted])")
    }
}

impl fmt::Debug for AllowedAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AllowedAddress([redacted])")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn nets(list: &[&str]) -> Vec<IpNet> {
        list.iter().map(|net| net.parse().unwrap()).collect()
    }

    fn policy(allow: &[&str], deny: &[&str], listeners: &[&str], own: &[&str]) -> Policy {
        Policy::new(&Settings {
            allow_peers: nets(allow),
            deny_peers: nets(deny),
            own_listeners: listeners.iter().map(|text| addr(text)).collect(),
            own_addresses: own.iter().map(|text| ip(text)).collect(),
        })
    }

    /// The verdict of [`Policy::check`] where nothing is relayed.
    fn verdict(policy: &Policy, peer: &str) -> Result<SocketAddr, Denied> {
        policy.check(addr(peer), |_| false).map(AllowedPeer::addr)
    }

    fn everything_allowed(listeners: &[&str], own: &[&str]) -> Policy {
        policy(&["0.0.0.0/0", "::/0"], &[], listeners, own)
    }

    #[test]
    fn the_world_is_allowed_and_the_inside_is_not() {
        let policy = policy(&[], &[], &[], &[]);
        assert_eq!(verdict(&policy, "8.8.8.8:53"), Ok(addr("8.8.8.8:53")));
        assert_eq!(verdict(&policy, "[2606:4700::1111]:53"), Ok(addr("[2606:4700::1111]:53")));
        for inside in ["127.0.0.1:80", "169.254.169.254:80", "[::1]:80", "[fd00:ec2::254]:80", "[::ffff:127.0.0.1]:80"]
        {
            assert_eq!(verdict(&policy, inside), Err(Denied::Default), "{inside}");
            assert_eq!(policy.check_address(addr(inside).ip(), |_| false), Err(Denied::Default), "{inside}");
        }
    }

    #[test]
    fn port_0_is_refused_for_channels_and_means_nothing_for_permissions() {
        let policy = policy(&[], &[], &[], &[]);
        assert_eq!(verdict(&policy, "8.8.8.8:0"), Err(Denied::Port));
        assert!(policy.check_address(ip("8.8.8.8"), |_| false).is_ok());
        assert!(policy.is_own_listener(addr("8.8.8.8:0")));
    }

    #[test]
    fn what_is_allowed_comes_back_canonical() {
        let policy = policy(&[], &[], &[], &[]);
        assert_eq!(verdict(&policy, "[::ffff:8.8.8.8]:53"), Ok(addr("8.8.8.8:53")));
        assert_eq!(policy.check_address(ip("64:ff9b::8.8.8.8"), |_| false).unwrap().ip(), ip("8.8.8.8"));
        assert_eq!(policy.check(addr("8.8.8.8:53"), |_| false).unwrap().address().ip(), ip("8.8.8.8"));
    }

    #[test]
    fn the_operator_may_allow_what_is_denied_by_default_and_deny_what_is_not() {
        let policy = policy(&["10.0.0.0/8"], &["10.9.0.0/16", "8.8.8.0/24"], &[], &[]);
        assert!(verdict(&policy, "10.1.1.1:9").is_ok());
        assert!(verdict(&policy, "[::ffff:10.1.1.1]:9").is_ok());
        assert_eq!(verdict(&policy, "10.9.1.1:9"), Err(Denied::Operator), "deny comes before allow");
        assert_eq!(verdict(&policy, "8.8.8.8:53"), Err(Denied::Operator));
        assert_eq!(verdict(&policy, "[2002:808:808::]:53"), Err(Denied::Operator), "in disguise too");
        assert_eq!(verdict(&policy, "192.168.0.1:9"), Err(Denied::Default));
    }

    #[test]
    fn denied_and_allowed_prefixes_may_be_written_as_mapped_addresses() {
        let policy = policy(&["::ffff:10.0.0.0/104"], &["::ffff:8.8.8.0/120"], &[], &[]);
        assert!(verdict(&policy, "10.1.1.1:9").is_ok());
        assert_eq!(verdict(&policy, "8.8.8.8:53"), Err(Denied::Operator));
    }

    #[test]
    fn own_listeners_are_denied_whatever_the_operator_allows() {
        let policy = everything_allowed(&["127.0.0.1:9641", "[::1]:3478", "192.0.2.7:3478"], &[]);
        for own in [
            "127.0.0.1:9641",
            "[::ffff:127.0.0.1]:9641",
            "[::127.0.0.1]:9641",
            "[64:ff9b::127.0.0.1]:9641",
            "[2002:7f00:1::]:9641",
            "[::1]:3478",
            "192.0.2.7:3478",
        ] {
            assert_eq!(verdict(&policy, own), Err(Denied::OwnListener), "{own}");
            assert_eq!(policy.check(addr(own), |_| true), Err(Denied::OwnListener), "{own}, even if relayed");
            assert!(policy.is_own_listener(addr(own)), "{own}");
        }
        for other in ["127.0.0.1:9642", "127.0.0.2:9641", "192.0.2.7:9641", "[::1]:9641"] {
            assert!(verdict(&policy, other).is_ok(), "{other}");
            assert!(!policy.is_own_listener(addr(other)), "{other}");
        }
    }

    #[test]
    fn the_unspecified_address_is_never_a_peer() {
        let policy = everything_allowed(&["127.0.0.1:9641"], &[]);
        for none in ["0.0.0.0:9641", "0.0.0.0:1", "[::]:9641", "[::ffff:0.0.0.0]:9641", "[2002::]:9641"] {
            assert_eq!(verdict(&policy, none), Err(Denied::OwnListener), "{none}");
            assert_eq!(policy.check_address(addr(none).ip(), |_| true), Err(Denied::OwnListener), "{none}");
        }
    }

    #[test]
    fn a_listener_on_the_unspecified_address_counts_for_every_own_address_and_loopback() {
        let own = ["192.0.2.7", "2001:db8::7", "203.0.113.7"];
        for unspecified in ["0.0.0.0:3478", "[::]:3478"] {
            let policy = everything_allowed(&[unspecified], &own);
            for peer in ["192.0.2.7:3478", "[2001:db8::7]:3478", "203.0.113.7:3478", "127.0.0.5:3478", "[::1]:3478"] {
                assert_eq!(verdict(&policy, peer), Err(Denied::OwnListener), "{unspecified}: {peer}");
            }
            assert!(verdict(&policy, "192.0.2.8:3478").is_ok());
            assert!(verdict(&policy, "192.0.2.7:3479").is_ok());
        }
    }

    #[test]
    fn a_listener_behind_a_one_to_one_nat_is_denied_by_its_public_address_too() {
        let policy = everything_allowed(&["10.0.0.4:3478"], &["10.0.0.4", "203.0.113.7"]);
        assert_eq!(verdict(&policy, "203.0.113.7:3478"), Err(Denied::OwnListener));
    }

    #[test]
    fn other_services_of_this_machine_are_denied_unless_allowed() {
        assert_eq!(verdict(&policy(&[], &[], &[], &["8.8.8.8"]), "8.8.8.8:22"), Err(Denied::Default));
        assert!(verdict(&policy(&["8.8.8.8/32"], &[], &[], &["8.8.8.8"]), "8.8.8.8:22").is_ok());
    }

    #[test]
    fn live_relayed_addresses_of_this_server_come_before_every_list() {
        let policy = policy(&[], &["127.0.0.0/8"], &["127.0.0.1:3478"], &["127.0.0.1"]);
        let relayed = addr("127.0.0.1:50000");
        let live = |peer: SocketAddr| peer == relayed;
        assert_eq!(policy.check(relayed, live).map(AllowedPeer::addr), Ok(relayed));
        assert_eq!(policy.check(addr("[::ffff:127.0.0.1]:50000"), live).map(AllowedPeer::addr), Ok(relayed));
        assert_eq!(policy.check(addr("127.0.0.1:50001"), live), Err(Denied::Operator));
        assert!(policy.check_address(ip("127.0.0.1"), |ip| ip == relayed.ip()).is_ok());
        assert!(policy.is_own_listener(addr("127.0.0.1:3478")), "the data path still has to look");
    }

    #[test]
    fn debug_shows_no_address() {
        let policy = policy(&[], &[], &[], &[]);
        let shown = format!("{:?}", policy.check(addr("8.8.8.8:53"), |_| false));
        assert_eq!(shown, "Ok(AllowedPeer([redacted]))");
    }

    proptest! {
        #[test]
        fn a_denied_prefix_denies_exactly_the_addresses_between_its_ends(base: u32, len in 0..=32u8, offset: u32, near: bool) {
            let size = u32::MAX.checked_shr(len.into()).unwrap_or(0);
            let (first, last) = (base & !size, base | size);
            let peer = if near { last.wrapping_add(offset % 5).wrapping_sub(2) } else { offset };
            prop_assume!(peer != 0);
            let net = format!("{}/{len}", std::net::Ipv4Addr::from(base));
            let policy = policy(&["0.0.0.0/0"], &[&net], &[], &[]);
            let denied = policy.check(SocketAddr::new(IpAddr::V4(peer.into()), 9), |_| false) == Err(Denied::Operator);
            prop_assert_eq!(denied, (first..=last).contains(&peer));
        }

        #[test]
        fn nothing_allowed_is_denied_in_its_canonical_form(peer: SocketAddr) {
            let policy = policy(&[], &[], &["0.0.0.0:3478"], &[]);
            if let Ok(allowed) = policy.check(peer, |_| false) {
                prop_assert!(!denied_by_default(allowed.addr().ip()));
                prop_assert_eq!(policy.check(allowed.addr(), |_| false), Ok(allowed));
            }
        }
    }
}
