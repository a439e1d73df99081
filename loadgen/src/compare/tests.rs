//! The whole: which word wins, and what may be asked.
#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};

use super::*;

fn run(cpu: f64, success: f64, faults: &[&str], violations: Value) -> Round {
    Round::read(&json!({
        "verdict": { "generator_faults": faults },
        "violations": violations,
        "outcomes": { "success": success, "calls_up": 100 },
        "phases": { "setup": { "corrected": { "p50": 1.0 } } },
        "media": { "received": 10_000 },
        "host": { "server_cpu_secs": cpu },
    }))
}

fn sound(cpu: f64) -> Round {
    run(cpu, 1.0, &[], json!({}))
}

fn compare(head: impl Fn(usize) -> Round) -> Comparison {
    let pair = |i| Pair { seed: i as u64, head_first: i % 2 == 1, base: sound(1.0), head: head(i) };
    let names = ("a".to_owned(), "b".to_owned());
    let pairs = Material::Pairs((0..8).map(pair).collect());
    Comparison::of(How::Together, names, &asked(&[], &[]).unwrap(), pairs, SEED)
}

fn word(head: impl Fn(usize) -> Round) -> Word {
    compare(head).verdict().0
}

#[test]
fn each_word_has_its_cause() {
    assert_eq!(word(|_| sound(1.0)), Word::Pass);
    assert_eq!(word(|_| sound(1.1)), Word::Regressed);
    assert_eq!(word(|i| sound(if i % 2 == 0 { 0.7 } else { 1.4 })), Word::Inconclusive);
    assert_eq!(word(|_| run(1.0, 1.0, &["late"], json!({}))), Word::Invalid);
    assert_eq!(word(|_| run(1.1, 1.0, &[], json!({ "leak": 1 }))), Word::Violated);
}

#[test]
fn a_costlier_build_is_found_although_the_generator_was_late() {
    let late = compare(|_| run(1.1, 1.0, &["late"], json!({})));
    let (word, reasons) = late.verdict();
    assert_eq!(word, Word::Regressed);
    assert!(reasons[0].starts_with("cpu/packet ×1.100"), "{reasons:?}");
    assert_eq!((late.unsound, late.of_rounds), (8, 16));
}

#[test]
fn what_was_never_measured_is_no_pass() {
    let silent = || Round::read(&json!({ "outcomes": { "calls_up": 5 } }));
    let pairs = (0..8).map(|_| Pair { base: silent(), head: silent(), ..Pair::default() }).collect();
    let names = ("a".to_owned(), "b".to_owned());
    let comparison = Comparison::of(How::Apart, names, &asked(&[], &[]).unwrap(), Material::Pairs(pairs), SEED);
    assert_eq!(comparison.verdict().0, Word::Inconclusive);
}

#[test]
fn exit_codes_are_those_of_the_manual() {
    let codes = Word::ALL.map(Word::exit_code);
    assert_eq!(codes, [0, 4, 5, 8, 7]);
}

#[test]
fn metrics_and_margins_are_read_or_refused() {
    let of = |gated: &[&str], margins: &[&str]| {
        let own = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        asked(&own(gated), &own(margins))
    };
    let margin = |asked: &[Asked], key: &str| asked.iter().find(|of| of.metric.key == key).unwrap().margin;
    let usual = of(&[], &[]).unwrap();
    assert_eq!(usual.iter().filter(|of| of.gated).count(), 3);
    let told = of(&["cpu/call"], &["2%", "setup.p50=0.2"]).unwrap();
    assert_eq!((margin(&told, "cpu/call"), margin(&told, "setup.p50"), margin(&told, "success")), (0.02, 0.2, 0.005));
    assert!(of(&["speed"], &[]).is_err() && of(&[], &["lots"]).is_err() && of(&[], &["speed=3%"]).is_err());
    assert!(of(&["success"; 7], &[]).is_err());
}
