//! ICMP errors about what relayed sockets send (RFC 8656 §11.5; hostile.md F12), from the kernel itself: ports on loopback
//! where nobody listens.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use super::client::{Client, Relay};
use crate::wire::{Icmp, Message};

/// An address where somebody listened until now.
fn closed(address: &str) -> SocketAddr {
    UdpSocket::bind(address).unwrap().local_addr().unwrap()
}

fn hears_that_nobody_listens(listener: &str, peer: &str, said: Icmp) {
    let relay = Relay::start(&[listener], 2);
    let mut client = Client::new(relay.addresses[0], 0);
    client.allocate().unwrap();
    let peer = closed(peer);
    client.permit(peer);
    client.send_indication(peer, b"anybody there?");
    let heard = client.receive().unwrap();
    let message = Message::parse(&heard).unwrap();
    assert_eq!(message.xor_peer_address(), Ok(Some(peer)));
    assert_eq!(message.icmp(), Ok(Some(said)));
    assert_eq!(message.data_range(), None);
    assert!(client.hears_nothing(), "once");
    assert_eq!(relay.dropped("send_refused"), 0);
}

#[test]
fn a_client_is_told_that_nobody_listens_at_an_ipv4_peer() {
    hears_that_nobody_listens("127.0.0.1:0", "127.0.0.1:0", Icmp { kind: 3, code: 3, data: 0 });
}

#[test]
fn a_client_is_told_that_nobody_listens_at_an_ipv6_peer() {
    hears_that_nobody_listens("[::1]:0", "[::1]:0", Icmp { kind: 1, code: 4, data: 0 });
}

#[test]
fn an_error_about_one_peer_costs_the_others_nothing() {
    let relay = Relay::start(&["127.0.0.1:0"], 1);
    let mut client = Client::new(relay.addresses[0], 0);
    let relayed = client.allocate().unwrap();
    let (dead, alive) = (closed("127.0.0.1:0"), UdpSocket::bind("127.0.0.1:0").unwrap());
    alive.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    client.bind_channel(0x4000, dead);
    client.bind_channel(0x4001, alive.local_addr().unwrap());
    let mut bytes = [0; 64];
    for packet in 0..100u8 {
        client.send_on_channel(0x4000, b"nobody listens");
        client.send_on_channel(0x4001, &[packet]);
        assert_eq!(alive.recv_from(&mut bytes).unwrap(), (1, relayed));
        assert_eq!(bytes[0], packet);
    }
    assert_eq!(relay.dropped("send_refused"), 0);
}

#[test]
fn a_flood_of_errors_makes_the_socket_deaf_to_them_and_data_goes_on() {
    let relay = Relay::start(&["127.0.0.1:0"], 1);
    let mut client = Client::new(relay.addresses[0], 0);
    let relayed = client.allocate().unwrap();
    let (dead, alive) = (closed("127.0.0.1:0"), UdpSocket::bind("127.0.0.1:0").unwrap());
    alive.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    client.bind_channel(0x4000, dead);
    client.bind_channel(0x4001, alive.local_addr().unwrap());
    let counters = &relay.running.io_counters()[0];
    let start = Instant::now();
    // The kernel itself sends only so many errors in a second.
    while counters.icmp_floods.get() == 0 {
        assert!(start.elapsed() < Duration::from_secs(30), "{} errors in all", counters.icmp_errors.get());
        (0..20).for_each(|_| client.send_on_channel(0x4000, b"nobody listens"));
        std::thread::sleep(Duration::from_millis(2));
    }
    let heard = counters.icmp_errors.get();
    for _ in 0..200 {
        client.send_on_channel(0x4000, b"nobody listens");
    }
    client.send_on_channel(0x4001, b"still here");
    let mut bytes = [0; 64];
    assert_eq!(alive.recv_from(&mut bytes).unwrap(), (10, relayed));
    assert!(counters.icmp_errors.get() <= heard + 16, "deaf");
    assert_eq!(counters.icmp_floods.get(), 1);
}
