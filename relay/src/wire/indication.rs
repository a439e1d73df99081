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
    let total = header + payload_len + attr::padding(payload_len);
    let length = u16::try_from(total - STUN_HEADER).ok()?.to_be_bytes();
    let (address_value, data_value) = (address_len(peer) as u16, u16::try_from(payload_len).ok()?);
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
