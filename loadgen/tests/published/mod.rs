//! Whether JSON is what a published schema says.

use serde_json::Value;

/// Where `value` departs from `schema`.
pub(crate) fn faults(schema: &str, value: &Value) -> Vec<String> {
    let schema: Value = serde_json::from_str(schema).unwrap();
    let mut faults = Vec::new();
    check(&schema, &schema, value, "$", &mut faults);
    faults
}

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
