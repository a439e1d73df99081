//! Refresh and the end of an allocation (RFC 8656 §8.2).

use super::world::*;
use crate::turn::*;
use crate::wire::{Method, Request};

#[test]
fn a_refresh_is_clamped_like_an_allocate() {
    let mut world = world();
    let alice = world.user("alice", 1);
    world.allocate(&alice);
    for (asked, granted) in [(1, 600), (900, 900), (u32::MAX, 3600)] {
        assert_eq!(world.refresh(&alice, asked).lifetime, Some(granted));
    }
    assert_eq!(world.ask(&alice, Method::Refresh, |r| r).lifetime, Some(600));
}

#[test]
fn lifetime_zero_frees_port_and_five_tuple_at_once() {
    let mut world = World::new(Settings { ports: 50_000..=50_000, ..settings() }, 1);
    let alice = world.user("alice", 1);
    let first = world.allocate(&alice);
    let response = world.refresh(&alice, 0);
    assert_eq!((response.code, response.lifetime), (0, Some(0)));
    assert!(world.sockets.is_empty(), "its socket is closed");
    assert_eq!(world.refresh(&alice, 0).code, 437, "its retransmission finds nothing (§8.2)");
    assert_eq!(world.allocate(&alice), first, "the only port, the same five-tuple");
}

#[test]
fn an_allocation_ends_at_its_lifetime_and_everything_returns() {
    let mut world = world();
    let (alice, free) = (world.user("alice", 1), world.free_ports());
    let relayed = world.allocate(&alice);
    world.permit(&alice, outside(1));
    world.wait_secs(599);
    world.run_timers();
    assert_ne!(world.permit(&alice, outside(1)), 437);
    world.wait_secs(1);
    assert_eq!(world.peer_sends(0, relayed, outside(1), b"late"), Out::Nothing, "before any timer ran");
    world.run_timers();
    assert!(world.sockets.is_empty());
    assert_eq!(world.free_ports(), free);
    assert_eq!(world.workers[0].counters().allocations(), 0);
    assert_eq!(world.refresh(&alice, 600).code, 437);
}

#[test]
fn a_request_at_the_very_end_comes_too_late_even_before_the_timer() {
    let mut world = world();
    let alice = world.user("alice", 1);
    world.allocate(&alice);
    world.wait_secs(600);
    assert_eq!(world.refresh(&alice, 600).code, 437);
    assert!(world.sockets.is_empty());
}

#[test]
fn a_refresh_moves_the_end_and_leaves_no_timer_behind() {
    let mut world = world();
    let alice = world.user("alice", 1);
    world.allocate(&alice);
    for _ in 0..1000 {
        world.refresh(&alice, 3600);
        world.refresh(&alice, 600);
    }
    assert_eq!(world.workers[0].allocations.timers(), 1);
    world.wait_secs(300);
    world.refresh(&alice, 600);
    world.wait_secs(599);
    world.run_timers();
    assert_eq!(world.refresh(&alice, 600).code, 0);
}

#[test]
fn a_refresh_may_shorten_a_lifetime() {
    let mut world = world();
    let alice = world.user("alice", 1);
    world.ask(&alice, Method::Allocate, |r| r.requested_transport(UDP).lifetime(3600));
    world.refresh(&alice, 600);
    world.wait_secs(600);
    world.run_timers();
    assert!(world.sockets.is_empty());
}

#[test]
fn a_refresh_for_the_other_family_is_refused() {
    let mut world = world();
    let alice = world.user("alice", 1);
    world.allocate(&alice);
    let family = |number| move |r: Request| r.requested_address_family(number).lifetime(0);
    assert_eq!(world.ask(&alice, Method::Refresh, family(2)).code, 443);
    assert_eq!(world.ask(&alice, Method::Refresh, family(1)).code, 0);
}

#[test]
fn the_next_timeout_is_the_earliest_end() {
    let mut world = world();
    assert_eq!(world.workers[0].poll_timeout(), None);
    let (alice, bob) = (world.user("alice", 1), world.user("bob", 2));
    world.allocate(&alice);
    world.wait_secs(10);
    world.allocate(&bob);
    assert_eq!(world.workers[0].poll_timeout(), Some(world.now.mono.after(590_000)));
    world.refresh(&alice, 3600);
    assert_eq!(world.workers[0].poll_timeout(), Some(world.now.mono.after(600_000)));
}
