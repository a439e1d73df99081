#![allow(clippy::unwrap_used)]
use super::*;

const A: RelayedPort = RelayedPort { address: AddressId(0), port: 50_000 };
const B: RelayedPort = RelayedPort { address: AddressId(0), port: 50_001 };
const NOW: Millis = Millis(1000);
const LATER: Millis = Millis(2000);

fn routes() -> Routes {
    Routes::new(&[RelayedAddress::same("203.0.113.7".parse().unwrap())])
}

fn path(remote: &str) -> ClientPath {
    let remote: SocketAddr = remote.parse().unwrap();
    let local = if remote.is_ipv6() { "[2001:db8::1]:3478" } else { "203.0.113.7:3478" };
    ClientPath { listener: 513, transport: Transport::Udp, local: local.parse().unwrap(), remote }
}

fn real(remote: &str) -> Route {
    Route { client: path(remote), expires: LATER, kind: Kind::Real }
}

fn virtual_with(call: CallSide) -> Route {
    Route { client: path("198.51.100.1:1"), expires: LATER, kind: Kind::Virtual { call } }
}

#[test]
fn every_kind_of_client_path_comes_out_as_it_went_in() {
    for remote in ["198.51.100.1:65535", "0.0.0.0:1", "255.255.255.255:0", "[2001:db8::ff]:1", "[ffff::ffff]:65535"] {
        let routes = routes();
        routes.install(A, &real("198.51.100.2:2"));
        routes.install(B, &real(remote));
        routes.permit(B, A.address, LATER);
        assert_eq!(routes.deliver(A, B, NOW), Delivery::Indication { to: path(remote) });
    }
    let scoped = SocketAddr::V6(std::net::SocketAddrV6::new("fe80::1".parse().unwrap(), 9, 0, 7));
    let client = ClientPath { remote: scoped, local: scoped, ..path("[::1]:1") };
    let routes = routes();
    routes.install(A, &Route { client, ..real("[::1]:1") });
    routes.permit(A, A.address, LATER);
    assert_eq!(routes.deliver(A, A, NOW), Delivery::Indication { to: client });
}

#[test]
fn a_stream_client_is_found_by_its_connection_whatever_happens_to_its_channels() {
    for connection in [(0, 0), (255, 1), (u16::MAX, u32::MAX)].map(|(worker, number)| Connection { worker, number }) {
        for transport in [Transport::Tcp(connection), Transport::Tls(connection)] {
            let (routes, client) = (routes(), ClientPath { transport, ..path("[2001:db8::9]:7") });
            routes.install(A, &real("198.51.100.2:2"));
            routes.install(B, &Route { client, ..real("198.51.100.2:2") });
            routes.permit(B, A.address, LATER);
            routes.bind_channel(B, ChannelEntry { number: 0x4FFF, peer: A, until: LATER }, NOW);
            for number in 0..9 {
                let peer = RelayedPort { port: 60_000 + number, ..A };
                routes.bind_channel(B, ChannelEntry { number: 0x4000 + number, peer, until: LATER }, NOW);
            }
            assert_eq!(routes.deliver(A, B, NOW), Delivery::Channel { to: client, number: 0x4FFF });
            routes.install(B, &Route { client, ..real("198.51.100.2:2") });
            routes.permit(B, A.address, LATER);
            assert_eq!(routes.deliver(A, B, NOW), Delivery::Indication { to: client });
            routes.kill(B);
            assert_eq!(routes.deliver(A, B, NOW), Delivery::Gone);
        }
    }
}

#[test]
fn a_port_nobody_installed_is_gone_and_costs_no_memory() {
    let routes = routes();
    assert_eq!(routes.deliver(A, B, NOW), Delivery::Gone);
    assert!(!routes.is_live(A));
    routes.kill(A);
    routes.permit(A, A.address, LATER);
    assert!(routes.tables[0].get().unwrap().chunks.iter().all(|chunk| chunk.get().is_none()));
    let unknown = RelayedPort { address: AddressId(9), port: 1 };
    routes.install(unknown, &real("198.51.100.1:1"));
    assert_eq!(routes.deliver(A, unknown, NOW), Delivery::Gone);
}

#[test]
fn a_killed_route_stays_dead_whatever_its_owner_still_writes() {
    let routes = routes();
    routes.install(A, &virtual_with(CallSide::new(1, false)));
    routes.install(B, &virtual_with(CallSide::new(1, true)));
    assert!(matches!(routes.deliver(A, B, NOW), Delivery::Indication { .. }));
    routes.kill(B);
    routes.refresh(B, Millis(u64::MAX));
    routes.set_call(B, CallSide::new(1, true));
    routes.permit(B, A.address, LATER);
    routes.bind_channel(B, ChannelEntry { number: 0x4000, peer: A, until: LATER }, NOW);
    assert_eq!(routes.deliver(A, B, NOW), Delivery::Gone);
    assert_eq!(routes.deliver(B, A, NOW), Delivery::NotPermitted, "and reaches nobody");
}

#[test]
fn only_the_two_sides_of_one_call_reach_each_other() {
    let sides = [
        CallSide::default(),
        CallSide::new(1, false),
        CallSide::new(1, true),
        CallSide::new(2, false),
        CallSide::new(2, true),
    ];
    for (i, a) in sides.into_iter().enumerate() {
        for (j, b) in sides.into_iter().enumerate() {
            let routes = routes();
            routes.install(A, &virtual_with(a));
            routes.install(B, &virtual_with(b));
            routes.permit(B, A.address, LATER);
            let reached = matches!(routes.deliver(A, B, NOW), Delivery::Indication { .. });
            let expected = matches!((i, j), (1, 2) | (2, 1) | (3, 4) | (4, 3));
            assert_eq!((reached, routes.are_partners(A, B)), (expected, expected), "{a:?} {b:?}");
        }
    }
}

