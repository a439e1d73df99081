//! Sentences about HTTP/2, frame by frame.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex, split};
use tokio::time::{Instant, sleep};

use super::*;

/// For what never happens in these tests.
const LONG: Duration = Duration::from_secs(60);
/// For what must happen, on any machine.
const PATIENT: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(300);
const ROOMY: Patience = Patience { connections: 1, head: LONG, silence: LONG };

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ENHANCE_YOUR_CALM: [u8; 4] = [0, 0, 0, 11];
/// GET, `/`, https, and `:authority: x` (RFC 7541 appendix A).
const GET_ROOT: &[u8] = b"\x82\x84\x87\x01\x01x";

struct Client {
    reading: ReadHalf<DuplexStream>,
    writing: WriteHalf<DuplexStream>,
}

struct Frame {
    kind: u8,
    flags: u8,
    payload: Vec<u8>,
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

impl Client {
    /// Has said its preface.
    async fn new(patience: Patience) -> Client {
        let (ours, theirs) = duplex(1 << 18);
        let host = async |headers: axum::http::HeaderMap| format!("{:?}", headers[header::HOST]);
        let page = Router::new().route("/", get(host));
        tokio::spawn(serve_http2(theirs, "192.0.2.1:1".parse().unwrap(), page, patience));
        let (reading, writing) = split(ours);
        let mut client = Client { reading, writing };
        client.say(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        client.say(&frame(SETTINGS, 0, 0, &[])).await;
        client
    }

    async fn say(&mut self, bytes: &[u8]) {
        // It may have closed already.
        let _ = self.writing.write_all(bytes).await;
    }

    /// `None` once it is closed.
    async fn hear(&mut self) -> Option<Frame> {
        let read = async {
            let mut head = [0; 9];
            self.reading.read_exact(&mut head).await.ok()?;
            let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
            self.reading.read_exact(&mut payload).await.ok()?;
            Some(Frame { kind: head[3], flags: head[4], payload })
        };
        timeout(PATIENT, read).await.expect("it says something or closes")
    }

    async fn hear_a(&mut self, kind: u8) -> Frame {
        while let Some(frame) = self.hear().await {
            if frame.kind == kind {
                return frame;
            }
        }
        panic!("closed without a frame of type {kind}")
    }

    async fn is_given_the_page(&mut self, stream: u32) {
        self.say(&frame(HEADERS, END_STREAM | END_HEADERS, stream, GET_ROOT)).await;
        assert_eq!(self.hear_a(HEADERS).await.payload[0], 0x88, ":status 200");
        let data = self.hear_a(DATA).await;
        assert_eq!(data.payload, b"\"x\"", "the host is where it is looked for");
    }

    /// Keeps the connection from being silent.
    async fn ends_whatever_it_pings(mut self) {
        let begin = Instant::now();
        let pinging = async {
            loop {
                let _ = self.writing.write_all(&frame(PING, 0, 0, &[7; 8])).await;
                sleep(Duration::from_millis(20)).await;
            }
        };
        let mut rest = Vec::new();
        tokio::select! {
            () = pinging => {}
            end = timeout(PATIENT, self.reading.read_to_end(&mut rest)) => drop(end.expect("it is closed")),
        }
        assert!(begin.elapsed() >= SHORT / 2, "after {:?}", begin.elapsed());
    }
}

#[tokio::test]
async fn a_page_is_served_and_the_bounds_are_announced() {
    let mut client = Client::new(ROOMY).await;
    let settings = client.hear_a(SETTINGS).await;
    let setting = |id: u16| {
        let found = settings.payload.chunks(6).find(|setting| setting[..2] == id.to_be_bytes());
        found.map(|setting| u32::from_be_bytes(setting[2..].try_into().unwrap()))
    };
    let [streams, window, head, connect] = [3, 4, 6, 8].map(setting);
    assert_eq!((streams, window, head), (Some(16), Some(16 * 1024), Some(16 * 1024)));
    assert_eq!(connect, None, "no WebSocket inside (RFC 8441)");
    client.is_given_the_page(1).await;
    client.is_given_the_page(3).await;
}

#[tokio::test]
async fn connect_opens_nothing() {
    let mut client = Client::new(ROOMY).await;
    // `:method: CONNECT`, `:authority: x`
    client.say(&frame(HEADERS, END_HEADERS, 1, b"\x02\x07CONNECT\x01\x01x")).await;
    assert_ne!(client.hear_a(HEADERS).await.payload[0], 0x88);
    client.is_given_the_page(3).await;
}

#[tokio::test]
async fn w03_a_connection_that_never_asks_is_closed_whatever_else_it_says() {
    let client = Client::new(Patience { head: SHORT, ..ROOMY }).await;
    client.ends_whatever_it_pings().await;
}

#[tokio::test]
async fn a_connection_that_asks_no_more_is_closed_whatever_else_it_says() {
    let mut client = Client::new(Patience { silence: SHORT, ..ROOMY }).await;
    client.is_given_the_page(1).await;
    client.ends_whatever_it_pings().await;
}

#[tokio::test]
async fn w03_a_head_that_is_too_long_is_refused() {
    let mut client = Client::new(ROOMY).await;
    client.say(&frame(HEADERS, END_STREAM, 1, GET_ROOT)).await;
    // Literals of 132 bytes as RFC 9113 §6.5.2 counts them, none of them kept.
    let field = [&b"\x00\x01x\x63"[..], &[b'y'; 99]].concat();
    for _ in 0..10 {
        client.say(&frame(CONTINUATION, 0, 1, &field.repeat(150))).await;
    }
    client.say(&frame(CONTINUATION, END_HEADERS, 1, &field)).await;
    while let Some(heard) = client.hear().await {
        match heard.kind {
            HEADERS => return assert_ne!(heard.payload[0], 0x88, "refused"),
            GOAWAY => return,
            _ => {}
        }
    }
}

#[tokio::test]
async fn requests_that_are_reset_at_once_end_the_connection() {
    let mut client = Client::new(ROOMY).await;
    let flood: Vec<u8> = (0..400)
        .map(|number| number * 2 + 1)
        .flat_map(|stream| {
            [frame(HEADERS, END_STREAM | END_HEADERS, stream, GET_ROOT), frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])]
        })
        .flatten()
        .collect();
    client.say(&flood).await;
    let goaway = client.hear_a(GOAWAY).await;
    assert_eq!((goaway.flags, &goaway.payload[4..8]), (0, &ENHANCE_YOUR_CALM[..]));
    while client.hear().await.is_some() {}
}
