//! F4 and F5: no descriptors, no ports.

use super::{heard, is_calm, peer, settings};
use e2e::raw::client::UDP;
use e2e::raw::message::method;
use e2e::raw::{Ask, Client, Transport};
use std::net::TcpStream;
use std::time::Duration;

/// Both workers, their listeners and the runtimes take a good half of these.
const DESCRIPTORS: &str = "--nofile=64:64";

fn allocate() -> Ask {
    Ask::request(method::ALLOCATE).transport(UDP)
}

#[test]
fn f04_without_descriptors_there_is_508_old_sessions_live_and_nothing_spins() {
    let listen = "listen = { udp = ['127.0.0.1:0'], tcp = ['127.0.0.1:0'], tls = ['127.0.0.1:0'] }";
    let daemon = settings().set(listen).under(&["prlimit", DESCRIPTORS]).start();
    let (outside, outside_at) = peer();
    let (mut old, relayed) = Client::allocated(&daemon, Transport::Udp);
    let (mut old_stream, _) = Client::allocated(&daemon, Transport::Tcp);
    assert_eq!((old.bind(0x4000, outside_at), old_stream.bind(0x4000, outside_at)), (0, 0));

    let mut others: Vec<Client> = Vec::new();
    let refused = loop {
        let mut client = Client::challenged(&daemon, Transport::Udp);
        match client.code(allocate()) {
            0 => others.push(client),
            code => break code,
        }
        assert!(others.len() < 64, "more allocations than descriptors");
    };
    assert_eq!(refused, 508);
    // Connections that the kernel completes and nobody can accept.
    let waiting: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(daemon.tcp()).unwrap()).collect();
    is_calm(&daemon, "without a descriptor for those who wait at the door");
    for client in [&mut old, &mut old_stream] {
        client.send_on(0x4000, b"old sessions live");
        assert_eq!(heard(&outside).0, b"old sessions live");
        assert_eq!(client.refresh(600), 0);
    }
    outside.send_to(b"both ways", relayed).unwrap();
    assert_eq!(old.expect_data().payload, b"both ways");

    drop(waiting);
    let granted = others.len();
    for client in &mut others {
        assert_eq!(client.refresh(0), 0);
    }
    std::thread::sleep(Duration::from_millis(200)); // the pause of a door that found no descriptor
    for on in [Transport::Udp, Transport::Tcp, Transport::Tls] {
        Client::allocated(&daemon, on);
    }
    eprintln!("{granted} allocations beside the old ones within 64 descriptors");
}

#[test]
fn f05_with_ten_ports_the_eleventh_is_508_and_a_freed_one_is_given_again() {
    for on in [Transport::Udp, Transport::Tcp, Transport::Tls] {
        // Below the ports that the kernel gives to others.
        let ports = match on {
            Transport::Udp => "21010-21019",
            Transport::Tcp => "21020-21029",
            _ => "21030-21039",
        };
        let daemon = settings().set(&format!("relay.ports = '{ports}'")).start();
        let mut clients: Vec<_> = (0..10).map(|_| Client::allocated(&daemon, on)).collect();
        let mut eleventh = Client::challenged(&daemon, on);
        for _ in 0..3 {
            assert_eq!(eleventh.code(allocate()), 508, "{on:?}");
            assert_eq!(eleventh.code(allocate().with(0x0018, &[0])), 508, "EVEN-PORT");
        }
        let (freed, port) = clients.pop().map(|(mut client, relayed)| (client.refresh(0), relayed)).unwrap();
        assert_eq!(freed, 0);
        assert_eq!(eleventh.allocate(1), port, "the only port there is");
        assert_eq!(clients.iter_mut().map(|(client, _)| client.refresh(600)).sum::<u16>(), 0, "the others are alive");
    }
}
