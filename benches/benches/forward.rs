//! What the core's decision costs per packet: five-tuple, channel, permission, route, header. No socket, no kernel.
//!
//! `cargo bench -p benches --bench forward` prints the median over rounds for each number of allocations.

#![allow(clippy::unwrap_used, clippy::print_stdout)] // a bench prints, and stops at the first surprise

mod world;

use world::{PAYLOAD, Scene};

const ROUNDS: usize = 31;
const PACKETS: usize = 50_000;
const ALLOCATIONS: [usize; 6] = [2, 100, 1000, 8000, 10_000, 100_000];

fn main() {
    if std::env::args().any(|argument| argument == "--test") {
        return; // `cargo test --benches` only wants to know that it starts
    }
    println!("core only, {PAYLOAD} B payload, ns of processor time per packet, median of {ROUNDS} rounds of {PACKETS}");
    print_row("allocations", &ALLOCATIONS.map(|count| count.to_string()));
    for (name, scene) in [
        ("hairpin, ChannelData to ChannelData", Scene::calls as fn(usize) -> Scene),
        ("hairpin, Send to Data indication", Scene::calls_by_indication),
        ("client to peer outside, ChannelData", Scene::clients_of_a_peer),
        ("peer outside to client, ChannelData", Scene::peer_of_clients),
    ] {
        print_row(name, &ALLOCATIONS.map(|count| format!("{:.1}", median(&mut scene(count)))));
    }
}

fn print_row(name: &str, cells: &[String]) {
    let cells: String = cells.iter().map(|cell| format!("{cell:>9}")).collect();
    println!("{name:<38}{cells}");
}

fn median(scene: &mut Scene) -> f64 {
    let mut round = || {
        let start = processor_time();
        scene.pass(PACKETS);
        (processor_time() - start) as f64 / PACKETS as f64
    };
    round();
    let mut rounds: Vec<f64> = (0..ROUNDS).map(|_| round()).collect();
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
}

/// Nanoseconds this thread has been running, so that neighbours on a busy machine count for less.
#[allow(unsafe_code)] // one system call the standard library does not offer
fn processor_time() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a timespec of ours, which outlives the call.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(result, 0);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
