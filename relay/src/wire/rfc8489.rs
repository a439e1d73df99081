//! MESSAGE-INTEGRITY-SHA256, USERHASH and PASSWORD-ALGORITHM against vectors nobody here computed: appendix B.1 of RFC 8489
//! as corrected by erratum 6268, and messages put together with Python's struct, hmac, hashlib and zlib.
#![allow(clippy::unwrap_used)]

use super::PasswordAlgorithm::{Md5, Sha256};
use super::*;

/// Appendix B.1 with erratum 6268: PASSWORD-ALGORITHM added, length and HMAC corrected.
const APPENDIX_B1: &str = "
    00010090 2112a442 78ad3433 c6ad72c0 29da412e
    001e0020 4a3cf38f ef6992bd a952c678 0417da0f 24819415 569e60b2 05c46e41 407f1704
    00150029 6f624d61 744a6f73 32414141 43662f2f 3439396b 39353464 364f4c33 346f4c39 46535476 79363473 41000000
    0014000b 6578616d 706c652e 6f726700
    001d0004 00020000
    001c0020 b5c7bf00 5b6c52a2 1c51c5e8 92f81924 136296cb 927c4314 9309278c c6518e65";

/// Allocate by alice of voice.example, password \"correct horse\", SHA-256 key, MESSAGE-INTEGRITY-SHA256, FINGERPRINT.
const SHA256_REQUEST: &str = "
    0003008c 2112a442 01020304 05060708 090a0b0c
    00190004 11000000
    00060005 616c6963 65000000
    0014000d 766f6963 652e6578 616d706c 65000000
    00150020 6f624d61 744a6f73 32414141 42616263 64656667 68696a6b 6c6d6e6f 70717273
    80020008 00020000 00010000
    001d0004 00020000
    001c0020 77b1fa41 19472059 8e918e96 8b32e290 da1f89fc fac7b86f 6234114e f2aec4b5
    80280004 c8a70d78";

/// The same with an MD5 key, and MESSAGE-INTEGRITY in front of MESSAGE-INTEGRITY-SHA256.
const TWICE_PROTECTED_REQUEST: &str = "
    000300a4 2112a442 01020304 05060708 090a0b0c
    00190004 11000000
    00060005 616c6963 65000000
    0014000d 766f6963 652e6578 616d706c 65000000
    00150020 6f624d61 744a6f73 32414141 42616263 64656667 68696a6b 6c6d6e6f 70717273
    80020008 00020000 00010000
    001d0004 00010000
    00080014 683c2f5c 0cb9165a 09462b6d 0b1b2620 358c6905
    001c0020 1abc01ee 67a44972 144c4744 c84e68dd 9923fec0 c4cce55a 1c85be34 1fb1efcf
    80280004 4e392a91";

/// A success response with LIFETIME 600, signed with alice's SHA-256 key.
const RESPONSE: &str = "
    0103002c 2112a442 01020304 05060708 090a0b0c
    000d0004 00000258
    001c0020 19b01643 a1c21289 5495aea0 45b13a26 076ff2b6 03017c40 59ae4bea 04c39dfb";

/// Allocate with alice's name, signed with her SHA-256 key, the HMAC cut to 12, 16, … 32 bytes.
const CUT: [&str; 6] = [
    "0003001c 2112a442 01020304 05060708 090a0b0c 00060005 616c6963 65000000
     001c000c 4658f188 7678aa04 8d2963a0",
    "00030020 2112a442 01020304 05060708 090a0b0c 00060005 616c6963 65000000
     001c0010 02b29f82 6e3cdb77 b7fb20b5 c0bcd5ac",
    "00030024 2112a442 01020304 05060708 090a0b0c 00060005 616c6963 65000000
     001c0014 5f97d134 12ea3963 44e1ee9f a67dbdf8 69f65938",
    "00030028 2112a442 01020304 05060708 090a0b0c 00060005 616c6963 65000000
     001c0018 f2a6efd0 e6d3bd1e b57eb1bc 088579da d9dd9c66 0f0d0b53",
    "0003002c 2112a442 01020304 05060708 090a0b0c 00060005 616c6963 65000000
     001c001c 9db744c5 dd5fd271 0a96523a eea26930 c8c0d921 f2a29c1b a2674975",
    "00030030 2112a442 01020304 05060708 090a0b0c 00060005 616c6963 65000000
     001c0020 f9231d3d c575af52 81149961 2b975b3c dce40288 c3c9641a 49f62aac a9dab9e9",
];

const REALM: &str = "voice.example";
const NONCE: &str = "obMatJos2AAABabcdefghijklmnopqrs";

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex.chars().filter_map(|c| c.to_digit(16)).collect();
    digits.chunks(2).map(|pair| ((pair[0] << 4) | pair[1]) as u8).collect()
}

fn alice(algorithm: PasswordAlgorithm) -> Key {
    Key::derive(algorithm, b"alice", REALM.as_bytes(), b"correct horse")
}

fn allocate(algorithm: PasswordAlgorithm) -> Request {
    Request::new(Method::Allocate, TransactionId([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]))
        .requested_transport(17)
        .credentials("alice", REALM, NONCE)
        .password_algorithm(&[Sha256, Md5], algorithm)
}

