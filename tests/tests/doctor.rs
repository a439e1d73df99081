//! `relay doctor`: a server that is well is called well, and each of the misconfigurations that operators make is named.

use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::Value;

/// A folder with a configuration and what belongs to it.
struct Case {
    folder: PathBuf,
}

impl Drop for Case {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A server without any fault.
const WELL: &str = "[listen]\nudp = ['127.0.0.1:0']\ntcp = ['127.0.0.1:0']\n[relay]\nrealm = 'e2e.test'\n";
const WITH_TLS: &str = "[listen]\nudp = ['127.0.0.1:0']\ntls = ['127.0.0.1:0']\n[tls]\ncertificate = 'cert.pem'\nprivate_key = 'key.pem'\n";

impl Case {
    fn new(name: &str, config: &str) -> Case {
        let folder = std::env::temp_dir().join(format!("e2e-doctor-{}-{name}", std::process::id()));
        std::fs::create_dir_all(folder.join("bin")).unwrap();
        std::fs::create_dir_all(folder.join("proc/sys/net/core")).unwrap();
        std::fs::create_dir_all(folder.join("proc/self")).unwrap();
        let case = Case { folder };
        case.clock("yes");
        case.machine(4 << 20, 1 << 20);
        case.write("relay.toml", config, 0o640);
        case
    }

    fn write(&self, name: &str, text: &str, mode: u32) {
        let file = self.folder.join(name);
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    fn clock(&self, synchronised: &str) {
        self.write("bin/timedatectl", &format!("#!/bin/sh\necho {synchronised}\n"), 0o755);
    }

    fn machine(&self, rmem_max: u64, descriptors: u64) {
        self.write("proc/sys/net/core/rmem_max", &format!("{rmem_max}\n"), 0o644);
        self.write(
            "proc/self/limits",
            &format!("Max open files            1024                 {descriptors}               files\n"),
            0o644,
        );
    }

    /// A certificate and its key; with its issuer behind it, if so.
    fn certificate(&self, names: &[&str], year: i32, with_issuer: bool) {
        let mut authority = CertificateParams::new([]).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.distinguished_name.push(rcgen::DnType::CommonName, "an authority");
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        let mut server =
            CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        server.not_before = rcgen::date_time_ymd(2020, 1, 1);
        server.not_after = rcgen::date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().unwrap();
        let mut chain = server.signed_by(&key, &authority).unwrap().pem();
        if with_issuer {
            chain += &authority.pem();
        }
        self.write("cert.pem", &chain, 0o644);
        self.write("key.pem", &key.serialize_pem(), 0o600);
    }

    /// Exit status and findings.
    fn examine(&self) -> (i32, Vec<Finding>) {
        self.examine_with(&[])
    }

    fn examine_with(&self, more: &[&str]) -> (i32, Vec<Finding>) {
        let path = format!("{}:{}", self.folder.join("bin").display(), std::env::var("PATH").unwrap());
        let output = Command::new(e2e::daemon::binary())
            .arg("doctor")
            .args(more)
            .args(["--json", "--proc"])
            .arg(self.folder.join("proc"))
            .arg("--config")
            .arg(self.folder.join("relay.toml"))
            .env("PATH", path)
            .output()
            .unwrap();
        let said: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
            panic!("{error}: {}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
        });
        let text = |finding: &Value, key: &str| finding[key].as_str().unwrap().to_owned();
        let finding = |it: &Value| Finding {
            check: text(it, "check"),
            level: text(it, "level"),
            says: text(it, "says"),
            fix: text(it, "fix"),
        };
        (output.status.code().unwrap(), said["findings"].as_array().unwrap().iter().map(finding).collect())
    }

