//! Properties of the codec over arbitrary and mutated bytes: nothing panics, readers agree, what is written reads back.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn arbitrary_method() -> impl Strategy<Value = Method> {
    (0..0x1000u16).prop_map(Method::from_number)
}

fn arbitrary_class() -> impl Strategy<Value = MessageClass> {
    prop_oneof![
        Just(MessageClass::Request),
        Just(MessageClass::Indication),
        Just(MessageClass::Success),
        Just(MessageClass::Error)
    ]
}

fn arbitrary_addr() -> impl Strategy<Value = SocketAddr> {
    any::<SocketAddr>().prop_map(|addr| SocketAddr::new(addr.ip(), addr.port()))
}

/// A number this server knows, or one like it. Not 0x8020, which the `stun` crate takes for XOR-MAPPED-ADDRESS.
fn arbitrary_number() -> impl Strategy<Value = u16> {
    prop_oneof![3 => 0x0001..0x0023u16, 1 => 0x8021..0x802Du16, 1 => 0x7000..0x8010u16]
}

/// A well-formed message of any attributes, or a Send indication with all it needs, each with FINGERPRINT or not.
fn valid_message() -> impl Strategy<Value = Vec<u8>> {
    let attributes = vec((arbitrary_number(), vec(any::<u8>(), 0..40)), 0..8);
    let any_message = (arbitrary_class(), arbitrary_method(), any::<[u8; 12]>(), attributes, any::<bool>()).prop_map(
        |(class, method, id, attributes, fingerprint)| {
            let request = Request::of_class(class, method, TransactionId(id));
            let request = attributes
                .iter()
                .filter(|(number, _)| *number != attribute::FINGERPRINT)
                .fold(request, |request, (number, value)| request.raw(*number, value));
            if fingerprint { request.finish_with_fingerprint(None) } else { request.finish(None) }
        },
    );
    let send = (arbitrary_addr(), vec(any::<u8>(), 0..200), any::<[u8; 12]>(), any::<bool>()).prop_map(
        |(peer, payload, id, fingerprint)| {
            let request = Request::indication(Method::Send, TransactionId(id)).xor_peer_address(peer).data(&payload);
            if fingerprint { request.finish_with_fingerprint(None) } else { request.finish(None) }
        },
    );
    prop_oneof![any_message, send]
}

