//! A question from one node to another and its answer, over a real nats-server on loopback: by the client library alone, and over the bus,
//! sealed. In turns, in microseconds.
//!
//! `cargo bench -p benches --features nats --bench bus` (needs nats-server)

#![allow(clippy::unwrap_used, clippy::print_stdout)] // a bench prints, and stops at the first surprise

mod broker;

use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use broker::broker;
use futures_util::StreamExt as _;
use relay::bus::{self, Broker, Bus, Purpose, Running, Settings};
use tokio::runtime::Builder;

const PAYLOAD: usize = 128;
const QUESTIONS: usize = 10_000;
const ROUNDS: usize = 5;
const PATIENCE: Duration = Duration::from_secs(5);

fn main() {
    if std::env::args().any(|argument| argument == "--test") {
        return; // `cargo test --benches` only wants to know that it starts
    }
    let (_broker, port) = broker();
    println!(
        "{QUESTIONS} questions of {PAYLOAD} bytes, one after the other; median and 99th percentile of each round, µs"
    );
    println!("{:>12} {:>8} {:>12} {:>8} {:>8}", "library p50", "p99", "bus p50", "p99", "ratio");
    for _ in 0..ROUNDS {
        let (bare, sealed) = (bare(port), sealed(port));
        let ratio = sealed.0 as f64 / bare.0 as f64;
        println!("{:>12} {:>8} {:>12} {:>8} {ratio:>8.2}", bare.0, bare.1, sealed.0, sealed.1);
    }
}

/// Each side on a thread of its own, as two nodes are.
fn bare(port: u16) -> (u128, u128) {
    let url = format!("nats://127.0.0.1:{port}");
    let (ready, is_ready) = mpsc::channel();
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let at = url.clone();
    let answering = std::thread::spawn(move || {
        runtime().block_on(async move {
            let client = async_nats::connect(at).await.unwrap();
            let mut questions = client.subscribe("bench.echo").await.unwrap();
            client.flush().await.unwrap();
            ready.send(()).unwrap();
            loop {
                tokio::select! {
                    Some(question) = questions.next() => {
                        client.publish(question.reply.unwrap(), question.payload).await.unwrap();
                    }
                    _ = &mut stopped => return,
                }
            }
        });
    });
    is_ready.recv().unwrap();
    let times = runtime().block_on(async move {
        let client = async_nats::connect(url).await.unwrap();
        let mut times = Vec::with_capacity(QUESTIONS);
        for _ in 0..QUESTIONS {
            let begun = Instant::now();
            let answer = client.request("bench.echo", vec![7; PAYLOAD].into()).await.unwrap();
            assert_eq!(answer.payload.len(), PAYLOAD);
            times.push(begun.elapsed().as_micros());
        }
        times
    });
    stop.send(()).unwrap();
    answering.join().unwrap();
    percentiles(times)
}

fn sealed(port: u16) -> (u128, u128) {
    let (asking, _a) = node("a", port);
    let (answering, b) = node("b", port);
    let mut questions = answering.subscribe(Purpose::ECHO);
    // Beside what connects it, as signalling would.
    drop(b.runtime().spawn(async move {
        while let Some(question) = questions.recv().await {
            question.answer(question.payload.clone());
        }
    }));
    let times = runtime().block_on(async {
        let ask = || asking.request(Purpose::ECHO, "b", vec![7; PAYLOAD], PATIENCE);
        while ask().await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let mut times = Vec::with_capacity(QUESTIONS);
        for _ in 0..QUESTIONS {
            let begun = Instant::now();
            assert_eq!(ask().await.unwrap().payload.len(), PAYLOAD);
            times.push(begun.elapsed().as_micros());
        }
        times
    });
    percentiles(times)
}

fn node(name: &str, port: u16) -> (Bus, Running) {
    let settings = Settings {
        brokers: vec![Broker { tls: false, host: "127.0.0.1".to_owned(), port }],
        keys: vec![b"thirty-two bytes or more of this bench".to_vec()],
        user: None,
        token: None,
        trusted: None,
    };
    let mut bus = None;
    let runtime = runtime();
    let (running, first) = bus::start(settings, name, &Arc::default(), runtime.handle(), |made| {
        bus = Some(made);
        (std::future::pending(), Box::new(|| {}))
    })
    .unwrap();
    runtime.block_on(first).unwrap().unwrap();
    std::thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
    (bus.unwrap(), running)
}

fn runtime() -> tokio::runtime::Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn percentiles(mut times: Vec<u128>) -> (u128, u128) {
    times.sort_unstable();
    (times[times.len() / 2], times[times.len() * 99 / 100])
}
