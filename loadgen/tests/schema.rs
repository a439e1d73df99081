//! What `run --json` writes is what the published schema says, for runs of every depth.
#![allow(clippy::unwrap_used)]

use std::process::Command;

use serde_json::Value;

const SCHEMA: &str = include_str!("../docs/loadgen.run.1.schema.json");

/// The part of JSON Schema the published file uses; a keyword that is not known here fails the test.
fn check(schema: &Value, root: &Value, value: &Value, path: &str, faults: &mut Vec<String>) {
    for (keyword, rule) in schema.as_object().unwrap() {
        match keyword.as_str() {
            "$schema" | "title" | "description" | "$defs" | "properties" => {}
            "$ref" => {
                let target = root.pointer(rule.as_str().unwrap().strip_prefix('#').unwrap()).unwrap();
                check(target, root, value, path, faults);
            }
            "const" if rule == value => {}
            "enum" if rule.as_array().unwrap().contains(value) => {}
            "type" if has_type(rule, value) => {}
            "required" => {
                let missing =
                    rule.as_array().unwrap().iter().filter(|key| {
                        value.as_object().is_some_and(|object| !object.contains_key(key.as_str().unwrap()))
                    });
                faults.extend(missing.map(|key| format!("{path}: {key} is missing")));
            }
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    check(rule, root, item, &format!("{path}[{index}]"), faults);
                }
            }
            "additionalProperties" => check_object(schema, rule, root, value, path, faults),
            "const" | "enum" | "type" => faults.push(format!("{path}: {value} is not {rule}")),
            other => panic!("the schema uses {other}, which this test does not know"),
        }
    }
}

fn check_object(schema: &Value, others: &Value, root: &Value, value: &Value, path: &str, faults: &mut Vec<String>) {
    for (key, value) in value.as_object().into_iter().flatten() {
        let path = format!("{path}.{key}");
        match schema["properties"].get(key) {
            Some(rule) => check(rule, root, value, &path, faults),
            None if *others == Value::Bool(false) => faults.push(format!("{path}: not in the schema")),
            None => check(others, root, value, &path, faults),
        }
    }
}

fn has_type(rule: &Value, value: &Value) -> bool {
    let is = |name: &str| match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        other => panic!("no type {other}"),
    };
    match rule {
        Value::Array(names) => names.iter().any(|name| is(name.as_str().unwrap())),
        name => is(name.as_str().unwrap()),
    }
}

fn faults(value: &Value) -> Vec<String> {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let mut faults = Vec::new();
    check(&schema, &schema, value, "$", &mut faults);
    faults
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
