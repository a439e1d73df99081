//! Limits of answers to strangers, and of what one allocation may relay.

use super::world::*;
use crate::access::ReplyLimits;
use crate::calls::Handle;
use crate::turn::*;
use crate::wire::{Method, Request, attribute as attr};

fn bare(world: &mut World, method: Method) -> Vec<u8> {
    Request::new(method, world.transaction()).requested_transport(UDP).finish(None)
}

fn at(remote: &str) -> Client {
    let [username, password, nonce] = [(); 3].map(|()| String::new());
    Client { from: five_tuple(addr(remote)), worker: 0, username, password, nonce }
}

fn with_replies(per_second: u32, burst: u32) -> World {
    let unauthenticated = ReplyLimits { per_second, burst, ..ReplyLimits::default() };
    World::new(Settings { unauthenticated, ..settings() }, 1)
}

#[test]
fn an_answer_to_a_stranger_is_small() {
    let mut world = world();
    let (v4, v6) = (at("198.51.100.1:4000"), at("[2001:db8:9::1]:4000"));
    let mut length = |client: &Client, method| {
        let request = Request::new(method, world.transaction()).finish(None);
        world.deliver(client, &request).unwrap().bytes.len()
    };
    assert_eq!(length(&v4, Method::Binding), 32);
    assert_eq!(length(&v6, Method::Binding), 44);
    assert_eq!(length(&v4, Method::Allocate), 96, "401 with PASSWORD-ALGORITHMS and a realm of 13");
    assert_eq!(length(&v6, Method::Allocate), 96);
}

#[test]
fn every_kind_of_answer_to_a_stranger_counts() {
    let mut world = with_replies(1, 4);
    let alice = world.user("alice", 1); // 401, the first
    let unknown = Request::new(Method::Binding, world.transaction()).raw(0x7FF1, &[]).finish(None);
    assert_eq!(world.deliver(&alice, &unknown).unwrap().code, 420);
    let nameless = Request::new(Method::Refresh, world.transaction()).finish(Some(&alice.key()));
    assert_eq!(world.deliver(&alice, &nameless).unwrap().code, 400);
    let replayed = Client { nonce: "somebody else's".into(), ..alice.clone() };
    assert_eq!(world.ask(&replayed, Method::Refresh, |request| request).code, 438);
    for method in [Method::Binding, Method::Allocate] {
        let request = bare(&mut world, method);
        assert!(world.deliver(&alice, &request).is_none());
        assert!(world.deliver(&at("198.51.100.99:1"), &request).is_none(), "the same network");
        assert!(world.deliver(&at("198.51.101.99:1"), &request).is_some(), "another one");
    }
    assert_eq!(world.dropped(Reason::ReplyLimit), 4);
    world.wait_secs(1);
    let request = bare(&mut world, Method::Binding);
    assert!(world.deliver(&alice, &request).is_some());
}

#[test]
fn who_has_proved_its_address_is_no_stranger() {
    let mut world = with_replies(1, 2);
    let alice = world.user("alice", 1);
    world.allocate(&alice);
    let request = bare(&mut world, Method::Binding);
    assert!(world.deliver(&alice, &request).is_some());
    assert!(world.deliver(&alice, &request).is_none(), "that was all for strangers");
    for _ in 0..100 {
        assert_eq!(world.refresh(&alice, 600).code, 0);
        assert_eq!(world.permit(&alice, addr("10.0.0.1:9")), 403);
    }
    let stale = Client { nonce: "an old one".into(), ..alice.clone() };
    assert_eq!(world.refresh(&stale, 600).code, 438);
    let guessing = Client { password: "wrong".into(), ..alice.clone() };
    let request = world.signed(&guessing, Method::Refresh, |request| request);
    assert!(world.deliver(&guessing, &request).is_none());
}

