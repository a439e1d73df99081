//! STUN and ChannelData bytes, as far as a client needs them (RFC 8489 §5, §14; RFC 8656 §12.4, §18).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};
use sha1::Sha1;

const COOKIE: u32 = 0x2112_A442;
const HEADER: usize = 20;
const INTEGRITY_LEN: usize = 20;
/// Bytes in front of ChannelData (RFC 8656 §12.4).
pub const CHANNEL_HEADER: usize = 4;
/// The first channel number a client may bind (RFC 8656 §12).
pub const FIRST_CHANNEL: u16 = 0x4000;

pub type TransactionId = [u8; 12];

/// Methods this client speaks (RFC 8489 §18.2, RFC 8656 §17).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Binding = 0x001,
    Allocate = 0x003,
    Refresh = 0x004,
    CreatePermission = 0x008,
    ChannelBind = 0x009,
}

/// Message class (RFC 8489 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Request,
    Indication,
    Success,
    Error,
}

/// Attribute types.
pub mod attribute {
    pub const USERNAME: u16 = 0x0006;
    pub const MESSAGE_INTEGRITY: u16 = 0x0008;
    pub const ERROR_CODE: u16 = 0x0009;
    pub const CHANNEL_NUMBER: u16 = 0x000C;
    pub const LIFETIME: u16 = 0x000D;
    pub const XOR_PEER_ADDRESS: u16 = 0x0012;
    pub const REALM: u16 = 0x0014;
    pub const NONCE: u16 = 0x0015;
    pub const XOR_RELAYED_ADDRESS: u16 = 0x0016;
    pub const REQUESTED_TRANSPORT: u16 = 0x0019;
    pub const XOR_MAPPED_ADDRESS: u16 = 0x0020;
    pub const PRIORITY: u16 = 0x0024;
    pub const USE_CANDIDATE: u16 = 0x0025;
    pub const FINGERPRINT: u16 = 0x8028;
    pub const ICE_CONTROLLED: u16 = 0x8029;
    pub const ICE_CONTROLLING: u16 = 0x802A;
}

/// A STUN message whose header and attribute lengths add up.
#[derive(Clone, Copy)]
pub struct View<'a> {
    bytes: &'a [u8],
}

impl<'a> View<'a> {
    /// None unless `bytes` is exactly one STUN message.
    pub fn parse(bytes: &'a [u8]) -> Option<View<'a>> {
        let header = bytes.get(..HEADER)?;
        let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let cookie = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
        let whole = header[0] < 0x40 && cookie == COOKIE && length % 4 == 0 && bytes.len() == HEADER + length;
        let view = View { bytes };
        (whole && view.attributes().map(|(_, _, end)| end).last().unwrap_or(HEADER) == bytes.len()).then_some(view)
    }

    /// The method's number, whether this client speaks it or not.
    pub fn method(&self) -> u16 {
        let kind = self.kind();
        (kind & 0x000F) | ((kind & 0x00E0) >> 1) | ((kind & 0x3E00) >> 2)
    }

    pub fn class(&self) -> Class {
        match self.kind() & 0x0110 {
            0x0000 => Class::Request,
            0x0010 => Class::Indication,
            0x0100 => Class::Success,
            _ => Class::Error,
        }
    }

    pub fn transaction(&self) -> TransactionId {
        let mut id = [0; 12];
        id.copy_from_slice(&self.bytes[8..HEADER]);
        id
    }

    /// The value of the first attribute of this kind.
    pub fn get(&self, kind: u16) -> Option<&'a [u8]> {
        self.attributes().find(|(found, _, _)| *found == kind).map(|(_, value, _)| value)
    }

    pub fn u32(&self, kind: u16) -> Option<u32> {
        Some(u32::from_be_bytes(self.get(kind)?.try_into().ok()?))
    }

    /// The code of ERROR-CODE (RFC 8489 §14.8).
    pub fn error_code(&self) -> Option<u16> {
        let value = self.get(attribute::ERROR_CODE)?;
        Some(u16::from(value.get(2)? & 7) * 100 + u16::from(*value.get(3)?))
    }

    /// An address under XOR (RFC 8489 §14.2).
    pub fn address(&self, kind: u16) -> Option<SocketAddr> {
        let value = self.get(kind)?;
        let port = u16::from_be_bytes([*value.get(2)?, *value.get(3)?]) ^ (COOKIE >> 16) as u16;
        let ip: IpAddr = match (value.get(1)?, value.len()) {
            (1, 8) => Ipv4Addr::from(xor_mask::<4>(&value[4..], self.bytes)).into(),
            (2, 20) => Ipv6Addr::from(xor_mask::<16>(&value[4..], self.bytes)).into(),
            _ => return None,
        };
        Some(SocketAddr::new(ip, port))
    }

    /// Whether MESSAGE-INTEGRITY is there and made with `key` (RFC 8489 §14.5).
    pub fn integrity_matches(&self, key: &[u8]) -> bool {
        let Some((_, value, end)) = self.attributes().find(|(kind, _, _)| *kind == attribute::MESSAGE_INTEGRITY) else {
            return false;
        };
        let start = end - INTEGRITY_LEN - 4;
        value.len() == INTEGRITY_LEN && integrity(&self.bytes[..start], end - HEADER, key)[..] == *value
    }

    fn kind(&self) -> u16 {
        u16::from_be_bytes([self.bytes[0], self.bytes[1]])
    }

