#![allow(clippy::unwrap_used)]

use std::path::Path;

use super::*;

fn read(text: &str) -> Result<Settings, Problems> {
    parse(text, Path::new("/etc/relay"))
}

fn complaints(text: &str) -> Vec<String> {
    let problems = read(text).expect_err("it should have been refused").in_file("relay.toml");
    problems.to_string().lines().map(str::to_owned).collect()
}

fn complaint(text: &str) -> String {
    let all = complaints(text);
    assert_eq!(all.len(), 1, "one problem expected: {all:?}");
    all.into_iter().next().unwrap()
}

#[test]
fn every_limit_can_be_written() {
    let text = "[limits]\nunauthenticated_per_second = 1\nunauthenticated_burst = 2\ncall_packets_per_second = 3\n\
        call_bits_per_second = 4\nuser_packets_per_second = 5\nuser_bits_per_second = 6\nallocation_permissions = 7\n\
        allocation_channels = 8\ntotal_allocations = 9\ntotal_packets_per_second = 10\ntotal_bits_per_second = 11\n";
    let rates = |packets_per_second, bits_per_second| Rates { packets_per_second, bits_per_second };
    let written = Limits {
        exempt: Vec::new(),
        unauthenticated_per_second: 1,
        unauthenticated_burst: 2,
        call: rates(3, 4),
        user: rates(5, 6),
        allocation_permissions: 7,
        allocation_channels: 8,
        total_allocations: 9,
        total: rates(10, 11),
    };
    assert_eq!(read(text).unwrap().limits, written);
}

#[test]
fn a_limit_that_stops_everything_or_is_no_number_is_refused() {
    assert!(complaint("[limits]\ntotal_allocations = 0\n").contains("limits.total_allocations is 0"));
    assert!(complaint("[limits]\nallocation_permissions = 0\n").contains("limits.allocation_permissions is 0"));
    assert!(complaint("[limits]\nallocation_channels = 65536\n").contains("a whole number from 0 to 65535"));
    assert!(complaint("[limits]\nuser_bits_per_second = \"1M\"\n").contains("is a whole number"));
    let hint = complaint("[limits]\nuser_bits_per_secnd = 1\n");
    assert!(hint.contains("did you mean \"user_bits_per_second\"?"), "{hint}");
}

#[test]
fn answering_strangers_without_limit_is_noticed() {
    let notices = read("[limits]\nunauthenticated_per_second = 0\n").unwrap().notices().join("\n");
    assert!(notices.contains("limits.unauthenticated_per_second is 0"), "{notices}");
}

#[test]
fn names_are_hidden_only_where_they_can_be_recognised() {
    let users = "[auth]\nusername_anonymity = true\nusers = { alice = \"a long secret\" }\n";
    assert!(read(users).unwrap().auth.username_anonymity);
    let with_secrets = format!("{users}rest_secrets = [\"sixteen bytes or more\"]\n");
    let message = complaint(&with_secrets);
    assert!(
        message.starts_with("relay.toml:2:22: auth.username_anonymity") && message.contains("rest_secrets"),
        "{message}"
    );
    let with_calls = format!("[listen]\nsignalling = \"127.0.0.1:0\"\n{users}");
    assert!(complaint(&with_calls).contains("cannot go with listen.signalling"));
}

#[test]
fn a_drain_has_a_deadline_and_servers_of_both_families() {
    let text = "[drain]\ndeadline_secs = 5\nalternate_servers = [\"192.0.2.1:3478\", \"[2001:db8::1]:3478\"]\n\
        alternate_domain = \"relay.example\"\n";
    let drain = read(text).unwrap().drain;
    assert_eq!((drain.deadline_secs, drain.alternate_servers.len()), (5, 2));
    assert_eq!(drain.alternate_domain.as_deref(), Some("relay.example"));
    for (servers, wrong) in [
        ("[\"192.0.2.1:3478\", \"192.0.2.2:3478\"]", "room for one IPv4 and one IPv6 address"),
        ("[\"192.0.2.1:0\"]", "nobody can be sent to"),
        ("[\"0.0.0.0:3478\"]", "nobody can be sent to"),
        ("[\"relay.example:3478\"]", "is not an address with a port"),
    ] {
        let message = complaint(&format!("[drain]\nalternate_servers = {servers}\n"));
        assert!(message.contains(wrong), "{message}");
    }
    for name in ["192.0.2.1", "relay.example:3478", "", "two words", "[::1]"] {
        let message = complaint(&format!("[drain]\nalternate_domain = \"{name}\"\n"));
        assert!(message.contains("is not a domain name"), "{message}");
    }
}

#[test]
fn nat_discovery_takes_two_addresses_and_makes_four_sockets_of_them() {
    let text = "[listen]\nudp = [\"192.0.2.1:3478\"]\nnat_discovery = [\"192.0.2.1:3478\", \"192.0.2.2:3479\"]\n";
    let listen = read(text).unwrap().listen;
    let sockets: Vec<String> = listen.udp_sockets().iter().map(ToString::to_string).collect();
    assert_eq!(sockets, ["192.0.2.1:3478", "192.0.2.1:3479", "192.0.2.2:3478", "192.0.2.2:3479"]);
    assert_eq!(read("[listen]\nnat_discovery = []\n").unwrap().listen.nat_discovery, None);
    for (pair, wrong) in [
        ("[\"192.0.2.1:3478\"]", "is two addresses with two ports"),
        ("[\"192.0.2.1:3478\", \"192.0.2.1:3479\"]", "differ in address and in port"),
        ("[\"192.0.2.1:3478\", \"192.0.2.2:3478\"]", "differ in address and in port"),
        ("[\"192.0.2.1:3478\", \"[2001:db8::1]:3479\"]", "of one family"),
        ("[\"192.0.2.1:0\", \"192.0.2.2:3479\"]", "port 0"),
        ("[\"192.0.2.1\", \"192.0.2.2:3479\"]", "is not an address with a port"),
    ] {
        let message = complaint(&format!("[listen]\nudp = [\"127.0.0.1:0\"]\nnat_discovery = {pair}\n"));
        assert!(message.contains(wrong), "{message}");
    }
    let wildcard = "[relay]\naddresses = [\"192.0.2.1\"]\n[listen]\nudp = [\"0.0.0.0:3478\"]\n\
        nat_discovery = [\"192.0.2.1:3478\", \"192.0.2.2:3479\"]\n";
    assert!(complaints(wildcard)[0].contains("overlaps with 0.0.0.0:3478"));
}
