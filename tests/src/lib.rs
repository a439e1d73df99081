//! What end-to-end tests are written with: real daemons, real browsers, a foreign hand for everything else.
//!
//! ```text
//! daemon     Daemon::local().set("calls.path = 'direct-first'").start()   one relay process, its addresses, its log
//! browser    Driver::start() → Browser, firefox::start() → Browser        a real browser, its page, what a person would do
//! aiortc     make_calls(&plan, &daemon.authority())                       calls between callers of another make, anywhere
//! network    Network::public() → namespaces, wires, NATs                     the internet in small; needs root
//! virtual_relay  serve(&net, address)                                     the TURN machine on webrtc-util's virtual network
//! certificate  write(&folder), connect(&daemon, …)                        a certificate of its own, a TLS client that believes it alone
//! across     talk(&mut voice, &mut other)                                 calls between people of several nodes
//! client     Caller::connect(&daemon, &token)                             pair.v1 by hand, frame by frame
//! token      Claims::adult("lea").sign(…)                                 what an app's backend would mint
//! guide      Guide::read(path), guide_run::follow(&guide, …)                 a guide run word by word on a machine of its own
//! http       get(address, "/")                                            one request, one answer
//! distance   Distance::of(one_way)                                      a long way to the daemon
//! webhook    Receiver::start() → its url, the reports that arrive         an app's backend, as far as reports go
//! meddler    Meddler::bind() → a server between browser and daemon that swaps fingerprints
//! websocket  Socket::connect(&daemon), frame(…)                          frames that no library would send
//! broker     Broker::start() → a nats-server that is killed, started again, or may keep what it hears
//! process    every child has an owner, and dies with it
//! raw        any bytes over UDP, TCP or TLS, and what comes back
//! memory     search(pid, marks) → what is found in a process's memory
//! trend      Trend::of(&points) → the slope of a series of measurements
//! vitals     a daemon's memory, processor time, descriptors and counters
//! ```
//!
//! Helpers panic: a test that cannot run has failed, and says what to do about it. Nothing here is skipped silently.

#![allow(clippy::unwrap_used)] // a test harness: a panic is how it reports

pub mod across;
pub mod aiortc;
pub mod broker;
pub mod browser;
pub mod certificate;
pub mod client;
pub mod daemon;
pub mod distance;
pub mod fuzzing;
pub mod guide;
pub mod guide_run;
pub mod http;
pub mod meddler;
pub mod memory;
pub mod network;
pub mod process;
pub mod raw;
pub mod token;
pub mod trend;
pub mod virtual_relay;
pub mod vitals;
pub mod voice;
pub mod webhook;
pub mod websocket;

pub use browser::{Browser, Driver};
pub use client::Caller;
pub use daemon::Daemon;
pub use token::Claims;

use std::time::{Duration, Instant};

/// How long anything that should happen "at once" may take on a machine that is busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Asks again and again until there is an answer; panics with `what` when [`PATIENCE`] runs out.
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain for: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Says something that is worth reading even if the test passes, whose output nobody sees then: `tests/run.sh` prints these files.
pub fn report(file: &str, text: &str) {
    eprintln!("{text}");
    std::fs::write(daemon::target_directory().join(file), text).unwrap();
}
