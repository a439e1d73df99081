//! What an operator does to a server at work: drains it, changes its limits, lists and credentials.

use std::net::SocketAddr;

use std::sync::Arc;

use super::world::*;
use crate::access::{self, Policy, ReplyLimits};
use crate::auth::{self, Authenticator};
use crate::turn::*;
use crate::wire::{Message, Method, Request, attribute as attr};

const V4: &str = "192.0.2.80:3478";
const V6: &str = "[2001:db8:80::1]:3478";

fn draining(settings: Settings) -> World {
    let mut world = World::new(settings, 1);
    let now = world.now;
    world.workers[0].handle_command(now, Command::Drain);
    world
}

/// The value of an attribute of the last reply.
fn told(response: &Response, number: u16) -> Option<Vec<u8>> {
    Message::parse(&response.bytes).unwrap().value(number).map(<[u8]>::to_vec)
}

fn ask(world: &mut World, client: &Client) -> Response {
    world.ask(client, Method::Allocate, |request| request.requested_transport(UDP))
}

#[test]
fn a_draining_server_sends_clients_to_the_server_of_their_family() {
    let alternate_servers = vec![addr(V4), addr(V6)];
    let mut world = draining(Settings { alternate_servers, ..settings() });
    let v4 = world.user("alice", 1);
    let v6 = world.client_at(five_tuple(addr("[2001:db8::9]:7000")), 0, "bob", "bob's secret");
    let (v4, v6) = (ask(&mut world, &v4), ask(&mut world, &v6));
    assert_eq!((v4.code, v4.signed), (300, true));
    assert_eq!(told(&v4, attr::ALTERNATE_SERVER).unwrap(), [0, 1, 0x0D, 0x96, 192, 0, 2, 80]);
    assert_eq!((v6.code, v6.signed), (300, true));
    let v6 = told(&v6, attr::ALTERNATE_SERVER).unwrap();
    assert_eq!((v6.len(), &v6[..8]), (20, &[0, 2, 0x0D, 0x96, 0x20, 0x01, 0x0D, 0xB8][..]));
    assert_eq!(told(&v4, attr::ALTERNATE_DOMAIN), None);
}

#[test]
fn the_name_to_expect_goes_with_the_address() {
    let (alternate_servers, alternate_domain) = (vec![addr(V4)], Some("relay.example".to_owned()));
    let mut world = draining(Settings { alternate_servers, alternate_domain, ..settings() });
    let alice = world.user("alice", 1);
    let response = ask(&mut world, &alice);
    assert_eq!(told(&response, attr::ALTERNATE_DOMAIN).unwrap(), b"relay.example");
}

#[test]
fn without_a_server_of_its_family_a_client_hears_of_no_capacity() {
    let mut world = draining(Settings { alternate_servers: vec![addr(V6)], ..settings() });
    let alice = world.user("alice", 1);
    let response = ask(&mut world, &alice);
    assert_eq!((response.code, told(&response, attr::ALTERNATE_SERVER)), (508, None));
}

#[test]
fn a_stranger_is_challenged_and_never_sent_elsewhere() {
    let mut world = draining(Settings { alternate_servers: vec![addr(V4)], ..settings() });
    let alice = world.user("alice", 1);
    let bare = Request::new(Method::Allocate, world.transaction()).requested_transport(UDP).finish(None);
    let response = world.deliver(&alice, &bare).unwrap();
    assert_eq!((response.code, told(&response, attr::ALTERNATE_SERVER)), (401, None));
}

/// What `World::with_access` makes, otherwise.
fn reload(world: &mut World, settings: Settings, auth: auth::Settings, access: &access::Settings) {
    let auth = auth::Settings { realm: REALM.to_owned(), ..auth };
    let authenticator = Authenticator::new(auth, Arc::clone(&world.call_keys), [9; 32]);
    let authenticator = authenticator.after(&world.shared.authenticator);
    world.shared = world.shared.succeed(settings, authenticator, Policy::new(access));
    let now = world.now;
    for worker in &mut world.workers {
        worker.handle_command(now, Command::Reload);
    }
}

fn alice_and_bob() -> auth::Settings {
    let users = ["alice", "bob"].map(|name| (name.to_owned(), format!("{name}'s secret"))).to_vec();
    auth::Settings { users, ..auth::Settings::default() }
}

