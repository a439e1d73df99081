//! Whole runs against a small server: a sound one passes, and each way of being wrong is noticed and named.
#![allow(clippy::unwrap_used)]

mod measure;
mod small_server;

use loadgen::{
    book::Timed,
    caller::record::Cause,
    report::{Run, json, table},
    rules::Violation,
    verdict::{Verdict, Word, judge},
};
use small_server::Faults;

/// Short enough to test with, long enough for percentiles.
const SHORT: &str = "[arrivals]\ncalls_per_second = 40\nwarmup = \"500ms\"\nfor = \"2s\"\ndrain = \"1s\"\n\
                     [hold]\nlength = \"exp:400ms\"\n";

fn run(faults: Faults, scenario: &str) -> (Run, Verdict) {
    let run = measure::run(faults, &format!("{SHORT}{scenario}"), None);
    let verdict = judge(&run);
    eprintln!("{}", table::render(&run, &verdict));
    (run, verdict)
}

/// People whom anybody may meet and who have nobody and nothing to choose.
fn alike() -> String {
    format!("{}topics_share = 0\nblock_share = 0\n", measure::ALIKE)
}

#[test]
fn a_sound_server_sets_up_every_call_without_loss() {
    let (run, verdict) = run(Faults::default(), &alike());
    let counts = &run.book.counts;
    assert_eq!(counts.success(), Some(1.0), "{:?}", run.book.causes);
    assert!(counts.calls_up >= 50, "{counts:?}");
    assert!(run.book.violations.is_empty(), "{:?}", run.book.violations);
    // A machine that stands still for a tenth of a second overflows a socket's buffer, and then says so below.
    let bearable = if verdict.word == Word::Invalid { run.book.voice.received / 100 } else { 0 };
    assert!(run.book.voice.lost <= bearable && run.book.voice.duplicates == 0, "{:?}", run.book.voice);
    assert!(run.book.voice.streams == counts.calls_up * 2 && run.book.voice.received > 1000);
    assert_eq!(counts.freed, counts.allocated);
    assert_eq!(run.book.phase(Timed::Setup).corrected.len(), counts.calls_up);
    // A machine that is busy with something else makes the numbers invalid, and that must be said; nothing else may be.
    assert!(matches!(verdict.word, Word::Pass | Word::Invalid), "{verdict:?}");
    assert_the_json_agrees(&run, &verdict);
}

fn assert_the_json_agrees(run: &Run, verdict: &Verdict) {
    let json = json::render(run, verdict);
    assert_eq!(json["schema"], "loadgen.run/1");
    assert_eq!(json["outcomes"]["calls_up"], run.book.counts.calls_up);
    assert_eq!(json["phases"]["setup"]["corrected"]["n"], run.book.counts.calls_up);
    assert!(json["phases"]["setup"]["corrected"]["p99.9"].is_null(), "too few samples for p99.9");
    assert!(json["phases"]["match"]["corrected"]["hdr"].as_str().unwrap().len() > 20);
    assert_eq!(json["schedule_hash"], run.schedule_hash);
    assert!(json["seconds"].as_array().unwrap().len() >= 3);
}

#[test]
fn a_server_that_matches_anybody_with_anybody_is_caught() {
    let (run, verdict) = run(Faults::default(), "");
    assert_eq!((verdict.word, verdict.word.exit_code()), (Word::Violated, 7));
    for violation in [Violation::Cohort, Violation::Level, Violation::Gender] {
        assert!(run.book.violations.contains_key(&violation), "{:?}", run.book.violations);
    }
}

#[test]
fn a_relay_that_carries_no_media_fails_every_call() {
    let faults = Faults { deaf: true, ..Faults::default() };
    let (run, verdict) = run(faults, &format!("[peer]\nsetup_timeout = \"1s\"\n{}", alike()));
    assert_eq!(run.book.counts.calls_up, 0);
    assert_eq!(run.book.counts.success(), Some(0.0));
    assert!(run.book.causes.keys().all(|cause| matches!(cause, Cause::Timeout(_) | Cause::Ended(_))));
    assert!(matches!(verdict.word, Word::Fail | Word::Invalid), "{verdict:?}");
}

#[test]
fn changed_media_and_cross_talk_are_violations() {
    let (run, verdict) = run(Faults { corrupt: true, cross: true, ..Faults::default() }, &alike());
    for violation in [Violation::Corrupt, Violation::CrossTalk] {
        assert!(run.book.violations.contains_key(&violation), "{:?}", run.book.violations);
    }
    assert_eq!(verdict.word, Word::Violated);
}

#[test]
fn loss_is_measured_and_lowers_the_score() {
    let (run, verdict) = run(Faults { lossy: true, ..Faults::default() }, &alike());
    let voice = &run.book.voice;
    let share = voice.lost as f64 / voice.expected as f64;
    // A machine that stands still loses more, and then says so.
    let most = if verdict.word == Word::Invalid { 0.2 } else { 0.028 };
    assert!((0.012..most).contains(&share), "{share}");
    assert!(run.book.mos.mean().unwrap() < 4.40, "{:?}", run.book.mos.mean());
    assert!(run.book.violations.is_empty());
}

#[test]
fn refused_tokens_are_failures_with_their_code() {
    let (run, verdict) = run(Faults { refuse: true, ..Faults::default() }, &alike());
    assert_eq!(run.book.causes.keys().collect::<Vec<_>>(), [&Cause::Refused("E_TOKEN".into())]);
    assert_eq!(run.book.counts.success(), Some(0.0));
    assert!(matches!(verdict.word, Word::Fail | Word::Invalid));
}
