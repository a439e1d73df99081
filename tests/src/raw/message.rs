//! STUN messages of any shape, by the `stun` crate.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use std::net::SocketAddr;
use stun::attributes::AttrType;
use stun::error_code::ErrorCodeAttribute;
use stun::fingerprint::FINGERPRINT;
use stun::integrity::MessageIntegrity;
use stun::message::{
    CLASS_ERROR_RESPONSE, CLASS_INDICATION, CLASS_REQUEST, CLASS_SUCCESS_RESPONSE, Getter, Message, MessageClass,
    MessageType, Setter,
};
use stun::xoraddr::XorMappedAddress;

/// Attribute numbers (RFC 8489 §18.3, RFC 8656 §18, RFC 6062 §6.2).
pub mod attr {
    pub const USERNAME: u16 = 0x0006;
    pub const MESSAGE_INTEGRITY: u16 = 0x0008;
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
    pub const XOR_MAPPED_ADDRESS: u16 = 0x0020;
    pub const RESERVATION_TOKEN: u16 = 0x0022;
    pub const CONNECTION_ID: u16 = 0x002A;
    pub const PASSWORD_ALGORITHMS: u16 = 0x8002;
    pub const ICMP: u16 = 0x8004;
    pub const SOFTWARE: u16 = 0x8022;
    pub const FINGERPRINT: u16 = 0x8028;
}

/// Method numbers (RFC 8489 §18.2, RFC 8656 §17, RFC 6062 §6.1).
pub mod method {
    pub const BINDING: u16 = 0x001;
    pub const ALLOCATE: u16 = 0x003;
    pub const REFRESH: u16 = 0x004;
    pub const SEND: u16 = 0x006;
    pub const DATA: u16 = 0x007;
    pub const CREATE_PERMISSION: u16 = 0x008;
    pub const CHANNEL_BIND: u16 = 0x009;
    pub const CONNECT: u16 = 0x00A;
    pub const CONNECTION_BIND: u16 = 0x00B;
}

/// Who says so.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    pub user: String,
    pub password: String,
}

/// What the server wants to see again.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Challenge {
    pub realm: String,
    pub nonce: String,
}

/// A message to be sent.
#[derive(Clone)]
pub struct Ask(Message);

impl Login {
    pub fn new(user: &str, password: &str) -> Login {
        Login { user: user.to_owned(), password: password.to_owned() }
    }

    fn key(&self, realm: &str) -> MessageIntegrity {
        MessageIntegrity::new_long_term_integrity(self.user.clone(), realm.to_owned(), self.password.clone())
    }

    /// The key of PASSWORD-ALGORITHM SHA-256 (RFC 8489 §18.5.1.2).
    pub fn sha256_key(&self, realm: &str) -> Vec<u8> {
        Sha256::digest([&self.user, realm, &self.password].join(":")).to_vec()
    }

    /// The key of PASSWORD-ALGORITHM MD5.
    pub fn md5_key(&self, realm: &str) -> Vec<u8> {
        self.key(realm).0
    }
}

impl Ask {
    pub fn request(method: u16) -> Ask {
        Ask::new(method, CLASS_REQUEST)
    }

    pub fn indication(method: u16) -> Ask {
        Ask::new(method, CLASS_INDICATION)
    }

    pub fn success(method: u16) -> Ask {
        Ask::new(method, CLASS_SUCCESS_RESPONSE)
    }

    pub fn error(method: u16) -> Ask {
        Ask::new(method, CLASS_ERROR_RESPONSE)
    }

    fn new(method: u16, class: MessageClass) -> Ask {
        let mut kind = MessageType::default();
        // The method's bits around those of the class (RFC 8489 §5, figure 3).
        kind.read_value((method & 0x000F) | ((method & 0x0070) << 1) | ((method & 0x0F80) << 2));
        let mut message = Message::new();
        message.set_type(MessageType { class, ..kind });
        message.new_transaction_id().unwrap();
        message.write_header();
        Ask(message)
    }

    /// The same with a transaction id of one's choice; before any attribute that depends on it.
    pub fn numbered(mut self, id: [u8; 12]) -> Ask {
        self.0.transaction_id.0 = id;
        self.0.write_transaction_id();
        self
    }

    /// Appends an attribute, zero-padded.
    pub fn with(mut self, number: u16, value: &[u8]) -> Ask {
        self.0.add(AttrType(number), value);
        self
    }

    pub fn peer(mut self, peer: SocketAddr) -> Ask {
        let address = XorMappedAddress { ip: peer.ip(), port: peer.port() };
        address.add_to_as(&mut self.0, AttrType(attr::XOR_PEER_ADDRESS)).unwrap();
        self
    }

    pub fn data(self, payload: &[u8]) -> Ask {
        self.with(attr::DATA, payload)
    }

    pub fn lifetime(self, secs: u32) -> Ask {
        self.with(attr::LIFETIME, &secs.to_be_bytes())
    }

