//! Servers that lie: each rule a server can break is broken, and the run says so.
#![allow(clippy::unwrap_used)]

mod measure;
mod small_server;

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    thread,
};

use loadgen::{
    report::Run,
    rules::Violation,
    verdict::{Word, judge},
};
use measure::ALIKE;
use small_server::Faults;

const SHORT: &str = "[arrivals]\ncalls_per_second = 40\nwarmup = \"200ms\"\nfor = \"1s\"\ndrain = \"1s\"\n\
                     [hold]\nlength = \"exp:200ms\"\n[peer]\ndepth = \"signalling\"\n";

fn run(faults: Faults, mix: &str, admin: Option<SocketAddr>) -> Run {
    measure::run(faults, &format!("{SHORT}{ALIKE}{mix}"), admin)
}

const NOBODY_BLOCKED: &str = "block_share = 0\ntopics_share = 0\n";

fn caught(run: &Run, violation: Violation) {
    assert!(run.book.violations.contains_key(&violation), "{violation:?}: {:?}", run.book.violations);
    let verdict = judge(run);
    assert_eq!((verdict.word, verdict.word.exit_code()), (Word::Violated, 7), "{verdict:?}");
    assert!(verdict.reasons.iter().any(|reason| reason.starts_with(violation.name())), "{verdict:?}");
}

#[test]
fn an_honest_server_is_not_accused() {
    let run = run(Faults::default(), NOBODY_BLOCKED, None);
    assert!(run.book.violations.is_empty() && run.book.counts.calls_up > 20, "{:?}", run.book.violations);
}

#[test]
fn who_blocks_somebody_must_not_meet_them() {
    let mix = "block_share = 1\nblocks_each = 40\nblock_reach = 4\ntopics_share = 0\n";
    caught(&run(Faults::default(), mix, None), Violation::Blocked);
}

#[test]
fn who_insists_on_a_topic_must_get_it() {
    let mix = "block_share = 0\ntopics = 8\ntopics_share = 1\nrequire_share = 1\n";
    caught(&run(Faults::default(), mix, None), Violation::Topic);
}

#[test]
fn two_offerers_are_no_call() {
    caught(&run(Faults { two_offerers: true, ..Faults::default() }, NOBODY_BLOCKED, None), Violation::Roles);
}

#[test]
fn what_is_told_of_a_partner_must_be_true() {
    caught(&run(Faults { wrong_level: true, ..Faults::default() }, NOBODY_BLOCKED, None), Violation::Told);
}

#[test]
fn nobody_is_in_two_calls() {
    caught(&run(Faults { twice: true, ..Faults::default() }, NOBODY_BLOCKED, None), Violation::Double);
}

#[test]
fn a_call_has_two_sides() {
    caught(&run(Faults { lonely: true, ..Faults::default() }, NOBODY_BLOCKED, None), Violation::Orphan);
}

#[test]
fn pools_never_meet() {
    let mix = format!("{NOBODY_BLOCKED}[peer.depths]\nsignalling = 1\nmatching = 1\n");
    caught(&run(Faults::default(), &mix, None), Violation::Pool);
}

/// A metrics page that counts three allocations for ever.
fn leaking() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 1024]);
            let _ =
                stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nrelay_allocations{worker=\"0\"} 3\n");
        }
    });
    address
}

#[test]
fn allocations_must_be_back_at_zero() {
    let run = run(Faults::default(), NOBODY_BLOCKED, Some(leaking()));
    caught(&run, Violation::Leak);
    assert_eq!(run.book.violations[&Violation::Leak], 3);
    assert!(run.sampled.seconds.iter().any(|second| second.server_allocations == Some(3)), "on the same time axis");
}

#[test]
fn a_population_that_contradicts_littles_law_is_not_believed() {
    let mut run = run(Faults::default(), NOBODY_BLOCKED, None);
    // As many calls as the law needs to say anything; once as it says, once half as many again at the same time.
    run.book.counts.calls_up = run.book.counts.calls_up.max(100);
    run.book.talk = run.length() * 20;
    let accused = |run: &Run| judge(run).reasons.iter().any(|reason| reason.contains("Little's law"));
    run.sampled.calls_mean = run.calls_by_little();
    assert!(!accused(&run));
    run.sampled.calls_mean = run.calls_by_little() * 1.5;
    assert!(accused(&run), "{:?}", judge(&run));
    assert_eq!(judge(&run).word, Word::Invalid);
}
