#![allow(clippy::unwrap_used)]
use super::*;
use crate::{
    caller::signal::Role,
    media::stream::Account,
    rules::tests::{criteria, record},
};

const MS: u64 = 1_000_000;

fn book() -> Book {
    with(Standard { depth: Depth::Light, mixed: None, media: true, abandonment_fails: true, lines: 0 })
}

fn with(standard: Standard) -> Book {
    Book::new(Window { from: Nanos(1_000 * MS), until: Nanos(2_000 * MS) }, standard)
}

fn side(number: u32, role: Role, intended: u64) -> Record {
    let at = |ms: u64| Some(Nanos((intended + ms) * MS));
    let mut record = record(number, role, criteria());
    record.times = Times {
        intended: Nanos(intended * MS),
        started: Nanos((intended + 1) * MS),
        registered: at(3),
        queue_sent: at(3),
        queued: at(4),
        matched: at(20),
        connected: at(50),
        first_voice: at(60),
        hung_up: (role == Role::Offerer).then_some(Nanos((intended + 500) * MS)),
        ended: at(510),
        ..Times::default()
    };
    record.account = Some(Account { sent: 10, heard_up_to: 10, ..Account::default() });
    record
}

#[test]
fn a_call_is_timed_from_the_intended_start_on_its_worse_side() {
    let mut book = book();
    book.add(side(1, Role::Offerer, 1_000));
    book.add(side(2, Role::Answerer, 1_004));
    book.close();
    assert_eq!((book.counts.calls_up, book.counts.failed()), (1, 0));
    assert_eq!(book.counts.success(), Some(1.0));
    let setup = book.phase(Timed::Setup);
    assert!((setup.corrected.max_millis().unwrap() - 50.0).abs() < 0.1);
    assert!((setup.uncorrected.max_millis().unwrap() - 49.0).abs() < 0.1);
    let decision = book.phase(Timed::MatchDecision).corrected.max_millis().unwrap();
    assert!((decision - 16.0).abs() < 0.1, "t3 − max(t2): {decision}");
    assert!(book.violations.is_empty());
}

#[test]
fn one_deaf_side_fails_the_call() {
    let mut book = book();
    book.add(side(1, Role::Offerer, 1_000));
    let mut deaf = side(2, Role::Answerer, 1_000);
    deaf.times.first_voice = None;
    deaf.outcome = Outcome::Failed(Cause::Ended("hangup".into()));
    book.add(deaf);
    assert_eq!((book.counts.calls_up, book.counts.calls_failed), (0, 1));
}

#[test]
fn a_call_dropped_while_up_is_no_success() {
    let mut book = book();
    let mut dropped = side(1, Role::Offerer, 1_000);
    dropped.outcome = Outcome::Failed(Cause::Dropped("lost".into()));
    book.add(dropped);
    book.add(side(2, Role::Answerer, 1_000));
    assert_eq!((book.counts.calls_up, book.counts.calls_failed), (0, 1));
}

#[test]
fn warm_up_is_counted_apart() {
    let mut book = book();
    book.add(side(1, Role::Offerer, 900));
    book.add(side(2, Role::Answerer, 950));
    assert_eq!((book.counts.calls_up, book.counts.outside_calls_up, book.counts.outside_callers), (0, 1, 2));
    assert!(book.phase(Timed::Setup).corrected.is_empty());
}

#[test]
fn a_call_counts_by_its_later_caller() {
    let mut book = book();
    book.add(side(1, Role::Offerer, 990));
    book.add(side(2, Role::Answerer, 1_010));
    assert_eq!(book.counts.calls_up, 1);
}

#[test]
fn unmatched_at_the_end_is_neither_and_no_partner_in_time_is_failure() {
    let mut book = book();
    let lonely = |outcome| {
        let mut record = side(1, Role::Offerer, 1_000);
        record.told = None;
        record.outcome = outcome;
        record
    };
    book.add(lonely(Outcome::Unmatched));
    assert_eq!((book.counts.unmatched, book.counts.success()), (1, None));
    book.add(lonely(Outcome::Failed(Cause::NoPartner)));
    assert_eq!((book.counts.callers_failed, book.counts.success()), (1, Some(0.0)));
    assert_eq!(book.causes[&Cause::NoPartner], 1);
}

#[test]
fn giving_up_is_neither_where_the_scenario_says_so() {
    let mut book =
        with(Standard { depth: Depth::Matching, mixed: None, media: false, abandonment_fails: false, lines: 0 });
    let mut record = side(1, Role::Offerer, 1_000);
    record.told = None;
    record.outcome = Outcome::Failed(Cause::NoPartner);
    book.add(record);
    assert_eq!((book.counts.abandoned, book.counts.failed(), book.counts.success()), (1, 0, None));
    assert!(book.causes.is_empty());
}

