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
use super::header::MessageClass;
use super::integrity::Key;
use super::message::{Message, UnknownAttributes};

/// A response being put together. No SOFTWARE, no reason phrase, zero padding; attributes in the order they are added.
#[must_use]
pub struct Reply(Encoder);

impl Reply {
    /// A success response to this request (RFC 8489 §6.3.1.1).
    pub fn success(request: &Message<'_>) -> Reply {
        Reply(Encoder::new(request.method(), MessageClass::Success, request.transaction()))
    }

    /// An error response to this request (RFC 8489 §6.3.1.2).
    pub fn error(request: &Message<'_>, code: ErrorCode) -> Reply {
        let attribute = ErrorCodeAttribute { code: stun::error_code::ErrorCode(code.code()), reason: Vec::new() };
        Reply(Encoder::new(request.method(), MessageClass::Error, request.transaction()).put(&attribute))
    }

    /// XOR-MAPPED-ADDRESS: where the request came from (RFC 8489 §14.2).
    pub fn xor_mapped_address(self, addr: SocketAddr) -> Reply {
        Reply(self.0.xor_address(attr::XOR_MAPPED_ADDRESS, addr))
    }

    /// XOR-RELAYED-ADDRESS: what was allocated (RFC 8656 §18.5).
    pub fn xor_relayed_address(self, addr: SocketAddr) -> Reply {
        Reply(self.0.put(&turn::proto::relayaddr::RelayedAddress { ip: addr.ip(), port: addr.port() }))
    }

    /// LIFETIME in seconds (RFC 8656 §18.2).
    pub fn lifetime(self, secs: u32) -> Reply {
        Reply(self.0.put(&Lifetime(Duration::from_secs(secs.into()))))
    }

    /// RESERVATION-TOKEN (RFC 8656 §18.10).
    pub fn reservation_token(self, token: [u8; 8]) -> Reply {
        Reply(self.0.put(&ReservationToken(token.to_vec())))
    }

    /// REALM, at most 763 bytes; the rest is cut off (RFC 8489 §14.9).
    pub fn realm(self, realm: &str) -> Reply {
        Reply(self.0.raw(attr::REALM, text(realm)))
    }

    /// NONCE, at most 763 bytes; the rest is cut off (RFC 8489 §14.10).
    pub fn nonce(self, nonce: &str) -> Reply {
        Reply(self.0.raw(attr::NONCE, text(nonce)))
    }

    /// UNKNOWN-ATTRIBUTES of a 420 (RFC 8489 §14.13).
    pub fn unknown_attributes(self, unknown: &UnknownAttributes) -> Reply {
        let list = unknown.numbers().iter().copied().map(AttrType).collect();
        Reply(self.0.put(&stun::uattrs::UnknownAttributes(list)))
    }

    /// The bytes to send. With a key, MESSAGE-INTEGRITY comes last (RFC 8489 §9.2.4: on every response to a request that
    /// had it and was right).
    pub fn finish(self, integrity: Option<&Key>) -> Vec<u8> {
        self.0.finish(integrity)
    }
}

fn text(value: &str) -> &[u8] {
    value.as_bytes().get(..attr::MAX_TEXT).unwrap_or(value.as_bytes())
}
