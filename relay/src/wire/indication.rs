//! Send and Data indications (RFC 8656 §11) on the data path: read in one pass, written in place, nothing allocated.

use std::net::SocketAddr;
use std::ops::Range;

use super::attribute::{self as attr, ATTRIBUTE_HEADER};
use super::header::{self, MessageClass, Method, TransactionId};
use super::malformed::Malformed;
use super::message::{Attribute, attributes};
use super::{MAGIC_COOKIE, STUN_HEADER, address, fingerprint};

/// Bytes in front of the payload of the longest Data indication, an IPv6 one.
pub const MAX_DATA_HEADER: usize = STUN_HEADER + ATTRIBUTE_HEADER + address::V6_LEN + ATTRIBUTE_HEADER;

/// Most bytes behind the payload: attributes are padded to four bytes.
pub const MAX_DATA_PADDING: usize = 3;

/// What a Send indication asks for. The peer is as written: not yet canonical, not yet permitted.
#[derive(Clone, PartialEq, Eq)]
pub struct Send {
    pub peer: SocketAddr,
    /// Where the payload lies in the datagram; may be empty.
    pub data: Range<usize>,
    /// Whether DONT-FRAGMENT is there (RFC 8656 §18.9).
    pub dont_fragment: bool,
}

/// Whether the datagram starts like a Send indication, so that [`parse_send`] is worth calling before `Message::parse`.
#[inline]
pub fn is_send(datagram: &[u8]) -> bool {
    datagram.first_chunk() == Some(&SEND.to_be_bytes())
}

/// Reads a Send indication (RFC 8656 §11.2) by the same rules as `Message`: first of duplicates, nothing after
/// MESSAGE-INTEGRITY, exact lengths, FINGERPRINT checked if there.
///
/// # Errors
/// Drop it in silence: not a Send indication, malformed, without peer or data, or an unknown comprehension-required attribute
/// (RFC 8489 §6.3.2).
#[inline]
pub fn parse_send(datagram: &[u8]) -> Result<Send, Malformed> {
    let head = header::check(datagram)?;
    if !is_send(datagram) {
        return Err(Malformed::Indication);
    }
    let mut id = [0; 12];
    id.copy_from_slice(&head[8..]);
    let (mut peer, mut data, mut dont_fragment, mut protected) = (None, None, false, false);
    for (seen, attribute) in attributes(datagram).enumerate() {
        let Attribute { number, value } = attribute?;
        if seen == attr::MAX_ATTRIBUTES {
            return Err(Malformed::TooMany);
        }
        match number {
            attr::FINGERPRINT => fingerprint::check(datagram, &value)?,
            _ if protected => {}
            attr::XOR_PEER_ADDRESS if peer.is_none() => peer = Some(value),
            attr::DATA if data.is_none() => data = Some(value),
            attr::DONT_FRAGMENT if value.is_empty() => dont_fragment = true,
            attr::MESSAGE_INTEGRITY | attr::MESSAGE_INTEGRITY_SHA256 => protected = true,
            _ if attr::comprehension_required(number) && !attr::understood(number) => {
                return Err(Malformed::Indication);
            }
            _ => {}
        }
    }
    let (Some(peer), Some(data)) = (peer, data) else { return Err(Malformed::Indication) };
    let peer = address::decode_xor(&datagram[peer], &TransactionId(id)).ok_or(Malformed::Indication)?;
    Ok(Send { peer, data, dont_fragment })
}

/// Bytes in front of the payload of a Data indication from this peer: 36 for IPv4, 48 for IPv6.
#[inline]
pub const fn data_header_len(peer: SocketAddr) -> usize {
    STUN_HEADER + ATTRIBUTE_HEADER + address_len(peer) + ATTRIBUTE_HEADER
}

