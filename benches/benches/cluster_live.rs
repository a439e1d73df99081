//! From the newcomer's `queue` to `matched` at both, where the two are on different nodes: two desks on a real bus over a real nats-server on
//! loopback, a thousand arrivals a second. Beside it, in turns, the same on one node by itself, and a bare question and answer over that
//! broker by the client library, as often. Without WebSockets: from desk to desk.
//!
//! `cargo bench -p benches --features nats --bench cluster_live [-- ROUNDS]` (needs nats-server; 5 rounds of a second by default)

#![allow(clippy::unwrap_used, clippy::print_stdout)] // a bench prints, and stops at the first surprise

mod broker;

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use relay::bus::{self, Bus, Matching, Running, Said};
use relay::clock::Clock;
use relay::cluster::{Counters, Load};
use relay::matchmaking::{Band, Gender};
use relay::signalling::NoRelay;
use relay::signalling::desk::{self, Connection, Desk, Joined, Output};
use relay::signalling::token::{self, Key, Minter, Profile};
use serde_json::json;
use tokio::sync::{mpsc as tasks, watch};

use broker::{Server, broker};

const SECRET: &[u8] = b"a secret of this benchmark, 32 bytes";
const KEY: &[u8] = b"thirty-two bytes or more of this bench";
const PEPPER: [u8; 32] = [5; 32];
const ARRIVALS: u64 = 1_000;
const PACE: Duration = Duration::from_micros(1_000_000 / ARRIVALS);
/// After the last arrival of a round: who has not been matched by then was not.
const REST: Duration = Duration::from_millis(300);

fn main() {
    if std::env::args().any(|argument| argument == "--test") {
        return; // `cargo test --benches` only wants to know that it starts
    }
    let rounds = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(5);
    let (_broker, port): (Server, u16) = broker();
    let people = ARRIVALS * rounds;
    let watch = Arc::new(Watch::new(3 * people));
    let alone = Node::start("alone", None, &watch, 0..people);
    let [a, b] = ["a", "b"].map(|name| Node::start(name, Some(port), &watch, people..3 * people));
    a.is_together();
    b.is_together();
    let bare = Bare::start(port);
    let mut seen: [Vec<Duration>; 3] = Default::default();
    for round in 0..rounds {
        let first = round * ARRIVALS;
        seen[0].extend(bare.ask());
        seen[1].extend(arrive(&watch, first, false, |_| &alone));
        seen[2].extend(arrive(&watch, people + first, true, |number| if number % 2 == 0 { &a } else { &b }));
    }
    println!(
        "{ARRIVALS} arrivals a second, half of them find somebody who waits; {rounds} rounds of a second each, in turns"
    );
    let names = ["bare question and answer", "matched on one node", "matched across two nodes"];
    let found: Vec<[f64; 3]> = names.iter().zip(seen).map(|(name, spans)| percentiles(name, spans)).collect();
    let ratio = |of: usize| [0, 2].map(|at| found[of][at] / found[0][at]);
    println!("across two nodes, times bare NATS: p50 {:.2}, p99 {:.2}", ratio(2)[0], ratio(2)[1]);
    println!("on one node, times bare NATS: p50 {:.2}, p99 {:.2}", ratio(1)[0], ratio(1)[1]);
    println!("across: {}", b.says(&a));
}

/// Lets people come at the pace; how long each pair took.
fn arrive<'n>(watch: &Watch, first: u64, across: bool, at: impl Fn(u64) -> &'n Node) -> Vec<Duration> {
    let begun = Instant::now();
    for place in 0..ARRIVALS {
        wait_until(begun + PACE * place as u32);
        let number = first + place;
        watch.came(number);
        at(number).arrivals.send(number).unwrap();
    }
    std::thread::sleep(REST);
    watch.took(first..first + ARRIVALS, across)
}

/// Sleeps, and is awake in time.
fn wait_until(at: Instant) {
    while let Some(left) = at.checked_duration_since(Instant::now()) {
        std::thread::sleep(left);
    }
}

fn percentiles(what: &str, mut took: Vec<Duration>) -> [f64; 3] {
    took.sort_unstable();
    let at = |percent: usize| took[(took.len() - 1) * percent / 100].as_secs_f64() * 1e6;
    let found = [at(50), at(90), at(99)];
    let count = took.len();
    println!("{what:<26} {count:>6}  p50 {:>6.0} µs  p90 {:>6.0} µs  p99 {:>6.0} µs", found[0], found[1], found[2]);
    found
}

/// When each of the people came and was matched, in nanoseconds since it began; 0: not yet. And in which call.
struct Watch {
    begun: Instant,
    came: Vec<AtomicU64>,
    matched: Vec<AtomicU64>,
    call: Vec<AtomicU64>,
    hasher: RandomState,
}

