//! RFC 8489 §9.2.4 beyond RFC 5389: password algorithms, the stronger integrity, hidden names.

use super::*;
use crate::wire::Integrity::{self, Sha1 as HmacSha1, Sha256 as HmacSha256};
use crate::wire::PasswordAlgorithm::{self, Md5, Sha256};

const OFFERED: [PasswordAlgorithm; 2] = [Sha256, Md5];

/// A credential's key, signing with this attribute.
fn key_for(credential: &Credential, algorithm: PasswordAlgorithm, signs: Integrity) -> Key {
    let Credential { username, password } = credential;
    Key::derive(algorithm, username.as_bytes(), REALM.as_bytes(), password.as_bytes()).signing_with(signs)
}

/// A request as a client of RFC 8489 makes it.
fn modern(credential: &Credential, algorithm: PasswordAlgorithm, signs: Integrity, nonce: &str) -> Vec<u8> {
    new(Method::Allocate)
        .credentials(&credential.username, REALM, nonce)
        .password_algorithm(&OFFERED, algorithm)
        .finish(Some(&key_for(credential, algorithm, signs)))
}

fn hidden(credential: &Credential, algorithm: PasswordAlgorithm, nonce: &str) -> Vec<u8> {
    new(Method::Allocate)
        .hidden_credentials(&credential.username, REALM, nonce)
        .password_algorithm(&OFFERED, algorithm)
        .finish(Some(&key_for(credential, algorithm, HmacSha256)))
}

fn every_kind(server: &Server) -> [Credential; 3] {
    [alice(), rest_credential("old secret", Unix(NOW.unix.0 + 60), "carol"), server.calls.mint(NOW, HANDLE, 1, 60)]
}

#[test]
fn a_challenge_offers_sha256_before_md5_and_its_nonce_says_so() {
    let server = server();
    let bytes = new(Method::Allocate).finish(None);
    let request = Message::parse(&bytes).unwrap();
    for (refusal, offers) in
        [(Refusal::Challenge, true), (Refusal::StaleNonce(key(&alice())), true), (Refusal::BadRequest, false)]
    {
        let reply = server.auth.refuse(NOW, client(), &request, &refusal);
        let reply = Message::parse(&reply).unwrap();
        assert_eq!(reply.value(attribute::PASSWORD_ALGORITHMS), offers.then_some(&[0, 2, 0, 0, 0, 1, 0, 0][..]));
        let nonce = reply.nonce().unwrap();
        assert_eq!(nonce.map(|nonce| &nonce[..13]), offers.then_some(&b"obMatJos2AAAB"[..]));
    }
}

#[test]
fn a_challenge_takes_at_most_96_bytes_with_a_realm_of_sixteen() {
    for length in 1..=16 {
        let realm = "r".repeat(length);
        let server = server_with(Settings { realm, ..settings() });
        let bytes = new(Method::Allocate).finish(None);
        let reply = server.auth.refuse(NOW, client(), &Message::parse(&bytes).unwrap(), &Refusal::Challenge);
        assert!(reply.len() <= 96, "{} bytes with a realm of {length}", reply.len());
    }
}

#[test]
fn every_kind_of_credential_is_let_in_by_either_algorithm_and_either_integrity() {
    let server = server();
    for credential in every_kind(&server) {
        let identity = server.allocate(NOW, &credential).unwrap().identity();
        for algorithm in OFFERED {
            for signs in [HmacSha1, HmacSha256] {
                let bytes = modern(&credential, algorithm, signs, &server.nonce(NOW));
                assert_eq!(server.check(NOW, &bytes).unwrap().identity(), identity, "{algorithm:?} {signs:?}");
            }
        }
    }
}

#[test]
fn a_key_of_the_other_algorithm_is_a_wrong_password() {
    let server = server();
    for (said, used) in [(Sha256, Md5), (Md5, Sha256)] {
        let bytes = new(Method::Allocate)
            .credentials("alice", REALM, &server.nonce(NOW))
            .password_algorithm(&OFFERED, said)
            .finish(Some(&key_for(&alice(), used, HmacSha256)));
        assert_eq!(server.code(NOW, &bytes), 401);
    }
}

#[test]
fn who_negotiated_is_answered_with_sha256_and_who_did_not_with_sha1() {
    let server = server();
    for signs in [HmacSha1, HmacSha256] {
        let nonce = server.nonce(NOW);
        for algorithm in OFFERED {
            let found = server.check(NOW, &modern(&alice(), algorithm, signs, &nonce)).unwrap();
            assert_eq!(found.key().signs(), HmacSha256);
        }
        let plain = new(Method::Allocate).credentials("alice", REALM, &nonce);
        let found = server.check(NOW, &plain.finish(Some(&key_for(&alice(), Md5, signs)))).unwrap();
        assert_eq!(found.key().signs(), HmacSha1);
    }
}

