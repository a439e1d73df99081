//! The twenty bytes every STUN message starts with (RFC 8489 §5).

use serde::{Deserialize, Serialize};

use super::malformed::Malformed;
use super::{MAGIC_COOKIE, STUN_HEADER};

/// Chosen by the client, repeated in the answer (RFC 8489 §5).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct TransactionId(pub [u8; 12]);

/// The two class bits (RFC 8489 §5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MessageClass {
    Request,
    Indication,
    Success,
    Error,
}

/// The twelve method bits (RFC 8489 §18.2, RFC 8656 §17, RFC 6062 §6.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    Binding,
    Allocate,
    Refresh,
    Send,
    Data,
    CreatePermission,
    ChannelBind,
    Connect,
    ConnectionBind,
    ConnectionAttempt,
    /// Not a method of this server; never one of the numbers above.
    Other(u16),
}

impl Method {
    pub const fn from_number(number: u16) -> Method {
        match number {
            0x001 => Method::Binding,
            0x003 => Method::Allocate,
            0x004 => Method::Refresh,
            0x006 => Method::Send,
            0x007 => Method::Data,
            0x008 => Method::CreatePermission,
            0x009 => Method::ChannelBind,
            0x00A => Method::Connect,
            0x00B => Method::ConnectionBind,
            0x00C => Method::ConnectionAttempt,
            other => Method::Other(other),
        }
    }

    pub const fn number(self) -> u16 {
        match self {
            Method::Binding => 0x001,
            Method::Allocate => 0x003,
            Method::Refresh => 0x004,
            Method::Send => 0x006,
            Method::Data => 0x007,
            Method::CreatePermission => 0x008,
            Method::ChannelBind => 0x009,
            Method::Connect => 0x00A,
            Method::ConnectionBind => 0x00B,
            Method::ConnectionAttempt => 0x00C,
            Method::Other(number) => number,
        }
    }
}

/// Packs method and class as M11..M7 C1 M6..M4 C0 M3..M0 (RFC 8489 §5, figure 3).
pub(super) const fn message_type(method: Method, class: MessageClass) -> u16 {
    let m = method.number();
    (m & 0x000F) | ((m & 0x0070) << 1) | ((m & 0x0F80) << 2) | class_bits(class)
}

const fn class_bits(class: MessageClass) -> u16 {
    match class {
        MessageClass::Request => 0x0000,
        MessageClass::Indication => 0x0010,
        MessageClass::Success => 0x0100,
        MessageClass::Error => 0x0110,
    }
}

/// The reverse of [`message_type`]; the top two bits are not looked at.
pub(super) const fn method_and_class(word: u16) -> (Method, MessageClass) {
    let class = match word & 0x0110 {
        0x0000 => MessageClass::Request,
        0x0010 => MessageClass::Indication,
        0x0100 => MessageClass::Success,
        _ => MessageClass::Error,
    };
    (Method::from_number((word & 0x000F) | ((word >> 1) & 0x0070) | ((word >> 2) & 0x0F80)), class)
}

/// Checks what RFC 8489 §6.3 asks of a header, and that the length is that of the datagram: over UDP they are the same.
#[inline]
pub(super) fn check(datagram: &[u8]) -> Result<&[u8; STUN_HEADER], Malformed> {
    let header = datagram.first_chunk::<STUN_HEADER>().ok_or(Malformed::Short)?;
    if header[0] & 0xC0 != 0 {
        return Err(Malformed::LeadBits);
    }
    if header[4..8] != MAGIC_COOKIE {
        return Err(Malformed::Cookie);
    }
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if length % 4 != 0 || STUN_HEADER + length != datagram.len() {
        return Err(Malformed::Length);
    }
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_and_class_survives_packing() {
        for number in 0..0x1000 {
            for class in [MessageClass::Request, MessageClass::Indication, MessageClass::Success, MessageClass::Error] {
                let method = Method::from_number(number);
                let word = message_type(method, class);
                assert_eq!(word & 0xC000, 0);
                assert_eq!(method_and_class(word), (method, class));
                assert_eq!(method.number(), number);
            }
        }
    }

    #[test]
    fn packing_agrees_with_the_stun_crate() {
        for word in 0..0x4000 {
            let mut theirs = stun::message::MessageType::default();
            theirs.read_value(word);
            let (method, class) = method_and_class(word);
            assert_eq!(theirs.value(), message_type(method, class));
        }
    }

    #[test]
    fn the_registered_types_are_those_of_the_rfcs() {
        assert_eq!(message_type(Method::Binding, MessageClass::Success), 0x0101);
        assert_eq!(message_type(Method::Allocate, MessageClass::Error), 0x0113);
        assert_eq!(message_type(Method::Send, MessageClass::Indication), 0x0016);
        assert_eq!(message_type(Method::Data, MessageClass::Indication), 0x0017);
    }
}
