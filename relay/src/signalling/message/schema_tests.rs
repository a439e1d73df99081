#![allow(clippy::unwrap_used)]
//! The published description of pair.v1 says what the program does: the JSON Schema accepts exactly the golden frames that are read,
//! and every frame that is written; AsyncAPI and pair.js know the same types.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Unreadable, Why, parse};
use crate::signalling::codes::ErrorCode;

const SCHEMA: &str = include_str!("../../../docs/pair.v1/schema.json");
const ASYNC_API: &str = include_str!("../../../docs/pair.v1/asyncapi.json");
const CLIENT: &str = include_str!("../vectors/client.json");
const SERVER: &str = include_str!("../vectors/server.json");
/// The parts of the browser client that speak.
const PAIR_JS: [&str; 4] = [
    include_str!("../../web/pair.js"),
    include_str!("../../web/pair/session.js"),
    include_str!("../../web/pair/connection.js"),
    include_str!("../../web/pair/call.js"),
];

fn read(json: &str) -> Value {
    serde_json::from_str(json).unwrap()
}

/// The part of JSON Schema that the file uses. An unknown keyword is a panic: nothing passes unexamined.
struct Checker(Value);

impl Checker {
    fn accepts(&self, side: &str, frame: &Value) -> bool {
        self.fits(&self.0["$defs"][side], frame)
    }

    fn fits(&self, schema: &Value, value: &Value) -> bool {
        schema.as_object().unwrap().iter().all(|(keyword, rule)| self.obeys(schema, keyword, rule, value))
    }

    fn obeys(&self, schema: &Value, keyword: &str, rule: &Value, value: &Value) -> bool {
        let each = |rules: &Value| -> Vec<bool> {
            rules.as_array().unwrap().iter().map(|rule| self.fits(rule, value)).collect()
        };
        let number = || rule.as_u64().unwrap();
        let chars = value.as_str().map(|text| text.chars().count() as u64);
        match keyword {
            "description" => true,
            "$ref" => self.fits(self.0.pointer(rule.as_str().unwrap().strip_prefix('#').unwrap()).unwrap(), value),
            "type" => is_of_type(rule.as_str().unwrap(), value),
            "const" => rule == value,
            "enum" => rule.as_array().unwrap().contains(value),
            "anyOf" => each(rule).contains(&true),
            "oneOf" => each(rule).iter().filter(|fits| **fits).count() == 1,
            "required" => rule.as_array().unwrap().iter().all(|key| value.get(key.as_str().unwrap()).is_some()),
            "properties" => rule
                .as_object()
                .unwrap()
                .iter()
                .all(|(key, rule)| value.get(key).is_none_or(|value| self.fits(rule, value))),
            "additionalProperties" => {
                let known = schema["properties"].as_object().unwrap();
                value.as_object().is_none_or(|fields| fields.keys().all(|key| known.contains_key(key)))
            }
            "items" => value.as_array().is_none_or(|items| items.iter().all(|item| self.fits(rule, item))),
            "minItems" => value.as_array().is_none_or(|items| items.len() as u64 >= number()),
            "maxItems" => value.as_array().is_none_or(|items| items.len() as u64 <= number()),
            "minLength" => chars.is_none_or(|chars| chars >= number()),
            "maxLength" => chars.is_none_or(|chars| chars <= number()),
            "minimum" => value.as_f64().is_none_or(|value| value >= number() as f64),
            "maximum" => value.as_f64().is_none_or(|value| value <= number() as f64),
            "pattern" => {
                assert_eq!(rule, "^[A-Z][A-Z]$", "the only pattern in use");
                value.as_str().is_none_or(|it| it.len() == 2 && it.bytes().all(|b| b.is_ascii_uppercase()))
            }
            other => panic!("{other} is not looked at"),
        }
    }
}

fn is_of_type(name: &str, value: &Value) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "number" => value.is_number(),
        "integer" => value.is_i64() && value.as_i64().is_some_and(|it| it >= 0) || value.is_u64(),
        other => panic!("{other} is not looked at"),
    }
}

/// The types a schema of one side describes.
fn described(side: &str) -> BTreeSet<String> {
    let schema = read(SCHEMA);
    let names = schema["$defs"].as_object().unwrap().keys();
    names.filter_map(|name| name.strip_prefix(&format!("{side}."))).map(str::to_owned).collect()
}

fn types(frames: &Value) -> BTreeSet<String> {
    frames.as_array().unwrap().iter().filter_map(|it| it["t"].as_str()).map(str::to_owned).collect()
}

