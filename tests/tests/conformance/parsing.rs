//! Rows 1–17 (7 is in `mutations`): bytes that are not what they seem. What cannot be believed is met with silence; over a stream, where there is
//! no way back into step, with the end of the connection.

use super::{heard, peer};
use e2e::Daemon;
use e2e::raw::client::{UDP, channel_data};
use e2e::raw::message::{attr, method};
use e2e::raw::{Ask, Client, Said, Transport};
use std::time::Duration;

rows! {
    p01_runts_meet_silence on udp udp6;
    p02_wrong_lead_bits_meet_silence_or_the_end on udp tcp tls udp6;
    p02_http_in_a_datagram_meets_silence on udp udp6;
    p03_messages_without_the_cookie_meet_silence_or_the_end on udp tcp tls udp6;
    p04_p05_p06_lengths_that_lie_never_succeed on udp tcp tls udp6;
    p07_p10_attributes_that_overrun_never_succeed on udp tcp tls udp6;
    p08_p09_giants_are_survived on udp tcp tls udp6;
    p12_unknown_methods_do_not_succeed on udp tcp tls udp6;
    p13_responses_meet_silence on udp tcp tls udp6;
    p14_stray_indications_meet_silence on udp tcp tls udp6;
    p15_p16_unknown_required_attributes_are_listed_in_a_420 on udp tcp tls udp6;
    p17_unknown_optional_attributes_are_ignored on udp tcp tls udp6;
    p18_a_send_with_an_unknown_required_attribute_is_not_relayed on udp tcp tls;
    p19_a_wrong_fingerprint_meets_silence on udp tcp tls udp6;
    p20_attributes_after_the_integrity_are_ignored on udp tcp tls udp6;
    p21_of_two_peers_in_a_send_only_the_first_is_reached on udp tcp tls;
    p22_p23_malformed_values_are_400 on udp tcp tls udp6;
}

/// Behind what a stream may have swallowed, the fence is waited for only so long.
const SHORT: Duration = Duration::from_millis(100);

fn binding() -> Vec<u8> {
    Ask::request(method::BINDING).bytes()
}

/// Each in a connection of its own over streams; asserts that none succeeds and that somebody else is served afterwards.
fn none_succeeds(daemon: &Daemon, on: Transport, all: &[(String, Vec<u8>)]) {
    let mut client = Client::open(daemon, on);
    for (what, bytes) in all {
        if on.is_stream() {
            client = Client::open(daemon, on);
            client.say_within(&[bytes], SHORT).is_no_success(what);
        } else {
            client.say(bytes).is_no_success(what);
        }
    }
    Client::open(daemon, on).say(b"").is_silence("nothing");
}

/// Silence over UDP; over a stream, the end of the connection.
fn silence_or_the_end(daemon: &Daemon, on: Transport, all: &[(String, Vec<u8>)]) {
    let mut client = Client::open(daemon, on);
    for (what, bytes) in all {
        if on.is_stream() {
            client = Client::open(daemon, on);
            // Known as a client first, so that it is the framing that ends it and not the door.
            client.say(b"").is_silence("a first Binding");
            assert!(matches!(client.say(bytes), Said::Closed), "{what}: the connection goes on");
            let at_the_door = Client::open(daemon, on).say(bytes);
            assert!(matches!(at_the_door, Said::Closed), "{what}: the connection goes on");
        } else {
            client.say(bytes).is_silence(what);
        }
    }
    Client::open(daemon, on).say(b"").is_silence("nothing");
}

fn p01_runts_meet_silence(daemon: &Daemon, on: Transport) {
    let mut client = Client::open(daemon, on);
    for length in 0..20 {
        client.say(&binding()[..length]).is_silence(&format!("{length} bytes of a Binding"));
        client.say(&vec![0; length]).is_silence(&format!("{length} zeros"));
    }
}

fn p02_wrong_lead_bits_meet_silence_or_the_end(daemon: &Daemon, on: Transport) {
    let cases = [0x80, 0xC0, 0xFF].map(|first| {
        let mut bytes = binding();
        bytes[0] = first;
        (format!("a first byte of {first:#x}"), bytes)
    });
    silence_or_the_end(daemon, on, &cases);
}

