//! A server that sits between browsers and the daemon and does what an untrustworthy one might: it puts a fingerprint of its own
//! into every description, in both directions.

use futures_util::{Sink, SinkExt, Stream, StreamExt};
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error, Message};

/// Bound before the daemon starts, which must admit its origin. Gone with its runtime.
pub struct Meddler {
    address: SocketAddr,
    daemon: Arc<OnceLock<SocketAddr>>,
    _runtime: tokio::runtime::Runtime,
}

impl Meddler {
    /// On a free port of this machine.
    pub fn bind() -> Meddler {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let daemon = Arc::new(OnceLock::new());
        let to = Arc::clone(&daemon);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                if let Some(&daemon) = to.get() {
                    tokio::spawn(serve(stream, daemon));
                }
            }
        });
        Meddler { address, daemon, _runtime: runtime }
    }

    /// What a browser would call the page's origin.
    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where everything goes in the end.
    pub fn stand_before(&self, daemon: SocketAddr) {
        self.daemon.set(daemon).expect("stands before one daemon already");
    }
}

/// Files pass as they are; the socket's frames are read.
async fn serve(mut stream: TcpStream, daemon: SocketAddr) {
    let mut start = [0; 10];
    while stream.peek(&mut start).await.is_ok_and(|read| 0 < read && read < start.len()) {
        tokio::task::yield_now().await;
    }
    if start.starts_with(b"GET /v1/ws") {
        let _ = meddle(stream, daemon).await;
    } else if let Ok(mut upstream) = TcpStream::connect(daemon).await {
        let _ = copy_bidirectional(&mut stream, &mut upstream).await;
    }
}

async fn meddle(stream: TcpStream, daemon: SocketAddr) -> Result<(), Box<Error>> {
    let protocol = HeaderValue::from_static("pair.v1");
    let mut origin = None;
    #[allow(clippy::result_large_err)] // the callback's type is the library's
    let answer = |request: &Request, mut response: Response| {
        origin = request.headers().get("origin").cloned();
        response.headers_mut().insert("sec-websocket-protocol", protocol.clone());
        Ok(response)
    };
    let browser = tokio_tungstenite::accept_hdr_async(stream, answer).await?;
    let mut request = format!("ws://{daemon}/v1/ws").into_client_request()?;
    request.headers_mut().insert("sec-websocket-protocol", protocol.clone());
    request.headers_mut().extend(origin.map(|origin| (tokio_tungstenite::tungstenite::http::header::ORIGIN, origin)));
    let (server, _) = tokio_tungstenite::connect_async(request).await?;
    let ((to_browser, from_browser), (to_server, from_server)) = (browser.split(), server.split());
    tokio::select! {
        () = pass(from_browser, to_server) => {}
        () = pass(from_server, to_browser) => {}
    }
    Ok(())
}

async fn pass(
    mut from: impl Stream<Item = Result<Message, Error>> + Unpin,
    mut to: impl Sink<Message, Error = Error> + Unpin,
) {
    while let Some(Ok(message)) = from.next().await {
        let message = match message {
            Message::Text(text) => Message::text(swapped(&text)),
            other => other,
        };
        if to.send(message).await.is_err() {
            return;
        }
    }
}

/// The same frame with another fingerprint: every second hexadecimal digit is the next one.
fn swapped(frame: &str) -> String {
    const MARK: &str = "a=fingerprint:sha-256 ";
    const DIGITS: usize = 95;
    let Some((before, rest)) = frame.split_once(MARK) else { return frame.to_owned() };
    let (print, after) = rest.split_at(DIGITS.min(rest.len()));
    let other: String =
        print.bytes().enumerate().map(|(at, digit)| if at % 3 == 0 { next(digit) } else { digit as char }).collect();
    format!("{before}{MARK}{other}{}", swapped(after))
}

fn next(digit: u8) -> char {
    let value = char::from(digit).to_digit(16).unwrap_or(0);
    char::from_digit((value + 1) % 16, 16).unwrap_or('0').to_ascii_uppercase()
}
