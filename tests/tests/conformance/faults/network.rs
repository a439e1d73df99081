//! F11 and F12: a network that loses, repeats and reorders; peers whose ports are closed; an address that goes away.

use super::{heard, is_calm, peer, settings};
use e2e::raw::client::UDP;
use e2e::raw::message::{attr, method};
use e2e::raw::{Ask, Client, Got, Link, Login, Said, Transport};
use e2e::vitals::metric;
use e2e::{Daemon, eventually};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

/// A bad network between one client and the relay.
struct BadNetwork {
    entrance: SocketAddr,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// Of a hundred datagrams each way, so many are lost, sent twice, or held back until the next one has overtaken them.
const LOST: u32 = 30;
const TWICE: u32 = 20;
const HELD_BACK: u32 = 20;

impl BadNetwork {
    fn before(relay: SocketAddr, seed: u64) -> BadNetwork {
        let inside = UdpSocket::bind("127.0.0.1:0").unwrap();
        let outside = UdpSocket::bind("127.0.0.1:0").unwrap();
        let (entrance, over) = (inside.local_addr().unwrap(), Arc::new(AtomicBool::new(false)));
        outside.connect(relay).unwrap();
        for socket in [&inside, &outside] {
            socket.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        }
        let ended = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            let mut random = ChaCha12Rng::seed_from_u64(seed);
            let (mut client, mut held, mut buffer) = (None, [None, None], vec![0; 65536]);
            while !ended.load(Relaxed) {
                if let Ok((length, from)) = inside.recv_from(&mut buffer) {
                    client = Some(from);
                    carry(&buffer[..length], &mut held[0], &mut random, |bytes| drop(outside.send(bytes)));
                }
                if let Ok(length) = outside.recv(&mut buffer) {
                    let Some(client) = client else { continue };
                    carry(&buffer[..length], &mut held[1], &mut random, |bytes| drop(inside.send_to(bytes, client)));
                }
            }
        });
        BadNetwork { entrance, over, thread: Some(thread) }
    }
}

fn carry(bytes: &[u8], held: &mut Option<Vec<u8>>, random: &mut ChaCha12Rng, send: impl Fn(&[u8])) {
    let fate = random.next_u32() % 100;
    if fate < LOST {
        return;
    }
    if fate < LOST + HELD_BACK && held.is_none() {
        *held = Some(bytes.to_vec());
        return;
    }
    send(bytes);
    if fate >= 100 - TWICE {
        send(bytes);
    }
    if let Some(late) = held.take() {
        send(&late);
    }
}

