//! Sentences of the RFCs that nothing else here says; `docs/rfc-musts.md` names them.

use super::world::*;
use crate::turn::*;
use crate::wire::{Message, Method, PasswordAlgorithm, Request, attribute as attr};

/// RFC 8656 §7.2 step 8.
#[test]
fn an_even_port_that_is_not_to_be_had_gets_508() {
    let mut world = World::new(Settings { ports: 50_001..=50_002, ..settings() }, 1);
    let (first, second, third) = (world.user("alice", 1), world.user("bob", 2), world.user("carol", 3));
    let pair = world.ask(&first, Method::Allocate, |request| request.requested_transport(UDP).even_port(true));
    assert_eq!((pair.code, pair.token), (508, None), "50002 is even and has no port above it");
    let even = world.ask(&first, Method::Allocate, |request| request.requested_transport(UDP).even_port(false));
    assert_eq!((even.code, even.relayed.map(|relayed| relayed.port())), (0, Some(50_002)));
    let none = world.ask(&second, Method::Allocate, |request| request.requested_transport(UDP).even_port(false));
    assert_eq!((none.code, none.relayed), (508, None));
    assert_eq!(world.allocate(&third).port(), 50_001, "an odd one is left");
}

/// RFC 8656 §18.1, §18.6 to §18.8; RFC 8489 §14.1.
#[test]
fn what_is_reserved_within_attributes_is_ignored() {
    let mut world = world();
    let alice = world.user("alice", 1);
    let allocated = world.ask(&alice, Method::Allocate, |request| {
        let request = request.raw(attr::REQUESTED_TRANSPORT, &[UDP, 0xFF, 0xFF, 0xFF]);
        request.raw(attr::REQUESTED_ADDRESS_FAMILY, &[1, 0xFF, 0xFF, 0xFF]).raw(attr::EVEN_PORT, &[0x7F])
    });
    assert_eq!((allocated.code, allocated.token), (0, None), "only the first bit of EVEN-PORT is R");
    assert_eq!(allocated.relayed.unwrap().port() % 2, 0);
    let bound = world.ask(&alice, Method::ChannelBind, |request| {
        let mut peer = vec![0xFF, 1]; // the first byte is reserved, the second the family
        peer.extend((9000_u16 ^ 0x2112).to_be_bytes());
        peer.extend((u32::from_be_bytes([93, 184, 216, 1]) ^ 0x2112_A442).to_be_bytes());
        request.raw(attr::CHANNEL_NUMBER, &[0x40, 0, 0xFF, 0xFF]).raw(attr::XOR_PEER_ADDRESS, &peer)
    });
    assert_eq!(bound.code, 0);
    assert!(matches!(world.channel(&alice, 0x4000, b"x"), Out::Peer { to, .. } if to == outside(1)));
}

/// RFC 8656 §12.6: no data is data, too.
#[test]
fn channel_data_without_data_is_an_empty_datagram_in_both_directions() {
    let mut world = world();
    let alice = world.user("alice", 1);
    let relayed = world.allocate(&alice);
    assert_eq!(world.bind(&alice, 0x4000, outside(1)), 0);
    let Out::Peer { to, payload, .. } = world.channel(&alice, 0x4000, b"") else { panic!("nothing was sent") };
    assert_eq!((to, payload.len()), (outside(1), 0));
    let back = world.peer_sends(0, relayed, outside(1), b"");
    assert_eq!(back, Out::Client(alice.remote(), Data::Channel(0x4000, Vec::new())));
}

/// RFC 8489 §9.2.4: what a client needs to do better next time, and nothing about who it was.
#[test]
fn every_challenge_brings_realm_nonce_and_algorithms() {
    let mut world = world();
    let alice = world.user("alice", 1);
    let stranger = Client { username: "nobody".into(), ..alice.clone() };
    let wrong = Client { password: "a guess".into(), ..alice.clone() };
    let stale = Client { nonce: "f//499k954d6OL34oL9FSTvy64sA".into(), ..alice.clone() };
    let bare = Request::new(Method::Allocate, world.transaction()).requested_transport(UDP).finish(None);
    let mut answers = vec![(401, String::new(), world.deliver(&alice, &bare).unwrap())];
    for (client, code) in [(stranger, 401), (wrong, 401), (stale, 438)] {
        let answer = world.ask(&client, Method::Allocate, |request| request.requested_transport(UDP));
        answers.push((code, client.nonce, answer));
    }
    for (code, sent, answer) in answers {
        let message = Message::parse(&answer.bytes).unwrap();
        assert_eq!((answer.code, message.realm()), (code, Ok(Some(REALM.as_bytes()))));
        let nonce = message.nonce().unwrap().expect("a nonce");
        assert!(nonce.starts_with(b"obMatJos2") && (code == 401 || nonce != sent.as_bytes()));
        let offered = [PasswordAlgorithm::Sha256, PasswordAlgorithm::Md5];
        assert_eq!(message.repeats_password_algorithms(&offered), Some(true), "{code}");
        assert_eq!((message.username(), message.userhash()), (Ok(None), Ok(None)));
    }
}

/// RFC 8656 §21.4.
#[test]
fn the_ends_of_tunnels_are_neither_clients_nor_peers() {
    let tunnels = ["[2002:808:808::1]:4000", "[2001:0:808:808::f7f7:f7f7]:4000"].map(addr);
    let mut world = world();
    for tunnel in tunnels {
        let client = world.client_at(five_tuple(tunnel), 0, "alice", "alice's secret");
        for family in [1, 2] {
            let wanted = |request: Request| request.requested_transport(UDP).requested_address_family(family);
            assert_eq!(world.ask(&client, Method::Allocate, wanted).code, 403, "{tunnel}");
        }
        assert_eq!(world.bind(&client, 0x4000, outside(1)), 437);
    }
    assert!(world.sockets.is_empty());
    let alice = world.user("alice", 1);
    world.allocate_v6(&alice);
    for tunnel in tunnels {
        assert_eq!((world.permit(&alice, tunnel), world.bind(&alice, 0x4000, tunnel)), (403, 403), "{tunnel}");
        assert_eq!(world.send(&alice, tunnel, b"x"), Out::Nothing);
    }
}

/// RFC 8656 §3.7: who cannot see the DF bit of what comes in over IPv4 does not promise to honour DONT-FRAGMENT into IPv6.
#[test]
fn dont_fragment_is_not_promised_from_ipv4_into_ipv6() {
    let stream = Transport::Tcp(Connection { worker: 0, number: 1 });
    for (remote, transport, family, code) in [
        ("198.51.100.1:4000", Transport::Udp, 2, 420),
        ("198.51.100.1:4000", Transport::Udp, 1, 0),
        ("198.51.100.1:4000", stream, 2, 0),
        ("[2001:db8::9]:4000", Transport::Udp, 2, 0),
        ("[2001:db8::9]:4000", Transport::Udp, 1, 0),
    ] {
        let mut world = world();
        let from = FiveTuple { transport, ..five_tuple(addr(remote)) };
        let alice = world.client_at(from, 0, "alice", "alice's secret");
        let asked = |request: Request| request.requested_transport(UDP).requested_address_family(family);
        let answer = world.ask(&alice, Method::Allocate, |request| asked(request).dont_fragment());
        assert_eq!(answer.code, code, "{remote} over {transport:?} for family {family}");
        let listed: &[u8] = if code == 420 { &[0, 0x1A] } else { &[] };
        assert_eq!(answer.unknown, listed);
    }
}
