//! Clients over every transport, and each with each.

use super::links::*;
use crate::dataplane::tests::client::{Client, eventually};

#[test]
fn a_tcp_client_relays_to_itself_and_learns_its_own_address() {
    let server = server();
    let mut client = server.tcp_client(0);
    assert_eq!(client.binding(), client.address());
    let relayed = client.allocate().unwrap();
    client.permit(relayed);
    client.bind_channel(0x4000, relayed);
    for length in [0, 1, 2, 3, 4, 5, 160, 1200, 9000] {
        let payload = vec![length as u8; length];
        client.send_on_channel(0x4000, &payload);
        assert_eq!(client.receive_on_channel(), (0x4000, payload));
    }
}

#[test]
fn bytes_may_come_one_at_a_time_over_tcp_and_tls() {
    let server = server();
    let mut tcp = Framed::new(server.connect_tcp());
    tcp.piece = 1;
    let mut tls = Framed::new(server.connect_tls(server.tls, &[]).unwrap());
    tls.piece = 1;
    for mut client in [Client::over(Box::new(tcp), 0), Client::over(Box::new(tls), 1)] {
        let relayed = client.allocate().unwrap();
        client.bind_channel(0x4001, relayed);
        client.send_on_channel(0x4001, b"slowly");
        assert_eq!(client.receive_on_channel(), (0x4001, b"slowly".to_vec()));
    }
}

#[test]
fn a_burst_in_one_write_is_answered_whole_and_in_order() {
    let server = server();
    for mut client in [server.tcp_client(0), server.tls_client(0)] {
        let relayed = client.allocate().unwrap();
        client.bind_channel(0x4000, relayed);
        let mut burst = Vec::new();
        for number in 0..100u8 {
            burst.extend_from_slice(&[0x40, 0, 0, 100]);
            burst.extend_from_slice(&[number; 100]);
        }
        client.send(&burst);
        for number in 0..100 {
            assert_eq!(client.receive_on_channel().1, [number; 100]);
        }
    }
}

#[test]
fn callers_over_udp_tcp_and_tls_talk_each_with_each_across_workers() {
    let server = server();
    let mut clients: Vec<Client> = Vec::new();
    for _ in 0..2 {
        clients.push(server.udp_client(0));
        clients.push(server.tcp_client(0));
        clients.push(server.tls_client(0));
        clients.push(server.tcp_client(1));
        clients.push(server.tls_client(1));
    }
    let relayed: Vec<_> = clients.iter_mut().map(|client| client.allocate().unwrap()).collect();
    for client in &clients {
        for (number, address) in relayed.iter().enumerate() {
            client.bind_channel(0x4000 + number as u16, *address);
        }
    }
    for (from, sender) in clients.iter().enumerate() {
        for (to, receiver) in clients.iter().enumerate() {
            let payload = format!("{from} to {to}, {}", "x".repeat(from + to)).into_bytes();
            sender.send_on_channel(0x4000 + to as u16, &payload);
            assert_eq!(receiver.receive_on_channel(), (0x4000 + from as u16, payload));
        }
    }
    assert!(server.io("parcels") > 0, "some went from worker to worker");
    assert_eq!((server.io("stream_gone"), server.io("stream_slow"), server.io("parcels_full")), (0, 0, 0));
}

#[test]
fn peers_outside_reach_a_tcp_client_by_indications_and_channels() {
    let server = server();
    let mut client = server.tls_client(0);
    let relayed = client.allocate().unwrap();
    let peer = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = peer.local_addr().unwrap();
    client.permit(address);
    client.send_indication(address, b"out");
    let mut bytes = [0; 64];
    let (count, from) = peer.recv_from(&mut bytes).unwrap();
    assert_eq!((&bytes[..count], from), (&b"out"[..], relayed));
    peer.send_to(b"back", relayed).unwrap();
    assert_eq!(client.receive_indication(), (address, b"back".to_vec()));
    client.bind_channel(0x4000, address);
    peer.send_to(b"again", relayed).unwrap();
    assert_eq!(client.receive_on_channel(), (0x4000, b"again".to_vec()));
}

#[test]
fn a_message_longer_than_any_relayed_is_passed_over_and_the_connection_stays_in_step() {
    let server = server();
    let mut client = server.tcp_client(0);
    let relayed = client.allocate().unwrap();
    client.bind_channel(0x4000, relayed);
    client.send(&[&[0x40, 0, 0xFF, 0xFF][..], &[7; 65_536]].concat());
    client.send_on_channel(0x4000, b"after");
    assert_eq!(client.receive_on_channel().1, b"after");
    assert_eq!(server.io("too_long"), 1);
}

#[test]
fn both_versions_of_tls_are_spoken() {
    let server = server();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let link = server.connect_tls_as(server.tls, &[b"stun.turn", b"http/1.1"], &[version]).unwrap();
        let client = Client::over(Box::new(Framed::new(link)), 0);
        assert_eq!(client.binding(), client.address());
    }
}

#[test]
fn a_new_certificate_is_for_new_connections_and_the_old_ones_go_on() {
    let server = server();
    let mut old = server.tls_client(0);
    let relayed = old.allocate().unwrap();
    server.new_certificate();
    assert!(server.connect_tls(server.tls, &[]).is_err(), "the files are not read by themselves");
    server.certificates.as_ref().unwrap().reload().unwrap();
    let new = server.tls_client(1);
    assert_eq!(new.binding(), new.address());
    old.bind_channel(0x4000, relayed);
    old.send_on_channel(0x4000, b"still here");
    assert_eq!(old.receive_on_channel().1, b"still here");
}

#[test]
fn forty_megabytes_for_a_client_that_does_not_read_are_bounded_and_hurt_nobody_else() {
    let server = server();
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    socket.connect(&server.tcp.into()).unwrap();
    let mut slow = Client::over(Box::new(Framed::new(std::net::TcpStream::from(socket))), 0);
    let (mut fast, other) = (server.tcp_client(1), server.udp_client(1));
    let (to, from) = (slow.allocate().unwrap(), fast.allocate().unwrap());
    slow.bind_channel(0x4000, from);
    fast.bind_channel(0x4000, to);
    for _ in 0..40_000 {
        fast.send_on_channel(0x4000, &[9; 1000]);
    }
    eventually("most of it was dropped", || server.io("stream_slow") + server.io("parcels_full") > 30_000);
    assert_eq!(other.binding(), other.address(), "others are served");
    fast.send_on_channel(0x4000, b"the newest");
    let mut read = 0;
    loop {
        let (_, payload) = slow.receive_on_channel();
        read += payload.len();
        if payload == b"the newest" {
            break;
        }
    }
    assert!(read < 2 << 20, "{read} bytes were held for it");
    slow.free();
}
