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

/// Exit code of a run whose generator was held up.
const INVALID: Option<i32> = Some(5);

/// Runs `loadgen` and returns its exit code, its JSON and its table. Loads are small and what is asserted holds on a busy
/// machine too, where a run may call itself invalid; so tests run beside each other and each is made once.
fn run(line: &str) -> (Option<i32>, Value, String) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_loadgen")).args(line.split_whitespace()).args(["--json", "-", "-q"]).output();
    let output = output.unwrap();
    let table = String::from_utf8(output.stderr).unwrap();
    let json = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {table}"));
    (output.status.code(), json, table)
}

fn assert_everybody_heard_himself(code: Option<i32>, json: &Value, table: &str) {
    assert_eq!(json["outcomes"]["success"], 1.0, "{table}");
    assert!(json["outcomes"]["calls_up"].as_u64().unwrap() >= 20, "{table}");
    assert_eq!(json["outcomes"]["allocated"], json["outcomes"]["freed"], "{table}");
    let [received, lost] = ["received", "lost"].map(|key| json["media"][key].as_u64().unwrap());
    assert!(received > 500, "{table}");
    // A machine that stands still overflows buffers; it is invalid then, and nothing else may lose a packet.
    assert!(lost <= if code == INVALID { received / 50 } else { 0 }, "{table}");
    assert_eq!(json["violations"], serde_json::json!({}), "{table}");
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
    assert_everybody_heard_himself(code, &json, &table);
    assert!(json["host"]["server_cpu_secs"].as_f64().is_some() && json["target"]["url"] == turn, "{table}");
}

#[test]
fn coturn_is_measured_over_tcp() {
    let coturn = Coturn::start();
    let line = format!(
        "run --turn turn:{}?transport=tcp --user u --password p --calls/s 15 --hold fixed:700ms --for 3s --warmup 500ms --drain 2s",
        coturn.address
    );
    let (code, json, table) = run(&line);
    assert!(matches!(code, Some(0 | 5 | 8)), "{table}");
    assert_everybody_heard_himself(code, &json, &table);
    assert_eq!(json["outcomes"]["turn_retransmissions"], 0);
}

#[test]
fn light_callers_talk_over_tcp() {
    let (code, json, table) =
        run("run --transport tcp --calls/s 10 --hold fixed:700ms --for 3s --warmup 500ms --drain 2s");
    assert!(matches!(code, Some(0 | 5 | 8)), "{table}");
    assert!(json["outcomes"]["calls_up"].as_u64().unwrap() >= 10, "{table}");
    assert_eq!(
        (&json["outcomes"]["success"], &json["violations"]),
        (&Value::from(1.0), &serde_json::json!({})),
        "{table}"
    );
}

#[test]
fn an_impaired_network_shows_as_what_it_is() {
    let (_, json, table) = run("run turn-only --calls/s 15 --hold fixed:2s --for 4s --warmup 500ms --drain 3s \
                                --impair delay=40ms,jitter=5ms,loss=4%,burst=3 --slo success>=0.5");
    let media = &json["media"];
    let loss = media["lost"].as_f64().unwrap() / media["expected"].as_f64().unwrap();
    assert!((0.02..0.07).contains(&loss), "{table}");
    let delay = media["one_way_delay"]["p50"].as_f64().unwrap();
    assert!((40.0..80.0).contains(&delay), "{table}");
    assert!(media["mos_cqe_mean"].as_f64().unwrap() < 4.2, "{table}");
    assert!(json["outcomes"]["turn_retransmissions"].as_u64().unwrap() > 0, "{table}");
    assert_eq!(json["violations"], serde_json::json!({}));
}

/// Sends `signal` to the server we started.
fn signal(server: &Coturn, signal: &str) {
    assert!(Command::new("kill").args([signal, &server.child.id().to_string()]).status().unwrap().success());
}

#[test]
fn coturn_frozen_for_two_seconds_shows_the_latency_of_theory() {
    const MEASURED: f64 = 10.0;
    let coturn = Coturn::start();
    let line = format!(
        "run --turn turn:{} --user u --password p --media none --calls/s 100 --arrivals constant --hold fixed:100ms \
         --for 10s --warmup 1s --drain 3s",
        coturn.address
    );
    let freeze_and_measure = || {
        std::thread::scope(|scope| {
            let freezing = scope.spawn(|| {
                std::thread::sleep(Duration::from_secs(4));
                let start = std::time::Instant::now();
                signal(&coturn, "-STOP");
                std::thread::sleep(Duration::from_secs(2));
                signal(&coturn, "-CONT");
                start.elapsed().as_secs_f64()
            });
            let measured = run(&line);
            (freezing.join().unwrap(), measured)
        })
    };
    // As in frozen.rs: only a machine that itself stood still, and says so, is given a second chance.
    for last in [false, true] {
        let (frozen, (code, json, table)) = freeze_and_measure();
        // Who starts t seconds before the thaw waits t; one in a hundred of all who start in the window waits longer than this.
        let theory = (frozen - MEASURED / 100.0) * 1e3;
        let p99 = json["phases"]["setup"]["corrected"]["p99"].as_f64().unwrap();
        eprintln!("frozen {frozen:.2} s: p99 {p99:.0} ms, theory {theory:.0} ms\n{table}");
        if (p99 / theory - 1.0).abs() < 0.1 && json["outcomes"]["success"] == 1.0 {
            return;
        }
        assert!(!last && code == INVALID, "p99 {p99} ms, theory {theory} ms\n{table}");
    }
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
    assert_everybody_heard_himself(code, &json, &table);
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
