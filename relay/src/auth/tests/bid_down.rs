//! Bid-down attacks (RFC 8489 §9.2.1, §16.1.3): whatever an attacker on the path does to a challenge or to a request, a
//! client that knows SHA-256 is never let in by anything less, and no altered request is let in at all.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::wire::Integrity;
use crate::wire::PasswordAlgorithm::{self, Md5, Sha256};

/// What a careful client makes of a challenge (RFC 8489 §9.2.5). `None`: it must not try again.
fn careful(challenge: &[u8]) -> Option<Vec<u8>> {
    let message = Message::parse(challenge).ok()?;
    let nonce = std::str::from_utf8(message.nonce().ok()??).ok()?;
    let features = nonce.strip_prefix("obMatJos2").and_then(|rest| rest.as_bytes().get(3).copied());
    let list = message.value(attribute::PASSWORD_ALGORITHMS);
    // The last of four base64 characters: its lowest bit is bit 0, the next one bit 1.
    let says = |bit: u8| features.is_some_and(|last| base64_value(last) >> bit & 1 == 1);
    if says(0) && list.is_none() {
        return None;
    }
    let request = new(Method::Allocate).raw(attribute::NONCE, nonce.as_bytes());
    let request = request.raw(attribute::REALM, message.realm().ok()??);
    let request = match says(1) {
        true => request.raw(attribute::USERHASH, &crate::wire::userhash(b"alice", REALM.as_bytes())),
        false => request.raw(attribute::USERNAME, b"alice"),
    };
    let Some(list) = list else { return Some(request.finish(Some(&alice_key(Md5)))) };
    let known = |entry: &&[u8]| [Sha256.entry(), Md5.entry()].iter().any(|one| one == entry);
    let first = list.chunks(4).find(known)?;
    let algorithm = if first == Sha256.entry() { Sha256 } else { Md5 };
    let request = request.raw(attribute::PASSWORD_ALGORITHMS, list).raw(attribute::PASSWORD_ALGORITHM, first);
    Some(request.finish(Some(&alice_key(algorithm).signing_with(Integrity::Sha256))))
}

fn base64_value(character: u8) -> u8 {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    alphabet.iter().position(|&one| one == character).map_or(0, |place| place as u8)
}

fn alice_key(algorithm: PasswordAlgorithm) -> Key {
    Key::derive(algorithm, b"alice", REALM.as_bytes(), b"correct horse")
}

fn challenge(server: &Server) -> Vec<u8> {
    let bytes = new(Method::Allocate).finish(None);
    server.auth.refuse(NOW, client(), &Message::parse(&bytes).unwrap(), &Refusal::Challenge)
}

/// Attributes as type and value, in order.
fn attributes(message: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let (mut rest, mut found) = (&message[20..], Vec::new());
    while let [t0, t1, l0, l1, more @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*l0, *l1]));
        found.push((u16::from_be_bytes([*t0, *t1]), more[..length].to_vec()));
        rest = &more[length.next_multiple_of(4)..];
    }
    found
}

