//! Everything that needs more than one process. One binary; a module per part of the outside world.

#![allow(clippy::unwrap_used)] // tests: a panic is how they report

mod aiortc;
mod browser;
mod browser_trace;
mod browser_transports;
mod canary;
mod changing;
mod changing_five;
mod ci_workflow;
mod conformance;
mod deploy;
mod doctor;
mod faults;
mod fuzz;
mod guides;
mod hostile_client;
mod idle_memory;
mod import_coturn;
mod manual;
mod nat;
mod nat_virtual;
mod native_histograms;
mod operating;
mod packaged;
mod page_access;
mod page_call;
mod pair_browser;
mod people;
mod prove;
mod reloading;
mod report_formats;
mod report_page;
mod round_trips;
mod sandbox;
mod silence;
mod soak;
mod streams;
mod succession;
mod supervised;
mod tcp_relay;
mod terminal;
mod token_examples;
mod uclient;
mod webrtc_rs;
mod websocket_cases;
