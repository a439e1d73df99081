//! Listeners, threads and mailboxes.

use std::collections::HashSet;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use super::client::{Client, Relay, eventually};
use crate::dataplane::{Mailboxes, Settings, bind};
use crate::turn::Command;

#[test]
fn a_binding_request_is_answered_with_where_it_came_from() {
    let relay = Relay::start(&["127.0.0.1:0", "[::1]:0"], 2);
    for address in &relay.addresses {
        let client = Client::new(*address, 0);
        assert_eq!(client.binding(), client.address());
    }
}

#[test]
fn port_zero_gives_all_workers_one_port_and_each_its_share() {
    let relay = Relay::start(&["127.0.0.1:0"], 2);
    let counters = relay.running.io_counters();
    eventually("both workers hear from clients", || {
        Client::new(relay.addresses[0], 0).binding();
        counters.iter().all(|counters| counters.from_clients.get() > 0)
    });
}

#[test]
fn a_client_always_meets_the_same_worker() {
    let relay = Relay::start(&["127.0.0.1:0"], 2);
    let counters = relay.running.io_counters();
    let client = Client::new(relay.addresses[0], 0);
    for _ in 0..20 {
        client.binding();
    }
    let shares: HashSet<u64> = counters.iter().map(|counters| counters.from_clients.get()).collect();
    assert_eq!(shares, HashSet::from([0, 20]));
}

#[test]
fn a_port_in_use_is_named_together_with_the_fix() {
    let held = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = held.local_addr().unwrap();
    let error = bind(&Settings { listeners: vec![address], workers: 2, ..Settings::default() }).err().unwrap();
    let text = error.to_string();
    for part in [address.to_string(), format!("ss -ulpn 'sport = :{}'", address.port()), "[listen] udp".to_owned()] {
        assert!(text.contains(&part), "{text:?} lacks {part:?}");
    }
}

#[test]
fn stop_ends_all_threads_and_frees_the_port() {
    let relay = Relay::start(&["127.0.0.1:0"], 3);
    let client = Client::new(relay.addresses[0], 0);
    client.binding();
    let start = Instant::now();
    relay.running.stop(); // joins
    assert!(start.elapsed() < Duration::from_secs(5));
    assert!(UdpSocket::bind(relay.addresses[0]).is_ok());
}

#[test]
fn a_post_wakes_a_sleeping_worker() {
    let relay = Relay::start(&["127.0.0.1:0"], 2);
    let counters = relay.running.io_counters();
    let mailboxes: Mailboxes = relay.running.mailboxes();
    assert_eq!(mailboxes.workers(), 2);
    eventually("both sleep", || counters.iter().all(|counters| counters.waits.get() > 0));
    mailboxes.post(1, Command::Drain).unwrap();
    eventually("worker 1 woke up", || counters[1].commands.get() == 1);
    assert_eq!(counters[0].commands.get(), 0);
}

#[test]
fn an_idle_worker_stays_asleep() {
    let relay = Relay::start(&["127.0.0.1:0"], 1);
    let counters = relay.running.io_counters();
    Client::new(relay.addresses[0], 0).binding();
    eventually("the batch is over", || counters[0].waits.get() >= 2);
    let before = counters[0].waits.get();
    std::thread::sleep(Duration::from_millis(300));
    assert!(counters[0].waits.get() - before <= 2, "{} waits", counters[0].waits.get() - before);
}

#[test]
fn a_wildcard_listener_answers_from_the_address_the_client_sent_to() {
    let relay = Relay::start(&["0.0.0.0:0", "[::]:0"], 2);
    let (v4, v6) = (relay.addresses[0].port(), relay.addresses[1].port());
    for server in
        [format!("127.0.0.1:{v4}"), format!("127.0.0.2:{v4}"), format!("127.99.3.7:{v4}"), format!("[::1]:{v6}")]
    {
        // Connected: an answer from anywhere else would not be heard.
        let client = Client::new(server.parse().unwrap(), 0);
        assert_eq!(client.binding(), client.address(), "{server}");
    }
}

#[test]
fn ipv4_and_ipv6_wildcards_share_a_port_number_and_keep_apart() {
    let first = Relay::start(&["0.0.0.0:0"], 1);
    let port = first.addresses[0].port();
    let second = Relay::start(&[&format!("[::]:{port}")], 1);
    let client = Client::new(SocketAddr::from(([127, 0, 0, 1], port)), 0);
    client.binding();
    assert_eq!(second.running.io_counters()[0].from_clients.get(), 0);
}

#[test]
fn a_datagram_too_long_to_relay_is_dropped_and_counted() {
    let relay = Relay::start(&["127.0.0.1:0"], 1);
    let client = Client::new(relay.addresses[0], 0);
    client.send(&vec![0x40; crate::dataplane::MAX_DATAGRAM_BYTES + 1]);
    eventually("it is counted", || relay.dropped("too_long") == 1);
    client.binding();
}

#[test]
fn garbage_and_empty_datagrams_do_not_end_a_listener() {
    let relay = Relay::start(&["127.0.0.1:0"], 1);
    let client = Client::new(relay.addresses[0], 0);
    for len in [0, 1, 3, 4, 19, 20, 1500, 9216] {
        for first in [0x00, 0x40, 0x80, 0xff] {
            client.send(&vec![first; len]);
        }
    }
    assert!(client.hears_nothing(), "silence meets garbage");
    client.binding();
}

#[test]
fn what_a_full_receive_buffer_loses_is_counted() {
    let settings = Settings {
        listeners: vec!["127.0.0.1:0".parse().unwrap()],
        workers: 1,
        receive_buffer_bytes: 1, // the kernel's minimum: one or two datagrams
        ..Settings::default()
    };
    let relay = Relay::start_bound(bind(&settings).unwrap(), 49152..=65535);
    let client = Client::new(relay.addresses[0], 0);
    eventually("a loss is noticed", || {
        (0..200).for_each(|_| client.send(&[0xff; 1000]));
        relay.dropped("receive_buffer_full") > 0
    });
}
