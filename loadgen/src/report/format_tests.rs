//! What each format says of the same result. Whether its consumers read it too is asked in `tests/tests/report_formats.rs`.

#![allow(clippy::unwrap_used)]
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

use super::{
    benchmarks::{self, Better},
    csv, github, hdr, junit, openmetrics,
    sample::{nasty, result, value},
};
use crate::report::recorded::Recorded;

#[test]
fn a_line_of_csv_for_every_second_with_a_cell_for_every_column() {
    let text = csv::render(&result());
    let columns = text.lines().next().unwrap().split(',').count();
    assert_eq!(text.lines().count(), 1 + 26);
    for line in text.lines() {
        assert_eq!(line.split(',').count(), columns, "{line}");
    }
    let row: Vec<&str> = text.lines().nth(5).unwrap().split(',').collect();
    assert_eq!(row[..3], ["5", "1", "50.000"], "the second, inside the window, calls a second of two callers each");
    assert_eq!(text.lines().nth(3).unwrap().split(',').nth(16), Some(""), "nothing came up that was due in second 3");
}

#[test]
fn a_log_of_histograms_in_the_order_of_time_with_every_phase_twice() {
    let log = hdr::log(&result()).unwrap();
    let entries: Vec<_> = IntervalLogIterator::new(&log).map(Result::unwrap).collect();
    let intervals: Vec<_> =
        entries.iter().filter_map(|entry| if let LogEntry::Interval(of) = entry { Some(of) } else { None }).collect();
    let tag = |wanted: &str| intervals.iter().filter(|of| of.tag().unwrap().as_str() == wanted).count();
    assert_eq!((tag("setup"), tag("setup.from_send"), tag("setup.second")), (1, 1, 19));
    assert!(intervals.windows(2).all(|pair| pair[0].start_timestamp() <= pair[1].start_timestamp()));
    let started = entries.iter().find_map(|entry| if let LogEntry::StartTime(at) = entry { Some(*at) } else { None });
    assert_eq!(started.unwrap().as_secs_f64(), 1_795_314_600.25, "2026-11-22T02:30:00.250Z");
}

#[test]
fn the_table_of_a_histogram_rises_to_all_samples() {
    let recorded = result();
    let table = hdr::table(&recorded.phase("setup").unwrap());
    let rows: Vec<Vec<f64>> = table
        .lines()
        .filter(|line| !line.starts_with('#') && line.split_whitespace().all(|cell| cell.parse::<f64>().is_ok()))
        .map(|line| line.split_whitespace().map(|cell| cell.parse().unwrap()).collect())
        .filter(|row: &Vec<f64>| !row.is_empty())
        .collect();
    assert!(rows.len() > 20 && rows.iter().all(|row| row.len() == 4), "{table}");
    assert!(rows.windows(2).all(|pair| pair[0][0] <= pair[1][0] && pair[0][1] <= pair[1][1]));
    assert_eq!(rows.last().map(|row| (row[1], row[2])), Some((1.0, 4000.0)));
}

#[test]
fn a_case_for_every_objective_and_none_is_judged_where_the_generator_failed() {
    let text = junit::render(&result());
    assert!(text.contains("tests=\"6\" failures=\"1\" errors=\"0\" skipped=\"1\""), "{text}");
    assert!(
        text.contains("name=\"setup.p99&lt;1ms\"") && text.contains("missed setup.p99&lt;1ms: measured 17.2"),
        "{text}"
    );
    let mut invalid = value();
    invalid["verdict"]["generator_faults"] = serde_json::json!(["start lag p99 50 ms > 10 ms"]);
    let text = junit::render(&Recorded::read(invalid).unwrap());
    assert!(text.contains("tests=\"6\" failures=\"0\" errors=\"1\" skipped=\"3\""), "{text}");
}

#[test]
fn nothing_in_any_format_breaks_out_or_says_where_anything_is() {
    let nasty = nasty();
    let texts = [
        junit::render(&nasty),
        openmetrics::render(&nasty),
        github::summary(&nasty),
        github::annotations(&nasty).join("\n"),
        csv::render(&nasty),
        String::from_utf8(hdr::log(&nasty).unwrap()).unwrap(),
    ];
    for text in &texts {
        for secret in ["192.0.2.7", "2001:db8", "/srv/ana", "relay.example", "\u{1b}"] {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
        assert!(
            text.lines().all(|line| line.starts_with("::error title=loadgen") || !line.starts_with("::error")),
            "{text}"
        );
    }
    assert!(!texts[0].contains("<script") && !texts[2].contains("<script"));
    assert_eq!(
        github::annotations(&nasty).len(),
        3,
        "the verdict, and what to keep in mind: {:?}",
        github::annotations(&nasty)
    );
}

#[test]
fn annotations_are_as_grave_as_the_verdict() {
    for (code, kind) in [(0, "::notice "), (3, "::error "), (5, "::warning "), (7, "::error "), (8, "::warning ")] {
        let mut value = value();
        value["verdict"]["exit_code"] = code.into();
        assert!(github::annotations(&Recorded::read(value).unwrap())[0].starts_with(kind), "{code}");
    }
}

#[test]
fn every_number_for_a_history_is_in_one_of_the_two_files_of_the_action() {
    let recorded = result();
    let (smaller, bigger) =
        (benchmarks::action(&recorded, Better::Smaller), benchmarks::action(&recorded, Better::Bigger));
    let metrics: usize =
        benchmarks::bencher(&recorded).as_object().unwrap().values().map(|of| of.as_object().unwrap().len()).sum();
    assert_eq!(smaller.as_array().unwrap().len() + bigger.as_array().unwrap().len(), metrics);
    assert!(bigger.as_array().unwrap().iter().all(|entry| entry["unit"] != "ms"));
    let setup = &benchmarks::bencher(&recorded)["setup"]["p50-ms"];
    assert!(
        setup["lower_value"].as_f64() <= setup["value"].as_f64()
            && setup["value"].as_f64() <= setup["upper_value"].as_f64()
    );
}

#[test]
fn only_a_result_is_read() {
    assert!(Recorded::read(serde_json::json!({ "schema": "loadgen.run/2" })).unwrap_err().contains("loadgen.run/1"));
    assert!(Recorded::read(serde_json::json!({ "schema": "loadgen.run/1" })).unwrap_err().contains("damaged"));
    let mut before = value();
    for added in ["started_at", "manual_changes", "knee", "by_start"] {
        before.as_object_mut().unwrap().remove(added);
    }
    assert!(Recorded::read(before).is_ok(), "results of before these were there");
}
