//! Everything that needs more than one process. One binary; a module per part of the outside world.

#![allow(clippy::unwrap_used)] // tests: a panic is how they report

mod browser;
mod fuzz;
mod operating;
mod streams;
mod uclient;
mod webrtc_rs;
