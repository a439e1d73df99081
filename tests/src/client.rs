//! `pair.v1` by hand: a WebSocket on which a test says exactly what it wants and waits for what it expects.

use crate::Daemon;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::net::SocketAddr;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// One connection. Nothing is sent that the test did not ask for, except `ack` by [`Caller::matched`].
pub struct Caller {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    request: u64,
    /// The number of the last message that bore one: what a resumption begins after.
    pub heard: u64,
    /// The last `pass`, where there are other nodes.
    pub pass: Option<String>,
}

/// What came instead of a message.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    /// The server closed, with this code if it gave one.
    Closed(Option<u16>),
    /// Nothing came within [`crate::PATIENCE`].
    Silence,
}

impl Caller {
    /// Opens the socket and shows the token; returns after `welcome`.
    pub async fn connect(daemon: &Daemon, token: &str) -> (Caller, Value) {
        let mut caller = Caller::open(daemon, None).await.unwrap();
        caller.request(json!({ "t": "hello", "v": [1], "token": token })).await;
        let welcome = caller.expect("welcome").await;
        (caller, welcome)
    }

    /// Opens the socket only, as a page of `origin` would.
    pub async fn open(daemon: &Daemon, origin: Option<&str>) -> Result<Caller, Box<Error>> {
        Caller::open_at(daemon.signalling(), origin).await
    }

    /// The same where something stands between.
    pub async fn open_at(address: SocketAddr, origin: Option<&str>) -> Result<Caller, Box<Error>> {
        let mut request = format!("ws://{address}/v1/ws").into_client_request().map_err(Box::new)?;
        request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("pair.v1"));
        if let Some(origin) = origin {
            request.headers_mut().insert("origin", HeaderValue::from_str(origin).unwrap());
        }
        let (socket, _) = tokio_tungstenite::connect_async(request).await.map_err(Box::new)?;
        Ok(Caller { socket, request: 0, heard: 0, pass: None })
    }

    /// Sends a message as it is.
    pub async fn send(&mut self, message: Value) {
        self.send_text(&message.to_string()).await;
    }

    /// Sends a message with the next request number; returns that number.
    pub async fn request(&mut self, mut message: Value) -> u64 {
        self.request += 1;
        message["q"] = self.request.into();
        self.send(message).await;
        self.request
    }

    /// Sends a text frame that need not be JSON.
    pub async fn send_text(&mut self, text: &str) {
        // A server that has closed already is found out by what is received next.
        let _ = self.socket.send(Message::text(text)).await;
    }

    /// The next message, whatever it is.
    pub async fn next(&mut self) -> Result<Value, Ended> {
        loop {
            let frame = tokio::time::timeout(crate::PATIENCE, self.socket.next()).await;
            match frame.map_err(|_| Ended::Silence)? {
                Some(Ok(Message::Text(text))) => {
                    let message: Value = serde_json::from_str(&text).expect("the server speaks JSON");
                    self.heard = message["n"].as_u64().unwrap_or(self.heard);
                    // Told beside everything else where there are other nodes.
                    if message["t"] == "pass" {
                        self.pass = message["pass"].as_str().map(str::to_owned);
                        continue;
                    }
                    return Ok(message);
                }
                Some(Ok(Message::Close(frame))) => return Err(Ended::Closed(frame.map(|frame| frame.code.into()))),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(Ended::Closed(None)),
            }
        }
    }

    /// The next message of this type; `position`, `quality` and `pong` in between are passed over, anything else fails the test.
    pub async fn expect(&mut self, t: &str) -> Value {
        self.expect_past(&["position", "quality", "pong"], t).await
    }

    async fn expect_past(&mut self, passed_over: &[&str], t: &str) -> Value {
        loop {
            let message = self.next().await.unwrap_or_else(|ended| panic!("waiting for `{t}`: {ended:?}"));
            match message["t"].as_str() {
                Some(given) if given == t => return message,
                Some(given) if passed_over.contains(&given) => {}
                _ => panic!("waiting for `{t}`: {message}"),
            }
        }
    }

    /// The next message of this type, whatever comes before it.
    pub async fn at_last(&mut self, t: &str) -> Value {
        loop {
            let message = self.next().await.unwrap_or_else(|ended| panic!("waiting for `{t}`: {ended:?}"));
            if message["t"] == t {
                return message;
            }
        }
    }

    /// Waits in the queue for a partner, and says that somebody is awake.
    pub async fn matched(&mut self) -> Value {
        let matched = self.expect_past(&["queued", "position", "quality", "pong"], "matched").await;
        self.send(json!({ "t": "ack", "call": matched["call"] })).await;
        matched
    }

    /// Closes the socket politely.
    pub async fn close(mut self) {
        let _ = self.socket.close(None).await;
    }
}
