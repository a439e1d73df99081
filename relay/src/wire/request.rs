//! What a client sends. For tests, fuzz seeds and the load generator: the daemon itself sends no request.

use std::net::SocketAddr;

use turn::proto::Protocol;
use turn::proto::channum::ChannelNumber;
use turn::proto::data::Data;
use turn::proto::dontfrag::DontFragmentAttr;
use turn::proto::lifetime::Lifetime;
use turn::proto::peeraddr::PeerAddress;
use turn::proto::reqfamily::RequestedAddressFamily;
use turn::proto::reqtrans::RequestedTransport;
use turn::proto::rsrvtoken::ReservationToken;

use super::attribute as attr;
use super::encoder::Encoder;
use super::header::{MessageClass, Method, TransactionId};
use super::key::{Key, userhash};
use super::password_algorithm::{self, PasswordAlgorithm};

/// A request or indication being put together; attributes in the order they are added.
#[must_use]
pub struct Request(Encoder);

impl Request {
    pub fn new(method: Method, transaction: TransactionId) -> Request {
        Request(Encoder::new(method, MessageClass::Request, transaction))
    }

    pub fn indication(method: Method, transaction: TransactionId) -> Request {
        Request(Encoder::new(method, MessageClass::Indication, transaction))
    }

    /// Any class, for messages a server must not answer.
    pub fn of_class(class: MessageClass, method: Method, transaction: TransactionId) -> Request {
        Request(Encoder::new(method, class, transaction))
    }

    /// USERNAME, REALM and NONCE of the long-term mechanism (RFC 8489 §9.2.3).
    pub fn credentials(self, username: &str, realm: &str, nonce: &str) -> Request {
        self.raw(attr::USERNAME, username.as_bytes())
            .raw(attr::REALM, realm.as_bytes())
            .raw(attr::NONCE, nonce.as_bytes())
    }

    /// As [`Request::credentials`], the name hidden in USERHASH (RFC 8489 §14.4).
    pub fn hidden_credentials(self, username: &str, realm: &str, nonce: &str) -> Request {
        self.raw(attr::USERHASH, &userhash(username.as_bytes(), realm.as_bytes()))
            .raw(attr::REALM, realm.as_bytes())
            .raw(attr::NONCE, nonce.as_bytes())
    }

    /// PASSWORD-ALGORITHMS as the server listed them, and PASSWORD-ALGORITHM, the one of them that was used.
    pub fn password_algorithm(self, offered: &[PasswordAlgorithm], used: PasswordAlgorithm) -> Request {
        self.raw(attr::PASSWORD_ALGORITHMS, &password_algorithm::list(offered))
            .raw(attr::PASSWORD_ALGORITHM, &used.entry())
    }

    /// REQUESTED-TRANSPORT: 17 is UDP, 6 is TCP (RFC 8656 §18.8).
    pub fn requested_transport(self, protocol: u8) -> Request {
        Request(self.0.put(&RequestedTransport { protocol: Protocol(protocol) }))
    }

    /// LIFETIME in seconds.
    pub fn lifetime(self, secs: u32) -> Request {
        Request(self.0.put(&Lifetime(std::time::Duration::from_secs(secs.into()))))
    }

    /// EVEN-PORT. The `turn` crate's type cannot be made with its flag set.
    pub fn even_port(self, reserve_next: bool) -> Request {
        self.raw(attr::EVEN_PORT, &[u8::from(reserve_next) << 7])
    }

    pub fn reservation_token(self, token: [u8; 8]) -> Request {
        Request(self.0.put(&ReservationToken(token.to_vec())))
    }

    /// REQUESTED-ADDRESS-FAMILY: 1 is IPv4, 2 is IPv6.
    pub fn requested_address_family(self, family: u8) -> Request {
        Request(self.0.put(&RequestedAddressFamily(family)))
    }

    /// ADDITIONAL-ADDRESS-FAMILY: 2, to get an IPv6 address beside an IPv4 one.
    pub fn additional_address_family(self, family: u8) -> Request {
        self.raw(attr::ADDITIONAL_ADDRESS_FAMILY, &[family, 0, 0, 0])
    }

    pub fn dont_fragment(self) -> Request {
        Request(self.0.put(&DontFragmentAttr))
    }

    pub fn channel_number(self, number: u16) -> Request {
        Request(self.0.put(&ChannelNumber(number)))
    }

    pub fn xor_peer_address(self, peer: SocketAddr) -> Request {
        Request(self.0.put(&PeerAddress { ip: peer.ip(), port: peer.port() }))
    }

    /// CONNECTION-ID (RFC 6062 §6.2.1).
    pub fn connection_id(self, id: u32) -> Request {
        self.raw(attr::CONNECTION_ID, &id.to_be_bytes())
    }

    pub fn data(self, payload: &[u8]) -> Request {
        Request(self.0.put(&Data(payload.to_vec())))
    }

    /// Any attribute, right or wrong.
    pub fn raw(self, number: u16, value: &[u8]) -> Request {
        Request(self.0.raw(number, value))
    }

    /// The attribute the key signs with here, so that others may follow it.
    pub fn integrity(self, key: &Key) -> Request {
        Request(self.0.integrity(key))
    }

    /// The bytes to send, signed last if there is a key.
    pub fn finish(self, integrity: Option<&Key>) -> Vec<u8> {
        self.0.finish(integrity)
    }

    /// As [`Request::finish`], with FINGERPRINT behind everything.
    pub fn finish_with_fingerprint(self, integrity: Option<&Key>) -> Vec<u8> {
        self.0.finish_with_fingerprint(integrity)
    }
}