/// Calls everything that reads bytes. Returns whether the message was accepted.
fn read_everything(datagram: &[u8]) -> bool {
    let class = classify(datagram);
    assert_eq!(class == Class::ChannelData, channel_data::parse(datagram).is_some());
    let send = indication::parse_send(datagram);
    let Ok(message) = Message::parse(datagram) else {
        assert!(send.is_err(), "the fast reader accepts nothing the strict one refuses");
        return false;
    };
    assert_eq!(class, Class::Stun);
    if let Ok(send) = send {
        assert_eq!((message.method(), message.class()), (Method::Send, MessageClass::Indication));
        assert_eq!(message.xor_peer_address(), Ok(Some(send.peer)), "both readers see the same peer");
        assert_eq!(message.data_range(), Some(send.data), "and the same payload");
        assert!(message.unknown_required().is_empty());
    }
    let key = Key::long_term(b"user", b"realm", b"password");
    let _ = (message.username(), message.realm(), message.nonce(), message.unknown_required());
    let _ = (message.requested_transport(), message.lifetime(), message.even_port(), message.reservation_token());
    let _ = (
        message.requested_address_family(),
        message.additional_address_family(),
        message.dont_fragment(),
        message.channel_number(),
    );
    let _ = (message.xor_mapped_address(), message.xor_relayed_address(), message.error_code());
    let _ = message.icmp();
    let _ = (message.xor_relayed_addresses().count(), message.address_error_code());
    let _ = (message.xor_peer_addresses().count(), message.has_integrity(), message.integrity_matches(&key));
    let offered = [PasswordAlgorithm::Sha256, PasswordAlgorithm::Md5];
    let _ = (message.userhash(), message.password_algorithm(), message.repeats_password_algorithms(&offered));
    if let Some(range) = message.data_range() {
        assert!(range.end <= datagram.len());
    }
    true
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(datagram in vec(any::<u8>(), 0..400)) {
        read_everything(&datagram);
    }

    #[test]
    fn arbitrary_bytes_behind_a_true_header_never_panic(kind in any::<u16>(), body in vec(any::<u8>(), 0..400)) {
        let mut datagram = vec![0; STUN_HEADER];
        datagram.extend_from_slice(&body[..body.len() & !3]);
        datagram[..2].copy_from_slice(&(kind & 0x3FFF).to_be_bytes());
        let length = (datagram.len() - STUN_HEADER) as u16;
        datagram[2..4].copy_from_slice(&length.to_be_bytes());
        datagram[4..8].copy_from_slice(&MAGIC_COOKIE);
        read_everything(&datagram);
    }

    #[test]
    fn valid_messages_are_accepted_and_mutated_ones_never_panic(
        valid in valid_message(),
        mutations in vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<proptest::sample::Index>(),
    ) {
        prop_assert!(read_everything(&valid));
        let mut mutated = valid.clone();
        for (place, byte) in mutations {
            let place = place.index(mutated.len());
            mutated[place] = byte;
        }
        read_everything(&mutated);
        mutated.truncate(cut.index(mutated.len() + 1));
        read_everything(&mutated);
    }

    #[test]
    fn the_integrity_of_a_signed_message_matches_its_key_and_no_other(
        name in "[a-z]{1,20}",
        lifetime in any::<u32>(),
        id in any::<[u8; 12]>(),
        flip in any::<proptest::sample::Index>(),
        algorithm in prop_oneof![Just(PasswordAlgorithm::Md5), Just(PasswordAlgorithm::Sha256)],
        signs in prop_oneof![Just(Integrity::Sha1), Just(Integrity::Sha256)],
    ) {
        let key = |password| Key::derive(algorithm, name.as_bytes(), b"realm", password).signing_with(signs);
        let (key, other) = (key(b"password"), key(b"Password"));
        let request = Request::new(Method::Refresh, TransactionId(id));
        let mut datagram = request.credentials(&name, "realm", "nonce").lifetime(lifetime).finish(Some(&key));
        let message = Message::parse(&datagram).unwrap();
        prop_assert_eq!(message.lifetime(), Ok(Some(lifetime)));
        prop_assert!(message.integrity_matches(&key));
        prop_assert!(!message.integrity_matches(&other));

        let place = flip.index(datagram.len());
        datagram[place] ^= 0x01;
        let still = Message::parse(&datagram).is_ok_and(|message| message.integrity_matches(&key));
        prop_assert!(!still, "a flipped bit at {} went unnoticed", place);
    }

    #[test]
    fn requests_read_back_as_written(
        method in arbitrary_method(),
        id in any::<[u8; 12]>(),
        (transport, lifetime, even, family) in any::<(u8, u32, bool, u8)>(),
        (token, channel) in any::<([u8; 8], u16)>(),
        peers in vec(arbitrary_addr(), 0..5),
        payload in vec(any::<u8>(), 0..300),
    ) {
        let request = Request::new(method, TransactionId(id))
            .requested_transport(transport)
            .lifetime(lifetime)
            .even_port(even)
            .requested_address_family(family)
            .reservation_token(token)
            .channel_number(channel)
            .dont_fragment();
        let datagram = peers.iter().fold(request, |request, peer| request.xor_peer_address(*peer)).data(&payload).finish(None);
        let message = Message::parse(&datagram).unwrap();
        prop_assert_eq!((message.method(), message.class()), (method, MessageClass::Request));
        prop_assert_eq!(message.transaction(), TransactionId(id));
        prop_assert_eq!(message.requested_transport(), Ok(Some(transport)));
        prop_assert_eq!(message.lifetime(), Ok(Some(lifetime)));
        prop_assert_eq!(message.even_port(), Ok(Some(even)));
        prop_assert_eq!(message.requested_address_family(), Ok(Some(family)));
        prop_assert_eq!(message.reservation_token(), Ok(Some(token)));
        prop_assert_eq!(message.channel_number(), Ok(Some(channel)));
        prop_assert_eq!(message.dont_fragment(), Ok(true));
        let read: Vec<_> = message.xor_peer_addresses().collect::<Result<_, _>>().unwrap();
        prop_assert_eq!(read, peers);
        prop_assert_eq!(&datagram[message.data_range().unwrap()], &payload[..]);
    }

    #[test]
    fn data_indications_read_back_as_written(
        peer in arbitrary_addr(),
        payload in vec(any::<u8>(), 0..1500),
        id in any::<[u8; 12]>(),
    ) {
        let header = indication::data_header_len(peer);
        let mut buf = vec![0xAA; indication::MAX_DATA_HEADER - header];
        let front = buf.len();
        buf.extend(std::iter::repeat_n(0xAA, header));
        buf.extend_from_slice(&payload);
        buf.extend_from_slice(&[0xAA; indication::MAX_DATA_PADDING]);
        let total = indication::write_data_header(&mut buf[front..], peer, payload.len(), TransactionId(id)).unwrap();
        let message = Message::parse(&buf[front..][..total]).unwrap();
        prop_assert_eq!(message.xor_peer_address(), Ok(Some(peer)));
        prop_assert_eq!(&buf[front..][message.data_range().unwrap()], &payload[..]);
    }

    #[test]
    fn the_stun_crate_reads_what_we_accept_the_same_way(valid in valid_message()) {
        let message = Message::parse(&valid).unwrap();
        let mut theirs = stun::message::Message::new();
        theirs.unmarshal_binary(&valid).unwrap();
        prop_assert_eq!(theirs.transaction_id.0, message.transaction().0);
        let protected = message.value(attribute::MESSAGE_INTEGRITY).is_some()
            || message.value(attribute::MESSAGE_INTEGRITY_SHA256).is_some();
        if !protected {
            for attribute in &theirs.attributes.0 {
                let (first, _) = theirs.attributes.get(attribute.typ);
                prop_assert_eq!(message.value(attribute.typ.0), Some(&first.value[..]));
            }
        }
    }
}
