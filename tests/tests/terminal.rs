//! The screen of a run on a real terminal, with keys pressed on it.

use e2e::daemon::{build, target_directory};
use serde_json::Value;
use std::process::Command;

fn on_a_terminal(keys: &str, arguments: &[&str]) -> Value {
    let mut command = Command::new("python3");
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/interop/terminal.py")).arg(keys).arg(build("loadgen"));
    let output = command.args(arguments).output().expect("python3 runs");
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

#[test]
fn keys_change_the_rate_and_the_terminal_is_given_back() {
    let path = target_directory().join(format!("terminal-{}.json", std::process::id()));
    let result = path.to_str().unwrap();
    let run = ["run", "signalling", "--calls/s", "20", "--for", "40s", "--json", result];
    let seen = on_a_terminal("3*q", &run);
    for fact in ["taken", "raw_meanwhile", "given_back", "as_before"] {
        assert_eq!(seen[fact], true, "{fact}: {seen:#}");
    }
    assert!(seen["outside"].as_str().unwrap().contains("VERDICT"), "the table stays behind: {seen:#}");
    let written: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert_eq!(written["manual_changes"][0]["factor"], 2.0, "{:#}", written["manual_changes"]);
    assert!(written["measured_secs"].as_f64().unwrap() < 40.0, "q ends the run");
    std::fs::remove_file(path).unwrap();
}
