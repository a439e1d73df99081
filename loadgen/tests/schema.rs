//! What `run --json` writes is what the published schema says, for runs of every depth.
#![allow(clippy::unwrap_used)]

mod published;

use std::process::Command;

use serde_json::Value;

const SCHEMA: &str = include_str!("../docs/loadgen.run.1.schema.json");

fn faults(value: &Value) -> Vec<String> {
    published::faults(SCHEMA, value)
}

fn run(line: &str) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args(line.split_whitespace())
        .args(["--json", "-", "-q", "--for", "2s", "--warmup", "500ms", "--drain", "1s"])
        .output()
        .unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[test]
fn runs_of_every_depth_are_as_published() {
    let lines = [
        "run --calls/s 20 --hold exp:300ms",
        "run signalling --users 20",
        "run signalling --arrivals ramp:10..40/2s",
        "run matching-only --calls/s 20",
        "run turn-only --calls/s 30 --hold exp:300ms --set peer.lines=5",
        "run turn-only --calls/s 20 --media none --hold exp:300ms",
    ];
    for line in lines {
        let found = faults(&run(line));
        assert!(found.is_empty(), "{line}: {found:#?}");
    }
}

#[test]
fn what_is_missing_added_or_of_another_type_is_noticed() {
    let whole = run("run turn-only --calls/s 20 --hold exp:300ms");
    let with = |change: &dyn Fn(&mut Value)| {
        let mut changed = whole.clone();
        change(&mut changed);
        faults(&changed)
    };
    assert_eq!(with(&|_| {}), Vec::<String>::new());
    assert_eq!(with(&|json| json["schema"] = "loadgen.run/2".into()).len(), 1);
    assert_eq!(with(&|json| json["new"] = 1.into()), ["$.new: not in the schema"]);
    assert_eq!(with(&|json| json["load"]["calls_peak"] = "many".into()).len(), 1);
    assert_eq!(with(&|json| _ = json["phases"]["setup"]["corrected"].as_object_mut().unwrap().remove("n")).len(), 1);
}
