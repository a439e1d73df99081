//! Callers who meet adversity on purpose, against the real server: UDP that is blocked, and connections that are all cut.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

const SECRET: &str = "a-secret-of-thirty-two-bytes-or-more";

/// Runs `loadgen`; its JSON and its table.
fn run(line: &str) -> (Value, String) {
    let line = format!("run {line} --calls/s 10 --for 3s --warmup 500ms --json - -q");
    let output = Command::new(env!("CARGO_BIN_EXE_loadgen")).args(line.split_whitespace()).output().unwrap();
    let table = String::from_utf8(output.stderr).unwrap();
    let json = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {table}"));
    (json, table)
}

fn number(json: &Value, group: &str, key: &str) -> u64 {
    json[group][key].as_u64().unwrap_or_else(|| panic!("{group}.{key} in {json}"))
}

/// Everybody talked, and over what they reached the server.
fn allocated_over(json: &Value, table: &str) -> Value {
    assert_eq!((&json["outcomes"]["success"], &json["violations"]), (&json!(1.0), &json!({})), "{table}");
    assert!(number(json, "outcomes", "calls_up") >= 15, "{table}");
    assert_eq!(number(json, "outcomes", "allocated"), number(json, "outcomes", "freed"), "{table}");
    json["outcomes"]["allocated_over"].clone()
}

#[test]
fn behind_a_firewall_without_udp_callers_fall_back_to_tcp_and_it_costs_them_two_seconds() {
    let (json, table) = run("--transport fallback --impair udp-blocked --hold fixed:500ms --drain 5s");
    let allocated = number(&json, "outcomes", "allocated");
    assert_eq!(allocated_over(&json, &table), json!({"udp": 0, "tcp": allocated, "tls": 0}), "{table}");
    let p50 = json["phases"]["allocate"]["corrected"]["p50"].as_f64().unwrap();
    assert!((2_000.0..4_000.0).contains(&p50), "{table}");
    assert!(table.contains("UDP first, then TCP"), "{table}");
}

#[test]
fn without_signalling_they_do_too_and_where_udp_works_nobody_does() {
    let (json, table) = run("turn-only --transport fallback --impair udp-blocked --hold fixed:500ms --drain 5s");
    let allocated = number(&json, "outcomes", "allocated");
    assert_eq!(allocated_over(&json, &table), json!({"udp": 0, "tcp": allocated, "tls": 0}), "{table}");
    let (json, table) = run("turn-only --transport fallback --hold fixed:500ms --drain 3s");
    let allocated = number(&json, "outcomes", "allocated");
    assert_eq!(allocated_over(&json, &table), json!({"udp": allocated, "tcp": 0, "tls": 0}), "{table}");
}

/// A relay in this process that listens over UDP and TLS alone; its signalling address.
fn relay_without_tcp(folder: &str) -> (relay::server::Running, String) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(folder);
    fs::create_dir_all(&folder).unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["relay.example".to_owned()]).unwrap();
    fs::write(folder.join("certificate.pem"), made.cert.pem()).unwrap();
    fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    let configuration = format!(
        r#"
[listen]
udp = ["127.0.0.1:0"]
tls = ["127.0.0.1:0"]
signalling = "127.0.0.1:0"
[tls]
certificate = "certificate.pem"
private_key = "key.pem"
[relay]
realm = "r"
addresses = ["127.0.0.1"]
[auth]
issuer = "i"
audience = "a"
tokens = [{{ kid = "k", alg = "HS256", secret = "{SECRET}" }}]
[access]
allow_peers = ["127.0.0.0/8"]
[limits]
exempt = ["127.0.0.0/8"]
[matching]
topics = ["a", "b", "c", "d", "e"]
"#
    );
    let settings = relay::config::parse(&configuration, &folder).unwrap_or_else(|problems| panic!("{problems}"));
    let running = relay::server::start(&settings).unwrap();
    let listening = running.addresses().to_string();
    let signalling = listening.lines().find_map(|line| line.strip_prefix("listening signalling http://")).unwrap();
    (running, signalling.to_owned())
}

#[test]
fn a_server_that_offers_only_tls_beside_udp_is_reached_over_tls() {
    let (running, signalling) = relay_without_tcp("fallback");
    let (json, table) = run(&format!(
        "--target ws://{signalling} --token-kid k --token-secret {SECRET} --issuer i --audience a \
         --transport fallback --impair udp-blocked --hold fixed:500ms --drain 5s"
    ));
    running.stop();
    let allocated = number(&json, "outcomes", "allocated");
    assert_eq!(allocated_over(&json, &table), json!({"udp": 0, "tcp": 0, "tls": allocated}), "{table}");
}

const STORM: &str =
    "reconnect-storm --hold fixed:2s --drain 4s --set faults.sever_at=2s --set faults.return_within=500ms";

#[test]
fn a_storm_breaks_connections_and_no_call() {
    let (json, table) = run(&format!("{STORM} --depth light"));
    let (severed, resumed) = (number(&json, "storm", "severed"), number(&json, "storm", "resumed"));
    assert!(severed >= 15, "{table}");
    // Who had not been greeted yet comes anew.
    assert!(resumed + 3 >= severed && number(&json, "storm", "back") == severed, "{table}");
    assert_eq!((&json["outcomes"]["success"], &json["violations"]), (&json!(1.0), &json!({})), "{table}");
    assert_eq!(number(&json, "media", "lost"), 0, "the media path was not cut: {table}");
}

