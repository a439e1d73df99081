//! TURN over TCP and TLS against the real server, with its certificate checked, and another's TURN client beside ours.
#![allow(clippy::unwrap_used)]

use std::{fs, path::Path, process::Command};

use serde_json::Value;

const NAME: &str = "relay.example";

/// A relay in this process, with a certificate of its own making for [`NAME`].
struct Relay {
    running: Option<relay::server::Running>,
    certificate: String,
    listening: String,
}

impl Relay {
    fn start(test: &str) -> Relay {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
        fs::create_dir_all(&folder).unwrap();
        let made = rcgen::generate_simple_self_signed(vec![NAME.to_owned()]).unwrap();
        let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
        fs::write(&certificate, made.cert.pem()).unwrap();
        fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let configuration = format!(
            r#"
[listen]
udp = ["127.0.0.1:0"]
tcp = ["127.0.0.1:0"]
tls = ["127.0.0.1:0"]
[tls]
certificate = "{}"
private_key = "{}"
[relay]
realm = "r"
addresses = ["127.0.0.1"]
[auth]
users = {{ u = "a-password-of-some-length" }}
[access]
allow_peers = ["127.0.0.0/8"]
user_allocations = 1000
[limits]
exempt = ["127.0.0.0/8"]
"#,
            certificate.display(),
            key.display()
        );
        let settings = relay::config::parse(&configuration, &folder).unwrap_or_else(|problems| panic!("{problems}"));
        let running = relay::server::start(&settings).unwrap();
        let listening = running.addresses().to_string();
        Relay { running: Some(running), certificate: certificate.display().to_string(), listening }
    }

    fn at(&self, transport: &str) -> &str {
        let prefix = format!("listening turn {transport} ");
        self.listening.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap().trim()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop();
        }
    }
}

fn run(arguments: &str) -> (Option<i32>, Value, String) {
    let line = format!(
        "run {arguments} --user u --password a-password-of-some-length --calls/s 15 --hold fixed:700ms --for 3s \
         --warmup 500ms --drain 2s --seed 5 --json - -q"
    );
    let output = Command::new(env!("CARGO_BIN_EXE_loadgen")).args(line.split_whitespace()).output().unwrap();
    let table = String::from_utf8(output.stderr).unwrap();
    let json = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {table}"));
    (output.status.code(), json, table)
}

fn number(json: &Value, group: &str, key: &str) -> u64 {
    json[group][key].as_u64().unwrap_or_else(|| panic!("{group}.{key} in {json}"))
}

fn assert_everybody_heard_himself(json: &Value, table: &str) {
    assert_eq!(json["outcomes"]["success"], 1.0, "{table}");
    assert_eq!(json["violations"], serde_json::json!({}), "{table}");
    assert_eq!(number(json, "outcomes", "allocated"), number(json, "outcomes", "freed"), "{table}");
    assert_eq!(number(json, "media", "lost"), 0, "{table}");
    assert!(number(json, "media", "received") > 500, "{table}");
}

#[test]
fn the_real_server_is_measured_over_tcp() {
    let relay = Relay::start("tcp");
    let (_, json, table) = run(&format!("--turn turn:{}?transport=tcp", relay.at("tcp")));
    assert_everybody_heard_himself(&json, &table);
}

#[test]
fn the_real_server_is_measured_over_tls_and_its_certificate_trusted_by_name() {
    let relay = Relay::start("tls");
    let trust = format!("--tls-ca {} --tls-name {NAME}", relay.certificate);
    let (_, json, table) = run(&format!("--turn turns:{} {trust}", relay.at("tls")));
    assert_everybody_heard_himself(&json, &table);
}

#[test]
fn a_certificate_of_another_name_is_not_trusted() {
    let relay = Relay::start("other-name");
    let trust = format!("--tls-ca {} --tls-name other.example", relay.certificate);
    let (_, json, table) = run(&format!("--turn turns:{} {trust} --set peer.setup_timeout=1s", relay.at("tls")));
    assert_eq!(json["outcomes"]["success"], 0.0, "{table}");
    assert_eq!(number(&json, "outcomes", "allocated"), 0, "{table}");
}

#[test]
fn ours_and_the_turn_crates_client_agree() {
    let relay = Relay::start("clients");
    let turn = format!("--turn turn:{}", relay.at("udp"));
    let (_, ours, our_table) = run(&turn);
    let (_, theirs, their_table) = run(&format!("{turn} --turn-client webrtc-rs"));
    assert_everybody_heard_himself(&ours, &our_table);
    assert_everybody_heard_himself(&theirs, &their_table);
    assert!(their_table.contains("turn crate"), "{their_table}");
    for key in ["calls_up", "allocated", "freed"] {
        assert_eq!(number(&ours, "outcomes", key), number(&theirs, "outcomes", key), "{key}: {our_table}{their_table}");
    }
    assert_eq!(number(&ours, "media", "streams"), number(&theirs, "media", "streams"), "{our_table}{their_table}");
}
