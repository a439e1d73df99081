//! Packets through allocations: caller to caller across workers, and to peers outside.

use std::net::{SocketAddr, UdpSocket};
use std::process::Command as Process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::client::{Client, Relay, eventually};
use crate::wire::{Message, channel_data};

const CHANNEL: u16 = 0x4000;

/// A client whose allocation is on the given worker: source ports are tried until the kernel agrees.
fn client_on(relay: &Relay, server: SocketAddr, worker: usize, user: usize) -> (Client, SocketAddr) {
    for _ in 0..100 {
        let before = relay.allocations();
        let mut client = Client::new(server, user);
        let relayed = client.allocate().unwrap();
        eventually("the allocation is counted", || relay.allocations() != before);
        if relay.allocations()[worker] > before[worker] {
            return (client, relayed);
        }
        client.free();
        eventually("the allocation is freed", || relay.allocations() == before);
    }
    panic!("no source port leads to worker {worker}");
}

fn peer_at(address: &str) -> UdpSocket {
    let peer = UdpSocket::bind(address).unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    peer
}

fn receive(peer: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut bytes = [0; 2048];
    let (len, from) = peer.recv_from(&mut bytes).unwrap();
    (bytes[..len].to_vec(), from)
}

fn relayed_both_ways(listener: &str, workers: [usize; 2]) {
    let relay = Relay::start(&[listener], 2);
    let server = relay.addresses[0];
    let (alice, alice_relayed) = client_on(&relay, server, workers[0], 0);
    let (bob, bob_relayed) = client_on(&relay, server, workers[1], 1);
    alice.bind_channel(CHANNEL, bob_relayed);
    bob.bind_channel(CHANNEL + 1, alice_relayed);
    for i in 0..50u8 {
        alice.send_on_channel(CHANNEL, &[i; 160]);
        assert_eq!(bob.receive_on_channel(), (CHANNEL + 1, vec![i; 160]));
        bob.send_on_channel(CHANNEL + 1, &[!i; 40]);
        assert_eq!(alice.receive_on_channel(), (CHANNEL, vec![!i; 40]));
    }
    let from_peers: u64 = relay.running.io_counters().iter().map(|counters| counters.from_peers.get()).sum();
    assert_eq!(from_peers, 0, "a hairpinned packet never meets a relayed socket");
}

#[test]
fn two_callers_on_different_workers_hear_each_other() {
    relayed_both_ways("127.0.0.1:0", [0, 1]);
}

#[test]
fn two_callers_on_the_same_worker_hear_each_other() {
    relayed_both_ways("127.0.0.1:0", [1, 1]);
}

#[test]
fn two_callers_hear_each_other_over_ipv6() {
    relayed_both_ways("[::1]:0", [1, 0]);
}

#[test]
fn a_hairpinned_packet_leaves_a_wildcard_listener_from_the_address_its_receiver_knows() {
    let relay = Relay::start(&["0.0.0.0:0"], 2);
    let port = relay.addresses[0].port();
    let (alice, alice_relayed) = client_on(&relay, SocketAddr::from(([127, 0, 0, 2], port)), 0, 0);
    let (bob, bob_relayed) = client_on(&relay, SocketAddr::from(([127, 0, 0, 3], port)), 1, 1);
    alice.bind_channel(CHANNEL, bob_relayed);
    bob.bind_channel(CHANNEL, alice_relayed);
    alice.send_on_channel(CHANNEL, b"to 127.0.0.3's friend");
    assert_eq!(bob.receive_on_channel(), (CHANNEL, b"to 127.0.0.3's friend".to_vec()));
    bob.send_on_channel(CHANNEL, b"and back");
    assert_eq!(alice.receive_on_channel(), (CHANNEL, b"and back".to_vec()));
}

#[test]
fn callers_on_listeners_of_their_own_hear_each_other() {
    let relay = Relay::start(&["127.0.0.1:0", "127.0.0.1:0"], 2);
    let (alice, alice_relayed) = client_on(&relay, relay.addresses[0], 0, 0);
    let (bob, bob_relayed) = client_on(&relay, relay.addresses[1], 1, 1);
    alice.bind_channel(CHANNEL, bob_relayed);
    bob.permit(alice_relayed);
    alice.send_on_channel(CHANNEL, b"hello");
    assert_eq!(bob.receive_indication(), (alice_relayed, b"hello".to_vec()));
}

