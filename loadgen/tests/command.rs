//! The command itself: exit codes, a relay of its own that leaves with it, Ctrl-C.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    process::{Command, Output, Stdio},
    thread,
    time::Duration,
};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn loadgen(line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    command.args(line.split_whitespace());
    command
}

fn run(line: &str) -> Output {
    loadgen(line).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Relays of our own that are children of `parent`, or of nobody any more.
fn relays(parent: u32) -> usize {
    let children = fs::read_dir("/proc").unwrap().flatten().filter(|entry| {
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let command = fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
        let owner = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse().ok());
        command.contains("serve-relay-for-a-run") && owner == Some(parent)
    });
    children.count()
}

#[test]
fn a_short_run_with_a_relay_of_its_own_sets_up_calls_and_leaves_nothing_behind() {
    let output = run("run --calls/s 10 --for 3s --warmup 500ms --drain 2s --hold fixed:500ms --json -");
    let (json, table) = (text(&output.stdout), text(&output.stderr));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}: {table}"));
    // A busy machine makes a run invalid; wrong it must never be.
    assert!(matches!(output.status.code(), Some(0 | 5)), "{table}");
    assert!(json["outcomes"]["calls_up"].as_u64().unwrap() >= 10, "{table}");
    assert_eq!(json["violations"], serde_json::json!({}), "{table}");
    assert_eq!(json["host"]["server_allocations_left"], 0, "{table}");
    assert!(json["host"]["server_cpu_secs"].as_f64().unwrap() > 0.0, "{table}");
    assert!(table.contains("light: no DTLS"), "{table}");
    assert!(table.contains("matching latency") && table.contains("calls per second"), "{table}");
}

#[test]
fn full_callers_secure_their_calls_and_hear_each_other_beside_light_ones() {
    let output = run(
        "run --calls/s 10 --for 4s --warmup 500ms --drain 3s --hold fixed:1s --set peer.depths={light=1,full=3} --json -",
    );
    let (json, table) = (text(&output.stdout), text(&output.stderr));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}: {table}"));
    assert!(matches!(output.status.code(), Some(0 | 5)), "{table}");
    let counted = |value: &serde_json::Value| value.as_u64().unwrap_or_else(|| panic!("{value}: {table}"));
    let (up, secured) = (counted(&json["outcomes"]["calls_up"]), counted(&json["phases"]["secure"]["corrected"]["n"]));
    // Both callers of a call, but not those of all calls.
    assert!(up >= 10 && secured >= 10 && secured < 2 * up, "{up} calls up, {secured} callers secured: {table}");
    let media = &json["media"];
    // Three quarters of the callers talk encrypted for a second each, or loss would show.
    let (expected, received) = (counted(&media["expected"]), counted(&media["received"]));
    // A run that calls itself INVALID was on a machine where half of them may be lost.
    let arrive = if output.status.code() == Some(0) { 95 } else { 50 };
    assert!(expected > 500 && received * 100 >= expected * arrive, "{received} of {expected} packets: {table}");
    assert_eq!(
        (&json["violations"], &json["host"]["server_allocations_left"]),
        (&serde_json::json!({}), &0.into()),
        "{table}"
    );
}

#[test]
fn ctrl_c_prints_what_was_measured_so_far() {
    let child = loadgen("run --calls/s 10 --for 60s --warmup 500ms --hold fixed:500ms -q");
    let child = { child }.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = child.id();
    thread::sleep(Duration::from_secs(4));
    assert_eq!(relays(pid), 1);
    Command::new("kill").args(["-INT", &pid.to_string()]).status().unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert!(text(&output.stdout).contains("INTERRUPTED") && text(&output.stdout).contains("calls set up"));
    assert_eq!(relays(pid), 0);
}

#[test]
fn a_relay_of_its_own_does_not_outlive_a_killed_run() {
    let mut child =
        loadgen("run --calls/s 5 --for 60s -q").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    thread::sleep(Duration::from_secs(2));
    let relay = fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id())).unwrap();
    let relay = relay.trim().to_owned();
    child.kill().unwrap();
    child.wait().unwrap();
    let gone = (0..50).any(|_| {
        thread::sleep(Duration::from_millis(100));
        !fs::read_to_string(format!("/proc/{relay}/cmdline")).is_ok_and(|line| line.contains("serve-relay"))
    });
    assert!(gone, "relay {relay} lives on");
}

#[test]
fn an_unreachable_target_says_so_before_any_load() {
    let output = run(&format!("run --target ws://127.0.0.1:1/v1/ws --token-secret {SECRET}"));
    assert_eq!(output.status.code(), Some(6));
    assert!(text(&output.stderr).contains("is the relay running"), "{}", text(&output.stderr));
}

#[test]
fn mistakes_in_the_command_are_usage() {
    for line in ["run --hold 3s", "run --media video", "run no-such-file.toml", "run --target ws://127.0.0.1:1", "walk"]
    {
        assert_eq!(run(line).status.code(), Some(2), "{line}");
    }
}

#[test]
fn the_printed_configuration_is_a_scenario_again() {
    let printed = run("run --print-config --calls/s 7 --seed 9").stdout;
    let file = std::env::temp_dir().join(format!("loadgen-test-{}.toml", std::process::id()));
    fs::write(&file, &printed).unwrap();
    let again = run(&format!("run --print-config {}", file.display())).stdout;
    fs::remove_file(file).unwrap();
    assert_eq!(text(&again), text(&printed));
    assert!(text(&again).contains("calls_per_second = 7.0"));
}

#[test]
fn help_teaches_with_examples() {
    let help = text(&run("run --help").stdout);
    for word in ["Examples:", "--calls/s", "Drain rule", "Exit codes"] {
        assert!(help.contains(word), "{word}");
    }
    assert!(!help.contains("serve-relay"));
}
