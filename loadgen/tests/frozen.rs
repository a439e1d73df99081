//! Coordinated omission, against the real server: it is stopped for two seconds (SIGSTOP) in the middle of a run, and the
//! latencies from the intended starts must show what theory says such a stop does to callers who keep coming.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use loadgen::{scenario::Scenario, time::Nanos};
use serde_json::Value;
use toml::Value as Toml;

const FOR: &str = "10s";
const WARMUP: &str = "1s";
/// From the first arrival to the stop, and how long it lasts.
const BEFORE: f64 = 3.0;
const STOP: Duration = Duration::from_secs(2);
/// The server's share of the processor would show in the latencies if callers were many.
const CALLS_PER_SECOND: f64 = 20.0;

fn unix(at: SystemTime) -> f64 {
    at.duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

fn wait_until(seconds: f64) {
    thread::sleep(Duration::from_secs_f64((seconds - unix(SystemTime::now())).max(0.0)));
}

fn signal(pid: &str, signal: &str) -> f64 {
    assert!(Command::new("kill").args([signal, pid]).status().unwrap().success());
    unix(SystemTime::now())
}

/// The relay of its own that `parent` started.
fn relay(parent: &Child) -> String {
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", parent.id())).unwrap();
    children.split_whitespace().next().expect("a relay of its own").to_owned()
}

/// One run whose server stands still; its JSON and when the stop began and ended, seconds of the schedule.
fn run_with_a_stop() -> (Value, f64, f64) {
    let start = (unix(SystemTime::now()) + 1.5).ceil();
    let child = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args("run signalling --json - -q --hold exp:500ms --drain 2s --slo success>=0.1".split(' '))
        .args(["--calls/s", &CALLS_PER_SECOND.to_string(), "--warmup", WARMUP, "--for", FOR])
        .args(["--start-at", &start.to_string()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until(start + BEFORE);
    let relay = relay(&child);
    let stopped = signal(&relay, "-STOP");
    wait_until(stopped + STOP.as_secs_f64());
    let went_on = signal(&relay, "-CONT");
    let output = child.wait_with_output().unwrap();
    let json = serde_json::from_slice(&output.stdout).unwrap();
    (json, stopped - start, went_on - start)
}

/// The 99th percentile if a caller who comes during the stop waits for its end, and nobody else waits at all.
fn theory(stopped: f64, went_on: f64) -> f64 {
    let flags = [
        ("arrivals.calls_per_second", Toml::from(CALLS_PER_SECOND)),
        ("arrivals.warmup", Toml::from(WARMUP)),
        ("arrivals.for", Toml::from(FOR)),
        ("peer.depth", Toml::from("signalling")),
    ];
    let scenario = Scenario::resolve("", &flags).unwrap();
    let schedule = scenario.schedule().unwrap();
    let starts = schedule.starts().iter().filter(|start| start.since(Nanos::ZERO) >= scenario.warmup);
    let mut waits: Vec<f64> = starts
        .map(|start| start.since(Nanos::ZERO).as_secs_f64())
        .map(|at| if (stopped..went_on).contains(&at) { went_on - at } else { 0.0 })
        .collect();
    assert!(waits.len() as f64 > CALLS_PER_SECOND * scenario.measured.as_secs_f64());
    waits.sort_by(f64::total_cmp);
    waits[(waits.len() as f64 * 0.99).ceil() as usize - 1]
}

/// Latencies that count from the schedule are right however busy the machine is, as long as what it adds is small beside
/// the stop; so every run is judged, also one that calls itself invalid. Only a machine that itself stood still for a
/// fifth of a second, and says so, is given a second chance.
#[test]
fn a_frozen_server_shows_in_the_corrected_p99_as_theory_says() {
    for last in [false, true] {
        let (json, stopped, went_on) = run_with_a_stop();
        let expected = theory(stopped, went_on) * 1e3;
        let register = &json["phases"]["register"];
        let p99 = |of: &Value| of["p99"].as_f64().unwrap();
        let (corrected, uncorrected) = (p99(&register["corrected"]), p99(&register["uncorrected"]));
        let verdict = &json["verdict"];
        eprintln!(
            "frozen {:.3} s: p99 theory {expected:.0} ms, corrected {corrected:.0} ms, from send {uncorrected:.0} ms; {verdict}",
            went_on - stopped
        );
        if (corrected / expected - 1.0).abs() < 0.1 {
            return;
        }
        assert!(
            !last && verdict["word"] == "INVALID (generator)",
            "p99 {corrected} ms, theory {expected} ms; {verdict}"
        );
    }
}
