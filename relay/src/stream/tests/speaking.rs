//! What is spoken where.

use std::io::Write;

use super::links::*;
use crate::dataplane::tests::client::{Client, eventually};

const BINDING: &[u8] = b"\x00\x01\x00\x00\x21\x12\xa4\x42twelve bytes";
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[test]
fn what_is_not_spoken_at_a_port_is_closed_and_turn_is_served_on() {
    let server = server();
    for (what, to, bytes) in [
        ("HTTP in the clear", server.tcp, &b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"[..]),
        ("HTTP on the TLS port", server.tls, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"),
        ("HTTP/2 in the clear", server.tcp, PREFACE),
        ("HTTP/2 on the TLS port", server.tls, PREFACE),
        ("SSH", server.tcp, b"SSH-2.0-OpenSSH_9.2\r\n"),
        ("SSH on the TLS port", server.tls, b"SSH-2.0-OpenSSH_9.2\r\n"),
        ("plain TURN on the TLS port", server.tls, BINDING),
        ("ChannelData first", server.tcp, b"\x40\x00\x00\x04data"),
        ("old STUN", server.tcp, b"\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"),
        ("TLS that is none", server.tls, b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00"),
        ("a PROXY header nobody asked for", server.tcp, b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c"),
    ] {
        let mut stream = std::net::TcpStream::connect(to).unwrap();
        stream.write_all(bytes).unwrap();
        assert!(is_closed(&mut stream), "{what}");
    }
    server.tcp_client(0).binding();
    server.tls_client(0).binding();
    assert_eq!(server.io("streams_garbage"), 0, "none of them got as far as a worker");
}

#[test]
fn one_port_takes_plain_turn_and_tls() {
    let server = server();
    let link = server.connect_tls(server.tcp, &[]).unwrap();
    Client::over(Box::new(Framed::new(link)), 0).binding();
    server.tcp_client(0).binding();
    eventually("counted", || (server.fate("turn_tcp"), server.fate("turn_tls")) == (1, 1));
}

#[test]
fn without_a_certificate_nobody_speaks_tls() {
    let server = Server::start(Choices { with_certificate: false, ..choices() });
    for to in [server.tcp, server.tls] {
        let mut stream = std::net::TcpStream::connect(to).unwrap();
        stream.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").unwrap();
        assert!(is_closed(&mut stream));
    }
    server.tcp_client(0).binding();
}

#[test]
fn a_client_is_held_to_the_protocol_it_named() {
    let server = server();
    for (alpn, bytes) in [
        (&b"http/1.1"[..], BINDING),
        (b"stun.turn", b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"),
        (b"http/1.1", b"GET / HTTP/1.1\r\nhost: nobody serves HTTP here\r\n\r\n"),
        (b"stun.turn", PREFACE),
        (b"http/1.1", PREFACE),
        (b"stun.turn", b"\x40\x00\x00\x04data"),
    ] {
        let mut link = server.connect_tls(server.tls, &[alpn]).unwrap();
        assert_eq!(link.conn.alpn_protocol(), Some(alpn));
        link.write_all(bytes).unwrap();
        assert!(is_closed(&mut link), "{bytes:?}");
    }
    assert!(server.connect_tls(server.tls, &[b"h2"]).is_err(), "there are no pages");
    let mut unnamed = server.connect_tls(server.tls, &[]).unwrap();
    unnamed.write_all(PREFACE).unwrap();
    assert!(is_closed(&mut unnamed), "HTTP/2 has to be agreed on");
    eventually("counted", || server.fate("other_protocol") == 7);
}
