//! The daemon as its user meets it: a process with arguments, output and an exit status.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const EVERYTHING: &str = "[listen]\nudp = [\"127.0.0.1:0\"]\nsignalling = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n";

fn relay() -> Command {
    Command::new(env!("CARGO_BIN_EXE_relay"))
}

/// A configuration file that is removed when the test ends.
struct File(PathBuf);

impl File {
    fn new(text: &str) -> File {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("relay-test-{}-{number}.toml", std::process::id()));
        std::fs::write(&path, text).unwrap();
        File(path)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        relay().args(arguments).arg("--config").arg(&self.0).output().unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A daemon that is killed when the test ends.
struct Daemon {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Daemon {
    fn start(command: &mut Command) -> Daemon {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Daemon { child, out }
    }

    /// The lines up to `ready`, without it.
    fn until_ready(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            assert!(self.out.read_line(&mut line).unwrap() > 0, "it ended before it was ready: {lines:?}");
            match line.trim_end() {
                "ready" => return lines,
                line => lines.push(line.to_owned()),
            }
        }
    }

    /// Sends a signal and returns exit status, the rest of standard output, and standard error.
    fn stop(mut self, signal: &str) -> (Option<i32>, String, String) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
        let begin = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            assert!(begin.elapsed() < Duration::from_secs(10), "it does not stop");
            std::thread::sleep(Duration::from_millis(10));
        }
        let (mut out, mut err) = (String::new(), String::new());
        self.out.read_to_string(&mut out).unwrap();
        self.child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        (self.child.wait().unwrap().code(), out, err)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn it_says_where_it_listens_then_that_it_is_ready_and_stops_cleanly_on_both_signals() {
    for signal in ["-TERM", "-INT"] {
        let file = File::new(EVERYTHING);
        let mut daemon = Daemon::start(relay().arg("--config").arg(&file.0));
        let lines = daemon.until_ready();
        let begin = [
            "listening turn udp 127.0.0.1:",
            "listening signalling http://127.0.0.1:",
            "listening admin http://127.0.0.1:",
        ];
        assert_eq!(lines.len(), begin.len(), "{lines:?}");
        for (line, begin) in lines.iter().zip(begin) {
            let port: u16 = line.strip_prefix(begin).unwrap_or_else(|| panic!("{line}")).parse().unwrap();
            assert_ne!(port, 0);
        }
        let (code, rest, _) = daemon.stop(signal);
        assert_eq!((code, rest.as_str()), (Some(0), ""));
    }
}

#[test]
fn a_connection_that_stays_open_does_not_keep_it_from_stopping() {
    let file = File::new(EVERYTHING);
    let mut daemon = Daemon::start(relay().arg("--config").arg(&file.0));
    let lines = daemon.until_ready();
    let open: Vec<TcpStream> =
        lines[1..].iter().map(|line| TcpStream::connect(line.rsplit('/').next().unwrap()).unwrap()).collect();
    (&open[0]).write_all(b"GET / HT").unwrap();
    assert_eq!(daemon.stop("-TERM").0, Some(0));
}

#[test]
fn check_names_every_problem_and_exits_with_2() {
    let file = File::new("[listen]\nudp = [\"127.0.0.1\"]\n\n[relay]\nadresses = [\"127.0.0.1\"]\n");
    let output = file.run(&["check"]);
    assert_eq!(output.status.code(), Some(2));
    let err = text(&output.stderr);
    let name = file.0.display();
    assert!(err.contains(&format!("{name}:2:8: listen.udp")), "{err}");
    assert!(
        err.contains(&format!("{name}:5:1: unknown key \"adresses\" in [relay]; did you mean \"addresses\"?")),
        "{err}"
    );
    assert!(err.contains("2 problems"), "{err}");
    assert_eq!(text(&output.stdout), "");
}

#[test]
fn check_sums_up_a_good_file_and_exits_with_0() {
    let output = File::new(&format!("{EVERYTHING}[limits]\nexempt = [\"127.0.0.0/8\"]\n")).run(&["check"]);
    assert_eq!(output.status.code(), Some(0));
    let out = text(&output.stdout);
    assert!(out.contains("no problems") && out.contains("limits.exempt"), "{out}");
}

#[test]
fn a_broken_file_starts_nothing() {
    let output = File::new(&EVERYTHING.replace("udp", "udq")).run(&[]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(text(&output.stdout), "", "no listening line");
    assert!(text(&output.stderr).contains("did you mean \"udp\"?"));
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let output = relay().args(["check", "--config", "/nowhere/relay.toml"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("/nowhere/relay.toml: cannot be read"));
}

#[test]
fn a_port_in_use_is_named_with_the_fix() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let output =
        File::new(&EVERYTHING.replace("admin = \"127.0.0.1:0\"", &format!("admin = \"127.0.0.1:{port}\""))).run(&[]);
    assert_eq!(output.status.code(), Some(1));
    let err = text(&output.stderr);
    assert!(err.contains(&format!("port {port} is in use")) && err.contains("change [listen] admin"), "{err}");
    assert_eq!(text(&output.stdout), "", "nothing was announced");
}

#[test]
fn credentials_are_made_from_the_newest_secret() {
    let file = File::new("[auth]\nrest_secrets = [\"the newest of secrets\", \"the one before that\"]\n");
    let output = file.run(&["credentials", "--user", "alice", "--ttl", "60"]);
    assert_eq!(output.status.code(), Some(0));
    let out = text(&output.stdout);
    let value = |key: &str| {
        out.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_else(|| panic!("{out}")).trim().to_owned()
    };
    let name = value("username ");
    let (expires, user) = name.split_once(':').unwrap();
    assert_eq!(user, "alice");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert!((now + 50..=now + 61).contains(&expires.parse::<u64>().unwrap()));
    assert_eq!(value("password ").len(), 28, "base64 of 20 bytes; what they are is tested beside the code");
}

#[test]
fn credentials_without_a_secret_say_what_is_missing() {
    let output = File::new("").run(&["credentials"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("[auth] rest_secrets"));
}

#[test]
fn a_command_without_its_file_says_so() {
    let output = relay().arg("check").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("--config FILE"));
}

/// The embedded defaults use fixed ports. When something else on this machine holds one of them, then the other promise is kept:
/// the port is named, with the fix.
#[test]
fn without_arguments_it_serves_local_use_and_shows_how_to_try_it() {
    let mut daemon = Daemon::start(&mut relay());
    let mut first = String::new();
    daemon.out.read_line(&mut first).unwrap();
    if first.is_empty() {
        let mut err = String::new();
        daemon.child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        assert!(err.contains("is in use"), "{err}");
        return;
    }
    assert_eq!(first, "listening turn udp 127.0.0.1:3478\n");
    assert_eq!(
        daemon.until_ready(),
        ["listening signalling http://127.0.0.1:8080", "listening admin http://127.0.0.1:9641"]
    );
    let (code, rest, err) = daemon.stop("-TERM");
    assert_eq!(code, Some(0));
    let secret = rest.split("password ").nth(1).unwrap().split(':').next().unwrap();
    assert!(secret.len() >= 32);
    assert!(rest.contains(&format!("turnutils_uclient -y -c -u local -w {secret} -p 3478 127.0.0.1")), "{rest}");
    assert!(rest.contains("open http://127.0.0.1:8080 in two tabs"), "{rest}");
    assert!(!err.contains(secret), "the secret is in the log");
}