#[test]
fn a_stale_nonce_is_answered_with_the_integrity_of_any_answer() {
    let server = server();
    let bytes = modern(&alice(), Sha256, HmacSha256, &server.nonce(NOW));
    let late = NOW.after(HOUR + 1000);
    let request = Message::parse(&bytes).unwrap();
    let refusal = server.check(late, &bytes).unwrap_err();
    let reply = server.auth.refuse(late, client(), &request, &refusal);
    let reply = Message::parse(&reply).unwrap();
    assert_eq!(reply.error_code(), Ok(Some(438)));
    assert_eq!(reply.integrity(), Some(HmacSha256));
    assert!(reply.integrity_matches(&key_for(&alice(), Sha256, HmacSha256)));
}

#[test]
fn the_algorithm_without_the_list_or_the_list_without_the_algorithm_is_a_bad_request() {
    let server = server();
    let both = [
        (attribute::PASSWORD_ALGORITHM, &[0, 2, 0, 0][..]),
        (attribute::PASSWORD_ALGORITHMS, &[0, 2, 0, 0, 0, 1, 0, 0]),
    ];
    for (number, value) in both {
        let request = new(Method::Allocate).credentials("alice", REALM, &server.nonce(NOW)).raw(number, value);
        assert_eq!(server.code(NOW, &request.finish(Some(&key_for(&alice(), Sha256, HmacSha256)))), 400);
    }
}

#[test]
fn another_list_or_an_algorithm_that_is_not_on_it_is_a_bad_request() {
    let server = server();
    let lists: [&[PasswordAlgorithm]; 5] = [&[], &[Md5], &[Sha256], &[Md5, Sha256], &[Sha256, Md5, Md5]];
    for list in lists {
        let request = new(Method::Allocate).credentials("alice", REALM, &server.nonce(NOW));
        let bytes = request.password_algorithm(list, Md5).finish(Some(&key_for(&alice(), Md5, HmacSha256)));
        assert_eq!(server.code(NOW, &bytes), 400, "{list:?}");
    }
    for entry in [&[0, 3, 0, 0][..], &[0, 2, 0, 4, 1, 2, 3, 4], &[]] {
        let request = new(Method::Allocate)
            .credentials("alice", REALM, &server.nonce(NOW))
            .raw(attribute::PASSWORD_ALGORITHMS, &[0, 2, 0, 0, 0, 1, 0, 0])
            .raw(attribute::PASSWORD_ALGORITHM, entry);
        assert_eq!(server.code(NOW, &request.finish(Some(&key_for(&alice(), Sha256, HmacSha256)))), 400);
    }
}

#[test]
fn a_list_that_never_was_ours_meets_a_stale_nonce_if_the_nonce_does_not_claim_it() {
    let server = server();
    let request = new(Method::Allocate).credentials("alice", REALM, "obMatJos2AAAAsomebody else's");
    let bytes = request.password_algorithm(&[Md5], Md5).finish(Some(&key_for(&alice(), Md5, HmacSha256)));
    assert_eq!(server.code(NOW, &bytes), 438);
}

#[test]
fn a_hidden_static_user_is_the_same_person_and_may_go_on_with_its_allocation() {
    let server = server();
    let owner = server.allocate(NOW, &alice()).unwrap();
    for algorithm in OFFERED {
        let bytes = hidden(&alice(), algorithm, &server.nonce(NOW));
        assert_eq!(server.check(NOW, &bytes).unwrap().identity(), owner.identity());
        let request = Message::parse(&bytes).unwrap();
        let again = server.auth.authenticate_on(NOW, client(), &request, &owner).unwrap();
        assert_eq!(again.identity(), owner.identity());
    }
    let bob = Credential { username: "bob".into(), password: "battery".into() };
    let bytes = hidden(&bob, Sha256, &server.nonce(NOW));
    let other = server.auth.authenticate_on(NOW, client(), &Message::parse(&bytes).unwrap(), &owner).unwrap();
    assert_ne!(other.identity(), owner.identity());
}

#[test]
fn a_hash_that_names_nobody_gets_the_answer_of_a_wrong_password() {
    let server = server();
    let nonce = server.nonce(NOW);
    let answer = |bytes: &[u8]| {
        let request = Message::parse(bytes).unwrap();
        let refusal = server.auth.authenticate(NOW, client(), &request, true).unwrap_err();
        server.auth.refuse(NOW, client(), &request, &refusal)
    };
    let wrong = answer(&hidden(&Credential { password: "wrong".into(), ..alice() }, Sha256, &nonce));
    assert_eq!(Message::parse(&wrong).unwrap().error_code(), Ok(Some(401)));
    let [_, rest, call] = every_kind(&server);
    let nobody = Credential { username: "mallory".into(), password: "x".into() };
    for credential in [rest, call, nobody] {
        assert_eq!(answer(&hidden(&credential, Sha256, &nonce)), wrong);
    }
}

