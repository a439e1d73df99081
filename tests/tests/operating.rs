//! What operators do to a relay at work: end it in peace, change it, ask it from two addresses.

use std::net::{SocketAddr, UdpSocket};
use std::process::Command;

use e2e::certificate::connect;
use e2e::{Caller, Claims, Daemon, PATIENCE, eventually, http};
use futures_util::{SinkExt, StreamExt};
use relay::auth::rest_credential;
use relay::time::Unix;
use relay::wire::{Key, Message, MessageClass, Method, Request, TransactionId, attribute};
use serde_json::json;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;

const REALM: &str = "e2e.test";
const UDP: u8 = 17;

/// A TURN client that says exactly what a test wants.
pub(crate) struct Client {
    socket: UdpSocket,
    username: String,
    key: Key,
    nonce: String,
    number: u32,
}

impl Client {
    pub(crate) fn new(turn: SocketAddr, username: &str, password: &str) -> Client {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(turn).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let key = Key::long_term(username.as_bytes(), REALM.as_bytes(), password.as_bytes());
        Client { socket, username: username.to_owned(), key, nonce: "none yet".to_owned(), number: 0 }
    }

    pub(crate) fn alice(daemon: &Daemon) -> Client {
        Client::new(daemon.turn(), "alice", "alice's long secret")
    }

    /// A signed request, a second time with the nonce of a challenge; the answer and its error code, 0 for none.
    fn ask(&mut self, method: Method, fill: impl Fn(Request) -> Request) -> (u16, Vec<u8>) {
        for _ in 0..2 {
            let id = self.transaction();
            let request = fill(Request::new(method, id)).credentials(&self.username, REALM, &self.nonce);
            self.socket.send(&request.finish(Some(&self.key))).unwrap();
            let answer = self.receive(|message| message.transaction() == id);
            let message = Message::parse(&answer).unwrap();
            let code = message.error_code().unwrap().unwrap_or(0);
            let nonce = message.nonce().unwrap().map(|nonce| String::from_utf8(nonce.to_vec()).unwrap());
            match nonce {
                Some(nonce) if self.nonce != nonce && (code == 438 || self.nonce == "none yet") => self.nonce = nonce,
                _ => return (code, answer),
            }
        }
        panic!("challenged again and again");
    }

    fn transaction(&mut self) -> TransactionId {
        self.number += 1;
        let mut id = [7; 12];
        id[..4].copy_from_slice(&self.number.to_be_bytes());
        TransactionId(id)
    }

