#![allow(clippy::unwrap_used)]
use super::*;

/// RFC 5769 §2.1: request with short-term credentials.
const REQUEST: &str = "000100582112a442b7e7a701bc34d686fa87dfae802200105354554e207465737420636c69656e74\
    002400046e0001ff80290008932ff9b151263b36000600096576746a3a68367659202020\
    000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a280280004e57a3bcf";
/// RFC 5769 §2.2: IPv4 response.
const RESPONSE: &str = "0101003c2112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220\
    002000080001a147e112a643000800142b91f599fd9e90c38c7489f92af9ba53f06be7d780280004c07d4c96";
/// RFC 5769 §2.4: request with long-term credentials.
const LONG_TERM: &str = "000100602112a44278ad3433c6ad72c029da412e00060012e3839ee38388e383aae38383e382afe382b90000\
    0015001c662f2f3439396b3935346436 4f4c33346f4c394653547679363473410014000b6578616d706c652e6f726700\
    00080014f67024656dd64a3e02b8e0712e85c9a28ca89666";

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

#[test]
fn rfc_5769_short_term_request_is_read_and_its_integrity_holds() {
    let message = bytes(REQUEST);
    let view = View::parse(&message).unwrap();
    assert_eq!((view.class(), view.method()), (Class::Request, Method::Binding as u16));
    assert_eq!(view.get(attribute::USERNAME).unwrap(), b"evtj:h6vY");
    assert!(view.integrity_matches(b"VOkJxbRl1RmTxUk/WvJxBt"));
    assert!(!view.integrity_matches(b"another password"));
}

#[test]
fn rfc_5769_response_carries_its_xor_mapped_address() {
    let message = bytes(RESPONSE);
    let view = View::parse(&message).unwrap();
    assert_eq!(view.address(attribute::XOR_MAPPED_ADDRESS).unwrap(), "192.0.2.1:32853".parse().unwrap());
    assert!(view.integrity_matches(b"VOkJxbRl1RmTxUk/WvJxBt"));
}

#[test]
fn rfc_5769_long_term_key_is_right() {
    let message = bytes(LONG_TERM);
    let key = long_term_key("\u{30de}\u{30c8}\u{30ea}\u{30c3}\u{30af}\u{30b9}", "example.org", "TheMatrIX");
    assert!(View::parse(&message).unwrap().integrity_matches(&key));
}

#[test]
fn what_is_built_is_read_back() {
    let peer: SocketAddr = "[2001:db8::7]:4711".parse().unwrap();
    let message = Builder::new(Class::Request, Method::ChannelBind, [7; 12])
        .attribute(attribute::CHANNEL_NUMBER, &[0x40, 0x01, 0, 0])
        .address(attribute::XOR_PEER_ADDRESS, peer)
        .integrity(b"key")
        .fingerprint()
        .finish();
    let view = View::parse(&message).unwrap();
    assert_eq!((view.class(), view.method()), (Class::Request, Method::ChannelBind as u16));
    assert_eq!(view.address(attribute::XOR_PEER_ADDRESS), Some(peer));
    assert!(view.integrity_matches(b"key"));
}

#[test]
fn the_fingerprint_is_that_of_rfc_5769() {
    let message = bytes(REQUEST);
    let crc = crc32(&message[..message.len() - 8]) ^ 0x5354_554E;
    assert_eq!(crc.to_be_bytes(), message[message.len() - 4..]);
}

#[test]
fn truncated_and_stretched_messages_are_refused() {
    let message = bytes(REQUEST);
    for end in 0..message.len() {
        assert!(View::parse(&message[..end]).is_none(), "{end}");
    }
    assert!(View::parse(&[message.as_slice(), &[0; 4]].concat()).is_none());
}

#[test]
fn channel_data_is_cut_to_its_length() {
    assert_eq!(parse_channel_data(&[0x40, 0, 0, 2, 1, 2, 0, 0]), Some((0x4000, &[1, 2][..])));
    assert_eq!(parse_channel_data(&[0x40, 0, 0, 5, 1, 2, 0, 0]), None);
    assert_eq!(parse_channel_data(&[0x00, 1, 0, 0]), None);
}
