//! TURN without signalling, as the command line offers it: against Debian's coturn, against a relay of its own, and with a
//! known number of lines against Erlang's formula.
#![allow(clippy::unwrap_used)]

use std::{
    net::{SocketAddr, UdpSocket},
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::Value;

struct Coturn {
    child: Child,
    address: SocketAddr,
}

impl Coturn {
    fn start() -> Coturn {
        let address = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let child = Command::new("turnserver")
            .args(["-n", "--no-tls", "--no-dtls", "--no-cli", "--log-file", "stdout", "--lt-cred-mech"])
            .args(["--listening-ip", "127.0.0.1", "--listening-port", &address.port().to_string()])
            .args([
                "--relay-ip",
                "127.0.0.1",
                "--realm",
                "r",
                "--user",
                "u:p",
                "--allow-loopback-peers",
                "--pidfile",
                "",
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("turnserver, of Debian's package coturn, is needed");
        std::thread::sleep(Duration::from_millis(500));
        Coturn { child, address }
    }
}

impl Drop for Coturn {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs `loadgen` and returns its exit code, its JSON and its table.
fn run(line: &str) -> (Option<i32>, Value, String) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_loadgen")).args(line.split_whitespace()).args(["--json", "-", "-q"]).output();
    let output = output.unwrap();
    let table = String::from_utf8(output.stderr).unwrap();
    let json = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {table}"));
    (output.status.code(), json, table)
}

fn assert_everybody_heard_himself(json: &Value, table: &str) {
    assert_eq!(json["outcomes"]["success"], 1.0, "{table}");
    assert!(json["outcomes"]["calls_up"].as_u64().unwrap() >= 20, "{table}");
    assert_eq!(json["outcomes"]["allocated"], json["outcomes"]["freed"], "{table}");
    assert!(json["media"]["received"].as_u64().unwrap() > 500, "{table}");
    assert_eq!((&json["media"]["lost"], &json["violations"]), (&Value::from(0), &serde_json::json!({})), "{table}");
    assert!(table.contains("TURN only"), "{table}");
}

#[test]
fn coturn_is_measured_like_any_other_server() {
    let coturn = Coturn::start();
    let turn = format!("turn:{}", coturn.address);
    let pid = coturn.child.id();
    let line = format!(
        "run --turn {turn} --user u --password p --server-pid {pid} --calls/s 15 --hold fixed:700ms --for 3s --warmup 500ms --drain 2s"
    );
    let (code, json, table) = run(&line);
    // A busy machine makes a run invalid; wrong it must never be.
    assert!(matches!(code, Some(0 | 5 | 8)), "{table}");
    assert_everybody_heard_himself(&json, &table);
    assert!(json["host"]["server_cpu_secs"].as_f64().is_some() && json["target"]["url"] == turn, "{table}");
}

#[test]
fn a_wrong_password_at_coturn_fails_every_call_and_says_so() {
    let coturn = Coturn::start();
    let line = format!("run --turn {} --user u --password wrong --calls/s 10 --for 2s --drain 1s", coturn.address);
    let (code, json, table) = run(&line);
    assert!(matches!(code, Some(3 | 5)), "{table}");
    assert_eq!(json["outcomes"]["success"], 0.0);
    assert!(table.contains("allocate 401"), "{table}");
}

#[test]
fn a_relay_of_its_own_is_measured_without_signalling() {
    let (code, json, table) = run("run turn-only --calls/s 15 --hold fixed:700ms --for 3s --warmup 500ms --drain 2s");
    assert!(matches!(code, Some(0 | 5 | 8)), "{table}");
    assert_everybody_heard_himself(&json, &table);
    assert_eq!(json["host"]["server_allocations_left"], 0, "{table}");
}

#[test]
fn blocking_agrees_with_erlangs_formula() {
    // 10 erlangs on 5 lines: more than half must be blocked, and of 900 calls the share lies close to the formula's.
    let (_, json, table) =
        run("run turn-only --media none --calls/s 100 --hold exp:100ms --for 9s --warmup 1s --drain 1s \
                                --set peer.lines=5");
    let [measured, formula] = ["measured", "erlang_b"].map(|key| json["outcomes"]["blocking"][key].as_f64().unwrap());
    assert!((formula - 0.564).abs() < 0.05, "{formula}");
    assert!((measured - formula).abs() < 0.08, "{table}");
    assert!(json["outcomes"]["success"] == 1.0 && table.contains("Erlang B(5"), "{table}");
}
