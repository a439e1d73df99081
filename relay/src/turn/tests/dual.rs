//! Dual allocations: an IPv4 and an IPv6 relayed address for one five-tuple (RFC 8656 §7.2, §8).

use std::net::SocketAddr;

use super::world::*;
use crate::turn::*;
use crate::wire::{Message, Method, Request};

type Fill = fn(Request) -> Request;

fn outside_v6(last: u8) -> SocketAddr {
    addr(&format!("[2606:2800:220:1::{last:x}]:9000"))
}

fn dual(request: Request) -> Request {
    request.requested_transport(UDP).additional_address_family(2)
}

fn family(number: u8, secs: u32) -> impl Fn(Request) -> Request {
    move |request| request.requested_address_family(number).lifetime(secs)
}

/// Both addresses, IPv4 first, and what was said about one that is missing.
fn relayed(response: &Response) -> (Vec<SocketAddr>, Option<(u8, u16)>) {
    let message = Message::parse(&response.bytes).unwrap();
    (message.xor_relayed_addresses().collect::<Result<_, _>>().unwrap(), message.address_error_code().unwrap())
}

fn allocate_dual(world: &mut World, client: &Client) -> [SocketAddr; 2] {
    let response = world.ask(client, Method::Allocate, dual);
    let (addresses, missing) = relayed(&response);
    assert_eq!((response.code, missing), (0, None));
    addresses.try_into().unwrap()
}

/// Only IPv4 (0) or IPv6 (1) to relay on.
fn only(place: usize) -> Settings {
    Settings { addresses: vec![settings().addresses[place]], ..settings() }
}

#[test]
fn a_dual_allocation_has_one_address_of_each_family_and_frees_both() {
    let mut world = world();
    let (alice, free) = (world.user("alice", 1), world.free_ports());
    let [v4, v6] = allocate_dual(&mut world, &alice);
    assert!(v4.is_ipv4() && v6.is_ipv6());
    assert_eq!((world.sockets.len(), world.free_ports()), (2, free - 2));
    assert_eq!(world.workers[0].counters().allocations(), 1);
    assert_eq!(world.refresh(&alice, 0).code, 0, "without a family: all of it (§8.1)");
    assert_eq!((world.sockets.len(), world.free_ports()), (0, free));
    assert_eq!(world.workers[0].counters().allocations(), 0);
    assert_eq!(world.refresh(&alice, 0).code, 437);
}

#[test]
fn a_retransmitted_dual_allocate_gets_the_same_answer() {
    for settings in [settings(), only(0)] {
        let mut world = World::new(settings, 1);
        let alice = world.user("alice", 1);
        let request = world.signed(&alice, Method::Allocate, dual);
        let first = world.deliver(&alice, &request).unwrap();
        assert_eq!(first.code, 0);
        assert_eq!(world.deliver(&alice, &request).unwrap().bytes, first.bytes);
        assert_eq!(world.ask(&alice, Method::Allocate, dual).code, 437);
    }
}

#[test]
fn a_retransmission_between_the_two_sockets_waits_with_the_first() {
    let mut world = world();
    world.slow_opens = true;
    let (alice, free) = (world.user("alice", 1), world.free_ports());
    let request = world.signed(&alice, Method::Allocate, dual);
    assert!(world.deliver(&alice, &request).is_none());
    let before = world.replies.len();
    for expected in [1, 2] {
        assert!(world.deliver(&alice, &request).is_none());
        assert_eq!(world.opens.len(), expected, "one after the other");
        assert_eq!(world.replies.len(), before, "nothing is said before both are there");
        let (worker, port) = world.opens[expected - 1];
        world.open(worker, port);
        world.drain(worker);
    }
    assert_eq!(Response::read(&world.replies[before].1, &alice.key()).code, 0);
    assert_eq!((world.sockets.len(), world.free_ports()), (2, free - 2));
}

