//! One port for TURN, HTTPS and WebSocket; a certificate that is replaced while people talk.

use e2e::certificate::{connect, replace, spoil};
use e2e::{Claims, Daemon, eventually};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::process::Command;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;

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
    let mut page = connect(&daemon, daemon.tls(), &["h2", "http/1.1"]).await.unwrap();
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