/// Writes a Data indication around a payload that already lies at `buf[data_header_len(peer)..][..payload_len]`, and zero
/// padding behind it. Returns the length of the whole indication; `None`, and nothing written, if it does not fit `buf` or
/// a STUN length.
#[inline]
pub fn write_data_header(
    buf: &mut [u8],
    peer: SocketAddr,
    payload_len: usize,
    transaction: TransactionId,
) -> Option<usize> {
    let header = data_header_len(peer);
    let data_value = u16::try_from(payload_len).ok()?;
    let total = header + payload_len + attr::padding(payload_len);
    let length = u16::try_from(total - STUN_HEADER).ok()?.to_be_bytes();
    let address_value = address_len(peer) as u16;
    let buf = buf.get_mut(..total)?;

    buf[..2].copy_from_slice(&DATA.to_be_bytes());
    buf[2..4].copy_from_slice(&length);
    buf[4..8].copy_from_slice(&MAGIC_COOKIE);
    buf[8..20].copy_from_slice(&transaction.0);
    write_attribute_header(&mut buf[20..24], attr::XOR_PEER_ADDRESS, address_value);
    address::encode_xor(&mut buf[24..header], peer, &transaction)?;
    write_attribute_header(&mut buf[header - ATTRIBUTE_HEADER..header], attr::DATA, data_value);
    buf[header + payload_len..].fill(0); // never somebody else's bytes
    Some(total)
}

const SEND: u16 = header::message_type(Method::Send, MessageClass::Indication);
const DATA: u16 = header::message_type(Method::Data, MessageClass::Indication);

const fn address_len(peer: SocketAddr) -> usize {
    if peer.is_ipv4() { address::V4_LEN } else { address::V6_LEN }
}

fn write_attribute_header(out: &mut [u8], number: u16, len: u16) {
    out[..2].copy_from_slice(&number.to_be_bytes());
    out[2..4].copy_from_slice(&len.to_be_bytes());
}

impl std::fmt::Debug for Send {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Send([redacted], {} bytes)", self.data.len())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::{Message, Request};
    use super::*;

    const ID: TransactionId = TransactionId([5; 12]);

    fn v4() -> SocketAddr {
        "192.0.2.1:4000".parse().unwrap()
    }

    fn v6() -> SocketAddr {
        "[2001:db8::5]:4000".parse().unwrap()
    }

    fn send() -> Request {
        Request::indication(Method::Send, ID)
    }

    #[test]
    fn a_send_indication_gives_peer_and_payload_in_either_order() {
        for peer in [v4(), v6()] {
            let peer_first = send().xor_peer_address(peer).data(b"hello").finish(None);
            let data_first = send().data(b"hello").raw(attr::SOFTWARE, b"x").xor_peer_address(peer).finish(None);
            for datagram in [peer_first, data_first] {
                assert!(is_send(&datagram));
                let send = parse_send(&datagram).unwrap();
                assert_eq!((send.peer, &datagram[send.data], send.dont_fragment), (peer, &b"hello"[..], false));
            }
        }
    }

    #[test]
    fn an_empty_payload_is_a_payload_and_dont_fragment_is_seen() {
        let datagram = send().xor_peer_address(v4()).dont_fragment().data(b"").finish(None);
        let send = parse_send(&datagram).unwrap();
        assert!(send.data.is_empty());
        assert!(send.dont_fragment);
    }

    #[test]
    fn of_two_peers_or_payloads_the_first_counts() {
        let datagram = send().xor_peer_address(v4()).xor_peer_address(v6()).data(b"one").data(b"two").finish(None);
        let send = parse_send(&datagram).unwrap();
        assert_eq!((send.peer, &datagram[send.data]), (v4(), &b"one"[..]));
    }

