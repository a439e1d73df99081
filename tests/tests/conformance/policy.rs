//! Rows 39–44: whom nobody may reach through a relay, whatever the address is dressed up as, by every method.
//!
//! Connect belongs to RFC 6062: on an allocation for UDP it is refused before its peer is looked at; on one for TCP, which
//! `d44_connect_on_a_tcp_allocation_…` has, it is looked at as by the others.

use super::{heard, peer, settings};
use e2e::raw::message::{attr, method};
use e2e::raw::{Ask, Client, Login, Transport};
use e2e::{Daemon, raw};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::time::Duration;

rows! {
    d01_d11_denied_ipv4_ranges_are_403_by_every_method on udp tcp tls;
    d12_d30_denied_ipv6_and_disguised_ipv4_addresses_are_403_or_443 on udp6 tcp6 tls6;
    d12_d30_the_same_on_an_ipv4_allocation on udp tcp tls;
    d40_one_denied_peer_in_a_request_lets_none_of_them_in on udp tcp tls;
    d41_a_peer_of_the_other_family_is_443 on udp tcp tls udp6;
    d43_a_live_relayed_address_of_this_server_is_a_peer_and_makes_no_loop on udp tcp tls udp6 tcp6 tls6;
    d44_connect_and_connection_bind_reach_nobody on udp tcp tls;
}

/// Both ends of ranges, and the addresses people look for inside them.
const DENIED_IPV4: [&str; 29] = [
    "0.0.0.0",
    "0.255.255.255",
    "10.0.0.0",
    "10.255.255.255",
    "100.64.0.0",
    "100.100.100.200",
    "100.127.255.255",
    "127.0.0.0",
    "127.0.0.1",
    "127.255.255.255",
    "168.63.129.16",
    "169.254.0.0",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.0",
    "192.168.255.255",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.254",
    "255.255.255.255",
];

const DENIED_IPV6: [&str; 15] = [
    "::",
    "::1",
    "100::1",
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "2001:db8::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "febf::1",
    "fec0::1",
    "ff02::1",
];

/// IPv4 addresses in each of the clothes there are.
const DISGUISES: [&str; 18] = [
    "::ffff:127.0.0.1", // v4-mapped: CVE-2026-27624
    "::ffff:0.0.0.0",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:192.168.1.1",
    "::ffff:8.8.8.8", // allowed as such, but it is IPv4
    "::127.0.0.1",    // v4-compatible
    "::10.0.0.1",
    "::ffff:0:127.0.0.1", // v4-translated
    "64:ff9b::127.0.0.1", // NAT64
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::10.0.0.1",          // local NAT64
    "2002:7f00:1::1",               // 6to4 of 127.0.0.1
    "2002:a9fe:a9fe::1",            // 6to4 of 169.254.169.254
    "2001:0:808:808:0:0:80ff:fffe", // Teredo, client 127.0.0.1
    "2001:0:7f00:1:0:0:f7f7:f7f7",  // Teredo, server 127.0.0.1
    "fe80::5efe:127.0.0.1",         // ISATAP
    "2606:4700:0:0:0:5efe:7f00:1",
];

/// Ways to be refused: by the policy, for its family, or because the allocation is none of TCP.
const NOT_REACHED: [u16; 4] = [400, 403, 437, 443];

fn at(ip: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip.parse::<IpAddr>().unwrap(), port)
}

/// None of the methods lets this peer in; those that look at peers answer with one of `codes`.
fn refused(client: &mut Client, peer: SocketAddr, codes: &[u16]) {
    for (what, code) in [("CreatePermission", client.permit(peer)), ("ChannelBind", client.bind(0x4000, peer))] {
        assert!(codes.contains(&code), "{what} for {peer} got {code}");
    }
    let code = client.code(Ask::request(method::CONNECT).peer(peer));
    assert!(NOT_REACHED.contains(&code), "Connect to {peer} got {code}");
    let send = Ask::indication(method::SEND).peer(peer).data(b"for nobody").bytes();
    client.say(&send).is_silence("a Send to a denied peer");
}

