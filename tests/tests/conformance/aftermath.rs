//! After the whole pack, twice on one daemon: it still serves, it is no larger, and it has learnt nothing.

use super::floods::{SECOND_ROUND_KIB, honest_clients_are_served};
use super::{
    Row, allocation, authentication, channels, credentials, mutations, parsing, permissions, policy, reflection,
    settings, streams,
};
use e2e::vitals::{descriptors, memory_kib, metric};
use e2e::{Daemon, eventually};
use std::time::Instant;

const PACK: [&[Row]; 10] = [
    parsing::ROWS,
    mutations::ROWS,
    authentication::ROWS,
    credentials::ROWS,
    allocation::ROWS,
    policy::ROWS,
    channels::ROWS,
    permissions::ROWS,
    reflection::ROWS,
    streams::ROWS,
];

fn run_all(daemon: &Daemon) {
    for row in PACK.into_iter().flatten() {
        let start = Instant::now();
        for on in row.on {
            (row.run)(daemon, *on);
        }
        eprintln!("{:>8.3} s  {}", start.elapsed().as_secs_f64(), row.name);
    }
}

/// Its memory in KiB and its descriptors once it has noticed that every connection of the pack is gone: a connection that a client
/// has closed lives on until a worker gets the processor.
fn at_rest(daemon: &Daemon) -> (u64, usize) {
    eventually("every connection of the pack to be gone", || (metric(daemon, "relay_streams", "") == 0).then_some(()));
    (memory_kib(daemon), descriptors(daemon))
}

/// What a log must not hold: addresses of both sides, names, passwords, what was said, and whatever somebody wanted there.
const PERSONAL: [&str; 15] = [
    "127.",
    "::1",
    "8.8.8.8",
    "alice",
    "bob",
    "mallory",
    "somebody",
    "secret",
    "obMatJos2",
    "payload",
    "hairpin",
    "permitted",
    "fake log line",
    "DROP TABLE",
    "etc/passwd",
];

#[test]
fn the_whole_pack_twice_leaves_a_daemon_that_serves_is_no_larger_and_has_written_nothing_personal() {
    let daemon = settings().argument("--log=trace").start();
    honest_clients_are_served(&daemon, "before the pack");
    run_all(&daemon);
    let (memory, open) = at_rest(&daemon);
    honest_clients_are_served(&daemon, "after the pack");
    run_all(&daemon);
    let (memory_after, open_after) = at_rest(&daemon);
    honest_clients_are_served(&daemon, "after the second round");
    let kept = metric(&daemon, "relay_allocations", "");
    eprintln!(
        "memory {memory} KiB, then {memory_after} KiB; descriptors {open}, then {open_after}; {kept} allocations"
    );
    // UDP clients that go without a word leave allocations that only time ends: as many in each round.
    let grown = memory_after.saturating_sub(memory);
    assert!(grown <= SECOND_ROUND_KIB, "the second round added {grown} KiB");
    let log = daemon.log();
    // The only addresses are its own, said once for the operator at the start.
    let said = log.lines().filter(|line| !line.starts_with("listening "));
    for line in said {
        let found = PERSONAL.iter().find(|word| line.contains(**word));
        assert!(found.is_none(), "{found:?} in the log: {line}");
    }
}