    #[test]
    fn a_send_without_peer_or_payload_or_with_a_crippled_peer_is_dropped() {
        let crippled = |value: &[u8]| send().raw(attr::XOR_PEER_ADDRESS, value).data(b"x").finish(None);
        let datagrams = [
            send().data(b"x").finish(None),
            send().xor_peer_address(v4()).finish(None),
            crippled(&[0, 3, 0, 0, 1, 2, 3, 4]),
            crippled(&[0, 1, 0, 0]),
            crippled(&[0; 65]),
        ];
        for datagram in datagrams {
            assert_eq!(parse_send(&datagram).err(), Some(Malformed::Indication));
        }
    }

    #[test]
    fn an_unknown_required_attribute_stops_a_send_and_an_optional_one_does_not() {
        let datagram = |number| send().xor_peer_address(v4()).data(b"x").raw(number, b"?").finish(None);
        assert_eq!(parse_send(&datagram(0x7FF1)).err(), Some(Malformed::Indication));
        assert!(parse_send(&datagram(0xFFF1)).is_ok());
    }

    #[test]
    fn what_follows_message_integrity_is_not_sent() {
        let key = super::super::Key::long_term(b"a", b"b", b"c");
        let datagram = send().xor_peer_address(v4()).integrity(&key).data(b"smuggled").finish(None);
        assert_eq!(parse_send(&datagram).err(), Some(Malformed::Indication));
    }

    #[test]
    fn a_fingerprint_on_a_send_is_checked() {
        let mut datagram = send().xor_peer_address(v4()).data(b"hello").finish_with_fingerprint(None);
        assert!(parse_send(&datagram).is_ok());
        datagram[36] ^= 1;
        assert_eq!(parse_send(&datagram).err(), Some(Malformed::Fingerprint));
    }

    #[test]
    fn other_messages_are_no_send() {
        for datagram in [Request::new(Method::Send, ID), Request::indication(Method::Data, ID)] {
            let datagram = datagram.xor_peer_address(v4()).data(b"x").finish(None);
            assert!(!is_send(&datagram));
            assert_eq!(parse_send(&datagram).err(), Some(Malformed::Indication));
        }
    }

    #[test]
    fn a_data_indication_is_written_around_its_payload_with_zero_padding() {
        for (peer, header) in [(v4(), 36), (v6(), 48)] {
            for len in 0..=9 {
                let mut buf = vec![0xAA; header + len + MAX_DATA_PADDING + 1];
                buf[header..header + len].copy_from_slice(&b"payload!!"[..len]);
                assert_eq!(data_header_len(peer), header);
                let total = write_data_header(&mut buf, peer, len, ID).unwrap();
                let message = Message::parse(&buf[..total]).unwrap();
                assert_eq!((message.method(), message.class()), (Method::Data, MessageClass::Indication));
                assert_eq!(message.xor_peer_address(), Ok(Some(peer)));
                assert_eq!(message.data_range(), Some(header..header + len));
                assert_eq!(&buf[header..header + len], &b"payload!!"[..len]);
                assert!(buf[header + len..total].iter().all(|&byte| byte == 0));
                assert!(buf[total..].iter().all(|&byte| byte == 0xAA), "nothing behind the indication is touched");
            }
        }
    }

    #[test]
    fn a_data_indication_equals_what_the_stun_crate_writes() {
        let mut buf = [0; 64];
        buf[36..41].copy_from_slice(b"hello");
        let total = write_data_header(&mut buf, v4(), 5, ID).unwrap();
        let theirs = Request::indication(Method::Data, ID).xor_peer_address(v4()).data(b"hello").finish(None);
        assert_eq!(buf[..total], theirs[..]);
    }

    #[test]
    fn a_data_indication_that_does_not_fit_is_not_begun() {
        let mut buf = [0xAA; 43];
        assert_eq!(write_data_header(&mut buf, v4(), 5, ID), None);
        assert_eq!(buf, [0xAA; 43]);
        let mut large = vec![0xAA; 70_000];
        assert_eq!(write_data_header(&mut large, v4(), 65_535, ID), None);
        assert_eq!(write_data_header(&mut large, v4(), usize::MAX, ID), None);
    }
}
