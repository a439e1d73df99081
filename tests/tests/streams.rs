//! One port for TURN, HTTPS and WebSocket; a certificate that is replaced while people talk.

use crate::people::one_test_at_a_time;
use e2e::browser::{Driver, Microphone};
use e2e::certificate::{connect, replace, spoil};
use e2e::{Claims, Daemon, PATIENCE, eventually};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::process::Command;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderValue, Request};

const BINDING: &[u8] = b"\x00\x01\x00\x00\x21\x12\xa4\x42twelve bytes";

fn daemon() -> Daemon {
    Daemon::local().set("listen = { tcp = ['127.0.0.1:0'], tls = ['127.0.0.1:0'] }").with_certificate().start()
}

/// Asks for a Binding and answers whether it came.
async fn binding(stream: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin)) -> bool {
    let mut answer = [0; 32];
    stream.write_all(BINDING).await.is_ok()
        && stream.read_exact(&mut answer).await.is_ok()
        && answer[8..20] == BINDING[8..20]
}

#[tokio::test]
async fn the_page_turn_and_pair_v1_share_the_tls_port() {
    let daemon = daemon();
    let mut page = connect(&daemon, daemon.tls(), &["http/1.1"]).await.unwrap();
    page.write_all(b"GET / HTTP/1.1\r\nhost: relay.test\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut text = String::new();
    let _ = page.read_to_string(&mut text).await;
    assert!(text.starts_with("HTTP/1.1 200") && text.contains("<!doctype html>"), "{text}");

    let mut turn = connect(&daemon, daemon.tls(), &["stun.turn"]).await.unwrap();
    assert!(binding(&mut turn).await);

    let stream = connect(&daemon, daemon.tls(), &["http/1.1"]).await.unwrap();
    let mut request = "wss://relay.test/v1/ws".into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("pair.v1"));
    let (mut socket, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
    let hello = json!({ "t": "hello", "v": [1], "q": 1, "token": Claims::adult("lea").token() });
    socket.send(Message::text(hello.to_string())).await.unwrap();
    let welcome = socket.next().await.unwrap().unwrap();
    let welcome: Value = serde_json::from_str(welcome.to_text().unwrap()).unwrap();
    assert_eq!(welcome["t"], "welcome");
    assert!(binding(&mut turn).await, "and nobody was in the way");
}

/// Asks for `/` over HTTP/2 and answers with what came.
async fn page_over_http2(daemon: &Daemon) -> String {
    let stream = connect(daemon, daemon.tls(), &["h2", "http/1.1"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    assert!(!client.is_extended_connect_protocol_enabled(), "WebSocket is for HTTP/1.1");
    let (answer, _) = client.send_request(Request::get("https://relay.test/").body(()).unwrap(), true).unwrap();
    let answer = answer.await.unwrap();
    assert_eq!(answer.status(), 200);
    let (mut body, mut text) = (answer.into_body(), Vec::new());
    while let Some(piece) = body.data().await {
        let piece = piece.unwrap();
        body.flow_control().release_capacity(piece.len()).unwrap();
        text.extend_from_slice(&piece);
    }
    String::from_utf8(text).unwrap()
}

#[tokio::test]
async fn the_page_is_served_over_http2_too() {
    let daemon = daemon();
    let page = page_over_http2(&daemon).await;
    assert!(page.contains("<!doctype html>"), "{page}");
    let mut turn = connect(&daemon, daemon.tls(), &["stun.turn", "h2"]).await.unwrap();
    assert!(binding(&mut turn).await);
}

#[tokio::test]
async fn http2_and_its_name_go_together() {
    let daemon = daemon();
    let (preface, get) = (&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"[..]);
    for (named, bytes) in [
        (&["http/1.1"][..], preface),
        (&["stun.turn"], preface),
        (&[], preface),
        (&["h2"], get),
        (&["h2"], BINDING),
        (&["h2"], b"PRI * HTTP/3.0\r\n\r\nSM\r\n\r\n"),
    ] {
        let mut stream = connect(&daemon, daemon.tls(), named).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        let closed = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
        assert!(closed.is_ok() && !answer.windows(7).any(|seven| seven == b"doctype"), "{named:?} {bytes:?}");
    }
}

/// A browser takes the page over HTTP/2, and opens its WebSocket beside it, over HTTP/1.1.
#[test]
fn chromium_opens_the_page_over_http2_and_its_websocket_on_the_same_port() {
    let _turn = one_test_at_a_time();
    let daemon = Daemon::local().set("listen = { tls = ['127.0.0.1:0'] }").with_certificate().start();
    let driver = Driver::trusting(&daemon.authority());
    let page = driver.browser(Microphone::Allowed);
    page.open(&format!("https://localhost:{}/", daemon.tls().port()));
    let spoken = "return performance.getEntriesByType('navigation')[0].nextHopProtocol";
    assert_eq!(page.run(spoken), "h2");
    page.type_into("#name", "Ana");
    page.click("input[value='18+']");
    page.click("#screen-you button[type='submit']");
    // Topics come with `welcome`, over the WebSocket; the token came over HTTP/2.
    page.until(
        "!document.querySelector('#screen-wish').hidden && document.querySelectorAll('#topics input').length > 0",
    );
}

#[tokio::test]
async fn sighup_reads_the_certificate_again_and_connections_that_exist_go_on() {
    let mut daemon = daemon();
    let mut old = connect(&daemon, daemon.tls(), &[]).await.unwrap();
    assert!(binding(&mut old).await);
    replace(&daemon);
    hang_up(&mut daemon, "the certificate was read again");
    let mut new = connect(&daemon, daemon.tls(), &[]).await.unwrap();
    assert!(binding(&mut new).await && binding(&mut old).await);
    spoil(&daemon);
    hang_up(&mut daemon, "is not the key of the first certificate");
    assert!(connect(&daemon, daemon.tls(), &[]).await.is_err(), "the one before is still shown");
    assert!(binding(&mut new).await && binding(&mut old).await);
}

fn hang_up(daemon: &mut Daemon, answer: &str) {
    let id = daemon.process().id().to_string();
    assert!(Command::new("kill").args(["-HUP", &id]).status().unwrap().success());
    eventually(answer, || daemon.log().contains(answer).then_some(()));
}
