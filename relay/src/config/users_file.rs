//! `auth.users_file`: users and passwords in a file of their own, one `name:password` a line, so that the configuration itself holds no
//! secret and may be read by everybody.

use std::path::Path;

use super::problems::Collector;
use super::secret::contents;
use super::table::At;

/// More users than a file is looked after by hand.
const MOST_USERS: usize = 65_536;

/// Lines that are empty or begin with `#` are passed over. A name stands once, here and in `users`.
pub(super) fn read(
    file: &At<String>,
    base: &Path,
    users: &[(At<String>, At<String>)],
    found: &mut Collector,
) -> Vec<(At<String>, At<String>)> {
    let text = match contents(&base.join(&file.value), found) {
        Ok(text) => text,
        Err(why) => {
            found.value(file.at, format!("auth.users_file: {why}"));
            return Vec::new();
        }
    };
    let mut names: std::collections::HashSet<String> = users.iter().map(|(name, _)| name.value.clone()).collect();
    let mut read = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
        let number = number + 1;
        let mut complain = |what: &str| found.value(file.at, format!("auth.users_file: line {number} {what}"));
        let Some((name, password)) = line.split_once(':') else {
            complain("is not name:password");
            continue;
        };
        if read.len() == MOST_USERS {
            complain("is one too many; there is room for 65536 users");
            break;
        }
        if !names.insert(name.to_owned()) {
            complain("names a user for the second time");
            continue;
        }
        let at = |value: &str| At { at: file.at, value: value.to_owned() };
        read.push((at(name), at(password)));
    }
    read
}
