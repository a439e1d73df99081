//! Allocate, rule by rule (RFC 8656 §7.2).

use super::world::*;
use crate::turn::*;
use crate::wire::{Message, Method, Request, attribute as attr};

fn plain(request: Request) -> Request {
    request.requested_transport(UDP)
}

#[test]
fn an_allocation_answers_with_public_relayed_address_own_address_and_lifetime() {
    let mut world = world();
    let alice = world.user("alice", 1);
    let response = world.ask(&alice, Method::Allocate, plain);
    assert_eq!((response.code, response.mapped, response.lifetime), (0, Some(alice.remote()), Some(600)));
    let relayed = response.relayed.unwrap();
    assert_eq!(relayed.ip(), addr("203.0.113.7:1").ip());
    assert!((50_000..=50_999).contains(&relayed.port()));
    assert_eq!(world.sockets.len(), 1, "one real socket");
}

#[test]
fn a_retransmitted_allocate_gets_the_same_answer_and_another_one_does_not() {
    let mut world = world();
    let alice = world.user("alice", 1);
    let request = world.signed(&alice, Method::Allocate, |r| plain(r).lifetime(1000));
    let first = world.deliver(&alice, &request).unwrap();
    world.wait_secs(5);
    let again = world.deliver(&alice, &request).unwrap();
    assert_eq!(first.bytes, again.bytes);
    assert_eq!(world.ask(&alice, Method::Allocate, plain).code, 437);
    assert_eq!(world.sockets.len(), 1);
}

#[test]
fn a_retransmission_while_the_socket_is_being_bound_waits_with_the_first() {
    let mut world = world();
    world.slow_opens = true;
    let alice = world.user("alice", 1);
    let request = world.signed(&alice, Method::Allocate, plain);
    assert!(world.deliver(&alice, &request).is_none());
    assert!(world.deliver(&alice, &request).is_none());
    assert_eq!(world.dropped(Reason::InProgress), 1);
    assert_eq!(world.ask(&alice, Method::Allocate, plain).code, 437, "another one");
    assert_eq!(world.refresh(&alice, 600).code, 437, "nothing exists yet");
    let [(worker, port)] = world.opens[..] else { panic!("one Open") };
    let before = world.replies.len();
    world.open(worker, port);
    world.drain(worker);
    assert_eq!(world.replies.len(), before + 1);
    assert_eq!(Response::read(&world.replies[before].1, &alice.key()).code, 0);
}

#[test]
fn a_port_that_cannot_be_bound_is_followed_by_others_and_then_by_508() {
    let mut world = world();
    let (alice, free) = (world.user("alice", 1), world.free_ports());
    world.failing_opens = 3;
    world.allocate(&alice);
    assert_eq!(world.free_ports(), free - 1, "failed ones came back");
    let bob = world.user("bob", 2);
    world.failing_opens = 100;
    let response = world.ask(&bob, Method::Allocate, plain);
    assert_eq!((response.code, response.signed), (508, true));
    assert_eq!(world.free_ports(), free - 1);
    world.failing_opens = 0;
    world.allocate(&bob);
}

#[test]
fn requested_transport_must_be_there_and_be_udp() {
    let mut world = world();
    let alice = world.user("alice", 1);
    assert_eq!(world.ask(&alice, Method::Allocate, |r| r).code, 400);
    assert_eq!(world.ask(&alice, Method::Allocate, |r| r.requested_transport(6)).code, 400, "TCP over UDP");
    assert_eq!(world.ask(&alice, Method::Allocate, |r| r.requested_transport(99)).code, 442);
    assert_eq!(world.ask(&alice, Method::Allocate, |r| r.raw(attr::REQUESTED_TRANSPORT, &[17])).code, 400);
}

#[test]
fn families_are_given_as_requested_or_refused() {
    let mut world = world();
    let (alice, bob, carol) = (world.user("alice", 1), world.user("bob", 2), world.user("carol", 3));
    assert!(world.allocate_v6(&alice).is_ipv6());
    let family = |number| move |r: Request| plain(r).requested_address_family(number);
    assert!(world.ask(&bob, Method::Allocate, family(1)).relayed.unwrap().is_ipv4());
    assert_eq!(world.ask(&carol, Method::Allocate, family(3)).code, 440);

    let only_v6 = Settings { addresses: settings().addresses.split_off(1), ..settings() };
    let mut world = World::new(only_v6, 1);
    let alice = world.user("alice", 1);
    assert_eq!(world.ask(&alice, Method::Allocate, plain).code, 440, "IPv4 is what no family means");
    assert_eq!(world.ask(&alice, Method::Allocate, family(1)).code, 440);
    assert_eq!(world.ask(&alice, Method::Allocate, family(2)).code, 0);
}

#[test]
fn lifetimes_are_clamped_both_ways() {
    let mut world = world();
    for (number, asked, granted) in [(1, 0, 600), (2, 1, 600), (3, 900, 900), (4, u32::MAX, 3600)] {
        let alice = world.user("alice", number);
        let response = world.ask(&alice, Method::Allocate, |r| plain(r).lifetime(asked));
        assert_eq!((response.code, response.lifetime), (0, Some(granted)), "asked for {asked}");
    }
}

#[test]
fn dont_fragment_is_known() {
    let mut world = world();
    let alice = world.user("alice", 1);
    assert_eq!(world.ask(&alice, Method::Allocate, |r| plain(r).dont_fragment()).code, 0);
}

#[test]
fn even_port_is_even() {
    let mut world = world();
    for number in 1..=20 {
        let alice = world.user("alice", number);
        let response = world.ask(&alice, Method::Allocate, |r| plain(r).even_port(false));
        assert_eq!(response.relayed.unwrap().port() % 2, 0);
        assert_eq!(response.token, None);
    }
}

