//! Channels (RFC 8656 §12; hostile.md C).

use super::world::*;
use crate::turn::*;
use crate::wire::{Method, Request};

#[test]
fn only_the_rfc_range_may_be_bound() {
    let mut world = world();
    let alice = world.user("alice", 1);
    world.allocate(&alice);
    for number in [0, 0x3FFF, 0x5000, 0x7FFF, 0x8000, 0xFFFF] {
        assert_eq!(world.bind(&alice, number, outside(1)), 400, "{number:#x}");
    }
    assert_eq!(world.bind(&alice, 0x4FFF, outside(1)), 0);
}

#[test]
fn legacy_channels_work_for_those_who_turn_them_on() {
    let mut world = World::new(Settings { legacy_channels: true, ..settings() }, 1);
    let alice = world.user("alice", 1);
    world.allocate(&alice);
    assert_eq!(world.bind(&alice, 0x7FFF, outside(1)), 0);
    assert_eq!(world.bind(&alice, 0x8000, outside(2)), 400);
    assert!(matches!(world.channel(&alice, 0x7FFF, b"x"), Out::Peer { .. }));
}

#[test]
fn number_and_peer_must_both_be_there() {
    let mut world = world();
    let alice = world.user("alice", 1);
    world.allocate(&alice);
    assert_eq!(world.ask(&alice, Method::ChannelBind, |r| r.channel_number(0x4000)).code, 400);
    assert_eq!(world.ask(&alice, Method::ChannelBind, |r| r.xor_peer_address(outside(1))).code, 400);
}

#[test]
fn rebinding_is_for_the_same_pair_only() {
    let mut world = world();
    let alice = world.user("alice", 1);
    world.allocate(&alice);
    assert_eq!(world.bind(&alice, 0x4000, outside(1)), 0);
    assert_eq!(world.bind(&alice, 0x4000, outside(2)), 400, "number taken");
    assert_eq!(world.bind(&alice, 0x4001, outside(1)), 400, "peer taken");
    assert_eq!(world.bind(&alice, 0x4000, outside(1)), 0, "a refresh");
}

#[test]
fn a_channel_brings_a_permission_that_ends_before_it() {
    let mut world = world();
    let alice = world.user("alice", 1);
    let relayed = world.allocate(&alice);
    world.bind(&alice, 0x4000, outside(1));
    assert!(matches!(world.channel(&alice, 0x4000, b"x"), Out::Peer { .. }));
    world.wait_secs(300);
    assert_eq!(world.channel(&alice, 0x4000, b"x"), Out::Nothing, "permission checked on channel traffic");
    assert_eq!(world.peer_sends(0, relayed, outside(1), b"x"), Out::Nothing);
    assert_eq!(world.dropped(Reason::NoPermission), 2);
    world.permit(&alice, outside(1));
    assert!(matches!(world.channel(&alice, 0x4000, b"x"), Out::Peer { .. }), "the channel is still bound");
    let back = world.peer_sends(0, relayed, outside(1), b"y");
    assert_eq!(back, Out::Client(alice.remote(), Data::Channel(0x4000, b"y".to_vec())));
}

#[test]
fn expired_channel_is_unbound_and_may_be_bound_anew() {
    let mut world = world();
    let alice = world.user("alice", 1);
    let relayed = world.allocate(&alice);
    world.refresh(&alice, 3600);
    world.bind(&alice, 0x4000, outside(1));
    world.wait_secs(600);
    world.permit(&alice, outside(1));
    assert_eq!(world.channel(&alice, 0x4000, b"x"), Out::Nothing);
    assert_eq!(world.dropped(Reason::UnboundChannel), 1);
    let back = world.peer_sends(0, relayed, outside(1), b"y");
    assert_eq!(back, Out::Client(alice.remote(), Data::Indication(outside(1), b"y".to_vec())));
    assert_eq!(world.bind(&alice, 0x4000, outside(2)), 0, "the wait of 5 minutes binds the client (§12)");
    assert_eq!(world.bind(&alice, 0x4001, outside(1)), 0);
}

