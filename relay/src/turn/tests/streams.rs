//! TCP and TLS clients: five-tuples with a connection in them, and nothing else about them differs.

use super::world::*;
use crate::turn::*;

fn stream(number: u32, client: u8) -> FiveTuple {
    let transport = Transport::Tcp(Connection { worker: 0, number });
    FiveTuple { transport, ..five_tuple(outside(client)) }
}

#[test]
fn a_closed_connection_takes_its_allocation_with_it_at_once() {
    let mut world = world();
    let free = world.free_ports();
    let alice = world.client_at(stream(1, 1), 0, "alice", "alice's secret");
    world.allocate(&alice);
    assert!(world.workers[0].has_allocation(&alice.from));
    world.workers[0].handle_disconnect(&alice.from);
    world.drain(0);
    assert!(!world.workers[0].has_allocation(&alice.from));
    assert!(world.sockets.is_empty(), "its relayed socket is closed");
    assert_eq!(world.free_ports(), free);
    world.workers[0].handle_disconnect(&alice.from);
    assert!(world.workers[0].poll_action().is_none(), "once is enough");
}

#[test]
fn the_next_connection_from_the_same_address_is_another_five_tuple() {
    let mut world = world();
    let first = world.client_at(stream(1, 1), 0, "alice", "alice's secret");
    let second = world.client_at(stream(2, 1), 0, "alice", "alice's secret");
    world.allocate(&first);
    assert_eq!(world.refresh(&second, 600).code, 437);
    world.allocate(&second);
    world.workers[0].handle_disconnect(&first.from);
    world.drain(0);
    assert_eq!(world.refresh(&second, 600).code, 0);
}

#[test]
fn a_call_ends_for_the_side_whose_connection_closed() {
    let mut world = world();
    let (a, b) = world.call();
    let (mut one, mut other) = (world.caller(a, 1), world.caller(b, 2));
    one.from.transport = Transport::Tls(Connection { worker: 0, number: 9 });
    other.from.transport = Transport::Tls(Connection { worker: 0, number: 10 });
    let (near, far) = (world.allocate(&one), world.allocate(&other));
    assert_eq!((world.bind(&one, 0x4000, far), world.bind(&other, 0x4000, near)), (0, 0));
    assert!(matches!(world.channel(&one, 0x4000, b"hello"), Out::Client(to, _) if to == other.from.remote));
    world.workers[0].handle_disconnect(&other.from);
    assert_eq!(world.channel(&one, 0x4000, b"anybody?"), Out::Nothing);
    assert_eq!(world.dropped(Reason::PeerGone), 1);
}
