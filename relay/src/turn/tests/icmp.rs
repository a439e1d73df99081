//! ICMP errors about what an allocation sent (RFC 8656 §11.5; hostile.md F12).

use std::net::SocketAddr;

use super::world::*;
use crate::turn::*;
use crate::wire::{Icmp, Message, MessageClass, Method, Request};

const PORT_UNREACHABLE: Icmp = Icmp { kind: 3, code: 3, data: 0 };

/// What the client of an allocation is told, if anything.
fn told(world: &mut World, relayed: SocketAddr, peer: SocketAddr, said: Icmp) -> Option<(SocketAddr, Icmp)> {
    let port = world.shared.routes.locate(relayed).unwrap();
    let before = world.replies.len();
    world.workers[0].handle_icmp(world.now, port, peer, said);
    world.drain(0);
    let (_, bytes) = world.replies.get(before)?;
    let message = Message::parse(bytes).unwrap();
    assert_eq!((message.method(), message.class()), (Method::Data, MessageClass::Indication));
    assert_eq!(message.data_range(), None, "no DATA beside it");
    Some((message.xor_peer_address().unwrap().unwrap(), message.icmp().unwrap().unwrap()))
}

#[test]
fn a_client_hears_what_icmp_said_of_a_peer_it_permits() {
    let mut world = world();
    let alice = world.user("alice", 1);
    let relayed = world.allocate(&alice);
    world.permit(&alice, outside(1));
    assert_eq!(told(&mut world, relayed, outside(1), PORT_UNREACHABLE), Some((outside(1), PORT_UNREACHABLE)));
    assert_eq!(world.replies.last().unwrap().0, alice.from);
    let other_port = SocketAddr::new(outside(1).ip(), 7);
    assert!(told(&mut world, relayed, other_port, PORT_UNREACHABLE).is_some(), "ports do not matter");
    world.bind(&alice, 0x4000, outside(1));
    assert!(told(&mut world, relayed, outside(1), PORT_UNREACHABLE).is_some(), "an indication despite the channel");
}

#[test]
fn without_a_permission_or_an_allocation_nothing_is_said() {
    let mut world = world();
    let alice = world.user("alice", 1);
    let relayed = world.allocate(&alice);
    assert_eq!(told(&mut world, relayed, outside(1), PORT_UNREACHABLE), None);
    assert_eq!(world.dropped(Reason::NoPermission), 1);
    world.permit(&alice, outside(1));
    world.wait_secs(300);
    assert_eq!(told(&mut world, relayed, outside(1), PORT_UNREACHABLE), None, "expired");
    world.permit(&alice, outside(1));
    world.refresh(&alice, 0);
    assert_eq!(told(&mut world, relayed, outside(1), PORT_UNREACHABLE), None);
    assert_eq!(world.dropped(Reason::NoAllocation), 1);
}

#[test]
fn only_the_types_of_the_rfc_are_passed_on_and_only_too_big_says_how_big() {
    let mut world = world();
    let (alice, bob) = (world.user("alice", 1), world.user("bob", 2));
    let v6 = addr("[2606:2800:220:1::1]:9");
    let (relayed, relayed_v6) = (world.allocate(&alice), world.allocate_v6(&bob));
    world.permit(&alice, outside(1));
    world.permit(&bob, v6);
    for kind in 0..=255 {
        let said = Icmp { kind, code: 1, data: 1280 };
        let heard = told(&mut world, relayed, outside(1), said).map(|(_, icmp)| icmp);
        assert_eq!(heard, matches!(kind, 3 | 11).then_some(Icmp { data: 0, ..said }), "ICMP type {kind}");
        let heard = told(&mut world, relayed_v6, v6, said).map(|(_, icmp)| icmp);
        let data = if kind == 2 { 1280 } else { 0 };
        assert_eq!(heard, matches!(kind, 1..=3).then_some(Icmp { data, ..said }), "ICMPv6 type {kind}");
    }
    assert_eq!(world.dropped(Reason::IcmpIrrelevant), 254 + 253);
    let too_big = Icmp { kind: 3, code: 4, data: 1400 };
    assert_eq!(told(&mut world, relayed, outside(1), too_big), Some((outside(1), too_big)));
}

#[test]
fn a_storm_of_errors_is_a_trickle_to_the_client() {
    let mut world = world();
    let (alice, bob) = (world.user("alice", 1), world.user("bob", 2));
    let (relayed, other) = (world.allocate(&alice), world.allocate(&bob));
    world.permit(&alice, outside(1));
    world.permit(&bob, outside(1));
    let passed = |world: &mut World| {
        (0..10_000).filter(|_| told(world, relayed, outside(1), PORT_UNREACHABLE).is_some()).count()
    };
    assert_eq!(passed(&mut world), 20);
    world.wait_secs(1);
    assert_eq!(passed(&mut world), 10);
    assert_eq!(world.dropped(Reason::IcmpRate), 20_000 - 30);
    assert!(told(&mut world, other, outside(1), PORT_UNREACHABLE).is_some(), "another allocation's is its own");
}

#[test]
fn each_half_of_a_dual_allocation_hears_of_its_own_peers() {
    let mut world = world();
    let alice = world.user("alice", 1);
    let dual = |r: Request| r.requested_transport(UDP).additional_address_family(2);
    let response = world.ask(&alice, Method::Allocate, dual);
    let message = Message::parse(&response.bytes).unwrap();
    let addresses: Vec<_> = message.xor_relayed_addresses().map(Result::unwrap).collect();
    let peers = [outside(1), addr("[2606:2800:220:1::1]:9")];
    for (relayed, peer) in addresses.into_iter().zip(peers) {
        world.permit(&alice, peer);
        let said = Icmp { kind: 3, code: 0, data: 0 };
        assert_eq!(told(&mut world, relayed, peer, said), Some((peer, said)));
    }
}
