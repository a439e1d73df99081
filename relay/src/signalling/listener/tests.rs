#![allow(clippy::unwrap_used)]
//! Real sockets: what the pure tests cannot see.

mod backend;
mod rows;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use super::*;
use crate::cluster::{self, Load, NodeId, To};
use crate::matchmaking::Band;
use crate::signalling::NoRelay;
use crate::signalling::codes::CloseCode;
use crate::signalling::outbox::{Next, Outbox};
use crate::signalling::reception::Event;
use crate::signalling::token::{self, Key, Profile};

const SECRET: &[u8] = b"a shared secret of thirty-two b.";
const PATIENCE: Duration = Duration::from_secs(10);

/// Somebody allocated already.
fn yes_relay() -> Box<dyn RelayDesk> {
    Box::new(NoRelay { relayed: vec![SocketAddr::from(([203, 0, 113, 7], 50_000))] })
}

struct Server {
    address: SocketAddr,
    signalling: Signalling,
}

fn minter() -> Minter {
    Minter::hs256("dev", SECRET, "local", "voice")
}

fn settings() -> Settings {
    let token = token::Settings {
        issuer: "local".into(),
        audience: "voice".into(),
        keys: vec![("dev".into(), Key::hs256(SECRET).unwrap())],
        min_band: Band::B13_15,
    };
    let desk = desk::Settings { topics: vec!["travel".into()], ..desk::Settings::for_tokens(token) };
    Settings {
        desk,
        origins: vec!["https://app.example".into()],
        exempt: vec!["127.0.0.0/8".parse().unwrap()],
        demo: Some(minter()),
        reports: None,
        revocations: None,
        gauges: Gauges::open(),
        fellows: None,
    }
}

async fn serve(settings: Settings) -> Server {
    serve_from(spawn(settings, yes_relay(), Clock::start(), [3; 32])).await
}

async fn serve_from(signalling: Signalling) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = signalling.router().into_make_service_with_connect_info::<Peer>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    Server { address, signalling }
}

type Socket = WebSocketStream<TcpStream>;

impl Server {
    async fn connect(&self) -> Socket {
        self.connect_from(None).await.unwrap()
    }

    /// The upgrade's status if it is refused.
    async fn connect_from(&self, origin: Option<&str>) -> Result<Socket, u16> {
        let mut request = format!("ws://{}/v1/ws", self.address).into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", SUBPROTOCOL.parse().unwrap());
        if let Some(origin) = origin {
            request.headers_mut().insert("origin", origin.parse().unwrap());
        }
        let stream = TcpStream::connect(self.address).await.unwrap();
        match tokio_tungstenite::client_async(request, stream).await {
            Ok((socket, response)) => {
                assert_eq!(response.headers()["sec-websocket-protocol"], SUBPROTOCOL);
                assert!(response.headers().get("sec-websocket-extensions").is_none(), "no compression");
                Ok(socket)
            }
            Err(tokio_tungstenite::tungstenite::Error::Http(response)) => Err(response.status().as_u16()),
            Err(other) => panic!("{other}"),
        }
    }

    fn token(&self, name: &str) -> String {
        let now = Clock::start().now().unix;
        minter().mint(now, 60, name, &Profile::adult(format!("pseudonym-of-caller-{name}")))
    }

    async fn enter(&self, name: &str) -> Socket {
        let mut socket = self.connect().await;
        say(&mut socket, json!({ "t": "hello", "v": [1], "token": self.token(name) })).await;
        hear(&mut socket, "welcome").await;
        socket
    }

    /// Sends raw bytes and returns the first line of the answer.
    async fn http(&self, request: String) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }
}

async fn say(socket: &mut Socket, frame: Value) {
    socket.send(Message::text(frame.to_string())).await.unwrap();
}

async fn hear(socket: &mut Socket, t: &str) -> Value {
    loop {
        match timeout(PATIENCE, socket.next()).await.unwrap().unwrap().unwrap() {
            Message::Text(text) => {
                let frame: Value = serde_json::from_str(&text).unwrap();
                // Told beside everything else where there are other nodes.
                if frame["t"] == "pass" && t != "pass" {
                    continue;
                }
                assert_eq!(frame["t"], t, "{frame}");
                return frame;
            }
            Message::Ping(_) => {}
            other => panic!("{other:?} instead of {t}"),
        }
    }
}

