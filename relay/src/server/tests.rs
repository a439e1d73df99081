#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::*;
use crate::config;

type Socket = WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>;

/// Everything, on ports nobody else uses.
const EVERYTHING: &str =
    "[listen]\nudp = [\"127.0.0.1:0\"]\nsignalling = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n[relay]\nworkers = 2\n";

fn settings(text: &str) -> Settings {
    config::parse(text, Path::new("")).unwrap()
}

fn refused(settings: &Settings) -> String {
    start(settings).err().expect("it should not have started").to_string()
}

fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn port_zero_is_resolved_everywhere_and_everything_answers() {
    let running = start(&settings(EVERYTHING)).unwrap();
    let addresses = running.addresses().clone();
    assert!(addresses.all().iter().all(|address| address.port() != 0), "{addresses:?}");
    assert_eq!(addresses.all().len(), 3);
    let admin = addresses.admin.unwrap();
    assert!(get(admin, "/livez").starts_with("HTTP/1.1 200"));
    assert!(get(admin, "/readyz").starts_with("HTTP/1.1 200"));
    assert!(get(addresses.signalling.unwrap(), "/").starts_with("HTTP/1.1 200"));
    running.stop();
}

#[test]
fn metrics_name_every_family_once_and_count_what_happens() {
    let running = start(&settings(EVERYTHING)).unwrap();
    let turn = running.addresses().udp[0];
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"no STUN at all", turn).unwrap();
    let admin = running.addresses().admin.unwrap();
    let mut page = String::new();
    for _ in 0..200 {
        page = get(admin, "/metrics");
        if page.contains("relay_drops_total{reason=\"unrecognised\"} 1\n") {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(page.contains("relay_drops_total{reason=\"unrecognised\"} 1\n"), "{page}");
    let (_, text) = page.split_once("\r\n\r\n").unwrap();
    let mut families: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    let all = families.len();
    families.dedup();
    assert_eq!(families.len(), all, "{text}");
    let mut samples: Vec<&str> =
        text.lines().filter(|line| !line.starts_with('#')).map(|line| line.rsplit_once(' ').unwrap().0).collect();
    let all = samples.len();
    samples.sort_unstable();
    samples.dedup();
    assert_eq!(samples.len(), all, "two samples of one name and the same labels:\n{text}");
}

#[test]
fn stopping_closes_every_socket() {
    let running = start(&settings(EVERYTHING)).unwrap();
    let addresses = running.addresses().clone();
    running.stop();
    UdpSocket::bind(addresses.udp[0]).unwrap();
    TcpListener::bind(addresses.signalling.unwrap()).unwrap();
    TcpListener::bind(addresses.admin.unwrap()).unwrap();
}

#[test]
fn a_port_in_use_is_named_with_the_fix_and_nothing_half_starts() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let free = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let text = format!("[listen]\nudp = [\"{free}\"]\nadmin = \"127.0.0.1:{port}\"\n");
    let message = refused(&settings(&text));
    assert!(
        message.starts_with(&format!("cannot listen on admin 127.0.0.1:{port}: port {port} is in use")),
        "{message}"
    );
    assert!(message.contains("change [listen] admin"), "{message}");
    UdpSocket::bind(free).expect("the UDP listener was closed again");
}

#[test]
fn a_second_server_on_the_same_udp_port_is_refused() {
    let first = start(&settings(EVERYTHING)).unwrap();
    let address = first.addresses().udp[0];
    let message = refused(&settings(&format!("[listen]\nudp = [\"{address}\"]\n")));
    assert!(message.contains(&format!("port {} is in use", address.port())), "{message}");
}

#[test]
fn an_address_of_another_machine_is_refused_with_the_fix() {
    let message = refused(&settings("[listen]\nudp = [\"192.0.2.1:0\"]\n"));
    assert!(message.contains("this machine has no such address"), "{message}");
}

#[test]
fn without_signalling_it_is_a_plain_stun_and_turn_server() {
    let running = start(&settings("[listen]\nudp = [\"127.0.0.1:0\"]\n")).unwrap();
    assert_eq!(running.addresses().signalling, None);
    assert_eq!(running.addresses().udp.len(), 1);
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let binding = b"\x00\x01\x00\x00\x21\x12\xa4\x42twelve bytes";
    client.send_to(binding, running.addresses().udp[0]).unwrap();
    let mut answer = [0; 512];
    let length = client.recv(&mut answer).unwrap();
    assert_eq!(answer[..2], [0x01, 0x01], "a Binding success");
    assert_eq!(answer[8..20], binding[8..20]);
    assert!(length > 20);
}

/// `POST /demo/token`, then `hello` on a WebSocket: what the page does first.
async fn enter(signalling: SocketAddr) -> Socket {
    let token = tokio::task::spawn_blocking(move || demo_token(signalling)).await.unwrap();
    let mut request = format!("ws://{signalling}/v1/ws").into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", "pair.v1".parse().unwrap());
    let (mut socket, _) = tokio_tungstenite::connect_async(request).await.unwrap();
    send(&mut socket, json!({ "t": "hello", "q": 1, "v": [1], "token": token })).await;
    assert_eq!(receive(&mut socket).await["t"], "welcome");
    socket
}

