//! Connections to and from peers, and who may bind them (RFC 6062 §5.2 to §5.4).

use super::tcp_world::{Attempt, tcp_world};
use super::world::{Client, World, addr, outside};
use crate::access;
use crate::turn::tcp::{CONNECTIONS_OF_ONE_ALLOCATION, WAITING_OF_ONE_ALLOCATION};
use crate::turn::*;
use crate::wire::{Message, Method};

fn with_alice() -> (World, Client, std::net::SocketAddr) {
    let mut world = tcp_world();
    let alice = world.stream_user("alice", 1, 0);
    let relayed = world.allocate_tcp(&alice);
    (world, alice, relayed)
}

#[test]
fn a_connect_is_answered_when_the_peer_answers_and_needs_no_permission() {
    let (mut world, alice, relayed) = with_alice();
    assert!(world.connect(&alice, outside(1)).is_none());
    let (port, id, to) = world.asked_to_connect();
    assert_eq!((world.shared.routes.public(port), to), (Some(relayed), outside(1)));
    let reply = world.report(&alice, TcpEvent::Connected { id, success: true }).unwrap();
    let message = Message::parse(&reply).unwrap();
    assert!(message.integrity_matches(&alice.key()));
    assert_eq!(message.connection_id(), Ok(Some(id.0)));
    assert!(world.report(&alice, TcpEvent::Connected { id, success: true }).is_none(), "once");
}

#[test]
fn a_peer_that_refuses_is_447_and_may_be_tried_again() {
    let (mut world, alice, _) = with_alice();
    for _ in 0..2 {
        assert!(world.connect(&alice, outside(1)).is_none());
        let id = world.asked_to_connect().1;
        let reply = world.report(&alice, TcpEvent::Connected { id, success: false }).unwrap();
        assert_eq!(Message::parse(&reply).unwrap().error_code(), Ok(Some(447)));
        assert_eq!(world.shared.tcp.len(), 0);
    }
}

#[test]
fn a_peer_that_says_nothing_is_447_after_thirty_seconds_and_not_before() {
    let (mut world, alice, _) = with_alice();
    assert!(world.connect(&alice, outside(1)).is_none());
    let (port, id, _) = world.asked_to_connect();
    let before = world.replies.len();
    world.wait_secs(29);
    world.run_timers();
    assert_eq!(world.replies.len(), before);
    world.wait_secs(1);
    world.run_timers();
    let (to, reply) = &world.replies[before];
    assert_eq!((*to, Message::parse(reply).unwrap().error_code()), (alice.from, Ok(Some(447))));
    assert!(matches!(world.tcp.last(), Some(TcpAction::Abandon { port: p, id: i }) if (*p, *i) == (port, id)));
    assert_eq!((world.shared.tcp.len(), world.shared.tcp.waiting()), (0, 0));
}

#[test]
fn the_same_peer_twice_is_446_in_every_state() {
    let (mut world, alice, relayed) = with_alice();
    assert!(world.connect(&alice, outside(1)).is_none());
    assert_eq!(world.connect(&alice, outside(1)).unwrap().code, 446, "being opened");
    let id = ConnectionId(world.connected(&alice, outside(2)));
    assert_eq!(world.connect(&alice, outside(2)).unwrap().code, 446, "waiting");
    let data = world.stream_user("alice", 2, 1);
    assert_eq!(world.bind_connection(&data, id.0), 0);
    assert_eq!(world.connect(&alice, outside(2)).unwrap().code, 446, "bound");
    world.permit(&alice, outside(3));
    world.peer_connects(&alice, relayed, outside(3)).unwrap();
    assert_eq!(world.connect(&alice, outside(3)).unwrap().code, 446, "came by itself");
    world.shared.tcp.ended(id);
    world.connected(&alice, outside(2));
    // Another allocation is another matter.
    let bob = world.stream_user("bob", 5, 1);
    world.allocate_tcp(&bob);
    world.connected(&bob, outside(1));
}

#[test]
fn denied_peers_are_403_and_those_of_the_other_family_443() {
    let (mut world, alice, relayed) = with_alice();
    for denied in [
        "127.0.0.1:80",
        "169.254.169.254:80",
        "10.0.0.4:22",
        "203.0.113.7:22",
        "203.0.113.7:3478",
        "0.0.0.0:80",
        "93.184.216.34:0",
        "[::ffff:127.0.0.1]:80",
        "[64:ff9b::7f00:1]:80",
        "[::1]:80",
    ] {
        assert_eq!(world.connect(&alice, addr(denied)).unwrap().code, 403, "{denied}");
    }
    assert_eq!(world.connect(&alice, relayed).unwrap().code, 403, "itself");
    assert_eq!(world.connect(&alice, addr("[2606:4700::1111]:80")).unwrap().code, 443);
    assert_eq!(world.connect(&alice, addr("[::ffff:93.184.216.34]:80")).unwrap().code, 443);
    assert_eq!(world.ask(&alice, Method::Connect, |request| request).code, 400, "no peer");
    assert!(world.tcp.is_empty(), "the edge was asked for nothing");
}