impl Watch {
    fn new(people: u64) -> Watch {
        let zeros = || (0..people).map(|_| AtomicU64::new(0)).collect();
        Watch { begun: Instant::now(), came: zeros(), matched: zeros(), call: zeros(), hasher: RandomState::new() }
    }

    fn now(&self) -> u64 {
        self.begun.elapsed().as_nanos() as u64
    }

    fn came(&self, number: u64) {
        self.came[number as usize].store(self.now(), Relaxed);
    }

    fn matched(&self, number: u64, call: &str) {
        self.call[number as usize].store(self.hasher.hash_one(call), Relaxed);
        self.matched[number as usize].store(self.now(), Relaxed);
    }

    /// Of each call among these: from the coming of the second until both were told. Who came first need not have waited for who came next.
    fn took(&self, people: std::ops::Range<u64>, across: bool) -> Vec<Duration> {
        let at = |of: &[AtomicU64], number: u64| of[number as usize].load(Relaxed);
        let mut calls: HashMap<u64, Vec<u64>> = HashMap::new();
        for number in people.filter(|number| at(&self.matched, *number) > 0) {
            calls.entry(at(&self.call, number)).or_default().push(number);
        }
        let span = |pair: &Vec<u64>| {
            let last = |of: &[AtomicU64]| pair.iter().map(|number| at(of, *number)).max().unwrap_or(0);
            Duration::from_nanos(last(&self.matched).saturating_sub(last(&self.came)))
        };
        // Of two nodes: people come to them in turns.
        let counts = |pair: &&Vec<u64>| pair.len() == 2 && (!across || pair[0] % 2 != pair[1] % 2);
        calls.values().filter(counts).map(span).collect()
    }
}

/// A desk and its connection on one thread, as in the daemon.
struct Node {
    arrivals: tasks::UnboundedSender<u64>,
    counters: Arc<Counters>,
    _bus: Option<Running>,
}

