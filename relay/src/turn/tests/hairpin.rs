//! Two allocations of this server talk without the network stack, on one worker or two.

use std::net::SocketAddr;

use super::world::*;
use crate::turn::*;

/// Alice on worker 0 and Bob on the last one, both with ordinary credentials.
fn two(workers: u16) -> (World, (Client, SocketAddr), (Client, SocketAddr)) {
    let mut world = World::new(settings(), workers);
    let alice = world.user_on(0, "alice", 1);
    let bob = world.user_on(usize::from(workers) - 1, "bob", 2);
    let (a, b) = (world.allocate(&alice), world.allocate(&bob));
    (world, (alice, a), (bob, b))
}

#[test]
fn channel_to_channel_is_rewritten_in_place_on_one_worker_and_across_two() {
    for workers in [1, 2] {
        let (mut world, (alice, a), (bob, b)) = two(workers);
        assert_eq!(world.bind(&alice, 0x4001, b), 0);
        assert_eq!(world.bind(&bob, 0x4002, a), 0);
        let there = world.channel(&alice, 0x4001, b"ping");
        assert_eq!(there, Out::Client(bob.remote(), Data::Channel(0x4002, b"ping".to_vec())));
        let back = world.channel(&bob, 0x4002, b"pong");
        assert_eq!(back, Out::Client(alice.remote(), Data::Channel(0x4001, b"pong".to_vec())));
        let hairpins: u64 = world.workers.iter().map(|w| w.counters().relayed_along(Path::Hairpin).packets).sum();
        assert_eq!(hairpins, 2);
    }
}

#[test]
fn the_receiver_sees_the_relayed_address_of_the_sender_and_never_its_own() {
    let (mut world, (alice, a), (bob, b)) = two(2);
    world.permit(&alice, b);
    world.permit(&bob, a);
    let there = world.send(&alice, b, b"ping");
    assert_eq!(there, Out::Client(bob.remote(), Data::Indication(a, b"ping".to_vec())));
}

#[test]
fn the_permission_of_the_receiver_is_always_checked() {
    let (mut world, (alice, a), (bob, b)) = two(2);
    assert_eq!(world.send(&alice, b, b"x"), Out::Nothing);
    assert_eq!(world.dropped(Reason::NoPermission), 1, "not even her own");
    world.permit(&alice, b);
    assert_eq!(world.send(&alice, b, b"x"), Out::Nothing);
    assert_eq!(world.dropped(Reason::NotPermittedByReceiver), 1);
    world.permit(&bob, a);
    assert_ne!(world.send(&alice, b, b"x"), Out::Nothing);
    world.wait_secs(299);
    world.permit(&alice, b);
    world.wait_secs(1);
    assert_eq!(world.send(&alice, b, b"x"), Out::Nothing, "his has ended, hers has not");
    assert_eq!(world.dropped(Reason::NotPermittedByReceiver), 2);
}

#[test]
fn an_expired_or_freed_receiver_gets_nothing() {
    let (mut world, (alice, a), (bob, b)) = two(2);
    world.permit(&alice, b);
    world.permit(&bob, a);
    world.refresh(&bob, 0);
    assert_eq!(world.send(&alice, b, b"x"), Out::Nothing);
    assert_eq!(world.dropped(Reason::PeerGone), 1);

    let (mut world, (alice, a), (bob, b)) = two(2);
    world.refresh(&alice, 3600);
    world.wait_secs(400);
    world.permit(&alice, b);
    world.permit(&bob, a);
    world.wait_secs(199);
    assert_ne!(world.send(&alice, b, b"x"), Out::Nothing);
    world.wait_secs(1);
    assert_eq!(world.send(&alice, b, b"x"), Out::Nothing, "before any timer ran");
}

#[test]
fn a_new_holder_of_the_port_inherits_nothing() {
    let mut world = World::new(Settings { ports: 50_000..=50_001, ..settings() }, 2);
    let (alice, bob, carol) = (world.user_on(0, "alice", 1), world.user_on(1, "bob", 2), world.user_on(1, "carol", 3));
    let (a, b) = (world.allocate(&alice), world.allocate(&bob));
    world.bind(&alice, 0x4000, b);
    world.bind(&bob, 0x4000, a);
    world.refresh(&bob, 0);
    assert_eq!(world.allocate(&carol), b);
    assert_eq!(world.channel(&alice, 0x4000, b"for bob"), Out::Nothing);
    assert_eq!(world.dropped(Reason::NotPermittedByReceiver), 1);
    world.permit(&carol, a);
    let out = world.channel(&alice, 0x4000, b"x");
    assert_eq!(out, Out::Client(carol.remote(), Data::Indication(a, b"x".to_vec())), "no channel of Bob's");
}

