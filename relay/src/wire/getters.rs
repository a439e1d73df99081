//! What the attributes of a [`Message`] say. A value that cannot be is a [`BadAttribute`]: 400, once the sender is known.

use std::net::SocketAddr;
use std::ops::Range;

use super::address;
use super::attribute as attr;
use super::integrity::{self, Integrity};
use super::key::{Key, USERHASH};
use super::malformed::BadAttribute;
use super::message::{Message, Slot};
use super::unknown::UnknownAttributes;

impl<'a> Message<'a> {
    /// Comprehension-required attributes this server does not understand, for 420 (RFC 8489 §6.3.1).
    pub fn unknown_required(&self) -> UnknownAttributes {
        self.unknown_besides(|_| false)
    }

    /// As [`Message::unknown_required`], where others are understood too.
    pub fn unknown_besides(&self, understood: impl Fn(u16) -> bool) -> UnknownAttributes {
        let mut unknown = UnknownAttributes::default();
        for slot in self.slots() {
            let number = slot.number;
            if attr::comprehension_required(number) && !attr::understood(number) && !understood(number) {
                unknown.push(number);
            }
        }
        unknown
    }

    /// CHANGE-REQUEST: answer from the other IP address, from the other port (RFC 5780 §7.2).
    pub fn change_request(&self) -> Result<(bool, bool), BadAttribute> {
        let flags = self.fixed(attr::CHANGE_REQUEST)?.map_or(0, u32::from_be_bytes);
        Ok((flags & 4 != 0, flags & 2 != 0))
    }

    /// RESPONSE-PORT: where at the source to send the answer (RFC 5780 §7.5). Port 0 is nowhere.
    pub fn response_port(&self) -> Result<Option<u16>, BadAttribute> {
        let Some([p0, p1, _, _]) = self.fixed::<4>(attr::RESPONSE_PORT)? else { return Ok(None) };
        match u16::from_be_bytes([p0, p1]) {
            0 => Err(BadAttribute(attr::RESPONSE_PORT)),
            port => Ok(Some(port)),
        }
    }

