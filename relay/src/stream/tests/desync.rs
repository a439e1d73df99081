//! A stream on which client and server are out of step is closed (RFC 8656 §12: only 0x4000 to 0x4FFF are channels).

use std::io::{Read, Write};

use super::links::*;
use crate::dataplane::tests::client::eventually;
use crate::wire::{Method, Request, TransactionId};

#[test]
fn a_first_byte_of_neither_stun_nor_a_channel_ends_the_connection() {
    let server = server();
    for first in [0x50, 0x7F, 0x80, 0xFF] {
        let mut socket = server.connect_tcp();
        socket.write_all(&Request::new(Method::Binding, TransactionId([7; 12])).finish(None)).unwrap();
        let mut answer = [0; 32];
        socket.read_exact(&mut answer).unwrap();
        socket.write_all(&[first, 0, 0, 4, 1, 2, 3, 4]).unwrap();
        assert!(is_closed(&mut socket), "{first:#x}");
        eventually("closed", || server.io("streams") == 0);
    }
}

#[test]
fn data_for_a_channel_that_is_not_bound_is_dropped_and_the_connection_stays() {
    let server = server();
    let client = server.tcp_client(0);
    assert_eq!(client.binding(), client.address());
    for first in [0x40, 0x4F] {
        client.send(&[first, 0, 0, 4, 1, 2, 3, 4]);
        assert_eq!(client.binding(), client.address());
    }
}
