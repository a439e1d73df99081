//! Measurements, each a program of its own under `src/bin`.

pub mod dataplane;
pub mod generator;
mod load;
pub mod peers;
