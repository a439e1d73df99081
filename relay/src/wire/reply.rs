//! What this server answers: success and error responses, as small as the RFCs allow.

use std::net::SocketAddr;
use std::time::Duration;

use stun::attributes::AttrType;
use stun::error_code::ErrorCodeAttribute;
use turn::proto::lifetime::Lifetime;
use turn::proto::rsrvtoken::ReservationToken;

use super::attribute as attr;
use super::encoder::Encoder;
use super::error_code::ErrorCode;
use super::header::{MessageClass, Method, TransactionId};
use super::key::Key;
use super::message::Message;
use super::password_algorithm::{self, PasswordAlgorithm};
use super::unknown::UnknownAttributes;

/// A response being put together. No SOFTWARE, no reason phrase, zero padding; attributes in the order they are added.
#[must_use]
pub struct Reply(Encoder);

impl Reply {
    /// A success response to this request (RFC 8489 §6.3.1.1).
    pub fn success(request: &Message<'_>) -> Reply {
        Reply::success_to(request.method(), request.transaction())
    }

    /// An error response to this request (RFC 8489 §6.3.1.2).
    pub fn error(request: &Message<'_>, code: ErrorCode) -> Reply {
        Reply::error_to(request.method(), request.transaction(), code)
    }

    /// A success response to a request that is no longer at hand.
    pub fn success_to(method: Method, transaction: TransactionId) -> Reply {
        Reply(Encoder::new(method, MessageClass::Success, transaction))
    }

    /// An error response to a request that is no longer at hand.
    pub fn error_to(method: Method, transaction: TransactionId, code: ErrorCode) -> Reply {
        let attribute = ErrorCodeAttribute { code: stun::error_code::ErrorCode(code.code()), reason: Vec::new() };
        Reply(Encoder::new(method, MessageClass::Error, transaction).put(&attribute))
    }

    /// XOR-MAPPED-ADDRESS: where the request came from (RFC 8489 §14.2).
    pub fn xor_mapped_address(self, addr: SocketAddr) -> Reply {
        Reply(self.0.xor_address(attr::XOR_MAPPED_ADDRESS, addr))
    }

    /// XOR-RELAYED-ADDRESS: what was allocated (RFC 8656 §18.5).
    pub fn xor_relayed_address(self, addr: SocketAddr) -> Reply {
        Reply(self.0.put(&turn::proto::relayaddr::RelayedAddress { ip: addr.ip(), port: addr.port() }))
    }

    /// ADDRESS-ERROR-CODE: why this family (1 is IPv4, 2 is IPv6) was not allocated (RFC 8656 §18.12).
    pub fn address_error_code(self, family: u8, code: ErrorCode) -> Reply {
        let (class, number) = (code.code() / 100, code.code() % 100);
        Reply(self.0.raw(attr::ADDRESS_ERROR_CODE, &[family, 0, class as u8, number as u8]))
    }

    /// LIFETIME in seconds (RFC 8656 §18.2).
    pub fn lifetime(self, secs: u32) -> Reply {
        Reply(self.0.put(&Lifetime(Duration::from_secs(secs.into()))))
    }

    /// RESERVATION-TOKEN (RFC 8656 §18.10).
    pub fn reservation_token(self, token: [u8; 8]) -> Reply {
        Reply(self.0.put(&ReservationToken(token.to_vec())))
    }

    /// CONNECTION-ID of a peer connection (RFC 6062 §6.2.1).
    pub fn connection_id(self, id: u32) -> Reply {
        Reply(self.0.raw(attr::CONNECTION_ID, &id.to_be_bytes()))
    }

    /// REALM, at most 763 bytes; the rest is cut off (RFC 8489 §14.9).
    pub fn realm(self, realm: &str) -> Reply {
        Reply(self.0.raw(attr::REALM, text(realm)))
    }

    /// NONCE, at most 763 bytes; the rest is cut off (RFC 8489 §14.10).
    pub fn nonce(self, nonce: &str) -> Reply {
        Reply(self.0.raw(attr::NONCE, text(nonce)))
    }

    /// PASSWORD-ALGORITHMS, the preferred one first (RFC 8489 §14.11).
    pub fn password_algorithms(self, algorithms: &[PasswordAlgorithm]) -> Reply {
        Reply(self.0.raw(attr::PASSWORD_ALGORITHMS, &password_algorithm::list(algorithms)))
    }

    /// UNKNOWN-ATTRIBUTES of a 420 (RFC 8489 §14.13).
    pub fn unknown_attributes(self, unknown: &UnknownAttributes) -> Reply {
        let list = unknown.numbers().iter().copied().map(AttrType).collect();
        Reply(self.0.put(&stun::uattrs::UnknownAttributes(list)))
    }

    /// MAPPED-ADDRESS: where the request came from, in the clear (RFC 8489 §14.1).
    pub fn mapped_address(self, addr: SocketAddr) -> Reply {
        Reply(self.0.address(attr::MAPPED_ADDRESS, addr))
    }

    /// RESPONSE-ORIGIN: where this answer comes from (RFC 5780 §7.3).
    pub fn response_origin(self, addr: SocketAddr) -> Reply {
        Reply(self.0.address(attr::RESPONSE_ORIGIN, addr))
    }

    /// OTHER-ADDRESS: where it would come from with both changed (RFC 5780 §7.4).
    pub fn other_address(self, addr: SocketAddr) -> Reply {
        Reply(self.0.address(attr::OTHER_ADDRESS, addr))
    }

    /// PADDING, so that the whole answer has `length` bytes, or none if there is no room for it (RFC 5780 §7.6).
    pub fn padded_to(self, length: usize) -> Reply {
        match length.checked_sub(self.0.len() + attr::ATTRIBUTE_HEADER) {
            Some(room) if room >= 4 => Reply(self.0.raw(attr::PADDING, &vec![0; room & !3])),
            _ => self,
        }
    }

