//! Sentences about the machine, driven with a fake clock and a seed. `world` is the little language they are written in.

#![allow(clippy::unwrap_used)]

mod world;

mod allocating;
mod calls;
mod channels;
mod data_path;
mod dual;
mod families;
mod fast_path;
mod fragments;
mod hairpin;
mod hearing;
mod hostile;
mod icmp;
mod limits;
mod model;
mod musts;
mod nat_discovery;
mod operating;
mod permissions;
mod pools;
mod ports;
mod refreshing;
mod requests;
mod simulation;
mod streams;
mod tcp_allocating;
mod tcp_connecting;
mod tcp_world;
mod upgrading;
