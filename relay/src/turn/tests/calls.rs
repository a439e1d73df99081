//! Call-bound credentials: each side of a call reaches exactly the other, while the call lasts.

use std::net::SocketAddr;

use super::world::*;
use crate::calls::{Full, Gone, Handle};
use crate::routes::Delivery;
use crate::turn::*;
use crate::wire::{Method, Request};

/// Both sides of a call on different workers, allocated.
fn call() -> (World, Side, Side) {
    let mut world = World::new(settings(), 2);
    let (a, b) = world.call();
    let caller = world.caller(a, 1);
    let callee = Client { worker: 1, ..world.caller(b, 2) };
    let (a_relayed, b_relayed) = (world.allocate(&caller), world.allocate(&callee));
    (
        world,
        Side { handle: a, client: caller, relayed: a_relayed },
        Side { handle: b, client: callee, relayed: b_relayed },
    )
}

struct Side {
    handle: Handle,
    client: Client,
    relayed: SocketAddr,
}

fn udp(request: Request) -> Request {
    request.requested_transport(UDP)
}

#[test]
fn a_call_works_both_ways_without_a_single_socket() {
    let (mut world, a, b) = call();
    assert!(world.sockets.is_empty());
    assert_eq!(world.permit(&a.client, b.relayed), 0);
    assert_eq!(world.bind(&a.client, 0x4000, b.relayed), 0);
    let there = world.channel(&a.client, 0x4000, b"voice");
    assert_eq!(there, Out::Client(b.client.remote(), Data::Indication(a.relayed, b"voice".to_vec())));
    assert_eq!(world.bind(&b.client, 0x4123, a.relayed), 0);
    let there = world.channel(&a.client, 0x4000, b"voice");
    assert_eq!(there, Out::Client(b.client.remote(), Data::Channel(0x4123, b"voice".to_vec())));
    let back = world.send(&b.client, a.relayed, b"voice");
    assert_eq!(back, Out::Client(a.client.remote(), Data::Channel(0x4000, b"voice".to_vec())));
}

#[test]
fn the_pairing_is_the_permission() {
    let (mut world, a, b) = call();
    let there = world.send(&a.client, b.relayed, b"check");
    assert_eq!(there, Out::Client(b.client.remote(), Data::Indication(a.relayed, b"check".to_vec())));
    world.refresh(&a.client, 3600);
    world.refresh(&b.client, 3600);
    world.wait_secs(3000);
    assert_ne!(world.send(&a.client, b.relayed, b"later"), Out::Nothing, "it lasts as long as the call");
}

#[test]
fn allocations_made_before_the_pairing_reach_nobody_until_then() {
    let mut world = World::new(settings(), 2);
    let [a, b, c] = [1, 2, 3].map(|n| Handle([n; 12]));
    [a, b, c].iter().for_each(|&handle| world.shared.ledger.open(handle).unwrap());
    let (alice, bob, carol) = (world.caller(a, 1), world.caller(b, 2), world.caller(c, 3));
    let (at_a, at_b, at_c) = (world.allocate(&alice), world.allocate(&bob), world.allocate(&carol));
    assert_eq!(world.permit(&alice, at_b), 403);
    assert_eq!(world.bind(&alice, 0x4000, at_b), 403);
    assert_eq!(world.send(&alice, at_b, b"x"), Out::Nothing);
    world.shared.ledger.pair(a, b).unwrap();
    assert_eq!(world.bind(&alice, 0x4000, at_b), 0);
    assert_ne!(world.channel(&alice, 0x4000, b"x"), Out::Nothing);
    assert_eq!(world.bind(&alice, 0x4001, at_c), 403);
    assert_eq!(world.send(&carol, at_a, b"x"), Out::Nothing);
}

