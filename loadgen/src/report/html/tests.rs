#![allow(clippy::unwrap_used)]
use serde_json::{Value, json};

use super::*;
use crate::report::sample::{nasty, result};

#[test]
fn the_page_needs_nothing_and_says_everything() {
    let page = render(&result(), None);
    for wanted in [
        "PASS",
        "Latency by percentile",
        "Second by second",
        "Where calls spent",
        "Load and latency",
        "schedule hash",
        "9c1f00aa11bb22cc",
        "<caption>Objectives",
        "p99 from the actual start",
        "@media print",
        "prefers-color-scheme",
    ] {
        assert!(page.contains(wanted), "{wanted} is missing");
    }
    for loads in ["<script", "src=", "href=", "url(", "@import", "http:", "https:", "//"] {
        assert!(!page.contains(loads), "{loads}");
    }
    assert_eq!(page.matches("<svg").count(), page.matches("<desc").count(), "every plot has its words");
    assert!(page.matches("<svg").count() >= 8, "{}", page.matches("<svg").count());
    assert!(!page.contains("NaN") && !page.contains("inf\""), "a number that is none");
}

#[test]
fn what_came_from_files_stays_text_and_tells_no_address() {
    let page = render(&nasty(), None);
    for secret in ["<script", "onload=\"", "192.0.2.7", "2001:db8", "/srv/ana", "relay.example", "\u{1b}"] {
        assert!(!page.contains(secret), "{secret}");
    }
    assert!(page.contains("&lt;script&gt;"), "it is shown as text");
}

#[test]
fn elements_are_closed_in_the_order_they_were_opened() {
    for page in [render(&result(), None), render(&nasty(), None)] {
        let mut open: Vec<&str> = Vec::new();
        for tag in page.split('<').skip(1).map(|rest| rest.split('>').next().unwrap()) {
            let name = tag.trim_start_matches('/').split([' ', '\n', '/']).next().unwrap();
            match name {
                "!doctype" | "meta" => {}
                _ if tag.ends_with('/') => {}
                _ if tag.starts_with('/') => assert_eq!(open.pop(), Some(name), "{tag}"),
                _ => open.push(name),
            }
        }
        assert!(open.is_empty(), "{open:?}");
    }
}

#[test]
fn ids_are_used_once_and_what_refers_to_one_finds_it() {
    let page = render(&result(), None);
    let values = |attribute: &str| -> Vec<String> {
        page.split(&format!(" {attribute}=\"")).skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()).collect()
    };
    let mut ids = values("id");
    for reference in values("aria-labelledby").iter().flat_map(|ids| ids.split(' ')) {
        assert!(ids.iter().any(|id| id == reference), "{reference}");
    }
    let all = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), all);
    let mut names = values("aria-label");
    let all = names.len();
    names.iter_mut().for_each(|name| name.make_ascii_lowercase());
    names.sort();
    names.dedup();
    assert_eq!(names.len(), all, "regions that cannot be told apart");
}

#[test]
fn the_points_of_a_search_go_before_those_of_the_run() {
    let point =
        |cps: f64, p99: f64, verdict: &str| json!({ "offered_cps": cps, "setup_p99_ms": p99, "verdict": verdict });
    let points: Vec<KneePoint> = serde_json::from_value(Value::Array(vec![
        json!({ "offered": 640.0, "setup_p99_ms": 900.0, "verdict": "missed", "purpose": "bisect" }),
        point(10.0, 9.0, "PASS"),
        point(320.0, 40.0, "INCONCLUSIVE"),
    ]))
    .unwrap();
    let page = render(&result(), Some(&points));
    let rows: Vec<usize> =
        ["10.0</th>", "320.0</th>", "640.0</th>"].iter().map(|cell| page.find(*cell).unwrap()).collect();
    assert!(rows.is_sorted(), "by load: {rows:?}");
    assert!(points[0].failed() && points[1].passed() && !points[2].passed() && !points[2].failed());
    assert!(render(&result(), Some(&[])).contains("The load stayed the same"));
}
