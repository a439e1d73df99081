//! Rows 30–38: what may be allocated, by whom, for how long, and that all of it comes back.

use super::settings;
use e2e::raw::client::UDP;
use e2e::raw::message::{attr, method};
use e2e::raw::{Answer, Ask, Client, Link, Login, Transport};
use e2e::vitals::{descriptors, metric};
use e2e::{Daemon, eventually};
use std::collections::HashSet;
use std::net::UdpSocket;

rows! {
    l01_a_transport_must_be_named_and_known on udp tcp tls udp6;
    l02_l03_a_second_allocate_is_437_and_a_repeated_one_gets_its_answer_again on udp tcp tls udp6;
    l04_l05_tokens_and_families_that_do_not_fit_are_refused on udp tcp tls udp6;
    l06_lifetimes_are_clamped_both_ways on udp tcp tls udp6;
    l07_l08_without_an_allocation_there_is_437_and_refresh_zero_ends_one_at_once on udp tcp tls udp6;
    l10_relayed_ports_are_random_and_in_range on udp tcp tls udp6;
    l11_even_port_reserves_the_next_one_for_one_token on udp tcp tls udp6;
}

fn allocate() -> Ask {
    Ask::request(method::ALLOCATE).transport(UDP)
}

fn relayed(answer: &Answer) -> std::net::SocketAddr {
    assert_eq!(answer.code(), 0, "{answer:?}");
    answer.address(attr::XOR_RELAYED_ADDRESS).unwrap()
}

fn l01_a_transport_must_be_named_and_known(daemon: &Daemon, on: Transport) {
    let mut client = Client::challenged(daemon, on);
    assert_eq!(client.code(Ask::request(method::ALLOCATE)), 400, "none");
    for protocol in [0, 1, 99, 132, 255] {
        assert_eq!(client.code(Ask::request(method::ALLOCATE).transport(protocol)), 442, "protocol {protocol}");
    }
    if !on.is_stream() {
        let code = client.code(Ask::request(method::ALLOCATE).transport(6));
        assert!([400, 442].contains(&code), "TCP for a client over UDP (RFC 6062 §5.1): {code}");
    }
    assert_eq!(client.refresh(600), 437, "nothing was allocated");
}

fn l02_l03_a_second_allocate_is_437_and_a_repeated_one_gets_its_answer_again(daemon: &Daemon, on: Transport) {
    let mut client = Client::challenged(daemon, on);
    let first = allocate().signed(&client.login, &client.challenge).bytes();
    let (answer, again) = (client.exchange(&first), client.exchange(&first));
    assert_eq!(relayed(&answer), relayed(&again));
    assert_eq!(answer.bytes().len(), again.bytes().len());
    assert_eq!(client.code(allocate()), 437);
    assert_eq!(client.refresh(0), 0);
}

fn l04_l05_tokens_and_families_that_do_not_fit_are_refused(daemon: &Daemon, on: Transport) {
    let mut client = Client::challenged(daemon, on);
    let token = |ask: Ask| ask.with(attr::RESERVATION_TOKEN, b"12345678");
    assert_eq!(client.code(token(allocate())), 508, "a token nobody was given");
    assert_eq!(client.code(token(allocate()).with(attr::EVEN_PORT, &[0])), 400, "with EVEN-PORT");
    assert_eq!(client.code(token(allocate()).family(1)), 400, "with a family");
    assert_eq!(client.code(allocate().with(attr::RESERVATION_TOKEN, b"1234567")), 400, "of seven bytes");
    for family in [0, 3, 255] {
        assert_eq!(client.code(allocate().family(family)), 440, "family {family}");
    }
    assert_eq!(client.refresh(600), 437, "nothing was allocated");
    for (family, is_ipv6) in [(1, false), (2, true)] {
        assert_eq!(client.allocate(family).is_ipv6(), is_ipv6);
        let other = Ask::request(method::REFRESH).family(3 - family).lifetime(600);
        assert_eq!(client.code(other), 443, "a Refresh for the other family");
        assert_eq!(client.refresh(0), 0);
    }
}

fn l06_lifetimes_are_clamped_both_ways(daemon: &Daemon, on: Transport) {
    let mut client = Client::challenged(daemon, on);
    for (asked, granted) in [(u32::MAX, 3600), (1, 600), (0, 600), (1800, 1800)] {
        let answer = client.ask(allocate().lifetime(asked));
        assert_eq!(answer.lifetime(), Some(granted), "asked for {asked}: {answer:?}");
        if asked > 0 {
            let answer = client.ask(Ask::request(method::REFRESH).lifetime(asked));
            assert_eq!(answer.lifetime(), Some(granted), "refreshed for {asked}");
        }
        assert_eq!(client.refresh(0), 0);
    }
}