fn reaches_outside_peer(listener: &str, peer: &str) {
    let relay = Relay::start(&[listener], 2);
    let mut client = Client::new(relay.addresses[0], 0);
    let relayed = client.allocate().unwrap();
    let peer = peer_at(peer);
    let peer_address = peer.local_addr().unwrap();
    client.permit(peer_address);
    client.send_indication(peer_address, b"one");
    assert_eq!(receive(&peer), (b"one".to_vec(), relayed));
    peer.send_to(b"two", relayed).unwrap();
    assert_eq!(client.receive_indication(), (peer_address, b"two".to_vec()));
    client.bind_channel(CHANNEL, peer_address);
    client.send_on_channel(CHANNEL, &[3; 160]);
    assert_eq!(receive(&peer), (vec![3; 160], relayed));
    peer.send_to(&[4; 160], relayed).unwrap();
    assert_eq!(client.receive_on_channel(), (CHANNEL, vec![4; 160]));
}

#[test]
fn a_client_and_an_outside_peer_hear_each_other_through_a_real_relayed_socket() {
    reaches_outside_peer("127.0.0.1:0", "127.0.0.1:0");
}

#[test]
fn a_client_and_an_outside_peer_hear_each_other_over_ipv6() {
    reaches_outside_peer("[::1]:0", "[::1]:0");
}

fn reaches_a_peer_of_another_ip_version(listener: &str, peer: &str, family: u8) {
    let relay = Relay::start(&[listener], 2);
    let mut client = Client::new(relay.addresses[0], 0);
    let relayed = client.allocate_family(family).unwrap();
    let peer = peer_at(peer);
    let peer_address = peer.local_addr().unwrap();
    assert!(relayed.is_ipv4() == peer_address.is_ipv4() && relayed.is_ipv4() != client.address().is_ipv4());
    client.permit(peer_address);
    client.send_indication(peer_address, b"one");
    assert_eq!(receive(&peer), (b"one".to_vec(), relayed));
    peer.send_to(b"two", relayed).unwrap();
    assert_eq!(client.receive_indication(), (peer_address, b"two".to_vec()));
    client.bind_channel(CHANNEL, peer_address);
    client.send_on_channel(CHANNEL, &[3; 160]);
    assert_eq!(receive(&peer), (vec![3; 160], relayed));
    peer.send_to(&[4; 160], relayed).unwrap();
    assert_eq!(client.receive_on_channel(), (CHANNEL, vec![4; 160]));
}

#[test]
fn an_ipv4_client_and_an_ipv6_peer_hear_each_other() {
    reaches_a_peer_of_another_ip_version("127.0.0.1:0", "[::1]:0", 2);
}

#[test]
fn an_ipv6_client_and_an_ipv4_peer_hear_each_other() {
    reaches_a_peer_of_another_ip_version("[::1]:0", "127.0.0.1:0", 1);
}

#[test]
fn a_dual_allocation_reaches_peers_of_both_ip_versions_and_closes_both_sockets() {
    let relay = Relay::start(&["127.0.0.1:0"], 1);
    let counters = relay.running.io_counters();
    let mut client = Client::new(relay.addresses[0], 0);
    let relayed = client.allocate_as(|request| request.requested_transport(17).additional_address_family(2)).unwrap();
    assert_eq!(counters[0].relayed_sockets.get(), 2);
    for (own, peer) in relayed.iter().zip(["127.0.0.1:0", "[::1]:0"]) {
        let peer = peer_at(peer);
        let peer_address = peer.local_addr().unwrap();
        client.permit(peer_address);
        client.send_indication(peer_address, b"one");
        assert_eq!(receive(&peer), (b"one".to_vec(), *own));
        peer.send_to(b"two", own).unwrap();
        assert_eq!(client.receive_indication(), (peer_address, b"two".to_vec()));
    }
    client.free();
    eventually("both sockets are closed", || counters[0].relayed_sockets.get() == 0);
}

#[test]
fn callers_of_different_ip_versions_hear_each_other_at_ipv6_relayed_addresses() {
    let relay = Relay::start(&["127.0.0.1:0", "[::1]:0"], 2);
    let (mut alice, mut bob) = (Client::new(relay.addresses[0], 0), Client::new(relay.addresses[1], 1));
    let (ours, theirs) = (alice.allocate_family(2).unwrap(), bob.allocate_family(2).unwrap());
    alice.bind_channel(CHANNEL, theirs);
    bob.bind_channel(CHANNEL + 1, ours);
    alice.send_on_channel(CHANNEL, b"from IPv4");
    assert_eq!(bob.receive_on_channel(), (CHANNEL + 1, b"from IPv4".to_vec()));
    bob.send_on_channel(CHANNEL + 1, b"from IPv6");
    assert_eq!(alice.receive_on_channel(), (CHANNEL, b"from IPv6".to_vec()));
}

