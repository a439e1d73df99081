//! What hostile bytes are thrown at. Each target takes any bytes and must come back: no panic, no broken promise.
//!
//! The same functions serve twice: `tests/fuzz/run.sh` runs them under coverage guidance, and the test binary runs a short
//! seeded stretch of each, so that every change meets them. Both start from `tests/fuzz/corpus`.

mod bytes;
mod corpus;
mod detect;
mod framing;
mod mutate;
mod proxy;
mod session;
mod signalling;
mod turn;
mod wire;

pub use corpus::read_corpus;
pub use mutate::run;

/// A target: its name, what is done with the bytes, and well-formed inputs to start mutating from.
pub struct Target {
    pub name: &'static str,
    pub run: fn(&[u8]),
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them, in the order a packet or a frame meets them.
pub const TARGETS: [Target; 8] = [
    Target { name: "proxy", run: proxy::run, seeds: proxy::seeds },
    Target { name: "detect", run: detect::run, seeds: detect::seeds },
    Target { name: "framing", run: framing::run, seeds: framing::seeds },
    Target { name: "wire", run: wire::run, seeds: wire::seeds },
    Target { name: "turn", run: turn::run, seeds: turn::seeds },
    Target { name: "session", run: session::run, seeds: session::seeds },
    Target { name: "message", run: signalling::message, seeds: signalling::message_seeds },
    Target { name: "sdp", run: signalling::sdp, seeds: signalling::sdp_seeds },
];

/// The function of a target; panics if there is none of that name.
pub fn target(name: &str) -> fn(&[u8]) {
    TARGETS.iter().find(|target| target.name == name).expect("a fuzz target's name").run
}
