//! A partner with a modified client gains nothing: not an address, not a minute on the relay, not a word, not a year of age.

use e2e::client::Ended;
use e2e::raw::message::{attr, method};
use e2e::raw::{Ask, Client, Link};
use e2e::voice::{CHANNEL, OFFER, Voice, Ways, login, rtp, talk};
use e2e::{Caller, Claims, Daemon, eventually, vitals::metric};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;

/// Long enough for what would come at once, short enough to wait for what must not.
const A_MOMENT: Duration = Duration::from_millis(500);
/// Where the victim's datagrams come from; nobody may learn it.
const HOME: &str = "127.0.7.77";

/// Everything said until the server answers a ping.
async fn everything_said(caller: &mut Caller) -> Vec<Value> {
    caller.send(json!({ "t": "ping", "p": 77 })).await;
    let mut said = Vec::new();
    loop {
        let message = caller.next().await.unwrap();
        if message["t"] == "pong" && message["p"] == 77 {
            return said;
        }
        said.push(message);
    }
}

async fn refused(caller: &mut Caller, message: Value, code: &str) {
    let t = message["t"].clone();
    caller.send(message).await;
    let said = everything_said(caller).await;
    assert!(said.iter().any(|it| it["t"] == "error" && it["code"] == code), "{t}: {said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_tries_to_learn_the_others_address_learns_the_relays() {
    let daemon = Daemon::local().start();
    let home = Ways { source: HOME.parse().unwrap(), ..Ways::straight(&daemon) };
    let mut victim = Voice::enter_by(home, &Claims::adult("victim")).await;
    let mut spy = Voice::enter(&daemon, "spy").await;
    let at_home = victim.turn.link.local();
    assert_eq!(at_home.ip(), home.source);
    // Even a victim's client that says where it is: in the description, in candidates, in what lies behind a relay.
    let told = OFFER.replace("IN IP4 127.0.0.1", &format!("IN IP4 {HOME}")).replace("0.0.0.0", HOME);
    assert!(told.contains(HOME));
    victim.caller.send(json!({ "t": "queue", "offer": { "gen": 1, "sdp": told } })).await;
    victim.caller.expect("queued").await;
    spy.caller.send(json!({ "t": "queue" })).await;
    let matched = spy.caller.matched().await;
    let call = victim.caller.matched().await["call"].clone();
    let (own, port) = (victim.relayed, at_home.port());
    let line = format!("candidate:1 1 udp 1 {} {} typ relay raddr {HOME} rport {port}", own.ip(), own.port());
    victim.caller.send(json!({ "t": "cand", "call": call, "gen": 1, "mid": "0", "c": line })).await;
    for typ in ["host", "srflx raddr 0.0.0.0 rport 0"] {
        let line = format!("candidate:2 1 udp 2122260223 {HOME} {port} typ {typ}");
        refused(&mut victim.caller, json!({ "t": "cand", "call": call, "gen": 1, "mid": "0", "c": line }), "E_CAND")
            .await;
    }
    victim.turn.send_to(spy.relayed, &rtp(0));
    assert_eq!(spy.turn.expect_data().peer, Some(victim.relayed), "the relay's address and no other");
    let mut said = everything_said(&mut spy.caller).await;
    assert!(said.iter().any(|it| it["t"] == "cand"), "the issued one came: {said:?}");
    said.push(matched);
    let said = Value::from(said).to_string();
    assert!(!said.contains(HOME) && !said.contains(&port.to_string()), "{said}");

    // A way around the relay: an own address as bait, the victim's as a peer.
    let bait = "candidate:1 1 udp 2122260223 127.0.0.1 9 typ host";
    refused(&mut spy.caller, json!({ "t": "cand", "call": call, "gen": 1, "mid": "0", "c": bait }), "E_CAND").await;
    assert_eq!((spy.turn.permit(at_home), spy.turn.bind(CHANNEL, at_home)), (403, 403));
    spy.turn.send_to(at_home, &rtp(0));
    assert_eq!(victim.turn.data(A_MOMENT), None);
    assert!(everything_said(&mut victim.caller).await.iter().all(|it| it["t"] != "cand"));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_keeps_sending_after_hang_up_has_no_allocation_any_more() {
    let daemon = Daemon::local().start();
    let (mut honest, mut clingy) = (Voice::enter(&daemon, "honest").await, Voice::enter(&daemon, "clingy").await);
    let call = talk(&mut honest, &mut clingy).await;
    clingy.speak(0);
    assert_eq!(honest.turn.expect_data().channel, Some(CHANNEL));
    honest.caller.send(json!({ "t": "hangup", "call": call })).await;
    assert_eq!(clingy.caller.at_last("ended").await["why"], "hangup");
    clingy.speak(1);
    assert_eq!(honest.turn.data(A_MOMENT), None, "nothing passes once `ended` is said");
    for (what, ask) in [
        ("refresh", Ask::request(method::REFRESH).lifetime(3600)),
        ("permission", Ask::request(method::CREATE_PERMISSION).peer(honest.relayed)),
        ("channel", Ask::request(method::CHANNEL_BIND).channel(CHANNEL).peer(honest.relayed)),
        ("the same again", Ask::request(method::ALLOCATE).transport(17)),
    ] {
        assert_ne!(clingy.turn.code(ask), 0, "{what}");
    }
    let link = Link::udp_from("127.0.0.1".parse().unwrap(), daemon.turn());
    let mut elsewhere = Client::over(link, clingy.turn.login.clone());
    elsewhere.fetch_challenge();
    assert_ne!(elsewhere.code(Ask::request(method::ALLOCATE).transport(17)), 0, "nor from another port");
    eventually("nothing is left", || (metric(&daemon, "relay_allocations", "") == 0).then_some(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_names_another_call_reads_and_ends_nothing_of_it() {
    let daemon = Daemon::local().start();
    let mut people = Vec::new();
    for name in ["one", "two", "eve", "mallory"] {
        people.push(Voice::enter(&daemon, name).await);
    }
    let [one, two, eve, mallory] = &mut people[..] else { unreachable!("four came") };
    let call = talk(one, two).await;
    talk(eve, mallory).await;
    for message in [
        json!({ "t": "text", "call": call, "k": 1, "b": "let me in" }),
        json!({ "t": "ack", "call": call }),
        json!({ "t": "typing", "call": call }),
        json!({ "t": "mic", "call": call, "s": "muted" }),
        json!({ "t": "offer", "call": call, "gen": 1, "sdp": OFFER }),
        json!({ "t": "cand", "call": call, "gen": 1, "c": null }),
        json!({ "t": "restart", "call": call }),
        json!({ "t": "next", "call": call }),
        json!({ "t": "hangup", "call": call }),
        json!({ "t": "block", "call": call }),
        json!({ "t": "report", "call": call, "cat": "other" }),
    ] {
        refused(&mut eve.caller, message, "E_CALL").await;
    }
    // Their session, with its number and a guess at the key.
    let mut thief = Caller::open(&daemon, None).await.unwrap();
    let resume = json!({ "sid": one.welcome["sid"], "key": "AAAAAAAAAAAAAAAAAAAAAA", "n": 0 });
    thief.send(json!({ "t": "hello", "v": [1], "resume": resume })).await;
    assert_eq!(thief.next().await.unwrap()["code"], "E_TOKEN");
    assert_eq!(thief.next().await, Err(Ended::Closed(Some(4401))));
    // Their media, with an own place on the relay.
    for target in [one.relayed, two.relayed] {
        assert_eq!((eve.turn.permit(target), eve.turn.bind(0x4001, target)), (403, 403));
        eve.turn.send_to(target, &rtp(0));
    }
    one.caller.send(json!({ "t": "text", "call": call, "k": 1, "b": "between us" })).await;
    assert_eq!(two.caller.at_last("text").await["b"], "between us");
    one.speak(0);
    assert!(two.turn.expect_data().channel.is_some(), "and nothing of hers came before it");
    let overheard = Value::from(everything_said(&mut eve.caller).await).to_string();
    assert!(!overheard.contains("between us"), "{overheard}");
    assert_eq!(eve.turn.data(A_MOMENT), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_skips_the_age_gate_stands_before_it() {
    let daemon = Daemon::local().set("matching.min_band = '16-17'").start();
    let hopeless = [
        Value::Null,
        json!({}),
        json!({ "ok": false, "band": "18+" }),
        json!({ "ok": true }),
        json!({ "ok": true, "band": "12" }),
        json!({ "ok": true, "band": "13-15" }),
        json!({ "ok": true, "band": "99+" }),
        json!({ "ok": 1, "band": "18+" }),
        json!([true, "18+"]),
        json!("18+"),
    ];
    for age in hopeless {
        let mut caller = Caller::open(&daemon, None).await.unwrap();
        let token = Claims::adult("young").with("age", age.clone()).token();
        caller.send(json!({ "t": "queue", "age": { "ok": true, "band": "18+" } })).await;
        assert_eq!(caller.next().await.unwrap()["code"], "E_STATE", "nothing before hello");
        caller.send(json!({ "t": "hello", "v": [1], "token": token, "age": { "ok": true, "band": "18+" } })).await;
        let said = caller.next().await.unwrap();
        assert!(["E_AGE", "E_TOKEN"].contains(&said["code"].as_str().unwrap_or_default()), "{age}: {said}");
        assert!(said.get("ice").is_none());
        assert!(matches!(caller.next().await, Err(Ended::Closed(Some(4401 | 4403)))), "{age}");
    }
    assert_eq!(metric(&daemon, "relay_signalling_welcomes_total", ""), 0);
    // And who is admitted stays in the own band, whatever the frames say.
    let teen = Claims::adult("teen").with("age", json!({ "ok": true, "band": "16-17" })).token();
    let (mut teen, _) = Caller::connect(&daemon, &teen).await;
    let (mut adult, _) = Caller::connect(&daemon, &Claims::adult("adult").token()).await;
    for caller in [&mut adult, &mut teen] {
        caller.send(json!({ "t": "queue", "band": "18+", "age": { "ok": true, "band": "18+" } })).await;
        caller.expect("queued").await;
    }
    tokio::time::sleep(A_MOMENT).await;
    for caller in [&mut adult, &mut teen] {
        caller.send(json!({ "t": "leave" })).await;
        caller.expect("left").await;
    }
}

/// How the packets of a tunnel begin: IP as it is, and in what people wrap it.
const TUNNELS: [&[u8]; 9] = [
    // An ICMP echo request from 10.0.0.1 to 10.0.0.2, and the same over IPv6.
    &[0x45, 0, 0, 84, 0x12, 0x34, 0x40, 0, 64, 1, 0x14, 0x73, 10, 0, 0, 1, 10, 0, 0, 2, 8, 0],
    &[0x60, 0, 0, 0, 0, 64, 58, 64, 0xFD, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
    // An Ethernet frame between two virtual machines.
    &[0x02, 0x42, 0xAC, 0x11, 0, 2, 0x02, 0x42, 0xAC, 0x11, 0, 3, 8, 0, 0x45],
    // GRE; WireGuard's handshake and data; OpenVPN's; QUIC; TLS.
    &[0, 0, 8, 0, 0x45],
    &[1, 0, 0, 0],
    &[4, 0, 0, 0],
    &[0x38, 1, 2, 3, 4, 5, 6, 7, 8],
    &[0xC0, 0, 0, 0, 1, 8],
    &[22, 3, 1, 2, 0, 1],
];

/// Two who share the credentials of a call, or who stole them, have a line for voice and none for IP packets.
#[tokio::test(flavor = "multi_thread")]
async fn who_sends_ip_packets_with_the_credentials_of_a_call_has_no_tunnel() {
    let packets = || TUNNELS.iter().map(|head| [head, &[0x5A; 140][..]].concat());
    let daemon = Daemon::local().start();
    let (mut one, mut other) = (Voice::enter(&daemon, "one").await, Voice::enter(&daemon, "other").await);
    talk(&mut one, &mut other).await;
    for packet in packets() {
        one.turn.send_on(CHANNEL, &packet);
        one.turn.send_to(other.relayed, &packet);
        other.turn.send_on(CHANNEL, &packet);
        other.turn.send_to(one.relayed, &packet);
    }
    // What arrives first was sent last: nothing of the tunnel came before it, on either side.
    one.speak(1);
    assert_eq!(other.turn.expect_data().payload, rtp(1));
    other.speak(1);
    assert_eq!(one.turn.expect_data().payload, rtp(1));
    let tried = 4 * TUNNELS.len() as u64;
    assert_eq!(metric(&daemon, "relay_drops_total", "reason=\"payload_shape\""), tried);

    // The same packets pass where the operator lets them: it is the shape that stopped them.
    let lenient = Daemon::local().set("calls.payload = 'any'").start();
    let (mut one, mut other) = (Voice::enter(&lenient, "one").await, Voice::enter(&lenient, "other").await);
    talk(&mut one, &mut other).await;
    for packet in packets() {
        one.turn.send_on(CHANNEL, &packet);
        assert_eq!(other.turn.expect_data().payload, packet);
    }
}

/// The credential of one place on the relay opens no second caller's.
#[tokio::test(flavor = "multi_thread")]
async fn who_changes_a_credential_has_none() {
    let daemon = Daemon::local().start();
    let (caller, welcome) = Caller::connect(&daemon, &Claims::adult("somebody").token()).await;
    let good = login(&welcome);
    let parts: Vec<&str> = good.user.split('.').collect();
    let [version, expires, handle, side] = parts[..] else { panic!("{parts:?}") };
    let later = expires.parse::<u64>().unwrap() + 3600;
    let other: String = handle.chars().rev().collect();
    for user in [
        format!("{version}.{later}.{handle}.{side}"),
        format!("{version}.{expires}.{other}.{side}"),
        format!("x{}", good.user),
    ] {
        let mut forged = good.clone();
        forged.user = user;
        let mut client = Client::over(Link::udp_from("127.0.0.1".parse().unwrap(), daemon.turn()), forged);
        client.fetch_challenge();
        let answer = client.ask(Ask::request(method::ALLOCATE).transport(17));
        assert_ne!(answer.code(), 0);
        assert_eq!(answer.address(attr::XOR_RELAYED_ADDRESS), None::<SocketAddr>);
    }
    caller.close().await;
}