    /// The next message that is wanted; others are passed over.
    fn receive(&self, wanted: impl Fn(&Message<'_>) -> bool) -> Vec<u8> {
        let mut buffer = [0; 2048];
        loop {
            let length = self.socket.recv(&mut buffer).expect("an answer");
            if Message::parse(&buffer[..length]).is_ok_and(|message| wanted(&message)) {
                return buffer[..length].to_vec();
            }
        }
    }

    pub(crate) fn allocate(&mut self) -> Result<SocketAddr, (u16, Vec<u8>)> {
        match self.ask(Method::Allocate, |request| request.requested_transport(UDP)) {
            (0, answer) => Ok(Message::parse(&answer).unwrap().xor_relayed_address().unwrap().unwrap()),
            refused => Err(refused),
        }
    }

    pub(crate) fn refresh(&mut self, secs: u32) -> u16 {
        self.ask(Method::Refresh, |request| request.lifetime(secs)).0
    }

    pub(crate) fn permit(&mut self, peer: SocketAddr) -> u16 {
        self.ask(Method::CreatePermission, |request| request.xor_peer_address(peer)).0
    }

    fn send(&mut self, peer: SocketAddr, payload: &[u8]) {
        let id = self.transaction();
        let bytes = Request::indication(Method::Send, id).xor_peer_address(peer).data(payload).finish(None);
        self.socket.send(&bytes).unwrap();
    }

    fn hears(&self, payload: &[u8]) {
        self.receive(|message| {
            message.class() == MessageClass::Indication && { message.value(attribute::DATA) == Some(payload) }
        });
    }
}

/// Two clients of one user that may send to each other.
pub(crate) fn talking(daemon: &Daemon) -> [(Client, SocketAddr); 2] {
    let mut pair = [(); 2].map(|()| {
        let mut client = Client::alice(daemon);
        let relayed = client.allocate().unwrap();
        (client, relayed)
    });
    let [a, b] = [pair[0].1, pair[1].1];
    assert_eq!((pair[0].0.permit(b), pair[1].0.permit(a)), (0, 0));
    pair
}

pub(crate) fn speak([(a, at), (b, bt)]: &mut [(Client, SocketAddr); 2], words: &[u8]) {
    a.send(*bt, words);
    b.hears(words);
    b.send(*at, words);
    a.hears(words);
}

fn ready(daemon: &Daemon) -> u16 {
    http::get(daemon.admin(), "/readyz").status
}

/// Waits until it has ended by itself, and answers its exit status.
pub(crate) fn ended(daemon: &mut Daemon) -> Option<i32> {
    eventually("the end", || (!daemon.process().is_running()).then_some(()));
    daemon.process().stop()
}

#[test]
fn sigterm_lets_allocations_run_on_sends_newcomers_elsewhere_and_ends_when_all_are_gone() {
    let mut daemon = Daemon::local()
        .set("drain = { deadline_secs = 3600, alternate_servers = ['192.0.2.80:3478'], alternate_domain = 'relay.example' }")
        .start();
    let mut pair = talking(&daemon);
    speak(&mut pair, b"before");
    assert_eq!(ready(&daemon), 200);
    daemon.signal(libc::SIGTERM);
    eventually("/readyz says no", || (ready(&daemon) == 503).then_some(()));
    let mut newcomer = Client::alice(&daemon);
    let (code, answer) = eventually("workers refuse", || newcomer.allocate().err());
    assert_eq!(code, 300);
    let message = Message::parse(&answer).unwrap();
    assert!(message.integrity_matches(&newcomer.key), "an answer that sends elsewhere is signed");
    assert_eq!(message.value(attribute::ALTERNATE_SERVER).unwrap(), [0, 1, 0x0D, 0x96, 192, 0, 2, 80]);
    assert_eq!(message.value(attribute::ALTERNATE_DOMAIN).unwrap(), b"relay.example");
    speak(&mut pair, b"meanwhile");
    assert_eq!(pair[0].0.refresh(600), 0);
    assert!(daemon.process().is_running());
    for (client, _) in &mut pair {
        assert_eq!(client.refresh(0), 0);
    }
    assert_eq!(ended(&mut daemon), Some(0));
    daemon.says("draining");
    let log = daemon.log();
    assert!(log.contains("allocations"), "{log}");
    assert!(!log.contains("192.0.2.80") && !log.contains("alice"), "{log}");
}

#[test]
fn a_second_sigterm_and_the_deadline_end_the_wait() {
    let mut hurried = Daemon::local().set("drain = { deadline_secs = 3600 }").start();
    let mut patient = Daemon::local().set("drain = { deadline_secs = 1 }").start();
    let _live = [talking(&hurried), talking(&patient)];
    patient.signal(libc::SIGTERM);
    hurried.signal(libc::SIGTERM);
    eventually("/readyz says no", || (ready(&hurried) == 503).then_some(()));
    assert!(hurried.process().is_running());
    hurried.signal(libc::SIGTERM);
    assert_eq!((ended(&mut hurried), ended(&mut patient)), (Some(0), Some(0)));
    hurried.says("told to end at once");
    patient.says("the deadline has come");
}

#[tokio::test(flavor = "multi_thread")]
async fn draining_sends_away_who_waits_over_plain_and_inside_tls() {
    let mut daemon = Daemon::local().set("listen = { tls = ['127.0.0.1:0'] }").with_certificate().start();
    let (mut plain, _) = Caller::connect(&daemon, &Claims::adult("lea").token()).await;
    let stream = connect(&daemon, daemon.tls(), &["http/1.1"]).await.unwrap();
    let mut request = "wss://relay.test/v1/ws".into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("pair.v1"));
    let (mut inside, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
    let hello = json!({ "t": "hello", "v": [1], "q": 1, "token": Claims::adult("mia").token() });
    inside.send(Frame::text(hello.to_string())).await.unwrap();
    assert!(inside.next().await.unwrap().unwrap().is_text(), "welcome");
    daemon.signal(libc::SIGTERM);
    // Nobody is in a call, so the server ends at once: `drain` may come before the farewell or not at all.
    let farewell = loop {
        match plain.next().await {
            Ok(said) => assert_eq!(said["t"], "drain"),
            Err(ended) => break ended,
        }
    };
    assert_eq!(farewell, e2e::client::Ended::Closed(Some(1001)));
    loop {
        match tokio::time::timeout(PATIENCE, inside.next()).await.unwrap() {
            Some(Ok(Frame::Text(said))) => assert!(said.contains("drain"), "{said}"),
            Some(Ok(Frame::Close(Some(frame)))) => break assert_eq!(u16::from(frame.code), 1001),
            other => panic!("no farewell but {other:?}"),
        }
    }
    drop((plain, inside));
    assert_eq!(ended(&mut daemon), Some(0));
}

const OLD: &str = "the secret of last month";
const NEW: &str = "the secret of this month";

fn carol(daemon: &Daemon, secret: &str) -> Client {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let credential = rest_credential(secret, Unix(now.as_secs() + 3600), "carol");
    Client::new(daemon.turn(), &credential.username, &credential.password)
}

#[test]
fn sighup_changes_secrets_lists_and_limits_and_a_broken_file_changes_nothing() {
    let start = format!("auth.rest_secrets = ['{NEW}', '{OLD}']\naccess.allow_peers = ['127.0.0.0/8']");
    let mut daemon = Daemon::local().set(&start).start();
    // Not at the relayed address, where every packet is judged anew.
    let peer = UdpSocket::bind("127.0.0.2:0").unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    let at = peer.local_addr().unwrap();
    let (mut old, mut new, mut alice) = (carol(&daemon, OLD), carol(&daemon, NEW), Client::alice(&daemon));
    for client in [&mut old, &mut new, &mut alice] {
        client.allocate().unwrap();
        assert_eq!(client.permit(at), 0);
    }

    daemon.reload(&format!(
        "auth.rest_secrets = ['{NEW}']\naccess = {{ deny_peers = ['127.0.0.0/8'], user_allocations = 1 }}\nrelay.workers = 3"
    ));
    eventually("reloaded", || daemon.log().contains("reloaded").then_some(()));
    assert!(daemon.log().contains("relay.workers has changed and needs a restart"), "{}", daemon.log());
    let mut heard = [0; 64];
    old.send(at, b"until the next request");
    let (length, _) = peer.recv_from(&mut heard).unwrap();
    assert_eq!(&heard[..length], b"until the next request");
    eventually("the old secret is no good", || (old.refresh(600) == 401).then_some(()));
    assert_eq!((new.refresh(600), alice.refresh(600)), (0, 0));
    assert_eq!(new.permit(at), 403, "the list");
    assert_eq!(Client::alice(&daemon).allocate().unwrap_err().0, 486, "the limit");

    daemon.reload_text("[auth]\nrest_secrets = [\"half of a secr");
    eventually("refused", || daemon.log().contains("not reloaded, everything stays as it was").then_some(()));
    let log = daemon.log();
    assert!(log.contains("relay.toml:2:") && !log.contains("half of a secr"), "{log}");
    assert_eq!((new.refresh(600), alice.refresh(600), old.refresh(600)), (0, 0, 401));
    assert_eq!(Client::alice(&daemon).allocate().unwrap_err().0, 486);

    daemon.reload(&format!(
        "auth.rest_secrets = ['{NEW}', '{OLD}']\naccess = {{ deny_peers = [], user_allocations = 9 }}"
    ));
    eventually("the old secret is good again", || (old.refresh(600) == 0).then_some(()));
    assert_eq!(new.permit(at), 0);
    Client::alice(&daemon).allocate().unwrap();
}

/// Two ports that are free on both addresses. Somebody else may take one before the daemon does; then it says so.
pub(crate) fn free_ports() -> [u16; 2] {
    loop {
        let sockets = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
        let ports = sockets.each_ref().map(|socket| socket.local_addr().unwrap().port());
        if ports.iter().all(|port| UdpSocket::bind(("127.0.0.2", *port)).is_ok()) {
            return ports;
        }
    }
}

/// The sockets that answer a client who asks for each change in turn (RFC 5780 §7.2), in order. It has no NAT in front of it.
pub(crate) fn discovered(turn: SocketAddr) -> Vec<SocketAddr> {
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut origins = Vec::new();
    for flags in [0u8, 2, 4, 6] {
        let request = Request::new(Method::Binding, TransactionId([flags; 12]));
        client.send_to(&request.raw(attribute::CHANGE_REQUEST, &[0, 0, 0, flags]).finish(None), turn).unwrap();
        let mut buffer = [0; 256];
        let (length, origin) = client.recv_from(&mut buffer).unwrap();
        let answer = Message::parse(&buffer[..length]).unwrap();
        assert_eq!(answer.transaction(), TransactionId([flags; 12]));
        assert_eq!(answer.xor_mapped_address().unwrap(), Some(client.local_addr().unwrap()));
        let SocketAddr::V4(v4) = origin else { panic!("{origin}") };
        let said = [&[0, 1][..], &v4.port().to_be_bytes(), &v4.ip().octets()].concat();
        assert_eq!(answer.value(attribute::RESPONSE_ORIGIN), Some(&said[..]), "it says where it is from");
        origins.push(origin);
    }
    origins.sort_unstable();
    origins
}

#[test]
fn a_client_without_nat_finds_that_out_from_all_four_sockets() {
    let [a, b] = free_ports();
    let pair = format!("listen = {{ udp = ['127.0.0.1:{a}'], nat_discovery = ['127.0.0.1:{a}', '127.0.0.2:{b}'] }}");
    let daemon = Daemon::local().set(&pair).start();
    let mut sockets = daemon.turns().to_vec();
    sockets.sort_unstable();
    assert_eq!(sockets.len(), 4);
    assert_eq!(discovered(daemon.turn()), sockets, "each once");
}

/// coturn's own client for it, as Debian ships it.
#[test]
fn turnutils_natdiscovery_is_answered() {
    let [a, b] = free_ports();
    let pair = format!("listen = {{ udp = ['127.0.0.1:{a}'], nat_discovery = ['127.0.0.1:{a}', '127.0.0.2:{b}'] }}");
    let daemon = Daemon::local().set(&pair).start();
    let port = daemon.turn().port().to_string();
    for arguments in [&["-m"][..], &["-f"], &["-m", "-P"]] {
        let output = Command::new("timeout")
            .args(["60", "turnutils_natdiscovery", "-p", &port])
            .args(arguments)
            .arg("127.0.0.1")
            .output()
            .unwrap_or_else(|error| panic!("{error}. Fix: apt-get install coturn (tests/run.sh does it)"));
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{arguments:?}: {said}");
        assert!(said.contains("No NAT") || said.contains("Endpoint Independent"), "{arguments:?}: {said}");
    }
}

#[test]
fn hidden_names_are_asked_for_and_recognised() {
    let daemon = Daemon::configured(
        "listen = { udp = ['127.0.0.1:0'] }\nrelay.realm = 'e2e.test'\n\
         auth = { username_anonymity = true, users = { alice = \"alice's long secret\" } }\ndrain.deadline_secs = 0",
    )
    .start();
    let mut client = Client::alice(&daemon);
    client.allocate().unwrap();
    assert!(client.nonce.starts_with("obMatJos2AAAD"), "{}", client.nonce);
    let id = client.transaction();
    let request = Request::new(Method::Refresh, id).hidden_credentials("alice", REALM, &client.nonce);
    client.socket.send(&request.finish(Some(&client.key))).unwrap();
    let answer = client.receive(|message| message.transaction() == id);
    assert_eq!(Message::parse(&answer).unwrap().class(), MessageClass::Success);
}

#[test]
fn a_total_over_everybody_is_kept_and_counted() {
    let daemon = Daemon::local().set("limits.total_packets_per_second = 10").start();
    let mut pair = talking(&daemon);
    let [(a, _), (_, bt)] = &mut pair;
    for _ in 0..200 {
        a.send(*bt, b"one of many");
    }
    let dropped = || {
        let page = http::get(daemon.admin(), "/metrics").body;
        let line = page.lines().find_map(|line| line.strip_prefix("relay_drops_total{reason=\"total_rate\"} "));
        line.and_then(|count| count.parse::<u64>().ok()).filter(|count| *count > 50)
    };
    eventually("dropped and counted", dropped);
}
