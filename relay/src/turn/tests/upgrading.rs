//! What goes to the relay that takes over, and what does not. That nothing is different afterwards, the model says (`model`).

use sha2::{Digest, Sha256};

use super::world::*;
use crate::routes::Connection;
use crate::turn::*;

const CHANNEL: u16 = 0x4000;

/// Raise `server::upgrade::VERSION` whenever this changes: one that reads the older encoding would read nonsense. (The ports
/// in it are drawn: where only their choice has changed, the encoding has not.)
const ENCODED: &str = "12e888a0c5c17c157e197305ac87061ca3de74d6181515691def2af88b292312";

fn everywhere(world: &World) -> Going {
    let addresses = (0..world.shared.settings.addresses.len()).map(|place| Some(AddressId(place as u8)));
    Going::new(vec![Some(0)], addresses.collect()).with_whole_calls(&world.shared.ledger)
}

fn packed(world: &World) -> Vec<u8> {
    let going = everywhere(world);
    let workers: Vec<PackedTurn> = world.workers.iter().map(|worker| worker.pack(&going)).collect();
    postcard::to_allocvec(&(world.shared.pack(&going), workers)).unwrap()
}

/// Something of everything.
fn populated() -> (World, [Client; 4]) {
    let mut world = world();
    let (a, b) = world.call();
    let callers = [world.caller(a, 1), world.caller(b, 2)];
    let relayed = callers.each_ref().map(|client| world.allocate(client));
    assert_eq!(world.bind(&callers[0], CHANNEL, relayed[1]), 0);
    assert_eq!(world.bind(&callers[1], CHANNEL, relayed[0]), 0);
    let mut voice = [0x5A; 92];
    voice[..12].copy_from_slice(&[0x80, 111, 0, 1, 0, 0, 3, 192, 1, 2, 3, 4]);
    assert_ne!(world.channel(&callers[0], CHANNEL, &voice), Out::Nothing);
    let alice = world.user("alice", 3);
    world.allocate(&alice);
    assert_eq!((world.bind(&alice, CHANNEL, outside(1)), world.permit(&alice, outside(2))), (0, 0));
    let bob = world.user("bob", 4);
    let pair = world.ask(&bob, crate::wire::Method::Allocate, |it| it.requested_transport(UDP).even_port(true));
    assert_eq!((pair.code, pair.token.is_some()), (0, true));
    let [one, other] = callers;
    (world, [one, other, alice, bob])
}

#[test]
fn the_encoding_is_that_of_its_version() {
    let (world, _) = populated();
    let digest: String = Sha256::digest(packed(&world)).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(digest, ENCODED, "another encoding: raise VERSION in server/upgrade.rs, and put this digest here");
}

#[test]
fn a_snapshot_that_is_cut_short_or_nonsense_is_refused() {
    let (world, _) = populated();
    let bytes = packed(&world);
    for length in 0..bytes.len() {
        assert!(postcard::from_bytes::<(PackedShared, Vec<PackedTurn>)>(&bytes[..length]).is_err(), "{length}");
    }
    for place in 0..bytes.len() {
        let mut bytes = bytes.clone();
        bytes[place] ^= 0xFF;
        // It may still be one, of something else; nothing worse comes of it.
        if let Ok((shared, workers)) = postcard::from_bytes::<(PackedShared, Vec<PackedTurn>)>(&bytes) {
            let mut other = World::new(settings(), 1);
            other.shared.unpack(shared);
            for packed in workers {
                other.workers[0].unpack(packed);
            }
        }
    }
}

#[test]
fn who_went_leaves_nothing_behind() {
    let (mut world, clients) = populated();
    let free = world.free_ports();
    let going = everywhere(&world);
    assert!(clients.iter().all(|client| world.workers[0].goes(&client.from, &going)));
    assert_eq!(world.workers[0].sockets_that_go(&going).len(), 2, "those of alice and bob: calls have none");
    world.workers[0].part_with(&going);
    world.drain(0);
    assert!(clients.iter().all(|client| !world.workers[0].has_allocation(&client.from)));
    assert!(world.sockets.is_empty());
    assert_eq!(world.free_ports(), free + 4, "and what is reserved for a token");
}

#[test]
fn a_call_stays_whole_if_one_side_is_on_a_connection() {
    let mut world = world();
    let (a, b) = world.call();
    let (c, d) = world.call();
    let over_tcp = Transport::Tcp(Connection { worker: 0, number: 7 });
    let mut clients = [world.caller(a, 1), world.caller(b, 2), world.caller(c, 3), world.caller(d, 4)];
    clients[1].from.transport = over_tcp;
    clients[1] = world.client_at(clients[1].from, 0, &clients[1].username.clone(), &clients[1].password.clone());
    for client in &clients {
        world.allocate(client);
    }
    let going = everywhere(&world);
    let goes = clients.each_ref().map(|client| world.workers[0].goes(&client.from, &going));
    assert_eq!(goes, [false, false, true, true]);
    assert_eq!([a, b, c, d].map(|handle| going.stays().contains(&handle)), [true, true, false, false]);
}

#[test]
fn who_came_by_an_address_that_the_other_does_not_have_stays() {
    let (world, clients) = populated();
    let elsewhere = Going::new(vec![None], vec![Some(AddressId(0)); 2]).with_whole_calls(&world.shared.ledger);
    assert!(clients.iter().all(|client| !world.workers[0].goes(&client.from, &elsewhere)));
    let renumbered = Going::new(vec![Some(3)], vec![Some(AddressId(1)), None]).with_whole_calls(&world.shared.ledger);
    assert!(clients.iter().all(|client| world.workers[0].goes(&client.from, &renumbered)), "all are on the first");
    let moved = world.workers[0].sockets_that_go(&renumbered);
    assert!(moved.iter().all(|(here, there)| (here.address.0, there.address.0, here.port) == (0, 1, there.port)));
}