/// The same header over other attributes.
fn rebuilt(message: &[u8], attributes: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = message[..20].to_vec();
    for (number, value) in attributes {
        bytes.extend_from_slice(&number.to_be_bytes());
        bytes.extend_from_slice(&(value.len() as u16).to_be_bytes());
        bytes.extend_from_slice(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    let length = bytes.len() as u16 - 20;
    bytes[2..4].copy_from_slice(&length.to_be_bytes());
    bytes
}

/// What an attacker would rather have the list be. `None`: not there.
fn lists() -> impl Strategy<Value = Option<Vec<u8>>> {
    let entry = prop_oneof![Just(Md5.entry()), Just(Sha256.entry()), any::<[u8; 4]>()];
    prop_oneof![Just(None), vec(entry, 0..4).prop_map(|entries| Some(entries.concat()))]
}

/// What an attacker would rather have the nonce be, made from a good one.
const NONCES: [fn(&str) -> String; 9] = [
    |good| good.to_owned(),
    |good| good.replace("AAAB", "AAAA"),
    |good| good.replace("AAAB", "AAAC"),
    |good| good.replace("AAAB", "AAAD"),
    |good| good.replace("AAAB", "gAAA"),
    |good| good["obMatJos2".len()..].to_owned(),
    |good| good["obMatJos2AAAB".len()..].to_owned(),
    |good| format!("x{good}"),
    |_| "of a server that knows nothing of this".to_owned(),
];

proptest! {
    #[test]
    fn a_careful_client_is_let_in_by_sha256_or_not_at_all(list in lists(), nonce in proptest::sample::select(&NONCES[..])) {
        let server = server();
        let honest = challenge(&server);
        let mut altered = attributes(&honest);
        altered.retain(|(number, _)| *number != attribute::PASSWORD_ALGORITHMS);
        for (number, value) in &mut altered {
            if *number == attribute::NONCE {
                *value = nonce(std::str::from_utf8(value).unwrap()).into_bytes();
            }
        }
        altered.extend(list.map(|list| (attribute::PASSWORD_ALGORITHMS, list)));
        let altered = rebuilt(&honest, &altered);
        if let Some(request) = careful(&altered) && server.check(NOW, &request).is_ok() {
            prop_assert_eq!(attributes(&altered), attributes(&honest), "an altered challenge led to success");
            let request = Message::parse(&request).unwrap();
            prop_assert_eq!(request.password_algorithm(), Ok(Some(Sha256)));
            prop_assert_eq!(request.integrity(), Some(Integrity::Sha256));
        }
    }

    #[test]
    fn a_request_with_anything_taken_out_or_replaced_is_refused(
        place in any::<proptest::sample::Index>(),
        replacement in prop_oneof![Just(None), lists(), vec(any::<u8>(), 0..33).prop_map(Some)],
        further in lists(),
    ) {
        let server = server();
        let request = careful(&challenge(&server)).unwrap();
        let mut altered = attributes(&request);
        let place = place.index(altered.len());
        match replacement {
            Some(value) => altered[place].1 = value,
            None => drop(altered.remove(place)),
        }
        if let Some(list) = further {
            altered.insert(0, (attribute::PASSWORD_ALGORITHMS, list));
        }
        prop_assume!(altered != attributes(&request));
        prop_assert!(server.check(NOW, &rebuilt(&request, &altered)).is_err());
    }

    #[test]
    fn a_request_with_a_flipped_bit_is_refused(bit in any::<proptest::sample::Index>()) {
        let server = server();
        let mut request = careful(&challenge(&server)).unwrap();
        let bit = bit.index(request.len() * 8);
        request[bit / 8] ^= 1 << (bit % 8);
        let let_in = Message::parse(&request).is_ok_and(|request| server.auth.authenticate(NOW, client(), &request, true).is_ok());
        prop_assert!(!let_in, "bit {}", bit);
    }
}

#[test]
fn an_unaltered_challenge_lets_a_careful_client_in() {
    let server = server();
    assert!(server.check(NOW, &careful(&challenge(&server)).unwrap()).is_ok());
    let server = server_with(Settings { username_anonymity: true, ..settings() });
    let request = careful(&challenge(&server)).unwrap();
    assert!(Message::parse(&request).unwrap().userhash().unwrap().is_some());
    assert!(server.check(NOW, &request).is_ok());
}

#[test]
fn weaker_integrity_in_front_of_the_stronger_one_is_never_looked_at() {
    let server = server();
    let nonce = server.nonce(NOW);
    let key = alice_key(Sha256).signing_with(Integrity::Sha1);
    let request = || {
        let request = new(Method::Allocate).credentials("alice", REALM, &nonce);
        request.password_algorithm(&[Sha256, Md5], Sha256).integrity(&key)
    };
    assert_eq!(server.code(NOW, &request().finish(Some(&key.signing_with(Integrity::Sha256)))), 0);
    for size in [0, 16, 20, 32] {
        let bytes = request().raw(attribute::MESSAGE_INTEGRITY_SHA256, &vec![0; size]).finish(None);
        assert_eq!(server.code(NOW, &bytes), 401, "{size} bytes");
    }
}
