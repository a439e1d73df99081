//! Secrets: whether others on this machine can read them.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use relay::config::Settings;

use super::Findings;

const CHECK: &str = "secrets";
/// Readable by others than owner and group.
const OTHERS: u32 = 0o004;

pub(super) fn check(settings: &Settings, file: &Path, found: &mut Findings) {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let folder = file.parent().unwrap_or_else(|| Path::new(""));
    let mut files = referenced(&text, folder);
    files.extend(settings.tls.as_ref().map(|tls| tls.private_key.clone()));
    files.extend(has_inline(&text).then(|| file.to_owned()));
    let open: Vec<String> =
        files.iter().filter(|file| readable_by_others(file)).map(|file| file.display().to_string()).collect();
    if open.is_empty() {
        return found.good(CHECK, "only their owner's group can read them");
    }
    let names = open.join(" ");
    found.bad(
        CHECK,
        format!("everybody on this machine can read the secrets in {}", open.join(", ")),
        format!("chmod 640 {names}; chown root:relay {names}"),
    );
}

fn readable_by_others(file: &Path) -> bool {
    std::fs::metadata(file).is_ok_and(|metadata| metadata.mode() & OTHERS != 0)
}

/// Files that the configuration names as secrets.
fn referenced(text: &str, folder: &Path) -> Vec<PathBuf> {
    let Ok(table) = text.parse::<toml::Table>() else { return Vec::new() };
    let mut files = Vec::new();
    walk(&toml::Value::Table(table), &mut |key, value| {
        if let ("file" | "users_file", Some(name)) = (key, value.as_str()) {
            files.push(folder.join(name));
        }
    });
    files
}

/// Whether a secret stands in the configuration itself.
fn has_inline(text: &str) -> bool {
    let Ok(table) = text.parse::<toml::Table>() else { return false };
    let Some(auth) = table.get("auth") else { return false };
    let texts = |value: Option<&toml::Value>| match value {
        Some(toml::Value::Table(users)) => users.values().any(toml::Value::is_str),
        Some(toml::Value::Array(list)) => {
            list.iter().any(|it| it.is_str() || it.get("secret").is_some_and(toml::Value::is_str))
        }
        _ => false,
    };
    ["users", "rest_secrets", "tokens"].iter().any(|key| texts(auth.get(key)))
}

fn walk(value: &toml::Value, see: &mut impl FnMut(&str, &toml::Value)) {
    match value {
        toml::Value::Table(table) => {
            for (key, value) in table {
                see(key, value);
                walk(value, see);
            }
        }
        toml::Value::Array(list) => list.iter().for_each(|item| walk(item, see)),
        _ => {}
    }
}
