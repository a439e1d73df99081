//! What a reload changes of listeners, addresses and the realm, with traffic through what was there before.

use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use e2e::certificate::{self, connect, connect_blocking};
use e2e::{Caller, Claims, Daemon, eventually, http};
use relay::wire::{Message, Method, Request, TransactionId};
use serde_json::{Value, json};

use crate::operating::{Client, discovered, free_ports, speak, talking};

fn reload(daemon: &mut Daemon, toml: &str) -> (u16, Value) {
    daemon.rewrite(toml);
    reread(daemon)
}

fn reread(daemon: &Daemon) -> (u16, Value) {
    let answer = http::post(daemon.admin(), "/v1/reload", &json!({}));
    (answer.status, answer.json())
}

/// Everything that was written took effect, and it was this.
fn changes(daemon: &mut Daemon, toml: &str, keys: &[&str]) {
    let (status, answer) = reload(daemon, toml);
    assert_eq!((status, &answer["changed"], &answer["needs_restart"]), (200, &json!(keys), &json!([])), "{answer}");
}

/// An address of UDP that nobody has a moment ago.
fn free_udp(ip: &str) -> SocketAddr {
    UdpSocket::bind((ip, 0)).unwrap().local_addr().unwrap()
}

fn free_tcp() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn alice_at(turn: SocketAddr) -> Client {
    Client::new(turn, "alice", "alice's long secret")
}

/// The realm a stranger is told of.
fn challenged_by(turn: SocketAddr) -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(e2e::PATIENCE)).unwrap();
    let request = Request::new(Method::Allocate, TransactionId([3; 12])).requested_transport(17);
    socket.send_to(&request.finish(None), turn).unwrap();
    let mut buffer = [0; 512];
    let length = socket.recv(&mut buffer).unwrap();
    let message = Message::parse(&buffer[..length]).unwrap();
    String::from_utf8(message.realm().unwrap().unwrap().to_vec()).unwrap()
}

#[test]
fn another_realm_is_for_newcomers_and_calls_go_on_in_theirs() {
    let mut daemon = Daemon::local().start();
    let mut call = talking(&daemon);
    changes(&mut daemon, "relay.realm = 'newer.test'", &["relay.realm"]);
    eventually("the new realm", || (challenged_by(daemon.turn()) == "newer.test").then_some(()));
    speak(&mut call, b"in another realm");
    for (client, _) in &mut call {
        assert_eq!(client.refresh(600), 0, "signed with the realm of before");
    }
    changes(&mut daemon, "relay.realm = 'newest.test'", &["relay.realm"]);
    eventually("the newest realm", || (challenged_by(daemon.turn()) == "newest.test").then_some(()));
    speak(&mut call, b"in a third");
    assert_eq!(call[0].0.refresh(600), 0);
}

#[test]
fn relayed_addresses_come_and_go_and_allocations_keep_theirs() {
    let mut daemon = Daemon::local().set("relay.workers = 2").start();
    let mut old = talking(&daemon);
    assert!(old.iter().all(|(_, at)| at.ip().to_string() == "127.0.0.1"));
    changes(&mut daemon, "relay.addresses = ['127.0.0.2']", &["relay.addresses"]);
    let mut new = eventually("an allocation on the new address", || {
        Some(talking(&daemon)).filter(|pair| pair.iter().all(|(_, at)| at.ip().to_string() == "127.0.0.2"))
    });
    speak(&mut old, b"on the address that is gone");
    speak(&mut new, b"on the new one");
    assert_eq!((old[0].0.refresh(600), new[0].0.refresh(600)), (0, 0));
    // One of each, through each other's address.
    let [(a, at), _] = old;
    let [(b, bt), _] = new;
    let mut mixed = [(a, at), (b, bt)];
    assert_eq!((mixed[0].0.permit(bt), mixed[1].0.permit(at)), (0, 0));
    speak(&mut mixed, b"from one to the other");
    changes(&mut daemon, "relay.addresses = ['127.0.0.1', '127.0.0.2']", &["relay.addresses"]);
    speak(&mut mixed, b"both again");
    let (status, answer) = reload(&mut daemon, "relay.addresses = [{ bind = '127.0.0.1', public = '192.0.2.1' }]");
    assert_eq!((status, &answer["needs_restart"]), (200, &json!(["relay.addresses"])), "{answer}");
    speak(&mut mixed, b"and nothing of it changed");
}

fn turned_away(daemon: &Daemon) -> u64 {
    let page = http::get(daemon.admin(), "/metrics").body;
    let line = page.lines().find_map(|line| line.strip_prefix("relay_drops_total{reason=\"listener_gone\"} "));
    line.unwrap().parse().unwrap()
}