#[test]
fn the_schema_accepts_what_is_read_and_nothing_else() {
    let checker = Checker(read(SCHEMA));
    let mut seen = BTreeSet::new();
    for vector in read(CLIENT).as_array().unwrap() {
        let frame = &vector["frame"];
        // What is no JSON, or too deep, no schema sees.
        if !frame.is_object() || vector["name"] == "nesting beyond the limit" {
            continue;
        }
        let expected = vector["expect"] == "ok";
        assert_eq!(checker.accepts("client", frame), expected, "{}: {frame}", vector["name"]);
        if expected {
            seen.insert(frame["t"].as_str().unwrap().to_owned());
        }
    }
    assert_eq!(seen, described("client"), "a golden frame for each type");
}

#[test]
fn the_server_reads_exactly_the_types_that_are_described() {
    for t in described("client") {
        let bare = format!(r#"{{"t":"{t}"}}"#);
        assert!(!matches!(parse(&bare), Err(Unreadable::Unknown { .. })), "{t}");
    }
    for t in described("server").difference(&described("client")) {
        assert!(matches!(parse(&format!(r#"{{"t":"{t}"}}"#)), Err(Unreadable::Unknown { .. })), "{t}");
    }
}

#[test]
fn the_schema_accepts_every_frame_that_is_written_with_and_without_its_number() {
    let (checker, golden) = (Checker(read(SCHEMA)), read(SERVER));
    for frame in golden.as_array().unwrap() {
        assert!(checker.accepts("server", frame), "{frame}");
        let mut odd = frame.clone();
        odd["surprise"] = Value::Bool(true);
        assert!(!checker.accepts("server", &odd), "{odd}");
    }
    assert_eq!(types(&golden), described("server"), "a golden frame for each type");
}

#[test]
fn every_code_and_every_reason_is_listed() {
    let schema = read(SCHEMA);
    let listed = |pointer: &str| -> BTreeSet<String> {
        let words = schema.pointer(pointer).unwrap().as_array().unwrap();
        words.iter().map(|word| word.as_str().unwrap().to_owned()).collect()
    };
    let codes = ErrorCode::ALL.map(|code| code.name().to_owned()).into();
    assert_eq!(listed("/$defs/server.error/properties/code/enum"), codes);
    let whys = Why::ALL.map(|why| why.name().to_owned()).into();
    assert_eq!(listed("/$defs/server.ended/properties/why/enum"), whys);
    let api = read(ASYNC_API)["info"]["description"].as_str().unwrap().to_owned();
    for close in ErrorCode::ALL.iter().filter_map(|code| code.close()) {
        assert!(api.contains(&close.0.to_string()), "{close:?}");
    }
}

#[test]
fn the_table_of_codes_in_the_manual_is_the_programs() {
    let manual = include_str!("../../../docs/pair.v1/README.md");
    for code in ErrorCode::ALL {
        let close = code.close().map_or("–".to_owned(), |close| close.0.to_string());
        let row = format!("| `{}` | {} | {} | {close} |", code.name(), code.number(), code.message());
        assert!(manual.contains(&row), "{row}");
    }
}

#[test]
fn async_api_names_the_same_messages() {
    let api = read(ASYNC_API);
    let named: BTreeSet<String> = api["components"]["messages"].as_object().unwrap().keys().cloned().collect();
    let described: BTreeSet<String> = ["client", "server"]
        .iter()
        .flat_map(|side| described(side).into_iter().map(move |t| format!("{side}.{t}")))
        .collect();
    assert_eq!(named, described);
    let schema = read(SCHEMA);
    for message in api["components"]["messages"].as_object().unwrap().values() {
        let reference = message["payload"]["$ref"].as_str().unwrap().strip_prefix("schema.json#").unwrap();
        assert!(schema.pointer(reference).is_some(), "{reference}");
    }
}

/// No browser is needed to see whether the client speaks the same language.
#[test]
fn pair_js_hears_every_type_and_says_none_that_is_unknown() {
    for t in described("server") {
        let heard = [format!("case \"{t}\":"), format!("message.t === \"{t}\""), format!("message.t !== \"{t}\"")];
        assert!(heard.iter().any(|way| PAIR_JS.iter().any(|part| part.contains(way))), "pair.js is deaf to {t}");
    }
    let mut said = BTreeSet::new();
    for source in PAIR_JS {
        for opening in ["request(\"", "{ t: \""] {
            said.extend(source.split(opening).skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()));
        }
    }
    let mut expected = described("client");
    // Said as `{ t, … }`, where `t` is one of the two.
    expected.retain(|t| t != "offer" && t != "answer");
    // `mic` is said to newer servers; an older one answers E_UNKNOWN, which the client expects.
    said.retain(|t| t != "offer" && t != "answer" && (t != "mic" || expected.contains(t)));
    assert_eq!(said, expected);
}
