//! Measurements, each a program of its own under `src/bin`.

#![cfg_attr(test, allow(clippy::unwrap_used))] // tests: a panic is how they report

pub mod dataplane;
pub mod generator;
mod load;
pub mod peers;
