//! The default deny list: what a relay on the public Internet has no business sending to (RFC 8656 §21.4, IANA
//! special-purpose address registries). Nobody should have to know these to run a relay.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::canonical;

const IPV4: [Ipv4Net; 17] = [
    v4(0, 0, 0, 0, 8),          // "this network", RFC 791; 0.0.0.0 reaches loopback
    v4(10, 0, 0, 0, 8),         // private, RFC 1918
    v4(100, 64, 0, 0, 10),      // carrier-grade NAT, RFC 6598; metadata of one cloud
    v4(127, 0, 0, 0, 8),        // loopback
    v4(168, 63, 129, 16, 32),   // metadata of one cloud, on a public address
    v4(169, 254, 0, 0, 16),     // link-local, RFC 3927; metadata of most clouds
    v4(172, 16, 0, 0, 12),      // private, RFC 1918
    v4(192, 0, 0, 0, 24),       // protocol assignments, RFC 6890; metadata of one cloud
    v4(192, 0, 2, 0, 24),       // documentation, RFC 5737
    v4(192, 88, 99, 0, 24),     // 6to4 relays, RFC 7526
    v4(192, 168, 0, 0, 16),     // private, RFC 1918
    v4(198, 18, 0, 0, 15),      // benchmarking, RFC 2544
    v4(198, 51, 100, 0, 24),    // documentation, RFC 5737
    v4(203, 0, 113, 0, 24),     // documentation, RFC 5737
    v4(224, 0, 0, 0, 4),        // multicast, RFC 5771
    v4(240, 0, 0, 0, 4),        // reserved, RFC 1112
    v4(255, 255, 255, 255, 32), // broadcast
];

const IPV6: [Ipv6Net; 16] = [
    v6([0, 0, 0, 0, 0, 0, 0, 0], 128),         // unspecified; reaches loopback
    v6([0, 0, 0, 0, 0, 0, 0, 1], 128),         // loopback
    v6([0x64, 0xFF9B, 1, 0, 0, 0, 0, 0], 48),  // local NAT64, RFC 8215: what is behind it is local
    v6([0x100, 0, 0, 0, 0, 0, 0, 0], 64),      // discard, RFC 6666
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32),     // Teredo, RFC 4380
    v6([0x2001, 2, 0, 0, 0, 0, 0, 0], 48),     // benchmarking, RFC 5180
    v6([0x2001, 0x10, 0, 0, 0, 0, 0, 0], 28),  // ORCHID, RFC 4843
    v6([0x2001, 0x20, 0, 0, 0, 0, 0, 0], 28),  // ORCHIDv2, RFC 7343
    v6([0x2001, 0xDB8, 0, 0, 0, 0, 0, 0], 32), // documentation, RFC 3849
    v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16),     // 6to4, RFC 3056, whatever IPv4 address is inside
    v6([0x3FFF, 0, 0, 0, 0, 0, 0, 0], 20),     // documentation, RFC 9637
    v6([0x5F00, 0, 0, 0, 0, 0, 0, 0], 16),     // segment routing, RFC 9602
    v6([0xFC00, 0, 0, 0, 0, 0, 0, 0], 7),      // unique local, RFC 4193; metadata of one cloud
    v6([0xFE80, 0, 0, 0, 0, 0, 0, 0], 10),     // link-local, RFC 4291
    v6([0xFEC0, 0, 0, 0, 0, 0, 0, 0], 10),     // site-local, RFC 3879
    v6([0xFF00, 0, 0, 0, 0, 0, 0, 0], 8),      // multicast, RFC 4291
];

/// Whether the address, as written or in canonical form, is in the default deny list.
pub fn denied_by_default(addr: IpAddr) -> bool {
    listed(addr) || listed(canonical(addr))
}

fn listed(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(addr) => IPV4.iter().any(|net| net.contains(&addr)),
        IpAddr::V6(addr) => IPV6.iter().any(|net| net.contains(&addr)),
    }
}

/// A prefix as an operator may write it, in the form peers are compared in: a prefix of v4-mapped addresses is one of IPv4.
pub(super) fn plain(net: IpNet) -> IpNet {
    if let IpNet::V6(v6) = net
        && let (Some(addr), Some(len)) = (v6.network().to_ipv4_mapped(), v6.prefix_len().checked_sub(96))
        && let Ok(v4) = Ipv4Net::new(addr, len)
    {
        return IpNet::V4(v4);
    }
    net
}

const fn v4(a: u8, b: u8, c: u8, d: u8, len: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), len)
}

