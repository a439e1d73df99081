//! The PROXY v2 header in front of a connection, read as its bytes arrive.

use relay::stream::proxy::{self, Parsed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Every beginning of the bytes is read as the whole is, or wants more of it; and what is read is what is written there.
pub(super) fn run(bytes: &[u8]) {
    let whole = proxy::parse(bytes);
    for cut in 0..=bytes.len().min(2 * proxy::MAX_BYTES) {
        match proxy::parse(&bytes[..cut]) {
            Parsed::Incomplete(needed) => {
                assert!(cut < needed && needed <= proxy::MAX_BYTES, "it wants more, but not without end");
                if let Parsed::Header(header) = whole {
                    assert!(needed <= header.len, "nothing behind the header is waited for");
                }
            }
            early => {
                assert_eq!(early, whole, "it does not change its mind");
                break;
            }
        }
    }
    if let Parsed::Header(header) = whole {
        assert!(bytes.starts_with(b"\r\n\r\n\0\r\nQUIT\n"));
        assert_eq!(header.len, 16 + usize::from(u16::from_be_bytes([bytes[14], bytes[15]])));
        assert_eq!(header.endpoints.map(|ends| (ends.source, ends.destination)), written(bytes));
        if let Some(ends) = header.endpoints {
            assert!(ends.source.port() != 0 && !ends.source.ip().is_unspecified() && !ends.source.ip().is_multicast());
        }
    }
    assert!(!format!("{whole:?}").contains("203.0.113"), "no address is shown");
}

/// The addresses at the places `proxy-protocol.txt` §2.2 gives them.
fn written(bytes: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
    let port = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    let v4 = |at: usize| IpAddr::from(Ipv4Addr::new(bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]));
    let v6 = |at: usize| {
        let mut octets = [0; 16];
        octets.copy_from_slice(&bytes[at..at + 16]);
        IpAddr::from(Ipv6Addr::from(octets))
    };
    match (bytes[12], bytes[13]) {
        (0x21, 0x11) => Some((SocketAddr::new(v4(16), port(24)), SocketAddr::new(v4(20), port(26)))),
        (0x21, 0x21) => Some((SocketAddr::new(v6(16), port(48)), SocketAddr::new(v6(32), port(50)))),
        (0x20, _) => None,
        other => panic!("command and family {other:?} are none we accept"),
    }
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let header = |command: u8, family: u8, body: &[u8]| {
        let mut bytes = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
        bytes.extend_from_slice(&[command, family]);
        bytes.extend_from_slice(&u16::try_from(body.len()).unwrap().to_be_bytes());
        bytes.extend_from_slice(body);
        bytes
    };
    let v4 = b"\xc6\x33\x64\x07\xcb\x00\x71\x01\xc0\x01\x0d\x96";
    let v6 = [&[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7][..], &[0x20; 16], b"\xc0\x01\x0d\x96"].concat();
    let tlv = b"\x04\x00\x05extra\x20\x00\x02ab";
    let binding = b"\x00\x01\x00\x00\x21\x12\xa4\x42twelve bytes";
    vec![
        [&header(0x21, 0x11, v4)[..], binding].concat(),
        [&header(0x21, 0x21, &v6)[..], binding].concat(),
        header(0x21, 0x11, &[&v4[..], tlv].concat()),
        header(0x20, 0, &[]),
        header(0x20, 0x11, &[v4, &tlv[..]].concat()),
        b"PROXY TCP4 198.51.100.7 203.0.113.1 49153 3478\r\n".to_vec(),
    ]
}
