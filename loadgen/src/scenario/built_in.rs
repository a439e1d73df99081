//! Scenarios that come with the program, by name.

/// A name, one line about it, and the file.
pub struct BuiltIn {
    pub name: &'static str,
    pub file: &'static str,
}

macro_rules! built_in {
    ($($name:literal),* $(,)?) => {
        &[$(BuiltIn {
            name: $name,
            file: include_str!(concat!("../../../configs/scenarios/", $name, ".toml")),
        }),*]
    };
}

/// In the order `loadgen scenarios` lists them.
pub const ALL: &[BuiltIn] = built_in![
    "default",
    "matching-only",
    "signalling",
    "set-up",
    "steady-voice",
    "turn-only",
    "mixed",
    "reconnect-storm",
    "several-nodes",
    "one-sided",
    "block-heavy",
    "attack-mix",
    "ab",
    "find-limit"
];

/// The scenario of that name.
pub fn find(name: &str) -> Option<&'static BuiltIn> {
    ALL.iter().find(|scenario| scenario.name == name)
}

impl BuiltIn {
    /// The comment the file begins with, as one line.
    pub fn about(&self) -> String {
        let comment = self.file.lines().map_while(|line| line.strip_prefix('#'));
        comment.map(str::trim).collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;

    #[test]
    fn every_scenario_resolves_and_says_what_it_is_for() {
        for scenario in ALL {
            let resolved = Scenario::resolve(scenario.file, &[]);
            assert!(resolved.is_ok(), "{}: {resolved:?}", scenario.name);
            assert!(scenario.about().len() > 30, "{}", scenario.name);
        }
        assert!(find("no-such").is_none() && find("set-up").is_some());
    }
}
