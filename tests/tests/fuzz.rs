//! A short seeded stretch of every fuzz target on the stable toolchain; `LONG=1` makes it fifty times as long.

use e2e::fuzzing::{TARGETS, run, target};

/// Mutations of each target's seeds.
const SHORT: usize = 20_000;

/// A script of requests takes a hundred times as long as a header.
const SHORT_OF_SESSIONS: usize = 2_000;

fn stretch(name: &str) {
    stretch_of(name, SHORT);
}

fn stretch_of(name: &str, count: usize) {
    let _ = target(name);
    let times = if std::env::var_os("LONG").is_some() { 50 } else { 1 };
    for target in TARGETS.iter().filter(|target| target.name == name) {
        run(target, 0x5EED, count * times);
    }
}

#[test]
fn no_header_breaks_the_proxy_reader() {
    stretch("proxy");
}

#[test]
fn no_first_bytes_are_taken_for_two_things() {
    stretch("detect");
}

#[test]
fn no_stream_breaks_the_framing() {
    stretch("framing");
}

#[test]
fn no_signed_sequence_breaks_a_promise() {
    stretch_of("session", SHORT_OF_SESSIONS);
}

#[test]
fn no_datagram_breaks_the_wire_readers() {
    stretch("wire");
}

#[test]
fn no_sequence_breaks_the_turn_machine() {
    stretch("turn");
}

#[test]
fn no_frame_breaks_the_message_reader() {
    stretch("message");
}

#[test]
fn no_description_or_candidate_breaks_the_rebuild() {
    stretch("sdp");
}
