//! The test vectors of RFC 5769, all four, through the interface the server uses.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;

use super::{Class, Key, Malformed, Message, MessageClass, Method, classify};

const SHORT_TERM_PASSWORD: &[u8] = b"VOkJxbRl1RmTxUk/WvJxBt";

/// §2.1
const REQUEST: &str = "
    00010058 2112a442 b7e7a701 bc34d686 fa87dfae
    80220010 5354554e 20746573 7420636c 69656e74
    00240004 6e0001ff
    80290008 932ff9b1 51263b36
    00060009 6576746a 3a683676 59202020
    00080014 9aeaa70c bfd8cb56 781ef2b5 b2d3f249 c1b571a2
    80280004 e57a3bcf";

/// §2.2
const IPV4_RESPONSE: &str = "
    0101003c 2112a442 b7e7a701 bc34d686 fa87dfae
    8022000b 74657374 20766563 746f7220
    00200008 0001a147 e112a643
    00080014 2b91f599 fd9e90c3 8c7489f9 2af9ba53 f06be7d7
    80280004 c07d4c96";

/// §2.3
const IPV6_RESPONSE: &str = "
    01010048 2112a442 b7e7a701 bc34d686 fa87dfae
    8022000b 74657374 20766563 746f7220
    00200014 0002a147 0113a9fa a5d3f179 bc25f4b5 bed2b9d9
    00080014 a382954e 4be67bf1 1784c97c 8292c275 bfe3ed41
    80280004 c8fb0b4c";

/// §2.4
const LONG_TERM_REQUEST: &str = "
    00010060 2112a442 78ad3433 c6ad72c0 29da412e
    00060012 e3839ee3 8388e383 aae38383 e382afe3 82b90000
    0015001c 662f2f34 39396b39 35346436 4f4c3334 6f4c3946 53547679 36347341
    0014000b 6578616d 706c652e 6f726700
    00080014 f6702465 6dd64a3e 02b8e071 2e85c9a2 8ca89666";

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex.chars().filter_map(|c| c.to_digit(16)).collect();
    digits.chunks(2).map(|pair| ((pair[0] << 4) | pair[1]) as u8).collect()
}

fn short_term() -> Key {
    Key::short_term(SHORT_TERM_PASSWORD).unwrap()
}

#[test]
fn the_sample_request_is_read_and_its_integrity_matches() {
    let datagram = bytes(REQUEST);
    assert_eq!(classify(&datagram), Class::Stun);
    let message = Message::parse(&datagram).unwrap();
    assert_eq!((message.class(), message.method()), (MessageClass::Request, Method::Binding));
    assert_eq!(message.transaction().0[..4], [0xB7, 0xE7, 0xA7, 0x01]);
    assert_eq!(message.username(), Ok(Some(&b"evtj:h6vY"[..])));
    assert_eq!(message.unknown_required().numbers(), [0x0024], "PRIORITY is ICE's business");
    assert!(message.has_integrity());
    assert!(message.integrity_matches(&short_term()));
    assert!(!message.integrity_matches(&Key::short_term(b"another").unwrap()));
}

#[test]
fn the_sample_ipv4_response_is_read_and_its_integrity_matches() {
    let datagram = bytes(IPV4_RESPONSE);
    let message = Message::parse(&datagram).unwrap();
    assert_eq!((message.class(), message.method()), (MessageClass::Success, Method::Binding));
    assert_eq!(message.xor_mapped_address(), Ok(Some("192.0.2.1:32853".parse::<SocketAddr>().unwrap())));
    assert!(message.integrity_matches(&short_term()));
}

#[test]
fn the_sample_ipv6_response_is_read_and_its_integrity_matches() {
    let datagram = bytes(IPV6_RESPONSE);
    let message = Message::parse(&datagram).unwrap();
    let mapped: SocketAddr = "[2001:db8:1234:5678:11:2233:4455:6677]:32853".parse().unwrap();
    assert_eq!(message.xor_mapped_address(), Ok(Some(mapped)));
    assert!(message.integrity_matches(&short_term()));
}

#[test]
fn the_sample_long_term_request_is_read_and_its_integrity_matches() {
    let datagram = bytes(LONG_TERM_REQUEST);
    let message = Message::parse(&datagram).unwrap();
    let username = "マトリックス".as_bytes();
    assert_eq!(message.username(), Ok(Some(username)));
    assert_eq!(message.realm(), Ok(Some(&b"example.org"[..])));
    assert_eq!(message.nonce(), Ok(Some(&b"f//499k954d6OL34oL9FSTvy64sA"[..])));
    assert!(message.integrity_matches(&Key::long_term(username, b"example.org", b"TheMatrIX")));
    assert!(!message.integrity_matches(&Key::long_term(username, b"example.org", b"thematrix")));
}

#[test]
fn one_flipped_bit_anywhere_in_a_vector_is_noticed() {
    for vector in [REQUEST, IPV4_RESPONSE, IPV6_RESPONSE] {
        let whole = bytes(vector);
        for bit in 0..whole.len() * 8 {
            let mut datagram = whole.clone();
            datagram[bit / 8] ^= 1 << (bit % 8);
            let accepted = Message::parse(&datagram).is_ok_and(|m| m.integrity_matches(&short_term()));
            // A flip in FINGERPRINT's own type makes it an attribute after MESSAGE-INTEGRITY: ignored, as §14.5 says.
            let in_type_of_fingerprint = (whole.len() - 8..whole.len() - 6).contains(&(bit / 8));
            assert_eq!(accepted, in_type_of_fingerprint, "bit {bit}");
        }
    }
}

#[test]
fn a_wrong_fingerprint_makes_the_vector_malformed() {
    let mut datagram = bytes(REQUEST);
    *datagram.last_mut().unwrap() ^= 1;
    assert_eq!(Message::parse(&datagram).err(), Some(Malformed::Fingerprint));
}