fn d01_d11_denied_ipv4_ranges_are_403_by_every_method(daemon: &Daemon, on: Transport) {
    let (mut client, _) = Client::allocated(daemon, on);
    let victim = UdpSocket::bind("127.0.0.1:0").unwrap();
    victim.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    for ip in DENIED_IPV4 {
        refused(&mut client, at(ip, 9), &[403]);
    }
    refused(&mut client, victim.local_addr().unwrap(), &[403]);
    assert!(victim.recv(&mut [0; 16]).is_err(), "a service of this machine heard something");
    for neighbour in ["8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "172.32.0.0"] {
        assert_eq!(client.permit(at(neighbour, 9)), 0, "{neighbour} is nobody's inside");
    }
    assert_eq!(client.bind(0x4001, at("8.8.8.8", 0)), 403, "port 0 reaches nothing");
}

fn d12_d30_denied_ipv6_and_disguised_ipv4_addresses_are_403_or_443(daemon: &Daemon, on: Transport) {
    let (mut client, _) = Client::allocated(daemon, on);
    for ip in DENIED_IPV6 {
        refused(&mut client, at(ip, 9), &[403]);
    }
    for ip in DISGUISES {
        refused(&mut client, at(ip, 9), &[403, 443]);
    }
    assert_eq!(client.permit(at("2606:4700::1111", 9)), 0, "an honest address");
}

fn d12_d30_the_same_on_an_ipv4_allocation(daemon: &Daemon, on: Transport) {
    let (mut client, _) = Client::allocated(daemon, on);
    for ip in DISGUISES.iter().chain(&DENIED_IPV6) {
        refused(&mut client, at(ip, 9), &[403, 443]);
    }
}

fn d40_one_denied_peer_in_a_request_lets_none_of_them_in(daemon: &Daemon, on: Transport) {
    let (good, good_address) = peer();
    let (mut client, relayed) = Client::allocated(daemon, on);
    for denied in ["10.0.0.1", "127.0.0.1", "0.0.0.0"] {
        let both = Ask::request(method::CREATE_PERMISSION).peer(good_address).peer(at(denied, 9));
        assert_eq!(client.code(both), 403);
        let turned = Ask::request(method::CREATE_PERMISSION).peer(at(denied, 9)).peer(good_address);
        assert_eq!(client.code(turned), 403);
    }
    // Somebody permitted, behind whose packet everything before it at the relayed address has been dealt with.
    let neighbour = UdpSocket::bind("127.9.0.2:0").unwrap();
    assert_eq!(client.permit(neighbour.local_addr().unwrap()), 0);
    good.send_to(b"too early", relayed).unwrap();
    neighbour.send_to(b"fence", relayed).unwrap();
    assert_eq!(client.expect_data().payload, b"fence");
    client.send_to(good_address, b"too early");
    assert_eq!(client.permit(good_address), 0);
    client.send_to(good_address, b"permitted");
    assert_eq!(heard(&good).0, b"permitted");
    good.send_to(b"in time", relayed).unwrap();
    assert_eq!(client.expect_data().payload, b"in time");
}

fn d41_a_peer_of_the_other_family_is_443(daemon: &Daemon, on: Transport) {
    let (mut client, _) = Client::allocated(daemon, on);
    let other = if on.is_ipv6() { at("8.8.8.8", 53) } else { at("2606:4700::1111", 53) };
    assert_eq!(client.permit(other), 443);
    assert_eq!(client.bind(0x4000, other), 443);
    let send = Ask::indication(method::SEND).peer(other).data(b"x").bytes();
    client.say(&send).is_silence("a Send to the other family");
}

fn d43_a_live_relayed_address_of_this_server_is_a_peer_and_makes_no_loop(daemon: &Daemon, on: Transport) {
    let ((mut left, left_at), (mut right, right_at)) = (Client::allocated(daemon, on), Client::allocated(daemon, on));
    assert_eq!((left.permit(right_at), right.bind(0x4000, left_at)), (0, 0));
    left.send_to(right_at, b"hairpin");
    let data = right.expect_data();
    assert_eq!((data.payload.as_slice(), data.channel), (&b"hairpin"[..], Some(0x4000)));
    // To itself: once round, and no further.
    assert_eq!(left.bind(0x4001, left_at), 0);
    left.send_on(0x4001, b"to myself");
    left.send_on(0x4001, b"and again");
    assert_eq!(left.expect_data().payload, b"to myself");
    assert_eq!(left.expect_data().payload, b"and again");
    left.say(b"").is_silence("nothing goes round for ever");
    assert_eq!((right.refresh(0), left.permit(right_at)), (0, 403), "no longer live, no longer a peer");
}