/// CVE-2020-6061 and 6062: a server that also speaks HTTP on this port. `P` is the first byte of a channel of RFC 5766.
fn p02_http_in_a_datagram_meets_silence(daemon: &Daemon, on: Transport) {
    let mut client = Client::open(daemon, on);
    for request in
        ["GET / HTTP/1.1\r\n\r\n", "POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n", "POST / HTTP/1.1\r\n\r\nx"]
    {
        client.say(request.as_bytes()).is_silence(request);
    }
}

fn p03_messages_without_the_cookie_meet_silence_or_the_end(daemon: &Daemon, on: Transport) {
    // RFC 3489: sixteen bytes of transaction id where the cookie is now.
    let cases = [method::BINDING, method::ALLOCATE].map(|number| {
        let mut bytes = Ask::request(number).bytes();
        bytes[4..8].copy_from_slice(b"3489");
        (format!("method {number:#x} of RFC 3489"), bytes)
    });
    silence_or_the_end(daemon, on, &cases);
}

fn p04_p05_p06_lengths_that_lie_never_succeed(daemon: &Daemon, on: Transport) {
    let mut cases = Vec::new();
    for number in [method::BINDING, method::ALLOCATE] {
        let honest = Ask::request(number).with(attr::SOFTWARE, b"12345678").bytes();
        for length in [1u16, 2, 3, 4, 8, 11, 13, 16, 400, 0xFFFC, 0xFFFF] {
            let mut bytes = honest.clone();
            bytes[2..4].copy_from_slice(&length.to_be_bytes());
            cases.push((format!("12 bytes that claim to be {length}"), bytes));
        }
    }
    if on.is_stream() {
        return none_succeeds(daemon, on, &cases);
    }
    let mut client = Client::open(daemon, on);
    for (what, bytes) in cases {
        client.say(&bytes).is_silence(&what);
    }
}

fn p07_p10_attributes_that_overrun_never_succeed(daemon: &Daemon, on: Transport) {
    let mut cases = Vec::new();
    for number in [method::BINDING, method::ALLOCATE, method::REFRESH] {
        let mut bytes = Ask::request(number).with(attr::SOFTWARE, b"1234").bytes();
        bytes[22..24].copy_from_slice(&400u16.to_be_bytes());
        cases.push((format!("400 bytes in 8, method {number:#x}"), bytes));
        let mut bytes = Ask::request(number).with(attr::SOFTWARE, b"1234").with(attr::SOFTWARE, b"").bytes();
        bytes[22..24].copy_from_slice(&9u16.to_be_bytes());
        cases.push((format!("padding that reaches beyond the end, method {number:#x}"), bytes));
    }
    let mut client = Client::open(daemon, on);
    for (what, bytes) in &cases {
        client.say(bytes).is_no_success(what);
    }
    client.say(b"").is_silence("nothing");
}

fn p08_p09_giants_are_survived(daemon: &Daemon, on: Transport) {
    let mut attributes = Ask::request(method::ALLOCATE);
    for _ in 0..16_000 {
        attributes = attributes.with(attr::DONT_FRAGMENT, b"");
    }
    let giant = attributes.bytes();
    let mut client = Client::open(daemon, on);
    client.say(b"").is_silence("a first Binding");
    client.say(&giant).is_silence("16 000 attributes");
    let mut below_the_limit = Ask::request(method::ALLOCATE);
    for _ in 0..2_000 {
        below_the_limit = below_the_limit.with(attr::DONT_FRAGMENT, b"");
    }
    client.say(&below_the_limit.bytes()).is_silence("2 000 attributes");
    let junk = vec![0xA5; 65_507];
    if on.is_stream() {
        assert!(matches!(client.say(&junk), Said::Closed | Said::Nothing), "64 KiB of junk");
    } else {
        client.say(&junk).is_silence("64 KiB of junk");
    }
    Client::open(daemon, on).say(b"").is_silence("nothing");
}

