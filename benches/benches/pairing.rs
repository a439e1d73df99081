//! From one frame of a client to `matched` at both, while many wait; against a bare WebSocket that answers one frame with two.
//!
//! `cargo bench -p benches --bench pairing [-- WAITING ROUNDS]` (100,000 and 3,000 by default). Both servers run in this process, each on a thread
//! of its own with one runtime, as in the daemon; rounds alternate. What is timed is what a client sees over loopback: from the write of its
//! `queue` until `queued` is here and both have read `matched`, and from the write of a frame until both frames of the answer are here.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use axum::extract::connect_info::MockConnectInfo;
use axum::serve::ListenerExt as _;
use futures_util::{SinkExt as _, StreamExt as _};
use relay::auth::Credential;
use relay::calls::{Full, Gone, Handle, Heard};
use relay::clock::Clock;
use relay::matchmaking::{Band, Gender, Policy};
use relay::signalling::desk::{self, Connection, Desk};
use relay::signalling::token::{self, Key, Minter, Profile};
use relay::signalling::{Peer, RelayDesk, Settings, spawn_prepared};
use relay::time::{Millis, Now};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

const SECRET: &[u8] = b"a secret of this benchmark, 32 bytes";
/// `queue` may be said so often a minute.
const QUEUES: usize = 6;
/// Number of the first who waits and is not there.
const FIRST: u64 = 1 << 40;
/// As long as two frames of `matched`.
const ECHO_BYTES: usize = 450;

type Socket = WebSocketStream<TcpStream>;

fn main() {
    let numbers: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let (waiting, rounds) = (numbers.first().copied().unwrap_or(100_000), numbers.get(1).copied().unwrap_or(3_000));
    let (pairing, echo) = (serve_pairing(waiting), serve_echo());
    runtime().block_on(compare(pairing, echo, waiting, rounds));
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

async fn compare(pairing: SocketAddr, echo: SocketAddr, waiting: usize, rounds: usize) {
    let mut bare = connect(echo).await;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let mut people = 0;
    while ours.len() < rounds {
        let mut pair = [enter(pairing, &mut people).await, enter(pairing, &mut people).await];
        for _ in 0..QUEUES {
            theirs.push(answered(&mut bare).await);
            ours.push(matched(&mut pair).await);
        }
    }
    println!("{waiting} wait; {} rounds of each, interleaved", ours.len());
    let ours = percentiles("both matched", ours);
    let theirs = percentiles("bare echo of two", theirs);
    println!("ratio of p50: {:.2}, of p99: {:.2}", ours[0] / theirs[0], ours[2] / theirs[2]);
}

/// p50, p90, p99 in microseconds.
fn percentiles(what: &str, mut took: Vec<Duration>) -> [f64; 3] {
    took.sort_unstable();
    let at = |percent: usize| took[(took.len() - 1) * percent / 100].as_secs_f64() * 1e6;
    let found = [at(50), at(90), at(99)];
    println!("{what:<18} p50 {:>7.0} µs  p90 {:>7.0} µs  p99 {:>7.0} µs", found[0], found[1], found[2]);
    found
}

async fn matched(pair: &mut [Socket; 2]) -> Duration {
    let [one, other] = pair;
    let wish = json!({ "t": "queue", "gender": ["f"] }).to_string();
    one.send(Message::text(wish.clone())).await.unwrap();
    hear(one, "queued").await;
    let start = Instant::now();
    other.send(Message::text(wish)).await.unwrap();
    let (call, _) = tokio::join!(hear(one, "matched"), hear(other, "matched"));
    let took = start.elapsed();
    one.send(Message::text(json!({ "t": "hangup", "call": call["call"] }).to_string())).await.unwrap();
    hear(one, "ended").await;
    hear(other, "ended").await;
    took
}

async fn answered(bare: &mut Socket) -> Duration {
    let start = Instant::now();
    bare.send(Message::text("x".repeat(40))).await.unwrap();
    for _ in 0..2 {
        bare.next().await.unwrap().unwrap();
    }
    start.elapsed()
}

/// The next frame of this type.
async fn hear(socket: &mut Socket, t: &str) -> Value {
    loop {
        let Some(Ok(Message::Text(text))) = socket.next().await else { panic!("closed instead of {t}") };
        let frame: Value = serde_json::from_str(&text).unwrap();
        assert_ne!(frame["t"], "error", "{frame}");
        if frame["t"] == t {
            return frame;
        }
    }
}

async fn connect(address: SocketAddr) -> Socket {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut request = format!("ws://{address}/v1/ws").into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", "pair.v1".parse().unwrap());
    tokio_tungstenite::client_async(request, stream).await.unwrap().0
}

async fn enter(address: SocketAddr, people: &mut u64) -> Socket {
    *people += 1;
    let mut socket = connect(address).await;
    let token = token(Clock::start().now(), *people, Gender::F, Gender::F);
    socket.send(Message::text(json!({ "t": "hello", "v": [1], "token": token }).to_string())).await.unwrap();
    hear(&mut socket, "welcome").await;
    socket
}

fn token(now: Now, number: u64, gender: Gender, wants: Gender) -> String {
    let mut profile = Profile::adult(format!("pseudonym-{number:012}"));
    (profile.gender, profile.entitled) = (gender, vec![wants]);
    Minter::hs256("bench", SECRET, "bench", "bench").mint(now.unix, 600, &number.to_string(), &profile)
}

fn serve_pairing(waiting: usize) -> SocketAddr {
    in_a_thread(move || async move {
        let clock = Clock::start();
        let prepare = |desk: &mut Desk| fill(desk, clock, waiting);
        let signalling = spawn_prepared(settings(waiting), Box::new(NoRelay), clock, [7; 32], prepare);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let listener = listener.tap_io(|stream| stream.set_nodelay(true).unwrap());
        (address, async move {
            let somewhere = MockConnectInfo(Peer("127.0.0.1:9".parse().unwrap()));
            axum::serve(listener, signalling.router().layer(somewhere)).await.unwrap();
        })
    })
}

fn serve_echo() -> SocketAddr {
    in_a_thread(|| async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (address, async move {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let mut socket = tokio_tungstenite::accept_hdr_async(stream, speak_pair).await.unwrap();
            while let Some(Ok(_)) = socket.next().await {
                for _ in 0..2 {
                    socket.send(Message::text("x".repeat(ECHO_BYTES))).await.unwrap();
                }
            }
        })
    })
}

