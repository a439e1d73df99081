//! Rows 53–57: what only connections can do: come in pieces, speak something else, say nothing, leave rudely, not read.

use super::floods::honest_clients_are_served;
use super::{peer, settings};
use e2e::raw::client::UDP;
use e2e::raw::message::{attr, method};
use e2e::raw::{Answer, Ask, Client, Got, Link, Transport};
use e2e::vitals::{memory_kib, metric};
use e2e::{Daemon, eventually};
use socket2::SockRef;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

rows! {
    t01_t02_a_request_byte_by_byte_is_answered on tcp tls tcp6 tls6;
    t13_a_burst_in_one_write_is_answered_completely on tcp tls tcp6 tls6;
    t03_t04_t10_other_protocols_are_shown_out on tcp tls tcp6 tls6;
    t07_a_client_that_breaks_off_is_freed on tcp tls tcp6 tls6;
}

fn t01_t02_a_request_byte_by_byte_is_answered(daemon: &Daemon, on: Transport) {
    let mut client = Client::open(daemon, on);
    let mut piecemeal = |request: &[u8]| {
        for byte in request {
            client.link.send(&[*byte]);
        }
        match client.link.receive(e2e::PATIENCE) {
            Got::Message(message) => Answer::read(&message).unwrap(),
            other => panic!("no answer: {other:?}"),
        }
    };
    assert_eq!(piecemeal(&Ask::request(method::BINDING).bytes()).code(), 0);
    let challenge = piecemeal(&Ask::request(method::ALLOCATE).transport(UDP).bytes()).challenge();
    let login = e2e::raw::Login::new("alice", "alice's long secret");
    let signed = Ask::request(method::ALLOCATE).transport(UDP).signed(&login, &challenge).fingerprinted();
    assert_eq!(piecemeal(&signed.bytes()).code(), 0);
}

const BURST: usize = 100;

fn t13_a_burst_in_one_write_is_answered_completely(daemon: &Daemon, on: Transport) {
    let mut client = Client::open(daemon, on);
    let burst: Vec<Vec<u8>> = (0..BURST).map(|_| Ask::request(method::BINDING).bytes()).collect();
    let answers = client.say(&burst.concat()).answers();
    let asked: Vec<&[u8]> = burst.iter().map(|request| &request[8..20]).collect();
    let ids: Vec<[u8; 12]> = answers.iter().map(Answer::id).collect();
    assert_eq!(ids.iter().map(|id| &id[..]).collect::<Vec<_>>(), asked, "all of them, in order");
}

fn t03_t04_t10_other_protocols_are_shown_out(daemon: &Daemon, on: Transport) {
    let to = on.listener(daemon);
    let mut hello = b"\x16\x03\x01\x00\x40\x01\x00\x00\x3c\x03\x03".to_vec();
    hello.resize(5 + 0x40, 0xA5);
    let strange: [(&str, &[u8]); 6] = [
        ("HTTP", b"GET / HTTP/1.1\r\nhost: relay\r\n\r\n"),
        ("HTTP POST", b"POST /turn HTTP/1.1\r\ncontent-length: 4096\r\n\r\n"),
        ("SSH", b"SSH-2.0-OpenSSH_9.2\r\n"),
        ("SOCKS", b"\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01"),
        ("a broken ClientHello", &hello),
        ("ChannelData first", b"\x40\x00\x00\x04data"),
    ];
    for (what, bytes) in strange {
        assert_eq!(shown_out(to, bytes), Ok(()), "{what}");
    }
    if on.is_tls() {
        assert_eq!(shown_out(to, &Ask::request(method::BINDING).bytes()), Ok(()), "plain STUN where TLS is spoken");
        // Inside TLS too.
        let mut link = Link::open(daemon, on);
        link.send(b"SSH-2.0-OpenSSH_9.2\r\n");
        assert_eq!(link.receive(e2e::PATIENCE), Got::Closed);
    }
    Client::open(daemon, on).say(b"").is_silence("nothing");
}

/// Connects, says it, and reads until the end, which must come without anything that looks like STUN.
fn shown_out(to: SocketAddr, bytes: &[u8]) -> Result<(), String> {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(e2e::PATIENCE)).unwrap();
    let _ = stream.write_all(bytes);
    let mut said = Vec::new();
    match stream.read_to_end(&mut said) {
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Err("the connection stays open".to_owned()),
        // A reset is an end as well: there may be bytes nobody read.
        _ if Answer::read(&said).is_some() => Err("it is answered".to_owned()),
        _ => Ok(()),
    }
}