#[test]
fn a_live_datagram_address_of_ours_says_nothing_about_who_listens_there_over_tcp() {
    let (mut world, alice, _) = with_alice();
    let bob = world.user("bob", 2);
    let datagrams = world.allocate(&bob);
    assert_eq!(world.connect(&alice, datagrams).unwrap().code, 403);
}

#[test]
fn two_tcp_allocations_reach_each_other_by_their_public_names() {
    let (mut world, alice, a) = with_alice();
    let bob = world.stream_user("bob", 2, 1);
    let b = world.allocate_tcp(&bob);
    assert_eq!(world.permit(&bob, a), 0, "a live relayed address");
    assert!(world.connect(&alice, b).is_none());
    let (port, _, to) = world.asked_to_connect();
    assert_eq!(to, std::net::SocketAddr::new("10.0.0.4".parse().unwrap(), b.port()), "by the name it is bound to");
    let from = world.shared.routes.bind(port).unwrap();
    let attempt = world.peer_connects(&bob, b, from).unwrap();
    assert_eq!(attempt.peer, a);
}

#[test]
fn a_peer_comes_in_by_permission_only() {
    let (mut world, alice, relayed) = with_alice();
    assert_eq!(world.peer_connects(&alice, relayed, outside(1)), None);
    assert_eq!(world.permit(&alice, outside(1)), 0);
    let other_port = std::net::SocketAddr::new(outside(1).ip(), 1234);
    let Some(Attempt { peer, .. }) = world.peer_connects(&alice, relayed, other_port) else { panic!("permitted") };
    assert_eq!(peer, other_port);
    assert_eq!(world.peer_connects(&alice, relayed, outside(2)), None);
    world.wait_secs(300);
    assert_eq!(world.peer_connects(&alice, relayed, outside(1)), None, "it has ended");
    assert_eq!(world.permit(&alice, outside(1)), 0);
    assert!(world.peer_connects(&alice, relayed, outside(1)).is_some(), "and been renewed");
}

#[test]
fn an_allocation_that_is_over_admits_nobody() {
    let (mut world, alice, relayed) = with_alice();
    world.permit(&alice, outside(1));
    world.refresh(&alice, 0);
    assert_eq!(world.peer_connects(&alice, relayed, outside(1)), None);
}

#[test]
fn a_connection_is_bound_once_and_from_any_worker() {
    let (mut world, alice, relayed) = with_alice();
    world.permit(&alice, outside(1));
    let asked = world.connected(&alice, outside(2));
    let came = world.peer_connects(&alice, relayed, outside(1)).unwrap().id;
    for (number, id, worker) in [(11, asked, 0), (12, came, 1)] {
        let data = world.stream_user("alice", number, worker);
        assert_eq!(world.bind_connection(&data, id), 0);
        let again = world.stream_user("alice", number + 10, worker);
        assert_eq!(world.bind_connection(&again, id), 400);
    }
}

#[test]
fn nobody_else_binds_it_and_a_made_up_id_is_nothing() {
    let (mut world, alice, _) = with_alice();
    let id = world.connected(&alice, outside(1));
    let bob = world.stream_user("bob", 2, 0);
    assert_eq!(world.bind_connection(&bob, id), 400);
    let data = world.stream_user("alice", 3, 1);
    assert_eq!(world.bind_connection(&data, id.wrapping_add(1)), 400);
    assert_eq!(world.ask(&data, Method::ConnectionBind, |request| request).code, 400, "no id");
    let short = world.ask(&data, Method::ConnectionBind, |request| request.raw(0x002A, &[1, 2]));
    assert_eq!(short.code, 400, "no id either");
    let datagrams = world.user("alice", 4);
    assert_eq!(world.bind_connection(&datagrams, id), 400, "not a stream");
    assert_eq!(world.bind_connection(&alice, id), 400, "the control connection");
    assert!(world.connect(&alice, outside(2)).is_none());
    let early = world.asked_to_connect().1;
    assert_eq!(world.bind_connection(&data, early.0), 400, "not connected yet");
    assert_eq!(world.bind_connection(&data, id), 0, "and after all that, its owner");
}

#[test]
fn the_control_connections_nonce_is_good_for_binding_its_connections_and_for_nothing_else() {
    let (mut world, alice, _) = with_alice();
    let id = world.connected(&alice, outside(1));
    let data = world.stream_user("alice", 3, 1);
    let unasked = Client { nonce: alice.nonce.clone(), ..data.clone() };
    assert_eq!(world.bind_connection(&unasked, id.wrapping_add(1)), 438, "of no allocation");
    assert_eq!(world.connect(&unasked, outside(2)).unwrap().code, 438);
    let bob = world.stream_user("bob", 4, 1);
    let stolen = Client { nonce: alice.nonce.clone(), ..bob };
    assert_eq!(world.bind_connection(&stolen, id), 400, "known to be hers, but he is not");
    let guessed = Client { password: "wrong".to_owned(), ..unasked.clone() };
    let bytes = world.signed(&guessed, Method::ConnectionBind, |request| request.connection_id(id));
    assert_eq!(world.deliver(&guessed, &bytes).unwrap().code, 401);
    assert_eq!(world.bind_connection(&unasked, id), 0);
}

