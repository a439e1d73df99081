//! Row 51: what a forged source would get. In bytes.

use super::settings;
use e2e::raw::client::UDP;
use e2e::raw::message::{attr, method};
use e2e::raw::{Ask, Client, Got, Link, Transport};
use e2e::vitals::metric;
use e2e::{Daemon, eventually};
use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

rows! {
    x01_answers_to_strangers_are_as_small_as_can_be on udp tcp tls udp6 tcp6 tls6;
    x02_nobody_can_have_the_answer_sent_elsewhere_or_made_larger on udp tcp tls;
}

fn x01_answers_to_strangers_are_as_small_as_can_be(daemon: &Daemon, on: Transport) {
    let mut client = Client::open(daemon, on);
    let binding = client.exchange(&Ask::request(method::BINDING).bytes());
    assert!(binding.bytes().len() <= if on.is_ipv6() { 44 } else { 32 }, "{} bytes", binding.bytes().len());
    assert_eq!(binding.attributes(), [attr::XOR_MAPPED_ADDRESS]);
    assert_eq!(binding.address(attr::XOR_MAPPED_ADDRESS), Some(client.link.local()));
    for number in [method::ALLOCATE, method::REFRESH, method::CREATE_PERMISSION, method::CHANNEL_BIND] {
        let answer = client.exchange(&Ask::request(number).bytes());
        assert_eq!(answer.code(), 401);
        assert!(answer.bytes().len() <= 96, "{} bytes", answer.bytes().len());
        assert!(answer.value(attr::PASSWORD_ALGORITHMS).is_some());
        assert!(answer.value(attr::SOFTWARE).is_none());
    }
}

fn x02_nobody_can_have_the_answer_sent_elsewhere_or_made_larger(daemon: &Daemon, on: Transport) {
    let victim = UdpSocket::bind("127.0.0.1:0").unwrap();
    victim.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let [p0, p1] = victim.local_addr().unwrap().port().to_be_bytes();
    let (mut client, bare) = (Client::open(daemon, on), Ask::request(method::BINDING).bytes());
    let usual = client.exchange(&bare).bytes().len();
    let tricks: [(&str, u16, Vec<u8>); 5] = [
        ("RESPONSE-ADDRESS", 0x0002, vec![0, 1, p0, p1, 127, 0, 0, 1]),
        ("CHANGE-REQUEST", 0x0003, vec![0, 0, 0, 6]),
        ("RESPONSE-PORT", 0x0027, vec![p0, p1, 0, 0]),
        ("PADDING", 0x0026, vec![0; 1000]),
        ("an ALTERNATE-SERVER of the client's", 0x8023, vec![0, 1, p0, p1, 127, 0, 0, 1]),
    ];
    for (what, number, value) in tricks {
        let answer = client.exchange(&Ask::request(method::BINDING).with(number, &value).bytes());
        assert!(answer.bytes().len() <= usual + 12, "{what}: {} bytes", answer.bytes().len());
    }
    client.say(b"").is_silence("one answer each");
    assert!(victim.recv(&mut [0; 2048]).is_err(), "somebody else got an answer");
}

const SOURCES: u8 = 100;
/// Enough that the burst every network is granted is little beside it, however slowly this machine sends.
const REQUESTS: usize = 400;

/// X03: a flood in the name of one network costs its sender more than it brings the victim.
#[test]
fn x03_a_flood_in_one_networks_name_brings_it_less_than_it_costs() {
    let daemon = settings().set("limits = { exempt = [] }").start();
    let to = Transport::Udp.listener(&daemon);
    let replies = || metric(&daemon, "relay_replies_total", "");
    let before = replies();
    let sources: Vec<UdpSocket> = (1..=SOURCES).map(|host| socket(Ipv4Addr::new(127, 5, 5, host))).collect();
    let requests = [Ask::request(method::BINDING).bytes(), Ask::request(method::ALLOCATE).transport(UDP).bytes()];
    let (start, mut sent) = (Instant::now(), 0);
    for round in 0..REQUESTS {
        for source in &sources {
            sent += source.send_to(&requests[round % 2], to).unwrap();
        }
    }
    let received: usize = sources.iter().map(drain).sum();
    let (answered, took) = (replies() - before, start.elapsed());
    eprintln!("{sent} bytes in, {received} out in {answered} answers, {took:?}");
    assert!(received < sent, "{received} bytes came of {sent}");
    // Burst and rate of `access::ReplyLimits`, for each of two workers, however long this took.
    let allowed = 2 * (800 + 200 * (took.as_secs() + 1));
    assert!(answered <= allowed, "{answered} answers, {allowed} allowed");
    let largest = 96;
    assert!(answered * largest >= received as u64, "the daemon's own count agrees with what arrived");
    eventually("the limit to show in the counters", || {
        (metric(&daemon, "relay_drops_total", "reason=\"reply_limit\"") > 0).then_some(())
    });
    // The next network is none of its business.
    let mut neighbour = Link::udp_from(Ipv4Addr::new(127, 6, 6, 6).into(), to);
    neighbour.send(&requests[0]);
    assert!(matches!(neighbour.receive(e2e::PATIENCE), Got::Message(_)), "the neighbours are answered");
}

fn socket(source: Ipv4Addr) -> UdpSocket {
    let socket = UdpSocket::bind((source, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
    socket
}

/// Bytes that have arrived.
fn drain(socket: &UdpSocket) -> usize {
    let mut buffer = [0; 2048];
    std::iter::from_fn(|| socket.recv(&mut buffer).ok()).sum()
}
