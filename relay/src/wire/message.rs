//! A checked view over one STUN datagram: strict where the `stun` crate is lax, and free of allocation.

use std::ops::Range;

use super::attribute::{self as attr, ATTRIBUTE_HEADER, MAX_ATTRIBUTES};
use super::header::{self, MessageClass, Method, TransactionId};
use super::malformed::Malformed;
use super::{STUN_HEADER, fingerprint};

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
pub(super) struct Slot {
    pub(super) number: u16,
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

    /// The datagram the view is over.
    pub(super) fn datagram(&self) -> &'a [u8] {
        self.datagram
    }

    pub(super) fn first(&self, number: u16) -> Option<Range<usize>> {
        self.first_slot(number).map(Slot::range)
    }

    pub(super) fn first_slot(&self, number: u16) -> Option<&Slot> {
        self.slots().iter().find(|slot| slot.number == number)
    }

    pub(super) fn slots(&self) -> &[Slot] {
        &self.index[..self.count]
    }
}

impl Slot {
    pub(super) fn range(&self) -> Range<usize> {
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

impl std::fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Message({:?} {:?}, {} attributes)", self.method, self.class, self.count)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::{BadAttribute, Integrity, Key, Request, UnknownAttributes};
    use super::*;

    const ID: TransactionId = TransactionId([3; 12]);

    fn allocate() -> Request {
        Request::new(Method::Allocate, ID)
    }

    fn key() -> Key {
        Key::long_term(b"alice", b"example.org", b"secret")
    }

    #[test]
    fn an_attribute_that_reaches_beyond_the_end_is_malformed() {
        let mut datagram = allocate().raw(attr::USERNAME, b"12345678").finish(None);
        datagram[23] = 9;
        assert_eq!(Message::parse(&datagram).err(), Some(Malformed::Attribute));
        datagram[22..24].copy_from_slice(&400u16.to_be_bytes());
        assert_eq!(Message::parse(&datagram).err(), Some(Malformed::Attribute));
    }

    #[test]
    fn a_value_whose_padding_reaches_beyond_the_end_is_malformed() {
        let mut datagram = allocate().raw(attr::USERNAME, b"12345678").raw(attr::DATA, b"").finish(None);
        datagram[23] = 9; // now ends inside the next header, and its padding at the end of it
        assert!(Message::parse(&datagram).is_ok());
        datagram[23] = 13;
        assert_eq!(Message::parse(&datagram).err(), Some(Malformed::Attribute));
    }

    #[test]
    fn more_attributes_than_the_bound_are_malformed() {
        let full =
            |count: usize| (0..count).fold(allocate(), |request, _| request.raw(attr::DONT_FRAGMENT, &[])).finish(None);
        assert!(Message::parse(&full(MAX_ATTRIBUTES)).is_ok());
        assert_eq!(Message::parse(&full(MAX_ATTRIBUTES + 1)).err(), Some(Malformed::TooMany));
        assert_eq!(Message::parse(&full(16_000)).err(), Some(Malformed::TooMany));
    }

    #[test]
    fn the_first_of_duplicate_attributes_counts() {
        let datagram = allocate().lifetime(600).lifetime(0).finish(None);
        assert_eq!(Message::parse(&datagram).unwrap().lifetime(), Ok(Some(600)));
    }

    #[test]
    fn what_follows_message_integrity_does_not_exist() {
        let datagram = allocate()
            .integrity(&key())
            .lifetime(0)
            .raw(attr::XOR_PEER_ADDRESS, &[1])
            .raw(0x7FF1, b"unknown")
            .finish(None);
        let message = Message::parse(&datagram).unwrap();
        assert_eq!(message.lifetime(), Ok(None));
        assert_eq!(message.xor_peer_address(), Ok(None));
        assert!(message.unknown_required().is_empty());
        assert!(message.integrity_matches(&key()), "what is behind it must not disturb it either");
    }

    #[test]
    fn sha256_integrity_and_fingerprint_may_follow_message_integrity() {
        let datagram = allocate()
            .integrity(&key())
            .integrity(&key().signing_with(Integrity::Sha256))
            .lifetime(0)
            .finish_with_fingerprint(None);
        let message = Message::parse(&datagram).unwrap();
        assert!(message.value(attr::MESSAGE_INTEGRITY_SHA256).is_some());
        assert!(message.value(attr::FINGERPRINT).is_some());
        assert_eq!(message.lifetime(), Ok(None));
        assert!(message.integrity_matches(&key()));
    }

    #[test]
    fn only_fingerprint_counts_after_sha256_integrity() {
        let datagram = allocate()
            .raw(attr::MESSAGE_INTEGRITY_SHA256, &[0; 32])
            .integrity(&key())
            .lifetime(0)
            .finish_with_fingerprint(None);
        let message = Message::parse(&datagram).unwrap();
        assert_eq!(message.value(attr::MESSAGE_INTEGRITY), None);
        assert_eq!(message.lifetime(), Ok(None));
        assert!(message.value(attr::FINGERPRINT).is_some());
        assert!(!message.integrity_matches(&key()));
    }

    #[test]
    fn a_fingerprint_must_be_right_and_last_and_four_bytes_long() {
        let good = allocate().lifetime(600).finish_with_fingerprint(Some(&key()));
        assert!(Message::parse(&good).unwrap().integrity_matches(&key()));
        let mut wrong = good.clone();
        *wrong.last_mut().unwrap() ^= 1;
        assert_eq!(Message::parse(&wrong).err(), Some(Malformed::Fingerprint));
        for value in [&[0u8; 3][..], &[0; 5], &[]] {
            let datagram = allocate().raw(attr::FINGERPRINT, value).finish(None);
            assert_eq!(Message::parse(&datagram).err(), Some(Malformed::Fingerprint), "{} bytes", value.len());
        }
        let mut not_last = allocate().finish_with_fingerprint(None);
        not_last.extend_from_slice(&[0x80, 0x22, 0, 0]);
        not_last[3] += 4;
        assert_eq!(Message::parse(&not_last).err(), Some(Malformed::Fingerprint));
    }

    #[test]
    fn integrity_of_another_size_is_there_but_never_matches() {
        for length in 0..=32 {
            let datagram = allocate().raw(attr::MESSAGE_INTEGRITY, &vec![0; length]).finish(None);
            let message = Message::parse(&datagram).unwrap();
            assert!(message.has_integrity());
            assert!(!message.integrity_matches(&key()), "{length} bytes");
        }
    }

    #[test]
    fn typed_attributes_of_another_size_are_bad_and_not_absent() {
        let read = |number: u16, length: usize| {
            let datagram = allocate().raw(number, &vec![0; length]).finish(None);
            let message = Message::parse(&datagram).unwrap();
            match number {
                attr::REQUESTED_TRANSPORT => message.requested_transport().err(),
                attr::LIFETIME => message.lifetime().err(),
                attr::EVEN_PORT => message.even_port().err(),
                attr::RESERVATION_TOKEN => message.reservation_token().err(),
                attr::REQUESTED_ADDRESS_FAMILY => message.requested_address_family().err(),
                attr::ADDITIONAL_ADDRESS_FAMILY => message.additional_address_family().err(),
                attr::DONT_FRAGMENT => message.dont_fragment().err(),
                _ => message.channel_number().err(),
            }
        };
        let sizes = [
            (attr::REQUESTED_TRANSPORT, 4),
            (attr::LIFETIME, 4),
            (attr::EVEN_PORT, 1),
            (attr::RESERVATION_TOKEN, 8),
            (attr::REQUESTED_ADDRESS_FAMILY, 4),
            (attr::ADDITIONAL_ADDRESS_FAMILY, 4),
            (attr::DONT_FRAGMENT, 0),
            (attr::CHANNEL_NUMBER, 4),
        ];
        for (number, size) in sizes {
            for length in 0..=65 {
                let expected = (length != size).then_some(BadAttribute(number));
                assert_eq!(read(number, length), expected, "attribute {number:#x}, {length} bytes");
            }
        }
    }

    #[test]
    fn text_attributes_are_neither_empty_nor_longer_than_the_rfc_allows() {
        for (length, fine) in [(0, false), (1, true), (763, true), (764, false), (60_000, false)] {
            let datagram = allocate().raw(attr::USERNAME, &vec![b'%'; length]).finish(None);
            assert_eq!(Message::parse(&datagram).unwrap().username().is_ok(), fine, "USERNAME of {length} bytes");
        }
        for (length, fine) in [(0, false), (763, true), (764, false)] {
            let datagram =
                allocate().raw(attr::NONCE, &vec![0; length]).raw(attr::REALM, &vec![0; length]).finish(None);
            let message = Message::parse(&datagram).unwrap();
            assert_eq!((message.nonce().is_ok(), message.realm().is_ok()), (fine, fine), "{length} bytes");
        }
    }

    #[test]
    fn all_peers_of_a_create_permission_are_seen_and_a_bad_one_does_not_hide() {
        let (a, b) = ("192.0.2.1:1".parse().unwrap(), "[2001:db8::1]:2".parse().unwrap());
        let datagram = Request::new(Method::CreatePermission, ID)
            .xor_peer_address(a)
            .xor_peer_address(b)
            .raw(attr::XOR_PEER_ADDRESS, &[0, 1, 0, 0])
            .finish(None);
        let message = Message::parse(&datagram).unwrap();
        let peers: Vec<_> = message.xor_peer_addresses().collect();
        assert_eq!(peers, [Ok(a), Ok(b), Err(BadAttribute(attr::XOR_PEER_ADDRESS))]);
        assert_eq!(message.xor_peer_address(), Ok(Some(a)));
    }

    #[test]
    fn unknown_required_attributes_are_listed_once_and_optional_ones_are_not() {
        let mut request = allocate().raw(0x7FF1, &[]).raw(0xFFF1, &[]).raw(0x7FF1, &[]).raw(0x0024, &[0; 4]);
        let message_bytes = {
            for number in 0x7000..0x7020 {
                request = request.raw(number, &[]);
            }
            request.finish(None)
        };
        let unknown = Message::parse(&message_bytes).unwrap().unknown_required();
        assert_eq!(unknown.numbers()[..3], [0x7FF1, 0x0024, 0x7000]);
        assert_eq!(unknown.numbers().len(), UnknownAttributes::MAX);
    }

    #[test]
    fn debug_shows_nothing_a_user_wrote() {
        let datagram = allocate().credentials("alice", "example.org", "nonce").finish(None);
        let shown = format!("{:?} {:?}", Message::parse(&datagram).unwrap(), key());
        assert_eq!(shown, "Message(Allocate Request, 3 attributes) Key([redacted])");
    }
}
