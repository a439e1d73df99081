//! A checked view over one STUN datagram: strict where the `stun` crate is lax, and free of allocation.

use std::net::SocketAddr;
use std::ops::Range;

use super::attribute::{self as attr, ATTRIBUTE_HEADER, MAX_ATTRIBUTES};
use super::header::{self, MessageClass, Method, TransactionId};
use super::integrity::{self, Key};
use super::malformed::{BadAttribute, Malformed};
use super::{STUN_HEADER, address, fingerprint};

/// One STUN message over the bytes it arrived in.
///
/// The structure is sound (lengths, count, FINGERPRINT); the values of attributes are looked at by the getters. Of
/// attributes that occur twice the first counts (RFC 8489 §14). What follows MESSAGE-INTEGRITY does not exist, but for
/// MESSAGE-INTEGRITY-SHA256 and FINGERPRINT (RFC 8489 §14.5).
pub struct Message<'a> {
    datagram: &'a [u8],
    class: MessageClass,
    method: Method,
    transaction: TransactionId,
    count: usize,
    index: [Slot; MAX_ATTRIBUTES],
}

/// Where a value lies in the datagram. A datagram is never longer than 64 KiB.
#[derive(Clone, Copy, Default)]
struct Slot {
    number: u16,
    len: u16,
    offset: u16,
}

impl<'a> Message<'a> {
    /// Checks the structure of one datagram, FINGERPRINT included.
    ///
    /// # Errors
    /// Anything wrong is [`Malformed`]: answer with silence.
    pub fn parse(datagram: &'a [u8]) -> Result<Message<'a>, Malformed> {
        let head = header::check(datagram)?;
        let (method, class) = header::method_and_class(u16::from_be_bytes([head[0], head[1]]));
        let mut id = [0; 12];
        id.copy_from_slice(&head[8..]);
        let transaction = TransactionId(id);
        let index = [Slot::default(); MAX_ATTRIBUTES];
        let mut message = Message { datagram, class, method, transaction, count: 0, index };
        message.index_attributes()?;
        Ok(message)
    }

    fn index_attributes(&mut self) -> Result<(), Malformed> {
        let mut protected_by = None; // the last integrity attribute seen
        for attribute in attributes(self.datagram) {
            let Attribute { number, value } = attribute?;
            if number == attr::FINGERPRINT {
                fingerprint::check(self.datagram, &value)?;
            }
            let counts = match protected_by {
                None => true,
                Some(attr::MESSAGE_INTEGRITY) => matches!(number, attr::MESSAGE_INTEGRITY_SHA256 | attr::FINGERPRINT),
                Some(_) => number == attr::FINGERPRINT, // RFC 8489 §14.6
            };
            if !counts {
                continue;
            }
            self.push(number, value)?;
            if matches!(number, attr::MESSAGE_INTEGRITY | attr::MESSAGE_INTEGRITY_SHA256) {
                protected_by = Some(number);
            }
        }
        Ok(())
    }

    fn push(&mut self, number: u16, value: Range<usize>) -> Result<(), Malformed> {
        let slot = self.index.get_mut(self.count).ok_or(Malformed::TooMany)?;
        let narrow = |n: usize| u16::try_from(n).map_err(|_| Malformed::Length);
        *slot = Slot { number, len: narrow(value.len())?, offset: narrow(value.start)? };
        self.count += 1;
        Ok(())
    }

    pub fn class(&self) -> MessageClass {
        self.class
    }

    pub fn method(&self) -> Method {
        self.method
    }

    pub fn transaction(&self) -> TransactionId {
        self.transaction
    }

    /// Comprehension-required attributes this server does not understand, for 420 (RFC 8489 §6.3.1).
    pub fn unknown_required(&self) -> UnknownAttributes {
        let mut unknown = UnknownAttributes::default();
        for slot in self.slots() {
            if attr::comprehension_required(slot.number) && !attr::understood(slot.number) {
                unknown.push(slot.number);
            }
        }
        unknown
    }

    /// USERNAME, 1 to 508 bytes (RFC 8489 §14.3).
    pub fn username(&self) -> Result<Option<&'a [u8]>, BadAttribute> {
        self.text(attr::USERNAME, attr::MAX_USERNAME)
    }

