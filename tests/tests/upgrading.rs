//! `relay upgrade`: another process in the place of the one at work, with its calls, and nobody hears it.

pub(crate) mod crowd;

use std::net::UdpSocket;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use e2e::client::Ended;
use e2e::raw::{Client, Transport};
use e2e::voice::{CHANNEL, Voice, Ways, login, rtp, talk};
use e2e::{Caller, Claims, Daemon, PATIENCE, eventually, http};
use serde_json::{Value, json};

use crate::operating::{ended, speak, talking};
use crate::succession::{Place, listens_as};

/// RFC 6455's registry: Service Restart.
const SERVICE_RESTART: u16 = 1012;
const FRAME: Duration = Duration::from_millis(20);

fn upgraded(place: &Place, before: &Daemon, settings: &str) -> Daemon {
    let successor = place.upgrade().set(&listens_as(before)).set(settings);
    successor.start()
}

/// A daemon and what it becomes, with everything but the process the same.
fn upgrade(place: &Place, mut before: Daemon) -> Daemon {
    let successor = upgraded(place, &before, "");
    assert_eq!(ended(&mut before), Some(0), "nobody is left there");
    assert_eq!(http::get(successor.admin(), "/readyz").status, 200);
    successor
}

/// Seniority counts in milliseconds, and all that somebody does to come takes less.
async fn a_moment() {
    tokio::time::sleep(Duration::from_millis(5)).await;
}

/// An upgrade that must not come about.
fn fails(place: &Place, before: &Daemon, settings: &str) -> Output {
    let file = place.0.with_extension("toml");
    std::fs::write(&file, format!("{}\n{settings}", listens_as(before))).unwrap();
    let output = Command::new(e2e::daemon::binary())
        .args(["upgrade", "--config", file.to_str().unwrap(), "--hand-over", place.0.to_str().unwrap()])
        .output()
        .unwrap();
    std::fs::remove_file(file).unwrap();
    assert!(!output.status.success());
    output
}

async fn resumed(daemon: &Daemon, voice: &mut Voice) -> Value {
    assert_eq!(said_last(&mut voice.caller).await, Some(SERVICE_RESTART));
    come_back(daemon, voice).await
}

async fn come_back(daemon: &Daemon, voice: &mut Voice) -> Value {
    let mut caller = Caller::open(daemon, None).await.unwrap();
    caller.heard = voice.caller.heard;
    let resume = json!({ "sid": voice.welcome["sid"], "key": voice.welcome["key"], "n": caller.heard });
    caller.send(json!({ "t": "hello", "v": [1], "resume": resume })).await;
    voice.welcome = caller.at_last("welcome").await;
    voice.caller = caller;
    voice.welcome["resumed"].clone()
}

/// The code the connection was closed with.
async fn said_last(caller: &mut Caller) -> Option<u16> {
    loop {
        match caller.next().await {
            Ok(_) => {}
            Err(Ended::Closed(code)) => return code,
            Err(Ended::Silence) => panic!("the connection stays open"),
        }
    }
}

/// Says a packet every 20 ms to a partner until it is told to stop; how many, and the client.
fn talks(mut voice: Client, stop: &Arc<AtomicBool>) -> thread::JoinHandle<(u16, Client)> {
    let stop = Arc::clone(stop);
    thread::spawn(move || {
        let begun = Instant::now();
        let mut said = 0;
        while !stop.load(Ordering::Relaxed) {
            voice.send_on(CHANNEL, &rtp(said));
            said += 1;
            thread::sleep((FRAME * u32::from(said)).saturating_sub(begun.elapsed()));
        }
        (said, voice)
    })
}

