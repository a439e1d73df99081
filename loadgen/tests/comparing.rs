//! `ab`, `compare` and `find-limit` themselves: what they start, write, refuse and exit with. Whether a machine is quiet enough for a
//! verdict is no question of a test, so every verdict that noise can make is accepted; one that only a fault can make is not.
#![allow(clippy::unwrap_used)]

mod published;

use std::{
    env, fs,
    path::PathBuf,
    process::{Command, Output},
};

use serde_json::Value;

const COMPARISON: &str = include_str!("../docs/loadgen.comparison.1.schema.json");
const LIMIT: &str = include_str!("../docs/loadgen.limit.1.schema.json");
const PROOF: &str = include_str!("../docs/loadgen.proof.1.schema.json");
const ITSELF: &str = env!("CARGO_BIN_EXE_loadgen");
/// Two pairs of half a second: enough to see that everything happens, too few to call anything a regression.
const TINY: &str = "--rounds 2 --replace 0 --round-time 500ms --warmup 300ms --calls/s 60 --hold fixed:300ms -q";

fn loadgen(line: &str) -> Command {
    let mut command = Command::new(ITSELF);
    command.args(line.split_whitespace()).env_remove("GITHUB_OUTPUT").env_remove("GITHUB_STEP_SUMMARY");
    command
}

fn run(line: &str) -> Output {
    loadgen(line).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn folder(name: &str) -> PathBuf {
    let path = env::temp_dir().join(format!("loadgen-{name}-{}", std::process::id()));
    fs::create_dir_all(&path).unwrap();
    path
}

#[test]
fn pairs_of_rounds_are_made_and_told_as_published() {
    for how in ["", "--apart"] {
        let output = run(&format!("ab --base {ITSELF} --head {ITSELF} {TINY} {how} --json -"));
        assert!(matches!(output.status.code(), Some(5 | 8)), "{output:?}");
        let json: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
        assert_eq!(published::faults(COMPARISON, &json), Vec::<String>::new());
        assert_eq!(json["pairs"].as_array().unwrap().len(), 2);
        assert_eq!((&json["pairs"][0]["first"], &json["pairs"][1]["first"]), (&"base".into(), &"head".into()));
        assert_ne!(json["pairs"][0]["seed"], json["pairs"][1]["seed"]);
        let table = text(&output.stderr);
        assert!(table.contains("cpu/packet") && table.contains("detectable") && table.contains("VERDICT"), "{table}");
        let cost = &json["pairs"][0]["base"]["metrics"]["cpu/packet"];
        assert!(cost.as_f64().unwrap() > 0.0, "{json:#}");
    }
}

#[test]
fn a_build_server_gets_an_annotation_a_summary_and_a_conclusion() {
    let folder = folder("ci");
    let (output, summary) = (folder.join("output"), folder.join("summary"));
    let ran = loadgen(&format!("ab --ci --base {ITSELF} --head {ITSELF} {TINY}"))
        .env("GITHUB_OUTPUT", &output)
        .env("GITHUB_STEP_SUMMARY", &summary)
        .output()
        .unwrap();
    // Two pairs can conclude nothing.
    assert_eq!(ran.status.code(), Some(0), "{ran:?}");
    assert_eq!(fs::read_to_string(&output).unwrap(), "conclusion=neutral\n");
    assert!(text(&ran.stdout).contains("::warning title=loadgen ab%3A IN"), "{ran:?}");
    assert!(fs::read_to_string(&summary).unwrap().contains("| **cpu/packet** |"));
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_build_against_itself_counts_false_alarms() {
    let folder = folder("proof");
    let path = folder.join("proof.json");
    let output = run(&format!("ab --base {ITSELF} --aa --repeat 2 {TINY} --json {}", path.display()));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(text(&output.stdout).starts_with("false alarms: 0 of 2 comparisons"), "{output:?}");
    let json: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(published::faults(PROOF, &json), Vec::<String>::new());
    assert_eq!((json["each"].as_array().unwrap().len(), &json["against_itself"]), (2, &true.into()));
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_command_that_is_no_relay_is_told() {
    let output = run(&format!("ab --base /bin/false --head {ITSELF} {TINY}"));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text(&output.stderr).contains("did not start"), "{output:?}");
    for wrong in ["--base /no/such/relay --aa", "--base relay", "--base relay --aa --target ws://127.0.0.1:1"] {
        assert_eq!(run(&format!("ab {wrong}")).status.code(), Some(2), "{wrong}");
    }
}

#[test]
fn stored_results_are_compared_only_if_they_are_comparable() {
    let folder = folder("stored");
    let stored = |name: &str, seed: u32| {
        let path = folder.join(name).display().to_string();
        run(&format!(
            "run turn-only --calls/s 20 --hold fixed:300ms --for 1s --warmup 300ms --drain 500ms --seed {seed} -q --json {path}"
        ));
        path
    };
    let (a, b, other) = (stored("a.json", 1), stored("b.json", 1), stored("other.json", 2));
    let output = run(&format!("compare {a} {b} --json -"));
    assert!(matches!(output.status.code(), Some(5 | 8)), "one round a side shows no noise: {output:?}");
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(published::faults(COMPARISON, &json), Vec::<String>::new());
    let refused = run(&format!("compare {a} {other}"));
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("not of one seed; --despite seed"), "{refused:?}");
    assert_ne!(run(&format!("compare {a} {other} --despite seed,schedule")).status.code(), Some(2));
    assert_eq!(run(&format!("compare {a} {other} --despite weather")).status.code(), Some(2));
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_limit_is_looked_for_and_told_as_published() {
    let output =
        run("find-limit turn-only --media none --slo success>=90% --hold fixed:100ms --warmup 200ms --for 500ms \
                      --drain 300ms --from 50 --confirm 1 --at-most 6s -q --json -");
    let json: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    assert!(matches!(output.status.code(), Some(0 | 3 | 5 | 8)), "{output:?}");
    assert_eq!(published::faults(LIMIT, &json), Vec::<String>::new());
    assert!(!json["points"].as_array().unwrap().is_empty());
    let words = text(&output.stderr);
    assert!(words.contains("CPS") && words.contains("BHCA") && words.contains("Erlang"), "{words}");
    for wrong in ["--users 5", "--resolution 0%", "--from 0", "--arrivals ramp:1..9/5s"] {
        assert_eq!(run(&format!("find-limit {wrong}")).status.code(), Some(2), "{wrong}");
    }
}

#[test]
fn every_subcommand_teaches_by_example() {
    let help = text(&run("--help").stdout);
    let commands: Vec<&str> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(commands.len() >= 11, "{commands:?}");
    for command in commands.into_iter().filter(|command| *command != "help") {
        let help = text(&run(&format!("{command} --help")).stdout);
        assert!(help.contains("Example"), "{command}: {help}");
    }
}

#[test]
fn schemas_of_every_shape_are_printed() {
    for (of, name) in [("run", "loadgen.run/1"), ("comparison", "loadgen.comparison/1"), ("limit", "loadgen.limit/1")] {
        let schema: Value = serde_json::from_slice(&run(&format!("schema {of}")).stdout).unwrap();
        assert_eq!(schema["properties"]["schema"]["const"], name);
    }
}