#[test]
fn an_allocation_that_sends_to_itself_hears_itself_once_and_no_loop_forms() {
    let (mut world, (alice, a), _) = two(1);
    world.bind(&alice, 0x4000, a);
    let out = world.channel(&alice, 0x4000, b"echo");
    assert_eq!(out, Out::Client(alice.remote(), Data::Channel(0x4000, b"echo".to_vec())));
    assert!(world.workers[0].poll_action().is_none());
}

#[test]
fn the_bound_form_of_a_relayed_address_means_the_same_peer() {
    let (mut world, (alice, a), (bob, b)) = two(1);
    let bound = SocketAddr::new("10.0.0.4".parse().unwrap(), b.port());
    assert_eq!(world.bind(&alice, 0x4000, bound), 0, "live, so checked before the deny list");
    assert_eq!(world.bind(&alice, 0x4001, b), 400, "the same peer");
    world.permit(&bob, a);
    let out = world.channel(&alice, 0x4000, b"x");
    assert_eq!(out, Out::Client(bob.remote(), Data::Indication(a, b"x".to_vec())));
}

#[test]
fn what_took_the_way_through_the_kernel_is_named_by_the_public_form() {
    let (mut world, (alice, a), (bob, b)) = two(1);
    world.bind(&bob, 0x4000, a);
    let from_kernel = SocketAddr::new("10.0.0.4".parse().unwrap(), a.port());
    let out = world.peer_sends(0, b, from_kernel, b"x");
    assert_eq!(out, Out::Client(bob.remote(), Data::Channel(0x4000, b"x".to_vec())));
    let _ = alice;
}

#[test]
fn more_channels_than_the_slot_holds_go_through_the_socket_whose_owner_knows_them_all() {
    let mut world = World::new(settings(), 2);
    let bob = world.user_on(1, "bob", 99);
    let b = world.allocate(&bob);
    let mut senders = Vec::new();
    for number in 0..8 {
        let sender = world.user_on(0, "alice", number);
        let relayed = world.allocate(&sender);
        assert_eq!(world.bind(&bob, 0x4000 + u16::from(number), relayed), 0);
        world.permit(&sender, b);
        senders.push((sender, relayed, 0x4000 + u16::from(number)));
    }
    let mut through_kernel = 0;
    for (sender, relayed, number) in senders {
        match world.send(&sender, b, b"x") {
            Out::Client(to, Data::Channel(got, _)) => assert_eq!((to, got), (bob.remote(), number)),
            Out::Peer { to, .. } => {
                through_kernel += 1;
                assert_eq!(to, SocketAddr::new("10.0.0.4".parse().unwrap(), b.port()));
                let source = SocketAddr::new(to.ip(), relayed.port());
                let out = world.peer_sends(1, b, source, b"x");
                assert_eq!(out, Out::Client(bob.remote(), Data::Channel(number, b"x".to_vec())));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(through_kernel, 3);
}

#[test]
fn ipv6_allocations_hairpin_too() {
    let mut world = World::new(settings(), 2);
    let (alice, bob) = (world.user_on(0, "alice", 1), world.user_on(1, "bob", 2));
    let (a, b) = (world.allocate_v6(&alice), world.allocate_v6(&bob));
    assert_eq!(world.bind(&alice, 0x4000, b), 0);
    world.permit(&bob, a);
    let out = world.channel(&alice, 0x4000, b"x");
    assert_eq!(out, Out::Client(bob.remote(), Data::Indication(a, b"x".to_vec())));
}

#[test]
fn an_ipv6_client_path_survives_the_table() {
    let mut world = World::new(settings(), 2);
    let from = five_tuple(addr("[2001:db8::9]:7000"));
    let bob = world.client_at(from, 1, "bob", "bob's secret");
    let alice = world.user("alice", 1);
    let (a, b) = (world.allocate(&alice), world.allocate(&bob));
    world.permit(&bob, a);
    world.permit(&alice, b);
    let datagram = crate::wire::Request::indication(crate::wire::Method::Send, world.transaction());
    let datagram = datagram.xor_peer_address(b).data(b"x").finish(None);
    let mut buffer = vec![0; HEADROOM + datagram.len() + TAILROOM];
    buffer[HEADROOM..HEADROOM + datagram.len()].copy_from_slice(&datagram);
    let range = HEADROOM..HEADROOM + datagram.len();
    let now = world.now;
    let forward = world.workers[0].handle_client(now, &alice.from, &mut Packet::new(&mut buffer, range));
    assert!(matches!(forward, Forward::ToClient { to, .. } if to == from));
}