    /// REALM, 1 to 763 bytes (RFC 8489 §14.9).
    pub fn realm(&self) -> Result<Option<&'a [u8]>, BadAttribute> {
        self.text(attr::REALM, attr::MAX_TEXT)
    }

    /// NONCE, 1 to 763 bytes (RFC 8489 §14.10).
    pub fn nonce(&self) -> Result<Option<&'a [u8]>, BadAttribute> {
        self.text(attr::NONCE, attr::MAX_TEXT)
    }

    /// Whether MESSAGE-INTEGRITY is there, right or wrong.
    pub fn has_integrity(&self) -> bool {
        self.first(attr::MESSAGE_INTEGRITY).is_some()
    }

    /// Whether MESSAGE-INTEGRITY is there and made with this key (RFC 8489 §14.5). Compares in constant time.
    pub fn integrity_matches(&self, key: &Key) -> bool {
        self.first(attr::MESSAGE_INTEGRITY).is_some_and(|value| integrity::matches(self.datagram, &value, key))
    }

    /// REQUESTED-TRANSPORT: the IP protocol number (RFC 8656 §18.7).
    pub fn requested_transport(&self) -> Result<Option<u8>, BadAttribute> {
        Ok(self.fixed::<4>(attr::REQUESTED_TRANSPORT)?.map(|value| value[0]))
    }

    /// LIFETIME in seconds (RFC 8656 §18.2).
    pub fn lifetime(&self) -> Result<Option<u32>, BadAttribute> {
        Ok(self.fixed(attr::LIFETIME)?.map(u32::from_be_bytes))
    }

    /// EVEN-PORT: whether the next higher port is to be reserved too (RFC 8656 §18.6).
    pub fn even_port(&self) -> Result<Option<bool>, BadAttribute> {
        Ok(self.fixed::<1>(attr::EVEN_PORT)?.map(|[value]| value & 0x80 != 0))
    }

    /// RESERVATION-TOKEN (RFC 8656 §18.10).
    pub fn reservation_token(&self) -> Result<Option<[u8; 8]>, BadAttribute> {
        self.fixed(attr::RESERVATION_TOKEN)
    }

    /// REQUESTED-ADDRESS-FAMILY: 1 is IPv4, 2 is IPv6, others are for the caller to refuse with 440 (RFC 8656 §18.11).
    pub fn requested_address_family(&self) -> Result<Option<u8>, BadAttribute> {
        Ok(self.fixed::<4>(attr::REQUESTED_ADDRESS_FAMILY)?.map(|value| value[0]))
    }

    /// Whether DONT-FRAGMENT is there (RFC 8656 §18.9).
    pub fn dont_fragment(&self) -> Result<bool, BadAttribute> {
        Ok(self.fixed::<0>(attr::DONT_FRAGMENT)?.is_some())
    }

    /// CHANNEL-NUMBER, any of 16 bits; which are valid is for the caller to say (RFC 8656 §18.1).
    pub fn channel_number(&self) -> Result<Option<u16>, BadAttribute> {
        Ok(self.fixed(attr::CHANNEL_NUMBER)?.map(|[n0, n1, _, _]: [u8; 4]| u16::from_be_bytes([n0, n1])))
    }

    /// The first XOR-PEER-ADDRESS (RFC 8656 §18.3).
    pub fn xor_peer_address(&self) -> Result<Option<SocketAddr>, BadAttribute> {
        self.xor_peer_addresses().next().transpose()
    }

    /// Every XOR-PEER-ADDRESS, in order: CreatePermission takes them all (RFC 8656 §10.2).
    pub fn xor_peer_addresses(&self) -> impl Iterator<Item = Result<SocketAddr, BadAttribute>> {
        self.slots().iter().filter(|slot| slot.number == attr::XOR_PEER_ADDRESS).map(|slot| self.address(slot))
    }

    /// XOR-MAPPED-ADDRESS of a response (RFC 8489 §14.2).
    pub fn xor_mapped_address(&self) -> Result<Option<SocketAddr>, BadAttribute> {
        self.first_slot(attr::XOR_MAPPED_ADDRESS).map(|slot| self.address(slot)).transpose()
    }

    /// XOR-RELAYED-ADDRESS of a response (RFC 8656 §18.5).
    pub fn xor_relayed_address(&self) -> Result<Option<SocketAddr>, BadAttribute> {
        self.first_slot(attr::XOR_RELAYED_ADDRESS).map(|slot| self.address(slot)).transpose()
    }

    /// ERROR-CODE of a response, 300 to 699 (RFC 8489 §14.8). The reason phrase is not looked at.
    pub fn error_code(&self) -> Result<Option<u16>, BadAttribute> {
        let Some(value) = self.first(attr::ERROR_CODE) else { return Ok(None) };
        match self.datagram[value] {
            [_, _, class, number, ..] if (3..=6).contains(&(class & 7)) && number < 100 => {
                Ok(Some(u16::from(class & 7) * 100 + u16::from(number)))
            }
            _ => Err(BadAttribute(attr::ERROR_CODE)),
        }
    }

    /// Where DATA lies in the datagram (RFC 8656 §18.4).
    pub fn data_range(&self) -> Option<Range<usize>> {
        self.first(attr::DATA)
    }

    /// The raw value of the first attribute of that number.
    pub fn value(&self, number: u16) -> Option<&'a [u8]> {
        self.first(number).map(|range| &self.datagram[range])
    }

    fn text(&self, number: u16, max: usize) -> Result<Option<&'a [u8]>, BadAttribute> {
        match self.value(number) {
            Some(value) if value.is_empty() || value.len() > max => Err(BadAttribute(number)),
            value => Ok(value),
        }
    }

    fn fixed<const N: usize>(&self, number: u16) -> Result<Option<[u8; N]>, BadAttribute> {
        self.value(number).map(|value| value.try_into().map_err(|_| BadAttribute(number))).transpose()
    }

    fn address(&self, slot: &Slot) -> Result<SocketAddr, BadAttribute> {
        address::decode_xor(&self.datagram[slot.range()], &self.transaction).ok_or(BadAttribute(slot.number))
    }

    fn first(&self, number: u16) -> Option<Range<usize>> {
        self.first_slot(number).map(Slot::range)
    }

    fn first_slot(&self, number: u16) -> Option<&Slot> {
        self.slots().iter().find(|slot| slot.number == number)
    }

    fn slots(&self) -> &[Slot] {
        &self.index[..self.count]
    }
}

