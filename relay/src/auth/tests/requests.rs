//! Each way a request can be refused, and each kind of credential that is not.

use super::*;

#[test]
fn a_static_user_is_let_in() {
    let found = server().allocate(NOW, &alice()).unwrap();
    assert!(matches!(found.identity(), Identity::User(_)));
}

#[test]
fn a_request_without_integrity_is_challenged_with_realm_and_nonce_in_at_most_96_bytes() {
    let server = server();
    let bytes = new(Method::Allocate).requested_transport(17).finish(None);
    let request = Message::parse(&bytes).unwrap();
    let refusal = server.check(NOW, &bytes).unwrap_err();
    let reply = server.auth.refuse(NOW, client(), &request, &refusal);
    assert!(reply.len() <= 96, "{} bytes", reply.len());
    let reply = Message::parse(&reply).unwrap();
    assert_eq!(reply.error_code(), Ok(Some(401)));
    assert_eq!(reply.realm(), Ok(Some(REALM.as_bytes())));
    assert_eq!(reply.nonce().unwrap().unwrap().len(), 32);
    assert!(!reply.has_integrity());
}

#[test]
fn an_unknown_user_and_a_wrong_password_get_the_same_answer() {
    let server = server();
    let nonce = server.nonce(NOW);
    let answer = |username: &str, password: &str| {
        let credential = Credential { username: username.into(), password: password.into() };
        let bytes = signed(new(Method::Allocate), &credential, &nonce);
        let request = Message::parse(&bytes).unwrap();
        let refusal = server.auth.authenticate(NOW, client(), &request, true).unwrap_err();
        server.auth.refuse(NOW, client(), &request, &refusal)
    };
    let wrong = answer("alice", "wrong");
    assert_eq!(Message::parse(&wrong).unwrap().error_code(), Ok(Some(401)));
    assert_eq!(wrong, answer("mallory", "correct horse"));
    assert_eq!(wrong, answer("9999999999:carol", "wrong"));
    assert_eq!(wrong, answer(&format!("1.9999999999.{}.0", HANDLE.to_base64url()), "wrong"));
}

#[test]
fn integrity_without_username_realm_or_nonce_is_a_bad_request() {
    let server = server();
    let nonce = server.nonce(NOW);
    let parts = [(attribute::USERNAME, "alice"), (attribute::REALM, REALM), (attribute::NONCE, &nonce)];
    for missing in 0..3 {
        let request = parts.iter().enumerate().filter(|(place, _)| *place != missing);
        let request =
            request.fold(new(Method::Allocate), |request, (_, (number, value))| request.raw(*number, value.as_bytes()));
        let bytes = request.finish(Some(&key(&alice())));
        assert_eq!(server.code(NOW, &bytes), 400);
        let request = Message::parse(&bytes).unwrap();
        assert_eq!(server.auth.refuse(NOW, client(), &request, &Refusal::BadRequest).len(), 28);
    }
}

#[test]
fn hostile_user_names_are_refused() {
    let server = server();
    let [longest, too_long] = [763, 764].map(|length| "x".repeat(length));
    for (username, code) in [
        ("", 400),
        (longest.as_str(), 401),
        (too_long.as_str(), 400),
        ("%n%s%n", 401),
        ("' OR 1=1 --", 401),
        ("alice\0", 401),
        ("ALICE", 401),
    ] {
        let credential = Credential { username: username.into(), password: "correct horse".into() };
        assert_eq!(
            server.code(NOW, &signed(new(Method::Allocate), &credential, &server.nonce(NOW))),
            code,
            "{username}"
        );
    }
}

#[test]
fn another_realm_is_challenged_even_if_the_key_is_right() {
    let server = server();
    let request = new(Method::Allocate).credentials("alice", "other.example", &server.nonce(NOW));
    assert_eq!(server.code(NOW, &request.finish(Some(&key(&alice())))), 401);
}

#[test]
fn flipped_zero_or_missized_integrity_is_challenged() {
    let server = server();
    let good = signed(new(Method::Allocate), &alice(), &server.nonce(NOW));
    let mut flipped = good.clone();
    *flipped.last_mut().unwrap() ^= 1;
    assert_eq!(server.code(NOW, &flipped), 401);
    for length in 0..=32 {
        let request = new(Method::Allocate).credentials("alice", REALM, &server.nonce(NOW));
        let bytes = request.raw(attribute::MESSAGE_INTEGRITY, &vec![0; length]).finish(None);
        assert_eq!(server.code(NOW, &bytes), 401, "{length} bytes");
    }
}

