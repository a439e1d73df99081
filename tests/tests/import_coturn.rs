//! Ten configurations of the kinds people run coturn with: each is converted, looked over, started, and coturn's own client finds nothing
//! changed.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::process::Process;

use crate::uclient::nothing_lost;

const FIX: &str = "apt-get install coturn (tests/run.sh does it)";
const IP: &str = "127.0.0.1";
/// Everything in the ten files that must never be on a terminal or in the configuration.
const SECRETS: [&str; 9] = [
    "a-long-office-secret",
    "another-office-secret",
    "0xbc807ee29df3c9ffa736523fb2c4e8ee",
    "north-of-the-river-and-south",
    "the-secret-of-last-summer",
    "qwerty-not-to-be-shown",
    "not-to-be-shown-either",
    "nor-this-one",
    ":short",
];

/// A converted configuration in a folder of its own.
struct Converted {
    folder: PathBuf,
    file: PathBuf,
    said: String,
    toml: String,
}

impl Drop for Converted {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn convert(name: &str, more: &[&str]) -> Converted {
    let folder = std::env::temp_dir().join(format!("e2e-import-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    e2e::certificate::write(&folder);
    let templates = Path::new(env!("CARGO_MANIFEST_DIR")).join("coturn");
    let [port, tls_port] = [(); 2].map(|()| free_port().to_string());
    let conf = std::fs::read_to_string(templates.join(format!("{name}.conf"))).unwrap();
    let conf = [("{ip}", IP), ("{port}", &port), ("{tls_port}", &tls_port), ("{dir}", folder.to_str().unwrap())]
        .iter()
        .fold(conf, |text, (mark, value)| text.replace(mark, value));
    let (source, file) = (folder.join("turnserver.conf"), folder.join("relay.toml"));
    std::fs::write(&source, conf).unwrap();
    let output = Command::new(e2e::daemon::binary())
        .arg("import-coturn")
        .args([&source, Path::new("-o"), &file])
        .args(more.iter().map(|argument| argument.replace("{coturn}", templates.to_str().unwrap())))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {said}");
    let toml = std::fs::read_to_string(&file).unwrap();
    for secret in SECRETS {
        assert!(!said.contains(secret) && !toml.contains(secret), "{name} shows {secret}:\n{said}\n{toml}");
    }
    for entry in std::fs::read_dir(&folder).unwrap().map(Result::unwrap) {
        if entry.path().extension().is_some_and(|end| end == "secret") {
            let mode = entry.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{:?}", entry.path());
        }
    }
    let check = Command::new(e2e::daemon::binary()).args(["check", "--config"]).arg(&file).output().unwrap();
    assert!(check.status.success(), "{name}: {}", String::from_utf8_lossy(&check.stderr));
    Converted { folder, file, said, toml }
}

/// A port that is free for UDP and TCP; somebody may take it meanwhile, and then the daemon says so.
fn free_port() -> u16 {
    loop {
        let udp = std::net::UdpSocket::bind((IP, 0)).unwrap();
        let port = udp.local_addr().unwrap().port();
        if std::net::TcpListener::bind((IP, port)).is_ok() {
            return port;
        }
    }
}

/// The relay at work with it, and where it listens.
struct Started {
    process: Process,
}

impl Started {
    fn at(&self, transport: &str) -> SocketAddr {
        let log = self.process.log();
        let line = format!("listening turn {transport} ");
        log.lines().find_map(|said| said.strip_prefix(&line)?.trim().parse().ok()).expect(&line)
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        self.process.signal(libc::SIGINT);
    }
}

impl Converted {
    fn start(&self) -> Started {
        let mut process =
            Process::start(Command::new(e2e::daemon::binary()).arg("--config").arg(&self.file), "see above");
        process.wait_for("ready", |line| (line.trim() == "ready").then_some(()));
        Started { process }
    }

    fn says(&self, words: &[&str]) -> &Converted {
        for word in words {
            assert!(self.said.contains(word), "{word:?} is not in\n{}", self.said);
        }
        self
    }

    fn has(&self, lines: &[&str]) -> &Converted {
        for line in lines {
            assert!(self.toml.lines().any(|written| written == *line), "{line:?} is not in\n{}", self.toml);
        }
        self
    }
}

/// coturn's client talks to itself through the server; `credentials` as it takes them.
fn client(to: SocketAddr, credentials: &[&str], more: &[&str]) {
    let output = Command::new("turnutils_uclient")
        .args(credentials)
        .args(["-p", &to.port().to_string(), "-y", "-c", "-m", "2", "-n", "20", "-z", "5"])
        .args(more)
        .arg(to.ip().to_string())
        .output()
        .unwrap_or_else(|error| panic!("cannot start turnutils_uclient: {error}. Fix: {FIX}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    nothing_lost(&said, 40);
}

const ALICE: [&str; 4] = ["-u", "alice", "-w", "a-long-office-secret"];
const REST: [&str; 4] = ["-u", "somebody", "-W", "north-of-the-river-and-south"];

#[test]
fn coturn_long_term_users_come_along_and_those_who_cannot_are_named() {
    let converted = convert("01-long-term-users", &[]);
    converted.has(&["realm = \"office.example\"", "users_file = \"relay.users.secret\"", "# line 7: user"]);
    converted.says(&[
        "line 9: user: holds the hash",
        "line 10: user: a password needs at least 12 bytes",
        "simple-log",
    ]);
    let started = converted.start();
    client(started.at("udp"), &ALICE, &[]);
    client(started.at("tcp"), &["-u", "bob", "-w", "another-office-secret"], &["-t"]);
}

#[test]
fn coturn_rest_secrets_come_along_all_of_them() {
    let converted = convert("02-rest-secrets", &[]);
    converted.has(&[
        "rest_secrets = [{ file = \"relay.rest-1.secret\" }, { file = \"relay.rest-2.secret\" }]",
        "total_allocations = 100",
        "ports = \"49152-65535\"",
        "tcp_allocations = false",
    ]);
    let started = converted.start();
    client(started.at("udp"), &REST, &[]);
    client(started.at("udp"), &["-u", "somebody", "-W", "the-secret-of-last-summer"], &[]);
}

#[test]
fn coturn_tls_comes_along() {
    let converted = convert("03-tls", &[]);
    converted.says(&["TLS 1.2 and 1.3", "proc-user=turnserver"]);
    let started = converted.start();
    client(started.at("tls"), &ALICE, &["-S", "-t"]);
    client(started.at("udp"), &ALICE, &[]);
}

#[test]
fn coturn_deny_lists_are_prefixes_with_the_allowed_taken_out() {
    let converted = convert("04-deny-lists", &[]);
    let denied = converted.toml.lines().find(|line| line.starts_with("deny_peers")).unwrap();
    for prefix in ["\"10.1.2.2/32\"", "\"192.168.0.0/16\"", "\"fe80::/10\"", "\"::1/128\"", "\"127.128.0.0/9\""] {
        assert!(denied.contains(prefix), "{prefix} is not in {denied}");
    }
    assert!(!denied.contains("\"10.0.0.0/8\"") && !denied.contains("\"10.1.2.3/32\""), "{denied}");
    converted.has(&["allow_peers = [\"10.1.2.3/32\", \"127.0.0.1/32\"]"]);
    client(converted.start().at("udp"), &ALICE, &[]);
}

#[test]
fn of_several_coturn_realms_the_last_is_taken_and_the_others_are_told_where_to_go() {
    let converted = convert("05-several-realms", &[]);
    converted.has(&["realm = \"south.example\""]).says(&["realm=north.example: one process has one realm"]);
    client(converted.start().at("udp"), &ALICE, &[]);
}

#[test]
fn coturn_quotas_come_along_in_our_units() {
    let converted = convert("06-quotas", &[]);
    converted.has(&[
        "user_allocations = 12",
        "total_allocations = 1200",
        "user_bits_per_second = 24000000",
        "workers = 2",
        "admin = \"127.0.0.1:9641\"",
    ]);
    // Another test, or a relay of this machine, may have that port.
    let text = converted.toml.replace("127.0.0.1:9641", "127.0.0.1:0");
    std::fs::write(&converted.file, text).unwrap();
    client(converted.start().at("udp"), &REST, &[]);
}

#[test]
fn a_coturn_database_is_told_how_to_be_exported_and_its_secrets_come_along() {
    let without = convert("07-database", &[]);
    without.says(&["line 6: userdb: there is no database", "export them", "line 8: redis-statsdb"]);
    drop(without);
    let converted = convert("07-database", &["--users-db", "{coturn}/07-database.sql"]);
    converted.says(&["1 users of --users-db: only hashes"]).has(&["deny_peers = [\"203.0.113.0/24\"]"]);
    client(converted.start().at("udp"), &REST, &[]);
}

#[test]
fn coturn_alternate_servers_become_those_of_a_drain() {
    let converted = convert("08-alternate-server", &[]);
    converted.has(&["alternate_servers = [\"192.0.2.11:3478\", \"[2001:db8::11]:3478\"]"]);
    converted.says(&["only while this server drains", "alternate-server=192.0.2.12: there is room for one"]);
    client(converted.start().at("udp"), &ALICE, &[]);
}

#[test]
fn a_coturn_cloud_machine_keeps_its_external_address() {
    let converted = convert("09-cloud", &[]);
    converted.has(&["addresses = [{ bind = \"127.0.0.1\", public = \"203.0.113.7\" }]", "ports = \"50000-59999\""]);
    converted.says(&["line 12: mobility: mobility (RFC 8016) is not spoken"]);
    client(converted.start().at("udp"), &REST, &[]);
}

#[test]
fn coturn_on_443_keeps_both_on_one_port() {
    let converted = convert("10-on-443", &[]);
    converted.has(&["tcp = [\"127.0.4.43:443\"]", "udp = [\"127.0.4.43:443\"]"]);
    converted.says(&["web-admin: there are no pages for administration"]);
    if std::net::TcpListener::bind("127.0.4.43:443").is_err() {
        return e2e::report("not-tested-443.txt", "port 443 may not be bound here: converted and checked, not started");
    }
    let started = converted.start();
    client(started.at("tcp"), &ALICE, &["-t"]);
    client(started.at("tcp"), &ALICE, &["-S", "-t"]);
    client(started.at("udp"), &ALICE, &[]);
}
