//! Rows 18–25 and 27: who says so, and how it is proved.

use super::peer;
use e2e::Daemon;
use e2e::raw::client::UDP;
use e2e::raw::message::{attr, method};
use e2e::raw::{Ask, Challenge, Client, Login, Transport};

rows! {
    a01_without_credentials_there_is_a_401_and_nothing_else on udp tcp tls udp6 tcp6 tls6;
    a02_a_wrong_password_and_an_unknown_user_look_the_same on udp tcp tls;
    a03_a04_a_false_nonce_is_stale on udp tcp tls udp6;
    a05_a06_a_false_integrity_is_refused on udp tcp tls;
    a07_a08_missing_or_foreign_names_are_refused on udp tcp tls;
    a09_a10_hostile_strings_get_nowhere on udp tcp tls;
    a11_a12_a_replay_from_elsewhere_touches_nobody on udp tcp tls udp6 tcp6 tls6;
    a13_another_account_on_the_same_five_tuple_is_441 on udp tcp tls;
    a15_every_success_is_signed on udp tcp tls udp6;
}

fn allocate() -> Ask {
    Ask::request(method::ALLOCATE).transport(UDP)
}

/// Each method that needs credentials.
fn every_method() -> Vec<Ask> {
    let (_, peer) = peer();
    vec![
        allocate(),
        Ask::request(method::REFRESH).lifetime(0),
        Ask::request(method::CREATE_PERMISSION).peer(peer),
        Ask::request(method::CHANNEL_BIND).channel(0x4000).peer(peer),
        Ask::request(method::CONNECT).peer(peer),
        Ask::request(method::CONNECTION_BIND).with(attr::CONNECTION_ID, b"1234"),
    ]
}

fn a01_without_credentials_there_is_a_401_and_nothing_else(daemon: &Daemon, on: Transport) {
    let mut client = Client::open(daemon, on);
    for ask in every_method() {
        let answer = client.exchange(&ask.bytes());
        assert_eq!(answer.code(), 401, "{answer:?}");
        let Challenge { realm, nonce } = answer.challenge();
        assert_eq!(realm, "e2e.test");
        assert!(nonce.starts_with("obMatJos2"), "the nonce cookie of RFC 8489 §9.2");
        assert!(answer.value(attr::MESSAGE_INTEGRITY).is_none() && answer.value(attr::XOR_MAPPED_ADDRESS).is_none());
    }
    client.fetch_challenge();
    assert_eq!(client.refresh(600), 437, "nothing was allocated");
}

fn a02_a_wrong_password_and_an_unknown_user_look_the_same(daemon: &Daemon, on: Transport) {
    let mut client = Client::challenged(daemon, on);
    let mut refused = |user: &str, password: &str| {
        client.login = Login::new(user, password);
        let answer = client.ask(allocate());
        assert_eq!(answer.code(), 401);
        (answer.attributes(), answer.bytes().len(), answer.text(attr::REALM))
    };
    let wrong = refused("alice", "a wrong password");
    assert_eq!(wrong, refused("mallory", "a wrong password"));
    assert_eq!(wrong, refused("9999999999:mallory", "a wrong password"), "time-limited");
}

fn a03_a04_a_false_nonce_is_stale(daemon: &Daemon, on: Transport) {
    let mut client = Client::challenged(daemon, on);
    let good = client.challenge.clone();
    let mut altered: Vec<String> =
        vec!["a nonce of my own".to_owned(), good.nonce[..31].to_owned(), good.nonce.clone() + "A"];
    for place in 13..good.nonce.len() {
        let mut bytes = good.nonce.clone().into_bytes();
        bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
        altered.push(String::from_utf8(bytes).unwrap());
    }
    for nonce in altered {
        client.challenge.nonce = nonce;
        let answer = client.ask(allocate());
        assert_eq!(answer.code(), 438, "nonce {}", client.challenge.nonce);
        let new = answer.challenge();
        assert!(new.nonce != client.challenge.nonce && new.realm == good.realm);
        assert!(answer.is_signed_by(&client.login, &good.realm), "who knows the password can tell it from a forgery");
        client.challenge = new;
    }
    assert_eq!(client.refresh(600), 437, "the new nonce is good, and nothing was allocated");
}

fn a05_a06_a_false_integrity_is_refused(daemon: &Daemon, on: Transport) {
    let mut client = Client::challenged(daemon, on);
    let honest = allocate().signed(&client.login, &client.challenge).bytes();
    for place in [0, 1, 7, 19].map(|byte| honest.len() - 20 + byte) {
        let mut bytes = honest.clone();
        bytes[place] ^= 1;
        assert_eq!(client.exchange(&bytes).code(), 401, "bit flipped at {place}");
    }
    // A bit in what is covered: method's attributes, name, realm, nonce.
    for place in (20..honest.len() - 24).step_by(3) {
        let mut bytes = honest.clone();
        bytes[place] ^= 0x10;
        client.say(&bytes).is_no_success(&format!("covered byte {place} altered"));
    }
    for length in [0, 1, 4, 8, 12, 16, 19, 20, 21, 24, 32] {
        let ask = allocate().named(&client.login, &client.challenge);
        let answer = client.exchange(&ask.with(attr::MESSAGE_INTEGRITY, &vec![0; length]).bytes());
        assert!([400, 401].contains(&answer.code()), "{length} zero bytes: {answer:?}");
    }
    assert_eq!(client.refresh(600), 437, "nothing was allocated");
}

