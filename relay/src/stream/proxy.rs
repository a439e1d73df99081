//! PROXY protocol v2: whose connection a load balancer forwards (haproxy's `proxy-protocol.txt` §2.2). Pure.
//!
//! Only asked for on connections from configured sources, and then required: whoever could leave it out could also be
//! somebody else. Version 1, UDP, UNIX sockets and every deviation are refused. Extensions (TLVs) are passed over unread.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// The fixed part: signature, version and command, family, length.
pub const HEADER_BYTES: usize = 16;
/// Longest header accepted, fixed part included, in bytes: addresses and a generous set of TLVs.
pub const MAX_BYTES: usize = 536;

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;
const UNSPECIFIED: u8 = 0x00;
const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;

/// A header that says whom it speaks for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Its length: the connection's own bytes begin behind it.
    pub len: usize,
    /// `None`: the proxy speaks for itself (a health check).
    pub endpoints: Option<Endpoints>,
}

/// Both ends of the connection as the proxy sees it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Endpoints {
    pub source: SocketAddr,
    pub destination: SocketAddr,
}

/// What the first bytes are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Parsed {
    Header(Header),
    /// So many bytes are needed at least, never more than [`MAX_BYTES`].
    Incomplete(usize),
    /// No header we accept.
    Refused,
}

/// Reads the header at the beginning of `bytes`.
pub fn parse(bytes: &[u8]) -> Parsed {
    let known = &bytes[..bytes.len().min(SIGNATURE.len())];
    if !SIGNATURE.starts_with(known) {
        return Parsed::Refused;
    }
    let Some((fixed, rest)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return Parsed::Incomplete(HEADER_BYTES);
    };
    let [.., command, family, l0, l1] = *fixed;
    let body = usize::from(u16::from_be_bytes([l0, l1]));
    let needed = match (command, family) {
        (LOCAL, UNSPECIFIED | TCP_OVER_IPV4 | TCP_OVER_IPV6) => 0,
        (PROXY, TCP_OVER_IPV4) => 12,
        (PROXY, TCP_OVER_IPV6) => 36,
        _ => return Parsed::Refused,
    };
    let len = HEADER_BYTES + body;
    if body < needed || len > MAX_BYTES {
        return Parsed::Refused;
    }
    let Some(body) = rest.get(..body) else { return Parsed::Incomplete(len) };
    if command == LOCAL {
        return Parsed::Header(Header { len, endpoints: None });
    }
    match endpoints(family, body) {
        Some(endpoints) => Parsed::Header(Header { len, endpoints: Some(endpoints) }),
        None => Parsed::Refused,
    }
}

fn endpoints(family: u8, body: &[u8]) -> Option<Endpoints> {
    let port = |at: usize| Some(u16::from_be_bytes(*body.get(at..)?.first_chunk()?));
    let v4 = |at: usize| Some(Ipv4Addr::from(*body.get(at..)?.first_chunk::<4>()?));
    let v6 = |at: usize| Some(Ipv6Addr::from(*body.get(at..)?.first_chunk::<16>()?));
    let (source, destination) = match family {
        TCP_OVER_IPV4 => (SocketAddr::from((v4(0)?, port(8)?)), SocketAddr::from((v4(4)?, port(10)?))),
        _ => (SocketAddr::from((v6(0)?, port(32)?)), SocketAddr::from((v6(16)?, port(34)?))),
    };
    // Nobody connects from these.
    let impossible = source.port() == 0 || source.ip().is_unspecified() || source.ip().is_multicast();
    (!impossible).then_some(Endpoints { source, destination })
}

