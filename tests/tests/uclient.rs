//! A foreign client that people know: coturn's `turnutils_uclient` as Debian ships it.
//!
//! It is of RFC 5766 age: it attaches EVEN-PORT to about half of its Allocates and draws channel numbers up to 0x7FFF, so the
//! daemon runs with `legacy_channels`.

use e2e::Daemon;
use e2e::daemon::Builder;
use e2e::process::Process;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::process::Command;

const FIX: &str = "apt-get install coturn (tests/run.sh does it)";

const SETTINGS: &str = "
listen = { udp = ['127.0.0.1:0', '[::1]:0'], tcp = ['127.0.0.1:0'], tls = ['127.0.0.1:0'] }
relay = { addresses = ['127.0.0.1', '::1'], legacy_channels = true, workers = 2 }
access = { allow_peers = ['127.0.0.0/8', '::1/128'], user_allocations = 1000 }
";

fn daemon() -> Builder {
    Daemon::local().set(SETTINGS).with_certificate()
}

/// Debian's `turnutils_peer`: sends back whatever it is sent.
struct Echo {
    _process: Process,
    port: u16,
    /// Whoever has this port here cannot be a listener of the daemon's too, over TCP: that is no peer, for the relay asks for no transport.
    _taken: TcpListener,
}

impl Echo {
    fn start(address: &str) -> Echo {
        let (port, taken) =
            std::iter::repeat_with(|| UdpSocket::bind((address, 0)).unwrap().local_addr().unwrap().port())
                .take(10)
                .find_map(|port| Some((port, TcpListener::bind((address, port)).ok()?)))
                .expect("no port is free for both UDP and TCP");
        let mut command = Command::new("turnutils_peer");
        let process = Process::start(command.args(["-L", address, "-p", &port.to_string()]), FIX);
        e2e::eventually("the echo peer's socket", || {
            let probe = UdpSocket::bind((address, 0)).unwrap();
            probe.set_read_timeout(Some(std::time::Duration::from_millis(100))).unwrap();
            probe.send_to(b"?", (address, port)).unwrap();
            probe.recv(&mut [0; 8]).ok()
        });
        Echo { _process: process, port, _taken: taken }
    }
}