/// With an allocation each, so that its relayed port shows when it is gone.
fn t07_a_client_that_breaks_off_is_freed(daemon: &Daemon, on: Transport) {
    type Way = (&'static str, fn(&mut Link));
    let ways: [Way; 3] = [
        ("in the middle of a message", |link| {
            link.send(&Ask::request(method::BINDING).bytes()[..7]);
        }),
        ("by a reset", |link| SockRef::from(link.tcp()).set_linger(Some(Duration::ZERO)).unwrap()),
        ("by closing one half", |link| link.tcp().shutdown(Shutdown::Write).unwrap()),
    ];
    for (what, break_off) in ways {
        let (mut client, relayed) = Client::allocated(daemon, on);
        break_off(&mut client.link);
        let half_open = what.contains("half").then_some(client);
        eventually(&format!("the port of a client that broke off {what}"), || std::net::UdpSocket::bind(relayed).ok());
        drop(half_open);
    }
}

const SLOW_TCP: usize = 300;
const SLOW_TLS: usize = 150;

#[test]
fn t05_t06_t12_half_open_connections_are_closed_and_others_served_meanwhile() {
    let daemon = settings().start();
    let half = |to: SocketAddr, first: &[u8]| {
        let mut stream = TcpStream::connect(to).unwrap();
        stream.write_all(first).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream
    };
    let (tcp, tls) = (Transport::Tcp.listener(&daemon), Transport::Tls.listener(&daemon));
    let start = Instant::now();
    let mut slow: Vec<TcpStream> = (0..SLOW_TCP).map(|n| half(tcp, &[0, 1, 0, 0][..n % 5])).collect();
    // Nothing, the beginning of a ClientHello, and one whose rest never comes.
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    slow.extend((0..SLOW_TLS).map(|n| half(tls, &hello[..[0, 3, 11][n % 3]])));
    honest_clients_are_served(&daemon, "beside 450 half-open connections");
    for stream in &mut slow {
        // A byte now and then buys no time.
        let _ = stream.write_all(b"");
        let mut said = Vec::new();
        let end = stream.read_to_end(&mut said).map_err(|error| error.kind());
        assert!(!matches!(end, Err(std::io::ErrorKind::WouldBlock)), "still open after {:?}", start.elapsed());
    }
    eprintln!("450 half-open connections were closed within {:?}", start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(30) + e2e::PATIENCE);
    eventually("every connection to be gone", || (metric(&daemon, "relay_streams", "") == 0).then_some(()));
}

/// What a dead reader may cost, whatever is sent to it: its queue and the kernel's buffers, which are not in this number.
const DEAD_READER_KIB: u64 = 2 * 1024;
const PACKETS: usize = 40_000;
const PACKET: usize = 1000;

#[test]
fn t08_forty_megabytes_to_a_dead_reader_are_bounded_and_it_may_come_back() {
    let daemon = settings().start();
    for on in [Transport::Tcp, Transport::Tls] {
        let (peer, address) = peer();
        let (mut client, relayed) = Client::allocated(&daemon, on);
        assert_eq!(client.bind(0x4000, address), 0);
        let lost = || metric(&daemon, "relay_drops_total", "reason=\"stream_slow\"");
        let (before, lost_before) = (memory_kib(&daemon), lost());
        let mut payload = vec![0; PACKET];
        for number in 0..PACKETS as u64 {
            payload[..8].copy_from_slice(&number.to_be_bytes());
            peer.send_to(&payload, relayed).unwrap();
            if number % 32 == 31 {
                std::thread::sleep(Duration::from_millis(1)); // 64 KiB of socket buffer, not 40 MB
            }
        }
        let (dropped, after) = (lost() - lost_before, memory_kib(&daemon));
        eprintln!("{on:?}: {dropped} of {PACKETS} dropped at the slow reader; memory {before} KiB, then {after} KiB");
        assert!(dropped > 0, "most of it had to go");
        assert!(after <= before + DEAD_READER_KIB, "{before} KiB, then {after} KiB");
        // It reads again: what is left, in order, then the answer to what it asks.
        let mut last = None;
        while let Some(data) = client.data(Duration::from_millis(500)) {
            let number = u64::from_be_bytes(data.payload[..8].try_into().unwrap());
            assert!(last < Some(number), "{last:?}, then {number}");
            last = Some(number);
        }
        assert!(last.is_some());
        assert_eq!(client.exchange(&Ask::request(method::BINDING).bytes()).code(), 0);
        assert_eq!(client.code(Ask::request(method::REFRESH).with(attr::LIFETIME, &[0; 4])), 0);
    }
}

/// Without an allocation, silence has its end too.
#[test]
#[ignore = "half a minute; tests/run.sh --long"]
fn t05_a_silent_connection_without_an_allocation_is_closed() {
    let daemon = settings().start();
    let mut idle: Vec<Client> = [Transport::Tcp, Transport::Tls].map(|on| Client::open(&daemon, on)).into();
    let (mut busy, _) = Client::allocated(&daemon, Transport::Tcp);
    for client in &mut idle {
        client.say(b"").is_silence("a first Binding");
    }
    for client in &mut idle {
        assert_eq!(client.link.receive(Duration::from_secs(90)), Got::Closed);
    }
    assert_eq!(busy.refresh(600), 0, "one with an allocation may be silent");
}