fn a07_a08_missing_or_foreign_names_are_refused(daemon: &Daemon, on: Transport) {
    let mut client = Client::challenged(daemon, on);
    let (login, challenge) = (client.login.clone(), client.challenge.clone());
    let all = [
        (attr::USERNAME, login.user.clone()),
        (attr::REALM, challenge.realm.clone()),
        (attr::NONCE, challenge.nonce.clone()),
    ];
    for (missing, _) in &all {
        let without = all.iter().filter(|(number, _)| number != missing);
        let ask = without.fold(allocate(), |ask, (number, value)| ask.with(*number, value.as_bytes()));
        let answer = client.exchange(&ask.sealed(&login, &challenge.realm).bytes());
        assert!([400, 401].contains(&answer.code()), "without {missing:#x}: {answer:?}");
    }
    let realm = Challenge { realm: "another.realm".to_owned(), ..challenge.clone() };
    assert_eq!(client.exchange(&allocate().signed(&login, &realm).bytes()).code(), 401, "another realm");
    let bob = Login::new("bob", &login.password);
    assert_eq!(client.exchange(&allocate().signed(&bob, &challenge).bytes()).code(), 401, "another name");
    assert_eq!(client.refresh(600), 437, "nothing was allocated");
}

/// Also what `aftermath` looks for in the log.
pub(super) const HOSTILE: &str = "%n%s%x'; DROP TABLE users; --\r\nGET / \x1b[31mfake log line";

fn a09_a10_hostile_strings_get_nowhere(daemon: &Daemon, on: Transport) {
    let mut client = Client::challenged(daemon, on);
    let good = client.challenge.clone();
    let long = ["x".repeat(508), "x".repeat(509), "x".repeat(763), "x".repeat(764), "x".repeat(8_000)];
    let strange = [HOSTILE, "alice\0", "\0", "", "alice:e2e.test", "../../etc/passwd", "\u{202e}ecila"];
    for text in long.iter().map(String::as_str).chain(strange) {
        for (login, challenge) in [
            (Login::new(text, "alice's long secret"), good.clone()),
            (client.login.clone(), Challenge { realm: text.to_owned(), ..good.clone() }),
            (client.login.clone(), Challenge { nonce: text.to_owned(), ..good.clone() }),
        ] {
            let bytes = allocate().signed(&login, &challenge).bytes();
            client.say(&bytes).is_no_success(&format!("{} bytes of text", text.len()));
        }
    }
    // ACCESS-TOKEN (RFC 7635), whose length overflowed a stack in CVE-2026-43994.
    for length in [0, 1, 2, 300, 4_000, 9_000] {
        let token = allocate().with(0x001B, &vec![0xFF; length]);
        client.say(&token.bytes()).is_no_success("a token nobody asked for");
        client.say(&token.signed(&client.login, &good).bytes()).is_no_success("the same, signed");
    }
    let giant = allocate().with(attr::USERNAME, &[b'x'; 60_000]).bytes();
    client.say(&giant).is_silence("a name of 60 000 bytes");
    assert_eq!(client.refresh(600), 437, "nothing was allocated");
}

fn a11_a12_a_replay_from_elsewhere_touches_nobody(daemon: &Daemon, on: Transport) {
    let (_peer, address) = peer();
    let (mut victim, relayed) = Client::allocated(daemon, on);
    let signed = |ask: Ask| ask.signed(&victim.login, &victim.challenge).bytes();
    let own = if on.is_ipv6() { relayed } else { address };
    let overheard = [
        signed(Ask::request(method::REFRESH).lifetime(0)),
        signed(Ask::request(method::CREATE_PERMISSION).peer(own)),
        signed(Ask::request(method::CHANNEL_BIND).channel(0x4000).peer(own)),
        signed(allocate()),
    ];
    let mut thief = Client::open(daemon, on);
    for bytes in &overheard {
        let code = thief.exchange(bytes).code();
        assert!([437, 438].contains(&code), "a replayed request got {code}");
    }
    assert_eq!(victim.refresh(600), 0, "the victim's allocation is alive");
    assert_eq!(victim.bind(0x4001, own), 0, "and nothing was bound in its name");
}

fn a13_another_account_on_the_same_five_tuple_is_441(daemon: &Daemon, on: Transport) {
    let (mut client, _) = Client::allocated(daemon, on);
    let alice = std::mem::replace(&mut client.login, Login::new("bob", "quite another secret"));
    let (_, peer) = peer();
    assert_eq!(client.refresh(0), 441);
    assert_eq!(client.permit(peer), 441);
    assert_eq!(client.bind(0x4000, peer), 441);
    assert_eq!(client.code(allocate()), 437, "an Allocate finds the five-tuple in use (RFC 8656 §7.2)");
    client.login = alice;
    assert_eq!(client.refresh(600), 0);
}

fn a15_every_success_is_signed(daemon: &Daemon, on: Transport) {
    let mut client = Client::challenged(daemon, on);
    let relayed = allocate();
    let allocated = client.ask(if on.is_ipv6() { relayed.family(2) } else { relayed });
    let (_, outside) = peer();
    let peer = if on.is_ipv6() { allocated.address(attr::XOR_RELAYED_ADDRESS).unwrap() } else { outside };
    let others = [
        Ask::request(method::REFRESH).lifetime(600),
        Ask::request(method::CREATE_PERMISSION).peer(peer),
        Ask::request(method::CHANNEL_BIND).channel(0x4000).peer(peer),
        Ask::request(method::REFRESH).lifetime(0),
    ];
    let mut answers = vec![allocated];
    answers.extend(others.map(|ask| client.ask(ask)));
    for answer in answers {
        assert!(answer.is_success() && answer.is_signed_by(&client.login, "e2e.test"), "{answer:?}");
    }
}