#[test]
fn two_names_at_once_or_a_hash_that_is_none_is_a_bad_request() {
    let server = server();
    let nonce = server.nonce(NOW);
    let key = key_for(&alice(), Md5, HmacSha1);
    let both = new(Method::Allocate).hidden_credentials("alice", REALM, &nonce).raw(attribute::USERNAME, b"alice");
    assert_eq!(server.code(NOW, &both.finish(Some(&key))), 400);
    for size in [0, 20, 31, 33] {
        let request = new(Method::Allocate)
            .raw(attribute::USERHASH, &vec![7; size])
            .raw(attribute::REALM, REALM.as_bytes())
            .raw(attribute::NONCE, nonce.as_bytes());
        assert_eq!(server.code(NOW, &request.finish(Some(&key))), 400, "{size} bytes");
    }
}

#[test]
fn asking_for_hidden_names_shows_in_the_nonce_and_still_takes_plain_ones() {
    let server = server_with(Settings { username_anonymity: true, ..settings() });
    let nonce = server.nonce(NOW);
    assert!(nonce.starts_with("obMatJos2AAAD"));
    assert_eq!(server.code(NOW, &hidden(&alice(), Sha256, &nonce)), 0);
    assert_eq!(server.code(NOW, &signed(new(Method::Allocate), &alice(), &nonce)), 0);
}

#[test]
fn without_sha1_only_the_stronger_integrity_counts_and_answers() {
    let server = server_with(Settings { sha1: false, ..settings() });
    let nonce = server.nonce(NOW);
    let old = signed(new(Method::Allocate), &alice(), &nonce);
    let refusal = server.check(NOW, &old).unwrap_err();
    let reply = server.auth.refuse(NOW, client(), &Message::parse(&old).unwrap(), &refusal);
    let reply = Message::parse(&reply).unwrap();
    assert_eq!(reply.error_code(), Ok(Some(401)));
    assert!(!reply.has_integrity() && reply.nonce().unwrap().is_some());
    for algorithm in OFFERED {
        assert_eq!(server.code(NOW, &modern(&alice(), algorithm, HmacSha1, &nonce)), 401);
        assert_eq!(server.code(NOW, &modern(&alice(), algorithm, HmacSha256, &nonce)), 0);
    }
    let plain = new(Method::Allocate).credentials("alice", REALM, &nonce);
    let found = server.check(NOW, &plain.finish(Some(&key_for(&alice(), Md5, HmacSha256)))).unwrap();
    assert_eq!(found.key().signs(), HmacSha256);
}

#[test]
fn without_sha1_an_allocation_cannot_be_ruled_by_it_either() {
    let server = server_with(Settings { sha1: false, ..settings() });
    let owner = server.check(NOW, &modern(&alice(), Md5, HmacSha256, &server.nonce(NOW))).unwrap();
    let refusal = server.on(NOW, new(Method::Refresh).lifetime(0), &alice(), &owner).unwrap_err();
    assert_eq!(refusal.code(), ErrorCode::Unauthenticated);
}

#[test]
fn an_owner_may_change_to_the_other_algorithm_while_its_credential_can_be_checked() {
    let server = server();
    let by_sha256 = |now: Now, credential: &Credential, owner: &Authenticated| {
        let bytes = modern(credential, Sha256, HmacSha256, &server.nonce(now));
        server.auth.authenticate_on(now, client(), &Message::parse(&bytes).unwrap(), owner)
    };
    for credential in every_kind(&server) {
        let owner = server.allocate(NOW, &credential).unwrap();
        assert_eq!(by_sha256(NOW, &credential, &owner).unwrap().identity(), owner.identity());
    }
    let credential = server.calls.mint(NOW, HANDLE, 1, 60);
    let owner = server.allocate(NOW, &credential).unwrap();
    let much_later = NOW.after(3 * HOUR);
    assert!(by_sha256(much_later, &credential, &owner).is_err(), "nobody knows that password any more");
    assert!(server.on(much_later, new(Method::Refresh), &credential, &owner).is_ok());
}

#[test]
fn the_check_of_expiry_on_refresh_can_be_left_out_and_that_on_allocate_cannot() {
    let server = server_with(Settings { rest_expiry_on_refresh: false, ..settings() });
    let credential = rest_credential("new secret", Unix(NOW.unix.0 + 60), "carol");
    let owner = server.allocate(NOW, &credential).unwrap();
    let late = NOW.after(61_000);
    assert!(server.on(late, new(Method::Refresh).lifetime(600), &credential, &owner).is_ok());
    assert!(server.allocate(late, &credential).is_err());
}