fn heard(client: &mut Client) -> Vec<Vec<u8>> {
    std::iter::from_fn(|| client.data(Duration::from_millis(300))).map(|data| data.payload).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_goes_on_packet_for_packet_and_its_people_resume() {
    let place = Place::new("call");
    let mut daemon = place.relay().set("relay.workers = 2").start();
    let mut ana = Voice::enter(&daemon, "ana").await;
    let mut ben = Voice::enter(&daemon, "ben").await;
    let call = talk(&mut ana, &mut ben).await;
    ana.caller.send(json!({ "t": "text", "call": call, "k": 1, "b": "before" })).await;
    assert_eq!(ben.caller.at_last("text").await["b"], "before");
    for round in 0..3 {
        let stop = Arc::new(AtomicBool::new(false));
        let (anas, bens) = (talks(ana.turn, &stop), talks(ben.turn, &stop));
        tokio::time::sleep(Duration::from_millis(300)).await;
        let successor = place.upgrade().set("relay.workers = 2").set(&listens_as(&daemon));
        let successor = tokio::task::block_in_place(|| successor.start());
        tokio::time::sleep(Duration::from_millis(300)).await;
        stop.store(true, Ordering::Relaxed);
        let (said_by_ana, ana_turn) = anas.join().unwrap();
        let (said_by_ben, ben_turn) = bens.join().unwrap();
        (ana.turn, ben.turn) = (ana_turn, ben_turn);
        assert_eq!(heard(&mut ben.turn).len(), usize::from(said_by_ana), "round {round}");
        assert_eq!(heard(&mut ana.turn).len(), usize::from(said_by_ben), "round {round}");
        assert_eq!(ended(&mut daemon), Some(0));
        daemon = successor;
        for voice in [&mut ana, &mut ben] {
            let resumed = resumed(&daemon, voice).await;
            assert_eq!((&resumed["state"], &resumed["call"]), (&json!("call"), &json!(call)));
            assert_eq!(voice.turn.refresh(600), 0, "the same nonce, the same allocation");
        }
    }
    ben.caller.send(json!({ "t": "text", "call": call, "k": 2, "b": "after" })).await;
    assert_eq!(ana.caller.at_last("text").await["b"], "after");
    ana.caller.send(json!({ "t": "hangup", "call": call })).await;
    assert_eq!(ben.caller.at_last("ended").await["why"], "hangup");
    ana.speak(0);
    assert_eq!(ben.turn.data(Duration::from_millis(300)), None, "the call is over for the relay, too");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_keeps_the_place_in_the_queue() {
    let place = Place::new("queue");
    let daemon = place.relay().start();
    let man = |name| Claims::adult(name).with("g", json!("m")).with("gp", json!(["f"]));
    let mut first = Voice::enter_by(Ways::straight(&daemon), &man("first")).await;
    first.queue().await;
    let mut second = Voice::enter_by(Ways::straight(&daemon), &man("second")).await;
    a_moment().await;
    second.queue().await;
    let daemon = tokio::task::block_in_place(|| upgrade(&place, daemon));
    // Who came second is back first.
    for voice in [&mut second, &mut first] {
        assert_eq!(resumed(&daemon, voice).await["state"], "queued");
    }
    let woman = Claims::adult("third").with("g", json!("f")).with("gp", json!(["m"]));
    let mut third = Voice::enter_by(Ways::straight(&daemon), &woman).await;
    third.queue().await;
    assert_eq!(third.caller.matched().await["peer"]["card"]["n"], "first");
    first.caller.matched().await;
}

#[test]
fn an_ordinary_allocation_keeps_its_socket_its_permissions_and_its_channels() {
    let place = Place::new("ordinary");
    let daemon = place.relay().set("access.allow_peers = ['127.0.0.0/8']").start();
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    let (mut client, relayed) = Client::allocated(&daemon, Transport::Udp);
    assert_eq!(client.bind(CHANNEL, peer.local_addr().unwrap()), 0);
    let mut pair = talking(&daemon);
    let successor = upgraded(&place, &daemon, "access.allow_peers = ['127.0.0.0/8']");
    let mut buffer = [0; 64];
    client.send_on(CHANNEL, b"out");
    let (length, from) = peer.recv_from(&mut buffer).unwrap();
    assert_eq!((&buffer[..length], from), (&b"out"[..], relayed));
    peer.send_to(b"in", relayed).unwrap();
    assert_eq!(client.expect_data().payload, b"in");
    speak(&mut pair, b"as if nothing had been");
    let [(alice, _), (other, _)] = &mut pair;
    assert_eq!((alice.refresh(600), other.refresh(0)), (0, 0));
    assert_eq!((client.refresh(0), alice.refresh(0)), (0, 0));
    eventually("everything is freed", || (e2e::vitals::metric(&successor, "relay_allocations", "") == 0).then_some(()));
}

#[test]
fn what_cannot_go_is_served_by_the_old_process_to_its_end() {
    let place = Place::new("streams");
    let mut daemon = place.relay().start();
    let (mut stream, _) = Client::allocated(&daemon, Transport::Tcp);
    let (mut datagram, _) = Client::allocated(&daemon, Transport::Udp);
    let successor = upgraded(&place, &daemon, "");
    assert_eq!((stream.refresh(600), datagram.refresh(600)), (0, 0));
    assert!(daemon.process().is_running(), "it has a client");
    let (mut newcomer, _) = Client::allocated(&successor, Transport::Tcp);
    assert_eq!((stream.refresh(0), newcomer.refresh(0), datagram.refresh(0)), (0, 0, 0));
    assert_eq!(ended(&mut daemon), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_with_one_side_over_tcp_stays_whole() {
    let place = Place::new("mixed");
    let mut daemon = place.relay().start();
    let mut ana = Voice::enter(&daemon, "ana").await;
    let mut ben = Voice::enter(&daemon, "ben").await;
    // Ben's way is through TCP.
    assert_eq!(ben.turn.refresh(0), 0);
    ben.turn = Client::over(e2e::raw::Link::open(&daemon, Transport::Tcp), login(&ben.welcome));
    ben.turn.fetch_challenge();
    ben.relayed = ben.turn.allocate(1);
    let call = talk(&mut ana, &mut ben).await;
    let successor = tokio::task::block_in_place(|| upgraded(&place, &daemon, ""));
    ana.speak(1);
    assert_eq!(ben.turn.expect_data().payload, rtp(1));
    ben.speak(2);
    assert_eq!(ana.turn.expect_data().payload, rtp(2));
    ana.caller.send(json!({ "t": "text", "call": call, "k": 1, "b": "still here" })).await;
    assert_eq!(ben.caller.at_last("text").await["b"], "still here");
    let (cleo, _) = Caller::connect(&successor, &Claims::adult("cleo").token()).await;
    ana.caller.send(json!({ "t": "hangup", "call": call })).await;
    tokio::task::block_in_place(|| assert_eq!(ended(&mut daemon), Some(0)));
    drop(cleo);
}

#[test]
fn an_upgrade_that_cannot_be_changes_nothing() {
    let place = Place::new("broken");
    let daemon = place.relay().set("relay.workers = 1").start();
    let mut call = talking(&daemon);
    let said = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
    let mut still_talk = |what: &str| {
        speak(&mut call, what.as_bytes());
        let mut newcomer = crate::operating::Client::alice(&daemon);
        newcomer.allocate().unwrap();
        assert_eq!(newcomer.refresh(0), 0);
        assert_eq!(http::get(daemon.admin(), "/readyz").status, 200);
    };
    let other = fails(&place, &daemon, "relay.workers = 2");
    assert!(said(&other).contains("relay.workers = 1"), "{}", said(&other));
    still_talk("another number of workers");
    fails(&place, &daemon, "relay.workers = 'many'");
    still_talk("a broken file");
    fails(&place, &daemon, "relay.workers = 1\n[sandbox]\nuser = 'nobody-of-this-name'");
    still_talk("a program that ends after it has asked");
    dies_with_everything_in_its_hands(&place, &daemon);
    eventually("it was noticed", || daemon.log().contains("not handed over").then_some(()));
    still_talk("a program that ends when it has everything");
    let daemon = upgraded(&place, &daemon, "relay.workers = 1");
    speak(&mut call, b"through the one that works");
    drop(daemon);
}

/// Reads everything that is given, says nothing and is gone.
fn dies_with_everything_in_its_hands(place: &Place, _daemon: &Daemon) {
    use std::io::{Read as _, Write as _};
    let mut stream = std::os::unix::net::UnixStream::connect(&place.0)
        .or_else(|_| std::os::unix::net::UnixStream::connect(place.before()))
        .unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut given = Vec::new();
    let mut bytes = [0; 256];
    while !given.ends_with(b"end\n") {
        let length = stream.read(&mut bytes).unwrap();
        assert_ne!(length, 0);
        given.extend_from_slice(&bytes[..length]);
    }
    stream.write_all(b"up").unwrap();
    let mut head = [0; 12];
    stream.read_exact(&mut head).unwrap();
    let mut ground = vec![0; u64::from_le_bytes(head[4..].try_into().unwrap()) as usize];
    stream.read_exact(&mut ground).unwrap();
    // An empty list of listeners, and one of relayed addresses: nobody can go.
    stream.write_all(b"go").unwrap();
    stream.write_all(&2_u64.to_le_bytes()).unwrap();
    stream.write_all(&[0, 0]).unwrap();
    let _ = stream.read(&mut bytes).unwrap();
}

#[test]
fn without_a_relay_at_work_there_is_nothing_to_upgrade() {
    let place = Place::new("nobody");
    let output = Command::new(e2e::daemon::binary())
        .args(["upgrade", "--config", "/dev/null", "--hand-over", place.0.to_str().unwrap()])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no relay listens at"));
}
