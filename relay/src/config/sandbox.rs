//! The `[sandbox]` section: what the process gives up before it reads the network.

use super::problems::Collector;
use super::table::{At, Table};
use super::values::choice;

/// What the process gives up before it reads the network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sandbox {
    pub mode: SandboxMode,
    /// Whom it becomes if it was started as root.
    pub user: Option<String>,
}

/// How much of it there must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SandboxMode {
    /// All that this kernel offers; what it lacks is warned about.
    #[default]
    On,
    /// All of it, or nothing is started.
    Required,
    Off,
}

impl SandboxMode {
    pub const ALL: [SandboxMode; 3] = [SandboxMode::On, SandboxMode::Required, SandboxMode::Off];

    pub fn name(self) -> &'static str {
        match self {
            SandboxMode::On => "on",
            SandboxMode::Required => "required",
            SandboxMode::Off => "off",
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Written {
    mode: Option<At<String>>,
    user: Option<At<String>>,
}

pub(super) fn read(table: &Table<'_>, found: &mut Collector) -> Written {
    Written { mode: table.string("mode", found), user: table.string("user", found) }
}

pub(super) fn sandbox(written: &Written, found: &mut Collector) -> Sandbox {
    let modes = SandboxMode::ALL.map(|mode| (mode.name(), mode));
    let mode = written.mode.as_ref().and_then(|it| choice("sandbox.mode", it, &modes, found));
    Sandbox { mode: mode.unwrap_or_default(), user: written.user.as_ref().and_then(|it| user(it, found)) }
}

/// Whether there is such a user is asked when it matters.
fn user(written: &At<String>, found: &mut Collector) -> Option<String> {
    let good = !written.value.is_empty() && !written.value.contains(['\0', ':', '/', '\n']);
    if !good {
        found.value(written.at, "sandbox.user is not the name of a user of this machine".to_owned());
    }
    good.then(|| written.value.clone())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::path::Path;

    #[test]
    fn the_sandbox_is_on_unless_it_is_turned_off() {
        let read = |text: &str| crate::config::parse(text, Path::new("")).unwrap().sandbox;
        assert_eq!(read(""), Sandbox { mode: SandboxMode::On, user: None });
        assert_eq!(read("[sandbox]\nmode = 'off'").mode, SandboxMode::Off);
        let named = read("[sandbox]\nmode = 'required'\nuser = 'relay'");
        assert_eq!(named, Sandbox { mode: SandboxMode::Required, user: Some("relay".to_owned()) });
    }

    #[test]
    fn another_word_is_a_problem_with_its_line() {
        let problems = crate::config::parse("[sandbox]\nmode = 'maybe'\nuser = 'a/b'", Path::new("")).unwrap_err();
        let text = problems.in_file("f").to_string();
        assert!(text.contains("f:2:8: sandbox.mode") && text.contains("f:3:8: sandbox.user"), "{text}");
    }
}