#[test]
fn even_port_with_reserve_gives_n_and_a_token_good_once_for_n_plus_1() {
    let mut world = world();
    let (rtp, rtcp, third) = (world.user("alice", 1), world.user("alice", 2), world.user("alice", 3));
    let first = world.ask(&rtp, Method::Allocate, |r| plain(r).even_port(true));
    let (n, token) = (first.relayed.unwrap().port(), first.token.unwrap());
    assert_eq!(n % 2, 0);
    let reserved = |r: Request| plain(r).reservation_token(token);
    assert_eq!(world.ask(&rtcp, Method::Allocate, reserved).relayed.unwrap().port(), n + 1);
    assert_eq!(world.ask(&third, Method::Allocate, reserved).code, 508, "once");
    let made_up = |r: Request| plain(r).reservation_token(*b"made up!");
    assert_eq!(world.ask(&third, Method::Allocate, made_up).code, 508);
}

#[test]
fn a_reservation_ends_after_30_seconds_and_its_port_comes_back() {
    let mut world = world();
    let (rtp, rtcp, free) = (world.user("alice", 1), world.user("alice", 2), world.free_ports());
    let token = world.ask(&rtp, Method::Allocate, |r| plain(r).even_port(true)).token.unwrap();
    assert_eq!(world.free_ports(), free - 2);
    assert_eq!(world.refresh(&rtp, 0).code, 0);
    assert_eq!(world.free_ports(), free - 1, "held for 30 s whatever becomes of the first");
    world.wait_secs(30);
    assert_eq!(world.ask(&rtcp, Method::Allocate, |r| plain(r).reservation_token(token)).code, 508);
    assert_eq!(world.free_ports(), free);
}

#[test]
fn a_user_cannot_hoard_reservations() {
    let mut world = World::new(Settings { user_allocations: 2, ..settings() }, 1);
    let even = |r: Request| plain(r).even_port(true);
    for (number, code) in [(1, 0), (2, 0), (3, 508)] {
        let alice = world.user("alice", number);
        assert_eq!(world.ask(&alice, Method::Allocate, even).code, code, "reservation {number}");
        world.refresh(&alice, 0);
    }
    let bob = world.user("bob", 9);
    assert_eq!(world.ask(&bob, Method::Allocate, even).code, 0);
}

#[test]
fn a_token_excludes_even_port_and_family() {
    let mut world = world();
    let alice = world.user("alice", 1);
    let token = |r: Request| plain(r).reservation_token([1; 8]);
    assert_eq!(world.ask(&alice, Method::Allocate, |r| token(r).even_port(false)).code, 400);
    assert_eq!(world.ask(&alice, Method::Allocate, |r| token(r).requested_address_family(1)).code, 400);
    assert_eq!(world.ask(&alice, Method::Allocate, |r| plain(r).raw(attr::RESERVATION_TOKEN, &[1; 7])).code, 400);
}

#[test]
fn a_user_beyond_the_quota_gets_486_and_freed_places_return() {
    let mut world = World::new(Settings { user_allocations: 3, ..settings() }, 2);
    for number in 1..=3 {
        let alice = world.user_on(usize::from(number) % 2, "alice", number);
        world.allocate(&alice);
    }
    let (fourth, bob) = (world.user("alice", 4), world.user("bob", 5));
    assert_eq!(world.ask(&fourth, Method::Allocate, plain).code, 486, "both workers count together");
    world.allocate(&bob);
    let second = world.user_on(0, "alice", 2);
    assert_eq!(world.refresh(&second, 0).code, 0);
    world.allocate(&fourth);
}

#[test]
fn exhausted_ports_and_a_full_server_get_508_and_everything_else_goes_on() {
    let mut world = World::new(Settings { ports: 50_000..=50_009, ..settings() }, 1);
    let clients: Vec<_> = (1..=11).map(|number| world.user("alice", number)).collect();
    let codes: Vec<_> = clients.iter().map(|c| world.ask(c, Method::Allocate, plain).code).collect();
    assert_eq!(codes, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 508]);
    assert_eq!(world.refresh(&clients[0], 0).code, 0);
    world.allocate(&clients[10]);

    let mut world = World::new(Settings { max_allocations: 1, ..settings() }, 1);
    let (alice, bob) = (world.user("alice", 1), world.user("bob", 2));
    world.allocate(&alice);
    assert_eq!(world.ask(&bob, Method::Allocate, plain).code, 508);
    assert_eq!(world.refresh(&alice, 600).code, 0);
}

#[test]
fn relayed_ports_are_drawn_from_the_whole_range() {
    let mut world = World::new(Settings { user_allocations: 200, ..settings() }, 1);
    let clients: Vec<_> = (1..=200).map(|n| world.user("alice", n)).collect();
    let ports: Vec<_> = clients.iter().map(|client| world.allocate(client).port()).collect();
    let distinct: std::collections::BTreeSet<_> = ports.iter().collect();
    assert_eq!(distinct.len(), 200, "each handed out once");
    assert!(ports.iter().any(|p| *p < 50_200) && ports.iter().any(|p| *p > 50_800));
    let ascending = ports.windows(2).filter(|pair| pair[0] < pair[1]).count();
    assert!((50..150).contains(&ascending), "no counter: {ascending} of 199 steps upwards");
}

#[test]
fn the_answer_carries_no_software_and_no_other_secret() {
    let mut world = world();
    let alice = world.user("alice", 1);
    let response = world.ask(&alice, Method::Allocate, plain);
    let message = Message::parse(&response.bytes).unwrap();
    assert_eq!(message.value(attr::SOFTWARE), None);
    assert_eq!(message.username(), Ok(None));
}