#[test]
fn nothing_but_the_partner_can_be_reached_by_any_method() {
    let (mut world, a, b) = call();
    let (c, _) = world.call();
    let (stranger, alice) = (world.caller(c, 9), world.user("alice", 10));
    let others = [
        world.allocate(&stranger),
        world.allocate(&alice),
        a.relayed,
        outside(1),
        addr("203.0.113.7:3478"),
        addr("127.0.0.1:80"),
        SocketAddr::new(b.relayed.ip(), b.relayed.port() ^ 1),
        SocketAddr::new(b.relayed.ip(), 0),
        b.client.remote(),
        addr("[::1]:1"),
    ];
    for peer in others {
        assert_eq!(world.permit(&a.client, peer), 403, "{peer}");
        assert_eq!(world.bind(&a.client, 0x4000, peer), 403, "{peer}");
        assert_eq!(world.send(&a.client, peer, b"x"), Out::Nothing, "{peer}");
    }
    let both = |r: Request| r.xor_peer_address(b.relayed).xor_peer_address(outside(1));
    assert_eq!(world.ask(&a.client, Method::CreatePermission, both).code, 403);
    world.permit(&alice, a.relayed);
    assert_eq!(world.send(&alice, a.relayed, b"x"), Out::Nothing, "nor is it reached by ordinary users");
    assert_eq!(world.peer_sends(0, a.relayed, outside(1), b"x"), Out::Nothing, "nor from outside");
}

#[test]
fn the_end_of_a_call_takes_effect_before_any_worker_hears_of_it() {
    let (mut world, a, b) = call();
    world.bind(&a.client, 0x4000, b.relayed);
    world.bind(&b.client, 0x4000, a.relayed);
    let closed = world.shared.ledger.close(a.handle);
    assert_eq!(closed.len(), 2, "both sides");
    assert_eq!(world.channel(&a.client, 0x4000, b"x"), Out::Nothing);
    assert_eq!(world.channel(&b.client, 0x4000, b"x"), Out::Nothing);
    assert_eq!(world.send(&b.client, a.relayed, b"x"), Out::Nothing);
    assert_eq!(world.shared.ledger.close(b.handle), [], "already closed");
}

#[test]
fn no_request_brings_a_closed_call_back() {
    for revive in [Method::Refresh, Method::Allocate, Method::CreatePermission, Method::ChannelBind] {
        let (mut world, a, b) = call();
        let free = world.free_ports();
        world.shared.ledger.close(b.handle);
        let everything = |r: Request| udp(r).lifetime(3600).channel_number(0x4000).xor_peer_address(b.relayed);
        let code = world.ask(&a.client, revive, everything).code;
        assert_eq!(code, if revive == Method::Allocate { 403 } else { 437 }, "{revive:?}");
        assert_eq!(world.send(&a.client, b.relayed, b"x"), Out::Nothing);
        assert_eq!(world.free_ports(), free + 1, "its next request freed it");
    }
}

/// The owner goes on refreshing on its own thread while signalling closes from another.
#[test]
fn a_refresh_on_another_thread_cannot_undo_the_end_of_a_call() {
    let mut world = World::new(settings(), 1);
    for round in 0..50 {
        let (a, b) = world.call();
        let (caller, callee) = (world.caller(a, 1), world.caller(b, 2));
        let ports = [world.allocate(&caller), world.allocate(&callee)];
        let [at_a, at_b] = ports.map(|relayed| world.shared.routes.locate(relayed).unwrap());
        let refresh = world.signed(&callee, Method::Refresh, |r| r.lifetime(3600));
        let bind = world.signed(&callee, Method::ChannelBind, |r| r.channel_number(0x4000).xor_peer_address(ports[0]));
        let (shared, now, worker) = (world.shared.clone(), world.now, &mut world.workers[0]);
        let answered = std::sync::atomic::AtomicU64::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for datagram in [&refresh, &bind].into_iter().cycle().take(200) {
                    let (mut buffer, length) = (datagram.clone(), datagram.len());
                    worker.handle_client(now, &callee.from, &mut Packet::new(&mut buffer, 0..length));
                    while worker.poll_action().is_some() {}
                    answered.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                }
            });
            while answered.load(std::sync::atomic::Ordering::Relaxed) < 20 + round {
                std::thread::yield_now();
            }
            shared.ledger.close(a);
            for _ in 0..200 {
                let (there, back) =
                    (shared.routes.deliver(at_a, at_b, now.mono), shared.routes.deliver(at_b, at_a, now.mono));
                assert_eq!((there, back), (Delivery::Gone, Delivery::Gone));
                std::thread::yield_now();
            }
        });
        assert_eq!(world.refresh(&caller, 0).code, 437);
        assert_eq!(world.refresh(&callee, 0).code, 437);
    }
}

