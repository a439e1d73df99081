//! Load generator for peer-to-peer voice: matching, signalling, TURN and media from one intended-start clock.
//!
//! ```text
//! main ─► runner ─► report · verdict          main ─► ab · limit ─► runner, again and again; ab ─► compare
//!            │
//!   edges    ├─► media (pacing thread, sockets)   own_relay   host   sys      own sockets, threads, time
//!            │
//!   core     ├─► caller ─► peer (TURN client, check, descriptions)             pure: `handle_*` in, `poll_*` out
//!            └─► scenario   arrival   population   book ─► stats   rules       pure: values in, values out
//! ```
//!
//! The life of a caller: `arrival` says when, `population` says who, `runner` gives it a WebSocket, `caller` decides every
//! step, `media` sends and receives its packets, `book` joins it with its partner and counts.

pub mod ab;
pub mod allowance;
pub mod arrival;
pub mod attack;
pub mod book;
pub mod calibrate;
pub mod caller;
pub mod cli;
pub mod compare;
pub mod explain;
pub mod host;
pub mod length;
pub mod limit;
pub mod media;
pub mod merge;
pub mod null_server;
pub mod own_relay;
pub mod peer;
pub mod population;
pub mod report;
pub mod rules;
pub mod runner;
pub mod scenario;
pub mod scrape;
pub mod selftest;
pub mod simulate;
pub mod slice;
pub mod slo;
pub mod stats;
pub mod sys;
pub mod time;
pub mod token;
pub mod verdict;
