//! Rows 49–50: who may send to whom (RFC 8656 §9), and how many permissions and channels one may have.

use super::{heard, peer};
use e2e::Daemon;
use e2e::raw::message::method;
use e2e::raw::{Ask, Client, Transport};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Instant;

rows! {
    m01_m02_nothing_passes_without_a_permission_and_data_makes_none on udp tcp tls;
    m03_a_permission_is_for_an_ip_address_and_no_other on udp tcp tls;
    m04_a_channel_brings_a_permission_and_a_request_without_peers_is_400 on udp tcp tls;
    m05_permissions_and_channels_are_capped_and_do_not_slow_each_other_down on udp tcp tls;
}

/// A neighbour of the usual peers, as allowed as they are.
fn neighbour() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.9.0.2:0").unwrap();
    socket.set_read_timeout(Some(e2e::PATIENCE)).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

fn m01_m02_nothing_passes_without_a_permission_and_data_makes_none(daemon: &Daemon, on: Transport) {
    let ((permitted, permitted_at), (stranger, stranger_at)) = (peer(), neighbour());
    let (mut client, relayed) = Client::allocated(daemon, on);
    assert_eq!(client.permit(permitted_at), 0);
    for round in 0..2 {
        stranger.send_to(b"unasked", relayed).unwrap();
        client.send_to(stranger_at, b"unasked");
        permitted.send_to(b"asked", relayed).unwrap();
        let data = client.expect_data();
        assert_eq!((data.payload, data.peer), (b"asked".to_vec(), Some(permitted_at)), "round {round}");
    }
    assert_eq!(client.permit(stranger_at), 0);
    client.send_to(stranger_at, b"now");
    assert_eq!(heard(&stranger).0, b"now", "nothing sent before came through");
}

fn m03_a_permission_is_for_an_ip_address_and_no_other(daemon: &Daemon, on: Transport) {
    let ((first, first_at), (second, _)) = (peer(), peer());
    let (other, _) = neighbour();
    let (mut client, relayed) = Client::allocated(daemon, on);
    assert_eq!(client.permit(SocketAddr::new(first_at.ip(), 1)), 0, "the port says nothing");
    other.send_to(b"another address", relayed).unwrap();
    for (socket, word) in [(&first, b"one port"), (&second, b"any port")] {
        socket.send_to(word, relayed).unwrap();
        assert_eq!(client.expect_data().payload, word);
    }
}

fn m04_a_channel_brings_a_permission_and_a_request_without_peers_is_400(daemon: &Daemon, on: Transport) {
    let ((bound, bound_at), (beside, beside_at)) = (peer(), peer());
    let (mut client, relayed) = Client::allocated(daemon, on);
    assert_eq!(client.code(Ask::request(method::CREATE_PERMISSION)), 400);
    assert_eq!(client.bind(0x4000, bound_at), 0);
    bound.send_to(b"over the channel", relayed).unwrap();
    assert_eq!(client.expect_data().channel, Some(0x4000));
    beside.send_to(b"in an indication", relayed).unwrap();
    let data = client.expect_data();
    assert_eq!((data.channel, data.peer), (None, Some(beside_at)));
    client.send_to(beside_at, b"back");
    assert_eq!(heard(&beside), (b"back".to_vec(), relayed));
}

/// Documented: `turn::Settings::{max_permissions, max_channels}`.
const MOST: u32 = 1024;
const ASKED: u32 = 5_000;
const AT_ONCE: u32 = 100;
const CHANNELS: u16 = 2_000;

fn m05_permissions_and_channels_are_capped_and_do_not_slow_each_other_down(daemon: &Daemon, on: Transport) {
    let (mut client, _) = Client::allocated(daemon, on);
    let number = |n: u32| SocketAddr::from((Ipv4Addr::from(u32::from(Ipv4Addr::new(8, 8, 0, 1)) + n), 9));
    let start = Instant::now();
    assert_eq!(client.permit(number(0)), 0);
    let first = start.elapsed();
    let mut granted = 1;
    for from in (1..ASKED).step_by(AT_ONCE as usize) {
        let several =
            (from..from + AT_ONCE).fold(Ask::request(method::CREATE_PERMISSION), |ask, n| ask.peer(number(n)));
        match client.code(several) {
            0 => granted += AT_ONCE,
            code => assert_eq!(code, 508),
        }
    }
    assert!(granted <= MOST && granted > MOST - AT_ONCE, "{granted} permissions");
    let start = Instant::now();
    assert_eq!(client.permit(number(0)), 0, "what is there can be refreshed");
    eprintln!("{on:?}: first permission {first:?}, one of {granted} refreshed {:?}", start.elapsed());

    let (mut client, _) = Client::allocated(daemon, on);
    let (_peer, peer) = peer();
    // One address, many ports: channels are counted, not addresses.
    let codes: Vec<u16> =
        (0..CHANNELS).map(|n| client.bind(0x4000 + n, SocketAddr::new(peer.ip(), 1024 + n))).collect();
    let bound = codes.iter().take_while(|code| **code == 0).count();
    assert_eq!(bound as u32, MOST);
    assert!(codes[bound..].iter().all(|code| *code == 508));
    assert_eq!(client.bind(0x4000, SocketAddr::new(peer.ip(), 1024)), 0, "what is bound can be refreshed");
}