#[test]
fn a_storm_of_callers_who_come_anew_leaves_them_without_their_sessions() {
    let (json, table) = run(&format!("{STORM} --depth signalling --set faults.return_for=token"));
    let severed = number(&json, "storm", "severed");
    assert!(severed >= 15 && number(&json, "storm", "back") == severed, "{table}");
    assert_eq!(number(&json, "storm", "resumed"), 0, "{table}");
    assert_eq!(json["violations"], json!({}), "{table}");
}

/// From the first connection on: when everybody is told to come back, and for how long nobody is let in then.
const TOLD_AFTER: Duration = Duration::from_millis(2_500);
const CLOSED_FOR: Duration = Duration::from_secs(1);
/// A close frame that says 1012 (RFC 6455 §5.5.1).
const RESTART: [u8; 4] = [0x88, 0x02, 0x03, 0xF4];

/// A server that makes room for another, as its clients see it: everybody is told so, nobody is let in, then their sessions are there.
/// Ends with the test's process.
fn moving(server: &str) -> SocketAddr {
    let (server, front) = (server.trim().to_owned(), TcpListener::bind("127.0.0.1:0").unwrap());
    let address = front.local_addr().unwrap();
    thread::spawn(move || {
        let mut told = None;
        for client in front.incoming().flatten() {
            let told = *told.get_or_insert_with(|| Instant::now() + TOLD_AFTER);
            if (told..told + CLOSED_FOR).contains(&Instant::now()) {
                continue;
            }
            let upstream = TcpStream::connect(&server).unwrap();
            let (mut up, mut from) = (upstream.try_clone().unwrap(), client.try_clone().unwrap());
            thread::spawn(move || std::io::copy(&mut from, &mut up).map(|_| up.shutdown(Shutdown::Write)));
            let told = Some(told).filter(|told| *told > Instant::now());
            thread::spawn(move || downstream(upstream, client, told));
        }
    });
    address
}

/// Whole frames, so that ours comes between two of them.
fn downstream(mut upstream: TcpStream, mut client: TcpStream, told: Option<Instant>) {
    let (mut waits, mut chunk, mut upgraded) = (Vec::new(), [0; 4096], false);
    upstream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    loop {
        match upstream.read(&mut chunk) {
            Ok(0) => break,
            Ok(length) => waits.extend_from_slice(&chunk[..length]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
        while let Some(length) = if upgraded { frame(&waits) } else { head(&waits) } {
            upgraded = true;
            let whole: Vec<u8> = waits.drain(..length).collect();
            let _ = client.write_all(&whole);
        }
        if told.is_some_and(|told| told <= Instant::now()) {
            let _ = client.write_all(&RESTART);
            let _ = upstream.shutdown(Shutdown::Both);
            return;
        }
    }
    let _ = client.shutdown(Shutdown::Write);
}

fn head(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|end| end == b"\r\n\r\n").map(|at| at + 4)
}

fn frame(bytes: &[u8]) -> Option<usize> {
    let length = match bytes.get(1)? {
        126 => 4 + usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?])),
        127 => panic!("no frame is that long"),
        short => 2 + usize::from(*short),
    };
    (bytes.len() >= length).then_some(length)
}

#[test]
fn whoever_is_asked_to_come_back_is_back_in_the_session_they_had_however_long_nobody_listens() {
    let (running, signalling) = relay_without_tcp("moving");
    let front = moving(&signalling);
    let (json, table) = run(&format!(
        "--target ws://{front} --token-kid k --token-secret {SECRET} --issuer i --audience a --hold fixed:2s --drain 6s"
    ));
    running.stop();
    // Newcomers are refused meanwhile, and calls in set-up are cut: this server did not wait for them.
    assert_eq!(json["violations"], json!({}), "{table}");
    let (asked, resumed) = (number(&json, "storm", "severed"), number(&json, "storm", "resumed"));
    // On a machine so busy that the run calls itself worthless, somebody's call may fail by itself while they are away: they need not come back.
    let missing = if json["verdict"]["word"] == "INVALID (generator)" { asked / 10 } else { 0 };
    assert!(asked >= 10 && resumed + missing >= asked, "{table}");
    assert!(table.contains("asked to by the server"), "{table}");
}

#[test]
fn signalling_and_turn_of_a_relay_are_measured_through_its_tls_port() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("wss");
    let (running, _) = relay_without_tcp("wss");
    let listening = running.addresses().to_string();
    let tls = listening.lines().find_map(|line| line.strip_prefix("listening turn tls ")).unwrap().trim().to_owned();
    let aim = format!(
        "--target wss://{tls} --token-kid k --token-secret {SECRET} --issuer i --audience a --transport tls \
         --tls-ca {} --tls-name relay.example --hold fixed:500ms --drain 5s",
        folder.join("certificate.pem").display()
    );
    let (json, table) = run(&aim);
    running.stop();
    let allocated = number(&json, "outcomes", "allocated");
    assert_eq!(allocated_over(&json, &table), json!({"udp": 0, "tcp": 0, "tls": allocated}), "{table}");
}
