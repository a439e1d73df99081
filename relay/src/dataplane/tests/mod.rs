//! The data plane on real loopback sockets, with the real machine.
#![allow(clippy::unwrap_used)]

pub(crate) mod client;
mod errors;
mod ip_fields;
mod listening;
mod mid_batch;
mod relaying;