fn demo_token(signalling: SocketAddr) -> String {
    let body = r#"{"lvl":"B1","g":"x","band":"18+","name":"Ada"}"#;
    let mut stream = TcpStream::connect(signalling).unwrap();
    let length = body.len();
    write!(
        stream,
        "POST /demo/token HTTP/1.1\r\nhost: {signalling}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
    let body: Value = serde_json::from_str(body).unwrap();
    body["token"].as_str().unwrap().to_owned()
}

async fn send(socket: &mut Socket, frame: Value) {
    socket.send(Message::text(frame.to_string())).await.unwrap();
}

async fn receive(socket: &mut Socket) -> Value {
    let frame = tokio::time::timeout(Duration::from_secs(5), socket.next()).await.unwrap().unwrap().unwrap();
    serde_json::from_str(frame.to_text().unwrap()).unwrap()
}

async fn receive_until(socket: &mut Socket, kind: &str) -> Value {
    loop {
        let frame = receive(socket).await;
        if frame["t"] == kind {
            return frame;
        }
    }
}

#[tokio::test(flavor = "current_thread")]
async fn two_strangers_with_demo_tokens_are_matched_and_told_the_real_turn_address() {
    let running = start(&settings(EVERYTHING)).unwrap();
    let signalling = running.addresses().signalling.unwrap();
    let mut ada = enter(signalling).await;
    send(&mut ada, json!({ "t": "queue", "q": 2 })).await;
    let queued = receive_until(&mut ada, "queued").await;
    let url = format!("turn:{}?transport=udp", running.addresses().udp[0]);
    assert_eq!(queued["ice"]["servers"][0]["urls"], json!([url]));
    let mut grace = enter(signalling).await;
    send(&mut grace, json!({ "t": "queue", "q": 2 })).await;
    let (one, other) = (receive_until(&mut ada, "matched").await, receive_until(&mut grace, "matched").await);
    assert_eq!(one["call"], other["call"]);
    let admin = running.addresses().admin.unwrap();
    let page = tokio::task::spawn_blocking(move || get(admin, "/metrics")).await.unwrap();
    for sample in
        ["relay_calls 1\n", "relay_queue_tickets 0\n", "relay_matches_total 1\n", "relay_signalling_sessions 2\n"]
    {
        assert!(page.contains(sample), "{sample} is missing: {page}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn whoever_is_connected_is_told_that_the_server_goes_away() {
    let running = start(&settings(EVERYTHING)).unwrap();
    let mut ada = enter(running.addresses().signalling.unwrap()).await;
    let stopping = tokio::task::spawn_blocking(move || running.stop());
    let last = tokio::time::timeout(Duration::from_secs(5), ada.next()).await.unwrap().unwrap().unwrap();
    let Message::Close(Some(frame)) = last else { panic!("{last:?}") };
    assert_eq!(u16::from(frame.code), 1001);
    drop(ada);
    stopping.await.unwrap();
}

#[test]
fn what_an_empty_file_means_is_what_the_relay_does_by_default() {
    let (written, default) = (parts::turn(&settings(""), &[]), crate::turn::Settings::default());
    assert_eq!(
        (written.call_limits, written.user_limits, written.total_limits),
        (default.call_limits, default.user_limits, default.total_limits)
    );
    assert_eq!(written.call_payload, default.call_payload);
    let replies = |settings: &crate::turn::Settings| {
        (settings.unauthenticated.per_second, settings.unauthenticated.burst, settings.unauthenticated.exempt.len())
    };
    assert_eq!(replies(&written), replies(&default));
    let tables = |settings: &crate::turn::Settings| {
        (settings.max_allocations, settings.user_allocations, settings.max_permissions, settings.max_channels)
    };
    assert_eq!(tables(&written), tables(&default));
    assert!(written.nat_discovery.is_none() && written.alternate_servers.is_empty());
}

#[test]
fn nat_discovery_is_told_by_public_names_and_is_no_address_for_calls() {
    let text = "[listen]\nudp = [\"10.0.0.4:3478\"]\nnat_discovery = [\"10.0.0.4:3478\", \"10.0.0.5:3479\"]\n\
        [relay]\naddresses = [{ bind = \"10.0.0.4\", public = \"203.0.113.7\" }, { bind = \"10.0.0.5\", public = \"203.0.113.8\" }]\n";
    let settings = settings(text);
    let udp = reload::udp_doors(&settings, &settings.listen.udp_sockets());
    let sites = parts::turn(&settings, &udp).nat_discovery.unwrap().sites;
    let told = sites.map(|ports| ports.map(|site| (site.listener, site.local.to_string(), site.public.to_string())));
    let site = |listener, local: &str, public: &str| (listener, local.to_owned(), public.to_owned());
    assert_eq!(
        told,
        [
            [site(0, "10.0.0.4:3478", "203.0.113.7:3478"), site(1, "10.0.0.4:3479", "203.0.113.7:3479")],
            [site(2, "10.0.0.5:3478", "203.0.113.8:3478"), site(3, "10.0.0.5:3479", "203.0.113.8:3479")],
        ]
    );
}