    /// USERNAME, 1 to 763 bytes (RFC 8489 §14.3: what was possible before must still be parsed).
    pub fn username(&self) -> Result<Option<&'a [u8]>, BadAttribute> {
        self.text(attr::USERNAME, attr::MAX_TEXT)
    }

    /// REALM, 1 to 763 bytes (RFC 8489 §14.9).
    pub fn realm(&self) -> Result<Option<&'a [u8]>, BadAttribute> {
        self.text(attr::REALM, attr::MAX_TEXT)
    }

    /// NONCE, 1 to 763 bytes (RFC 8489 §14.10).
    pub fn nonce(&self) -> Result<Option<&'a [u8]>, BadAttribute> {
        self.text(attr::NONCE, attr::MAX_TEXT)
    }

    /// USERHASH: 32 bytes in the place of the name (RFC 8489 §14.4).
    pub fn userhash(&self) -> Result<Option<[u8; USERHASH]>, BadAttribute> {
        self.fixed(attr::USERHASH)
    }

    /// The attribute that protects the message, right or wrong: where both are, MESSAGE-INTEGRITY-SHA256 is the one that
    /// counts (RFC 8489 §9.2.4).
    pub fn integrity(&self) -> Option<Integrity> {
        [Integrity::Sha256, Integrity::Sha1].into_iter().find(|which| self.first(which.attribute()).is_some())
    }

    /// Whether the message is protected, rightly or wrongly.
    pub fn has_integrity(&self) -> bool {
        self.integrity().is_some()
    }

    /// Whether the message is protected, and by this key. Compares in constant time.
    pub fn integrity_matches(&self, key: &Key) -> bool {
        let Some(which) = self.integrity() else { return false };
        self.first(which.attribute()).is_some_and(|value| integrity::matches(which, self.datagram(), &value, key))
    }

    /// REQUESTED-TRANSPORT: the IP protocol number (RFC 8656 §18.8).
    pub fn requested_transport(&self) -> Result<Option<u8>, BadAttribute> {
        Ok(self.fixed::<4>(attr::REQUESTED_TRANSPORT)?.map(|value| value[0]))
    }

    /// LIFETIME in seconds (RFC 8656 §18.2).
    pub fn lifetime(&self) -> Result<Option<u32>, BadAttribute> {
        Ok(self.fixed(attr::LIFETIME)?.map(u32::from_be_bytes))
    }

    /// EVEN-PORT: whether the next higher port is to be reserved too (RFC 8656 §18.7).
    pub fn even_port(&self) -> Result<Option<bool>, BadAttribute> {
        Ok(self.fixed::<1>(attr::EVEN_PORT)?.map(|[value]| value & 0x80 != 0))
    }

    /// RESERVATION-TOKEN (RFC 8656 §18.10).
    pub fn reservation_token(&self) -> Result<Option<[u8; 8]>, BadAttribute> {
        self.fixed(attr::RESERVATION_TOKEN)
    }

    /// REQUESTED-ADDRESS-FAMILY: 1 is IPv4, 2 is IPv6, others are for the caller to refuse with 440 (RFC 8656 §18.6).
    pub fn requested_address_family(&self) -> Result<Option<u8>, BadAttribute> {
        Ok(self.fixed::<4>(attr::REQUESTED_ADDRESS_FAMILY)?.map(|value| value[0]))
    }

    /// ADDITIONAL-ADDRESS-FAMILY: 2 is the only value that may be asked for (RFC 8656 §18.11).
    pub fn additional_address_family(&self) -> Result<Option<u8>, BadAttribute> {
        Ok(self.fixed::<4>(attr::ADDITIONAL_ADDRESS_FAMILY)?.map(|value| value[0]))
    }

    /// Whether DONT-FRAGMENT is there (RFC 8656 §18.9).
    pub fn dont_fragment(&self) -> Result<bool, BadAttribute> {
        Ok(self.fixed::<0>(attr::DONT_FRAGMENT)?.is_some())
    }

    /// CHANNEL-NUMBER, any of 16 bits; which are valid is for the caller to say (RFC 8656 §18.1).
    pub fn channel_number(&self) -> Result<Option<u16>, BadAttribute> {
        Ok(self.fixed(attr::CHANNEL_NUMBER)?.map(|[n0, n1, _, _]: [u8; 4]| u16::from_be_bytes([n0, n1])))
    }

    /// CONNECTION-ID (RFC 6062 §6.2.1).
    pub fn connection_id(&self) -> Result<Option<u32>, BadAttribute> {
        Ok(self.fixed(attr::CONNECTION_ID)?.map(u32::from_be_bytes))
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

    /// Every XOR-RELAYED-ADDRESS, in order: a dual allocation has two (RFC 8656 §7.2).
    pub fn xor_relayed_addresses(&self) -> impl Iterator<Item = Result<SocketAddr, BadAttribute>> {
        self.slots().iter().filter(|slot| slot.number == attr::XOR_RELAYED_ADDRESS).map(|slot| self.address(slot))
    }

    /// ADDRESS-ERROR-CODE of a response: the family that was not allocated, and why (RFC 8656 §18.12).
    pub fn address_error_code(&self) -> Result<Option<(u8, u16)>, BadAttribute> {
        let Some(value) = self.value(attr::ADDRESS_ERROR_CODE) else { return Ok(None) };
        let family = value.first().copied().unwrap_or_default();
        Ok(Some((family, code(value).ok_or(BadAttribute(attr::ADDRESS_ERROR_CODE))?)))
    }

    /// ERROR-CODE of a response, 300 to 699 (RFC 8489 §14.8). The reason phrase is not looked at.
    pub fn error_code(&self) -> Result<Option<u16>, BadAttribute> {
        let Some(value) = self.value(attr::ERROR_CODE) else { return Ok(None) };
        code(value).map(Some).ok_or(BadAttribute(attr::ERROR_CODE))
    }

    /// Where DATA lies in the datagram (RFC 8656 §18.4).
    pub fn data_range(&self) -> Option<Range<usize>> {
        self.first(attr::DATA)
    }

    /// The raw value of the first attribute of that number.
    pub fn value(&self, number: u16) -> Option<&'a [u8]> {
        self.first(number).map(|range| &self.datagram()[range])
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
        address::decode_xor(&self.datagram()[slot.range()], &self.transaction()).ok_or(BadAttribute(slot.number))
    }
}

/// Class and number of an error code, 300 to 699 (RFC 8489 §14.8).
fn code(value: &[u8]) -> Option<u16> {
    match *value {
        [_, _, class, number, ..] if (3..=6).contains(&(class & 7)) && number < 100 => {
            Some(u16::from(class & 7) * 100 + u16::from(number))
        }
        _ => None,
    }
}