#[test]
fn what_excludes_an_additional_family_is_refused() {
    let mut world = world();
    let alice = world.user("alice", 1);
    let free = world.free_ports();
    let cases: [(_, Fill); 5] = [
        ("a token (step 5)", |r| dual(r).reservation_token([1; 8])),
        ("a family (step 6)", |r| dual(r).requested_address_family(1)),
        ("EVEN-PORT with R (step 8)", |r| dual(r).even_port(true)),
        ("IPv4 as the additional one (step 9)", |r| r.requested_transport(UDP).additional_address_family(1)),
        ("a family nobody knows (§18.11)", |r| r.requested_transport(UDP).additional_address_family(3)),
    ];
    for (what, request) in cases {
        assert_eq!(world.ask(&alice, Method::Allocate, request).code, 400, "{what}");
    }
    assert_eq!((world.sockets.len(), world.free_ports()), (0, free));
    let even = world.ask(&alice, Method::Allocate, |r| dual(r).even_port(false));
    assert!(relayed(&even).0.iter().all(|address| address.port() % 2 == 0), "both are even");
}

#[test]
fn a_family_this_server_does_not_have_is_named_with_440() {
    for (place, missing) in [(0, 2), (1, 1)] {
        let mut world = World::new(only(place), 1);
        let alice = world.user("alice", 1);
        let response = world.ask(&alice, Method::Allocate, dual);
        let (addresses, why) = relayed(&response);
        assert_eq!((response.code, addresses.len(), why), (0, 1, Some((missing, 440))));
        assert_eq!(addresses[0].is_ipv6(), missing == 1);
        assert_eq!(world.ask(&alice, Method::Refresh, family(missing, 600)).code, 443);
        assert_eq!(world.refresh(&alice, 0).code, 0);
        assert!(world.sockets.is_empty());
    }
}

#[test]
fn a_family_without_a_port_left_is_named_with_508_and_without_any_the_request_fails() {
    let mut world = World::new(Settings { ports: 50_000..=50_000, ..settings() }, 1);
    let (alice, bob, carol) = (world.user("alice", 1), world.user("bob", 2), world.user("carol", 3));
    world.allocate(&bob);
    let response = world.ask(&alice, Method::Allocate, dual);
    assert_eq!(relayed(&response).1, Some((1, 508)));
    assert!(relayed(&response).0[0].is_ipv6());
    let response = world.ask(&carol, Method::Allocate, dual);
    assert_eq!((response.code, relayed(&response)), (508, (vec![], None)));
    world.refresh(&alice, 0);
    world.refresh(&bob, 0);
    assert_eq!(world.free_ports(), 2);
    allocate_dual(&mut world, &carol);
}

#[test]
fn sockets_that_cannot_be_bound_cost_one_family_and_no_port() {
    for (failing, missing) in [(3, None), (4, Some((1, 508))), (7, Some((1, 508)))] {
        let mut world = world();
        let (alice, free) = (world.user("alice", 1), world.free_ports());
        world.failing_opens = failing;
        let response = world.ask(&alice, Method::Allocate, dual);
        assert_eq!((response.code, relayed(&response).1), (0, missing), "{failing} failures");
        assert_eq!(world.free_ports(), free - relayed(&response).0.len());
        world.refresh(&alice, 0);
        assert_eq!(world.free_ports(), free);
    }
    let mut world = world();
    let (alice, free) = (world.user("alice", 1), world.free_ports());
    world.failing_opens = 8;
    assert_eq!(world.ask(&alice, Method::Allocate, dual).code, 508);
    assert_eq!((world.free_ports(), world.sockets.len()), (free, 0));
    allocate_dual(&mut world, &alice);
}

#[test]
fn each_relayed_address_counts_in_the_quota_and_one_place_left_gives_one_address() {
    let mut world = World::new(Settings { user_allocations: 3, ..settings() }, 1);
    let [first, second, third] = [1, 2, 3].map(|number| world.user("alice", number));
    allocate_dual(&mut world, &first);
    let response = world.ask(&second, Method::Allocate, dual);
    assert_eq!((response.code, relayed(&response).1), (0, Some((2, 508))));
    assert_eq!(world.ask(&third, Method::Allocate, dual).code, 486);
    assert_eq!(world.ask(&first, Method::Refresh, family(2, 0)).code, 0);
    world.allocate(&third);
}