#[test]
fn what_nobody_binds_in_thirty_seconds_is_closed() {
    let (mut world, alice, relayed) = with_alice();
    world.permit(&alice, outside(1));
    let came = world.peer_connects(&alice, relayed, outside(1)).unwrap().id;
    let asked = world.connected(&alice, outside(2));
    let bound = world.connected(&alice, outside(3));
    let data = world.stream_user("alice", 3, 1);
    assert_eq!(world.bind_connection(&data, bound), 0);
    let replies = world.replies.len();
    world.tcp.clear();
    world.wait_secs(29);
    world.run_timers();
    assert!(world.tcp.is_empty());
    world.wait_secs(1);
    world.run_timers();
    let mut abandoned: Vec<u32> = world
        .tcp
        .iter()
        .map(|action| match action {
            TcpAction::Abandon { id, .. } => id.0,
            other => panic!("{other:?}"),
        })
        .collect();
    abandoned.sort_unstable();
    let mut expected = [came, asked];
    expected.sort_unstable();
    assert_eq!(abandoned, expected);
    assert_eq!((world.shared.tcp.len(), world.replies.len()), (1, replies), "the bound one stays, nobody is told");
    let late = world.stream_user("alice", 4, 0);
    assert_eq!(world.bind_connection(&late, came), 400);
}

#[test]
fn a_thousand_connects_are_no_more_than_a_few() {
    let (mut world, alice, _) = with_alice();
    let peer = |n: u16| std::net::SocketAddr::from(([93, 184, 216, 1], 1000 + n));
    let refused = (0..1000).filter(|n| world.connect(&alice, peer(*n)).is_some_and(|it| it.code == 508)).count();
    assert_eq!((world.shared.tcp.len(), refused), (WAITING_OF_ONE_ALLOCATION, 1000 - WAITING_OF_ONE_ALLOCATION));
    world.wait_secs(30);
    world.run_timers();
    assert_eq!((world.shared.tcp.len(), world.shared.tcp.waiting()), (0, 0));
    // Bound ones have their own bound.
    let mut bound = 0;
    for n in 0..200 {
        if world.connect(&alice, peer(n)).is_some() {
            break;
        }
        let id = world.asked_to_connect().1;
        world.report(&alice, TcpEvent::Connected { id, success: true });
        let from = FiveTuple {
            remote: peer(n),
            transport: Transport::Tcp(Connection { worker: 1, number: n.into() }),
            ..alice.from
        };
        let data = world.client_at(from, 1, "alice", "alice's secret");
        assert_eq!(world.bind_connection(&data, id.0), 0);
        bound += 1;
    }
    assert_eq!(bound, CONNECTIONS_OF_ONE_ALLOCATION);
}

#[test]
fn peers_that_come_in_masses_are_turned_away() {
    let (mut world, alice, relayed) = with_alice();
    world.permit(&alice, outside(1));
    let peer = |n: u16| std::net::SocketAddr::new(outside(1).ip(), 1000 + n);
    let admitted = (0..1000).filter(|n| world.peer_connects(&alice, relayed, peer(*n)).is_some()).count();
    assert_eq!(admitted, WAITING_OF_ONE_ALLOCATION);
    let events = world.shared.tcp.counters().events();
    assert!(events.contains(&("refused_peer", 1000 - WAITING_OF_ONE_ALLOCATION as u64)), "{events:?}");
}

#[test]
fn all_allocations_together_have_a_bound() {
    let settings = Settings { tcp_allocations: true, user_allocations: 1000, ..super::world::settings() };
    let mut world = World::with_access(settings, 1, access::Settings::default());
    let mut open = 0;
    for n in 0..250u8 {
        let client = world.stream_user("alice", n, 0);
        world.allocate_tcp(&client);
        open += (0..16).filter(|last| world.connect(&client, outside(*last)).is_none()).count();
    }
    assert_eq!((open, world.shared.tcp.len()), (tcp::MOST_CONNECTIONS, tcp::MOST_CONNECTIONS));
}

#[test]
fn every_answer_and_action_hides_what_it_is_about() {
    let (mut world, alice, _) = with_alice();
    let id = world.connected(&alice, outside(1));
    let shown = format!("{:?} {:?}", ConnectionId(id), world.tcp.last());
    assert!(!shown.contains("93.184") && !shown.contains(&id.to_string()), "{shown}");
}