const fn v6([a, b, c, d, e, f, g, h]: [u16; 8], len: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, f, g, h), len)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn denied(text: &str) -> bool {
        denied_by_default(text.parse().unwrap())
    }

    #[test]
    fn both_ends_of_every_ipv4_range_are_denied_and_their_neighbours_are_not() {
        let rows = [
            (None, "0.0.0.0", "0.255.255.255", Some("1.0.0.0")),
            (Some("9.255.255.255"), "10.0.0.0", "10.255.255.255", Some("11.0.0.0")),
            (Some("100.63.255.255"), "100.64.0.0", "100.127.255.255", Some("100.128.0.0")),
            (Some("126.255.255.255"), "127.0.0.0", "127.255.255.255", Some("128.0.0.0")),
            (Some("168.63.129.15"), "168.63.129.16", "168.63.129.16", Some("168.63.129.17")),
            (Some("169.253.255.255"), "169.254.0.0", "169.254.255.255", Some("169.255.0.0")),
            (Some("172.15.255.255"), "172.16.0.0", "172.31.255.255", Some("172.32.0.0")),
            (Some("191.255.255.255"), "192.0.0.0", "192.0.0.255", Some("192.0.1.0")),
            (Some("192.0.1.255"), "192.0.2.0", "192.0.2.255", Some("192.0.3.0")),
            (Some("192.88.98.255"), "192.88.99.0", "192.88.99.255", Some("192.88.100.0")),
            (Some("192.167.255.255"), "192.168.0.0", "192.168.255.255", Some("192.169.0.0")),
            (Some("198.17.255.255"), "198.18.0.0", "198.19.255.255", Some("198.20.0.0")),
            (Some("198.51.99.255"), "198.51.100.0", "198.51.100.255", Some("198.51.101.0")),
            (Some("203.0.112.255"), "203.0.113.0", "203.0.113.255", Some("203.0.114.0")),
            (Some("223.255.255.255"), "224.0.0.0", "255.255.255.255", None),
        ];
        for (below, first, last, above) in rows {
            assert!(denied(first) && denied(last), "{first} to {last}");
            for neighbour in [below, above].into_iter().flatten() {
                assert!(!denied(neighbour), "{neighbour}");
            }
        }
    }

    #[test]
    fn both_ends_of_every_ipv6_range_are_denied() {
        for addr in [
            "::",
            "::1",
            "100::",
            "100::ffff:ffff:ffff:ffff",
            "2001::",
            "2001:0:ffff:ffff:ffff:ffff:ffff:ffff",
            "2001:2::",
            "2001:10::",
            "2001:1f:ffff::",
            "2001:20::",
            "2001:2f:ffff::",
            "2001:db8::",
            "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
            "2002::",
            "2002:808:808::1",
            "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            "3fff::",
            "3fff:fff::",
            "5f00::",
            "64:ff9b:1::8.8.8.8",
            "fc00::",
            "fd00:ec2::254",
            "fdff:ffff::",
            "fe80::",
            "febf:ffff::",
            "fec0::",
            "feff:ffff::",
            "ff00::",
            "ff02::1",
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        ] {
            assert!(denied(addr), "{addr}");
        }
    }

    #[test]
    fn the_public_internet_is_not_denied() {
        for addr in
            ["1.1.1.1", "8.8.8.8", "2606:4700::1111", "2a00:1450::1", "2003::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"]
        {
            assert!(!denied(addr), "{addr}");
        }
    }

    #[test]
    fn disguised_addresses_are_denied_like_bare_ones() {
        for bare in
            ["0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "169.254.169.254", "192.168.1.1", "255.255.255.255"]
        {
            let bare: Ipv4Addr = bare.parse().unwrap();
            let [a, b] = [(u32::from(bare) >> 16) as u16, u32::from(bare) as u16];
            for disguise in [
                Ipv6Addr::new(0, 0, 0, 0, 0, 0xFFFF, a, b),
                Ipv6Addr::new(0, 0, 0, 0, 0, 0, a, b),
                Ipv6Addr::new(0, 0, 0, 0, 0xFFFF, 0, a, b),
                Ipv6Addr::new(0x64, 0xFF9B, 0, 0, 0, 0, a, b),
                Ipv6Addr::new(0x64, 0xFF9B, 1, 0, 0, 0, a, b),
                Ipv6Addr::new(0x2002, a, b, 0, 0, 0, 0, 1),
                Ipv6Addr::new(0x2001, 0, 0x0808, 0x0808, 0, 0, !a, !b),
                Ipv6Addr::new(0x2A00, 1, 2, 3, 0, 0x5EFE, a, b),
            ] {
                assert!(denied_by_default(disguise.into()), "{disguise}");
            }
        }
    }

    #[test]
    fn a_denied_ipv6_address_is_not_laundered_by_what_it_contains() {
        assert!(denied("fe80::5efe:8.8.8.8"));
        assert!(denied("2001:0:808:808::f7f7:f7f7"), "Teredo as such");
    }

    #[test]
    fn a_prefix_of_mapped_addresses_is_one_of_ipv4() {
        let net = |text: &str| text.parse::<IpNet>().unwrap();
        assert_eq!(plain(net("::ffff:10.0.0.0/104")), net("10.0.0.0/8"));
        for same in ["10.0.0.0/8", "2001:db8::/32", "::/0", "::ffff:0:0/95"] {
            assert_eq!(plain(net(same)), net(same));
        }
    }

    proptest! {
        #[test]
        fn a_range_test_is_an_integer_comparison(base: u128, len in 0..=128u8, offset: u128, near: bool) {
            let size = if len == 0 { u128::MAX } else { (1u128 << (128 - len)).wrapping_sub(1) };
            let (first, last) = (base & !size, base | size);
            let addr = if near { last.wrapping_add(offset % 5).wrapping_sub(2) } else { offset };
            let net = Ipv6Net::new(base.into(), len).unwrap();
            prop_assert_eq!(net.contains(&Ipv6Addr::from(addr)), (first..=last).contains(&addr));
        }

        #[test]
        fn the_ipv4_list_is_an_integer_comparison_too(addr: u32) {
            let inside = IPV4.iter().any(|net| (u32::from(net.network())..=u32::from(net.broadcast())).contains(&addr));
            prop_assert_eq!(denied_by_default(Ipv4Addr::from(addr).into()), inside);
        }
    }
}
