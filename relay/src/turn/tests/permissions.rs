//! Permissions and the peers nobody may reach (RFC 8656 §9, §10; hostile.md D and M).

use super::world::*;
use crate::access;
use crate::turn::*;
use crate::wire::{Method, Request};

#[test]
fn without_a_permission_nothing_passes_in_either_direction() {
    let mut world = world();
    let alice = world.user("alice", 1);
    let relayed = world.allocate(&alice);
    assert_eq!(world.send(&alice, outside(1), b"out"), Out::Nothing);
    assert_eq!(world.peer_sends(0, relayed, outside(1), b"in"), Out::Nothing);
    assert_eq!(world.dropped(Reason::NoPermission), 2, "and no data created one");
}

#[test]
fn a_permission_is_for_the_address_and_not_for_the_port() {
    let mut world = world();
    let alice = world.user("alice", 1);
    let relayed = world.allocate(&alice);
    let other_port = std::net::SocketAddr::new(outside(1).ip(), 7);
    assert_eq!(world.permit(&alice, std::net::SocketAddr::new(outside(1).ip(), 0)), 0, "its port says nothing");
    assert!(matches!(world.send(&alice, other_port, b"x"), Out::Peer { to, .. } if to == other_port));
    assert!(matches!(world.peer_sends(0, relayed, other_port, b"x"), Out::Client(..)));
    assert_eq!(world.send(&alice, outside(2), b"x"), Out::Nothing, "somebody else");
}

#[test]
fn expired_permission_stops_relaying() {
    let mut world = world();
    let alice = world.user("alice", 1);
    let relayed = world.allocate(&alice);
    world.permit(&alice, outside(1));
    world.wait_secs(299);
    assert_ne!(world.send(&alice, outside(1), b"x"), Out::Nothing);
    world.wait_secs(1);
    assert_eq!(world.send(&alice, outside(1), b"x"), Out::Nothing);
    assert_eq!(world.peer_sends(0, relayed, outside(1), b"x"), Out::Nothing);
    world.permit(&alice, outside(1));
    assert_ne!(world.send(&alice, outside(1), b"x"), Out::Nothing);
}

#[test]
fn data_does_not_refresh_a_permission() {
    let mut world = world();
    let alice = world.user("alice", 1);
    world.allocate(&alice);
    world.permit(&alice, outside(1));
    for _ in 0..30 {
        world.send(&alice, outside(1), b"x");
        world.wait_secs(10);
    }
    assert_eq!(world.send(&alice, outside(1), b"x"), Out::Nothing);
}

#[test]
fn one_denied_peer_refuses_all_of_a_request() {
    let mut world = world();
    let alice = world.user("alice", 1);
    world.allocate(&alice);
    let both = |r: Request| r.xor_peer_address(outside(1)).xor_peer_address(addr("127.0.0.1:80"));
    assert_eq!(world.ask(&alice, Method::CreatePermission, both).code, 403);
    assert_eq!(world.send(&alice, outside(1), b"x"), Out::Nothing, "nothing was installed");
    let bad = |r: Request| r.xor_peer_address(outside(1)).raw(crate::wire::attribute::XOR_PEER_ADDRESS, &[0; 3]);
    assert_eq!(world.ask(&alice, Method::CreatePermission, bad).code, 400);
    assert_eq!(world.send(&alice, outside(1), b"x"), Out::Nothing);
}

#[test]
fn several_peers_are_installed_together() {
    let mut world = world();
    let alice = world.user("alice", 1);
    world.allocate(&alice);
    let both = |r: Request| r.xor_peer_address(outside(1)).xor_peer_address(outside(2));
    assert_eq!(world.ask(&alice, Method::CreatePermission, both).code, 0);
    assert_ne!(world.send(&alice, outside(1), b"x"), Out::Nothing);
    assert_ne!(world.send(&alice, outside(2), b"x"), Out::Nothing);
}

#[test]
fn a_request_without_peers_is_bad() {
    let mut world = world();
    let alice = world.user("alice", 1);
    world.allocate(&alice);
    assert_eq!(world.ask(&alice, Method::CreatePermission, |r| r).code, 400);
}

#[test]
fn a_peer_of_the_other_family_is_a_mismatch() {
    let mut world = world();
    let (alice, bob) = (world.user("alice", 1), world.user("bob", 2));
    world.allocate(&alice);
    world.allocate_v6(&bob);
    let v6 = addr("[2606:2800:220:1::1]:9");
    assert_eq!(world.permit(&alice, v6), 443);
    assert_eq!(world.bind(&alice, 0x4000, v6), 443);
    assert_eq!(world.permit(&bob, outside(1)), 443);
    assert_eq!(world.permit(&bob, v6), 0);
    let mapped = addr("[::ffff:93.184.216.1]:9");
    assert!(matches!(world.permit(&bob, mapped), 403 | 443), "IPv4 in disguise");
    assert_eq!(world.send(&alice, v6, b"x"), Out::Nothing);
}

