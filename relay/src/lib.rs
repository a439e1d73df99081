//! STUN/TURN relay with matchmaking and call signalling built in.
//!
//! Arrows point at what a module may import; nothing points up.
//!
//! ```text
//! main ─► server ─► config
//!            │
//!   edges    ├─► stream, splice ─► dataplane   signalling   admin ─► metrics   web   own sockets, threads, time
//!            │                         │         │     │
//!   core     │                         ▼         ▼     ▼
//!            └──────────────────────► turn ─► calls   cluster ─► matchmaking   pure: no socket, clock, runtime, random
//!                                      │  │      └─► routes
//!                                      │  └─► auth   access
//!   bytes                              ▼
//!                                     wire                              no state at all
//! ```
//!
//! The life of a ChannelData packet: `dataplane::worker` receives a batch → `turn::Turn::handle_client` →
//! `turn::forward` (its hairpin, or towards an outside peer) → `dataplane::batch` sends. The payload is never copied. To and from a
//! TCP or TLS client it is copied once: `dataplane::worker_streams`.

pub mod emodel;
mod exponential;
mod hashing;
pub mod time;
mod timers;

pub mod wire;

pub mod access;
pub mod auth;
pub mod calls;
pub mod cluster;
pub mod matchmaking;
pub mod routes;
pub mod turn;

pub mod admin;
#[cfg_attr(not(feature = "nats"), allow(dead_code, reason = "without a broker nobody speaks"))]
pub mod bus;
pub mod clock;
pub mod dataplane;
pub mod log;
pub mod manual;
pub mod metrics;
pub mod prove;
pub mod sandbox;
pub mod signalling;
pub mod splice;
pub mod stream;
pub mod web;

pub mod config;
pub mod server;
