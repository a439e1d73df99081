//! Sentences about stream clients, on real sockets. `links` is what they are written with.

#![allow(clippy::unwrap_used)]

mod links;

mod closing;
mod desync;
mod proxied;
mod speaking;
mod talking;
mod tcp_relaying;
