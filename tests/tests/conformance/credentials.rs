//! Rows 26, 28 and 29: what is proved with what: algorithms, time-limited credentials, nonces.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use e2e::Daemon;
use e2e::raw::client::UDP;
use e2e::raw::message::{attr, method};
use e2e::raw::{Ask, Client, Login, Transport};
use hmac::{Hmac, KeyInit, Mac};
use std::collections::HashSet;
use std::time::{SystemTime, UNIX_EPOCH};

rows! {
    a14_a_bid_down_does_not_succeed on udp tcp tls;
    a16_time_limited_credentials_are_checked_in_every_part on udp tcp tls;
    a17_nonces_are_distinct_and_no_counter on udp tcp tls;
}

fn allocate() -> Ask {
    Ask::request(method::ALLOCATE).transport(UDP)
}

const SHA256: &[u8] = &[0, 2, 0, 0];
const MD5: &[u8] = &[0, 1, 0, 0];
const BOTH: &[u8] = &[0, 2, 0, 0, 0, 1, 0, 0];

fn a14_a_bid_down_does_not_succeed(daemon: &Daemon, on: Transport) {
    let mut client = Client::challenged(daemon, on);
    let (login, challenge) = (client.login.clone(), client.challenge.clone());
    let named = || allocate().named(&login, &challenge);
    let (sha256, md5) = (login.sha256_key(&challenge.realm), login.md5_key(&challenge.realm));
    let mut stripped = challenge.clone();
    stripped.nonce.replace_range(9..13, "AAAA");
    let hostile = [
        ("the list shortened to MD5", named().with(attr::PASSWORD_ALGORITHMS, MD5).with(attr::PASSWORD_ALGORITHM, MD5)),
        ("one algorithm and no list", named().with(attr::PASSWORD_ALGORITHM, MD5)),
        ("a list and no algorithm", named().with(attr::PASSWORD_ALGORITHMS, BOTH)),
        ("an algorithm nobody offered", {
            named().with(attr::PASSWORD_ALGORITHMS, BOTH).with(attr::PASSWORD_ALGORITHM, &[0, 9, 0, 0])
        }),
        ("the feature bits cleared in the nonce", allocate().named(&login, &stripped)),
    ];
    for (what, ask) in hostile {
        let answer = client.exchange(&ask.sealed(&login, &challenge.realm).bytes());
        assert!([400, 401, 438].contains(&answer.code()), "{what}: {answer:?}");
    }
    let negotiated = || named().with(attr::PASSWORD_ALGORITHMS, BOTH).with(attr::PASSWORD_ALGORITHM, SHA256);
    for (what, ask) in [
        ("the key of MD5 where SHA-256 was said", negotiated().sealed_sha256(&md5, 32)),
        ("SHA-256 cut to 4 bytes", negotiated().sealed_sha256(&sha256, 4)),
        ("garbage for SHA-256", negotiated().with(attr::MESSAGE_INTEGRITY_SHA256, &[7; 32])),
        ("good SHA-1 and garbage for SHA-256", {
            named().sealed(&login, &challenge.realm).with(attr::MESSAGE_INTEGRITY_SHA256, &[7; 32])
        }),
    ] {
        client.say(&ask.bytes()).is_no_success(what);
    }
    assert_eq!(client.refresh(600), 437, "nothing was allocated");
    assert_eq!(client.exchange(&negotiated().sealed_sha256(&sha256, 32).bytes()).code(), 0, "the honest way is open");
}

/// A time-limited credential (draft-uberti-behave-turn-rest §2.2).
pub(super) fn rest(expires: &str, secret: &str) -> Login {
    let user = format!("{expires}:somebody");
    let mut mac = <Hmac<sha1::Sha1> as KeyInit>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(user.as_bytes());
    let password = STANDARD.encode(mac.finalize().into_bytes());
    Login { user, password }
}

fn a16_time_limited_credentials_are_checked_in_every_part(daemon: &Daemon, on: Transport) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let soon = (now + 600).to_string();
    let secret = "the newest rest secret";
    let mut client = Client::challenged(daemon, on);
    let hopeless = [
        ("expired", rest(&(now - 1).to_string(), secret)),
        ("long expired", rest("1", secret)),
        ("minus one", rest("-1", secret)),
        ("an overflow", rest("18446744073709551616", secret)),
        ("an overflow by far", rest(&"9".repeat(60), secret)),
        ("hexadecimal", rest("0xFFFFFFFF", secret)),
        ("no number", rest("never", secret)),
        ("nothing", rest("", secret)),
        ("another secret", rest(&soon, "a secret of somebody else")),
        ("a password for another name", Login { user: format!("{soon}:root"), ..rest(&soon, secret) }),
        ("a later expiry than was signed", Login { user: format!("{}:somebody", now + 9999), ..rest(&soon, secret) }),
    ];
    for (what, login) in hopeless {
        client.login = login;
        let answer = client.ask(allocate());
        assert_eq!(answer.code(), 401, "{what}: {answer:?}");
    }
    for secret in [secret, "the rest secret before it"] {
        client.login = rest(&soon, secret);
        assert_eq!(client.code(allocate()), 0, "both secrets are good");
        assert_eq!(client.refresh(0), 0);
    }
}

fn a17_nonces_are_distinct_and_no_counter(daemon: &Daemon, on: Transport) {
    let mut client = Client::open(daemon, on);
    let nonces: Vec<String> = (0..60).map(|_| client.exchange(&allocate().bytes()).challenge().nonce).collect();
    assert_eq!(nonces.iter().collect::<HashSet<_>>().len(), 60);
    // The proof at the end changes in every character from one to the next, as only something keyed does: a counter, or a
    // generator with a short state, would leave its upper digits alone.
    let proofs: Vec<&[u8]> = nonces.iter().map(|nonce| &nonce.as_bytes()[21..]).collect();
    for place in 0..proofs[0].len() - 1 {
        let distinct: HashSet<u8> = proofs.iter().map(|proof| proof[place]).collect();
        assert!(distinct.len() > 15, "only {} different characters at place {place}", distinct.len());
    }
    // A retransmission is the same request and may get the same nonce; another client never does.
    let other = Client::open(daemon, on).exchange(&allocate().bytes()).challenge().nonce;
    assert!(!nonces.contains(&other));
}
