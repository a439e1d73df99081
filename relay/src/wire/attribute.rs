//! Attribute numbers (RFC 8489 §18.3, RFC 8656 §18, RFC 6062 §6.2, RFC 5780 §7) and which of them this server understands.

/// More attributes than this in one message and it is dropped. A CreatePermission that fills an Ethernet frame with IPv4
/// peers carries 113.
pub const MAX_ATTRIBUTES: usize = 128;

/// Bytes of type and length in front of each value (RFC 8489 §14).
pub const ATTRIBUTE_HEADER: usize = 4;

pub const MAPPED_ADDRESS: u16 = 0x0001;
pub const CHANGE_REQUEST: u16 = 0x0003;
pub const USERNAME: u16 = 0x0006;
pub const MESSAGE_INTEGRITY: u16 = 0x0008;
pub const ERROR_CODE: u16 = 0x0009;
pub const UNKNOWN_ATTRIBUTES: u16 = 0x000A;
pub const CHANNEL_NUMBER: u16 = 0x000C;
pub const LIFETIME: u16 = 0x000D;
pub const XOR_PEER_ADDRESS: u16 = 0x0012;
pub const DATA: u16 = 0x0013;
pub const REALM: u16 = 0x0014;
pub const NONCE: u16 = 0x0015;
pub const XOR_RELAYED_ADDRESS: u16 = 0x0016;
pub const REQUESTED_ADDRESS_FAMILY: u16 = 0x0017;
pub const EVEN_PORT: u16 = 0x0018;
pub const REQUESTED_TRANSPORT: u16 = 0x0019;
pub const DONT_FRAGMENT: u16 = 0x001A;
pub const MESSAGE_INTEGRITY_SHA256: u16 = 0x001C;
pub const PASSWORD_ALGORITHM: u16 = 0x001D;
pub const USERHASH: u16 = 0x001E;
pub const XOR_MAPPED_ADDRESS: u16 = 0x0020;
pub const RESERVATION_TOKEN: u16 = 0x0022;
pub const PADDING: u16 = 0x0026;
pub const RESPONSE_PORT: u16 = 0x0027;
pub const CONNECTION_ID: u16 = 0x002A;
pub const ADDITIONAL_ADDRESS_FAMILY: u16 = 0x8000;
pub const ADDRESS_ERROR_CODE: u16 = 0x8001;
pub const PASSWORD_ALGORITHMS: u16 = 0x8002;
pub const ALTERNATE_DOMAIN: u16 = 0x8003;
pub const ICMP: u16 = 0x8004;
pub const SOFTWARE: u16 = 0x8022;
pub const ALTERNATE_SERVER: u16 = 0x8023;
pub const FINGERPRINT: u16 = 0x8028;
pub const RESPONSE_ORIGIN: u16 = 0x802B;
pub const OTHER_ADDRESS: u16 = 0x802C;

/// Longest USERNAME, REALM and NONCE that is read, in bytes (RFC 8489 §14.3, §14.9, §14.10). New names have fewer than 509,
/// but up to these must be parsed: they are those of RFC 5389.
pub const MAX_TEXT: usize = 763;

/// Whether a receiver that does not understand the attribute must refuse the message (RFC 8489 §14).
pub const fn comprehension_required(number: u16) -> bool {
    number < 0x8000
}

/// Whether this server understands the attribute. Those it does not, and must, are listed in a 420 (RFC 8489 §6.3.1).
pub const fn understood(number: u16) -> bool {
    matches!(
        number,
        MAPPED_ADDRESS
            | USERNAME
            | MESSAGE_INTEGRITY
            | ERROR_CODE
            | UNKNOWN_ATTRIBUTES
            | CHANNEL_NUMBER
            | LIFETIME
            | XOR_PEER_ADDRESS
            | DATA
            | REALM
            | NONCE
            | XOR_RELAYED_ADDRESS
            | REQUESTED_ADDRESS_FAMILY
            | EVEN_PORT
            | REQUESTED_TRANSPORT
            | DONT_FRAGMENT
            | MESSAGE_INTEGRITY_SHA256
            | PASSWORD_ALGORITHM
            | USERHASH
            | XOR_MAPPED_ADDRESS
            | RESERVATION_TOKEN
            | CONNECTION_ID
    )
}

/// What a request for NAT behaviour discovery may carry besides, where it is offered (RFC 5780 §7).
pub const fn discovery(number: u16) -> bool {
    matches!(number, CHANGE_REQUEST | PADDING | RESPONSE_PORT)
}

/// Bytes of zero padding behind a value of this length (RFC 8489 §14).
#[inline]
pub const fn padding(len: usize) -> usize {
    len.wrapping_neg() & 3
}