impl Node {
    /// `people` are known to it, and come when they are said to.
    fn start(name: &str, port: Option<u16>, watch: &Arc<Watch>, people: std::ops::Range<u64>) -> Node {
        let (arrivals, coming) = tasks::unbounded_channel();
        let (watch, counters) = (Arc::clone(watch), Arc::new(Counters::default()));
        let runtime = runtime();
        let (bus, line) = port.map(|port| join(name, port, &runtime)).unzip();
        let (ready, is_ready) = mpsc::channel();
        let (clock, counted) = (Clock::start(), Arc::clone(&counters));
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                let mut settings = settings();
                settings.joined = line.as_ref().map(|line| Joined {
                    me: line.0.me(),
                    pepper: PEPPER,
                    load: Load { room: 100_000, calls: 0, draining: false },
                    counters: counted,
                });
                let mut desk = Desk::new(settings, Box::<NoRelay>::default(), [7; 32], Arc::default());
                let minter = Minter::hs256("bench", SECRET, "bench", "bench");
                for number in people {
                    let now = clock.now();
                    desk.handle_open(now, Connection(number));
                    let mut profile = Profile::adult(format!("pseudonym-{number:012}"));
                    (profile.gender, profile.entitled) = (Gender::F, vec![Gender::F]);
                    let token = minter.mint(now.unix, 600, &number.to_string(), &profile);
                    desk.handle_frame(
                        now,
                        Connection(number),
                        &json!({ "t": "hello", "v": [1], "token": token }).to_string(),
                    );
                    while desk.poll_output().is_some() {}
                }
                if let Some((matching, ..)) = &line {
                    matching.know_people_by(desk.people_mark());
                }
                ready.send(()).unwrap();
                let (say, heard, up) = match line {
                    Some((matching, heard, up)) => (Some(matching), Some(heard), Some(up)),
                    None => (None, None, None),
                };
                runtime.block_on(Task { desk, clock, say, watch }.run(coming, heard, up));
            })
            .unwrap();
        is_ready.recv().unwrap();
        Node { arrivals, counters, _bus: bus }
    }

    fn is_together(&self) {
        let begun = Instant::now();
        while self.counters.alive() < 2 {
            assert!(begun.elapsed() < Duration::from_secs(10), "they do not find each other");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn says(&self, other: &Node) -> String {
        let both = |of: fn(&Counters) -> u64| of(&self.counters) + of(&other.counters);
        let refused = |of: &Counters| of.denials().iter().map(|(_, count)| count).sum::<u64>();
        format!(
            "{} calls decided, {} entered, {} refusals, {} promises taken back",
            both(Counters::commits),
            both(Counters::entered),
            refused(&self.counters) + refused(&other.counters),
            both(Counters::leases_expired)
        )
    }
}

type Line = (Matching, tasks::Receiver<Said>, watch::Receiver<bool>);

fn join(name: &str, port: u16, runtime: &tokio::runtime::Runtime) -> (Running, Line) {
    let settings = bus::Settings {
        brokers: vec![bus::Broker { tls: false, host: "127.0.0.1".to_owned(), port }],
        keys: vec![KEY.to_vec()],
        user: None,
        token: None,
        trusted: None,
    };
    let counters = Arc::default();
    let mut line = None;
    let (running, first) = bus::start(settings, name, &counters, runtime.handle(), |made: Bus| {
        let (matching, heard) = Matching::new(&made, &counters);
        line = Some((matching, heard, made.watch().unwrap()));
        (std::future::pending(), Box::new(|| {}))
    })
    .unwrap();
    runtime.block_on(first).unwrap().unwrap();
    (running, line.unwrap())
}

/// As the daemon's task has it, without WebSockets.
struct Task {
    desk: Desk,
    clock: Clock,
    say: Option<Matching>,
    watch: Arc<Watch>,
}

impl Task {
    async fn run(
        mut self,
        mut coming: tasks::UnboundedReceiver<u64>,
        mut heard: Option<tasks::Receiver<Said>>,
        mut up: Option<watch::Receiver<bool>>,
    ) {
        if let Some(up) = &mut up {
            up.wait_for(|up| *up).await.unwrap();
        }
        loop {
            let due = self.desk.poll_timeout().map(|at| at.since(self.clock.mono()));
            tokio::select! {
                number = coming.recv() => {
                    let Some(number) = number else { return };
                    self.desk.handle_frame(self.clock.now(), Connection(number), r#"{"t":"queue","gender":["f"]}"#);
                }
                Some((peer, message)) = async { heard.as_mut()?.recv().await }, if heard.is_some() => {
                    self.desk.handle_bus(self.clock.now(), peer, &message);
                }
                () = tokio::time::sleep(Duration::from_millis(due.unwrap_or(60_000))) => {}
            }
            self.deliver();
            let now = self.clock.now();
            if self.desk.poll_timeout().is_some_and(|at| at <= now.mono) {
                self.desk.handle_timeout(now);
                self.deliver();
            }
        }
    }

    fn deliver(&mut self) {
        while let Some(output) = self.desk.poll_output() {
            match output {
                Output::Frame { to, frame } if frame.json.contains(r#""t":"matched""#) => {
                    let call: serde_json::Value = serde_json::from_str(&frame.json).unwrap();
                    self.watch.matched(to.0, call["call"].as_str().unwrap());
                    // One of the two is enough: the call is over, and both are idle.
                    if to.0 % 2 == 1 {
                        let hangup = json!({ "t": "hangup", "call": call["call"] });
                        self.desk.handle_frame(self.clock.now(), to, &hangup.to_string());
                    }
                }
                Output::Bus { to, payload } => self.say.iter().for_each(|say| say.say(to, payload.clone())),
                _ => {}
            }
        }
    }
}

fn settings() -> desk::Settings {
    let token = token::Settings {
        issuer: "bench".into(),
        audience: "bench".into(),
        keys: vec![("bench".into(), Key::hs256(SECRET).unwrap())],
        min_band: Band::B13_15,
    };
    desk::Settings { max_sessions: 100_000, ..desk::Settings::for_tokens(token) }
}

/// A question to somebody on another thread, and the answer, by the client library alone.
struct Bare {
    client: async_nats::Client,
    runtime: tokio::runtime::Runtime,
}

impl Bare {
    fn start(port: u16) -> Bare {
        let url = format!("nats://127.0.0.1:{port}");
        let (ready, is_ready) = mpsc::channel();
        let at = url.clone();
        std::thread::spawn(move || {
            runtime().block_on(async move {
                let client = async_nats::connect(at).await.unwrap();
                let mut questions = client.subscribe("bench.echo").await.unwrap();
                client.flush().await.unwrap();
                ready.send(()).unwrap();
                while let Some(question) = questions.next().await {
                    client.publish(question.reply.unwrap(), question.payload).await.unwrap();
                }
            });
        });
        is_ready.recv().unwrap();
        let runtime = runtime();
        let client = runtime.block_on(async_nats::connect(url)).unwrap();
        Bare { client, runtime }
    }

    /// As often as people find somebody.
    fn ask(&self) -> Vec<Duration> {
        let mut spans = Vec::new();
        self.runtime.block_on(async {
            let begun = Instant::now();
            for place in 0..ARRIVALS / 2 {
                tokio::time::sleep_until((begun + 2 * PACE * place as u32).into()).await;
                let asked = Instant::now();
                self.client.request("bench.echo", vec![7; 256].into()).await.unwrap();
                spans.push(asked.elapsed());
            }
        });
        spans
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}
