//! `benches/peers` keeps working: every column once, as short as it gets, with the relay and the bare forwarders. No number counts.

#![allow(clippy::unwrap_used)] // tests: a panic is how they report

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Columns and servers in two runs, so that a failure says which part of the program it is.
fn run(columns: &[&str]) -> Value {
    let file = std::env::temp_dir().join(format!("peers-{}-{}.json", columns[0], std::process::id()));
    let mut peers = Command::new(env!("CARGO_BIN_EXE_peers"));
    peers.args(["--quick", "--rounds", "1", "--json"]).arg(&file).arg("--relay-binary").arg(relay());
    columns.iter().for_each(|column| _ = peers.args(["--column", *column]));
    let output = peers.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let book = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    std::fs::remove_file(file).unwrap();
    book
}

/// The daemon of the same profile, built if it is not there.
fn relay() -> PathBuf {
    let relay = Path::new(env!("CARGO_BIN_EXE_peers")).with_file_name("relay");
    if !relay.exists() {
        let built = Command::new(env!("CARGO")).args(["build", "--quiet", "-p", "relay", "--bin", "relay"]).status();
        assert!(built.unwrap().success(), "cargo build -p relay");
    }
    relay
}

fn value(book: &Value, column: &str, server: &str, value: &str) -> f64 {
    let records = book["records"].as_array().unwrap();
    let record = records.iter().find(|record| record["column"] == column && record["server"] == server);
    let record = record.unwrap_or_else(|| panic!("no {server} in {column}"));
    record["values"][value].as_f64().unwrap_or_else(|| panic!("no {value} of {server} in {column}"))
}

#[test]
fn every_server_of_ours_carries_packets_in_every_column_about_packets() {
    let book = run(&["paced", "outside", "tcp", "tls", "many", "workers"]);
    // An unoptimised build on a busy machine loses some.
    let packets = |column, server| assert!(value(&book, column, server, "loss %") < 50.0, "{column} {server}");
    for server in ["bare-one", "bare-two", "relay", "relay-call"] {
        packets("paced", server);
    }
    for server in ["bare-two", "relay"] {
        packets("outside-paced", server);
    }
    packets("tcp-paced", "relay, TCP");
    packets("tls-paced", "relay, TLS");
    packets("many", "relay, 400 calls");
    packets("workers", "relay-call, 2 workers");
    assert!(value(&book, "paced", "relay", "ratio") > 0.0);
}

#[test]
fn allocations_are_made_held_freed_and_made_again() {
    let book = run(&["setup", "memory", "held", "cycles", "reuse"]);
    for server in ["relay", "relay-call"] {
        assert!(value(&book, "setup", server, "µs/allocation") > 0.0);
        assert!(value(&book, "memory", server, "kB with channel") > 0.0);
    }
    assert!((value(&book, "memory", "relay", "descriptors/allocation") - 1.0).abs() < 0.1, "a socket for each");
    assert!(value(&book, "memory", "relay-call", "descriptors/allocation") < 0.1, "no socket for a call-bound one");
    assert!(value(&book, "held", "relay-call", "allocations") >= 1000.0);
    let reuses = value(&book, "reuse", "relay", "cycles");
    assert!(reuses > 0.0);
}

#[test]
fn what_is_not_there_is_named_with_the_way_to_get_it() {
    let peers = |arguments: &[&str]| Command::new(env!("CARGO_BIN_EXE_peers")).args(arguments).output().unwrap();
    let missing = peers(&["--server", "turn-rs", "--turn-rs-binary", "/nonexistent"]);
    assert!(!missing.status.success());
    assert!(String::from_utf8_lossy(&missing.stderr).contains("--with-turn-rs"));
    let unknown = peers(&["--column", "speed"]);
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("paced, limit"));
}