#[test]
fn garbage_sha256_integrity_never_helps() {
    let server = server();
    let request = new(Method::Allocate).credentials("alice", REALM, &server.nonce(NOW));
    let bytes = request.raw(attribute::MESSAGE_INTEGRITY_SHA256, &[0; 32]).finish(None);
    assert_eq!(server.code(NOW, &bytes), 401);
}

#[test]
fn a_fake_stale_or_foreign_nonce_gets_438_with_a_new_nonce_that_works() {
    let server = server();
    let later = NOW.after(HOUR + 1000);
    for nonce in ["made up", "obMatJos2AAABAAAAAAAAAAAAAAAAAAAA", &server.nonce(NOW)] {
        let bytes = signed(new(Method::Allocate), &alice(), nonce);
        let request = Message::parse(&bytes).unwrap();
        let refusal = server.check(later, &bytes).unwrap_err();
        let reply = server.auth.refuse(later, client(), &request, &refusal);
        let reply = Message::parse(&reply).unwrap();
        assert_eq!(reply.error_code(), Ok(Some(438)));
        assert_eq!(reply.realm(), Ok(Some(REALM.as_bytes())));
        assert!(reply.integrity_matches(&key(&alice())));
        let fresh = std::str::from_utf8(reply.nonce().unwrap().unwrap()).unwrap();
        assert!(server.check(later, &signed(new(Method::Allocate), &alice(), fresh)).is_ok());
    }
}

#[test]
fn a_stale_nonce_with_a_wrong_password_is_401() {
    let server = server();
    let wrong = Credential { username: "alice".into(), password: "wrong".into() };
    assert_eq!(server.code(NOW, &signed(new(Method::Allocate), &wrong, "made up")), 401);
}

#[test]
fn a_request_replayed_from_another_address_is_stale() {
    let server = server();
    let bytes = signed(new(Method::Refresh), &alice(), &server.nonce(NOW));
    let request = Message::parse(&bytes).unwrap();
    for thief in ["192.0.2.1:4001", "192.0.2.66:4000"] {
        let refusal = server.auth.authenticate(NOW, thief.parse().unwrap(), &request, false).unwrap_err();
        assert_eq!(refusal.code(), ErrorCode::StaleNonce);
    }
}

#[test]
fn time_limited_credentials_of_every_secret_and_hash_are_let_in() {
    let server = server();
    let expires = Unix(NOW.unix.0 + 600);
    let username = format!("{}:carol:web", expires.0);
    for secret in ["new secret", "old secret"] {
        assert!(server.allocate(NOW, &rest_credential(secret, expires, "carol:web")).is_ok());
        let password = mac::password_sha256(secret.as_bytes(), username.as_bytes());
        assert!(server.allocate(NOW, &Credential { username: username.clone(), password }).is_ok());
    }
    let foreign = server.allocate(NOW, &rest_credential("another secret", expires, "carol"));
    assert_eq!(foreign.unwrap_err().code(), ErrorCode::Unauthenticated);
}

#[test]
fn time_limited_credentials_stop_at_their_second() {
    let server = server();
    let code = |expires: u64| {
        server.allocate(NOW, &rest_credential("new secret", Unix(expires), "carol")).err().map(|r| r.code())
    };
    assert_eq!(code(NOW.unix.0 + 1), None);
    assert_eq!(code(NOW.unix.0), Some(ErrorCode::Unauthenticated));
    assert_eq!(code(0), Some(ErrorCode::Unauthenticated));
    for username in ["-1:carol", "18446744073709551616:carol", "99999999999999999999999:carol"] {
        let password = mac::password_sha1(b"new secret", username.as_bytes());
        let refusal = server.allocate(NOW, &Credential { username: username.into(), password }).unwrap_err();
        assert_eq!(refusal.code(), ErrorCode::Unauthenticated, "{username}");
    }
}

#[test]
fn two_credentials_of_one_user_are_the_same_person_and_a_static_namesake_is_not() {
    let server = server();
    let identity = |credential: &Credential| server.allocate(NOW, credential).unwrap().identity();
    let rest = |expires: u64, user: &str| rest_credential("new secret", Unix(NOW.unix.0 + expires), user);
    assert_eq!(identity(&rest(10, "alice")), identity(&rest(20, "alice")));
    assert_ne!(identity(&rest(10, "alice")), identity(&rest(10, "bob")));
    assert_ne!(identity(&rest(10, "alice")), identity(&alice()));
}

#[test]
fn a_call_bound_credential_names_its_handle() {
    let server = server();
    let credential = server.calls.mint(NOW, HANDLE, 1, 60);
    assert_eq!(server.allocate(NOW, &credential).unwrap().identity(), Identity::Call(HANDLE));
}