    /// This check finds this, with a way out; the exit status says whether it is bad.
    fn names(&self, check: &str, level: &str, words: &str) {
        let (code, findings) = self.examine();
        let named = findings.iter().find(|it| it.check == check && it.level == level && it.says.contains(words));
        let Some(named) = named else { panic!("no {level} {check} that says {words:?} among {findings:#?}") };
        assert!(!named.fix.is_empty(), "{named:?}");
        let expected = if check == "configuration" && level == "bad" {
            2
        } else {
            i32::from(findings.iter().any(|it| it.level == "bad"))
        };
        assert_eq!(code, expected);
        assert!(level != "bad" || code != 0);
    }
}

#[derive(Debug)]
struct Finding {
    check: String,
    level: String,
    says: String,
    fix: String,
}

#[test]
fn doctor_calls_a_well_server_well_and_calls_through_it() {
    let case = Case::new("well", &WITH_TLS.replace("tls = [", "tcp = ['127.0.0.1:0']\ntls = ["));
    case.certificate(&["relay.example"], 2090, true);
    let (code, findings) = case.examine();
    assert_eq!(code, 0, "{findings:#?}");
    let called = |transport: &str| {
        findings.iter().any(|it| it.check == "a call" && it.level == "good" && it.says.starts_with(transport))
    };
    assert!(called("UDP") && called("TCP") && called("TLS"), "{findings:#?}");
    for check in ["configuration", "secrets", "certificate", "clock", "socket buffers", "descriptor limit", "ports"] {
        assert!(findings.iter().any(|it| it.check == check && it.level == "good"), "{check}: {findings:#?}");
    }
}

#[test]
fn doctor_calls_in_a_real_browser() {
    let (code, findings) = Case::new("browser", WELL).examine_with(&["--browser"]);
    assert_eq!(code, 0, "{findings:#?}");
    assert!(findings.iter().any(|it| it.check == "a browser's call" && it.level == "good"), "{findings:#?}");
}

#[test]
fn doctor_calls_through_the_relay_at_work() {
    let daemon = e2e::Daemon::local().start();
    let config = format!(
        "[listen]\nudp = ['{}']\nadmin = '{}'\n[relay]\nrealm = 'e2e.test'\n[auth.users]\nalice = \"alice's long secret\"\n",
        daemon.turn(),
        daemon.admin()
    );
    let (code, findings) = Case::new("ours", &config).examine();
    assert_eq!(code, 0, "{findings:#?}");
    let good = |check: &str| findings.iter().any(|it| it.check == check && it.level == "good");
    assert!(good("ready") && good("a call"), "{findings:#?}");
    let from_outside = Command::new(e2e::daemon::binary())
        .args(["doctor", "--from-outside", &format!("turn:{}", daemon.turn()), "--user", "alice"])
        .env("RELAY_PASSWORD", "alice's long secret")
        .output()
        .unwrap();
    assert!(from_outside.status.success(), "{}", String::from_utf8_lossy(&from_outside.stdout));
    let wrong = Command::new(e2e::daemon::binary())
        .args(["doctor", "--from-outside", &format!("turn:{}", daemon.turn()), "--user", "alice"])
        .env("RELAY_PASSWORD", "not her long secret")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&wrong.stdout).into_owned();
    assert!(wrong.status.code() == Some(1) && said.contains("does not accept these credentials"), "{said}");
}

/// Two callers from another host, over plain WebSocket and inside TLS.
#[test]
fn two_callers_from_outside_are_matched_and_hear_each_other() {
    use e2e::{Claims, Daemon};
    let daemon =
        Daemon::local().set("listen = { tcp = ['127.0.0.1:0'], tls = ['127.0.0.1:0'] }").with_certificate().start();
    let token = |name: &str, with: Value| Claims::adult(name).with("with", with).token();
    let doctor = |url: &str, tokens: &str| {
        let output = Command::new(e2e::daemon::binary())
            .args(["doctor", "--from-outside", url])
            .env("RELAY_TOKENS", tokens)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.code(), said)
    };
    let plain = format!("ws://{}/v1/ws", daemon.signalling());
    for url in [plain.clone(), format!("wss://{}/v1/ws", daemon.tls())] {
        let pair = format!("{} {}", token("dora", "doctors-check".into()), token("emil", "doctors-check".into()));
        let (code, said) = doctor(&url, &pair);
        assert_eq!(code, Some(0), "{said}");
        for transport in ["turn:127.0.0.1", "transport=tcp", "turns:127.0.0.1"] {
            assert!(said.contains(transport), "{said}");
        }
        assert_eq!(said.matches("matched, and a packet relayed both ways").count(), 3, "{said}");
    }
    // Without an appointment they might meet somebody who waits.
    let (code, said) = doctor(&plain, &format!("{} {}", token("dora", Value::Null), token("emil", Value::Null)));
    assert!(code == Some(2) && said.contains("one appointment"), "{said}");
    let forged = Claims::adult("fred").with("with", "doctors-check".into()).sign(
        "dev",
        "HS256",
        b"not the secret, but as long as one",
    );
    let (code, said) = doctor(&plain, &format!("{forged} {}", token("emil", "doctors-check".into())));
    assert!(code == Some(1) && said.contains("E_TOKEN"), "{said}");
}