#[test]
fn close_commands_free_the_ports_and_five_tuples_of_both() {
    let mut world = World::new(settings(), 2);
    let free = world.free_ports();
    let (a, b) = world.call();
    let (caller, callee) = (world.caller(a, 1), world.caller(b, 2));
    world.allocate(&caller);
    world.allocate(&callee);
    world.close(a);
    assert_eq!(world.free_ports(), free);
    assert_eq!(world.workers[0].allocations.len(), 0);
    let (next, _) = world.call();
    let next = world.caller(next, 1);
    world.allocate(&next);
}

#[test]
fn a_close_command_that_comes_late_leaves_the_new_holder_alone() {
    let mut world = World::new(Settings { ports: 50_000..=50_000, ..settings() }, 1);
    let (a, _) = world.call();
    let caller = world.caller(a, 1);
    world.allocate(&caller);
    let late = world.shared.ledger.close(a);
    assert_eq!(world.refresh(&caller, 600).code, 437);
    let (next, _) = world.call();
    let (next, alice) = (world.caller(next, 2), world.user("alice", 3));
    let close = |world: &mut World| {
        let now = world.now;
        late.iter().for_each(|&(_, port)| world.workers[0].handle_command(now, Command::Close(port)));
    };
    world.allocate(&next);
    close(&mut world);
    assert_eq!(world.refresh(&next, 0).code, 0, "the next call");
    world.allocate(&alice);
    close(&mut world);
    assert_eq!(world.refresh(&alice, 0).code, 0, "an ordinary user");
}

#[test]
fn a_handle_must_be_open_and_has_two_allocations() {
    let mut world = world();
    let handle = Handle([5; 12]);
    let clients: Vec<_> = (1..=4).map(|n| world.caller(handle, n)).collect();
    assert_eq!(world.ask(&clients[0], Method::Allocate, udp).code, 403, "never opened");
    world.shared.ledger.open(handle).unwrap();
    world.shared.ledger.open(handle).unwrap();
    let first = world.allocate(&clients[0]);
    let second = world.allocate(&clients[1]);
    assert_eq!(world.ask(&clients[2], Method::Allocate, udp).code, 486);
    let mut relayed = world.shared.ledger.relayed(&handle);
    relayed.sort();
    let mut expected = vec![first, second];
    expected.sort();
    assert_eq!(relayed, expected);
    world.refresh(&clients[0], 0);
    assert_eq!(world.shared.ledger.relayed(&handle), [second]);
    world.allocate(&clients[2]);
    world.close(handle);
    assert_eq!(world.ask(&clients[3], Method::Allocate, udp).code, 403, "closed");
    assert_eq!(world.shared.ledger.relayed(&handle), []);
}

#[test]
fn both_allocations_of_a_side_reach_the_other_but_not_each_other() {
    let (mut world, a, b) = call();
    let second = world.caller(a.handle, 3);
    let second_relayed = world.allocate(&second);
    assert_eq!(world.send(&a.client, second_relayed, b"x"), Out::Nothing);
    assert_eq!(world.bind(&a.client, 0x4000, second_relayed), 403);
    let out = world.send(&second, b.relayed, b"x");
    assert_eq!(out, Out::Client(b.client.remote(), Data::Indication(second_relayed, b"x".to_vec())));
}

#[test]
fn families_do_not_mix_within_a_call() {
    let (mut world, a, b) = call();
    let sixth = world.caller(b.handle, 3);
    let over_v6 = world.allocate_v6(&sixth);
    assert_eq!(world.permit(&a.client, over_v6), 443);
    assert_eq!(world.bind(&a.client, 0x4000, over_v6), 443);
    assert_eq!(world.send(&a.client, over_v6, b"x"), Out::Nothing);
}

#[test]
fn the_credential_starts_an_allocation_for_a_minute_and_what_was_started_goes_on() {
    let (mut world, a, _) = call();
    let late = world.caller(a.handle, 5);
    world.wait_secs(61);
    assert_eq!(world.ask(&late, Method::Allocate, udp).code, 401);
    world.refresh(&a.client, 3600);
    for _ in 0..3 {
        world.wait_secs(3500);
        let refreshed = world.refresh(&a.client, 3600).code;
        if refreshed == 438 {
            let nonce = world.client_at(a.client.from, 0, "", "").nonce;
            let renewed = Client { nonce, ..a.client.clone() };
            assert_eq!(world.refresh(&renewed, 3600).code, 0);
        } else {
            assert_eq!(refreshed, 0);
        }
    }
}

