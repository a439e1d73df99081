//! coturn's lists of peers as ours: ranges become prefixes, and what is allowed is taken out of what is denied, because there the allowed
//! come first and here the denied.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, IpSubnets, Ipv4Subnets, Ipv6Subnets};

/// From the first to the last address, of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    first: IpAddr,
    last: IpAddr,
}

/// `10.0.0.0-10.255.255.255`, `10.0.0.0/8` or one address.
pub(super) fn range(text: &str) -> Option<Range> {
    let text = text.trim();
    if let Ok(net) = text.parse::<IpNet>() {
        return Some(Range { first: net.network(), last: net.broadcast() });
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.trim().parse::<IpAddr>().ok()?, last.trim().parse::<IpAddr>().ok()?);
    (first.is_ipv4() == last.is_ipv4() && first <= last).then_some(Range { first, last })
}

/// `denied` less `allowed`.
pub(super) fn without(denied: &[Range], allowed: &[Range]) -> Vec<Range> {
    let mut left = denied.to_vec();
    for hole in allowed {
        left = left.into_iter().flat_map(|range| cut(range, *hole)).collect();
    }
    left
}

fn cut(range: Range, hole: Range) -> Vec<Range> {
    let apart = range.first.is_ipv4() != hole.first.is_ipv4() || hole.last < range.first || range.last < hole.first;
    if apart {
        return vec![range];
    }
    let before = step(hole.first, -1).filter(|last| hole.first > range.first && *last >= range.first);
    let after = step(hole.last, 1).filter(|first| hole.last < range.last && *first <= range.last);
    let before = before.map(|last| Range { first: range.first, last });
    before.into_iter().chain(after.map(|first| Range { first, last: range.last })).collect()
}

/// The neighbour, if there is one.
fn step(ip: IpAddr, by: i8) -> Option<IpAddr> {
    let down = by < 0;
    match ip {
        IpAddr::V4(ip) => {
            let bits = if down { ip.to_bits().checked_sub(1) } else { ip.to_bits().checked_add(1) };
            bits.map(|bits| Ipv4Addr::from_bits(bits).into())
        }
        IpAddr::V6(ip) => {
            let bits = if down { ip.to_bits().checked_sub(1) } else { ip.to_bits().checked_add(1) };
            bits.map(|bits| Ipv6Addr::from_bits(bits).into())
        }
    }
}

/// The fewest prefixes that cover exactly these.
pub(super) fn prefixes(ranges: &[Range]) -> Vec<IpNet> {
    let each = ranges.iter().flat_map(|range| match (range.first, range.last) {
        (IpAddr::V4(first), IpAddr::V4(last)) => IpSubnets::V4(Ipv4Subnets::new(first, last, 0)).collect::<Vec<_>>(),
        (IpAddr::V6(first), IpAddr::V6(last)) => IpSubnets::V6(Ipv6Subnets::new(first, last, 0)).collect(),
        _ => Vec::new(),
    });
    IpNet::aggregate(&each.collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn nets(ranges: &[&str], holes: &[&str]) -> Vec<String> {
        let read = |texts: &[&str]| texts.iter().map(|text| range(text).unwrap()).collect::<Vec<_>>();
        prefixes(&without(&read(ranges), &read(holes))).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn ranges_become_prefixes() {
        assert_eq!(
            nets(&["10.0.0.0-10.255.255.255", "192.168.0.0/16", "::1"], &[]),
            ["10.0.0.0/8", "192.168.0.0/16", "::1/128"]
        );
        assert_eq!(nets(&["0.0.0.0-255.255.255.255"], &[]), ["0.0.0.0/0"]);
        assert_eq!(nets(&["10.0.0.1-10.0.0.2"], &[]), ["10.0.0.1/32", "10.0.0.2/32"]);
        for bad in ["10.0.0.2-10.0.0.1", "10.0.0.1-::1", "example", ""] {
            assert_eq!(range(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_allowed_is_taken_out_of_what_is_denied() {
        assert_eq!(nets(&["10.0.0.0-10.0.0.7"], &["10.0.0.4"]), ["10.0.0.0/30", "10.0.0.5/32", "10.0.0.6/31"]);
        assert_eq!(nets(&["10.0.0.0/30"], &["10.0.0.0/24"]), Vec::<String>::new());
        assert_eq!(nets(&["10.0.0.0/30"], &["10.0.1.0/24", "::/0"]), ["10.0.0.0/30"]);
        assert_eq!(nets(&["0.0.0.0/0"], &["0.0.0.0/1"]), ["128.0.0.0/1"]);
        assert_eq!(nets(&["255.255.255.254/31"], &["255.255.255.255"]), ["255.255.255.254/32"]);
    }
}