#[test]
fn channels_are_capped() {
    let mut world = World::new(Settings { max_channels: 2, ..settings() }, 1);
    let alice = world.user("alice", 1);
    world.allocate(&alice);
    assert_eq!(world.bind(&alice, 0x4000, outside(1)), 0);
    assert_eq!(world.bind(&alice, 0x4001, outside(2)), 0);
    assert_eq!(world.bind(&alice, 0x4002, outside(3)), 508);
    assert_eq!(world.send(&alice, outside(3), b"x"), Out::Nothing, "and no permission came of it");
    assert_eq!(world.bind(&alice, 0x4001, outside(2)), 0);
}

#[test]
fn a_refused_bind_leaves_no_channel_behind() {
    let mut world = World::new(Settings { max_permissions: 1, ..settings() }, 1);
    let alice = world.user("alice", 1);
    world.allocate(&alice);
    world.permit(&alice, outside(1));
    assert_eq!(world.bind(&alice, 0x4000, outside(2)), 508);
    assert_eq!(world.channel(&alice, 0x4000, b"x"), Out::Nothing);
    assert_eq!(world.bind(&alice, 0x4000, outside(1)), 0);
}

#[test]
fn channel_data_that_lies_is_dropped() {
    let mut world = world();
    let alice = world.user("alice", 1);
    world.allocate(&alice);
    world.bind(&alice, 0x4000, outside(1));
    let mut long = channel_data(0x4000, b"abcd");
    long[3] = 5;
    for lie in [&long[..], &[0x40], &[0x40, 0, 0], &[0x40, 0, 0xFF, 0xFF], &channel_data(0x4001, b"x")] {
        assert_eq!(world.data(&alice, lie), Out::Nothing);
    }
    assert_eq!(world.dropped(Reason::Unrecognised), 4);
    assert_eq!(world.dropped(Reason::UnboundChannel), 1);
    let mut padded = channel_data(0x4000, b"a");
    padded.extend_from_slice(&[0; 3]);
    assert!(matches!(world.data(&alice, &padded), Out::Peer { payload, .. } if payload == b"a"));
    assert!(matches!(world.channel(&alice, 0x4000, b""), Out::Peer { payload, .. } if payload.is_empty()));
}

#[test]
fn channel_data_counts_only_from_its_own_five_tuple() {
    let mut world = world();
    let (alice, bob) = (world.user("alice", 1), world.user("bob", 2));
    world.allocate(&alice);
    world.bind(&alice, 0x4000, outside(1));
    assert_eq!(world.channel(&bob, 0x4000, b"x"), Out::Nothing);
    assert_eq!(world.dropped(Reason::NoAllocation), 1);
    let elsewhere = Client { from: FiveTuple { local: addr("203.0.113.7:3479"), ..alice.from }, ..alice.clone() };
    assert_eq!(world.channel(&elsewhere, 0x4000, b"x"), Out::Nothing, "another local address is another five-tuple");
}

#[test]
fn one_channel_number_means_different_peers_to_different_clients() {
    let mut world = world();
    let (alice, bob) = (world.user("alice", 1), world.user("bob", 2));
    world.allocate(&alice);
    world.allocate(&bob);
    world.bind(&alice, 0x4000, outside(1));
    world.bind(&bob, 0x4000, outside(2));
    assert!(matches!(world.channel(&alice, 0x4000, b"x"), Out::Peer { to, .. } if to == outside(1)));
    assert!(matches!(world.channel(&bob, 0x4000, b"x"), Out::Peer { to, .. } if to == outside(2)));
}

#[test]
fn of_two_peers_in_one_bind_the_first_counts() {
    let mut world = world();
    let alice = world.user("alice", 1);
    world.allocate(&alice);
    let two = |r: Request| r.channel_number(0x4000).xor_peer_address(outside(1)).xor_peer_address(outside(2));
    assert_eq!(world.ask(&alice, Method::ChannelBind, two).code, 0);
    assert!(matches!(world.channel(&alice, 0x4000, b"x"), Out::Peer { to, .. } if to == outside(1)));
}