    /// ALTERNATE-SERVER, written like MAPPED-ADDRESS (RFC 8489 §14.15).
    pub fn alternate_server(self, addr: SocketAddr) -> Reply {
        Reply(self.0.address(attr::ALTERNATE_SERVER, addr))
    }

    /// ALTERNATE-DOMAIN: the name that server proves, at most 255 bytes (RFC 8489 §14.16).
    pub fn alternate_domain(self, name: &str) -> Reply {
        let name = name.as_bytes();
        Reply(self.0.raw(attr::ALTERNATE_DOMAIN, name.get(..255).unwrap_or(name)))
    }

    /// The bytes to send. With a key, the attribute it signs with comes last (RFC 8489 §9.2.4: on every response to a
    /// request that was protected and right).
    pub fn finish(self, integrity: Option<&Key>) -> Vec<u8> {
        self.0.finish(integrity)
    }
}

fn text(value: &str) -> &[u8] {
    value.as_bytes().get(..attr::MAX_TEXT).unwrap_or(value.as_bytes())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::{Method, Request, TransactionId};
    use super::*;

    const ID: TransactionId = TransactionId([9; 12]);

    fn request(method: Method) -> Vec<u8> {
        Request::new(method, ID).finish(None)
    }

    #[test]
    fn a_binding_success_over_ipv4_takes_32_bytes() {
        let bytes = request(Method::Binding);
        let request = Message::parse(&bytes).unwrap();
        let client = "203.0.113.7:40000".parse().unwrap();
        let reply = Reply::success(&request).xor_mapped_address(client).finish(None);
        assert_eq!(reply.len(), 32);
        let reply = Message::parse(&reply).unwrap();
        assert_eq!((reply.class(), reply.method(), reply.transaction()), (MessageClass::Success, Method::Binding, ID));
        assert_eq!(reply.xor_mapped_address(), Ok(Some(client)));
    }

    #[test]
    fn an_allocate_success_reads_back_and_is_signed() {
        let bytes = request(Method::Allocate);
        let request = Message::parse(&bytes).unwrap();
        let (relayed, mapped) = ("[2001:db8::7]:50000".parse().unwrap(), "192.0.2.9:1024".parse().unwrap());
        let key = Key::long_term(b"a", b"b", b"c");
        let reply = Reply::success(&request)
            .xor_relayed_address(relayed)
            .xor_mapped_address(mapped)
            .lifetime(600)
            .reservation_token(*b"12345678")
            .finish(Some(&key));
        let reply = Message::parse(&reply).unwrap();
        assert_eq!(reply.xor_relayed_address(), Ok(Some(relayed)));
        assert_eq!(reply.xor_mapped_address(), Ok(Some(mapped)));
        assert_eq!(reply.lifetime(), Ok(Some(600)));
        assert_eq!(reply.reservation_token(), Ok(Some(*b"12345678")));
        assert!(reply.integrity_matches(&key));
    }

    #[test]
    fn a_dual_allocation_reads_back_with_both_addresses_or_with_the_reason_for_one() {
        let bytes = request(Method::Allocate);
        let request = Message::parse(&bytes).unwrap();
        let (v4, v6) = ("192.0.2.9:50000".parse().unwrap(), "[2001:db8::7]:50000".parse().unwrap());
        let both = Reply::success(&request).xor_relayed_address(v4).xor_relayed_address(v6).finish(None);
        let both = Message::parse(&both).unwrap();
        assert_eq!(both.xor_relayed_addresses().collect::<Vec<_>>(), [Ok(v4), Ok(v6)]);
        assert_eq!(both.address_error_code(), Ok(None));
        let one = Reply::success(&request).address_error_code(2, ErrorCode::InsufficientCapacity).finish(None);
        assert_eq!(one[20..], [0x80, 0x01, 0, 4, 2, 0, 5, 8]);
        assert_eq!(Message::parse(&one).unwrap().address_error_code(), Ok(Some((2, 508))));
    }

    #[test]
    fn every_error_code_reads_back_and_carries_no_reason() {
        let bytes = request(Method::Refresh);
        let request = Message::parse(&bytes).unwrap();
        for code in ErrorCode::ALL {
            let reply = Reply::error(&request, code).finish(None);
            assert_eq!(reply.len(), 28);
            let reply = Message::parse(&reply).unwrap();
            assert_eq!(reply.class(), MessageClass::Error);
            assert_eq!(reply.error_code(), Ok(Some(code.code())));
        }
    }

    #[test]
    fn a_420_lists_what_was_not_understood() {
        let bytes =
            Request::new(Method::Allocate, ID).raw(0x7FF1, &[]).raw(0x0003, &[0; 4]).raw(0x7FF2, &[]).finish(None);
        let request = Message::parse(&bytes).unwrap();
        let reply = Reply::error(&request, ErrorCode::UnknownAttribute)
            .unknown_attributes(&request.unknown_required())
            .finish(None);
        let reply = Message::parse(&reply).unwrap();
        assert_eq!(reply.value(attr::UNKNOWN_ATTRIBUTES), Some(&[0x7F, 0xF1, 0x00, 0x03, 0x7F, 0xF2][..]));
    }

    #[test]
    fn padding_is_zero() {
        let bytes = request(Method::Allocate);
        let request = Message::parse(&bytes).unwrap();
        for length in 1..=9 {
            let reply = Reply::success(&request).realm(&"r".repeat(length)).finish(None);
            assert_eq!(reply.len() % 4, 0);
            assert!(reply[24 + length..].iter().all(|&byte| byte == 0), "realm of {length} bytes");
        }
    }
}
