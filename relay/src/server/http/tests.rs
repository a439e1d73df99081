//! Sentences about the listeners in the clear, on real sockets.

#![allow(clippy::unwrap_used)]

use super::*;
use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

/// For what never happens in these tests.
const LONG: Duration = Duration::from_secs(60);
/// For what must happen, on any machine.
const PATIENT: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(100);
const ROOMY: Patience = Patience { connections: 8, head: LONG, silence: LONG };

async fn serve(patience: Patience) -> SocketAddr {
    let bound = bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = bound.address;
    let listener = bound.into_listener(patience).unwrap();
    let page = Router::new().route("/", get(async || "here"));
    tokio::spawn(listener.serve(page));
    address
}

async fn ask(stream: &mut TcpStream) -> io::Result<String> {
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await?;
    let mut answer = vec![0; 1024];
    let length = stream.read(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
}

/// Everything it says until it closes.
async fn until_closed(stream: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    let _ = timeout(PATIENT, stream.read_to_end(&mut rest)).await.expect("it is closed");
    rest
}

#[tokio::test]
async fn connections_beyond_the_bound_are_closed_and_a_place_is_given_back() {
    let address = serve(Patience { connections: 1, ..ROOMY }).await;
    let mut first = TcpStream::connect(address).await.unwrap();
    assert!(ask(&mut first).await.unwrap().contains("200 OK"));
    let mut second = TcpStream::connect(address).await.unwrap();
    assert!(ask(&mut second).await.map_or(true, |answer| answer.is_empty()), "there is no room");
    drop(first);
    for _ in 0..100 {
        let mut third = TcpStream::connect(address).await.unwrap();
        if ask(&mut third).await.is_ok_and(|answer| answer.contains("200 OK")) {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("the place was not given back");
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed() {
    let address = serve(Patience { silence: SHORT, ..ROOMY }).await;
    let mut silent = TcpStream::connect(address).await.unwrap();
    let begin = Instant::now();
    silent.write_all(b"GET / HT").await.unwrap();
    until_closed(&mut silent).await;
    assert!(begin.elapsed() >= SHORT, "closed after {:?}", begin.elapsed());
}

#[tokio::test]
async fn w02_http2_in_the_clear_is_closed_and_not_upgraded_to() {
    let address = serve(ROOMY).await;
    let mut smuggler = TcpStream::connect(address).await.unwrap();
    smuggler.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let answer = until_closed(&mut smuggler).await;
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"), "{answer:?}");
    let mut smuggler = TcpStream::connect(address).await.unwrap();
    let upgrade = b"GET / HTTP/1.1\r\nhost: x\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n\
        connection: upgrade, http2-settings, close\r\n\r\n";
    smuggler.write_all(upgrade).await.unwrap();
    let answer = until_closed(&mut smuggler).await;
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
}

#[tokio::test]
async fn w03_a_head_that_comes_byte_by_byte_is_not_waited_for() {
    const HEAD: Duration = Duration::from_millis(300);
    let address = serve(Patience { head: HEAD, ..ROOMY }).await;
    for asked_before in [false, true] {
        let mut slow = TcpStream::connect(address).await.unwrap();
        if asked_before {
            assert!(ask(&mut slow).await.unwrap().contains("200 OK"));
        }
        let (mut answers, mut drip) = slow.split();
        let endless = async {
            while drip.write_all(b"x").await.is_ok() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        let mut rest = Vec::new();
        let closed = async { timeout(PATIENT, answers.read_to_end(&mut rest)).await.expect("it is closed") };
        tokio::select! { _ = closed => {}, () = endless => {} }
        assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
    }
}

#[tokio::test]
async fn w03_a_head_that_is_too_long_is_refused() {
    let address = serve(ROOMY).await;
    let long = format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}", "x".repeat(64 * 1024));
    let many = format!("GET / HTTP/1.1\r\nhost: x\r\n{}\r\n", "x: y\r\n".repeat(200));
    for head in [long, many] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // It may stop reading before everything is written.
        let _ = stream.write_all(head.as_bytes()).await;
        let answer = until_closed(&mut stream).await;
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 431"), "{}", String::from_utf8_lossy(&answer));
    }
}