#[test]
fn nobody_comes_over_a_connection_in_somebody_elses_name() {
    let mut world = with_replies(1, 2);
    let mut caller = at("198.51.100.1:4000");
    for transport in [Transport::Tcp, Transport::Tls] {
        caller.from.transport = transport(Connection { worker: 0, number: 1 });
        for method in [Method::Binding, Method::Allocate].repeat(10) {
            let request = bare(&mut world, method);
            assert!(world.deliver(&caller, &request).is_some());
        }
    }
    assert_eq!(world.dropped(Reason::ReplyLimit), 0);
}

#[test]
fn a_forged_flood_yields_its_victim_less_than_it_costs_the_sender() {
    let mut world = world();
    let (mut sent, mut packets) = (0, 0);
    while packets < 100_000 {
        let victim = at(&format!("203.0.114.{}:{}", packets % 256, 1024 + packets % 60_000));
        for method in [Method::Binding, Method::Allocate] {
            let request = Request::new(method, world.transaction()).finish(None);
            world.data(&victim, &request);
            (sent, packets) = (sent + request.len(), packets + 1);
        }
    }
    let yielded: usize = world.replies.iter().map(|(_, bytes)| bytes.len()).sum();
    assert!(yielded * 10 < sent, "{yielded} bytes for {sent}");
    assert_eq!(world.dropped(Reason::ReplyLimit) + world.replies.len() as u64, packets);
    let honest = world.user("alice", 1);
    world.allocate(&honest);
}

/// How many of so many packets sent at once reach the other side.
fn through(world: &mut World, from: &Client, packets: usize, payload: usize) -> usize {
    (0..packets).filter(|_| world.channel(from, 0x4000, &vec![7; payload]) != Out::Nothing).count()
}

#[test]
fn a_call_may_send_so_many_packets_and_bits_and_the_rest_is_dropped_and_counted() {
    let limits = Limits { packets_per_second: 400, bits_per_second: 512_000 };
    let mut world = World::new(Settings { call_limits: limits, ..settings() }, 1);
    let (a, b) = world.call();
    let (a, b) = (world.caller(a, 1), world.caller(b, 2));
    world.allocate(&a);
    let to_b = world.allocate(&b);
    assert_eq!(world.bind(&a, 0x4000, to_b), 0);
    assert_eq!(through(&mut world, &a, 1_000, 100), 400);
    assert_eq!(world.dropped(Reason::PacketRate), 600);
    world.wait_secs(10);
    let full = through(&mut world, &a, 100, 1_200);
    assert!((53..=54).contains(&full), "{full} of 1200 bytes from a bucket of 64 KiB");
    assert_eq!(world.dropped(Reason::Bandwidth), 100 - full as u64);
    world.wait_secs(10);
    for _ in 0..50 * 60 {
        assert_eq!(through(&mut world, &a, 1, 122), 1, "voice");
        world.now = world.now.after(20);
    }
}

#[test]
fn in_a_call_passes_what_webrtc_peers_send_and_nothing_else_by_either_way() {
    let mut world = World::new(Settings { call_payload: Payload::WebRtc, ..settings() }, 1);
    let (a, b) = world.call();
    let (a, b) = (world.caller(a, 1), world.caller(b, 2));
    world.allocate(&a);
    let to_b = world.allocate(&b);
    assert_eq!(world.bind(&a, 0x4000, to_b), 0);
    let ip = [&[0x45, 0, 0, 84, 0, 0, 0x40, 0, 64, 1][..], &[0; 74]].concat();
    let rtp = [&[0x80, 111][..], &[7; 120]].concat();
    for (payload, passes) in [(&rtp, true), (&ip, false), (&Vec::new(), false)] {
        assert_eq!(world.channel(&a, 0x4000, payload) != Out::Nothing, passes, "{payload:?}");
        assert_eq!(world.send(&a, to_b, payload) != Out::Nothing, passes, "{payload:?}");
    }
    assert_eq!(world.dropped(Reason::PayloadShape), 4);
    let (user, peer) = (world.user("alice", 3), outside(1));
    world.allocate(&user);
    assert_eq!(world.bind(&user, 0x4000, peer), 0);
    assert_ne!(world.channel(&user, 0x4000, &ip), Out::Nothing, "who has a password relays what they like");
}

