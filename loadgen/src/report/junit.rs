//! JUnit XML: a test case for each objective, one for the correctness of what was seen, one for the generator. It obeys the
//! schema of Jenkins' xUnit plugin and the stricter one of Ant's report.

use std::fmt::Write;

use super::{
    markup::escape,
    recorded::{Recorded, Required},
    when::rfc3339,
};
use crate::slice::Moment;

/// What became of a case: nothing to add, or an element and its message.
type Case = (String, Option<(&'static str, String)>);

pub fn render(result: &Recorded) -> String {
    let cases = cases(result);
    let count =
        |element: &str| cases.iter().filter(|(_, fate)| fate.as_ref().is_some_and(|(of, _)| *of == element)).count();
    let (failures, errors, skipped) = (count("failure"), count("error"), count("skipped"));
    let length = result.measured_secs;
    // The schema knows whole seconds, and no zone.
    let started = rfc3339(result.started().unwrap_or(Moment(0)));
    let started = started.split('.').next().unwrap_or_default();
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    let _ = writeln!(
        out,
        "  <testsuite name=\"loadgen\" hostname=\"localhost\" timestamp=\"{started}\" tests=\"{}\" failures=\"{failures}\" errors=\"{errors}\" skipped=\"{skipped}\" time=\"{length:.3}\">",
        cases.len()
    );
    properties(&mut out, result);
    for (name, fate) in &cases {
        let head = format!("    <testcase classname=\"loadgen\" name=\"{}\" time=\"{length:.3}\"", escape(name));
        let _ = match fate {
            None => writeln!(out, "{head}/>"),
            Some(("skipped", message)) => {
                writeln!(out, "{head}>\n      <skipped message=\"{}\"/>\n    </testcase>", escape(message))
            }
            Some((element, message)) => writeln!(
                out,
                "{head}>\n      <{element} type=\"{}\" message=\"{message}\">{message}</{element}>\n    </testcase>",
                escape(&result.verdict.word),
                message = escape(message),
            ),
        };
    }
    out.push_str("    <system-out/>\n    <system-err/>\n  </testsuite>\n</testsuites>\n");
    out
}

fn properties(out: &mut String, result: &Recorded) {
    let properties = [
        ("verdict", result.verdict.word.clone()),
        ("seed", result.seed.to_string()),
        ("schedule", result.schedule_hash.clone()),
        ("loadgen", result.loadgen.clone()),
        ("offered calls per second", format!("{:.3}", result.load.offered_cps)),
        ("achieved calls per second", format!("{:.3}", result.load.achieved_cps)),
    ];
    out.push_str("    <properties>\n");
    for (name, value) in properties {
        let _ = writeln!(out, "      <property name=\"{name}\" value=\"{}\"/>", escape(&value));
    }
    out.push_str("    </properties>\n");
}

fn cases(result: &Recorded) -> Vec<Case> {
    let faults = &result.verdict.generator_faults;
    let broken: Vec<String> = result.violations.iter().map(|(what, times)| format!("{what}: {times}")).collect();
    let told = |element: &'static str, reasons: &[String]| (!reasons.is_empty()).then(|| (element, reasons.join("; ")));
    let whole = result.aborted.as_ref().map(|why| ("failure", format!("ended early: {why}")));
    let interrupted = result.interrupted.then(|| ("error", "the run was interrupted".to_owned()));
    let fixed = [
        ("generator kept up".to_owned(), told("error", faults)),
        ("nothing incorrect was seen".to_owned(), told("failure", &broken)),
        ("ran to its end".to_owned(), interrupted.or(whole)),
    ];
    fixed
        .into_iter()
        .chain(result.objectives.iter().map(|objective| (objective.require.clone(), fate(objective, faults))))
        .collect()
}

/// An objective was neither kept nor missed where the generator could not be trusted.
fn fate(objective: &Required, faults: &[String]) -> Option<(&'static str, String)> {
    let measured =
        objective.measured.map_or_else(|| "too few samples".to_owned(), |value| format!("measured {value:.4}"));
    match objective.held.as_str() {
        _ if !faults.is_empty() => Some(("skipped", format!("the generator was the limit; {measured}"))),
        "yes" => None,
        "no" => Some(("failure", format!("missed {}: {measured}", objective.require))),
        _ => Some(("skipped", measured)),
    }
}
