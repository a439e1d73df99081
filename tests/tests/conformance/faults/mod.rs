//! Table 7: faults of the machine and of the network, F1–F12 as far as they concern TURN.
//!
//! Elsewhere: F2 (drain) and F8 (reload) with the operator's tests; F6 concerns matchmaking; F9 is in `streams.rs` beside this
//! suite (`sighup_reads_the_certificate_again_and_connections_that_exist_go_on`).

mod clock;
mod crash;
mod exhaustion;
mod memory;
mod network;

use super::{heard, peer, settings};
use e2e::Daemon;
use e2e::vitals::cpu_seconds;
use std::time::Duration;

/// Processor time the daemon may use in [`IDLE`] while something is broken: a loop that spins would use all of it, per thread.
const CALM: f64 = 0.3;
const IDLE: Duration = Duration::from_secs(1);

/// Nothing is asked of it, so it has nothing to do.
fn is_calm(daemon: &Daemon, while_what: &str) {
    let before = cpu_seconds(daemon);
    std::thread::sleep(IDLE);
    let used = cpu_seconds(daemon) - before;
    eprintln!("{used:.2} s of processor time in {IDLE:?} {while_what}");
    assert!(used < CALM, "{used} s of processor time in {IDLE:?} {while_what}");
}