#[test]
fn before_its_call_a_handle_reaches_nobody_whatever_it_sends() {
    let mut world = world();
    let [lonely, other] = [1, 2].map(|n| Handle([n; 12]));
    world.shared.ledger.open(lonely).unwrap();
    world.shared.ledger.open(other).unwrap();
    let (lonely, other) = (world.caller(lonely, 1), world.caller(other, 2));
    world.allocate(&lonely);
    let to_other = world.allocate(&other);
    assert_eq!(world.bind(&lonely, 0x4000, to_other), 403);
    assert!((0..1_000).all(|_| world.send(&lonely, to_other, b"anybody?") == Out::Nothing));
    assert_eq!(world.dropped(Reason::PacketRate), 600, "looking in vain has its limit too");
}

#[test]
fn users_have_no_limits_unless_given_and_then_in_either_direction() {
    let limits = Limits { packets_per_second: 5, bits_per_second: 0 };
    for (user_limits, expected) in [(Limits::NONE, 100), (limits, 5)] {
        let mut world = World::new(Settings { user_limits, ..settings() }, 1);
        let alice = world.user("alice", 1);
        let relayed = world.allocate(&alice);
        assert_eq!(world.bind(&alice, 0x4000, outside(1)), 0);
        assert_eq!(through(&mut world, &alice, 100, 10), expected);
        let arrived = (0..100).filter(|_| world.peer_sends(0, relayed, outside(1), b"back") != Out::Nothing).count();
        assert_eq!(arrived, expected, "what arrives is counted on its own");
        world.wait_secs(1);
        let sent = (0..100).filter(|_| world.send(&alice, outside(1), b"indication") != Out::Nothing).count();
        assert_eq!(sent, expected, "Send indications count like ChannelData");
    }
}

#[test]
fn what_the_allocation_itself_refuses_costs_nothing() {
    let user_limits = Limits { packets_per_second: 2, bits_per_second: 0 };
    let mut world = World::new(Settings { user_limits, ..settings() }, 1);
    let alice = world.user("alice", 1);
    let relayed = world.allocate(&alice);
    assert_eq!(world.bind(&alice, 0x4000, outside(1)), 0);
    for _ in 0..50 {
        world.channel(&alice, 0x4001, b"not bound");
        world.send(&alice, outside(2), b"not permitted");
        world.peer_sends(0, relayed, outside(2), b"not permitted");
    }
    assert_eq!(through(&mut world, &alice, 10, 10), 2);
    assert_ne!(world.peer_sends(0, relayed, outside(1), b"still"), Out::Nothing);
}

#[test]
fn attributes_of_the_answer_are_those_its_request_negotiated() {
    use crate::wire::PasswordAlgorithm::{self, Md5, Sha256};
    use crate::wire::{Integrity, Key, Message};
    let mut world = world();
    let alice = world.user("alice", 1);
    let key = |algorithm: PasswordAlgorithm| {
        Key::derive(algorithm, b"alice", REALM.as_bytes(), alice.password.as_bytes()).signing_with(Integrity::Sha256)
    };
    let mut ask = |method, algorithm, fill: fn(Request) -> Request| {
        let request = fill(Request::new(method, world.transaction()))
            .hidden_credentials("alice", REALM, &alice.nonce)
            .password_algorithm(&[Sha256, Md5], algorithm)
            .finish(Some(&key(algorithm)));
        world.deliver(&alice, &request).unwrap()
    };
    let answers = [
        (Method::Refresh, Sha256, 437),
        (Method::Allocate, Sha256, 0),
        (Method::Refresh, Md5, 0),
        (Method::CreatePermission, Sha256, 400),
    ];
    for (method, algorithm, code) in answers {
        let answer = ask(method, algorithm, |request| request.requested_transport(UDP));
        assert_eq!(answer.code, code, "{method:?}");
        let message = Message::parse(&answer.bytes).unwrap();
        assert_eq!(message.integrity(), Some(Integrity::Sha256));
        assert!(message.integrity_matches(&key(algorithm)));
        assert_eq!(message.value(attr::MESSAGE_INTEGRITY), None);
    }
}