fn d44_connect_and_connection_bind_reach_nobody(daemon: &Daemon, on: Transport) {
    let (mut client, _) = Client::allocated(daemon, on);
    for ip in DENIED_IPV4.iter().chain(&DISGUISES) {
        let code = client.code(Ask::request(method::CONNECT).peer(at(ip, 80)));
        assert!(NOT_REACHED.contains(&code), "Connect to {ip} got {code}");
    }
    let mut other = Client::challenged(daemon, on);
    for id in [&b"\0\0\0\0"[..], b"\0\0\0\x01", b"\xff\xff\xff\xff", b"", b"12345678"] {
        for client in [&mut client, &mut other] {
            let code = client.code(Ask::request(method::CONNECTION_BIND).with(attr::CONNECTION_ID, id));
            // 420 where RFC 6062 is not spoken.
            assert!(code == 420 || NOT_REACHED.contains(&code), "a CONNECTION-ID of nobody got {code}");
        }
    }
    client.say(b"").is_silence("nothing");
}

/// Row 44 where Connect could succeed: it is the policy that says no, and to nobody else.
#[test]
fn d44_connect_on_a_tcp_allocation_is_403_for_every_denied_address() {
    let daemon = settings().set("relay.tcp_allocations = true").start();
    let (victim, peer) = (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind((super::PEERS, 0)).unwrap());
    victim.set_nonblocking(true).unwrap();
    for on in [Transport::Tcp, Transport::Tls, Transport::Tcp6, Transport::Tls6] {
        let mut client = Client::challenged(&daemon, on);
        let tcp = Ask::request(method::ALLOCATE).transport(6).family(if on.is_ipv6() { 2 } else { 1 });
        assert_eq!(client.code(tcp), 0, "{on:?}");
        let mut connect = |to: SocketAddr| client.code(Ask::request(method::CONNECT).peer(to));
        let denied: &[&str] = if on.is_ipv6() { &DENIED_IPV6 } else { &DENIED_IPV4 };
        for ip in denied {
            assert_eq!(connect(at(ip, 80)), 403, "{on:?}: Connect to {ip}");
        }
        for ip in DISGUISES.iter().chain(if on.is_ipv6() { &[][..] } else { &DENIED_IPV6 }) {
            let code = connect(at(ip, 80));
            assert!([403, 443].contains(&code), "{on:?}: Connect to {ip} got {code}");
        }
        if !on.is_ipv6() {
            assert_eq!(connect(victim.local_addr().unwrap()), 403, "{on:?}: a service of this machine");
            assert_eq!(connect(peer.local_addr().unwrap()), 0, "{on:?}: who is allowed is reached");
        }
    }
    assert!(victim.accept().is_err(), "nobody came");
}

/// Row 43: even where the operator lets clients reach this machine, the relay's own doors stay shut.
#[test]
fn d42_own_listeners_are_never_peers() {
    let daemon = settings().set("access.allow_peers = ['127.0.0.0/8', '::1/128']").start();
    let mut own: Vec<SocketAddr> = [daemon.turns(), daemon.tcps(), daemon.tlss()].concat();
    own.extend([daemon.admin(), daemon.signalling()]);
    for on in Transport::ALL {
        let (mut client, relayed) = Client::allocated(&daemon, on);
        for listener in own.iter().filter(|listener| listener.is_ipv6() == on.is_ipv6()) {
            assert_eq!(client.permit(*listener), 403, "{on:?}: CreatePermission names {listener}");
            assert_eq!(client.bind(0x4000, *listener), 403, "{on:?}: ChannelBind to {listener}");
        }
        // A permission is for an IP address; the port is looked at when something is sent.
        assert_eq!(client.permit(SocketAddr::new(relayed.ip(), 0)), 0);
        let inner = Ask::request(method::BINDING).bytes();
        for listener in own.iter().filter(|listener| listener.is_ipv6() == on.is_ipv6()) {
            client.send_to(*listener, &inner);
        }
        assert_eq!(client.data(Duration::from_millis(100)), None, "{on:?}: a listener of the relay answered");
    }
    somebody_is_served(&daemon);
}

fn somebody_is_served(daemon: &Daemon) {
    let link = raw::Link::open(daemon, Transport::Udp);
    let mut bob = Client::over(link, Login::new("bob", "quite another secret"));
    bob.fetch_challenge();
    assert_eq!(bob.refresh(600), 437);
}
