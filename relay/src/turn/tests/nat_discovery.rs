//! NAT behaviour discovery (RFC 5780 §6.1): whose answers leave from where, and that they never grow.

use std::net::SocketAddr;

use super::world::*;
use crate::access::ReplyLimits;
use crate::turn::*;
use crate::wire::{Message, Method, Request, attribute as attr};

/// Two addresses, two ports: listeners 0 to 3.
const SITES: [[&str; 2]; 2] = [["203.0.113.7:3478", "203.0.113.7:3479"], ["203.0.113.8:3478", "203.0.113.8:3479"]];

fn discovering() -> World {
    let site = |listener: u16, text: &str| Site { listener, local: addr(text), public: addr(text) };
    let [[a, b], [c, d]] = SITES;
    let sites = [[site(0, a), site(1, b)], [site(2, c), site(3, d)]];
    World::new(Settings { nat_discovery: Some(NatDiscovery { sites }), ..settings() }, 1)
}

fn client() -> SocketAddr {
    addr("198.51.100.1:4001")
}

/// A Binding request to one of the four, and where its answer goes.
fn ask(world: &mut World, listener: u16, fill: impl FnOnce(Request) -> Request) -> Option<(ClientPath, Vec<u8>)> {
    let bytes = fill(Request::new(Method::Binding, world.transaction())).finish(None);
    let local = addr(SITES[usize::from(listener) / 2][usize::from(listener) % 2]);
    let from = FiveTuple { listener, local, remote: client(), transport: Transport::Udp };
    let (now, length, before) = (world.now, bytes.len(), world.replies.len());
    let mut buffer = vec![0; HEADROOM];
    buffer.extend_from_slice(&bytes);
    buffer.extend_from_slice(&[0; TAILROOM]);
    world.workers[0].handle_client(now, &from, &mut Packet::new(&mut buffer, HEADROOM..HEADROOM + length));
    world.drain(0);
    world.replies.get(before).cloned()
}

fn address(bytes: &[u8], number: u16) -> Option<SocketAddr> {
    match *Message::parse(bytes).unwrap().value(number)? {
        [0, 1, p0, p1, a, b, c, d] => Some(SocketAddr::from(([a, b, c, d], u16::from_be_bytes([p0, p1])))),
        _ => None,
    }
}

#[test]
fn every_combination_leaves_from_where_it_was_asked_to_and_says_so() {
    let mut world = discovering();
    for listener in 0..4u16 {
        for flags in 0..4u16 {
            let change = [0, 0, 0, (flags << 1) as u8];
            let (path, reply) = ask(&mut world, listener, |r| r.raw(attr::CHANGE_REQUEST, &change)).unwrap();
            let origin = usize::from(listener ^ (flags >> 1 & 1) << 1 ^ flags & 1);
            let (there, other) = (addr(SITES[origin / 2][origin % 2]), usize::from(3 - listener));
            assert_eq!((usize::from(path.listener), path.local, path.remote), (origin, there, client()));
            assert_eq!(address(&reply, attr::RESPONSE_ORIGIN), Some(there));
            assert_eq!(address(&reply, attr::OTHER_ADDRESS), Some(addr(SITES[other / 2][other % 2])));
            assert_eq!(address(&reply, attr::MAPPED_ADDRESS), Some(client()));
            assert_eq!(Message::parse(&reply).unwrap().xor_mapped_address(), Ok(Some(client())));
        }
    }
}

#[test]
fn a_plain_request_hears_of_the_other_address_in_68_bytes() {
    let (path, reply) = ask(&mut discovering(), 1, |request| request).unwrap();
    assert_eq!((path.listener, reply.len()), (1, 68));
}

#[test]
fn an_answer_may_go_to_another_port_of_the_source_and_to_no_other_address() {
    let mut world = discovering();
    let (path, reply) = ask(&mut world, 0, |r| r.raw(attr::RESPONSE_PORT, &[0x30, 0x39, 0, 0])).unwrap();
    assert_eq!(path.remote, SocketAddr::new(client().ip(), 12345));
    assert_eq!(address(&reply, attr::MAPPED_ADDRESS), Some(client()), "what it says is where the request came from");
}

#[test]
fn padding_makes_no_answer_longer_than_its_request() {
    let mut world = discovering();
    for length in (0..1500).step_by(4) {
        let mut asked = 0;
        let (_, reply) = ask(&mut world, 0, |request| {
            let request = request.raw(attr::PADDING, &vec![0; length]);
            asked = 20 + 4 + length;
            request
        })
        .unwrap();
        assert!(reply.len() <= asked.max(68), "{} bytes for {asked}", reply.len());
        let padded = Message::parse(&reply).unwrap().value(attr::PADDING).is_some();
        assert_eq!(padded, asked >= 76, "{asked}");
        assert!(!padded || reply.len() == asked);
    }
}

#[test]
fn what_cannot_be_is_a_bad_request() {
    let mut world = discovering();
    let attributes: [&[(u16, &[u8])]; 4] = [
        &[(attr::CHANGE_REQUEST, &[0; 3])],
        &[(attr::RESPONSE_PORT, &[0; 4])],
        &[(attr::RESPONSE_PORT, &[1; 8])],
        &[(attr::RESPONSE_PORT, &[0x30, 0x39, 0, 0]), (attr::PADDING, &[0; 64])],
    ];
    for list in attributes {
        let fill = |request: Request| list.iter().fold(request, |request, (number, value)| request.raw(*number, value));
        let (path, reply) = ask(&mut world, 0, fill).unwrap();
        assert_eq!((path.listener, path.remote), (0, client()));
        assert_eq!(Message::parse(&reply).unwrap().error_code(), Ok(Some(400)), "{list:?}");
    }
}

#[test]
fn without_two_addresses_and_on_other_listeners_nothing_of_it_is_known() {
    let numbers = [attr::CHANGE_REQUEST, attr::RESPONSE_PORT, attr::PADDING];
    for number in numbers {
        let (_, reply) = ask(&mut world(), 0, |request| request.raw(number, &[0; 4])).unwrap();
        assert_eq!(Message::parse(&reply).unwrap().error_code(), Ok(Some(420)), "{number:#x}");
    }
    let mut world = discovering();
    let elsewhere = world.client_at(
        FiveTuple { listener: 4, ..five_tuple(addr("198.51.100.9:4000")) },
        0,
        "alice",
        "alice's secret",
    );
    let request = Request::new(Method::Binding, world.transaction()).raw(attr::CHANGE_REQUEST, &[0; 4]).finish(None);
    assert_eq!(world.deliver(&elsewhere, &request).unwrap().code, 420);
    for number in numbers {
        let response = world.ask(&elsewhere, Method::Allocate, |r| r.requested_transport(UDP).raw(number, &[0; 4]));
        assert_eq!(response.code, 420, "a request that needs credentials: {number:#x}");
    }
}

#[test]
fn answers_from_the_other_address_count_as_answers_to_strangers() {
    let mut world = discovering();
    let unauthenticated = ReplyLimits { per_second: 1, burst: 2, ..ReplyLimits::default() };
    let settings = Settings { unauthenticated, ..world.shared.settings.clone() };
    let mut limited = World::new(settings, 1);
    let answered = (0..6).filter(|_| ask(&mut limited, 0, |r| r.raw(attr::CHANGE_REQUEST, &[0, 0, 0, 6])).is_some());
    assert_eq!(answered.count(), 2);
    assert!(ask(&mut world, 0, |request| request).is_some());
}