#[test]
fn a_reload_changes_the_lists_and_leaves_what_was_permitted_until_it_must_be_renewed() {
    let mut world = world();
    let alice = world.user("alice", 1);
    world.allocate(&alice);
    assert_eq!(world.permit(&alice, outside(1)), 0);
    let net = outside(1).ip().into();
    let access = access::Settings { deny_peers: vec![net], ..access::Settings::default() };
    reload(&mut world, settings(), alice_and_bob(), &access);
    assert!(matches!(world.send(&alice, outside(1), b"x"), Out::Peer { .. }));
    assert_eq!(world.permit(&alice, outside(1)), 403);
    world.wait_secs(301);
    assert_eq!(world.send(&alice, outside(1), b"x"), Out::Nothing);
}

#[test]
fn a_user_who_is_gone_after_a_reload_keeps_relaying_until_the_next_request() {
    let mut world = world();
    let (alice, carol) = (world.user("alice", 1), world.user("carol", 2));
    for client in [&alice, &carol] {
        world.allocate(client);
        assert_eq!(world.permit(client, outside(1)), 0);
    }
    reload(&mut world, settings(), alice_and_bob(), &access::Settings::default());
    assert!(matches!(world.send(&carol, outside(1), b"x"), Out::Peer { .. }));
    assert_eq!(world.refresh(&carol, 600).code, 401);
    assert_eq!(world.refresh(&alice, 600).code, 0);
}

#[test]
fn a_reload_changes_every_limit_and_ends_no_allocation() {
    let mut world = World::new(Settings { user_allocations: 2, ..settings() }, 2);
    let clients = [world.user("alice", 1), world.user_on(1, "alice", 2)];
    for client in &clients {
        world.allocate(client);
    }
    let third = world.user("alice", 3);
    assert_eq!(ask(&mut world, &third).code, 486);
    let limits = Limits { packets_per_second: 2, bits_per_second: 0 };
    let changed = Settings { user_allocations: 3, max_permissions: 1, user_limits: limits, ..settings() };
    reload(&mut world, changed, alice_and_bob(), &access::Settings::default());
    assert_eq!(ask(&mut world, &third).code, 0);
    for client in &clients {
        assert_eq!(world.permit(client, outside(1)), 0);
        assert_eq!(world.permit(client, outside(2)), 508);
        let through = (0..5).filter(|_| world.send(client, outside(1), b"x") != Out::Nothing).count();
        assert_eq!(through, 2);
    }
    reload(&mut world, settings(), alice_and_bob(), &access::Settings::default());
    assert!((0..5).all(|_| world.send(&clients[0], outside(1), b"x") != Out::Nothing));
}

#[test]
fn a_reload_changes_what_calls_may_carry_from_the_next_packet_on() {
    let mut world = World::new(Settings { call_payload: Payload::WebRtc, ..settings() }, 1);
    let (a, b) = world.call();
    let (a, b) = (world.caller(a, 1), world.caller(b, 2));
    world.allocate(&a);
    let to_b = world.allocate(&b);
    assert_eq!(world.send(&a, to_b, b"anything"), Out::Nothing);
    reload(&mut world, settings(), alice_and_bob(), &access::Settings::default());
    assert_ne!(world.send(&a, to_b, b"anything"), Out::Nothing);
}

#[test]
fn a_reload_changes_what_strangers_get() {
    let mut world = world();
    let alice = world.user("alice", 1);
    let unauthenticated = ReplyLimits { per_second: 1, burst: 2, ..ReplyLimits::default() };
    reload(&mut world, Settings { unauthenticated, ..settings() }, alice_and_bob(), &access::Settings::default());
    let answered = |world: &mut World| {
        let request = Request::new(Method::Binding, world.transaction()).finish(None);
        world.deliver(&alice, &request).is_some()
    };
    assert_eq!((0..5).filter(|_| answered(&mut world)).count(), 2);
}

#[test]
fn ports_are_of_the_new_range() {
    let mut world = world();
    let (alice, bob) = (world.user("alice", 1), world.user("bob", 2));
    let before = world.allocate(&alice);
    let elsewhere = Settings { ports: 40_000..=40_000, ..settings() };
    reload(&mut world, elsewhere, alice_and_bob(), &access::Settings::default());
    assert_eq!(world.allocate(&bob), SocketAddr::new(before.ip(), 40_000));
}