impl Drop for BadNetwork {
    fn drop(&mut self) {
        self.over.store(true, Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Asks until there is an answer, the same bytes each time (RFC 8489 §6.2.1), more patiently than a client has to be.
fn insist(client: &mut Client, request: &[u8]) -> e2e::raw::Answer {
    let attempts = (0..200).find_map(|_| client.try_exchange(request, Duration::from_millis(50)).ok());
    attempts.expect("an answer through a bad network")
}

const CLIENTS: u64 = 8;

#[test]
fn f11_through_loss_repetition_and_reordering_every_request_is_done_once() {
    let daemon = settings().start();
    let (outside, outside_at) = peer();
    for seed in 0..CLIENTS {
        let network = BadNetwork::before(Transport::Udp.listener(&daemon), seed);
        let link = Link::udp_from([127, 0, 0, 1].into(), network.entrance);
        let mut client = Client::over(link, Login::new("alice", "alice's long secret"));
        client.challenge = insist(&mut client, &Ask::request(method::ALLOCATE).transport(UDP).bytes()).challenge();
        let signed = |client: &Client, ask: Ask| ask.signed(&client.login, &client.challenge).bytes();

        let allocate = signed(&client, Ask::request(method::ALLOCATE).transport(UDP));
        let relayed: Vec<_> =
            (0..5).map(|_| insist(&mut client, &allocate).address(attr::XOR_RELAYED_ADDRESS).unwrap()).collect();
        assert!(relayed.iter().all(|address| *address == relayed[0]), "{relayed:?}");
        for ask in [
            Ask::request(method::CREATE_PERMISSION).peer(outside_at),
            Ask::request(method::CHANNEL_BIND).channel(0x4000).peer(outside_at),
            Ask::request(method::REFRESH).lifetime(1200),
        ] {
            let bytes = signed(&client, ask);
            for _ in 0..3 {
                assert_eq!(insist(&mut client, &bytes).code(), 0, "a repeated request gets the same answer");
            }
        }
        for _ in 0..50 {
            client.send_on(0x4000, b"through the storm");
        }
        assert_eq!(heard(&outside), (b"through the storm".to_vec(), relayed[0]));
        let bytes = signed(&client, Ask::request(method::REFRESH).lifetime(0));
        let code = insist(&mut client, &bytes).code();
        assert!([0, 437].contains(&code), "an end that came twice is taken for the end (RFC 8656 §8.3): {code}");
        while outside.set_read_timeout(Some(Duration::from_millis(5))).is_ok() && outside.recv(&mut [0; 64]).is_ok() {}
        outside.set_read_timeout(Some(e2e::PATIENCE)).unwrap();
    }
    assert_eq!(metric(&daemon, "relay_allocations_created_total", ""), CLIENTS, "one each");
    assert_eq!(metric(&daemon, "relay_allocations", ""), 0);
}

#[test]
fn f12_a_storm_of_icmp_harms_neither_socket_nor_loop() {
    let daemon = settings().start();
    let (open, open_at) = peer();
    // Ports where nobody listens: every packet to them comes back as ICMP, of which the client is told some (RFC 8656 §11.5).
    let closed: Vec<SocketAddr> = (0..20).map(|_| peer().1).collect();
    for on in [Transport::Udp, Transport::Tcp, Transport::Tls] {
        let (mut client, relayed) = Client::allocated(&daemon, on);
        for (number, address) in closed.iter().enumerate() {
            assert_eq!(client.bind(0x4001 + number as u16, *address), 0);
        }
        assert_eq!(client.bind(0x4000, open_at), 0);
        let mut told = 0;
        for round in 0..100u32 {
            for number in 0..closed.len() as u16 {
                client.send_on(0x4001 + number, b"nobody there");
            }
            client.send_on(0x4000, &round.to_be_bytes());
            if round % 10 == 9 {
                told += only_icmp(&client.say(b"")); // not faster than it is worked off
            }
        }
        assert!((1..200).contains(&told), "of two thousand errors the client is told {told}");
        eventually("a packet to the peer that is there", || {
            client.send_on(0x4000, b"calm");
            (heard(&open).0 == b"calm").then_some(())
        });
        open.send_to(b"and back", relayed).unwrap();
        eventually("the way back", || (client.expect_data().payload == b"and back").then_some(()));
        drain(&open);
    }
    is_calm(&daemon, "after a storm of ICMP");
}

/// Data indications with ICMP and nothing else; how many.
fn only_icmp(said: &Said) -> usize {
    let Said::Messages(messages) = said else { panic!("nothing is answered any more") };
    let icmp = said.answers().iter().filter(|it| it.is_indication() && it.value(attr::ICMP).is_some()).count();
    assert_eq!(icmp, messages.len(), "{:?}", said.answers());
    icmp
}

fn drain(socket: &UdpSocket) {
    socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    while socket.recv(&mut [0; 64]).is_ok() {}
    socket.set_read_timeout(Some(e2e::PATIENCE)).unwrap();
}

/// Set inside a network namespace of our own.
const INSIDE: &str = "E2E_INSIDE_NAMESPACE";

/// Runs this one test again in a new network namespace, where it may take addresses away.
fn in_a_namespace(name: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let status = Command::new("unshare")
        .args(["--map-root-user", "--net", "sh", "-c", "ip link set lo up && exec \"$@\"", "sh"])
        .arg(std::env::current_exe().unwrap())
        .args([&format!("{}::{name}", module_path!().split_once("::").unwrap().1), "--exact", "--nocapture"])
        .env(INSIDE, "1")
        .status()
        .unwrap_or_else(|error| panic!("cannot start unshare: {error}. Fix: apt-get install util-linux"));
    assert!(status.success(), "the test failed inside the namespace; if unshare itself did, run as root");
    false
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status();
    assert!(status.is_ok_and(|status| status.success()), "ip {arguments}. Fix: apt-get install iproute2");
}

/// Relayed data flows to the peer, as soon as the machine has settled.
fn flows(client: &mut Client, outside: &UdpSocket, word: &[u8]) {
    eventually("relayed data", || {
        client.send_on(0x4000, word);
        let mut buffer = [0; 16];
        outside.recv(&mut buffer).is_ok_and(|length| &buffer[..length] == word).then_some(())
    });
}

#[test]
fn f12_an_address_that_disappears_costs_its_packets_and_nothing_else() {
    if !in_a_namespace("f12_an_address_that_disappears_costs_its_packets_and_nothing_else") {
        return;
    }
    const LOST: &str = "address del 10.99.0.1/32 dev lo";
    ip("address add 10.99.0.1/32 dev lo");
    let daemon = settings().set("relay.addresses = ['10.99.0.1', '::1']").start();
    let (outside, outside_at) = peer();
    outside.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let (mut client, relayed) = Client::allocated(&daemon, Transport::Udp);
    assert_eq!(relayed.ip(), SocketAddr::from(([10, 99, 0, 1], 0)).ip());
    assert_eq!(client.bind(0x4000, outside_at), 0);
    flows(&mut client, &outside, b"before");
    ip(LOST);
    for _ in 0..1000 {
        client.send_on(0x4000, b"nowhere");
    }
    client.say(b"").is_silence("packets without a source");
    eventually("the errors to be counted", || {
        (metric(&daemon, "relay_drops_total", "reason=\"send_") >= 1000).then_some(())
    });
    let mut newcomer = Client::challenged(&daemon, Transport::Udp);
    assert_eq!(newcomer.code(Ask::request(method::ALLOCATE).transport(UDP)), 508, "there is nothing to bind");
    newcomer.allocate(2);
    assert_eq!(client.refresh(600), 0, "the allocation waits");
    is_calm(&daemon, "without the relayed address");
    ip("address add 10.99.0.1/32 dev lo");
    drain(&outside);
    outside.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    flows(&mut client, &outside, b"after");
    assert_eq!(newcomer.refresh(0), 0);
    newcomer.allocate(1);
    served_all(&daemon);
}

/// IPv6's smallest MTU: what is larger is fragmented by the kernel and arrives whole.
#[test]
fn f11_over_an_mtu_of_1280_small_and_large_payloads_arrive() {
    if !in_a_namespace("f11_over_an_mtu_of_1280_small_and_large_payloads_arrive") {
        return;
    }
    ip("link set lo mtu 1280");
    let daemon = settings().start();
    for on in Transport::ALL {
        let ((mut left, left_at), (mut right, right_at)) =
            (Client::allocated(&daemon, on), Client::allocated(&daemon, on));
        assert_eq!((left.bind(0x4000, right_at), right.bind(0x4000, left_at)), (0, 0));
        for length in [1, 1200, 1260, 1400, 4000, 9000] {
            let payload = vec![length as u8; length];
            left.send_on(0x4000, &payload);
            assert_eq!(right.expect_data().payload, payload, "{on:?}, {length} bytes");
        }
    }
    served_all(&daemon);
}

fn served_all(daemon: &Daemon) {
    for on in Transport::ALL {
        let mut link = Link::open(daemon, on);
        link.send(&Ask::request(method::BINDING).bytes());
        assert!(matches!(link.receive(e2e::PATIENCE), Got::Message(_)), "{on:?}");
    }
}
