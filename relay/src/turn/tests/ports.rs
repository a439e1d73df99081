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