#[test]
fn udp_listeners_come_and_go_and_whoever_came_by_one_is_served_to_the_end() {
    let mut daemon = Daemon::local().set("relay.workers = 2").start();
    let (before, after) = (daemon.turn(), free_udp("127.0.0.2"));
    let mut old = talking(&daemon);
    changes(&mut daemon, &format!("listen.udp = ['{after}']"), &["listen.udp"]);
    let mut newcomer = alice_at(after);
    let at = newcomer.allocate().unwrap();
    speak(&mut old, b"through the listener that is gone");
    for (client, _) in &mut old {
        assert_eq!(client.refresh(600), 0);
    }
    let [(a, from), (b, _)] = &mut old;
    assert_eq!((a.permit(at), newcomer.permit(*from)), (0, 0));
    let mut mixed = [(std::mem::replace(a, alice_at(after)), *from), (newcomer, at)];
    speak(&mut mixed, b"from one listener to the other");
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    eventually("a stranger is nobody there", || {
        stranger.send_to(&Request::new(Method::Binding, TransactionId([9; 12])).finish(None), before).unwrap();
        (turned_away(&daemon) > 0).then_some(())
    });
    // Taken back while it still serves somebody, it serves everybody.
    changes(&mut daemon, &format!("listen.udp = ['{before}', '{after}']"), &["listen.udp"]);
    alice_at(before).allocate().unwrap();
    speak(&mut mixed, b"taken back");
    changes(&mut daemon, &format!("listen.udp = ['{after}']"), &["listen.udp"]);
    assert!(UdpSocket::bind(before).is_err(), "it is still there for those who came by it");
    assert_eq!((mixed[0].0.refresh(0), b.refresh(0)), (0, 0));
    // The one allocation of a client that went away without a word is left to its lifetime: another daemon shows the end.
    let mut daemon = Daemon::local().start();
    let (before, after) = (daemon.turn(), free_udp("127.0.0.1"));
    let mut client = Client::alice(&daemon);
    client.allocate().unwrap();
    changes(&mut daemon, &format!("listen.udp = ['{after}']"), &["listen.udp"]);
    assert_eq!(client.refresh(0), 0);
    eventually("the last has left and it is closed", || UdpSocket::bind(before).ok());
    alice_at(after).allocate().unwrap();
}

#[test]
fn nat_discovery_comes_and_goes_and_calls_go_on() {
    let mut daemon = Daemon::local().start();
    let mut call = talking(&daemon);
    let [a, b] = free_ports();
    let pair = format!("listen.nat_discovery = ['127.0.0.1:{a}', '127.0.0.2:{b}']");
    changes(&mut daemon, &pair, &["listen.nat_discovery"]);
    let four = [("127.0.0.1", a), ("127.0.0.1", b), ("127.0.0.2", a), ("127.0.0.2", b)];
    let mut four = four.map(|(ip, port)| SocketAddr::new(ip.parse().unwrap(), port));
    four.sort_unstable();
    assert_eq!(discovered(four[0]), four, "each once");
    speak(&mut call, b"with four more sockets");
    changes(&mut daemon, "listen.nat_discovery = []", &["listen.nat_discovery"]);
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    stranger.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let request = Request::new(Method::Binding, TransactionId([9; 12])).finish(None);
    eventually("silence where discovery was", || {
        stranger.send_to(&request, four[3]).unwrap();
        stranger.recv(&mut [0; 256]).is_err().then_some(())
    });
    speak(&mut call, b"and without them");
}

#[test]
fn an_address_that_is_taken_changes_nothing_at_all() {
    let mut daemon = Daemon::local().start();
    let mut call = talking(&daemon);
    let held = UdpSocket::bind("127.0.0.1:0").unwrap();
    let wanted = format!(
        "listen.udp = ['{}', '{}']\nrelay.realm = 'another'",
        free_udp("127.0.0.1"),
        held.local_addr().unwrap()
    );
    let (status, answer) = reload(&mut daemon, &wanted);
    assert_eq!(status, 422);
    assert!(answer["why"].as_str().unwrap().contains("in use"), "{answer}");
    speak(&mut call, b"as before");
    assert_eq!(challenged_by(daemon.turn()), "e2e.test");
}

