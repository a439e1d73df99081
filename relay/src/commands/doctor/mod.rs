//! `relay doctor`: what is wrong with a configuration, a machine and a server at work, in plain language and with what to do about it.
//!
//! Each check is a file that adds [`Finding`]s. What a check cannot know it says so and is no fault. Nothing is changed, and nothing secret
//! is printed.

mod browser;
mod calls;
mod certificate;
mod client;
mod der;
mod machine;
mod outside;
mod pair;
mod places;
mod secrets;
mod transport;

use std::path::Path;
use std::process::ExitCode;

use relay::config::Settings;
use serde_json::json;

use super::{FAILED, MISUSED, fail, load, print};
use crate::cli::Doctor;

/// How it stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Level {
    Good,
    /// It works, and not as well as it could.
    Warning,
    Bad,
    /// Could not be found out.
    Unknown,
}

/// One thing that was looked at.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Finding {
    check: &'static str,
    level: Level,
    says: String,
    /// Empty where there is nothing to do.
    fix: String,
}

/// What was found so far.
#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn good(&mut self, check: &'static str, says: impl Into<String>) {
        self.add(check, Level::Good, says, "");
    }

    fn warn(&mut self, check: &'static str, says: impl Into<String>, fix: impl Into<String>) {
        self.add(check, Level::Warning, says, fix);
    }

    fn bad(&mut self, check: &'static str, says: impl Into<String>, fix: impl Into<String>) {
        self.add(check, Level::Bad, says, fix);
    }

    fn unknown(&mut self, check: &'static str, says: impl Into<String>) {
        self.add(check, Level::Unknown, says, "");
    }

    fn add(&mut self, check: &'static str, level: Level, says: impl Into<String>, fix: impl Into<String>) {
        self.0.push(Finding { check, level, says: says.into(), fix: fix.into() });
    }

    fn has(&self, level: Level) -> bool {
        self.0.iter().any(|finding| finding.level == level)
    }
}

/// Exits with 0 if nothing is bad, 1 if something is, 2 if the configuration cannot be read at all.
pub(crate) fn doctor(wanted: &Doctor, config: Option<&Path>) -> ExitCode {
    let mut found = Findings::default();
    if let Some(url) = &wanted.from_outside {
        match outside::client_half(url, wanted, &mut found) {
            Ok(()) => return report(&found, wanted),
            Err(why) => return fail(MISUSED, &why),
        }
    }
    let Some(file) = config else {
        return fail(MISUSED, "doctor needs --config FILE, or --from-outside URL; see relay doctor --help");
    };
    match load(file) {
        Ok(settings) => examine(&settings, file, wanted, &mut found),
        Err(problems) => {
            found.bad("configuration", problems, "repair the lines named; `relay explain KEY` says what a key takes");
            report(&found, wanted);
            return ExitCode::from(MISUSED);
        }
    }
    report(&found, wanted)
}

fn examine(settings: &Settings, file: &Path, wanted: &Doctor, found: &mut Findings) {
    found.good("configuration", format!("{} has no problems", file.display()));
    for notice in settings.notices() {
        found.warn("configuration", notice, "`relay explain` says more of each key");
    }
    secrets::check(settings, file, found);
    certificate::check(settings, found);
    machine::check(settings, &wanted.proc, found);
    let places = places::check(settings, found);
    calls::check(settings, places, wanted.browser, found);
}

fn report(found: &Findings, wanted: &Doctor) -> ExitCode {
    print(&if wanted.json { as_json(found) } else { as_text(found) });
    ExitCode::from(if found.has(Level::Bad) { FAILED } else { 0 })
}

fn word(level: Level) -> &'static str {
    match level {
        Level::Good => "good",
        Level::Warning => "warning",
        Level::Bad => "bad",
        Level::Unknown => "unknown",
    }
}

fn as_json(found: &Findings) -> String {
    let finding = |it: &Finding| json!({ "check": it.check, "level": word(it.level), "says": it.says, "fix": it.fix });
    format!("{}\n", json!({ "findings": found.0.iter().map(finding).collect::<Vec<_>>() }))
}

fn as_text(found: &Findings) -> String {
    let mut text = String::new();
    for Finding { check, level, says, fix } in &found.0 {
        text.push_str(&format!("{:<8} {check}: {}\n", word(*level), says.replace('\n', "\n         ")));
        if !fix.is_empty() {
            text.push_str(&format!("         fix: {fix}\n"));
        }
    }
    let count = |level| found.0.iter().filter(|finding| finding.level == level).count();
    let (bad, warnings) = (count(Level::Bad), count(Level::Warning));
    text.push_str(&format!("\n{bad} bad, {warnings} to think about, {} good\n", count(Level::Good)));
    text
}
