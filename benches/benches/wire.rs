//! What bytes cost on their way to types and back: each line one operation, in nanoseconds of the best of many rounds.
//!
//! `cargo bench -p benches --bench wire`

#![allow(clippy::unwrap_used, clippy::print_stdout)] // a bench prints, and stops at the first surprise

use std::hint::black_box;
use std::time::Instant;

use relay::wire::{
    ErrorCode, Key, Message, Method, Reply, Request, TransactionId, channel_data, classify, framing, indication,
};

const ROUNDS: usize = 200;
const PASSES: usize = 1_000;

fn main() {
    if std::env::args().any(|argument| argument == "--test") {
        return; // `cargo test --benches` only wants to know that it starts
    }
    let key = Key::long_term(b"1800000000:user", b"bench", b"secret");
    let peer = "198.51.100.7:4000".parse().unwrap();
    let signed = Request::new(Method::ChannelBind, TransactionId([7; 12]))
        .channel_number(0x4000)
        .xor_peer_address(peer)
        .credentials("1800000000:user", "bench", "obMatJos2gAAAthAAAAAAAAAAAAAAAAAAAAA")
        .finish(Some(&key));
    let send = Request::indication(Method::Send, TransactionId([1; 12])).xor_peer_address(peer);
    let send = send.data(&[0xAB; 172]).finish(None);
    let mut data = vec![0x40, 0, 0, 172];
    data.resize(176, 0xAB);
    let (mut header, id) = ([0; 64], TransactionId([2; 12]));

    time("classify ChannelData", || classify(black_box(&data)));
    time("parse ChannelData", || channel_data::parse(black_box(&data)).map(|view| view.len));
    time("write a ChannelData header", || channel_data::write_header(black_box(&mut header[..4]), 0x4000, 172));
    time("find a message in a stream", || framing::next(black_box(&data), 9216));
    time("parse a Send indication", || indication::parse_send(black_box(&send)).is_ok());
    let mut room = [0; 300];
    time("write a Data indication's header", || indication::write_data_header(black_box(&mut room), peer, 172, id));
    time("parse and check a request", || Message::parse(black_box(&signed)).is_ok());
    let request = Message::parse(&signed).unwrap();
    time("verify a request's integrity", || request.integrity_matches(black_box(&key)));
    time("write a signed success", || Reply::success(black_box(&request)).lifetime(600).finish(Some(&key)).len());
    time("write a challenge", || {
        Reply::error(black_box(&request), ErrorCode::Unauthenticated)
            .realm("bench")
            .nonce("obMatJos2gAAAthA")
            .finish(None)
            .len()
    });
}

fn time<T>(name: &str, mut work: impl FnMut() -> T) {
    let round = |work: &mut dyn FnMut() -> T| {
        let start = Instant::now();
        for _ in 0..PASSES {
            black_box(work());
        }
        start.elapsed().as_nanos() as f64 / PASSES as f64
    };
    let best = (0..ROUNDS).map(|_| round(&mut work)).fold(f64::INFINITY, f64::min);
    println!("{name:<36} {best:>9.1} ns");
}