impl std::fmt::Debug for Header {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Header({} bytes, [redacted])", self.len)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn header(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend_from_slice(&[command, family]);
        bytes.extend_from_slice(&(body.len() as u16).to_be_bytes());
        bytes.extend_from_slice(body);
        bytes
    }

    fn v4() -> Vec<u8> {
        header(PROXY, TCP_OVER_IPV4, &[198, 51, 100, 7, 203, 0, 113, 1, 0xC0, 0x01, 0x01, 0xBB])
    }

    fn v6() -> Vec<u8> {
        let (source, destination): (Ipv6Addr, Ipv6Addr) =
            ("2001:db8::7".parse().unwrap(), "2001:db8::1".parse().unwrap());
        let body = [&source.octets()[..], &destination.octets(), &[0xC0, 0x01, 0x01, 0xBB]].concat();
        header(PROXY, TCP_OVER_IPV6, &body)
    }

    fn endpoints(bytes: &[u8]) -> (SocketAddr, SocketAddr) {
        match parse(bytes) {
            Parsed::Header(Header { endpoints: Some(Endpoints { source, destination }), .. }) => (source, destination),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn both_families_are_read() {
        let text = |pair: (SocketAddr, SocketAddr)| format!("{} {}", pair.0, pair.1);
        assert_eq!(text(endpoints(&v4())), "198.51.100.7:49153 203.0.113.1:443");
        assert_eq!(text(endpoints(&v6())), "[2001:db8::7]:49153 [2001:db8::1]:443");
    }

    #[test]
    fn extensions_are_passed_over_and_what_follows_is_not_touched() {
        let mut body = v4()[HEADER_BYTES..].to_vec();
        body.extend_from_slice(&[0x04, 0, 3, 1, 2, 3]);
        let mut bytes = header(PROXY, TCP_OVER_IPV4, &body);
        let len = bytes.len();
        bytes.extend_from_slice(b"\x16\x03\x01");
        assert!(matches!(parse(&bytes), Parsed::Header(Header { len: found, .. }) if found == len));
    }

    #[test]
    fn a_health_check_speaks_for_itself() {
        let check = Header { len: 16, endpoints: None };
        assert_eq!(parse(&header(LOCAL, UNSPECIFIED, &[])), Parsed::Header(check));
        assert_eq!(parse(&header(LOCAL, TCP_OVER_IPV4, &[])), Parsed::Header(check));
    }

    #[test]
    fn byte_by_byte_it_is_incomplete_until_the_last() {
        for whole in [v4(), v6()] {
            for cut in 0..whole.len() {
                let Parsed::Incomplete(needed) = parse(&whole[..cut]) else { panic!("{cut}") };
                assert!(needed > cut && needed <= whole.len());
            }
        }
    }

    #[test]
    fn everything_else_is_refused() {
        let mut impossible = v4();
        impossible[24..26].fill(0); // port 0
        let mut multicast = v4();
        multicast[16] = 224;
        for (what, bytes) in [
            ("version 1", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n".to_vec()),
            ("no header", b"\x00\x01\x00\x00\x21\x12\xa4\x42".to_vec()),
            ("version 3", header(0x31, TCP_OVER_IPV4, &[0; 12])),
            ("unknown command", header(0x22, TCP_OVER_IPV4, &[1; 12])),
            ("UDP", header(PROXY, 0x12, &[1; 12])),
            ("a UNIX socket", header(PROXY, 0x31, &[1; 216])),
            ("no family", header(PROXY, UNSPECIFIED, &[])),
            ("too short for its family", header(PROXY, TCP_OVER_IPV6, &[1; 12])),
            ("endless", header(PROXY, TCP_OVER_IPV4, &[1; 600])),
            ("from port 0", impossible),
            ("from a multicast address", multicast),
        ] {
            assert_eq!(parse(&bytes), Parsed::Refused, "{what}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn any_bytes_are_read_refused_or_wanted_more_of_within_the_bound(
            tail in prop::collection::vec(any::<u8>(), 0..64),
            signed in any::<bool>(),
        ) {
            let bytes = if signed { [&SIGNATURE[..], &tail].concat() } else { tail };
            match parse(&bytes) {
                Parsed::Header(header) => prop_assert!(header.len <= bytes.len() && header.len >= HEADER_BYTES),
                Parsed::Incomplete(needed) => prop_assert!(needed > bytes.len() && needed <= MAX_BYTES),
                Parsed::Refused => {}
            }
        }
    }
}
