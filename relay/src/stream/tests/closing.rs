//! How connections end, and what ends with them.

use std::io::Write;
use std::net::Shutdown;
use std::time::Duration;

use super::links::*;
use crate::dataplane::tests::client::{Client, eventually};
use crate::stream::Patience;
use crate::wire::{Method, Request, TransactionId};

fn binding() -> Vec<u8> {
    Request::new(Method::Binding, TransactionId([7; 12])).finish(None)
}

#[test]
fn the_end_of_a_connection_however_it_comes_frees_its_allocation_at_once() {
    let server = server();
    for how in ["closed", "half-closed", "reset", "in the middle of a message"] {
        let socket = server.connect_tcp();
        let mut kept = socket.try_clone().unwrap();
        let mut client = Client::over(Box::new(Framed::new(socket)), 0);
        client.allocate().unwrap();
        assert_eq!(server.allocations(), 1, "{how}");
        match how {
            "half-closed" => kept.shutdown(Shutdown::Write).unwrap(),
            "reset" => socket2::SockRef::from(&kept).set_linger(Some(Duration::ZERO)).unwrap(),
            "in the middle of a message" => kept.write_all(&binding()[..13]).unwrap(),
            _ => {}
        }
        if how == "half-closed" {
            eventually(how, || server.allocations() == 0);
            assert!(is_closed(&mut kept));
        }
        drop((client, kept));
        eventually(how, || server.allocations() == 0 && server.io("streams") == 0 && server.io("relayed_sockets") == 0);
    }
}

#[test]
fn a_closed_tls_connection_frees_its_allocation_too() {
    let server = server();
    let mut link = Framed::new(server.connect_tls(server.tls, &[]).unwrap());
    link.pipe.conn.send_close_notify();
    let mut client = Client::over(Box::new(Framed::new(server.connect_tls(server.tls, &[]).unwrap())), 0);
    client.allocate().unwrap();
    drop(client);
    eventually("freed", || server.allocations() == 0);
    drop(link);
    eventually("nobody left", || server.io("streams") == 0);
}

#[test]
fn who_says_nothing_is_closed_at_every_stage_and_the_others_are_served() {
    // Long enough for an honest client on a busy machine.
    const SHORT: Duration = Duration::from_millis(2000);
    let patience = Patience { first_bytes: SHORT, handshake: SHORT };
    let choices = choices();
    let settings = crate::stream::Settings { patience, ..choices.settings };
    let server = Server::start(Choices { idle_millis: SHORT.as_millis() as u64, settings, ..choices });
    let hello = b"\x16\x03\x01\x02\x00\x01";
    let half = &binding()[..10];
    let begun: [&[u8]; 5] = [b"", b"\x00\x01\x00", hello, half, &binding()];
    let mut idlers = Vec::new();
    for round in 0..30 {
        for bytes in begun {
            let to = if round % 2 == 0 && bytes != binding() && bytes != half { server.tls } else { server.tcp };
            let mut stream = std::net::TcpStream::connect(to).unwrap();
            stream.write_all(bytes).unwrap();
            idlers.push(stream);
        }
    }
    let mut served = server.tcp_client(0);
    served.allocate().unwrap();
    for stream in &mut idlers {
        assert!(is_closed(stream));
    }
    std::thread::sleep(SHORT);
    assert_eq!(server.io("streams"), 1, "an allocation keeps its connection although it is silent");
    assert_eq!(served.binding(), served.address());
    assert!(server.io("streams_idle") > 0 && server.fate("silent") > 0 && server.fate("handshake") > 0);
}

#[test]
fn who_speaks_no_turn_in_the_middle_is_closed_and_loses_its_allocation() {
    let server = server();
    let socket = server.connect_tcp();
    let mut kept = socket.try_clone().unwrap();
    let mut client = Client::over(Box::new(Framed::new(socket)), 0);
    client.allocate().unwrap();
    kept.write_all(b"\x80\x81\x82\x83: neither STUN nor ChannelData").unwrap();
    assert!(is_closed(&mut kept));
    eventually("freed", || server.allocations() == 0);
}

#[test]
fn who_asks_and_asks_and_never_reads_is_closed() {
    let server = server();
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4 * 1024).unwrap();
    socket.connect(&server.tcp.into()).unwrap();
    let mut stream = std::net::TcpStream::from(socket);
    let many = binding().repeat(500);
    let closed = (0..10_000).any(|_| stream.write_all(&many).is_err());
    assert!(closed);
    eventually("counted", || server.io("streams_unread") == 1);
}

#[test]
fn a_network_has_its_share_of_connections() {
    let choices = choices();
    let settings = crate::stream::Settings { connections_of_one_network: 3, ..choices.settings };
    let server = Server::start(Choices { settings, ..choices });
    let held: Vec<_> = (0..3).map(|_| server.tcp_client(0)).collect();
    for client in &held {
        client.binding();
    }
    assert!(is_closed(&mut server.connect_tcp()));
    eventually("counted", || server.fate("network_full") == 1);
    drop(held);
    eventually("given back", || server.io("streams") == 0);
    server.tcp_client(0).binding();
}