#[test]
fn the_corrected_sample_of_the_rfc_is_read_and_its_integrity_matches() {
    let datagram = bytes(APPENDIX_B1);
    let message = Message::parse(&datagram).unwrap();
    let name = "マトリックス".as_bytes();
    assert_eq!(message.userhash(), Ok(Some(userhash(name, b"example.org"))));
    assert_eq!(message.username(), Ok(None));
    assert_eq!(message.password_algorithm(), Ok(Some(Sha256)));
    assert_eq!(message.integrity(), Some(Integrity::Sha256));
    assert!(message.unknown_required().is_empty());
    assert!(message.integrity_matches(&Key::derive(Sha256, name, b"example.org", b"TheMatrIX")));
    assert!(!message.integrity_matches(&Key::derive(Md5, name, b"example.org", b"TheMatrIX")));
}

#[test]
fn a_request_comes_out_as_another_implementation_writes_it() {
    let ours = allocate(Sha256).finish_with_fingerprint(Some(&alice(Sha256)));
    assert_eq!(ours, bytes(SHA256_REQUEST));
    let key = alice(Md5);
    let ours = allocate(Md5).integrity(&key).finish_with_fingerprint(Some(&key.signing_with(Integrity::Sha256)));
    assert_eq!(ours, bytes(TWICE_PROTECTED_REQUEST));
}

#[test]
fn a_response_comes_out_as_another_implementation_writes_it() {
    let request = allocate(Sha256).finish(None);
    let reply = Reply::success(&Message::parse(&request).unwrap()).lifetime(600).finish(Some(&alice(Sha256)));
    assert_eq!(reply, bytes(RESPONSE));
    assert!(Message::parse(&reply).unwrap().integrity_matches(&alice(Sha256)));
}

#[test]
fn where_both_are_the_stronger_one_decides() {
    let datagram = bytes(TWICE_PROTECTED_REQUEST);
    let message = Message::parse(&datagram).unwrap();
    assert_eq!(message.integrity(), Some(Integrity::Sha256));
    assert!(message.integrity_matches(&alice(Md5)));
    for byte in datagram.len() - 40..datagram.len() - 8 {
        let mut altered = datagram[..datagram.len() - 8].to_vec(); // without FINGERPRINT
        altered[3] -= 8;
        assert!(Message::parse(&altered).unwrap().integrity_matches(&alice(Md5)), "FINGERPRINT is not covered");
        altered[byte] ^= 1;
        assert!(!Message::parse(&altered).unwrap().integrity_matches(&alice(Md5)), "byte {byte}");
    }
}

#[test]
fn an_hmac_may_be_cut_to_sixteen_bytes_and_no_further() {
    for (place, hex) in CUT.iter().enumerate() {
        let size = 12 + 4 * place;
        let datagram = bytes(hex);
        let message = Message::parse(&datagram).unwrap();
        assert_eq!(message.integrity_matches(&alice(Sha256)), size >= 16, "{size} bytes");
    }
}

#[test]
fn an_hmac_of_a_size_that_cannot_be_never_matches() {
    for size in (0..=40).filter(|size| !(16..=32).contains(size) || size % 4 != 0) {
        // Made with the right key over the right text, so that nothing but the size is wrong.
        let before = allocate(Sha256).finish(None);
        let mac = integrity::sha256(&before, size + attribute::padding(size), &alice(Sha256)).unwrap();
        let value: Vec<u8> = mac.into_iter().chain([0; 8]).take(size).collect();
        let datagram = allocate(Sha256).raw(attribute::MESSAGE_INTEGRITY_SHA256, &value).finish(None);
        let message = Message::parse(&datagram).unwrap();
        assert!(message.has_integrity());
        assert!(!message.integrity_matches(&alice(Sha256)), "{size} bytes");
    }
}

#[test]
fn one_flipped_bit_anywhere_in_a_vector_is_noticed() {
    for (vector, key) in
        [(SHA256_REQUEST, alice(Sha256)), (TWICE_PROTECTED_REQUEST, alice(Md5)), (RESPONSE, alice(Sha256))]
    {
        let whole = bytes(vector);
        for bit in 0..whole.len() * 8 {
            let mut datagram = whole.clone();
            datagram[bit / 8] ^= 1 << (bit % 8);
            let accepted = Message::parse(&datagram).is_ok_and(|message| message.integrity_matches(&key));
            // A flip in FINGERPRINT's own type makes it an attribute that does not exist, as §14.6 says.
            let fingerprint = vector != RESPONSE && (whole.len() - 8..whole.len() - 6).contains(&(bit / 8));
            assert_eq!(accepted, fingerprint, "bit {bit}");
        }
    }
}

#[test]
fn a_userhash_of_another_size_is_bad_and_not_absent() {
    for size in 0..=65 {
        let datagram = Request::new(Method::Allocate, TransactionId([1; 12]))
            .raw(attribute::USERHASH, &vec![7; size])
            .finish(None);
        let expected = if size == 32 { Ok(Some([7; 32])) } else { Err(BadAttribute(attribute::USERHASH)) };
        assert_eq!(Message::parse(&datagram).unwrap().userhash(), expected, "{size} bytes");
    }
}