    /// REQUESTED-TRANSPORT: an IP protocol number.
    pub fn transport(self, protocol: u8) -> Ask {
        self.with(attr::REQUESTED_TRANSPORT, &[protocol, 0, 0, 0])
    }

    /// REQUESTED-ADDRESS-FAMILY: 1 or 2, if it is meant honestly.
    pub fn family(self, family: u8) -> Ask {
        self.with(attr::REQUESTED_ADDRESS_FAMILY, &[family, 0, 0, 0])
    }

    pub fn channel(self, number: u16) -> Ask {
        let [n0, n1] = number.to_be_bytes();
        self.with(attr::CHANNEL_NUMBER, &[n0, n1, 0, 0])
    }

    /// USERNAME, REALM and NONCE, without proof.
    pub fn named(self, login: &Login, challenge: &Challenge) -> Ask {
        self.with(attr::USERNAME, login.user.as_bytes())
            .with(attr::REALM, challenge.realm.as_bytes())
            .with(attr::NONCE, challenge.nonce.as_bytes())
    }

    /// USERNAME, REALM, NONCE and MESSAGE-INTEGRITY.
    pub fn signed(self, login: &Login, challenge: &Challenge) -> Ask {
        self.named(login, challenge).sealed(login, &challenge.realm)
    }

    /// MESSAGE-INTEGRITY over what is there.
    pub fn sealed(mut self, login: &Login, realm: &str) -> Ask {
        login.key(realm).add_to(&mut self.0).unwrap();
        self
    }

    /// MESSAGE-INTEGRITY-SHA256 over what is there (RFC 8489 §14.6), cut to `length` bytes.
    pub fn sealed_sha256(self, key: &[u8], length: usize) -> Ask {
        let mut covered = self.0.raw.clone();
        let said = u16::try_from(covered.len() - 20 + 4 + length).unwrap();
        covered[2..4].copy_from_slice(&said.to_be_bytes());
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).unwrap();
        mac.update(&covered);
        let value = mac.finalize().into_bytes();
        self.with(attr::MESSAGE_INTEGRITY_SHA256, &value[..length])
    }

    pub fn fingerprinted(mut self) -> Ask {
        FINGERPRINT.add_to(&mut self.0).unwrap();
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.0.raw.clone()
    }
}

/// What the server said.
#[derive(Clone)]
pub struct Answer(Message);

impl Answer {
    /// `None` if it is not STUN.
    pub fn read(bytes: &[u8]) -> Option<Answer> {
        let mut message = Message::new();
        message.unmarshal_binary(bytes).ok()?;
        Some(Answer(message))
    }

    pub fn id(&self) -> [u8; 12] {
        self.0.transaction_id.0
    }

    pub fn method(&self) -> u16 {
        let word = self.0.typ.value();
        (word & 0x000F) | ((word >> 1) & 0x0070) | ((word >> 2) & 0x0F80)
    }

    pub fn is_success(&self) -> bool {
        self.0.typ.class == CLASS_SUCCESS_RESPONSE
    }

    pub fn is_indication(&self) -> bool {
        self.0.typ.class == CLASS_INDICATION
    }

    /// The error code; 0 for a success.
    pub fn code(&self) -> u16 {
        if self.is_success() {
            return 0;
        }
        let mut code = ErrorCodeAttribute::default();
        code.get_from(&self.0).unwrap_or_else(|error| panic!("an error response without ERROR-CODE: {error}"));
        code.code.0
    }

    pub fn value(&self, number: u16) -> Option<Vec<u8>> {
        self.0.get(AttrType(number)).ok()
    }

    /// The numbers of its attributes, in order.
    pub fn attributes(&self) -> Vec<u16> {
        self.0.attributes.0.iter().map(|attribute| attribute.typ.0).collect()
    }

    pub fn text(&self, number: u16) -> String {
        String::from_utf8(self.value(number).unwrap_or_default()).unwrap()
    }

    pub fn address(&self, number: u16) -> Option<SocketAddr> {
        let mut address = XorMappedAddress::default();
        address.get_from_as(&self.0, AttrType(number)).ok()?;
        Some(SocketAddr::new(address.ip, address.port))
    }

    pub fn lifetime(&self) -> Option<u32> {
        Some(u32::from_be_bytes(self.value(attr::LIFETIME)?.try_into().ok()?))
    }

    /// REALM and NONCE of a 401 or 438.
    pub fn challenge(&self) -> Challenge {
        Challenge { realm: self.text(attr::REALM), nonce: self.text(attr::NONCE) }
    }

    /// Whether it carries a MESSAGE-INTEGRITY made with this password.
    pub fn is_signed_by(&self, login: &Login, realm: &str) -> bool {
        login.key(realm).check(&mut self.0.clone()).is_ok()
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0.raw
    }
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let code = if self.is_indication() { 0 } else { self.code() };
        write!(f, "Answer(method {:#x}, code {code}, attributes {:x?})", self.method(), self.attributes())
    }
}