#[test]
fn many_peers_arrive_in_order_while_others_refuse() {
    let relay = Relay::start(&["127.0.0.1:0"], 1);
    let mut client = Client::new(relay.addresses[0], 0);
    let relayed = client.allocate().unwrap();
    let closed = peer_at("127.0.0.1:0").local_addr().unwrap(); // gone at the end of this line
    client.bind_channel(CHANNEL, closed);
    let peers: Vec<_> = (0..8).map(|_| peer_at("127.0.0.1:0")).collect();
    for (i, peer) in peers.iter().enumerate() {
        client.bind_channel(CHANNEL + 1 + i as u16, peer.local_addr().unwrap());
    }
    for packet in 0..20u8 {
        client.send_on_channel(CHANNEL, b"nobody listens");
        for i in 0..peers.len() {
            client.send_on_channel(CHANNEL + 1 + i as u16, &[packet]);
        }
    }
    for peer in &peers {
        let heard: Vec<u8> = (0..20).map(|_| receive(peer).0[0]).collect();
        assert_eq!(heard, (0..20).collect::<Vec<u8>>());
        peer.send_to(b"back", relayed).unwrap();
    }
    let mut channels = std::collections::HashSet::new();
    while channels.len() < peers.len() {
        let heard = client.receive().unwrap();
        match channel_data::parse(&heard) {
            Some(view) => assert!(channels.insert(view.number)),
            None => assert_eq!(Message::parse(&heard).unwrap().xor_peer_address(), Ok(Some(closed)), "what ICMP said"),
        }
    }
}

#[test]
fn flooded_relayed_sockets_do_not_starve_the_listeners() {
    let relay = Relay::start(&["127.0.0.1:0"], 1);
    let mut clients: Vec<_> = (0..200).map(|_| Client::new(relay.addresses[0], 0)).collect();
    let relayed: Vec<_> = clients.iter_mut().map(|client| client.allocate().unwrap()).collect();
    let stop = AtomicBool::new(false);
    let flood = peer_at("127.0.0.1:0");
    thread::scope(|scope| {
        scope.spawn(|| {
            let start = Instant::now();
            while !stop.load(Ordering::Relaxed) && start.elapsed() < Duration::from_secs(20) {
                relayed.iter().for_each(|relayed| drop(flood.send_to(&[0; 100], relayed)));
            }
        });
        let counters = relay.running.io_counters();
        eventually("the flood arrives", || counters[0].from_peers.get() > 10_000);
        let caller = Client::new(relay.addresses[0], 0);
        (0..20).for_each(|_| assert_eq!(caller.binding(), caller.address()));
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_freed_allocation_closes_its_relayed_socket() {
    let relay = Relay::start(&["127.0.0.1:0"], 1);
    let counters = relay.running.io_counters();
    let mut client = Client::new(relay.addresses[0], 0);
    let relayed = client.allocate().unwrap();
    assert_eq!(counters[0].relayed_sockets.get(), 1);
    assert!(UdpSocket::bind(relayed).is_err(), "the relay holds the port");
    client.free();
    eventually("the socket is closed", || counters[0].relayed_sockets.get() == 0);
    assert!(UdpSocket::bind(relayed).is_ok());
}

#[test]
fn a_relayed_port_held_by_another_program_is_not_given_out() {
    let held = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = held.local_addr().unwrap().port();
    let relay = Relay::start_with(&["127.0.0.1:0"], 1, port..=port);
    assert_eq!(Client::new(relay.addresses[0], 0).allocate(), Err(508));
    assert!(relay.running.io_counters()[0].open_failures.get() > 0);
    drop(held);
    assert_eq!(Client::new(relay.addresses[0], 0).allocate().map(|relayed| relayed.port()), Ok(port));
}

/// The limit on descriptors concerns a whole process, so this test runs itself again in one of its own.
#[test]
fn out_of_descriptors_an_allocate_is_refused_and_everything_else_goes_on() {
    const ALONE: &str = "RELAY_TEST_FEW_DESCRIPTORS";
    if std::env::var_os(ALONE).is_none() {
        let name = "dataplane::tests::relaying::out_of_descriptors_an_allocate_is_refused_and_everything_else_goes_on";
        let again = Process::new("sh")
            .args(["-c", "ulimit -n 64 && exec \"$0\" --exact \"$1\""])
            .arg(std::env::current_exe().unwrap())
            .arg(name)
            .env(ALONE, "1")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&again.stdout).into_owned();
        assert!(again.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    let relay = Relay::start(&["127.0.0.1:0"], 1);
    let mut early = Client::new(relay.addresses[0], 0);
    let mut late = Client::new(relay.addresses[0], 1);
    let peer = peer_at("127.0.0.1:0");
    early.allocate().unwrap();
    early.bind_channel(CHANNEL, peer.local_addr().unwrap());
    let mut descriptors = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        descriptors.push(file);
    }
    assert_eq!(late.allocate(), Err(508));
    assert!(relay.running.io_counters()[0].open_failures.get() > 0);
    early.send_on_channel(CHANNEL, b"still here");
    assert_eq!(receive(&peer).0, b"still here");
    descriptors.clear();
    assert!(late.allocate().is_ok());
}