#[test]
fn a_rebind_renews_the_channel_for_ten_minutes_and_the_permission_for_five() {
    let mut world = world();
    let alice = world.user("alice", 1);
    let relayed = world.allocate(&alice);
    world.refresh(&alice, 3600);
    world.bind(&alice, 0x4000, outside(1));
    world.wait_secs(599);
    assert_eq!(world.bind(&alice, 0x4000, outside(1)), 0);
    world.wait_secs(299);
    assert!(matches!(world.channel(&alice, 0x4000, b"x"), Out::Peer { .. }));
    world.wait_secs(300);
    world.permit(&alice, outside(1));
    let back = world.peer_sends(0, relayed, outside(1), b"y");
    assert_eq!(back, Out::Client(alice.remote(), Data::Channel(0x4000, b"y".to_vec())), "599 s after the rebind");
    world.wait_secs(1);
    assert_eq!(world.channel(&alice, 0x4000, b"x"), Out::Nothing, "and after 600 s it is over");
}

#[test]
fn data_renews_neither_channel_nor_permission() {
    let mut world = world();
    let alice = world.user("alice", 1);
    let relayed = world.allocate(&alice);
    world.refresh(&alice, 3600);
    world.bind(&alice, 0x4000, outside(1));
    for _ in 0..29 {
        world.wait_secs(10);
        assert_ne!(world.channel(&alice, 0x4000, b"x"), Out::Nothing);
        assert_ne!(world.peer_sends(0, relayed, outside(1), b"y"), Out::Nothing);
    }
    world.wait_secs(10);
    assert_eq!(world.channel(&alice, 0x4000, b"x"), Out::Nothing, "the permission (§12.6)");
    for _ in 0..30 {
        world.permit(&alice, outside(1));
        world.channel(&alice, 0x4000, b"x");
        world.wait_secs(10);
    }
    assert_eq!(world.channel(&alice, 0x4000, b"x"), Out::Nothing);
    assert_eq!(world.dropped(Reason::UnboundChannel), 1, "the channel (§12.6)");
}

#[test]
fn a_channel_is_for_a_transport_address_so_every_port_is_another_peer() {
    let mut world = world();
    let alice = world.user("alice", 1);
    let relayed = world.allocate(&alice);
    let other = std::net::SocketAddr::new(outside(1).ip(), 9001);
    assert_eq!(world.bind(&alice, 0x4000, outside(1)), 0);
    assert_eq!(world.bind(&alice, 0x4000, other), 400);
    let heard = world.peer_sends(0, relayed, other, b"x");
    assert_eq!(heard, Out::Client(alice.remote(), Data::Indication(other, b"x".to_vec())), "permitted, not bound");
    assert_eq!(world.bind(&alice, 0x4001, other), 0);
    assert!(matches!(world.channel(&alice, 0x4001, b"x"), Out::Peer { to, .. } if to == other));
}

#[test]
fn channel_data_with_a_reserved_number_is_dropped_whatever_is_bound() {
    let mut world = world();
    let alice = world.user("alice", 1);
    world.allocate(&alice);
    world.bind(&alice, 0x4000, outside(1));
    for number in [0x5000, 0x7FFF, 0x8000, 0xFFFF] {
        assert_eq!(world.channel(&alice, number, b"x"), Out::Nothing, "{number:#x} (§12.6)");
    }
    assert_eq!(world.dropped(Reason::UnboundChannel) + world.dropped(Reason::Unrecognised), 4);
}

#[test]
fn both_ends_of_the_range_are_channels_and_their_neighbours_are_not() {
    let mut world = world();
    let alice = world.user("alice", 1);
    world.allocate(&alice);
    for (last, number, code) in [(1, 0x3FFF, 400), (2, 0x4000, 0), (3, 0x4FFF, 0), (4, 0x5000, 400)] {
        assert_eq!(world.bind(&alice, number, outside(last)), code, "{number:#x} (§12.2)");
    }
}
