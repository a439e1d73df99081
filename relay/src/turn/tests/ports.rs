//! Ports in == ports out, whatever happens in between.

use super::world::*;
use crate::turn::*;
use crate::wire::{Method, Request};

#[test]
fn every_port_comes_back_after_every_way_an_allocation_can_end() {
    let mut world = World::new(Settings { user_allocations: 100, ..settings() }, 2);
    let free = world.free_ports();
    let even = |r: Request| r.requested_transport(UDP).even_port(true);
    for number in 1..=10 {
        let client = world.user_on(usize::from(number) % 2, "alice", number);
        world.ask(&client, Method::Allocate, even);
    }
    for number in 1..=5 {
        let client = world.user_on(usize::from(number) % 2, "alice", number);
        assert_eq!(world.refresh(&client, 0).code, 0);
    }
    let (a, b) = world.call();
    let (caller, callee) = (world.caller(a, 50), world.caller(b, 51));
    world.allocate(&caller);
    world.allocate(&callee);
    world.close(a);
    world.failing_opens = 2;
    let unlucky = world.user("bob", 60);
    world.allocate(&unlucky);
    assert_eq!(world.free_ports(), free - 16, "5 allocations, 10 reservations, Bob's");
    world.wait_secs(4000);
    world.run_timers();
    assert_eq!(world.free_ports(), free);
    assert!(world.sockets.is_empty());
    assert_eq!(world.workers.iter().map(|worker| worker.allocations.len()).sum::<usize>(), 0);
    assert_eq!(world.workers.iter().map(|worker| worker.openings.len()).sum::<usize>(), 0);
}

#[test]
fn a_port_this_server_listens_on_is_nobodys_relayed_port() {
    let access = crate::access::Settings {
        own_listeners: vec![addr("10.0.0.4:50001"), addr("203.0.113.7:50002"), addr("[2001:db8:7::1]:50003")],
        ..crate::access::Settings::default()
    };
    let settings = Settings { ports: 50_000..=50_003, user_allocations: 100, ..settings() };
    let mut world = World::with_access(settings, 1, access);
    assert_eq!(world.free_ports(), 2 + 3);
    for number in 1..=40 {
        let alice = world.user("alice", number);
        let relayed = if number % 2 == 0 { world.allocate(&alice) } else { world.allocate_v6(&alice) };
        let ours: &[u16] = if relayed.is_ipv4() { &[50_000, 50_003] } else { &[50_000, 50_001, 50_002] };
        assert!(ours.contains(&relayed.port()), "{relayed}");
        world.refresh(&alice, 0);
    }
    let (a, _) = world.call();
    for number in 1..=2 {
        let ana = world.caller(a, number);
        assert!([50_000, 50_003].contains(&world.allocate(&ana).port()), "virtual ones neither");
    }
    world.close(a);
    let bob = world.user("bob", 50);
    let pair = |r: Request| r.requested_transport(UDP).even_port(true);
    assert_eq!(world.ask(&bob, Method::Allocate, pair).code, 508, "no even port has its neighbour free");
    assert_eq!(world.free_ports(), 2 + 3);
}