impl Slot {
    fn range(&self) -> Range<usize> {
        usize::from(self.offset)..usize::from(self.offset) + usize::from(self.len)
    }
}

/// One attribute of a datagram whose header was checked.
pub(super) struct Attribute {
    pub(super) number: u16,
    pub(super) value: Range<usize>,
}

/// Walks the attributes behind the header; stops after the first that reaches beyond the end.
pub(super) fn attributes(datagram: &[u8]) -> impl Iterator<Item = Result<Attribute, Malformed>> {
    let mut offset = STUN_HEADER;
    std::iter::from_fn(move || {
        if offset >= datagram.len() {
            return None;
        }
        let Some(&[t0, t1, l0, l1]) = datagram.get(offset..).and_then(|rest| rest.first_chunk::<ATTRIBUTE_HEADER>())
        else {
            offset = datagram.len();
            return Some(Err(Malformed::Attribute));
        };
        let len = usize::from(u16::from_be_bytes([l0, l1]));
        let start = offset + ATTRIBUTE_HEADER;
        offset = start + len + attr::padding(len);
        if offset > datagram.len() {
            return Some(Err(Malformed::Attribute));
        }
        Some(Ok(Attribute { number: u16::from_be_bytes([t0, t1]), value: start..start + len }))
    })
}

/// The list of a 420, without repetition and bounded, so that the answer stays small.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct UnknownAttributes {
    count: usize,
    numbers: [u16; UnknownAttributes::MAX],
}

impl UnknownAttributes {
    /// Further ones are not listed; the client may try again.
    pub const MAX: usize = 16;

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub fn numbers(&self) -> &[u16] {
        &self.numbers[..self.count]
    }

    fn push(&mut self, number: u16) {
        if self.count < Self::MAX && !self.numbers().contains(&number) {
            self.numbers[self.count] = number;
            self.count += 1;
        }
    }
}

impl std::fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Message({:?} {:?}, {} attributes)", self.method, self.class, self.count)
    }
}
