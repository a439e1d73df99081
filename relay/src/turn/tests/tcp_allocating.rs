//! TCP allocations come and go (RFC 6062 §5.1, §5.5).

use super::tcp_world::{TCP, tcp_world, wants_tcp};
use super::world::{addr, outside, settings, world};
use crate::turn::*;
use crate::wire::{Method, Request};

#[test]
fn a_tcp_allocation_listens_and_is_no_place_for_datagrams() {
    let mut world = tcp_world();
    let alice = world.stream_user("alice", 1, 0);
    let relayed = world.allocate_tcp(&alice);
    assert_eq!(relayed.ip(), addr("203.0.113.7:0").ip());
    assert_eq!((world.listeners.len(), world.sockets.len()), (1, 0));
    assert_eq!(world.permit(&alice, outside(1)), 0);
    assert_eq!(world.bind(&alice, 0x4000, outside(1)), 400);
    assert_eq!(world.send(&alice, outside(1), b"hello"), super::world::Out::Nothing);
    // Nor for those of others: no route leads there.
    let bob = world.user("bob", 2);
    world.allocate(&bob);
    assert_eq!(world.permit(&bob, relayed), 0);
    assert_eq!(world.send(&bob, relayed, b"hello"), super::world::Out::Nothing);
}

#[test]
fn only_who_comes_over_a_stream_gets_one_and_only_where_the_operator_wants_it() {
    let mut world = tcp_world();
    let (datagrams, stream) = (world.user("alice", 1), world.stream_user("alice", 2, 0));
    assert_eq!(world.ask(&datagrams, Method::Allocate, wants_tcp).code, 400);
    assert_eq!(world.ask(&stream, Method::Allocate, wants_tcp).code, 0);
    let mut off = World::new(settings(), 1);
    let stream = off.stream_user("alice", 2, 0);
    assert_eq!(off.ask(&stream, Method::Allocate, wants_tcp).code, 442);
    assert!(!settings().tcp_allocations, "off unless asked for");
}

use super::world::World;

#[test]
fn what_is_for_datagrams_or_pairs_of_ports_is_refused_with_tcp() {
    let mut world = tcp_world();
    let alice = world.stream_user("alice", 1, 0);
    let with: [fn(Request) -> Request; 5] = [
        |request| request.dont_fragment(),
        |request| request.even_port(false),
        |request| request.even_port(true),
        |request| request.reservation_token([1; 8]),
        |request| request.raw(0x8000, &[2, 0, 0, 0]),
    ];
    for fill in with {
        assert_eq!(world.ask(&alice, Method::Allocate, |request| fill(wants_tcp(request))).code, 400);
    }
    assert_eq!(world.free_ports(), 2000);
    let v6 = world.ask(&alice, Method::Allocate, |request| wants_tcp(request).requested_address_family(2));
    assert!(v6.relayed.unwrap().is_ipv6());
}

#[test]
fn call_bound_credentials_get_none() {
    let mut world = tcp_world();
    let (handle, _) = world.call();
    let credential = world.caller(handle, 3);
    let connection = Connection { worker: 0, number: 9 };
    let from = FiveTuple { transport: Transport::Tcp(connection), ..credential.from };
    let caller = world.client_at(from, 0, &credential.username, &credential.password);
    assert_eq!(world.ask(&caller, Method::Allocate, wants_tcp).code, 403);
    assert_eq!((world.free_ports(), world.listeners.len()), (2000, 0));
    // And what others have is not theirs to bind.
    let alice = world.stream_user("alice", 1, 0);
    world.allocate_tcp(&alice);
    let id = world.connected(&alice, outside(1));
    assert_eq!(world.bind_connection(&caller, id), 400);
}

#[test]
fn a_port_another_program_listens_on_is_passed_over() {
    let mut world = tcp_world();
    let alice = world.stream_user("alice", 1, 0);
    world.failing_opens = 3;
    world.allocate_tcp(&alice);
    assert_eq!((world.listeners.len(), world.free_ports()), (1, 1999));
    let bob = world.stream_user("bob", 2, 0);
    world.failing_opens = 100;
    assert_eq!(world.ask(&bob, Method::Allocate, wants_tcp).code, 508);
    assert_eq!((world.listeners.len(), world.free_ports()), (1, 1999));
}

#[test]
fn its_end_closes_the_listener_and_returns_the_port_once_however_it_ends() {
    let ends: [fn(&mut World, &super::world::Client); 3] = [
        |world, alice| assert_eq!(world.refresh(alice, 0).code, 0),
        |world, _| {
            world.wait_secs(600);
            world.run_timers();
        },
        |world, alice| {
            world.workers[0].handle_disconnect(&alice.from);
            world.drain(0);
        },
    ];
    for end in ends {
        let mut world = tcp_world();
        let alice = world.stream_user("alice", 1, 0);
        world.allocate_tcp(&alice);
        let bound = world.connected(&alice, outside(1));
        let data = world.stream_user("alice", 2, 1);
        assert_eq!(world.bind_connection(&data, bound), 0);
        world.connected(&alice, outside(2));
        assert!(world.connect(&alice, outside(3)).is_none());
        end(&mut world, &alice);
        assert_eq!((world.listeners.len(), world.free_ports()), (0, 2000));
        assert_eq!((world.shared.tcp.len(), world.shared.tcp.waiting()), (0, 0));
        // What the edge reports late is nobody's.
        let late = world.asked_to_connect().1;
        assert!(world.report(&alice, TcpEvent::Connected { id: late, success: true }).is_none());
        assert!(world.report(&alice, TcpEvent::Accepted { id: late }).is_none());
        world.wait_secs(60);
        world.run_timers();
    }
}

#[test]
fn a_refresh_keeps_it_and_its_connections() {
    let mut world = tcp_world();
    let alice = world.stream_user("alice", 1, 0);
    world.allocate_tcp(&alice);
    let id = world.connected(&alice, outside(1));
    let data = world.stream_user("alice", 2, 1);
    assert_eq!(world.bind_connection(&data, id), 0);
    for _ in 0..3 {
        world.wait_secs(500);
        world.run_timers();
        assert_eq!(world.refresh(&alice, 600).code, 0);
    }
    assert_eq!((world.shared.tcp.len(), world.listeners.len()), (1, 1));
}

#[test]
fn an_ordinary_allocation_has_no_connections() {
    let mut world = world();
    let alice = world.user("alice", 1);
    world.allocate(&alice);
    assert_eq!(world.connect(&alice, outside(1)).unwrap().code, 400);
    assert_eq!(world.ask(&alice, Method::ConnectionBind, |request| request.connection_id(1)).code, 400);
    let nobody = world.user("alice", 2);
    assert_eq!(world.connect(&nobody, outside(1)).unwrap().code, 437);
    assert_eq!(TCP, 6);
}