/// From inside the sandbox no low port can be had any more: that key alone stays, and is named.
#[test]
fn a_port_below_1024_needs_a_restart_and_the_rest_of_the_file_does_not() {
    let first: u16 =
        std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap().trim().parse().unwrap();
    if first < 700 {
        eprintln!("left out: everybody may open low ports here");
        return;
    }
    let mut daemon = Daemon::local().set("listen.tcp = ['127.0.0.1:0']").start();
    let tcp = daemon.tcp();
    let low = "listen.tcp = ['127.0.0.1:639']\nlisten.udp = ['127.0.0.1:639']\nlisten.admin = '127.0.0.1:640'\naccess.user_allocations = 7";
    let (status, answer) = reload(&mut daemon, low);
    assert_eq!((status, &answer["changed"]), (200, &json!(["access.user_allocations"])), "{answer}");
    assert_eq!(answer["needs_restart"], json!(["listen.udp", "listen.tcp", "listen.admin"]));
    assert!(TcpStream::connect(tcp).is_ok(), "the listener is what it was");
    Client::alice(&daemon).allocate().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn signalling_moves_and_who_is_connected_stays() {
    let mut daemon = Daemon::local().start();
    let (before, after) = (daemon.signalling(), free_tcp());
    let (mut first, _) = Caller::connect(&daemon, &Claims::adult("first").token()).await;
    changes(&mut daemon, &format!("listen.signalling = '{after}'"), &["listen.signalling"]);
    let mut second = loop {
        if let Ok(caller) = Caller::open_at(after, None).await {
            break caller;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    second.request(json!({ "t": "hello", "v": [1], "token": Claims::adult("second").token() })).await;
    second.expect("welcome").await;
    eventually("the old one refuses", || TcpStream::connect(before).is_err().then_some(()));
    for caller in [&mut first, &mut second] {
        caller.request(json!({ "t": "queue" })).await;
    }
    let (one, other) = (first.matched().await, second.matched().await);
    assert_eq!(one["call"], other["call"], "through the old listener and the new");
}

/// Two people who are matched at `signalling`, and their call.
async fn matched_at(signalling: SocketAddr, names: [&str; 2]) -> ([Caller; 2], Value) {
    let mut pair = Vec::new();
    for name in names {
        let mut caller = Caller::open_at(signalling, None).await.unwrap();
        caller.request(json!({ "t": "hello", "v": [1], "token": Claims::adult(name).token() })).await;
        caller.expect("welcome").await;
        caller.request(json!({ "t": "queue" })).await;
        pair.push(caller);
    }
    let [mut one, mut other] = <[Caller; 2]>::try_from(pair).ok().unwrap();
    let call = one.matched().await["call"].clone();
    other.matched().await;
    ([one, other], call)
}

/// Whether a page is to be had over TLS.
async fn has_pages(daemon: &Daemon) -> bool {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = connect(daemon, daemon.tls(), &[]).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: relay.test\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    answer.starts_with(b"HTTP/1.1 200")
}

fn tells_of_calls(daemon: &Daemon) -> bool {
    http::get(daemon.admin(), "/metrics").body.contains("relay_signalling_sessions ")
}

#[tokio::test(flavor = "multi_thread")]
async fn signalling_is_turned_off_and_on_and_nobody_who_talks_notices() {
    let mut daemon = Daemon::local().set("listen.tls = ['127.0.0.1:0']").with_certificate().start();
    let mut relayed = talking(&daemon);
    let before = daemon.signalling();
    let ([mut one, mut other], call) = matched_at(before, ["one", "other"]).await;
    let (mut waits, _) = Caller::connect(&daemon, &Claims::adult("waits").token()).await;
    waits.request(json!({ "t": "queue" })).await;
    assert!(has_pages(&daemon).await && tells_of_calls(&daemon));

    daemon.rewrite_without("listen", "signalling");
    // The demo page is on with it, and off without.
    let gone = json!({ "changed": ["listen.signalling", "signalling.demo_page"], "needs_restart": [] });
    assert_eq!(reread(&daemon), (200, gone));
    waits.at_last("drain").await;
    assert!(matches!(waits.next().await, Err(e2e::client::Ended::Closed(Some(1001)))), "away, to another server");
    eventually("nobody listens", || TcpStream::connect(before).is_err().then_some(()));
    assert!(!has_pages(&daemon).await && !tells_of_calls(&daemon));
    one.send(json!({ "t": "text", "call": call, "k": 1, "b": "still here" })).await;
    assert_eq!(other.at_last("text").await["b"], "still here");
    speak(&mut relayed, b"without any signalling");
    one.send(json!({ "t": "hangup", "call": call })).await;
    other.at_last("ended").await;
    assert!(
        matches!(other.next().await, Err(e2e::client::Ended::Closed(Some(1001)))),
        "the call was the last thing here"
    );

    let after = free_tcp();
    let keys = ["listen.signalling", "signalling.demo_page"];
    changes(&mut daemon, &format!("listen.signalling = '{after}'"), &keys);
    eventually("signalling again", || TcpStream::connect(after).ok());
    matched_at(after, ["three", "four"]).await;
    assert!(has_pages(&daemon).await && tells_of_calls(&daemon));
    speak(&mut relayed, b"all the while");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_turn_server_gets_signalling_without_a_restart() {
    let plain = "listen = { udp = ['127.0.0.1:0'], admin = '127.0.0.1:0' }\nrelay = { realm = 'e2e.test', addresses = ['127.0.0.1'] }\n\
                 auth.users = { alice = \"alice's long secret\" }";
    let mut daemon = Daemon::configured(plain).start();
    let mut relayed = talking(&daemon);
    assert!(!tells_of_calls(&daemon));
    // The relay alone, for an app that brings its own matchmaker.
    let bound = http::post(daemon.admin(), "/v1/calls", &json!({}));
    assert_eq!((bound.status, bound.json()["sides"].as_array().map(Vec::len)), (201, Some(2)));
    let (at, app) = (free_tcp(), e2e::daemon::app());
    let (status, answer) = reload(&mut daemon, &format!("listen.signalling = '{at}'\n{app}"));
    assert_eq!((status, &answer["needs_restart"]), (200, &json!([])), "{answer}");
    eventually("signalling", || TcpStream::connect(at).ok());
    matched_at(at, ["five", "six"]).await;
    assert!(tells_of_calls(&daemon));
    speak(&mut relayed, b"all the while");
}

#[test]
fn the_operators_listener_moves_and_the_request_that_moved_it_is_answered() {
    let mut daemon = Daemon::local().start();
    let (before, after) = (daemon.admin(), free_tcp());
    changes(&mut daemon, &format!("listen.admin = '{after}'"), &["listen.admin"]);
    eventually("health at the new place", || TcpStream::connect(after).ok());
    assert_eq!(http::get(after, "/livez").status, 200);
    eventually("the old one refuses", || TcpStream::connect(before).is_err().then_some(()));
    let mut call = talking(&daemon);
    speak(&mut call, b"nobody noticed");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_certificate_and_the_first_listeners_for_streams_need_no_restart() {
    let mut daemon = Daemon::local().start();
    let mut call = talking(&daemon);
    let (tcp, tls) = (free_tcp(), free_tcp());
    changes(&mut daemon, &format!("listen.tcp = ['{tcp}']"), &["listen.tcp"]);
    eventually("a TCP listener", || TcpStream::connect(tcp).ok());
    assert!(connect_blocking_fails(&daemon, tcp), "nobody speaks TLS yet");
    certificate::replace(&daemon);
    changes(
        &mut daemon,
        &format!("listen.tls = ['{tls}']\ntls = {{ certificate = 'cert.pem', private_key = 'key.pem' }}"),
        &["listen.tls", "tls.certificate", "tls.private_key"],
    );
    eventually("a TLS listener", || TcpStream::connect(tls).ok());
    // A page over it, and TURN inside it.
    connect(&daemon, tls, &["http/1.1"]).await.unwrap();
    let mut inside = tokio::task::block_in_place(|| connect_blocking(&daemon, tls)).unwrap();
    tokio::task::block_in_place(|| {
        use std::io::{Read as _, Write as _};
        inside.write_all(&Request::new(Method::Binding, TransactionId([5; 12])).finish(None)).unwrap();
        let mut head = [0; 20];
        inside.read_exact(&mut head).unwrap();
        assert_eq!(head[8..], [5; 12]);
    });
    speak(&mut call, b"all the while");
    certificate::replace(&daemon);
    changes(&mut daemon, "", &["tls.certificate"]);
    connect(&daemon, tls, &[]).await.unwrap();
}

fn connect_blocking_fails(daemon: &Daemon, to: SocketAddr) -> bool {
    certificate::replace(daemon);
    tokio::task::block_in_place(|| connect_blocking(daemon, to)).is_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn whether_recent_partners_meet_changes_for_who_comes_then() {
    let mut daemon = Daemon::local().set("matching.recent_partners = 'avoid'").start();
    let mut pair = Vec::new();
    for name in ["nina", "oskar"] {
        pair.push(Caller::connect(&daemon, &Claims::adult(name).token()).await.0);
    }
    changes(&mut daemon, "matching.recent_partners = 'allow'", &["matching.recent_partners"]);
    for _ in 0..2 {
        for caller in &mut pair {
            caller.request(json!({ "t": "queue" })).await;
        }
        let call = pair[0].matched().await["call"].clone();
        pair[1].matched().await;
        pair[0].send(json!({ "t": "hangup", "call": call })).await;
        pair[1].at_last("ended").await;
        pair[0].at_last("ended").await;
    }
}