    /// Kind, value and the offset just behind the padding, up to the first attribute that does not fit.
    fn attributes(&self) -> impl Iterator<Item = (u16, &'a [u8], usize)> {
        let bytes = self.bytes;
        let mut at = HEADER;
        std::iter::from_fn(move || {
            let head = bytes.get(at..at + 4)?;
            let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
            let value = bytes.get(at + 4..at + 4 + length)?;
            at += 4 + length.next_multiple_of(4);
            (at <= bytes.len()).then_some((u16::from_be_bytes([head[0], head[1]]), value, at))
        })
    }
}

/// Builds one STUN message.
pub struct Builder {
    bytes: Vec<u8>,
}

impl Builder {
    pub fn new(class: Class, method: Method, transaction: TransactionId) -> Builder {
        let method = method as u16;
        let class = match class {
            Class::Request => 0x0000,
            Class::Indication => 0x0010,
            Class::Success => 0x0100,
            Class::Error => 0x0110,
        };
        let kind = (method & 0x000F) | ((method & 0x0070) << 1) | ((method & 0x0F80) << 2) | class;
        let mut bytes = Vec::with_capacity(160);
        bytes.extend_from_slice(&kind.to_be_bytes());
        bytes.extend_from_slice(&[0, 0]);
        bytes.extend_from_slice(&COOKIE.to_be_bytes());
        bytes.extend_from_slice(&transaction);
        Builder { bytes }
    }

    pub fn attribute(mut self, kind: u16, value: &[u8]) -> Builder {
        self.bytes.extend_from_slice(&kind.to_be_bytes());
        self.bytes.extend_from_slice(&(value.len() as u16).to_be_bytes());
        self.bytes.extend_from_slice(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self
    }

    pub fn address(self, kind: u16, address: SocketAddr) -> Builder {
        let port = (address.port() ^ (COOKIE >> 16) as u16).to_be_bytes();
        let mut value = vec![0, if address.is_ipv4() { 1 } else { 2 }, port[0], port[1]];
        match address.ip() {
            IpAddr::V4(ip) => value.extend_from_slice(&xor_mask::<4>(&ip.octets(), &self.bytes)),
            IpAddr::V6(ip) => value.extend_from_slice(&xor_mask::<16>(&ip.octets(), &self.bytes)),
        }
        self.attribute(kind, &value)
    }

    /// Adds MESSAGE-INTEGRITY made with `key`.
    pub fn integrity(self, key: &[u8]) -> Builder {
        let mac = integrity(&self.bytes, self.bytes.len() - HEADER + 4 + INTEGRITY_LEN, key);
        self.attribute(attribute::MESSAGE_INTEGRITY, &mac)
    }

    /// Adds FINGERPRINT (RFC 8489 §14.7), which must be the last attribute.
    pub fn fingerprint(mut self) -> Builder {
        self.set_length(8);
        let crc = crc32(&self.bytes) ^ 0x5354_554E;
        self.attribute(attribute::FINGERPRINT, &crc.to_be_bytes())
    }

    pub fn finish(mut self) -> Vec<u8> {
        self.set_length(0);
        self.bytes
    }

    fn set_length(&mut self, more: usize) {
        let length = (self.bytes.len() - HEADER + more) as u16;
        self.bytes[2..4].copy_from_slice(&length.to_be_bytes());
    }
}

/// MD5(user:realm:password), the key of the long-term credential mechanism (RFC 8489 §9.2.2).
pub fn long_term_key(username: &str, realm: &str, password: &str) -> [u8; 16] {
    let hasher = Md5::new().chain_update(username).chain_update(b":").chain_update(realm);
    hasher.chain_update(b":").chain_update(password).finalize().into()
}

/// Channel number and data of one ChannelData datagram; over UDP padding is allowed but not needed.
pub fn parse_channel_data(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let header = bytes.get(..CHANNEL_HEADER)?;
    let number = u16::from_be_bytes([header[0], header[1]]);
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let data = bytes.get(CHANNEL_HEADER..CHANNEL_HEADER + length)?;
    (0x4000..0x8000).contains(&number).then_some((number, data))
}

/// Writes the ChannelData header for `length` bytes of data.
pub fn write_channel_header(buffer: &mut [u8; CHANNEL_HEADER], number: u16, length: u16) {
    buffer[..2].copy_from_slice(&number.to_be_bytes());
    buffer[2..].copy_from_slice(&length.to_be_bytes());
}

/// HMAC-SHA1 over the message so far with its length field as if it ended behind the integrity attribute.
fn integrity(message: &[u8], length: usize, key: &[u8]) -> [u8; INTEGRITY_LEN] {
    let mut mac =
        <Hmac<Sha1> as KeyInit>::new_from_slice(key).unwrap_or_else(|_| unreachable!("HMAC takes keys of any length"));
    mac.update(&message[..2]);
    mac.update(&(length as u16).to_be_bytes());
    mac.update(&message[4..]);
    mac.finalize().into_bytes().into()
}

/// XOR with cookie and transaction, which lie at bytes 4..20 of the message.
fn xor_mask<const N: usize>(value: &[u8], message: &[u8]) -> [u8; N] {
    std::array::from_fn(|i| value[i] ^ message[4 + i])
}

fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg());
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

#[cfg(test)]
#[path = "stun_tests.rs"]
mod tests;
