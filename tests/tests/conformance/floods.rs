//! Row 52: floods. Others are served meanwhile, and nothing is kept.

use super::settings;
use e2e::raw::client::UDP;
use e2e::raw::message::method;
use e2e::raw::{Ask, Client, Transport};
use e2e::vitals::{memory_kib, metric};
use e2e::{Daemon, eventually};
use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

/// What a second round of the same may add to the daemon's memory: its allocator's mood, not its memory of anybody.
pub(super) const SECOND_ROUND_KIB: u64 = 3 * 1024;
/// The table's row says 2 s.
const SERVED_WITHIN: Duration = Duration::from_secs(2);

const SOCKETS: usize = 2_000;
const AT_ONCE: usize = 500;
const REQUESTS: usize = 10;

/// Every transport asks for a Binding and an allocation. Answers how long that took at most.
pub(super) fn honest_clients_are_served(daemon: &Daemon, when: &str) -> Duration {
    let serve = |on: Transport| {
        let start = Instant::now();
        let (mut client, _) = Client::allocated(daemon, on);
        assert_eq!(client.refresh(0), 0);
        let took = start.elapsed();
        assert!(took < SERVED_WITHIN, "{when}, an honest client over {on:?} had to wait {took:?}");
        took
    };
    let slowest = Transport::ALL.map(serve).into_iter().max().unwrap();
    eprintln!("{when}: an honest client is served within {slowest:?}");
    slowest
}

/// From a network that is limited; honest clients come from one that is not, as if from elsewhere.
fn flood(daemon: &Daemon) {
    let to = Transport::Udp.listener(daemon);
    let requests = [Ask::request(method::ALLOCATE).transport(UDP).bytes(), Ask::request(method::BINDING).bytes()];
    for batch in 0..SOCKETS / AT_ONCE {
        let sockets: Vec<UdpSocket> = (0..AT_ONCE)
            .map(|n| UdpSocket::bind((Ipv4Addr::new(127, 5, batch as u8, 1 + (n % 200) as u8), 0)).unwrap())
            .collect();
        for round in 0..REQUESTS {
            for socket in &sockets {
                socket.send_to(&requests[round % 2], to).unwrap();
            }
        }
        honest_clients_are_served(daemon, "in the middle of a flood");
    }
}

#[test]
fn x04_twenty_thousand_requests_from_two_thousand_ports_keep_nobody_waiting_and_leave_nothing() {
    let daemon = settings().set("limits.exempt = ['127.0.0.0/16', '::1/128']").start();
    honest_clients_are_served(&daemon, "before the flood");
    flood(&daemon);
    let after_one = memory_kib(&daemon);
    flood(&daemon);
    let after_two = memory_kib(&daemon);
    eprintln!("memory after one flood {after_one} KiB, after another {after_two} KiB");
    assert!(after_two <= after_one + SECOND_ROUND_KIB, "{after_one} KiB, then {after_two} KiB");
    assert_eq!(metric(&daemon, "relay_allocations", ""), 0);
}

const ALLOCATES: usize = 400;
const QUOTA: usize = 30;

#[test]
fn x05_four_hundred_allocates_of_one_user_get_the_quota_and_leave_nothing() {
    let daemon = settings().set(&format!("access.user_allocations = {QUOTA}")).start();
    let mut memory = Vec::new();
    for _ in 0..2 {
        let mut clients: Vec<Client> = (0..ALLOCATES).map(|_| Client::challenged(&daemon, Transport::Udp)).collect();
        let allocate = || Ask::request(method::ALLOCATE).transport(UDP);
        let codes: Vec<u16> = clients.iter_mut().map(|client| client.code(allocate())).collect();
        assert_eq!(codes.iter().filter(|code| **code == 0).count(), QUOTA);
        assert!(codes.iter().all(|code| [0, 486].contains(code)));
        for client in &mut clients[..QUOTA] {
            assert_eq!(client.refresh(0), 0);
        }
        eventually("the sockets to be closed", || (metric(&daemon, "relay_relayed_sockets", "") == 0).then_some(()));
        memory.push(memory_kib(&daemon));
    }
    assert!(memory[1] <= memory[0] + SECOND_ROUND_KIB, "{memory:?} KiB");
    honest_clients_are_served(&daemon, "after all of them");
}
