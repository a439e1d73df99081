//! From one frame of a client to `matched` at both, while many wait; against bare WebSockets that answer one frame with two: both to who
//! asked, and one each to two people, as a match must.
//!
//! `cargo bench -p benches --bench pairing [-- WAITING ROUNDS]` (100,000 and 3,000 by default). The servers run in this process, each on a thread
//! of its own with one runtime, as in the daemon; all read and write through the same library with buffers of the same size, and the bare ones'
//! frames are as long as the `matched` of the round before; rounds alternate. Two spans are timed: what the client sees over loopback, from the
//! write of its frame until both have read the answer, unparsed; and within the server, from the read of that frame to the end of the last write.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

mod watch;

use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use axum::extract::connect_info::MockConnectInfo;
use futures_util::{SinkExt as _, StreamExt as _};
use relay::clock::Clock;
use relay::matchmaking::{Band, Gender, Policy, Recent};
use relay::signalling::desk::{self, Connection, Desk};
use relay::signalling::token::{self, Key, Minter, Profile};
use relay::signalling::{Gauges, NoRelay, Peer, Settings, spawn_prepared};
use relay::time::Now;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use watch::{Stopwatch, Watched, Watching};

const SECRET: &[u8] = b"a secret of this benchmark, 32 bytes";
/// `queue` may be said so often a minute.
const QUEUES: usize = 6;
/// Number of the first who waits and is not there.
const FIRST: u64 = 1 << 40;
/// What everybody says who wants a partner.
const WISH: &str = r#"{"t":"queue","gender":["f"]}"#;

type Socket = WebSocketStream<TcpStream>;

fn main() {
    let numbers: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let (waiting, rounds) = (numbers.first().copied().unwrap_or(100_000), numbers.get(1).copied().unwrap_or(3_000));
    let echoes = [serve_echo::<1>("echo-to-one"), serve_echo::<2>("echo-to-two")];
    runtime().block_on(compare(serve_pairing(waiting), echoes, waiting, rounds));
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

async fn compare(pairing: Server, [to_one, to_two]: [Server; 2], waiting: usize, rounds: usize) {
    let mut alone = [connect(to_one.address).await];
    let mut both = [connect(to_two.address).await, connect(to_two.address).await];
    let (mut ours, mut theirs) = (Vec::new(), [Vec::new(), Vec::new()]);
    let mut people = 0;
    // Those who wait have come in much faster than people do; they have heard their first position and widened.
    tokio::time::sleep(Duration::from_secs(12)).await;
    while ours.len() < rounds {
        let mut pair = [enter(pairing.address, &mut people).await, enter(pairing.address, &mut people).await];
        for _ in 0..QUEUES {
            let (spans, bytes) = matched(&mut pair, &pairing.watch).await;
            ours.push(spans);
            theirs[0].push(answered(&mut alone, &to_one.watch, bytes).await);
            theirs[1].push(answered(&mut both, &to_two.watch, bytes).await);
        }
    }
    println!("{waiting} wait; {} rounds of each, interleaved", ours.len());
    for (place, seen) in ["client", "server"].into_iter().enumerate() {
        let servers =
            [("both matched", &ours), ("echo, both to one", &theirs[0]), ("echo, one each to two", &theirs[1])];
        let [ours, theirs @ ..] = servers.map(|(what, spans)| {
            percentiles(&format!("{seen}, {what}"), spans.iter().map(|spans: &Spans| spans[place]).collect())
        });
        for (to, theirs) in ["one", "two"].into_iter().zip(theirs) {
            println!(
                "{seen}, ratio to the echo to {to}: of p50 {:.2}, of p99 {:.2}",
                ours[0] / theirs[0],
                ours[2] / theirs[2]
            );
        }
    }
}

/// As the client sees it, and within the server.
type Spans = [Duration; 2];

/// p50, p90, p99 in microseconds.
fn percentiles(what: &str, mut took: Vec<Duration>) -> [f64; 3] {
    took.sort_unstable();
    let at = |percent: usize| took[(took.len() - 1) * percent / 100].as_secs_f64() * 1e6;
    let found = [at(50), at(90), at(99)];
    println!("{what:<30} p50 {:>7.0} µs  p90 {:>7.0} µs  p99 {:>7.0} µs", found[0], found[1], found[2]);
    found
}

/// Both spans, and the length of a `matched`.
async fn matched(pair: &mut [Socket; 2], watch: &Stopwatch) -> (Spans, usize) {
    let [one, other] = pair;
    one.send(Message::text(WISH)).await.unwrap();
    hear(one, "queued").await;
    rest();
    watch.arm();
    let start = Instant::now();
    other.send(Message::text(WISH)).await.unwrap();
    let (told, _) = tokio::join!(until_matched(one), until_matched(other));
    let took = start.elapsed();
    rest();
    let spans = [took, watch.taken()];
    let call: Value = serde_json::from_str(&told).unwrap();
    one.send(Message::text(json!({ "t": "hangup", "call": call["call"] }).to_string())).await.unwrap();
    hear(one, "ended").await;
    hear(other, "ended").await;
    (spans, told.len())
}

/// The last of them asks, and all are answered: with two frames together.
async fn answered<const N: usize>(bare: &mut [Socket; N], watch: &Stopwatch, bytes: usize) -> Spans {
    rest();
    watch.arm();
    let start = Instant::now();
    bare[N - 1].send(Message::text(format!("{bytes:<width$}", width = WISH.len()))).await.unwrap();
    let hear = async |socket: &mut Socket| {
        for _ in 0..2 / N {
            socket.next().await.unwrap().unwrap();
        }
    };
    futures_util::future::join_all(bare.iter_mut().map(hear)).await;
    let took = start.elapsed();
    rest();
    [took, watch.taken()]
}

/// Until the server has come to the end of its writes, and sleeps.
fn rest() {
    std::thread::sleep(Duration::from_micros(200));
}

/// The next frame that says so, unparsed.
async fn until_matched(socket: &mut Socket) -> Utf8Bytes {
    loop {
        let text = match socket.next().await {
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Ping(_))) => continue,
            other => panic!("instead of matched: {other:?}"),
        };
        if text.contains(r#""t":"matched""#) {
            return text;
        }
    }
}

