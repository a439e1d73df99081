//! Other credentials while allocations live: a secret is removed, a password changed, a user gone.

use super::*;

fn rest(secret: &str) -> Credential {
    rest_credential(secret, Unix(NOW.unix.0 + 60), "carol")
}

fn refresh() -> Request {
    new(Method::Refresh)
}

/// The same server after a reload.
fn reloaded(server: &Server, settings: Settings) -> Server {
    let auth = Authenticator::new(settings, Arc::clone(&server.calls), [9; 32]).after(&server.auth);
    Server { auth, calls: Arc::clone(&server.calls) }
}

#[test]
fn credentials_of_a_removed_secret_fail_at_the_next_request_and_those_of_the_others_go_on() {
    let before = server();
    let [old, new] =
        ["old secret", "new secret"].map(|secret| (rest(secret), before.allocate(NOW, &rest(secret)).unwrap()));
    let after = reloaded(&before, Settings { rest_secrets: vec!["new secret".into()], ..settings() });
    assert!(matches!(after.on(NOW, refresh(), &old.0, &old.1), Err(Refusal::Challenge)));
    assert!(matches!(after.on(NOW, refresh().lifetime(0), &old.0, &old.1), Err(Refusal::Challenge)));
    let owner = after.on(NOW, refresh(), &new.0, &new.1).unwrap();
    assert!(owner.identity() == new.1.identity());
    assert!(after.on(NOW, refresh(), &new.0, &owner).is_ok(), "looked up once, remembered again");
}

#[test]
fn a_secret_that_is_put_back_is_good_again() {
    let before = server();
    let owner = before.allocate(NOW, &rest("old secret")).unwrap();
    let without = reloaded(&before, Settings { rest_secrets: vec!["new secret".into()], ..settings() });
    assert!(without.on(NOW, refresh(), &rest("old secret"), &owner).is_err());
    assert!(reloaded(&without, settings()).on(NOW, refresh(), &rest("old secret"), &owner).is_ok());
}

#[test]
fn a_changed_password_ends_the_old_one_and_the_new_one_keeps_the_allocation() {
    let before = server();
    let owner = before.allocate(NOW, &alice()).unwrap();
    let users = vec![("alice".into(), "another horse".into())];
    let after = reloaded(&before, Settings { users, ..settings() });
    assert!(matches!(after.on(NOW, refresh(), &alice(), &owner), Err(Refusal::Challenge)));
    let changed = Credential { username: "alice".into(), password: "another horse".into() };
    let renewed = after.on(NOW, refresh(), &changed, &owner).unwrap();
    assert!(renewed.identity() == owner.identity());
    assert!(after.on(NOW, refresh(), &alice(), &renewed).is_err());
}

#[test]
fn a_user_who_is_gone_is_nobody_even_to_a_secret_that_would_sign_the_name() {
    let before = server();
    let owner = before.allocate(NOW, &alice()).unwrap();
    let after = reloaded(&before, Settings { users: Vec::new(), ..settings() });
    assert!(after.on(NOW, refresh(), &alice(), &owner).is_err());
    let signed_name = Credential { username: "alice".into(), password: mac::password_sha1(b"new secret", b"alice") };
    assert!(after.on(NOW, refresh(), &signed_name, &owner).is_err());
}

#[test]
fn an_expired_credential_can_still_end_its_allocation_after_a_reload_and_not_prolong_it() {
    let before = server();
    let owner = before.allocate(NOW, &rest("new secret")).unwrap();
    let after = reloaded(&before, settings());
    let late = NOW.after(HOUR / 2);
    assert!(after.on(late, refresh(), &rest("new secret"), &owner).is_err());
    assert!(after.on(late, refresh().lifetime(0), &rest("new secret"), &owner).is_ok());
}

#[test]
fn nonces_and_calls_outlive_a_reload() {
    let before = server();
    let nonce = before.nonce(NOW);
    let call = before.calls.mint(NOW, HANDLE, 1, 60);
    let owner = before.allocate(NOW, &call).unwrap();
    let after = reloaded(&before, Settings { users: Vec::new(), rest_secrets: Vec::new(), ..settings() });
    let bytes = signed(refresh(), &call, &nonce);
    assert!(after.auth.authenticate_on(NOW, client(), &Message::parse(&bytes).unwrap(), &owner).is_ok());
}

fn in_realm(server: &Server, request: Request, credential: &Credential, realm: &str) -> Vec<u8> {
    let key = Key::long_term(credential.username.as_bytes(), realm.as_bytes(), credential.password.as_bytes());
    request.credentials(&credential.username, realm, &server.nonce(NOW)).finish(Some(&key))
}

#[test]
fn another_realm_is_told_to_newcomers_and_those_who_know_the_old_one_go_on_with_it() {
    let before = server();
    let call = before.calls.mint(NOW, HANDLE, 1, 60);
    let owners = [alice(), rest("new secret"), call].map(|it| (before.allocate(NOW, &it).unwrap(), it));
    let renamed = Settings { realm: "newer".into(), former_realms: vec![settings().realm], ..settings() };
    let after = reloaded(&before, renamed.clone());
    let stranger = new(Method::Allocate).finish(None);
    let challenge = after.auth.refuse(NOW, client(), &Message::parse(&stranger).unwrap(), &Refusal::Challenge);
    assert_eq!(Message::parse(&challenge).unwrap().realm(), Ok(Some(&b"newer"[..])));
    for (owner, credential) in &owners {
        for realm in [settings().realm, "newer".to_owned()] {
            let bytes = in_realm(&after, refresh(), credential, &realm);
            let found = after.auth.authenticate_on(NOW, client(), &Message::parse(&bytes).unwrap(), owner).unwrap();
            assert!(found.identity() == owner.identity(), "{realm}");
        }
        // Who is told that a nonce is stale keeps the realm of the key.
        let nonce = "not one of ours, and long enough to be one of somebody";
        let key =
            Key::long_term(credential.username.as_bytes(), settings().realm.as_bytes(), credential.password.as_bytes());
        let stale = refresh().credentials(&credential.username, &settings().realm, nonce).finish(Some(&key));
        let stale = Message::parse(&stale).unwrap();
        let refusal = after.auth.authenticate_on(NOW, client(), &stale, owner).unwrap_err();
        let answer = after.auth.refuse(NOW, client(), &stale, &refusal);
        assert_eq!(Message::parse(&answer).unwrap().realm(), Ok(Some(settings().realm.as_bytes())));
    }
    let forgetful = reloaded(&after, Settings { former_realms: Vec::new(), ..renamed });
    let bytes = in_realm(&forgetful, refresh(), &alice(), &settings().realm);
    let told = forgetful.auth.authenticate_on(NOW, client(), &Message::parse(&bytes).unwrap(), &owners[0].0);
    assert!(matches!(told, Err(Refusal::Challenge)), "a realm that is forgotten is no realm");
}