#[test]
fn one_family_can_be_deleted_and_takes_only_its_own_permissions_and_channels_along() {
    let mut world = world();
    let (alice, free) = (world.user("alice", 1), world.free_ports());
    let [v4, v6] = allocate_dual(&mut world, &alice);
    assert_eq!(world.bind(&alice, 0x4000, outside(1)), 0);
    assert_eq!(world.bind(&alice, 0x4001, outside_v6(1)), 0);
    assert_eq!(world.ask(&alice, Method::Refresh, family(1, 0)).lifetime, Some(0));
    assert_eq!((world.sockets.len(), world.free_ports()), (1, free - 1));
    assert_eq!(world.channel(&alice, 0x4000, b"x"), Out::Nothing);
    assert_eq!(world.dropped(Reason::UnboundChannel), 1, "it went with its address");
    assert_eq!(world.send(&alice, outside(1), b"x"), Out::Nothing);
    assert_eq!(world.peer_sends(0, v4, outside(1), b"x"), Out::Nothing);
    assert_eq!(world.permit(&alice, outside(1)), 443);
    assert_eq!(world.bind(&alice, 0x4000, outside(1)), 443);
    assert_eq!(world.ask(&alice, Method::Refresh, family(1, 600)).code, 443, "its retransmission, too");
    assert!(matches!(world.channel(&alice, 0x4001, b"x"), Out::Peer { to, .. } if to == outside_v6(1)));
    let back = world.peer_sends(0, v6, outside_v6(1), b"y");
    assert_eq!(back, Out::Client(alice.remote(), Data::Channel(0x4001, b"y".to_vec())));
    assert_eq!(world.bind(&alice, 0x4000, outside_v6(2)), 0, "the number is free");
    assert_eq!(world.ask(&alice, Method::Refresh, family(2, 0)).code, 0, "the last one ends the allocation");
    assert_eq!((world.sockets.len(), world.free_ports()), (0, free));
    assert_eq!(world.refresh(&alice, 600).code, 437);
}

#[test]
fn each_family_has_a_lifetime_of_its_own() {
    let mut world = world();
    let (alice, free) = (world.user("alice", 1), world.free_ports());
    let [v4, v6] = allocate_dual(&mut world, &alice);
    assert_eq!(world.ask(&alice, Method::Refresh, family(2, 900)).lifetime, Some(900));
    assert_eq!(world.workers[0].allocations.timers(), 1);
    world.permit(&alice, outside_v6(1));
    world.wait_secs(599);
    world.permit(&alice, outside(1));
    world.permit(&alice, outside_v6(1));
    world.wait_secs(1);
    assert_eq!(world.peer_sends(0, v4, outside(1), b"late"), Out::Nothing, "before any timer ran");
    assert_eq!(world.send(&alice, outside(1), b"late"), Out::Nothing);
    assert_ne!(world.peer_sends(0, v6, outside_v6(1), b"in time"), Out::Nothing);
    world.run_timers();
    assert_eq!((world.sockets.len(), world.free_ports()), (1, free - 1));
    assert_eq!(world.refresh(&alice, 600).code, 0, "what is left of it");
    world.wait_secs(600);
    world.run_timers();
    assert_eq!((world.sockets.len(), world.free_ports()), (0, free));
    assert_eq!(world.workers[0].allocations.timers(), 0);
}

#[test]
fn a_request_ends_the_family_whose_time_is_over_before_the_timer_does() {
    let mut world = world();
    let alice = world.user("alice", 1);
    allocate_dual(&mut world, &alice);
    world.ask(&alice, Method::Refresh, family(1, 900));
    world.wait_secs(600);
    assert_eq!(world.ask(&alice, Method::Refresh, family(2, 600)).code, 443);
    assert_eq!(world.sockets.len(), 1);
    assert_eq!(world.permit(&alice, outside_v6(1)), 443);
    assert_eq!(world.permit(&alice, outside(1)), 0);
}

