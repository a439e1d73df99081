//! Puts control messages together with the `stun` and `turn` crates. Shared by [`super::Reply`] and [`super::Request`].

use std::net::SocketAddr;

use stun::addr::MappedAddress;
use stun::attributes::AttrType;
use stun::message::{Message, MessageType, Setter};
use stun::xoraddr::XorMappedAddress;

use super::header::{self, MessageClass, Method, TransactionId};
use super::integrity::{self, Integrity};
use super::key::Key;

pub(super) struct Encoder(Message);

impl Encoder {
    pub(super) fn new(method: Method, class: MessageClass, transaction: TransactionId) -> Encoder {
        let mut message = Message::new();
        let mut kind = MessageType::default();
        kind.read_value(header::message_type(method, class));
        message.typ = kind;
        message.transaction_id.0 = transaction.0;
        message.write_header();
        Encoder(message)
    }

    /// Adds an attribute of the `stun` or `turn` crate. One that its own rules refuse is left out; the callers here only make
    /// ones that pass.
    pub(super) fn put(mut self, attribute: &dyn Setter) -> Encoder {
        let added = attribute.add_to(&mut self.0);
        debug_assert!(added.is_ok(), "an attribute was refused: {added:?}");
        self
    }

    pub(super) fn raw(mut self, number: u16, value: &[u8]) -> Encoder {
        self.0.add(AttrType(number), value);
        self
    }

    /// Adds `addr` as the attribute of this number, XORed (RFC 8489 §14.2).
    pub(super) fn xor_address(mut self, number: u16, addr: SocketAddr) -> Encoder {
        let value = XorMappedAddress { ip: addr.ip(), port: addr.port() };
        let added = value.add_to_as(&mut self.0, AttrType(number));
        debug_assert!(added.is_ok());
        self
    }

    /// Adds `addr` as the attribute of this number, in the clear (RFC 8489 §14.1).
    pub(super) fn address(mut self, number: u16, addr: SocketAddr) -> Encoder {
        let value = MappedAddress { ip: addr.ip(), port: addr.port() };
        let added = value.add_to_as(&mut self.0, AttrType(number));
        debug_assert!(added.is_ok());
        self
    }

    /// Bytes so far.
    pub(super) fn len(&self) -> usize {
        self.0.raw.len()
    }

    /// Adds the attribute the key signs with, over what is there so far (RFC 8489 §14.5, §14.6).
    pub(super) fn integrity(self, key: &Key) -> Encoder {
        let number = key.signs().attribute();
        let signed = match key.signs() {
            Integrity::Sha1 => integrity::sha1(&self.0.raw, key).map(Vec::from),
            Integrity::Sha256 => integrity::sha256(&self.0.raw, integrity::SHA256, key).map(Vec::from),
        };
        match signed {
            Some(mac) => self.raw(number, &mac),
            None => self, // longer than a STUN message can be: the receiver refuses it either way
        }
    }

    /// The bytes, signed last if there is a key.
    pub(super) fn finish(self, integrity: Option<&Key>) -> Vec<u8> {
        match integrity {
            Some(key) => self.integrity(key).0.raw,
            None => self.0.raw,
        }
    }

    /// As [`Encoder::finish`], with FINGERPRINT behind everything.
    pub(super) fn finish_with_fingerprint(self, integrity: Option<&Key>) -> Vec<u8> {
        let encoder = match integrity {
            Some(key) => self.integrity(key),
            None => self,
        };
        encoder.put(&stun::fingerprint::FINGERPRINT).0.raw
    }
}