#[test]
fn doctor_fault_01_a_broken_configuration() {
    Case::new("01", &WELL.replace("realm", "raelm")).names("configuration", "bad", "did you mean \"realm\"?");
}

#[test]
fn doctor_fault_02_a_port_somebody_else_holds() {
    let held = UdpSocket::bind("127.0.0.1:0").unwrap();
    let at = held.local_addr().unwrap();
    Case::new("02", &WELL.replace("udp = ['127.0.0.1:0']", &format!("udp = ['{at}']"))).names(
        "ports",
        "bad",
        &format!("port {} of 127.0.0.1 is held by another program", at.port()),
    );
}

#[test]
fn doctor_fault_03_an_address_this_machine_has_not() {
    Case::new("03", &WELL.replace("udp = ['127.0.0.1:0']", "udp = ['192.0.2.77:3478']")).names(
        "ports",
        "bad",
        "this machine has no address 192.0.2.77",
    );
}

#[test]
fn doctor_fault_04_a_certificate_that_has_expired() {
    let case = Case::new("04", WITH_TLS);
    case.certificate(&["relay.example"], 2021, true);
    case.names("certificate", "bad", "has expired");
}

#[test]
fn doctor_fault_05_a_certificate_for_another_name() {
    let case = Case::new(
        "05",
        &WITH_TLS
            .replace("127.0.0.1:0']\n[tls]", "127.0.0.1:0']\n[signalling]\nturn_urls = ['turns:voice.example']\n[tls]"),
    );
    case.certificate(&["relay.example"], 2090, true);
    case.names("certificate", "bad", "the certificate names relay.example");
}

#[test]
fn doctor_fault_06_a_key_of_another_certificate() {
    let case = Case::new("06", WITH_TLS);
    case.certificate(&["relay.example"], 2090, true);
    case.write("key.pem", &KeyPair::generate().unwrap().serialize_pem(), 0o600);
    case.names("certificate", "bad", "is not the key of the first certificate");
}

#[test]
fn doctor_fault_07_a_chain_without_its_issuer() {
    let case = Case::new("07", WITH_TLS);
    case.certificate(&["relay.example"], 2090, false);
    case.names("certificate", "warning", "the chain is missing");
}

#[test]
fn doctor_fault_08_a_clock_nobody_keeps() {
    let case = Case::new("08", WELL);
    case.clock("no");
    case.names("clock", "bad", "nobody keeps this machine's clock right");
}

#[test]
fn doctor_fault_09_socket_buffers_too_small() {
    let case = Case::new("09", WELL);
    case.machine(212_992, 1 << 20);
    case.names("socket buffers", "warning", "net.core.rmem_max is 212992");
}

#[test]
fn doctor_fault_10_too_few_descriptors() {
    let case = Case::new("10", WELL);
    case.machine(4 << 20, 512);
    case.names("descriptor limit", "bad", "at most 512 descriptors");
}

#[test]
fn doctor_fault_11_a_server_behind_nat_that_does_not_know_its_public_address() {
    let case =
        Case::new("11", &WELL.replace("[relay]", "[relay]\naddresses = [{ bind = '127.0.0.1', public = '10.0.0.4' }]"));
    case.names("relay addresses", "bad", "this server is behind NAT");
}

#[test]
fn doctor_fault_12_clients_told_of_a_port_where_nobody_listens() {
    let told = WELL
        .replace("127.0.0.1:0", "127.0.0.1:34780")
        .replace("[relay]", "[signalling]\nturn_urls = ['turn:relay.example:3478']\n[relay]");
    Case::new("12", &told).names("turn urls", "bad", "nothing listens on that port");
}

#[test]
fn doctor_fault_13_secrets_that_everybody_can_read() {
    let case = Case::new("13", &format!("{WELL}[auth]\nrest_secrets = [{{ file = 'rest.secret' }}]\n"));
    case.write("rest.secret", "sixteen bytes or more\n", 0o644);
    case.names("secrets", "bad", "rest.secret");
}

#[test]
fn doctor_fault_14_an_address_for_relaying_this_machine_has_not() {
    let case = Case::new("14", &WELL.replace("[relay]", "[relay]\naddresses = ['192.0.2.77']"));
    case.names("relay addresses", "bad", "this machine has no address 192.0.2.77");
}
