//! TCP allocations (RFC 6062): coturn's client as a foreign hand, and our own for what no friendly client does.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use e2e::daemon::Builder;
use e2e::{Daemon, eventually, http};
use relay::wire::{Key, Message, Method, Request, TransactionId};

const FIX: &str = "apt-get install coturn (tests/run.sh does it)";
const REALM: &str = "e2e.test";
const USERS: [(&str, &str); 2] = [("alice", "alice's long secret"), ("bob", "bob's long secret")];
const TCP: u8 = 6;

const SETTINGS: &str = "
listen = { udp = ['127.0.0.1:0'], tcp = ['127.0.0.1:0'], tls = ['127.0.0.1:0'] }
relay = { addresses = ['127.0.0.1'], workers = 2, tcp_allocations = true }
auth = { users = { alice = \"alice's long secret\", bob = \"bob's long secret\" } }
access = { allow_peers = ['127.0.0.1/32'], user_allocations = 1000 }
";

fn daemon() -> Builder {
    Daemon::local().set(SETTINGS).with_certificate()
}

fn uclient(turn: SocketAddr, arguments: &[&str]) -> String {
    let output = Command::new("turnutils_uclient")
        .args(["-u", USERS[0].0, "-w", USERS[0].1, "-p", &turn.port().to_string()])
        .args(arguments)
        .arg(turn.ip().to_string())
        .output()
        .unwrap_or_else(|error| panic!("cannot start turnutils_uclient: {error}. Fix: {FIX}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "turnutils_uclient {arguments:?} failed:\n{said}");
    said
}

fn nothing_lost(said: &str) {
    assert!(said.contains("Total lost packets 0 (0.000000%)"), "packets were lost:\n{said}");
}

#[test]
fn uclient_relays_tcp_over_tcp_and_tls() {
    let daemon = daemon().start();
    let common = ["-T", "-m", "4", "-n", "100", "-z", "5"];
    nothing_lost(&uclient(daemon.tcp(), &common));
    nothing_lost(&uclient(daemon.tls(), &[&["-S"], &common[..]].concat()));
    nothing_lost(&uclient(daemon.tcp(), &[&["-S"], &common[..]].concat()));
    let page = http::get(daemon.admin(), "/metrics").body;
    assert!(!page.contains("relay_tcp_events_total{event=\"bound\"} 0"), "{page}");
    assert!(page.contains("relay_tcp_bytes_relayed_total{path=\"client_to_peer\"}"), "{page}");
    eventually("every connection is closed", || {
        http::get(daemon.admin(), "/metrics").body.contains("relay_tcp_peer_connections 0").then_some(())
    });
}

#[test]
fn a_server_that_was_not_asked_to_relays_no_tcp() {
    let daemon = daemon().set("relay.tcp_allocations = false").start();
    let mut alice = Client::connect(daemon.tcp(), 0);
    assert_eq!(alice.allocate(), Err(442));
    assert!(!http::get(daemon.admin(), "/metrics").body.contains("relay_tcp_"));
}

#[test]
fn a_reload_turns_it_off_and_on_where_connections_may_lead_anywhere() {
    let turned = |daemon: &mut Daemon, on: bool| {
        daemon.rewrite(&format!("relay.tcp_allocations = {on}"));
        http::post(daemon.admin(), "/v1/reload", &serde_json::json!({})).json()
    };
    let mut free = daemon().set("relay.tcp_allocations = false\nsandbox.mode = 'off'").start();
    assert_eq!(Client::connect(free.tcp(), 0).allocate(), Err(442));
    assert_eq!(turned(&mut free, true)["changed"], serde_json::json!(["relay.tcp_allocations"]));
    let (listener, peer) = peer();
    let mut alice = Client::connect(free.tcp(), 0);
    eventually("it is on", || alice.allocate().ok());
    let id = alice.connect_to(peer).unwrap();
    let (mut far, _) = listener.accept().unwrap();
    assert_eq!(turned(&mut free, false)["changed"], serde_json::json!(["relay.tcp_allocations"]));
    eventually("it is off", || (Client::connect(free.tcp(), 0).allocate() == Err(442)).then_some(()));
    // What was allocated lives on.
    let mut data = Client::connect(free.tcp(), 0);
    assert_eq!(data.bind(id), 0);
    far.write_all(b"hello").unwrap();
    let mut hello = [0; 5];
    data.stream.read_exact(&mut hello).unwrap();
    assert_eq!(&hello, b"hello");
    let mut shut = daemon().set("relay.tcp_allocations = false").start();
    let answer = turned(&mut shut, true);
    assert_eq!(answer["needs_restart"], serde_json::json!(["relay.tcp_allocations"]), "connections were given up");
}

/// Row 44 of the hostile pack: CONNECT to what is denied, a fake CONNECTION-ID, somebody else's.
#[test]
fn denied_peers_fake_ids_and_other_peoples_connections_are_refused() {
    let daemon = daemon().start();
    let (listener, peer) = peer();
    let mut alice = Client::connect(daemon.tcp(), 0);
    let relayed = alice.allocate().unwrap();
    for denied in ["169.254.169.254:80", "10.0.0.1:80", "127.0.0.2:80", "0.0.0.0:80", "192.168.0.1:22"] {
        assert_eq!(alice.connect_to(denied.parse().unwrap()), Err(403), "{denied}");
    }
    for own in [daemon.turn(), daemon.tcp(), daemon.tls(), daemon.admin(), daemon.signalling(), relayed] {
        assert_eq!(alice.connect_to(own), Err(403), "own listener");
    }
    let id = alice.connect_to(peer).unwrap();
    let (mut far, from) = listener.accept().unwrap();
    assert_eq!(from, relayed);
    let mut bob = Client::connect(daemon.tcp(), 1);
    assert_eq!(bob.bind(id), 400, "bob's credentials");
    let mut fake = Client::connect(daemon.tcp(), 0);
    for guess in [0, id.wrapping_add(1), !id] {
        assert_eq!(fake.bind(guess), 400);
    }
    assert_eq!(fake.bind(id), 0, "and then by its owner");
    fake.stream.write_all(b"hello").unwrap();
    let mut hello = [0; 5];
    far.read_exact(&mut hello).unwrap();
    assert_eq!(&hello, b"hello");
    drop(alice);
    assert!(matches!(far.read(&mut hello), Ok(0) | Err(_)), "the control connection is gone");
}

#[test]
fn a_thousand_connects_are_bounded_and_others_are_served() {
    let daemon = daemon().start();
    let (_listener, peer) = peer();
    let mut greedy = Client::connect(daemon.tcp(), 0);
    greedy.allocate().unwrap();
    // 127.0.0.1 listens on one port here; a connect to another fails at once, so that only this one stays.
    let mut refused = 0;
    assert!(greedy.connect_to(peer).is_ok());
    for _ in 0..1000 {
        refused += usize::from(greedy.connect_to(peer) == Err(446));
    }
    assert_eq!(refused, 1000);
    let listeners: Vec<_> = (0..40).map(|_| self::peer()).collect();
    let opened = listeners.iter().filter(|(_, peer)| greedy.connect_to(*peer).is_ok()).count();
    assert_eq!(opened, 31, "thirty-two wait to be bound");
    let (listener, peer) = self::peer();
    let mut honest = Client::connect(daemon.tcp(), 1);
    honest.allocate().unwrap();
    let id = honest.connect_to(peer).unwrap();
    let (mut far, _) = listener.accept().unwrap();
    let mut data = Client::connect(daemon.tcp(), 1);
    assert_eq!(data.bind(id), 0);
    far.write_all(b"hello").unwrap();
    let mut hello = [0; 5];
    data.stream.read_exact(&mut hello).unwrap();
    assert_eq!(&hello, b"hello");
}

#[test]
fn peers_without_permission_are_closed_at_once_in_any_number() {
    let daemon = daemon().start();
    let mut alice = Client::connect(daemon.tcp(), 0);
    let relayed = alice.allocate().unwrap();
    for _ in 0..200 {
        let mut stranger = TcpStream::connect(relayed).unwrap();
        stranger.set_read_timeout(Some(e2e::PATIENCE)).unwrap();
        assert!(matches!(stranger.read(&mut [0; 16]), Ok(0)));
    }
    let page = http::get(daemon.admin(), "/metrics").body;
    assert!(page.contains("relay_tcp_events_total{event=\"refused_peer\"} 200"), "{page}");
    assert!(page.contains("relay_tcp_peer_connections 0"), "{page}");
}

#[test]
fn a_reader_that_does_not_read_costs_the_daemon_no_memory() {
    let mut daemon = daemon().start();
    let mut alice = Client::connect(daemon.tcp(), 0);
    alice.allocate().unwrap();
    let before = resident_kib(&mut daemon);
    let mut kept = Vec::new();
    for _ in 0..16 {
        let (listener, peer) = peer();
        let id = alice.connect_to(peer).unwrap();
        let (mut far, _) = listener.accept().unwrap();
        let mut data = Client::connect(daemon.tcp(), 0);
        assert_eq!(data.bind(id), 0);
        // Nobody reads `data`.
        far.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
        let block = vec![1; 1 << 20];
        let written = (0..256).take_while(|_| far.write_all(&block).is_ok()).count();
        assert!(written < 256, "nobody stopped the writer");
        kept.push((far, data));
    }
    let grown = resident_kib(&mut daemon).saturating_sub(before);
    assert!(grown < 16 * 1024, "{grown} KiB for sixteen pipes that stand still");
}

fn resident_kib(daemon: &mut Daemon) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.process().id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn peer() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A TURN client over TCP that waits for each answer.
struct Client {
    stream: TcpStream,
    user: usize,
    nonce: String,
    transactions: u32,
}

impl Client {
    fn connect(server: SocketAddr, user: usize) -> Client {
        let stream = TcpStream::connect(server).unwrap();
        stream.set_read_timeout(Some(e2e::PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut client = Client { stream, user, nonce: String::new(), transactions: 0 };
        let bare = Request::new(Method::Refresh, client.transaction()).finish(None);
        let challenge = client.ask(&bare);
        let challenge = Message::parse(&challenge).unwrap();
        client.nonce = String::from_utf8(challenge.nonce().unwrap().unwrap().to_vec()).unwrap();
        client
    }

    fn allocate(&mut self) -> Result<SocketAddr, u16> {
        let answer = self.request(Method::Allocate, |request| request.requested_transport(TCP));
        code(&answer)?;
        Ok(Message::parse(&answer).unwrap().xor_relayed_address().unwrap().unwrap())
    }

    fn connect_to(&mut self, peer: SocketAddr) -> Result<u32, u16> {
        let answer = self.request(Method::Connect, |request| request.xor_peer_address(peer));
        code(&answer)?;
        Ok(Message::parse(&answer).unwrap().connection_id().unwrap().unwrap())
    }

    /// The error code of a ConnectionBind, or zero.
    fn bind(&mut self, id: u32) -> u16 {
        let answer = self.request(Method::ConnectionBind, |request| request.connection_id(id));
        code(&answer).err().unwrap_or(0)
    }

    fn request(&mut self, method: Method, fill: impl FnOnce(Request) -> Request) -> Vec<u8> {
        let (name, password) = USERS[self.user];
        let key = Key::long_term(name.as_bytes(), REALM.as_bytes(), password.as_bytes());
        let request = fill(Request::new(method, self.transaction()));
        let bytes = request.credentials(name, REALM, &self.nonce).finish(Some(&key));
        self.ask(&bytes)
    }

    fn ask(&mut self, request: &[u8]) -> Vec<u8> {
        self.stream.write_all(request).unwrap();
        let mut answer = vec![0; 20];
        self.stream.read_exact(&mut answer).unwrap();
        answer.resize(20 + usize::from(u16::from_be_bytes([answer[2], answer[3]])), 0);
        self.stream.read_exact(&mut answer[20..]).unwrap();
        answer
    }

    fn transaction(&mut self) -> TransactionId {
        self.transactions += 1;
        let mut id = [0; 12];
        id[..4].copy_from_slice(&self.transactions.to_be_bytes());
        TransactionId(id)
    }
}

fn code(answer: &[u8]) -> Result<(), u16> {
    Message::parse(answer).unwrap().error_code().unwrap().map_or(Ok(()), Err)
}
