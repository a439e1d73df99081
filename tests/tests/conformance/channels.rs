//! Rows 45–48: channels and what claims to be ChannelData.
//!
//! Over a stream a ChannelData message that is too long to relay is passed over and the connection goes on; one whose number
//! is out of every range begins no message, and ends it.

use super::{heard, peer};
use e2e::Daemon;
use e2e::raw::client::channel_data;
use e2e::raw::message::{attr, method};
use e2e::raw::{Ask, Client, Got, Transport};

rows! {
    c01_c02_numbers_out_of_range_are_400 on udp tcp tls udp6;
    c03_c04_a_number_keeps_its_peer_and_a_peer_its_number on udp tcp tls;
    c05_channel_data_from_another_five_tuple_is_dropped on udp tcp tls;
    c06_c07_c08_channel_data_that_lies_about_its_length_is_dropped on udp;
    c06_c07_c08_channel_data_of_any_length_keeps_a_stream_in_step on tcp tls;
    c09_c10_every_length_is_framed_right_and_padded_with_zeros on udp tcp tls;
}

fn c01_c02_numbers_out_of_range_are_400(daemon: &Daemon, on: Transport) {
    let (mut client, relayed) = Client::allocated(daemon, on);
    let (_peer, outside) = peer();
    let peer = if on.is_ipv6() { relayed } else { outside };
    for number in [0, 1, 0x3FFF, 0x5000, 0x7FFF, 0x8000, 0xFFFF] {
        assert_eq!(client.bind(number, peer), 400, "{number:#x}");
    }
    assert_eq!(client.code(Ask::request(method::CHANNEL_BIND).peer(peer)), 400, "no number");
    assert_eq!(client.code(Ask::request(method::CHANNEL_BIND).channel(0x4000)), 400, "no peer");
    assert_eq!((client.bind(0x4000, peer), client.bind(0x4000, peer)), (0, 0));
}

fn c03_c04_a_number_keeps_its_peer_and_a_peer_its_number(daemon: &Daemon, on: Transport) {
    let ((first, first_at), (_second, second_at)) = (peer(), peer());
    let (mut client, _) = Client::allocated(daemon, on);
    assert_eq!(client.bind(0x4000, first_at), 0);
    assert_eq!(client.bind(0x4000, second_at), 400, "the number has another peer");
    assert_eq!(client.bind(0x4001, first_at), 400, "the peer has another number");
    assert_eq!(client.bind(0x4000, first_at), 0, "a refresh");
    assert_eq!(client.bind(0x4FFF, second_at), 0);
    client.send_on(0x4000, b"still the first");
    assert_eq!(heard(&first).0, b"still the first");
}

fn c05_channel_data_from_another_five_tuple_is_dropped(daemon: &Daemon, on: Transport) {
    let (peer, address) = peer();
    let (mut owner, _) = Client::allocated(daemon, on);
    let (mut other, _) = Client::allocated(daemon, on);
    assert_eq!(owner.bind(0x4000, address), 0);
    let mut stranger = Client::open(daemon, on);
    stranger.say(b"").is_silence("a first Binding");
    for thief in [&mut other, &mut stranger] {
        thief.say(&channel_data(0x4000, b"stolen", true)).is_silence("a channel of somebody else");
        let send = Ask::indication(method::SEND).peer(address).data(b"stolen").bytes();
        thief.say(&send).is_silence("a permission of somebody else");
    }
    owner.say(&channel_data(0x4001, b"unbound", true)).is_silence("a channel nobody bound");
    owner.send_on(0x4000, b"mine");
    assert_eq!(heard(&peer).0, b"mine");
}

fn c06_c07_c08_channel_data_that_lies_about_its_length_is_dropped(daemon: &Daemon, on: Transport) {
    let (peer, address) = peer();
    let (mut client, _) = Client::allocated(daemon, on);
    assert_eq!(client.bind(0x4000, address), 0);
    let claims = |length: u16, payload: &[u8]| {
        let mut bytes = channel_data(0x4000, payload, false);
        bytes[2..4].copy_from_slice(&length.to_be_bytes());
        bytes
    };
    for lie in [claims(5, b"four"), claims(u16::MAX, b"four"), claims(1, b"")] {
        client.say(&lie).is_silence("more than there is");
    }
    client.say(&[0x40, 0, 0]).is_silence("half a header");
    client.say(&channel_data(0x4000, &[7; 65_000], false)).is_silence("more than is relayed");
    // What lies behind the payload is padding and goes no further (RFC 8656 §12.5).
    client.link.send(&claims(4, b"four and padding"));
    client.link.send(&claims(0, b""));
    client.send_on(0x4000, b"end");
    assert_eq!([heard(&peer).0, heard(&peer).0, heard(&peer).0], [b"four".to_vec(), Vec::new(), b"end".to_vec()]);
}

fn c06_c07_c08_channel_data_of_any_length_keeps_a_stream_in_step(daemon: &Daemon, on: Transport) {
    let (peer, address) = peer();
    let (mut client, _) = Client::allocated(daemon, on);
    assert_eq!(client.bind(0x4000, address), 0);
    for length in [9_300, 20_000, 65_535] {
        client.say(&channel_data(0x4000, &vec![7; length], true)).is_silence("passed over");
    }
    client.send_on(0x4000, b"");
    client.send_on(0x4000, b"end");
    assert_eq!([heard(&peer).0, heard(&peer).0], [Vec::new(), b"end".to_vec()]);
    for first in [0x80, 0xFF] {
        let mut other = Client::open(daemon, on);
        other.say(b"").is_silence("a first Binding");
        other.link.send(&[first, 0, 0, 4, 1, 2, 3, 4]);
        assert_eq!(other.link.receive(e2e::PATIENCE), Got::Closed, "a number out of every range");
    }
}

fn c09_c10_every_length_is_framed_right_and_padded_with_zeros(daemon: &Daemon, on: Transport) {
    let ((bound, bound_at), (unbound, unbound_at)) = (peer(), peer());
    let (mut client, relayed) = Client::allocated(daemon, on);
    assert_eq!((client.bind(0x4000, bound_at), client.permit(unbound_at)), (0, 0));
    // Something for dirty padding to be made of.
    client.send_on(0x4000, &[0xEE; 1200]);
    heard(&bound);
    for length in 1..=9 {
        let payload = vec![0xAA; length];
        client.send_on(0x4000, &payload);
        assert_eq!(heard(&bound).0, payload, "{length} bytes out");
        bound.send_to(&payload, relayed).unwrap();
        let Got::Message(message) = client.link.receive(e2e::PATIENCE) else { panic!("nothing came") };
        assert_eq!(message, channel_data(0x4000, &payload, false), "{length} bytes in");
        assert!(client.link.padding.iter().all(|byte| *byte == 0), "dirty padding: {:?}", client.link.padding);
        unbound.send_to(&payload, relayed).unwrap();
        let Got::Message(message) = client.link.receive(e2e::PATIENCE) else { panic!("nothing came") };
        indication_is_clean(&message, &payload);
    }
    client.say(b"").is_silence("nothing is left over");
}

/// A Data indication with this payload, every byte of padding zero.
fn indication_is_clean(message: &[u8], payload: &[u8]) {
    let answer = e2e::raw::Answer::read(message).expect("a Data indication");
    assert_eq!(answer.value(attr::DATA), Some(payload.to_vec()));
    let place = message.windows(payload.len()).rposition(|window| window == payload).unwrap();
    let behind = &message[place + payload.len()..];
    assert!(behind.len() < 4 && behind.iter().all(|byte| *byte == 0), "dirty padding: {behind:?}");
}
