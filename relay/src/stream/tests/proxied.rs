//! Connections that a load balancer forwards.

use std::io::{Read, Write};

use super::links::*;
use crate::dataplane::tests::client::eventually;
use crate::wire::Message;

const HEADER: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc6\x33\x64\x07\xcb\x00\x71\x01\xc0\x01\x0d\x96";
const HEALTH_CHECK: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";
const BINDING: &[u8] = b"\x00\x01\x00\x00\x21\x12\xa4\x42twelve bytes";

fn behind_a_proxy() -> Server {
    let choices = choices();
    let proxies = vec!["127.0.0.1/32".parse().unwrap()];
    Server::start(Choices { settings: crate::stream::Settings { proxies, ..choices.settings }, ..choices })
}

fn mapped(server: &Server, bytes: &[u8], piece: usize) -> String {
    let mut stream = server.connect_tcp();
    for piece in bytes.chunks(piece) {
        stream.write_all(piece).unwrap();
    }
    let mut answer = [0; 32];
    stream.read_exact(&mut answer).unwrap();
    let mapped = Message::parse(&answer).unwrap().xor_mapped_address().unwrap().unwrap();
    if mapped == stream.local_addr().unwrap() { "its own".to_owned() } else { mapped.to_string() }
}

#[test]
fn the_client_is_who_the_proxy_says_and_a_health_check_is_itself() {
    let server = behind_a_proxy();
    for piece in [usize::MAX, 1] {
        assert_eq!(mapped(&server, &[HEADER, BINDING].concat(), piece), "198.51.100.7:49153");
        assert_eq!(mapped(&server, &[HEALTH_CHECK, BINDING].concat(), piece), "its own");
    }
}

#[test]
fn a_proxy_that_leaves_the_header_out_or_breaks_it_is_closed() {
    let server = behind_a_proxy();
    for bytes in [BINDING, b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n", &[&HEADER[..12], b"\x31\x11\x00\x0c"].concat()] {
        let mut stream = server.connect_tcp();
        stream.write_all(bytes).unwrap();
        assert!(is_closed(&mut stream), "{bytes:?}");
    }
    eventually("counted", || server.fate("proxy") == 3);
}