#[test]
fn the_expiry_of_a_call_bound_credential_bounds_the_start_only() {
    let server = server();
    let credential = server.calls.mint(NOW, HANDLE, 1, 60);
    let late = NOW.after(60_000);
    let bytes = signed(new(Method::Refresh), &credential, &server.nonce(late));
    let request = Message::parse(&bytes).unwrap();
    assert!(server.auth.authenticate(late, client(), &request, true).is_err());
    assert!(server.auth.authenticate(late, client(), &request, false).is_ok());
}

#[test]
fn a_call_bound_credential_cannot_be_altered() {
    let server = server();
    let Credential { username, password } = server.calls.mint(NOW, HANDLE, 1, 60);
    let other = Handle([0xCE; 12]).to_base64url();
    for altered in
        [username.replace(&HANDLE.to_base64url(), &other), username.replace("060.", "061."), format!("{username}0")]
    {
        assert_ne!(altered, username);
        let refusal = server.allocate(NOW, &Credential { username: altered, password: password.clone() }).unwrap_err();
        assert_eq!(refusal.code(), ErrorCode::Unauthenticated);
    }
}

#[test]
fn an_owner_goes_on_for_hours_after_the_keys_have_moved_on() {
    let server = server();
    let credential = server.calls.mint(NOW, HANDLE, 1, 60);
    let owner = server.allocate(NOW, &credential).unwrap();
    let much_later = NOW.after(10 * HOUR);
    server.calls.mint(much_later, HANDLE, 2, 60);
    let again = server.on(much_later, new(Method::Refresh).lifetime(600), &credential, &owner).unwrap();
    assert_eq!(again.identity(), owner.identity());
    let wrong = Credential { password: "wrong".into(), ..credential };
    let refusal = server.on(much_later, new(Method::Refresh), &wrong, &owner).unwrap_err();
    assert_eq!(refusal.code(), ErrorCode::Unauthenticated);
}

#[test]
fn a_fresh_credential_of_the_same_call_is_the_same_identity() {
    let server = server();
    let owner = server.allocate(NOW, &server.calls.mint(NOW, HANDLE, 1, 60)).unwrap();
    let again = server.on(NOW, new(Method::Refresh), &server.calls.mint(NOW, HANDLE, 2, 60), &owner).unwrap();
    assert_eq!(again.identity(), owner.identity());
}

#[test]
fn another_user_on_an_allocation_comes_back_as_itself() {
    let server = server();
    let owner = server.allocate(NOW, &alice()).unwrap();
    let bob = Credential { username: "bob".into(), password: "battery".into() };
    let found = server.on(NOW, new(Method::Refresh), &bob, &owner).unwrap();
    assert_ne!(found.identity(), owner.identity());
    assert!(server.on(NOW, new(Method::Refresh), &Credential { password: "x".into(), ..bob }, &owner).is_err());
}

#[test]
fn an_expired_time_limited_credential_may_end_its_allocation_but_not_prolong_it() {
    let server = server();
    let credential = rest_credential("new secret", Unix(NOW.unix.0 + 60), "carol");
    let owner = server.allocate(NOW, &credential).unwrap();
    let late = NOW.after(61_000);
    let code = |request: Request| server.on(late, request, &credential, &owner).err().map(|refusal| refusal.code());
    assert_eq!(code(new(Method::Refresh)), Some(ErrorCode::Unauthenticated));
    assert_eq!(code(new(Method::Refresh).lifetime(600)), Some(ErrorCode::Unauthenticated));
    assert_eq!(code(new(Method::Refresh).lifetime(0)), None);
    assert_eq!(code(new(Method::CreatePermission)), None);
}

#[test]
fn an_owner_still_needs_a_fresh_nonce() {
    let server = server();
    let owner = server.allocate(NOW, &alice()).unwrap();
    let bytes = signed(new(Method::Refresh), &alice(), "made up");
    let refusal = server.auth.authenticate_on(NOW, client(), &Message::parse(&bytes).unwrap(), &owner).unwrap_err();
    assert_eq!(refusal.code(), ErrorCode::StaleNonce);
}

#[test]
fn debug_shows_no_name_and_no_key() {
    let server = server();
    let found = server.allocate(NOW, &alice()).unwrap();
    let shown = format!("{:?} {found:?} {:?}", server.auth, Refusal::StaleNonce(*found.key()));
    assert!(shown.contains("Key([redacted])") && !shown.contains("alice") && !shown.contains("horse"), "{shown}");
}
