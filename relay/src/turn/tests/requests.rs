//! What every request has in common, and what is no request.

use super::world::*;
use crate::turn::*;
use crate::wire::{Method, Request, attribute as attr};

#[test]
fn binding_tells_anybody_its_address_in_32_bytes() {
    let mut world = world();
    let client = world.user("alice", 1);
    let request = Request::new(Method::Binding, world.transaction()).finish(None);
    let response = world.deliver(&client, &request).unwrap();
    assert_eq!((response.code, response.mapped), (0, Some(client.remote())));
    assert_eq!(response.bytes.len(), 32);
}

#[test]
fn binding_over_ipv6_tells_the_ipv6_address() {
    let mut world = world();
    let client = world.client_at(five_tuple(addr("[2001:db8::9]:7000")), 0, "alice", "alice's secret");
    let request = Request::new(Method::Binding, world.transaction()).finish(None);
    assert_eq!(world.deliver(&client, &request).unwrap().mapped, Some(client.remote()));
}

#[test]
fn every_method_but_binding_needs_credentials_and_leaves_no_state_without() {
    let mut world = world();
    let client = world.user("alice", 1);
    let (free, methods) = (world.free_ports(), [Method::Allocate, Method::Refresh, Method::CreatePermission]);
    for method in methods.into_iter().chain([Method::ChannelBind, Method::Connect, Method::ConnectionBind]) {
        let bare = Request::new(method, world.transaction()).requested_transport(UDP).finish(None);
        let response = world.deliver(&client, &bare).unwrap();
        assert_eq!((response.code, response.signed), (401, false), "{method:?}");
    }
    assert_eq!(world.free_ports(), free);
    assert_eq!(world.workers[0].allocations.len(), 0);
    assert_eq!(world.workers[0].poll_timeout(), None);
}

#[test]
fn a_wrong_password_and_an_unknown_user_get_the_same_401() {
    let mut world = world();
    let alice = world.user("alice", 1);
    let wrong = Client { password: "guess".to_owned(), ..alice.clone() };
    let unknown = Client { username: "nobody".to_owned(), ..alice };
    let [wrong, unknown] =
        [wrong, unknown].map(|client| world.ask(&client, Method::Allocate, |r| r.requested_transport(UDP)));
    assert_eq!((wrong.code, unknown.code), (401, 401));
    assert_eq!(wrong.bytes.len(), unknown.bytes.len());
}

#[test]
fn without_an_allocation_every_other_method_is_a_mismatch() {
    let mut world = world();
    let alice = world.user("alice", 1);
    for method in [Method::Refresh, Method::CreatePermission, Method::ChannelBind, Method::Connect] {
        let response = world.ask(&alice, method, |request| request.xor_peer_address(outside(1)));
        assert_eq!((response.code, response.signed), (437, true), "{method:?}");
    }
}

#[test]
fn another_user_on_the_five_tuple_has_wrong_credentials_and_changes_nothing() {
    let mut world = world();
    let alice = world.user("alice", 1);
    let bob = world.user("bob", 1);
    assert_eq!(alice.from, bob.from);
    let id = world.transaction();
    let [hers, his] = [&alice, &bob].map(|client| {
        let request = Request::new(Method::Allocate, id).requested_transport(UDP);
        request.credentials(&client.username, REALM, &client.nonce).finish(Some(&client.key()))
    });
    assert_eq!(world.deliver(&alice, &hers).unwrap().code, 0);
    assert_eq!(world.deliver(&bob, &his).unwrap().code, 437, "no retransmission of hers");
    assert_eq!(world.refresh(&bob, 0).code, 441);
    assert_eq!(world.permit(&bob, outside(1)), 441);
    assert_eq!(world.bind(&bob, 0x4000, outside(1)), 441);
    assert_eq!(world.ask(&bob, Method::Allocate, |r| r.requested_transport(UDP)).code, 437);
    assert_eq!(world.refresh(&alice, 600).code, 0);
}

#[test]
fn requests_of_an_allocation_replayed_from_elsewhere_find_none() {
    let mut world = world();
    let alice = world.user("alice", 1);
    world.allocate(&alice);
    let replayed = world.signed(&alice, Method::Refresh, |request| request.lifetime(0));
    let mallory = world.user("bob", 2);
    let response = world.deliver(&mallory, &replayed).unwrap();
    assert!(matches!(response.code, 437 | 438), "{}", response.code);
    assert_eq!(world.refresh(&alice, 600).code, 0, "the victim lives");
}

#[test]
fn unknown_required_attributes_are_listed_and_unknown_optional_ones_ignored() {
    let mut world = world();
    let alice = world.user("alice", 1);
    let unknown = |request: Request| request.requested_transport(UDP).raw(0x7FF1, &[1]).raw(0xFFF1, &[2]);
    let response = world.ask(&alice, Method::Allocate, unknown);
    assert_eq!((response.code, response.signed, response.unknown), (420, true, vec![0x7F, 0xF1]));
    let optional = |request: Request| request.requested_transport(UDP).raw(0xFFF1, &[2]);
    assert_eq!(world.ask(&alice, Method::Allocate, optional).code, 0);

    let bare = Request::new(Method::Binding, world.transaction()).raw(0x7FF1, &[]).finish(None);
    let response = world.deliver(&alice, &bare).unwrap();
    assert_eq!((response.code, response.unknown), (420, vec![0x7F, 0xF1]));
}