#[test]
fn denied_peers_are_denied_by_every_method_and_all_alike() {
    let mut world = world();
    let (alice, bob) = (world.user("alice", 1), world.user("bob", 2));
    world.allocate(&alice);
    world.allocate_v6(&bob);
    let v4 = ["0.0.0.0:1", "10.0.0.1:80", "127.0.0.1:80", "169.254.169.254:80", "192.168.1.1:80", "224.0.0.1:80"];
    let v6 = [
        "[::]:1",
        "[::1]:1",
        "[fe80::1]:1",
        "[fc00::1]:1",
        "[ff02::1]:1",
        "[::ffff:127.0.0.1]:1",
        "[64:ff9b::7f00:1]:1",
    ];
    for (client, peers) in [(&alice, &v4[..]), (&bob, &v6[..])] {
        for peer in peers.iter().map(|text| addr(text)) {
            assert_eq!(world.permit(client, peer), 403, "{peer}");
            assert_eq!(world.bind(client, 0x4000, peer), 403, "{peer}");
            assert_eq!(world.send(client, peer, b"x"), Out::Nothing, "{peer}");
        }
    }
    let sizes: Vec<_> = v4
        .iter()
        .map(|peer| world.ask(&alice, Method::CreatePermission, |r| r.xor_peer_address(addr(peer))).bytes.len())
        .collect();
    assert!(sizes.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn our_own_listeners_are_denied_even_where_their_address_is_allowed() {
    let access = access::Settings {
        allow_peers: vec!["203.0.113.0/24".parse().unwrap()],
        own_listeners: vec![addr("203.0.113.7:3478"), addr("203.0.113.7:8080"), addr("203.0.113.9:9641")],
        ..access::Settings::default()
    };
    let mut world = World::with_access(settings(), 1, access);
    let alice = world.user("alice", 1);
    world.allocate(&alice);
    for listener in [addr("203.0.113.7:3478"), addr("203.0.113.7:8080"), addr("203.0.113.9:9641")] {
        assert_eq!(world.permit(&alice, listener), 403);
        assert_eq!(world.bind(&alice, 0x4000, listener), 403);
    }
    assert_eq!(world.permit(&alice, addr("203.0.113.7:9999")), 0, "another port of that address");
    assert!(matches!(world.send(&alice, addr("203.0.113.7:9999"), b"x"), Out::Peer { .. }));
    assert_eq!(world.send(&alice, addr("203.0.113.7:3478"), b"x"), Out::Nothing, "the port is looked at again");
    assert_eq!(world.permit(&alice, addr("203.0.113.9:9999")), 0, "an address we do not relay on");
    assert!(matches!(world.send(&alice, addr("203.0.113.9:9999"), b"x"), Out::Peer { .. }));
    assert_eq!(world.send(&alice, addr("203.0.113.9:9641"), b"x"), Out::Nothing);
}

#[test]
fn a_permission_for_a_relayed_address_opens_no_other_port_of_this_machine() {
    let mut world = world();
    let (alice, bob) = (world.user("alice", 1), world.user("bob", 2));
    world.allocate(&alice);
    let relayed = world.allocate(&bob);
    assert_eq!(world.permit(&alice, relayed), 0, "live, so checked before the deny list");
    for port in [22, 80, 3478, relayed.port() ^ 1] {
        let service = std::net::SocketAddr::new(relayed.ip(), port);
        assert_eq!(world.send(&alice, service, b"x"), Out::Nothing, "port {port}");
        let bound = addr(&format!("10.0.0.4:{port}"));
        assert_eq!(world.send(&alice, bound, b"x"), Out::Nothing, "port {port} of the bound form");
    }
}

#[test]
fn permissions_are_capped_and_refreshing_one_needs_no_room() {
    let mut world = World::new(Settings { max_permissions: 3, ..settings() }, 1);
    let alice = world.user("alice", 1);
    world.allocate(&alice);
    for last in 1..=3 {
        assert_eq!(world.permit(&alice, outside(last)), 0);
    }
    assert_eq!(world.permit(&alice, outside(4)), 508);
    assert_eq!(world.bind(&alice, 0x4000, outside(4)), 508);
    assert_eq!(world.permit(&alice, outside(3)), 0);
    world.wait_secs(300);
    assert_eq!(world.permit(&alice, outside(4)), 0);
}

#[test]
fn thousands_of_permissions_cost_as_little_as_one() {
    let mut world = world();
    let alice = world.user("alice", 1);
    world.allocate(&alice);
    let many = |from: u16| {
        move |mut r: Request| {
            for n in from..from + 64 {
                let [high, low] = n.to_be_bytes();
                r = r.xor_peer_address(std::net::SocketAddr::from(([93, 184, high, low], 1)));
            }
            r
        }
    };
    for batch in 0..16 {
        assert_eq!(world.ask(&alice, Method::CreatePermission, many(batch * 64)).code, 0);
    }
    assert_eq!(world.ask(&alice, Method::CreatePermission, many(16 * 64)).code, 508, "1024 is the cap");
    assert_ne!(world.send(&alice, std::net::SocketAddr::from(([93, 184, 3, 200], 5)), b"x"), Out::Nothing);
}