/// The same, whatever comes before it.
async fn hear_at_last(socket: &mut Socket, t: &str) -> Value {
    loop {
        if let Message::Text(text) = timeout(PATIENCE, socket.next()).await.unwrap().unwrap().unwrap() {
            let frame: Value = serde_json::from_str(&text).unwrap();
            if frame["t"] == t {
                return frame;
            }
        }
    }
}

/// The code of the close that comes, after whatever frames.
async fn hear_close(socket: &mut Socket) -> u16 {
    loop {
        match timeout(PATIENCE, socket.next()).await.unwrap().unwrap() {
            Ok(Message::Close(Some(frame))) => return frame.code.into(),
            Ok(_) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// Asks as another thread does.
async fn ask<T: Send + 'static>(server: &Server, what: impl FnOnce(Controls) -> T + Send + 'static) -> T {
    let controls = server.signalling.controls();
    tokio::task::spawn_blocking(move || what(controls)).await.unwrap()
}

type Spoken = mpsc::Receiver<(To, Vec<u8>)>;
type Tells = mpsc::Sender<(cluster::Peer, Vec<u8>)>;

/// Settings of a node, what it says, what tells it something, and whether its bus is up.
fn node(number: u64, load: watch::Receiver<Load>) -> (Settings, Spoken, Tells, watch::Sender<bool>) {
    let (speaks, spoken) = mpsc::channel(1_024);
    let (tells, heard) = mpsc::channel(1_024);
    let (up, is_up) = watch::channel(false);
    let mut settings = settings();
    let me = cluster::Peer { node: NodeId(number), incarnation: 1 };
    settings.desk.joined = Some(desk::Joined { me, pepper: [9; 32], load: *load.borrow(), counters: Arc::default() });
    let say = Box::new(move |to, message| drop(speaks.try_send((to, message))));
    settings.fellows = Some(Fellows { heard, say, up: is_up, load, known_by: Box::new(|_| {}) });
    (settings, spoken, tells, up)
}

/// Carries what one says to the other.
fn carry(from: u64, mut spoken: mpsc::Receiver<(To, Vec<u8>)>, to: mpsc::Sender<(cluster::Peer, Vec<u8>)>) {
    let from = cluster::Peer { node: NodeId(from), incarnation: 1 };
    tokio::spawn(async move {
        while let Some((_, message)) = spoken.recv().await {
            drop(to.send((from, message)).await);
        }
    });
}

#[tokio::test]
async fn desks_of_two_nodes_hear_each_other_and_match_once_the_bus_is_up() {
    let room = Load { room: 10, calls: 0, draining: false };
    let (load, is_load) = watch::channel(room);
    let (one, from_one, to_one, one_up) = node(1, is_load.clone());
    let (other, from_other, to_other, other_up) = node(2, is_load);
    carry(1, from_one, to_other);
    carry(2, from_other, to_one);
    let [one, other] = [serve(one).await, serve(other).await];
    let (mut ana, mut ben) = (one.enter("ana").await, other.enter("ben").await);
    for socket in [&mut ana, &mut ben] {
        say(socket, json!({ "t": "queue" })).await;
        hear(socket, "queued").await;
    }
    let early = timeout(Duration::from_millis(300), hear(&mut ana, "matched")).await;
    assert!(early.is_err(), "each is on its own until the bus is up");
    one_up.send_replace(true);
    other_up.send_replace(true);
    let calls = [hear_at_last(&mut ana, "matched").await, hear_at_last(&mut ben, "matched").await];
    assert_eq!(calls[0]["call"], calls[1]["call"]);
    assert_eq!(
        (calls[0]["moved"] == true) as u8 + (calls[1]["moved"] == true) as u8,
        1,
        "one of the two is called over"
    );
    drop(load);
}

#[tokio::test]
async fn who_waits_is_told_to_resume_and_does_so_in_the_process_that_has_taken_over() {
    let clock = Clock::start();
    let server = serve_from(spawn(settings(), yes_relay(), clock, [3; 32])).await;
    let mut socket = server.connect().await;
    say(&mut socket, json!({ "t": "hello", "v": [1], "token": server.token("a") })).await;
    let welcome = hear(&mut socket, "welcome").await;
    say(&mut socket, json!({ "t": "queue", "q": 7 })).await;
    let n = hear(&mut socket, "queued").await["n"].clone();
    let mut nobody_yet = server.connect().await;
    assert!(ask(&server, |controls| controls.hold()).await);
    let packed = ask(&server, |controls| controls.pack(|_| false)).await.unwrap();
    ask(&server, |controls| controls.dismiss()).await;
    assert_eq!((hear_close(&mut socket).await, hear_close(&mut nobody_yet).await), (1012, 1012));
    drop((socket, nobody_yet));
    let alone = timeout(PATIENCE, async {
        while server.signalling.controls().lines() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    alone.await.unwrap();

    let successor = spawn_from(settings(), yes_relay(), clock, [4; 32], Some(&packed)).unwrap();
    let successor = serve_from(successor).await;
    let mut again = successor.connect().await;
    let resume = json!({ "sid": welcome["sid"], "key": welcome["key"], "n": n });
    say(&mut again, json!({ "t": "hello", "v": [1], "resume": resume })).await;
    assert_eq!(hear(&mut again, "welcome").await["resumed"], json!({ "state": "queued", "q": 7 }));
    hear(&mut again, "queued").await;
}

#[tokio::test]
async fn a_successor_that_dies_leaves_everybody_where_they_were() {
    let server = serve(settings()).await;
    let mut socket = server.connect().await;
    say(&mut socket, json!({ "t": "hello", "v": [1], "token": server.token("a") })).await;
    let welcome = hear(&mut socket, "welcome").await;
    let packed = ask(&server, |controls| controls.pack(|_| false)).await.unwrap();
    let mut early = server.connect().await;
    assert_eq!(hear_close(&mut early).await, 1012, "there is nobody to come back to yet");
    assert!(ask(&server, |controls| controls.take_back(packed) && controls.go_on()).await);
    assert_eq!(hear_close(&mut socket).await, 1012);
    let mut again = server.connect().await;
    let resume = json!({ "sid": welcome["sid"], "key": welcome["key"], "n": 0 });
    say(&mut again, json!({ "t": "hello", "v": [1], "resume": resume })).await;
    assert_eq!(hear(&mut again, "welcome").await["resumed"]["state"], "idle");
    server.enter("b").await;
}

#[tokio::test]
async fn two_clients_meet_exchange_descriptions_and_hang_up() {
    let server = serve(settings()).await;
    let (mut a, mut b) = (server.enter("a").await, server.enter("b").await);
    say(&mut a, json!({ "t": "queue", "q": 1 })).await;
    hear(&mut a, "queued").await;
    say(&mut b, json!({ "t": "queue", "q": 1 })).await;
    hear(&mut b, "queued").await;
    let call = hear(&mut a, "matched").await["call"].clone();
    assert_eq!(hear(&mut b, "matched").await["call"], call);
    for socket in [&mut a, &mut b] {
        say(socket, json!({ "t": "ack", "call": call })).await;
    }
    let sdp = include_str!("../vectors/sdp/chromium-156-offer.sdp");
    say(&mut a, json!({ "t": "offer", "call": call, "gen": 1, "sdp": sdp })).await;
    hear(&mut b, "offer").await;
    let sdp = include_str!("../vectors/sdp/firefox-153-answer.sdp");
    say(&mut b, json!({ "t": "answer", "call": call, "gen": 1, "sdp": sdp })).await;
    hear(&mut a, "answer").await;
    let line = "candidate:1 1 udp 41885439 203.0.113.7 50000 typ relay";
    say(&mut b, json!({ "t": "cand", "call": call, "gen": 1, "c": line, "mid": "0" })).await;
    hear(&mut a, "cand").await;
    for socket in [&mut a, &mut b] {
        say(socket, json!({ "t": "ice", "call": call, "s": "connected" })).await;
    }
    hear(&mut a, "connected").await;
    hear(&mut b, "connected").await;
    say(&mut a, json!({ "t": "text", "call": call, "k": 1, "b": "hello!" })).await;
    assert_eq!(hear(&mut b, "text").await["b"], "hello!");
    say(&mut b, json!({ "t": "hangup", "call": call })).await;
    assert_eq!(hear(&mut b, "ended").await["by"], "self");
    assert_eq!(hear(&mut a, "ended").await["by"], "peer");
    let counters = server.signalling.counters();
    assert_eq!((counters.matched(), counters.connected(), counters.sessions()), (1, 1, 2));
    a.close(None).await.unwrap();
    let gone = Instant::now();
    while counters.sessions() == 2 {
        assert!(gone.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn w01_foreign_pages_are_refused() {
    let server = serve(settings()).await;
    assert_eq!(server.connect_from(Some("https://evil.example")).await.err(), Some(403));
    assert_eq!(server.connect_from(Some("null")).await.err(), Some(403));
    assert!(server.connect_from(Some("https://app.example")).await.is_ok());
    let own = format!("http://{}", server.address);
    assert!(server.connect_from(Some(&own)).await.is_ok(), "the demo page");
    assert_eq!(server.signalling.counters().refused_upgrades(), 2);
}

#[tokio::test]
async fn w02_bad_handshakes_are_refused() {
    let server = serve(settings()).await;
    let host = server.address;
    let good = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade, close"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Protocol", "pair.v1"),
    ];
    let request = |method: &str, without: &str, instead: &str| {
        let headers: String = good
            .iter()
            .filter(|(name, _)| *name != without)
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        let close = if without == "Connection" { "Connection: close\r\n" } else { "" };
        format!("{method} /v1/ws HTTP/1.1\r\nHost: {host}\r\n{headers}{instead}{close}\r\n")
    };
    for (method, without, instead, status) in [
        ("GET", "Sec-WebSocket-Key", "", "400"),
        ("GET", "Sec-WebSocket-Version", "Sec-WebSocket-Version: 12\r\n", "400"),
        ("GET", "Upgrade", "Upgrade: h2c\r\n", "400"),
        ("GET", "Connection", "", "400"),
        ("GET", "Sec-WebSocket-Protocol", "", "400"),
        ("GET", "Sec-WebSocket-Protocol", "Sec-WebSocket-Protocol: pair.v2\r\n", "400"),
        ("POST", "", "Content-Length: 0\r\n", "405"),
    ] {
        let answer = server.http(request(method, without, instead)).await;
        assert_eq!(answer.split(' ').nth(1), Some(status), "{method} without {without:?}: {answer}");
    }
}

/// A client frame as it goes over the wire, masked with zeroes.
fn raw_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first, 0x80 | u8::try_from(payload.len()).unwrap(), 0, 0, 0, 0];
    frame.extend_from_slice(payload);
    frame
}

#[tokio::test]
async fn w07_a_length_of_2_to_the_62_is_closed_before_anything_is_buffered() {
    let server = serve(settings()).await;
    let mut huge = vec![0x81, 0xFF];
    huge.extend_from_slice(&(1u64 << 62).to_be_bytes());
    huge.extend_from_slice(&[0; 4]);
    let mut socket = server.connect().await;
    socket.get_mut().write_all(&huge).await.unwrap();
    assert_eq!(hear_close(&mut socket).await, 1009);
}

#[tokio::test]
async fn w07_endless_fragments_end_at_the_limit() {
    let server = serve(settings()).await;
    let mut socket = server.connect().await;
    let mut bytes = raw_frame(0x01, &[b'x'; 100]);
    for _ in 0..200 {
        bytes.extend(raw_frame(0x00, &[b'x'; 100]));
    }
    socket.get_mut().write_all(&bytes).await.unwrap();
    assert_eq!(hear_close(&mut socket).await, 1009);
}

#[tokio::test]
async fn binary_messages_are_no_frames_of_this_protocol() {
    let server = serve(settings()).await;
    let mut socket = server.connect().await;
    socket.send(Message::binary(vec![1, 2, 3])).await.unwrap();
    assert_eq!(hear(&mut socket, "error").await["code"], "E_PROTO");
    assert_eq!(hear_close(&mut socket).await, 4400);
}

#[tokio::test]
async fn w09_a_flood_of_pings_is_closed() {
    let server = serve(settings()).await;
    let mut socket = server.connect().await;
    for _ in 0..40 {
        let _ = socket.send(Message::Ping(Default::default())).await;
    }
    assert_eq!(hear_close(&mut socket).await, 4429);
}

#[tokio::test]
async fn w10_a_client_that_ignores_the_close_is_gone_all_the_same() {
    let server = serve(settings()).await;
    let mut socket = server.connect().await;
    say(&mut socket, json!({ "t": "hello", "v": [1], "token": "x" })).await;
    hear(&mut socket, "error").await;
    // The raw stream: nobody answers the close frame. It ends within five seconds.
    let mut rest = Vec::new();
    let begun = Instant::now();
    timeout(PATIENCE, socket.get_mut().read_to_end(&mut rest)).await.unwrap().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(7));
    assert_eq!(rest, [0x88, 0x02, 0x11, 0x31], "close 4401");
}

/// The limits let nobody fill a kernel's buffers by what they may send, so here the connection's task is left out: its
/// outbox is what a client that never reads looks like.
#[test]
fn w11_a_client_that_never_reads_is_closed_when_its_outbox_is_full() {
    let counters = Arc::new(Counters::default());
    let desk = Desk::new(settings().desk, yes_relay(), [3; 32], Arc::clone(&counters));
    let clock = Clock::start();
    let (outboxes, counted) = (HashMap::default(), Arc::clone(&counters));
    let doorbell = mpsc::channel(1).0.downgrade();
    let (courier, fetching, say) = (None, None, None);
    let mut reception = Reception { desk, clock, outboxes, counters: counted, courier, fetching, doorbell, say };
    let outbox = Arc::new(Outbox::default());
    reception.handle(Event::Opened(Connection(1), Arc::clone(&outbox)));
    for _ in 0..64 {
        reception.handle(Event::Frame(Connection(1), r#"{"t":"ping","p":1}"#.into()));
    }
    assert_eq!(counters.sessions(), 1);
    reception.handle(Event::Frame(Connection(1), r#"{"t":"ping","p":1}"#.into()));
    assert_eq!(counters.sessions(), 0);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let Next::Frame(last) = runtime.block_on(outbox.next()) else { panic!("no last word") };
    assert!(last.json.contains("E_SLOW"), "what waited is gone, the reason is not: {}", last.json);
    assert!(matches!(runtime.block_on(outbox.next()), Next::Close(CloseCode::SLOW)));
}

#[tokio::test]
async fn a_client_that_vanishes_without_a_word_is_missed_at_once() {
    let server = serve(settings()).await;
    let (mut a, mut b) = (server.enter("a").await, server.enter("b").await);
    for socket in [&mut a, &mut b] {
        say(socket, json!({ "t": "queue" })).await;
        hear(socket, "queued").await;
    }
    hear(&mut b, "matched").await;
    drop(a);
    assert_eq!(hear(&mut b, "ended").await["why"], "lost");
    hear(&mut b, "queued").await;
}

#[tokio::test]
async fn w22_silence_of_two_heartbeats_ends_a_connection() {
    let mut settings = settings();
    settings.desk.heartbeat_ms = 100;
    let server = serve(settings).await;
    let socket = server.connect().await;
    let counters = server.signalling.counters();
    // Held open, never read: no pong is written.
    let begun = Instant::now();
    while counters.sessions() == 0 || begun.elapsed() < Duration::from_millis(50) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    while counters.sessions() > 0 {
        assert!(begun.elapsed() < Duration::from_secs(2));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop(socket);
}

#[tokio::test]
async fn a_network_in_haste_is_asked_to_wait() {
    let mut settings = settings();
    settings.exempt.clear();
    let server = serve(settings).await;
    let mut sockets = Vec::new();
    let mut refused = None;
    for _ in 0..80 {
        match server.connect_from(None).await {
            Ok(socket) => sockets.push(socket),
            Err(status) => {
                refused = Some(status);
                break;
            }
        }
    }
    assert_eq!(refused, Some(429));
    assert!(sockets.len() >= 40);
}

#[tokio::test]
async fn the_demo_page_gets_a_token_that_opens_the_door() {
    let server = serve(settings()).await;
    let post = |host: &str, kind: &str, body: &str| {
        format!(
            "POST /demo/token HTTP/1.1\r\nHost: {host}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{body}",
            body.len()
        )
    };
    let body = r#"{"lvl":"B1","g":"x","band":"18+","gp":["f","m","x"],"name":"Linh"}"#;
    let host = server.address.to_string();
    let answer = server.http(post(&host, "application/json", body)).await;
    let token: Value = serde_json::from_str(answer.rsplit("\r\n\r\n").next().unwrap()).unwrap();
    let mut socket = server.connect().await;
    say(&mut socket, json!({ "t": "hello", "v": [1], "token": token["token"] })).await;
    hear(&mut socket, "welcome").await;

    let status = |answer: String| answer.split(' ').nth(1).map(str::to_owned).unwrap();
    assert_eq!(status(server.http(post("rebound.example", "application/json", body)).await), "403");
    assert_eq!(status(server.http(post(&host, "text/plain", body)).await), "415");
    let long = body.replace("Linh", &"x".repeat(2_000));
    assert_eq!(status(server.http(post(&host, "application/json", &long)).await), "413");
    assert_eq!(status(server.http(post(&host, "application/json", &body.replace("B1", "Z9"))).await), "422");
    assert_eq!(
        status(server.http(post(&host, "application/json", &body.replace("Linh", &"x".repeat(33)))).await),
        "422"
    );
}

#[tokio::test]
async fn without_a_demo_page_nobody_mints() {
    let mut settings = settings();
    settings.demo = None;
    let server = serve(settings).await;
    let request = format!("POST /demo/token HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", server.address);
    assert!(server.http(request).await.starts_with("HTTP/1.1 404"));
    let own = format!("http://{}", server.address);
    assert_eq!(server.connect_from(Some(&own)).await.err(), Some(403));
}

#[tokio::test]
async fn when_the_server_goes_away_clients_are_told() {
    let server = serve(settings()).await;
    let mut socket = server.enter("a").await;
    drop(server.signalling);
    assert_eq!(hear_close(&mut socket).await, 1001);
}

/// A fault of the desk's, wherever it shows: nobody is left with a server that does not answer, and the daemon learns of it.
async fn everybody_hears_of_a_fault(act: impl FnOnce(Controls, Arc<Front>) + Send + 'static) {
    let server = serve(settings()).await;
    let mut sockets = [server.enter("a").await, server.enter("b").await];
    let (controls, front) = (server.signalling.controls(), Arc::clone(&server.signalling.front));
    tokio::task::spawn_blocking(move || act(controls, front)).await.unwrap();
    for socket in &mut sockets {
        assert_eq!(hear_close(socket).await, 1001);
    }
    let ended = async {
        while !server.signalling.has_ended() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, ended).await.unwrap();
    assert!(server.signalling.front.handle(Event::Garbage(Connection(0))).is_err());
}

#[tokio::test]
async fn a_desk_that_breaks_in_its_own_task_sends_everybody_away() {
    everybody_hears_of_a_fault(|controls, _| assert_eq!(controls.ask(|_, _| panic!("as tests do")), None::<()>)).await;
}

#[tokio::test]
async fn a_desk_that_breaks_under_a_connection_sends_everybody_away() {
    let breaks = |_, front: Arc<Front>| {
        let broken = std::thread::spawn(move || front.with(|_| panic!("as tests do")).is_ok());
        broken.join().unwrap_err();
    };
    everybody_hears_of_a_fault(breaks).await;
}

#[tokio::test]
async fn what_a_frame_sets_is_due_when_it_says_though_the_desk_slept() {
    let server = serve(settings()).await;
    // Nothing is due before the first connection comes, and its `hello` within five seconds: the desk's task must hear of it.
    let mut socket = server.connect().await;
    assert_eq!(hear(&mut socket, "error").await["code"], "E_DEADLINE");
}