/// Runs the client against the daemon's listener of the right family and returns all it said.
fn uclient(turn: SocketAddr, arguments: &[&str]) -> String {
    let output = Command::new("turnutils_uclient")
        .args(["-u", "alice", "-w", "alice's long secret", "-p", &turn.port().to_string()])
        .args(arguments)
        .arg(turn.ip().to_string())
        .output()
        .unwrap_or_else(|error| panic!("cannot start turnutils_uclient: {error}. Fix: {FIX}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "turnutils_uclient {arguments:?} failed:\n{said}");
    said
}

/// Every message came back, and there were as many as asked for.
pub(crate) fn nothing_lost(said: &str, messages: u64) {
    let received = said.lines().rev().find_map(|line| {
        line.split("tot_recv_msgs=").nth(1)?.split(|letter: char| !letter.is_ascii_digit()).next()?.parse::<u64>().ok()
    });
    assert!(said.contains("Total lost packets 0 (0.000000%)"), "packets were lost:\n{said}");
    assert_eq!(received, Some(messages), "messages counted by the client:\n{said}");
}

#[test]
fn uclient_talks_client_to_client_over_channels() {
    let daemon = daemon().start();
    nothing_lost(&uclient(daemon.turns()[0], &["-y", "-c", "-m", "10", "-n", "100", "-z", "5"]), 1000);
}

#[test]
fn uclient_talks_client_to_client_with_send_indications() {
    let daemon = daemon().start();
    nothing_lost(&uclient(daemon.turns()[0], &["-y", "-c", "-s", "-m", "10", "-n", "100", "-z", "5"]), 1000);
}

#[test]
fn uclient_reaches_a_peer_over_channels() {
    let (daemon, echo) = (daemon().start(), Echo::start("127.0.0.1"));
    let port = echo.port.to_string();
    nothing_lost(
        &uclient(daemon.turns()[0], &["-c", "-e", "127.0.0.1", "-r", &port, "-m", "10", "-n", "100", "-z", "5"]),
        1000,
    );
}

#[test]
fn uclient_reaches_a_peer_with_send_indications_and_dont_fragment() {
    let (daemon, echo) = (daemon().start(), Echo::start("127.0.0.1"));
    let port = echo.port.to_string();
    let arguments = ["-c", "-s", "-g", "-e", "127.0.0.1", "-r", &port, "-m", "10", "-n", "100", "-z", "5"];
    nothing_lost(&uclient(daemon.turns()[0], &arguments), 1000);
}

#[test]
fn uclient_reserves_the_next_port_for_rtcp() {
    // Without -c the client asks for EVEN-PORT with the R bit and redeems the token with a second allocation.
    let (daemon, echo) = (daemon().start(), Echo::start("127.0.0.1"));
    let port = echo.port.to_string();
    let said = uclient(daemon.turns()[0], &["-e", "127.0.0.1", "-r", &port, "-m", "2", "-n", "50", "-z", "5"]);
    assert!(said.contains("Total lost packets 0 (0.000000%)"), "packets were lost:\n{said}");
}

#[test]
fn uclient_talks_over_ipv6() {
    let daemon = daemon().start();
    nothing_lost(&uclient(daemon.turns()[1], &["-x", "-y", "-c", "-m", "4", "-n", "100", "-z", "5"]), 400);
}

#[test]
fn uclient_uses_a_time_limited_credential() {
    let daemon =
        daemon().set("auth.rest_secrets = ['a newer secret than that one', 'the rest secret, in use']").start();
    let output = Command::new("turnutils_uclient")
        .args(["-u", "somebody", "-W", "the rest secret, in use", "-p", &daemon.turn().port().to_string()])
        .args(["-y", "-c", "-m", "2", "-n", "50", "-z", "5", "127.0.0.1"])
        .output()
        .unwrap_or_else(|error| panic!("cannot start turnutils_uclient: {error}. Fix: {FIX}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}");
    nothing_lost(&said, 100);
}

#[test]
fn uclient_talks_over_tcp_and_tls() {
    let daemon = daemon().start();
    let common = ["-y", "-c", "-m", "10", "-n", "100", "-z", "5"];
    nothing_lost(&uclient(daemon.tcp(), &[&["-t"], &common[..]].concat()), 1000);
    nothing_lost(&uclient(daemon.tls(), &[&["-S", "-t"], &common[..]].concat()), 1000);
    nothing_lost(&uclient(daemon.tcp(), &[&["-S", "-t", "-s"], &common[..]].concat()), 1000);
}

#[test]
fn uclient_reaches_a_peer_over_tcp_and_tls() {
    let (daemon, echo) = (daemon().start(), Echo::start("127.0.0.1"));
    let port = echo.port.to_string();
    let arguments = ["-c", "-e", "127.0.0.1", "-r", &port, "-m", "10", "-n", "100", "-z", "5"];
    nothing_lost(&uclient(daemon.tcp(), &[&["-t"], &arguments[..]].concat()), 1000);
    nothing_lost(&uclient(daemon.tls(), &[&["-S", "-t"], &arguments[..]].concat()), 1000);
}

#[test]
fn uclient_with_a_wrong_password_gets_nowhere() {
    let daemon = daemon().start();
    let output = Command::new("turnutils_uclient")
        .args([
            "-u",
            "alice",
            "-w",
            "wrong",
            "-p",
            &daemon.turn().port().to_string(),
            "-y",
            "-c",
            "-n",
            "5",
            "127.0.0.1",
        ])
        .output()
        .unwrap_or_else(|error| panic!("cannot start turnutils_uclient: {error}. Fix: {FIX}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!said.contains("Total lost packets 0 (0.000000%)") || !output.status.success(), "{said}");
}
