//! Data to and from peers outside (RFC 8656 §11, §12): where it goes, what is in front of it, what it costs.

use super::world::*;
use crate::access;
use crate::turn::*;
use crate::wire::{Method, Request, attribute as attr};

/// A client with a channel to one outside peer.
fn ready() -> (World, Client, std::net::SocketAddr) {
    let mut world = world();
    let alice = world.user("alice", 1);
    let relayed = world.allocate(&alice);
    world.bind(&alice, 0x4000, outside(1));
    (world, alice, relayed)
}

#[test]
fn client_data_leaves_from_the_relayed_port_to_the_peer() {
    let (mut world, alice, relayed) = ready();
    let from = world.shared.routes.locate(relayed).unwrap();
    let expected = || Out::Peer { from, to: outside(1), payload: b"voice".to_vec() };
    assert_eq!(world.channel(&alice, 0x4000, b"voice"), expected());
    assert_eq!(world.send(&alice, outside(1), b"voice"), expected());
    let counters = world.workers[0].counters();
    assert_eq!(counters.relayed_along(Path::ClientToPeer), Relayed { packets: 2, bytes: 10 });
}

#[test]
fn peer_data_comes_by_channel_if_one_is_bound_and_as_indication_if_not() {
    let (mut world, alice, relayed) = ready();
    let out = world.peer_sends(0, relayed, outside(1), b"hello");
    assert_eq!(out, Out::Client(alice.remote(), Data::Channel(0x4000, b"hello".to_vec())));
    let other_port = std::net::SocketAddr::new(outside(1).ip(), 77);
    for payload in [&b""[..], b"a", b"ab", b"abc", b"abcd", &[7; 1400]] {
        let out = world.peer_sends(0, relayed, other_port, payload);
        assert_eq!(out, Out::Client(alice.remote(), Data::Indication(other_port, payload.to_vec())));
    }
}

#[test]
fn ipv6_peers_work_alike() {
    let mut world = world();
    let alice = world.user("alice", 1);
    let relayed = world.allocate_v6(&alice);
    let peer = addr("[2606:2800:220:1::1]:9000");
    assert_eq!(world.permit(&alice, peer), 0);
    assert!(matches!(world.send(&alice, peer, b"six"), Out::Peer { to, .. } if to == peer));
    let out = world.peer_sends(0, relayed, peer, b"six");
    assert_eq!(out, Out::Client(alice.remote(), Data::Indication(peer, b"six".to_vec())));
}

#[test]
fn a_send_indication_that_is_not_whole_is_not_relayed() {
    let (mut world, alice, _) = ready();
    let mut send = |fill: &dyn Fn(Request) -> Request| {
        let id = world.transaction();
        let bytes = fill(Request::indication(Method::Send, id)).finish(None);
        world.data(&alice, &bytes)
    };
    assert_eq!(send(&|r| r.xor_peer_address(outside(1))), Out::Nothing, "no data");
    assert_eq!(send(&|r| r.data(b"x")), Out::Nothing, "no peer");
    let unknown = |r: Request| r.xor_peer_address(outside(1)).data(b"x").raw(0x7FF1, &[]);
    assert_eq!(send(&unknown), Out::Nothing, "unknown required attribute");
    assert_eq!(send(&|r| r.raw(attr::XOR_PEER_ADDRESS, &[0; 4]).data(b"x")), Out::Nothing, "short address");
    let twice = |r: Request| r.xor_peer_address(outside(1)).xor_peer_address(outside(2)).data(b"x");
    assert!(matches!(send(&twice), Out::Peer { to, .. } if to == outside(1)), "the first counts");
    let fragment = |r: Request| r.xor_peer_address(outside(1)).data(b"x").dont_fragment();
    assert!(matches!(send(&fragment), Out::Peer { .. }));
}

#[test]
fn data_without_an_allocation_meets_silence() {
    let mut world = world();
    let alice = world.user("alice", 1);
    let replies = world.replies.len();
    assert_eq!(world.send(&alice, outside(1), b"x"), Out::Nothing);
    assert_eq!(world.channel(&alice, 0x4000, b"x"), Out::Nothing);
    assert_eq!(world.replies.len(), replies);
    assert_eq!(world.dropped(Reason::NoAllocation), 2);
}

#[test]
fn data_waits_for_no_socket_that_is_still_being_bound() {
    let mut world = world();
    world.slow_opens = true;
    let alice = world.user("alice", 1);
    let request = world.signed(&alice, Method::Allocate, |r| r.requested_transport(UDP));
    world.deliver(&alice, &request);
    let (_, port) = world.opens[0];
    let relayed = world.shared.routes.public(port).unwrap();
    assert_eq!(world.send(&alice, outside(1), b"x"), Out::Nothing);
    assert_eq!(world.peer_sends(0, relayed, outside(1), b"x"), Out::Nothing);
}

