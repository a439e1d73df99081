//! How many instructions the core takes: a gate against slowing down that noise cannot touch.
//!
//! `cargo bench -p benches --bench instructions` runs each workload below under callgrind and compares with the counts in
//! `benches/instructions.txt`: more than 2 % above is a failure. `-- --update` writes the counts of today instead. Counts belong
//! to a compiler: with another one than the file names, the numbers are shown and nothing fails.

#![allow(clippy::unwrap_used, clippy::print_stdout)] // a bench prints, and stops at the first surprise

mod world;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hint::black_box;
use std::process::{Command, ExitCode};

use relay::calls::Handle;
use relay::wire::{Message, Method, Request, TransactionId};
use world::{NOW, Scene, World, channel_data, five_tuple};

const STORED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/instructions.txt");
/// Counts may be so much higher than those stored.
const TOLERANCE: f64 = 0.02;
const ALLOCATIONS: usize = 200;
const PACKETS: usize = 10_000;

type Counts = BTreeMap<String, u64>;

/// Name, number of operations in it, and how to prepare and do it.
const WORKLOADS: [(&str, usize, fn()); 8] = [
    ("hairpin-channel", PACKETS, || forward(Scene::calls)),
    ("hairpin-indication", PACKETS, || forward(Scene::calls_by_indication)),
    ("hairpin-voice", PACKETS, || forward(Scene::unheard_voices)),
    ("hairpin-voice-heard", PACKETS, || forward(Scene::heard_voices)),
    ("client-to-peer", PACKETS, || forward(Scene::clients_of_a_peer)),
    ("peer-to-client", PACKETS, || forward(Scene::peer_of_clients)),
    ("allocate", ALLOCATIONS, allocate),
    ("parse-request", ALLOCATIONS, parse),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("--test") => ExitCode::SUCCESS, // `cargo test --benches` only wants to know that it starts
        Some("--work") => {
            WORKLOADS.iter().find(|(name, ..)| *name == arguments[1]).unwrap().2();
            ExitCode::SUCCESS
        }
        _ => gate(arguments.iter().any(|argument| argument == "--update")),
    }
}

fn forward(scene: fn(usize) -> Scene) {
    let mut scene = scene(ALLOCATIONS);
    scene.pass(2 * ALLOCATIONS);
    measured_part(&mut || scene.pass(PACKETS));
}

/// Both round trips of a caller with a call-bound credential.
fn allocate() {
    let mut world = World::new();
    let handles: Vec<_> = (0..=ALLOCATIONS).map(|n| Handle([n as u8; 12])).collect();
    handles.iter().for_each(|handle| world.shared.ledger.open(*handle).unwrap());
    world.caller(ALLOCATIONS, handles[ALLOCATIONS]);
    let mut clients: Vec<_> = (0..ALLOCATIONS).map(|n| world.prepare(n, handles[n])).collect();
    measured_part(&mut || clients.iter_mut().for_each(|client| world.come_in(client)));
}

fn parse() {
    let request = || Request::new(Method::Allocate, TransactionId([3; 12])).requested_transport(17).lifetime(600);
    let datagram = request().credentials("user", world::REALM, "obMatJos2gAAAthA").finish(None);
    measured_part(&mut || (0..ALLOCATIONS).for_each(|_| assert!(Message::parse(black_box(&datagram)).is_ok())));
    black_box((NOW, five_tuple(0), channel_data()));
}

/// What callgrind counts.
#[inline(never)]
fn measured_part(work: &mut dyn FnMut()) {
    work();
}

fn gate(update: bool) -> ExitCode {
    let compiler = output(Command::new("rustc").arg("--version"));
    let (stored_compiler, stored) = read(&std::fs::read_to_string(STORED).unwrap_or_default());
    let now: Counts =
        WORKLOADS.iter().map(|(name, operations, _)| ((*name).to_owned(), count(name, *operations))).collect();
    let slower = compare(&stored, &now);
    if update {
        std::fs::write(STORED, write(&compiler, &now)).unwrap();
        println!("written to {STORED}");
    } else if stored_compiler != compiler {
        println!(
            "note: counts of {stored_compiler}, and this is {compiler}: nothing compared; `-- --update` writes new ones"
        );
    } else if slower {
        println!("more than {} % above the stored counts; if that is meant, run with `-- --update`", TOLERANCE * 100.0);
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Instructions of one operation.
fn count(name: &str, operations: usize) -> u64 {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=*measured_part*"]);
    valgrind.arg(std::env::current_exe().unwrap()).args(["--work", name]);
    let said = valgrind.output().expect("valgrind is installed");
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    let collected = said.lines().find_map(|line| line.split_once("Collected : ")).expect(&said).1;
    collected.trim().parse::<u64>().expect(&said) / operations as u64
}

/// Prints a table; answers whether anything is slower than it may be.
fn compare(stored: &Counts, now: &Counts) -> bool {
    println!("{:<20} {:>12} {:>12} {:>8}", "instructions", "stored", "now", "ratio");
    let mut slower = false;
    for (name, count) in now {
        let before = stored.get(name).copied().unwrap_or_default();
        let ratio = *count as f64 / before as f64;
        println!("{name:<20} {before:>12} {count:>12} {ratio:>8.3}");
        slower |= ratio > 1.0 + TOLERANCE; // a new workload has no count: infinitely slower
    }
    slower
}

fn read(text: &str) -> (String, Counts) {
    let mut lines = text.lines();
    let compiler = lines.next().unwrap_or_default().to_owned();
    let counts =
        lines.filter_map(|line| line.split_once(' ')).filter_map(|(name, n)| Some((name.to_owned(), n.parse().ok()?)));
    (compiler, counts.collect())
}

fn write(compiler: &str, counts: &Counts) -> String {
    let mut text = format!("{compiler}\n");
    for (name, count) in counts {
        writeln!(text, "{name} {count}").unwrap();
    }
    text
}

fn output(command: &mut Command) -> String {
    let said = command.output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&said).trim().to_owned()
}