/// The next frame of this type.
async fn hear(socket: &mut Socket, t: &str) -> Value {
    loop {
        let text = match socket.next().await {
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Ping(_))) => continue,
            other => panic!("instead of {t}: {other:?}"),
        };
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
    tokio_tungstenite::client_async_with_config(request, stream, Some(buffers())).await.unwrap().0
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

/// As the daemon has them.
fn buffers() -> WebSocketConfig {
    WebSocketConfig::default().read_buffer_size(4096).write_buffer_size(4096)
}

fn serve_pairing(waiting: usize) -> Server {
    in_a_thread("pairing", move |watch| async move {
        let clock = Clock::start();
        let prepare = |desk: &mut Desk| fill(desk, clock, waiting);
        let signalling = spawn_prepared(settings(waiting), Box::<NoRelay>::default(), clock, [7; 32], prepare);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (address, async move {
            let somewhere = MockConnectInfo(Peer("127.0.0.1:9".parse().unwrap()));
            axum::serve(Watching { listener, watch }, signalling.router().layer(somewhere)).await.unwrap();
        })
    })
}

/// Answers the last of its sockets with two frames: both to that one, or one to each.
fn serve_echo<const N: usize>(name: &str) -> Server {
    in_a_thread(name, |watch| async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (address, async move {
            let mut sockets = Vec::new();
            for _ in 0..N {
                let stream = Watched::new(listener.accept().await.unwrap().0, &watch);
                let accepted = tokio_tungstenite::accept_hdr_async_with_config(stream, speak_pair, Some(buffers()));
                sockets.push(accepted.await.unwrap());
            }
            while let Some(Ok(Message::Text(asked))) = sockets[N - 1].next().await {
                let bytes = asked.trim_end().parse().unwrap();
                for to in [N - 1, 0] {
                    sockets[to].send(Message::text("x".repeat(bytes))).await.unwrap();
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

struct Server {
    address: SocketAddr,
    watch: Arc<Stopwatch>,
}

/// Runs a server on a thread of its own.
fn in_a_thread<S, W>(name: &str, start: impl FnOnce(Arc<Stopwatch>) -> S + Send + 'static) -> Server
where
    S: Future<Output = (SocketAddr, W)>,
    W: Future<Output = ()>,
{
    let (tell, told) = mpsc::channel();
    let watch = Stopwatch::new();
    let watched = Arc::clone(&watch);
    let serve = move || {
        runtime().block_on(async {
            let (address, work) = start(watched).await;
            tell.send(address).unwrap();
            work.await;
        });
    };
    std::thread::Builder::new().name(name.into()).spawn(serve).unwrap();
    Server { address: told.recv().unwrap(), watch }
}

/// People who fit nobody: women want men, men want the third gender, who want women.
fn fill(desk: &mut Desk, clock: Clock, waiting: usize) {
    for number in FIRST..FIRST + waiting as u64 {
        let now = clock.now();
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
        topics: vec!["travel".into()],
        max_sessions: 2 * waiting + 10_000,
        // The same two meet again and again.
        matching: Policy { recent: Recent::Allow, ..Policy::default() },
        ..desk::Settings::for_tokens(token)
    };
    let exempt = vec!["127.0.0.0/8".parse().unwrap()];
    let gauges = Gauges::open();
    Settings { desk, origins: Vec::new(), exempt, demo: None, reports: None, revocations: None, gauges, fellows: None }
}
