//! A relay that lies about media is caught: a proxy between the callers and a real relay hands voice to the wrong caller,
//! or changes a byte of it. Allocations and channels pass untouched, so that nothing but the media tells.
#![allow(clippy::unwrap_used)]

use std::{
    collections::HashMap,
    net::{SocketAddr, UdpSocket},
    path::Path,
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use serde_json::Value;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Lie {
    None,
    /// Some voice goes to another caller.
    Swap,
    /// A byte of some voice changes.
    Change,
}

/// One voice packet in so many is lied about.
const EVERY: u64 = 10;
const CONFIGURATION: &str = r#"
[listen]
udp = ["127.0.0.1:0"]
[relay]
realm = "r"
addresses = ["127.0.0.1"]
[auth]
users = { u = "a-password-of-some-length" }
[access]
allow_peers = ["127.0.0.0/8"]
user_allocations = 1000
[limits]
exempt = ["127.0.0.0/8"]
"#;

/// Ends with the test's process.
fn proxy(relay: SocketAddr, lie: Lie) -> SocketAddr {
    let front = Arc::new(UdpSocket::bind("127.0.0.1:0").unwrap());
    let address = front.local_addr().unwrap();
    thread::spawn(move || {
        let callers: Arc<Mutex<Vec<SocketAddr>>> = Arc::default();
        let mut upstreams: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
        let mut buffer = [0; 2048];
        while let Ok((length, caller)) = front.recv_from(&mut buffer) {
            let upstream = upstreams.entry(caller).or_insert_with(|| {
                callers.lock().unwrap().push(caller);
                let upstream = Arc::new(UdpSocket::bind("127.0.0.1:0").unwrap());
                upstream.connect(relay).unwrap();
                let (front, upstream_too, callers) = (front.clone(), upstream.clone(), callers.clone());
                thread::spawn(move || downstream(&upstream_too, &front, caller, &callers, lie));
                upstream
            });
            let _ = upstream.send(&buffer[..length]);
        }
    });
    address
}

fn downstream(upstream: &UdpSocket, front: &UdpSocket, caller: SocketAddr, callers: &Mutex<Vec<SocketAddr>>, lie: Lie) {
    static VOICE: AtomicU64 = AtomicU64::new(0);
    let mut buffer = [0; 2048];
    while let Ok(length) = upstream.recv(&mut buffer) {
        let mut to = caller;
        let voice = (0x40..0x80).contains(&buffer[0]);
        if voice && VOICE.fetch_add(1, Ordering::Relaxed).is_multiple_of(EVERY) {
            match lie {
                Lie::None => {}
                Lie::Swap => {
                    let callers = callers.lock().unwrap();
                    let other = callers.iter().rev().find(|other| **other != caller);
                    to = other.copied().unwrap_or(caller);
                }
                Lie::Change => buffer[100] ^= 1,
            }
        }
        let _ = front.send_to(&buffer[..length], to);
    }
}

fn run(lie: Lie) -> (Option<i32>, Value, String) {
    let settings = relay::config::parse(CONFIGURATION, Path::new(".")).unwrap();
    let running = relay::server::start(&settings).unwrap();
    let listening = running.addresses().to_string();
    let relay = listening.lines().find_map(|line| line.strip_prefix("listening turn udp ")).unwrap().trim();
    let front = proxy(relay.parse().unwrap(), lie);
    let line = format!(
        "run --turn turn:{front} --user u --password a-password-of-some-length --calls/s 15 --hold fixed:700ms --for 3s \
         --warmup 500ms --drain 2s --json - -q"
    );
    let output = Command::new(env!("CARGO_BIN_EXE_loadgen")).args(line.split_whitespace()).output().unwrap();
    running.stop();
    let table = String::from_utf8(output.stderr).unwrap();
    let json = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {table}"));
    (output.status.code(), json, table)
}

#[test]
fn an_honest_proxy_is_no_violation() {
    let (code, json, table) = run(Lie::None);
    assert_eq!(json["violations"], serde_json::json!({}), "{table}");
    assert!(json["media"]["received"].as_u64().unwrap() > 500, "{table}");
    assert_ne!(code, Some(7), "{table}");
}

#[test]
fn voice_handed_to_another_caller_is_cross_talk() {
    let (code, json, table) = run(Lie::Swap);
    assert_eq!(code, Some(7), "{table}");
    assert!(json["violations"].to_string().contains("another call"), "{table}");
}

#[test]
fn a_changed_byte_is_corruption() {
    let (code, json, table) = run(Lie::Change);
    assert_eq!(code, Some(7), "{table}");
    assert!(json["violations"].to_string().contains("changed"), "{table}");
}