#[test]
fn matching_alone_needs_no_connection() {
    let mut book =
        with(Standard { depth: Depth::Matching, mixed: None, media: false, abandonment_fails: true, lines: 0 });
    for mut record in [side(1, Role::Offerer, 1_000), side(2, Role::Answerer, 1_000)] {
        record.times.connected = None;
        record.times.first_voice = None;
        book.add(record);
    }
    assert_eq!(book.counts.calls_up, 1);
}

#[test]
fn who_left_without_an_answer_may_be_the_partner_of_one_who_seems_alone() {
    let mut book = book();
    let mut left = side(1, Role::Offerer, 1_000);
    (left.told, left.unheard, left.outcome) = (None, true, Outcome::Unmatched);
    book.add(left);
    for (number, call) in [(2, "one"), (4, "another")] {
        let mut alone = side(number, Role::Answerer, 1_000);
        (alone.times.connected, alone.times.first_voice) = (None, None);
        alone.told.iter_mut().for_each(|told| told.call = call.into());
        book.add(alone);
    }
    book.close();
    assert_eq!(book.violations[&Violation::Orphan], 1, "one of two may have had the first as its partner");
}

#[test]
fn who_has_heard_somebody_was_not_alone_with_one_who_never_knew() {
    let mut book = book();
    let mut left = side(1, Role::Offerer, 1_000);
    (left.told, left.unheard, left.outcome) = (None, true, Outcome::Unmatched);
    book.add(left);
    book.add(Record { double_matched: true, ..side(2, Role::Answerer, 1_000) });
    book.close();
    assert_eq!((book.violations[&Violation::Orphan], book.violations[&Violation::Double]), (1, 1));
}

#[test]
fn a_third_in_a_call_of_two_is_noticed() {
    let mut book = book();
    for (number, role) in [(1, Role::Offerer), (2, Role::Answerer), (3, Role::Answerer)] {
        book.add(side(number, role, 1_000));
    }
    book.close();
    assert_eq!(book.violations[&Violation::Orphan], 1);
}

#[test]
fn a_caller_alone_in_a_call_is_an_orphan() {
    let mut book = book();
    book.add(side(1, Role::Offerer, 1_000));
    book.close();
    assert_eq!(book.violations[&Violation::Orphan], 1);
}

#[test]
fn the_partner_of_one_who_was_put_back_is_no_orphan() {
    let mut book = book();
    book.add(Record { outcome: Outcome::Failed(Cause::Ended("asleep".into())), ..side(1, Role::Offerer, 1_000) });
    let mut second = [side(2, Role::Offerer, 1_000), side(3, Role::Answerer, 1_000)];
    let call = second[0].told.as_ref().unwrap().call.clone();
    second.iter_mut().for_each(|side| side.told.as_mut().unwrap().call = "another".into());
    second[0].left.push(call);
    second.into_iter().for_each(|side| drop(book.add(side)));
    book.close();
    assert!(book.violations.is_empty(), "{:?}", book.violations);
    assert_eq!((book.counts.calls_up, book.counts.callers_failed), (1, 1));
}

#[test]
fn voice_that_stops_before_its_end_is_lost() {
    let mut book = book();
    let mut quiet = side(2, Role::Answerer, 1_000);
    quiet.account = Some(Account { sent: 10, heard_up_to: 4, ..Account::default() });
    let mut loud = side(1, Role::Offerer, 1_000);
    loud.account = Some(Account { sent: 30, heard_up_to: 10, ..Account::default() });
    book.add(loud);
    book.add(quiet);
    assert_eq!(book.voice.lost, 26);
}

#[test]
fn talk_is_cut_to_the_window() {
    let mut book = book();
    book.add(side(1, Role::Offerer, 1_000));
    assert_eq!(book.talk, Duration::from_millis(450));
    book.add(side(2, Role::Answerer, 1_900));
    assert_eq!(book.talk, Duration::from_millis(450 + 50));
}

#[test]
fn a_pair_joined_before_the_documented_widening_has_no_decision_latency() {
    let mut book = book();
    let mut far = side(2, Role::Answerer, 1_000);
    far.criteria.topics = 0b100;
    book.add(side(1, Role::Offerer, 1_000));
    book.add(far);
    assert_eq!(book.counts.widened_early, 1);
    assert!(book.phase(Timed::MatchDecision).corrected.is_empty());
}