#[test]
fn packets_leave_from_and_arrive_at_the_address_of_the_peers_family() {
    let mut world = world();
    let alice = world.user("alice", 1);
    let [v4, v6] = allocate_dual(&mut world, &alice);
    let both = |r: Request| r.xor_peer_address(outside(1)).xor_peer_address(outside_v6(1));
    assert_eq!(world.ask(&alice, Method::CreatePermission, both).code, 0);
    for (own, peer) in [(v4, outside(1)), (v6, outside_v6(1))] {
        let own_port = world.shared.routes.locate(own).unwrap();
        let out = Out::Peer { from: own_port, to: peer, payload: b"x".to_vec() };
        assert_eq!(world.send(&alice, peer, b"x"), out);
        let back = world.peer_sends(0, own, peer, b"y");
        assert_eq!(back, Out::Client(alice.remote(), Data::Indication(peer, b"y".to_vec())));
    }
}

#[test]
fn two_dual_clients_meet_within_a_family_and_never_across() {
    let mut world = world();
    let (alice, bob) = (world.user("alice", 1), world.user("bob", 2));
    let ours = allocate_dual(&mut world, &alice);
    let theirs = allocate_dual(&mut world, &bob);
    for (number, (own, other)) in ours.into_iter().zip(theirs).enumerate() {
        assert_eq!(world.permit(&bob, own), 0);
        assert_eq!(world.bind(&alice, 0x4000 + number as u16, other), 0);
        let heard = world.channel(&alice, 0x4000 + number as u16, b"hi");
        assert_eq!(heard, Out::Client(bob.remote(), Data::Indication(own, b"hi".to_vec())), "and its sender's family");
    }
    let (carol, only_v4) = (world.user("carol", 3), ours[0]);
    world.allocate_v6(&carol);
    assert_eq!(world.permit(&carol, only_v4), 443, "no way from IPv6 to an IPv4 relayed address");
    assert_eq!(world.bind(&carol, 0x4000, only_v4), 443);
    assert_eq!(world.send(&carol, only_v4, b"x"), Out::Nothing);
    assert_eq!(world.dropped(Reason::FamilyMismatch), 1);
}

#[test]
fn the_two_sides_of_a_call_may_each_have_both_families() {
    let mut world = world();
    let free = world.free_ports();
    let (a, b) = world.call();
    let (ana, ben) = (world.caller(a, 1), world.caller(b, 2));
    let ours = allocate_dual(&mut world, &ana);
    let theirs = allocate_dual(&mut world, &ben);
    assert!(world.sockets.is_empty(), "virtual, both of them");
    assert_eq!(world.shared.ledger.relayed(&a), ours);
    for (number, (own, other)) in ours.into_iter().zip(theirs).enumerate() {
        assert_eq!(world.bind(&ana, 0x4000 + number as u16, other), 0);
        let heard = world.channel(&ana, 0x4000 + number as u16, b"hi");
        assert_eq!(heard, Out::Client(ben.remote(), Data::Indication(own, b"hi".to_vec())));
    }
    assert_eq!(world.permit(&ana, outside(1)), 403);
    assert_eq!(world.permit(&ana, outside_v6(1)), 403);
    let again = world.caller(a, 3);
    assert_eq!(world.ask(&again, Method::Allocate, dual).code, 486, "a handle has two addresses at most");
    assert_eq!(world.ask(&ana, Method::Refresh, family(2, 0)).code, 0);
    let one = world.ask(&again, Method::Allocate, dual);
    assert_eq!((one.code, relayed(&one).1), (0, Some((2, 508))), "one place is left");
    world.close(a);
    assert_eq!(world.free_ports(), free);
    assert_eq!(world.workers[0].counters().allocations(), 0);
    assert_eq!(world.workers[0].allocations.len(), 0);
}