#[test]
fn other_addresses_are_for_new_allocations_and_those_that_exist_keep_theirs() {
    let mut world = world();
    let (alice, bob) = (world.user("alice", 1), world.user("bob", 2));
    let before = world.allocate(&alice);
    let moved = |addresses| Settings { addresses, ..settings() };
    let other = RelayedAddress::same("203.0.113.8".parse().unwrap());
    reload(&mut world, moved(vec![other]), alice_and_bob(), &access::Settings::default());
    let after = world.allocate(&bob);
    assert_eq!(after.ip(), other.public);
    assert_eq!((world.permit(&alice, after), world.permit(&bob, before)), (0, 0));
    assert_ne!(world.send(&alice, after, b"to the new address"), Out::Nothing);
    assert_ne!(world.send(&bob, before, b"to the old one"), Out::Nothing);
    assert_eq!(world.refresh(&alice, 600).code, 0);
    // Those of before come back under their own number, and without any nothing is allocated.
    reload(&mut world, moved(Vec::new()), alice_and_bob(), &access::Settings::default());
    let carol = world.user_on(0, "alice", 3);
    assert_eq!(ask(&mut world, &carol).code, 440);
    reload(&mut world, settings(), alice_and_bob(), &access::Settings::default());
    assert_eq!(world.allocate(&carol).ip(), before.ip());
    assert_ne!(world.send(&alice, after, b"still"), Out::Nothing);
}

#[test]
fn an_address_that_shares_a_name_with_another_one_that_is_known_is_not_taken() {
    let world = world();
    let address =
        |bind: &str, public: &str| RelayedAddress { bind: bind.parse().unwrap(), public: public.parse().unwrap() };
    assert!(world.shared.takes(&[]) && world.shared.takes(&settings().addresses));
    assert!(world.shared.takes(&[address("10.0.0.5", "203.0.113.8")]));
    assert!(!world.shared.takes(&[address("10.0.0.4", "203.0.113.8")]), "the same socket under another name");
    assert!(!world.shared.takes(&[address("10.0.0.5", "203.0.113.7")]), "the same name for another socket");
    let many = (0..255).map(|n| RelayedAddress::same(std::net::IpAddr::from([10, 1, 0, n]))).collect::<Vec<_>>();
    assert!(world.shared.takes(&many[..254]) && !world.shared.takes(&many), "two are known");
}

#[test]
fn everybody_together_relays_no_more_than_the_total_and_it_is_counted() {
    let total_limits = Limits { packets_per_second: 10, bits_per_second: 0 };
    let mut world = World::new(Settings { total_limits, ..settings() }, 2);
    let clients = [world.user("alice", 1), world.user_on(1, "bob", 2)];
    for client in &clients {
        world.allocate(client);
        assert_eq!(world.permit(client, outside(1)), 0);
    }
    let through = (0..20).filter(|n| world.send(&clients[n % 2], outside(1), b"x") != Out::Nothing).count();
    assert_eq!((through, world.dropped(Reason::TotalRate)), (10, 10));
    world.wait_secs(1);
    assert!(world.send(&clients[1], outside(1), b"x") != Out::Nothing);
}

#[test]
fn settings_that_were_replaced_are_let_go_of_once_every_worker_has_followed() {
    let mut world = World::new(settings(), 2);
    let first = std::sync::Arc::downgrade(&world.shared);
    reload(&mut world, Settings { max_allocations: 7, ..settings() }, alice_and_bob(), &access::Settings::default());
    assert!(first.upgrade().is_none(), "workers hold the newest, and what outlives a reload holds none");
}

#[test]
fn calls_outlive_a_reload() {
    let mut world = world();
    let (a, b) = world.call();
    let (alice, bob) = (world.caller(a, 1), world.caller(b, 2));
    let (_, to_bob) = (world.allocate(&alice), world.allocate(&bob));
    assert_eq!(world.bind(&alice, 0x4000, to_bob), 0);
    reload(&mut world, settings(), auth::Settings::default(), &access::Settings::default());
    assert_ne!(world.channel(&alice, 0x4000, b"still here"), Out::Nothing);
    assert_eq!(world.refresh(&alice, 600).code, 0);
    world.close(a);
    assert_eq!(world.channel(&alice, 0x4000, b"over"), Out::Nothing);
}
