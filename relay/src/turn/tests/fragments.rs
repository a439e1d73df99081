//! DONT-FRAGMENT (RFC 8656 §11.2, §13, §14, §15).

use std::net::SocketAddr;

use super::world::*;
use crate::turn::*;
use crate::wire::{Method, Request};

const V6_PEER: &str = "[2606:2800:220:1::1]:9000";

/// A client at that address with a dual allocation and permissions for a peer of each family.
fn client(world: &mut World, remote: &str, transport: Transport) -> Client {
    let from = FiveTuple { transport, ..five_tuple(addr(remote)) };
    let client = world.client_at(from, 0, "alice", "alice's secret");
    let dual = |r: Request| r.requested_transport(UDP).additional_address_family(2).dont_fragment();
    assert_eq!(world.ask(&client, Method::Allocate, dual).code, 0, "step 4: DONT-FRAGMENT is supported");
    let both = |r: Request| r.xor_peer_address(outside(1)).xor_peer_address(addr(V6_PEER));
    assert_eq!(world.ask(&client, Method::CreatePermission, both).code, 0);
    client
}

/// Whether a datagram to the peer leaves unfragmented or not at all.
fn whole(world: &mut World, client: &Client, datagram: &[u8]) -> bool {
    let mut buffer = [0; 512];
    buffer[HEADROOM..][..datagram.len()].copy_from_slice(datagram);
    let mut packet = Packet::new(&mut buffer, HEADROOM..HEADROOM + datagram.len());
    match world.workers[0].handle_client(world.now, &client.from, &mut packet) {
        Forward::ToPeer { dont_fragment, .. } => dont_fragment,
        other => panic!("{other:?}"),
    }
}

fn send(world: &mut World, peer: SocketAddr, dont_fragment: bool) -> Vec<u8> {
    let request = Request::indication(Method::Send, world.transaction()).xor_peer_address(peer).data(b"x");
    if dont_fragment { request.dont_fragment().finish(None) } else { request.finish(None) }
}

#[test]
fn only_a_send_that_asks_for_it_is_never_fragmented() {
    let mut world = world();
    let alice = client(&mut world, "198.51.100.1:4000", Transport::Udp);
    for asked in [true, false] {
        let datagram = send(&mut world, outside(1), asked);
        assert_eq!(whole(&mut world, &alice, &datagram), asked);
    }
    world.bind(&alice, 0x4000, outside(1));
    assert!(!whole(&mut world, &alice, &channel_data(0x4000, b"x")), "ChannelData cannot ask");
}

#[test]
fn over_udp_it_counts_from_ipv4_to_ipv4_only_and_over_streams_always() {
    let stream = Transport::Tcp(Connection { worker: 0, number: 1 });
    for (remote, transport, v4, v6) in [
        ("198.51.100.1:4000", Transport::Udp, true, false),
        ("[2001:db8::9]:4000", Transport::Udp, false, false),
        ("198.51.100.1:4000", stream, true, true),
        ("[2001:db8::9]:4000", stream, true, true),
    ] {
        let mut world = world();
        let alice = client(&mut world, remote, transport);
        for (peer, expected) in [(outside(1), v4), (addr(V6_PEER), v6)] {
            let datagram = send(&mut world, peer, true);
            assert_eq!(whole(&mut world, &alice, &datagram), expected, "{remote} over {transport:?} to {peer}");
        }
    }
}