fn p12_unknown_methods_do_not_succeed(daemon: &Daemon, on: Transport) {
    let mut client = Client::challenged(daemon, on);
    for number in [0x000, 0x002, 0x005, 0x00D, 0x0FF, 0x123, 0x80, 0xFFF] {
        client.say(&Ask::request(number).bytes()).is_no_success(&format!("method {number:#x}"));
        let signed = Ask::request(number).signed(&client.login, &client.challenge).bytes();
        client.say(&signed).is_no_success(&format!("method {number:#x}, signed"));
        client.say(&Ask::indication(number).bytes()).is_silence(&format!("indication of method {number:#x}"));
    }
}

fn p13_responses_meet_silence(daemon: &Daemon, on: Transport) {
    let mut client = Client::challenged(daemon, on);
    for number in [method::BINDING, method::ALLOCATE, method::REFRESH, method::CREATE_PERMISSION] {
        for ask in [Ask::success(number), Ask::error(number)] {
            client.say(&ask.bytes()).is_silence(&format!("a response of method {number:#x}"));
            let signed = ask.signed(&client.login, &client.challenge).bytes();
            client.say(&signed).is_silence(&format!("a signed response of method {number:#x}"));
        }
        // A 401 to a server must not get a 401 back (CVE-2024-2169: two servers answering each other for ever).
        let error = Ask::error(number).with(0x0009, &[0, 0, 4, 1]).bytes();
        client.say(&error).is_silence("a 401 from a client");
    }
}

fn p14_stray_indications_meet_silence(daemon: &Daemon, on: Transport) {
    let (_peer, address) = peer();
    let mut client = Client::open(daemon, on);
    for number in [method::BINDING, method::ALLOCATE, method::REFRESH, method::CREATE_PERMISSION, method::DATA] {
        client.say(&Ask::indication(number).bytes()).is_silence(&format!("an indication of method {number:#x}"));
    }
    client.say(&Ask::indication(method::SEND).peer(address).data(b"x").bytes()).is_silence("Send without allocation");
    client.say(&Ask::indication(method::SEND).bytes()).is_silence("Send without anything");
    client.say(&channel_data(0x4000, b"data", true)).is_silence("ChannelData without allocation");
}

const UNKNOWN_REQUIRED: u16 = 0x7FF1;
const UNKNOWN_OPTIONAL: u16 = 0xFFF1;

fn p15_p16_unknown_required_attributes_are_listed_in_a_420(daemon: &Daemon, on: Transport) {
    let mut client = Client::challenged(daemon, on);
    let bare = Ask::request(method::BINDING).with(UNKNOWN_REQUIRED, b"what").bytes();
    let answers = [
        client.exchange(&bare),
        client.ask(Ask::request(method::ALLOCATE).transport(UDP).with(UNKNOWN_REQUIRED, b"what")),
    ];
    for answer in answers {
        assert_eq!(answer.code(), 420);
        assert_eq!(answer.value(attr::UNKNOWN_ATTRIBUTES), Some(UNKNOWN_REQUIRED.to_be_bytes().to_vec()));
    }
    assert_eq!(client.refresh(600), 437, "nothing was allocated");
}

fn p17_unknown_optional_attributes_are_ignored(daemon: &Daemon, on: Transport) {
    let mut client = Client::challenged(daemon, on);
    let bare = Ask::request(method::BINDING).with(UNKNOWN_OPTIONAL, b"what").bytes();
    assert_eq!(client.exchange(&bare).code(), 0);
    assert_eq!(client.code(Ask::request(method::ALLOCATE).transport(UDP).with(UNKNOWN_OPTIONAL, b"what")), 0);
}

fn p18_a_send_with_an_unknown_required_attribute_is_not_relayed(daemon: &Daemon, on: Transport) {
    let (peer, address) = peer();
    let (mut client, relayed) = Client::allocated(daemon, on);
    assert_eq!(client.permit(address), 0);
    let hostile = Ask::indication(method::SEND).with(UNKNOWN_REQUIRED, b"what").peer(address).data(b"hostile");
    client.link.send(&hostile.bytes());
    client.send_to(address, b"honest");
    assert_eq!(heard(&peer), (b"honest".to_vec(), relayed));
}