#[allow(clippy::result_large_err, reason = "the type of the callback is the library's")]
fn speak_pair(
    _: &tokio_tungstenite::tungstenite::handshake::server::Request,
    mut response: tokio_tungstenite::tungstenite::handshake::server::Response,
) -> Result<
    tokio_tungstenite::tungstenite::handshake::server::Response,
    tokio_tungstenite::tungstenite::handshake::server::ErrorResponse,
> {
    response.headers_mut().insert("sec-websocket-protocol", "pair.v1".parse().unwrap());
    Ok(response)
}

/// Runs a server on a thread of its own; its address.
fn in_a_thread<S, W>(start: impl FnOnce() -> S + Send + 'static) -> SocketAddr
where
    S: Future<Output = (SocketAddr, W)>,
    W: Future<Output = ()>,
{
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        runtime().block_on(async {
            let (address, work) = start().await;
            tell.send(address).unwrap();
            work.await;
        });
    });
    told.recv().unwrap()
}

/// People who fit nobody: women want men, men want the third gender, who want women.
fn fill(desk: &mut Desk, clock: Clock, waiting: usize) {
    let now = clock.now();
    for number in FIRST..FIRST + waiting as u64 {
        let (gender, wants) = match number % 3 {
            0 => (Gender::F, Gender::M),
            1 => (Gender::M, Gender::X),
            _ => (Gender::X, Gender::F),
        };
        let connection = Connection(number);
        desk.handle_open(now, connection);
        let hello = json!({ "t": "hello", "v": [1], "token": token(now, number, gender, wants) });
        desk.handle_frame(now, connection, &hello.to_string());
        desk.handle_frame(now, connection, r#"{"t":"queue"}"#);
        while desk.poll_output().is_some() {}
    }
}

fn settings(waiting: usize) -> Settings {
    let token = token::Settings {
        issuer: "bench".into(),
        audience: "bench".into(),
        keys: vec![("bench".into(), Key::hs256(SECRET).unwrap())],
        min_band: Band::B13_15,
    };
    let desk = desk::Settings {
        token,
        turn_urls: vec!["turn:127.0.0.1:3478?transport=udp".into()],
        direct_first: false,
        direct_bands: Vec::new(),
        topics: vec!["travel".into()],
        matching: Policy::default(),
        avoid_recent: false,
        max_sessions: 2 * waiting + 10_000,
        heartbeat_ms: 20_000,
        acceptance: false,
        reports: false,
        await_revocations: false,
        tag_secret: None,
    };
    let exempt = vec!["127.0.0.0/8".parse().unwrap()];
    Settings { desk, origins: Vec::new(), exempt, demo: None, reports: None, revocations: None }
}

/// The relay has its own measurements.
struct NoRelay;

impl RelayDesk for NoRelay {
    fn open(&mut self, _: Handle) -> Result<(), Full> {
        Ok(())
    }

    fn pair(&mut self, _: Handle, _: Handle) -> Result<(), Gone> {
        Ok(())
    }

    fn close(&mut self, _: Handle) {}

    fn relayed(&self, _: &Handle) -> Vec<SocketAddr> {
        Vec::new()
    }

    fn listen(&mut self, _: &Handle, _: bool) -> Heard {
        Heard { last: Millis(0), ..Heard::default() }
    }

    fn mint(&self, now: Now, handle: Handle, generation: u32, secs: u32) -> Credential {
        let expires = now.unix.0 + u64::from(secs);
        let username = format!("1.{expires}.{}.{generation}", handle.to_base64url());
        Credential { username, password: "c".repeat(28) }
    }
}
