//! Sentences about the machine, driven with a fake clock and a seed. `world` is the little language they are written in.

#![allow(clippy::unwrap_used)]

mod world;

mod allocating;
mod calls;
mod channels;
mod data_path;
mod hairpin;
mod hostile;
mod limits;
mod model;
mod musts;
mod permissions;
mod ports;
mod refreshing;
mod requests;
mod simulation;
mod streams;
