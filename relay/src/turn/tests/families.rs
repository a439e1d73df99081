//! Clients of one IP version with relayed addresses of the other (RFC 8656 §3.6, §10.2, §12.2, §13).

use super::world::*;
use crate::turn::*;
use crate::wire::{Method, Request};

const V6_PEER: &str = "[2606:2800:220:1::1]:9000";

#[test]
fn a_client_of_either_ip_version_reaches_peers_of_the_other() {
    for (remote, family, peer) in [
        ("198.51.100.1:4000", 2, addr(V6_PEER)),
        ("[2001:db8::9]:4000", 1, outside(1)),
        ("[2001:db8::9]:4000", 2, addr(V6_PEER)),
    ] {
        let mut world = world();
        let alice = world.client_at(five_tuple(addr(remote)), 0, "alice", "alice's secret");
        let ask = |r: Request| r.requested_transport(UDP).requested_address_family(family);
        let response = world.ask(&alice, Method::Allocate, ask);
        let relayed = response.relayed.unwrap();
        assert_eq!((relayed.is_ipv6(), response.mapped), (family == 2, Some(addr(remote))));
        assert_eq!(world.permit(&alice, peer), 0);
        assert!(matches!(world.send(&alice, peer, b"x"), Out::Peer { to, .. } if to == peer));
        let back = world.peer_sends(0, relayed, peer, b"y");
        assert_eq!(back, Out::Client(alice.remote(), Data::Indication(peer, b"y".to_vec())));
        assert_eq!(world.bind(&alice, 0x4000, peer), 0);
        assert!(matches!(world.channel(&alice, 0x4000, b"x"), Out::Peer { to, .. } if to == peer));
        let back = world.peer_sends(0, relayed, peer, b"z");
        assert_eq!(back, Out::Client(alice.remote(), Data::Channel(0x4000, b"z".to_vec())));
    }
}

#[test]
fn clients_of_different_ip_versions_meet_at_relayed_addresses_of_one() {
    let mut world = world();
    let alice = world.user("alice", 1);
    let bob = world.client_at(five_tuple(addr("[2001:db8::9]:4000")), 0, "bob", "bob's secret");
    let (ours, theirs) = (world.allocate_v6(&alice), world.allocate_v6(&bob));
    assert_eq!(world.bind(&alice, 0x4000, theirs), 0);
    assert_eq!(world.bind(&bob, 0x4001, ours), 0);
    let heard = world.channel(&alice, 0x4000, b"hi");
    assert_eq!(heard, Out::Client(bob.remote(), Data::Channel(0x4001, b"hi".to_vec())));
    let heard = world.channel(&bob, 0x4001, b"ho");
    assert_eq!(heard, Out::Client(alice.remote(), Data::Channel(0x4000, b"ho".to_vec())));
}

#[test]
fn relayed_addresses_of_different_families_do_not_meet() {
    let mut world = world();
    let (alice, bob) = (world.user("alice", 1), world.user("bob", 2));
    let (v4, v6) = (world.allocate(&alice), world.allocate_v6(&bob));
    for (client, other) in [(&alice, v6), (&bob, v4)] {
        assert_eq!(world.permit(client, other), 443);
        assert_eq!(world.bind(client, 0x4000, other), 443);
        assert_eq!(world.send(client, other, b"x"), Out::Nothing);
    }
    assert_eq!(world.dropped(Reason::FamilyMismatch), 2);
}