fn l07_l08_without_an_allocation_there_is_437_and_refresh_zero_ends_one_at_once(daemon: &Daemon, on: Transport) {
    let mut client = Client::challenged(daemon, on);
    let (_peer, address) = super::peer();
    for round in 0..2 {
        assert_eq!(client.refresh(600), 437, "round {round}");
        assert_eq!(client.refresh(0), 437);
        assert_eq!(client.permit(address), 437);
        assert_eq!(client.bind(0x4000, address), 437);
        let relayed = client.allocate(1);
        assert_eq!(client.permit(relayed), 0);
        assert!(UdpSocket::bind(relayed).is_err(), "the relay holds the port");
        let answer = client.ask(Ask::request(method::REFRESH).lifetime(0));
        assert_eq!((answer.code(), answer.lifetime()), (0, Some(0)));
        // The socket is closed right behind the answer.
        eventually("the port to be free", || UdpSocket::bind(relayed).ok());
    }
}

fn l10_relayed_ports_are_random_and_in_range(daemon: &Daemon, on: Transport) {
    let mut client = Client::challenged(daemon, on);
    let ports: Vec<u16> = (0..24)
        .map(|_| {
            let port = client.allocate(1).port();
            assert_eq!(client.refresh(0), 0);
            port
        })
        .collect();
    assert!(ports.iter().all(|port| (49152..=65535).contains(port)), "{ports:?}");
    assert!(ports.iter().collect::<HashSet<_>>().len() >= 22, "hardly any twice among 16 384: {ports:?}");
    let steps: HashSet<i32> = ports.windows(2).map(|pair| i32::from(pair[1]) - i32::from(pair[0])).collect();
    assert!(steps.len() >= 20, "no pattern: {ports:?}");
    assert!(ports.iter().any(|port| port % 2 == 1) && ports.iter().any(|port| port % 2 == 0), "{ports:?}");
}

fn l11_even_port_reserves_the_next_one_for_one_token(daemon: &Daemon, on: Transport) {
    let mut first = Client::challenged(daemon, on);
    let answer = first.ask(allocate().with(attr::EVEN_PORT, &[0x80]));
    let even = relayed(&answer);
    assert_eq!(even.port() % 2, 0);
    let token = answer.value(attr::RESERVATION_TOKEN).expect("a token");
    let redeem = |client: &mut Client| client.ask(allocate().with(attr::RESERVATION_TOKEN, &token));
    let mut second = Client::challenged(daemon, on);
    assert_eq!(relayed(&redeem(&mut second)).port(), even.port() + 1);
    let mut third = Client::challenged(daemon, on);
    assert_eq!(redeem(&mut third).code(), 508, "a token is good once");
    let only_even = third.ask(allocate().with(attr::EVEN_PORT, &[0]));
    assert_eq!(relayed(&only_even).port() % 2, 0);
    assert!(only_even.value(attr::RESERVATION_TOKEN).is_none());
}

const QUOTA: u32 = 4;

/// Alone on a daemon: what is counted here belongs to everybody.
#[test]
fn l09_beyond_the_quota_of_a_user_there_is_486_and_freed_places_return() {
    for on in [Transport::Udp, Transport::Tcp, Transport::Tls] {
        let daemon = settings().set(&format!("access.user_allocations = {QUOTA}")).start();
        let mut clients: Vec<Client> = (0..QUOTA + 3).map(|_| Client::challenged(&daemon, on)).collect();
        let codes: Vec<u16> = clients.iter_mut().map(|client| client.code(allocate())).collect();
        assert_eq!(codes, [0, 0, 0, 0, 486, 486, 486], "{on:?}");
        let mut bob = Client::over(Link::open(&daemon, on), Login::new("bob", "quite another secret"));
        bob.fetch_challenge();
        assert_eq!(bob.code(allocate()), 0, "somebody else is not hindered");
        assert_eq!(clients[0].refresh(0), 0);
        assert_eq!(clients[5].code(allocate()), 0, "a freed place is given again");
        assert_eq!(clients[6].code(allocate()), 486);
    }
}

/// Row 38: clients that vanish without a word leave nothing behind.
#[test]
fn l12_t14_clients_that_vanish_over_tcp_and_tls_leak_nothing() {
    let daemon = settings().start();
    let abandon = |count: usize, on: Transport| {
        let clients: Vec<Client> = (0..count).map(|_| Client::allocated(&daemon, on).0).collect();
        assert_eq!(metric(&daemon, "relay_allocations", "") as usize, count);
        drop(clients);
        eventually("every allocation to be gone", || (metric(&daemon, "relay_allocations", "") == 0).then_some(()));
        eventually("every connection to be gone", || (metric(&daemon, "relay_streams", "") == 0).then_some(()));
        eventually("the sockets to be closed", || (metric(&daemon, "relay_relayed_sockets", "") == 0).then_some(()));
    };
    abandon(5, Transport::Tcp);
    let before = descriptors(&daemon);
    abandon(150, Transport::Tcp);
    abandon(60, Transport::Tls);
    // The connection of the question itself may or may not be closed yet.
    eventually("every descriptor to be closed", || (descriptors(&daemon) <= before + 1).then_some(()));
}
