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

const FOR: Duration = Duration::from_secs(20);
const WARMUP: Duration = Duration::from_secs(2);
const STOP: Duration = Duration::from_secs(2);
const CALLS_PER_SECOND: f64 = 20.0;
/// Exit code of a run whose generator was held up by something else.
const INVALID: Option<i32> = Some(5);

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

/// One run whose server stands still; its exit code, its JSON and when the stop began and ended, seconds of the schedule.
fn run_with_a_stop() -> (Option<i32>, Value, f64, f64) {
    let start = (unix(SystemTime::now()) + 3.0).ceil();
    let child = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args([
            "run",
            "signalling",
            "--json",
            "-",
            "-q",
            "--hold",
            "exp:500ms",
            "--drain",
            "3s",
            "--slo",
            "success>=0.1",
        ])
        .args(["--calls/s", &CALLS_PER_SECOND.to_string(), "--warmup", "2s", "--for", "20s"])
        .args(["--start-at", &start.to_string()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until(start + 8.0);
    let relay = relay(&child);
    let stopped = signal(&relay, "-STOP");
    wait_until(stopped + STOP.as_secs_f64());
    let went_on = signal(&relay, "-CONT");
    let output = child.wait_with_output().unwrap();
    let json = serde_json::from_slice(&output.stdout).unwrap();
    (output.status.code(), json, stopped - start, went_on - start)
}

/// The 99th percentile if a caller who comes during the stop waits for its end, and nobody else waits at all.
fn theory(stopped: f64, went_on: f64) -> f64 {
    let flags = [
        ("arrivals.calls_per_second", Toml::from(CALLS_PER_SECOND)),
        ("arrivals.warmup", Toml::from("2s")),
        ("arrivals.for", Toml::from("20s")),
        ("peer.depth", Toml::from("signalling")),
    ];
    let scenario = Scenario::resolve("", &flags).unwrap();
    let schedule = scenario.schedule().unwrap();
    let starts = schedule.starts().iter().filter(|start| start.since(Nanos::ZERO) >= WARMUP);
    let mut waits: Vec<f64> = starts
        .map(|start| start.since(Nanos::ZERO).as_secs_f64())
        .map(|at| if (stopped..went_on).contains(&at) { went_on - at } else { 0.0 })
        .collect();
    assert!(waits.len() as f64 > CALLS_PER_SECOND * FOR.as_secs_f64());
    waits.sort_by(f64::total_cmp);
    waits[(waits.len() as f64 * 0.99).ceil() as usize - 1]
}

#[test]
fn a_frozen_server_shows_in_the_corrected_p99_as_theory_says() {
    for attempt in 1..=3 {
        let (code, json, stopped, went_on) = run_with_a_stop();
        let expected = theory(stopped, went_on) * 1e3;
        let register = &json["phases"]["register"];
        let p99 = |of: &Value| of["p99"].as_f64().unwrap();
        let (corrected, uncorrected) = (p99(&register["corrected"]), p99(&register["uncorrected"]));
        eprintln!(
            "frozen {:.3} s: p99 theory {expected:.0} ms, corrected {corrected:.0} ms, from send {uncorrected:.0} ms",
            went_on - stopped
        );
        if code == INVALID && attempt < 3 {
            eprintln!("attempt {attempt} was invalid: {}", json["verdict"]["reasons"]);
            continue;
        }
        assert!(
            (corrected / expected - 1.0).abs() < 0.1,
            "p99 {corrected} ms, theory {expected} ms; {}",
            json["verdict"]
        );
        return;
    }
}