#[test]
fn real_and_virtual_ports_never_reach_each_other() {
    let routes = routes();
    routes.install(A, &real("198.51.100.1:1"));
    for side in [CallSide::default(), CallSide::new(1, true)] {
        routes.install(B, &virtual_with(side));
        routes.permit(A, B.address, LATER);
        routes.permit(B, A.address, LATER);
        assert_eq!(routes.deliver(A, B, NOW), Delivery::NotPermitted);
        assert_eq!(routes.deliver(B, A, NOW), Delivery::NotPermitted);
    }
}

#[test]
fn channels_of_a_virtual_route_never_overflow_the_oldest_gives_way() {
    let routes = routes();
    let me = RelayedPort { port: 1, ..A };
    routes.install(me, &virtual_with(CallSide::new(1, false)));
    for n in 0..20 {
        let peer = RelayedPort { port: 100 + n, ..A };
        routes.install(peer, &virtual_with(CallSide::new(1, true)));
        let until = Millis(LATER.0 + u64::from(n));
        routes.bind_channel(me, ChannelEntry { number: 0x4000 + n, peer, until }, NOW);
        let delivery = routes.deliver(peer, me, NOW);
        assert!(matches!(delivery, Delivery::Channel { number, .. } if number == 0x4000 + n), "{delivery:?}");
    }
}

#[test]
fn an_address_the_slot_has_no_room_for_is_asked_of_the_owner() {
    let addresses: Vec<_> = (1..=5).map(|n| RelayedAddress::same([203, 0, 113, n].into())).collect();
    let routes = Routes::new(&addresses);
    let fifth = RelayedPort { address: AddressId(4), port: 7 };
    routes.install(A, &real("198.51.100.1:1"));
    routes.install(fifth, &real("198.51.100.2:2"));
    routes.permit(A, fifth.address, LATER);
    assert_eq!(routes.deliver(fifth, A, NOW), Delivery::AskOwner);
}

#[test]
fn a_chunk_nobody_holds_a_port_of_gives_its_memory_back_and_works_again() {
    let routes = routes();
    let beside = RelayedPort { port: A.port + CHUNK as u16, ..A };
    for port in [A, B, beside] {
        routes.install(port, &virtual_with(CallSide::new(1, port == B)));
    }
    let resident = || {
        let chunks = &routes.tables[0].get().unwrap().chunks;
        chunks
            .iter()
            .filter_map(OnceLock::get)
            .filter(|chunk| chunk.slots.as_flattened().iter().any(|it| it.load(Relaxed) != 0))
            .count()
    };
    routes.kill(A);
    routes.give_memory_back();
    assert_eq!(resident(), 2, "somebody holds a port in each");
    routes.kill(B);
    let sequence = |port| routes.slot(port).unwrap()[words::SEQUENCE].load(Relaxed);
    let last = sequence(A).max(sequence(B));
    routes.give_memory_back();
    assert_eq!((resident(), sequence(A)), (1, 0));
    assert_eq!(routes.deliver(beside, A, NOW), Delivery::Gone);
    assert_eq!(routes.deliver(A, beside, NOW), Delivery::NotPermitted);
    routes.install(A, &virtual_with(CallSide::new(2, false)));
    routes.install(B, &virtual_with(CallSide::new(2, true)));
    assert!(matches!(routes.deliver(A, B, NOW), Delivery::Indication { .. }));
    assert!(sequence(A) > last, "a reader who looked at the old route must see that it is another");
}

/// One writer flips a route between two clients whose every word differs, while readers look: they must never see a mix.
fn readers_see_no_mix(give_back: bool) {
    let routes = routes();
    let paths = ["[1111:1111:1111:1111:1111:1111:1111:1111]:4369", "[2222:2222:2222:2222:2222:2222:2222:2222]:8738"];
    let clients = paths.map(|text| {
        let address: SocketAddr = text.parse().unwrap();
        ClientPath { listener: address.port(), local: address, ..path(text) }
    });
    let a = RelayedPort { port: A.port + CHUNK as u16, ..A }; // its chunk stays
    routes.install(a, &real("198.51.100.1:1"));
    let install = |which: usize| {
        routes.install(B, &Route { client: clients[which], expires: LATER, kind: Kind::Real });
        routes.permit(B, a.address, LATER);
        let number = 0x4000 + which as u16;
        routes.bind_channel(B, ChannelEntry { number, peer: a, until: LATER }, NOW);
    };
    install(0);
    let seen = [const { AtomicU64::new(0) }; 2];
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            while seen.iter().any(|count| count.load(Relaxed) < 1000) {
                match routes.deliver(a, B, NOW) {
                    Delivery::Channel { to, number } => {
                        let which = usize::from(number - 0x4000);
                        assert_eq!(to, clients[which]);
                        seen[which].fetch_add(1, Relaxed);
                    }
                    Delivery::Indication { to } => assert!(clients.contains(&to)),
                    Delivery::NotPermitted | Delivery::Busy => {}
                    Delivery::Gone if give_back => {}
                    other => panic!("{other:?}"),
                }
            }
        });
        for which in [0, 1].into_iter().cycle() {
            install(which);
            if give_back {
                routes.kill(B);
                routes.give_memory_back();
            }
            if reader.is_finished() {
                break;
            }
        }
    });
}

#[test]
fn readers_never_see_half_a_write() {
    readers_see_no_mix(false);
}

#[test]
fn readers_never_see_half_of_what_was_given_back() {
    readers_see_no_mix(true);
}
