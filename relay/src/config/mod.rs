//! What the operator wrote and what the program uses.
//!
//! `table` reads one TOML table and remembers where each value stood → `file` knows the shape of the whole file → `check` decides
//! what the values mean → [`Settings`]. Nothing stops at the first mistake: a file is answered with all of its problems, each with
//! its line, so that it is repaired in one go.
//!
//! `keys` has a row for each key: the parser, `relay explain` and the reload go by it.
//!
//! `alike` is what nodes of a cluster must agree about.
//!
//! Secrets travel as [`Secret`], which prints as `[redacted]`; a problem never quotes one.

mod alike;
mod backend;
mod changes;
mod check;
mod cluster;
mod drain;
mod explain;
mod file;
mod keys;
mod limits;
mod listeners;
mod problems;
mod sandbox;
mod secret;
mod settings;
mod table;
mod telemetry;
mod tokens;
mod users_file;
mod values;

#[cfg(test)]
mod operating_tests;
#[cfg(test)]
mod tests;

use std::path::Path;

pub use alike::rules;
pub use changes::changes;
pub use check::user_fault;
pub use cluster::{Broker, Cluster, is_node};
pub use drain::Drain;
pub use explain::explain;
pub use keys::{Key, Kind, Reload};
pub use limits::{Limits, Rates};
pub use problems::{Problem, Problems};
pub use sandbox::{Sandbox, SandboxMode};
pub use secret::Secret;
pub use settings::{
    Access, AgeBand, Auth, Backend, CallPath, CallPayload, Calls, Listen, Matching, RecentPartners, Relay,
    RelayAddress, Settings, Signalling, Tls, TokenKey, User, VerifyingKey,
};
pub use telemetry::Telemetry;

/// The local defaults, as a file: what `relay` without arguments runs, and a file to start from.
pub const LOCAL: &str = include_str!("../../../configs/relay-local.toml");

/// Reads a configuration file's text. Paths in it are taken relative to `base_dir`, the folder it lies in.
///
/// # Errors
/// Every problem of the file, in the order of their lines.
pub fn parse(text: &str, base_dir: &Path) -> Result<Settings, Problems> {
    let mut found = problems::Collector::default();
    let file = file::read(text, base_dir, &mut found);
    let settings = check::settings(&file, base_dir, &mut found);
    match found.into_problems(text) {
        None => Ok(settings),
        Some(problems) => Err(problems),
    }
}

/// Every row there is, with its section.
pub fn keys() -> impl Iterator<Item = (&'static str, &'static Key)> {
    keys::SECTIONS.iter().flat_map(|(section, keys)| keys.iter().map(move |key| (*section, key)))
}

/// Every option there is, as `section.key`.
pub fn known_keys() -> impl Iterator<Item = (&'static str, &'static str)> {
    keys::SECTIONS.iter().flat_map(|(section, keys)| keys.iter().map(move |key| (*section, key.name)))
}
