//! `docs/rfc-musts.md` names tests; a test that is renamed or removed must not leave its name behind.

#![allow(clippy::unwrap_used)] // tests: a panic is how they report

use std::fs;
use std::path::Path;

const TABLE: &str = include_str!("../docs/rfc-musts.md");
/// The same of the protocol's own design; its tests are named without their files.
const CLAUSES: &str = include_str!("../docs/pair.v1/clauses.md");
/// Threats, promises and faults, each with its test.
const PRIVACY: &str = include_str!("../docs/privacy.md");
/// What a row says that was left for later; there are none.
const UNFINISHED: &str = "TBD";

/// The rows, without the heads of the tables.
fn rows() -> impl Iterator<Item = &'static str> {
    TABLE.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| § "))
}

/// `file::test`, as it stands between backticks.
fn named(row: &str) -> impl Iterator<Item = (&str, &str)> {
    row.split('`').skip(1).step_by(2).filter_map(|name| name.split_once(".rs::"))
}

#[test]
fn every_row_names_a_test_or_says_why_there_is_none() {
    assert!(rows().count() > 100, "the table was read");
    for row in rows() {
        let covered = row.rsplit('|').nth(1).unwrap().trim();
        let answered = named(row).next().is_some() || covered.starts_with("not: ");
        assert!(answered, "nothing covers: {row}");
    }
}

#[test]
fn nothing_is_left_for_later() {
    let late: Vec<_> = TABLE.lines().filter(|line| line.contains(UNFINISHED)).collect();
    assert!(late.is_empty(), "to be done: {late:#?}");
}

#[test]
fn every_test_that_is_named_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut missing = Vec::new();
    for (file, test) in rows().flat_map(named) {
        let source = fs::read_to_string(root.join(format!("{file}.rs"))).unwrap_or_default();
        if !is_test(&source, test) {
            missing.push(format!("{file}.rs::{test}"));
        }
    }
    assert!(missing.is_empty(), "no such test: {missing:#?}");
}

#[test]
fn every_test_that_is_named_for_a_clause_of_pair_v1_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut sources = String::new();
    for folder in ["relay/src", "tests/tests"] {
        read_all(&root.join(folder), &mut sources);
    }
    let rows = CLAUSES.lines().filter(|line| line.starts_with("| 4."));
    let tests = rows.filter_map(|row| row.rsplit('|').nth(1)).flat_map(|cell| cell.split('`').skip(1).step_by(2));
    let tests: Vec<&str> = tests.filter(|name| name.contains('_') && *name != "websocket_cases").collect();
    assert!(tests.len() > 70, "the table was read");
    let missing: Vec<_> = tests.into_iter().filter(|name| !is_test(&sources, name)).collect();
    assert!(missing.is_empty(), "no such test: {missing:#?}");
}

#[test]
fn every_test_that_is_named_for_a_promise_a_threat_or_a_fault_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let rows: Vec<&str> = PRIVACY.lines().filter(|line| line.starts_with("| ") && line.contains(".rs::")).collect();
    assert!(rows.len() > 40, "the tables were read");
    let mut missing = Vec::new();
    for (file, test) in rows.into_iter().flat_map(named) {
        if !is_test(&fs::read_to_string(root.join(format!("{file}.rs"))).unwrap_or_default(), test) {
            missing.push(format!("{file}.rs::{test}"));
        }
    }
    assert!(missing.is_empty(), "no such test: {missing:#?}");
}

fn read_all(folder: &Path, into: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_all(&path, into);
        } else if path.extension().is_some_and(|end| end == "rs") {
            into.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

/// A function of that name with `test` in an attribute right above it, or a row of the conformance suite's `rows!`.
fn is_test(source: &str, name: &str) -> bool {
    let (head, row) = (format!("fn {name}("), format!("{name} on "));
    let lines: Vec<&str> = source.lines().map(str::trim_start).collect();
    if lines.iter().any(|line| line.starts_with(&row)) {
        return true;
    }
    let place = lines.iter().position(|line| line.trim_start_matches("async ").starts_with(&head));
    let above = place.map(|place| lines[..place].iter().rev().take_while(|line| line.starts_with("#[")));
    above.is_some_and(|mut above| above.any(|line| line.contains("test")))
}