#[test]
fn attributes_behind_message_integrity_are_not_there() {
    let mut world = world();
    let alice = world.user("alice", 1);
    world.allocate(&alice);
    let smuggled = Request::new(Method::Refresh, world.transaction())
        .lifetime(700)
        .credentials(&alice.username, REALM, &alice.nonce)
        .integrity(&alice.key())
        .lifetime(0)
        .finish(None);
    let response = world.deliver(&alice, &smuggled).unwrap();
    assert_eq!((response.code, response.lifetime), (0, Some(700)));
    assert_eq!(world.workers[0].allocations.len(), 1);
}

#[test]
fn one_flipped_bit_anywhere_in_a_signed_request_changes_nothing() {
    let mut world = world();
    let alice = world.user("alice", 1);
    world.allocate(&alice);
    let good = world.signed(&alice, Method::Refresh, |request| request.lifetime(0));
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        if let Some(response) = world.deliver(&alice, &bad) {
            assert_ne!((response.code, at), (0, at));
        }
        assert_eq!(world.workers[0].allocations.len(), 1, "byte {at}");
    }
}

#[test]
fn success_and_errors_after_authentication_carry_integrity() {
    let mut world = world();
    let alice = world.user("alice", 1);
    assert!(world.ask(&alice, Method::Allocate, |r| r).signed, "400");
    assert!(world.ask(&alice, Method::Refresh, |r| r).signed, "437");
    assert!(world.ask(&alice, Method::Allocate, |r| r.requested_transport(UDP)).signed);
    assert!(world.ask(&alice, Method::CreatePermission, |r| r.xor_peer_address(outside(1))).signed);
    let bind = |r: Request| r.channel_number(0x4000).xor_peer_address(outside(1));
    assert!(world.ask(&alice, Method::ChannelBind, bind).signed);
    assert!(world.refresh(&alice, 0).signed);
}

#[test]
fn responses_and_stray_indications_meet_silence() {
    use crate::wire::MessageClass::{Error, Indication, Success};
    let mut world = world();
    let alice = world.user("alice", 1);
    world.allocate(&alice);
    for class in [Success, Error, Indication] {
        for method in [Method::Binding, Method::Allocate, Method::Refresh, Method::Data, Method::Other(0xFFF)] {
            let stray = Request::of_class(class, method, world.transaction()).finish(None);
            assert!(world.deliver(&alice, &stray).is_none(), "{class:?} {method:?}");
        }
    }
    for method in [Method::Send, Method::Data, Method::ConnectionAttempt, Method::Other(0), Method::Other(0xFFF)] {
        let stray = Request::new(method, world.transaction()).finish(None);
        assert!(world.deliver(&alice, &stray).is_none(), "request {method:?}");
    }
    assert_eq!(world.dropped(Reason::NotForServers), 15);
    assert_eq!(world.dropped(Reason::UnknownMethod), 5);
}

#[test]
fn garbage_meets_silence_and_is_counted() {
    let mut world = world();
    let alice = world.user("alice", 1);
    for garbage in [&[][..], &[0], &[0; 19], &[0x80; 40], &[0xFF; 40], &[0; 40]] {
        assert!(world.deliver(&alice, garbage).is_none());
    }
    assert_eq!(world.dropped(Reason::Unrecognised), 6);
    let mut overrun = Request::new(Method::Binding, world.transaction()).raw(0x8022, &[1; 4]).finish(None);
    overrun[23] = 200;
    assert!(world.deliver(&alice, &overrun).is_none());
    assert_eq!(world.dropped(Reason::Malformed), 1);
}

#[test]
fn malformed_typed_attributes_are_bad_requests() {
    let mut world = world();
    let alice = world.user("alice", 1);
    world.allocate(&alice);
    for (method, number, value) in [
        (Method::Refresh, attr::LIFETIME, &[0_u8; 3][..]),
        (Method::Refresh, attr::REQUESTED_ADDRESS_FAMILY, &[1; 2]),
        (Method::CreatePermission, attr::XOR_PEER_ADDRESS, &[0, 3, 1, 1, 9, 9, 9, 9]),
        (Method::CreatePermission, attr::XOR_PEER_ADDRESS, &[0, 1, 1, 1]),
        (Method::CreatePermission, attr::XOR_PEER_ADDRESS, &[0; 65]),
        (Method::ChannelBind, attr::CHANNEL_NUMBER, &[0x40]),
    ] {
        assert_eq!(world.ask(&alice, method, |request| request.raw(number, value)).code, 400, "{method:?} {number:#x}");
    }
}

#[test]
fn a_draining_server_refuses_new_allocations_and_keeps_the_old() {
    let mut world = world();
    let (alice, bob) = (world.user("alice", 1), world.user("bob", 2));
    world.allocate(&alice);
    let now = world.now;
    world.workers[0].handle_command(now, Command::Drain);
    assert_eq!(world.ask(&bob, Method::Allocate, |r| r.requested_transport(UDP)).code, 508);
    assert_eq!(world.refresh(&alice, 600).code, 0);
}