#[test]
fn without_room_for_a_header_a_packet_is_dropped_and_not_damaged() {
    let (mut world, _, relayed) = ready();
    let port = world.shared.routes.locate(relayed).unwrap();
    let mut buffer = *b"xyzpayload";
    let now = world.now;
    let forward = world.workers[0].handle_peer(now, port, outside(1), &mut Packet::new(&mut buffer, 3..10));
    assert_eq!(forward, Forward::None);
    assert_eq!(&buffer, b"xyzpayload");
    assert_eq!(world.dropped(Reason::NoRoom), 1);
}

#[test]
fn the_headers_overwrite_nothing_but_headroom() {
    let (mut world, _, relayed) = ready();
    let port = world.shared.routes.locate(relayed).unwrap();
    let now = world.now;
    let mut buffer = vec![0xEE; HEADROOM + 5 + TAILROOM];
    let range = HEADROOM..HEADROOM + 5;
    let forward = world.workers[0].handle_peer(now, port, outside(1), &mut Packet::new(&mut buffer, range));
    assert!(matches!(forward, Forward::ToClient { data, .. } if data == (HEADROOM - 4..HEADROOM + 5)));
    assert!(buffer[..HEADROOM - 4].iter().chain(&buffer[HEADROOM..]).all(|&byte| byte == 0xEE));
}

#[test]
fn a_range_outside_the_buffer_is_an_empty_datagram() {
    let (mut world, alice, _) = ready();
    let mut buffer = [0; 8];
    let now = world.now;
    let mut packet = Packet::new(&mut buffer, 4..9);
    assert_eq!(world.workers[0].handle_client(now, &alice.from, &mut packet), Forward::None);
}

#[test]
fn relaying_leaves_nothing_to_do_and_no_timer() {
    let (mut world, alice, relayed) = ready();
    world.permit(&alice, outside(2));
    let timers = world.workers[0].allocations.timers();
    let mut outputs = 0;
    for _ in 0..1000 {
        let mut datagram = channel_data(0x4000, b"voice");
        let (mut buffer, now) = (vec![0; HEADROOM], world.now);
        buffer.append(&mut datagram);
        let range = HEADROOM..buffer.len();
        outputs += usize::from(
            world.workers[0].handle_client(now, &alice.from, &mut Packet::new(&mut buffer, range)) != Forward::None,
        );
        assert!(world.workers[0].actions.is_empty());
        assert_ne!(world.peer_sends(0, relayed, outside(2), b"back"), Out::Nothing);
        assert!(world.workers[0].actions.is_empty());
    }
    assert_eq!(outputs, 1000);
    assert_eq!(world.workers[0].allocations.timers(), timers);
}

#[test]
fn every_packet_in_is_a_reply_a_relayed_packet_or_a_drop() {
    let (mut world, alice, relayed) = ready();
    let sum = |world: &World| {
        let counters = world.workers[0].counters();
        let relayed: u64 = counters.relayed().map(|(_, relayed)| relayed.packets).sum();
        counters.drops().map(|(_, n)| n).sum::<u64>() + counters.replies().map(|(_, n)| n).sum::<u64>() + relayed
    };
    let before = sum(&world);
    world.channel(&alice, 0x4000, b"x");
    world.channel(&alice, 0x4001, b"x");
    world.send(&alice, outside(1), b"x");
    world.send(&alice, outside(9), b"x");
    world.peer_sends(0, relayed, outside(1), b"x");
    world.peer_sends(0, relayed, outside(9), b"x");
    world.refresh(&alice, 600);
    world.data(&alice, b"garbage");
    assert_eq!(sum(&world), before + 8);
}

#[test]
fn a_peer_beside_the_relay_is_reached_only_where_the_policy_allows_it() {
    let on_loopback = Settings { addresses: vec![RelayedAddress::same("127.0.0.1".parse().unwrap())], ..settings() };
    let peer = addr("127.0.0.1:9999");
    let mut closed = World::with_access(on_loopback.clone(), 1, access::Settings::default());
    let alice = closed.user("alice", 1);
    closed.allocate(&alice);
    assert_eq!(closed.permit(&alice, peer), 403);

    let allow = access::Settings { allow_peers: vec!["127.0.0.0/8".parse().unwrap()], ..access::Settings::default() };
    let mut open = World::with_access(on_loopback, 1, allow);
    let alice = open.user("alice", 1);
    let relayed = open.allocate(&alice);
    assert_eq!(open.bind(&alice, 0x4000, peer), 0);
    assert!(matches!(open.channel(&alice, 0x4000, b"x"), Out::Peer { to, .. } if to == peer));
    assert!(matches!(open.send(&alice, peer, b"x"), Out::Peer { to, .. } if to == peer));
    let back = open.peer_sends(0, relayed, peer, b"y");
    assert_eq!(back, Out::Client(alice.remote(), Data::Channel(0x4000, b"y".to_vec())));
}