fn p19_a_wrong_fingerprint_meets_silence(daemon: &Daemon, on: Transport) {
    let mut client = Client::open(daemon, on);
    for ask in [Ask::request(method::BINDING), Ask::request(method::ALLOCATE).transport(UDP)] {
        let mut bytes = ask.clone().fingerprinted().bytes();
        *bytes.last_mut().unwrap() ^= 1;
        client.say(&bytes).is_silence("a fingerprint with one bit wrong");
        client.say(&ask.with(attr::FINGERPRINT, b"123").bytes()).is_silence("a fingerprint of three bytes");
    }
    assert_eq!(client.exchange(&Ask::request(method::BINDING).fingerprinted().bytes()).code(), 0);
}

fn p20_attributes_after_the_integrity_are_ignored(daemon: &Daemon, on: Transport) {
    let (mut client, _) = Client::allocated(daemon, on);
    let (login, challenge) = (client.login.clone(), client.challenge.clone());
    let refresh = Ask::request(method::REFRESH).lifetime(1200).signed(&login, &challenge);
    let answer = client.exchange(&refresh.lifetime(0).bytes());
    assert_eq!((answer.code(), answer.lifetime()), (0, Some(1200)), "the signed lifetime counts");
    let silent = Ask::request(method::REFRESH).signed(&login, &challenge).lifetime(0).bytes();
    assert_eq!(client.exchange(&silent).code(), 0);
    assert_eq!(client.refresh(600), 0, "the allocation is still there");
}

fn p21_of_two_peers_in_a_send_only_the_first_is_reached(daemon: &Daemon, on: Transport) {
    let ((first, first_address), (second, second_address)) = (peer(), peer());
    let (mut client, _) = Client::allocated(daemon, on);
    assert_eq!(client.permit(first_address), 0);
    let two = Ask::indication(method::SEND).peer(first_address).peer(second_address).data(b"for one");
    client.link.send(&two.bytes());
    client.send_to(second_address, b"for the other");
    assert_eq!(heard(&second).0, b"for the other");
    assert_eq!(heard(&first).0, b"for one");
}

fn p22_p23_malformed_values_are_400(daemon: &Daemon, on: Transport) {
    let (mut client, _) = Client::allocated(daemon, on);
    let four: &[u8] = &[0, 1, 0x21, 0x13];
    let strange_family: &[u8] = &[0, 3, 0x21, 0x13, 1, 2, 3, 4];
    let short_ipv6: &[u8] = &[0, 2, 0x21, 0x13, 1, 2, 3, 4];
    let long: &[u8] = &[1; 65];
    for value in [four, strange_family, short_ipv6, long, b""] {
        let permission = Ask::request(method::CREATE_PERMISSION).with(attr::XOR_PEER_ADDRESS, value);
        assert_eq!(client.code(permission), 400, "CreatePermission with {value:?}");
        let channel = Ask::request(method::CHANNEL_BIND).channel(0x4000).with(attr::XOR_PEER_ADDRESS, value);
        assert_eq!(client.code(channel), 400, "ChannelBind with {value:?}");
        let send = Ask::indication(method::SEND).with(attr::XOR_PEER_ADDRESS, value).data(b"x").bytes();
        client.say(&send).is_silence("a Send to nowhere");
    }
    for value in [&b""[..], b"\0", b"12345", &[0; 65]] {
        assert_eq!(client.code(Ask::request(method::REFRESH).with(attr::LIFETIME, value)), 400, "LIFETIME {value:?}");
        let channel = Ask::request(method::CHANNEL_BIND).with(attr::CHANNEL_NUMBER, value).peer(client.link.local());
        assert_eq!(client.code(channel), 400, "CHANNEL-NUMBER {value:?}");
    }
    let mut fresh = Client::challenged(daemon, on);
    for number in [attr::REQUESTED_TRANSPORT, attr::EVEN_PORT, attr::RESERVATION_TOKEN, attr::DONT_FRAGMENT] {
        let ask = Ask::request(method::ALLOCATE).with(number, &[1; 65]);
        let ask = if number == attr::REQUESTED_TRANSPORT { ask } else { ask.transport(UDP) };
        assert_eq!(fresh.code(ask), 400, "attribute {number:#x} of 65 bytes");
    }
}
