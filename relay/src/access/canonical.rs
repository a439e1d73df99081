//! IPv4 addresses in IPv6 clothes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The address a packet to `addr` would in the end reach: the IPv4 address inside a v4-mapped, v4-compatible, v4-translated,
/// 6to4, NAT64, Teredo or ISATAP address, or `addr` itself. Stable: an IPv4 address has nothing inside, so once is enough.
pub fn canonical(addr: IpAddr) -> IpAddr {
    match addr {
        IpAddr::V4(_) => addr,
        IpAddr::V6(v6) => inside(v6).map_or(addr, IpAddr::V4),
    }
}

fn inside(addr: Ipv6Addr) -> Option<Ipv4Addr> {
    let low = Ipv4Addr::from(u128::from(addr) as u32);
    match addr.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None, // :: and ::1 are no v4-compatible addresses
        [0, 0, 0, 0, 0, 0xFFFF, _, _] => Some(low), // v4-mapped, RFC 4291 §2.5.5.2
        [0, 0, 0, 0, 0, 0, _, _] => Some(low), // v4-compatible, RFC 4291 §2.5.5.1
        [0, 0, 0, 0, 0xFFFF, 0, _, _] => Some(low), // v4-translated, RFC 2765 §2.1
        [0x64, 0xFF9B, 0, 0, 0, 0, _, _] => Some(low), // NAT64, RFC 6052 §2.1
        [0x64, 0xFF9B, 1, _, _, _, _, _] => Some(low), // local NAT64, RFC 8215; also denied as a range
        [0x2002, a, b, ..] => Some(join(a, b)), // 6to4, RFC 3056 §2
        [0x2001, 0, .., a, b] => Some(join(!a, !b)), // Teredo, RFC 4380 §4: the client's address, inverted
        [.., 0 | 0x200, 0x5EFE, _, _] => Some(low), // ISATAP, RFC 5214 §6.1
        _ => None,
    }
}

/// Whether somebody at this address is at the far end of a 6to4 or Teredo tunnel: with one of these as a client, a relay and
/// the tunnel's end can be made to play ball with one packet (RFC 8656 §21.4).
pub fn is_tunnelled(addr: IpAddr) -> bool {
    matches!(addr, IpAddr::V6(v6) if matches!(v6.segments(), [0x2002, ..] | [0x2001, 0, ..]))
}

fn join(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(high) << 16 | u32::from(low))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn every_disguise_of_an_ipv4_address_is_seen_through() {
        for disguise in [
            "127.0.0.1",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "::ffff:0:127.0.0.1",
            "64:ff9b::127.0.0.1",
            "64:ff9b:1::127.0.0.1",
            "64:ff9b:1:ffff:ffff:ffff:127.0.0.1",
            "2002:7f00:1::",
            "2002:7f00:1::8.8.8.8",
            "2001:0:808:808:0:0:80ff:fffe",
            "fe80::5efe:127.0.0.1",
            "2001:db8::200:5efe:127.0.0.1",
        ] {
            assert_eq!(canonical(ip(disguise)), ip("127.0.0.1"), "{disguise}");
        }
    }

    #[test]
    fn unspecified_and_loopback_are_not_taken_for_ipv4() {
        assert_eq!(canonical(ip("::")), ip("::"));
        assert_eq!(canonical(ip("::1")), ip("::1"));
        assert_eq!(canonical(ip("::2")), ip("0.0.0.2"));
    }

    #[test]
    fn ordinary_addresses_stay_as_they_are() {
        for addr in
            ["8.8.8.8", "2001:4860:4860::8888", "2001:db8::1", "fe80::1", "2003::1", "64:ff9b:2::1", "2001:1::1"]
        {
            assert_eq!(canonical(ip(addr)), ip(addr));
        }
    }

    proptest! {
        #[test]
        fn canonical_addresses_are_stable(addr: IpAddr) {
            let once = canonical(addr);
            prop_assert_eq!(canonical(once), once);
        }
    }
}