#[test]
fn expiry_ends_a_side_and_the_handle_may_allocate_again() {
    let (mut world, a, b) = call();
    world.refresh(&b.client, 3600);
    world.wait_secs(600);
    world.run_timers();
    assert_eq!(world.send(&b.client, a.relayed, b"x"), Out::Nothing);
    assert_eq!(world.shared.ledger.relayed(&a.handle), []);
    let again = world.caller(a.handle, 7);
    let relayed = world.allocate(&again);
    assert_ne!(world.send(&b.client, relayed, b"x"), Out::Nothing);
}

#[test]
fn a_port_that_changes_hands_carries_nothing_over_to_the_next_call() {
    let mut world = World::new(Settings { ports: 50_000..=50_001, ..settings() }, 2);
    let (a, b) = world.call();
    let (caller, callee) = (world.caller(a, 1), world.caller(b, 2));
    world.allocate(&caller);
    let partner = world.allocate(&callee);
    world.bind(&caller, 0x4000, partner);
    world.refresh(&callee, 0);
    let (other, _) = world.call();
    let newcomer = world.caller(other, 3);
    assert_eq!(world.allocate(&newcomer), partner);
    assert_eq!(world.channel(&caller, 0x4000, b"for the partner"), Out::Nothing);
    assert_eq!(world.bind(&caller, 0x4000, partner), 403);
}

#[test]
fn even_port_works_and_pairs_are_not_for_calls() {
    let mut world = world();
    let (a, _) = world.call();
    let caller = world.caller(a, 1);
    assert_eq!(world.ask(&caller, Method::Allocate, |r| udp(r).even_port(true)).code, 508);
    let even = world.ask(&caller, Method::Allocate, |r| udp(r).even_port(false));
    assert_eq!(even.relayed.unwrap().port() % 2, 0);
}

#[test]
fn a_retransmitted_allocate_is_answered_alike_for_calls_too() {
    let mut world = world();
    let (a, _) = world.call();
    let caller = world.caller(a, 1);
    let request = world.signed(&caller, Method::Allocate, udp);
    let first = world.deliver(&caller, &request).unwrap();
    let again = world.deliver(&caller, &request).unwrap();
    assert_eq!((first.code, first.bytes), (0, again.bytes));
    assert_eq!(world.shared.ledger.relayed(&a).len(), 1);
}

#[test]
fn pairing_needs_two_open_unpaired_handles() {
    let world = world();
    let ledger = &world.shared.ledger;
    let [a, b, c] = [1, 2, 3].map(|n| Handle([n; 12]));
    ledger.open(a).unwrap();
    assert_eq!(ledger.pair(a, a), Err(Gone));
    assert_eq!(ledger.pair(a, b), Err(Gone));
    ledger.open(b).unwrap();
    ledger.open(c).unwrap();
    assert_eq!(ledger.pair(a, b), Ok(()));
    assert_eq!(ledger.pair(b, a), Ok(()), "they are a call already");
    assert_eq!(ledger.pair(a, c), Err(Gone));
    ledger.close(a);
    assert_eq!(ledger.pair(b, c), Err(Gone), "the end of a call closes both");
    assert_eq!(ledger.open_handles(), 1);
}

#[test]
fn the_ledger_is_bounded_and_closing_makes_room() {
    let world = World::new(Settings { max_handles: 2, ..settings() }, 1);
    let ledger = &world.shared.ledger;
    let [a, b, c] = [1, 2, 3].map(|n| Handle([n; 12]));
    ledger.open(a).unwrap();
    ledger.open(b).unwrap();
    assert_eq!(ledger.open(c), Err(Full));
    assert_eq!(ledger.open(a), Ok(()), "already open");
    ledger.close(a);
    assert_eq!(ledger.open(c), Ok(()));
}

#[test]
fn handles_travel_as_base64url_and_print_as_nothing() {
    let handle = Handle([0xFB, 0xFF, 0xFE, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    let text = handle.to_base64url();
    assert_eq!(text.len(), 16);
    assert_eq!(Handle::from_base64url(&text), Some(handle));
    for wrong in ["", "AAAA", &text[1..], &format!("{text}AAAA"), "AAAAAAAAAAAAAA==", "????????????????"] {
        assert_eq!(Handle::from_base64url(wrong), None, "{wrong}");
    }
    assert_eq!(format!("{handle:?}"), "Handle([redacted])");
}
