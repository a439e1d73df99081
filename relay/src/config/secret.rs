//! A string that does not print itself, and where it may come from.

use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::DeValue;

use super::problems::{Collector, quoted};
use super::table::{At, Table, string, wrong_type};

/// A password or key as the operator wrote it. `Debug` shows `[redacted]`, there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

impl Secret {
    pub fn new(text: impl Into<Box<str>>) -> Secret {
        Secret(text.into())
    }

    /// The text itself, for the one place that computes with it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// No secret and no list of users is longer, in bytes.
const MAX_FILE_BYTES: u64 = 4 << 20;
/// Where systemd puts what `LoadCredential=` names.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";
const WORDS: &str = "a string in quotes, { file = \"…\" }, { env = \"…\" } or { credential = \"…\" }";

/// A secret as written: `"…"`, or where it is to be had. `label` names it in a complaint, which never quotes it.
pub(super) fn secret(
    label: &str,
    item: &Spanned<DeValue<'_>>,
    base: &Path,
    found: &mut Collector,
) -> Option<At<String>> {
    let Some(entries) = item.get_ref().as_table() else {
        if item.get_ref().is_str() {
            return string(label, item, found);
        }
        wrong_type(label, item, WORDS, found);
        return None;
    };
    let (at, sources) = (item.span().start, ["file", "env", "credential"]);
    let table = Table::new(label, at, entries);
    table.refuse_unknown(&sources, |_| None, found);
    let named = sources.map(|source| table.string(source, found));
    let read = match named {
        [Some(file), None, None] => contents(&base.join(&file.value), found),
        [None, Some(name), None] => std::env::var(&name.value)
            .map_err(|_| format!("the environment has no readable variable {}", quoted(&name.value))),
        [None, None, Some(name)] => credential(&name.value).and_then(|file| contents(&file, found)),
        _ => Err(format!("it is {WORDS}")),
    };
    match read {
        Ok(text) => Some(At { at, value: text.trim_end_matches(['\n', '\r']).to_owned() }),
        Err(why) => {
            found.value(at, format!("{label}: {why}"));
            None
        }
    }
}

fn credential(name: &str) -> Result<PathBuf, String> {
    if name.is_empty() || name.contains('/') || name.starts_with('.') {
        return Err(format!("{} is no name of a credential", quoted(name)));
    }
    let folder = std::env::var_os(CREDENTIALS).ok_or_else(|| {
        format!("${CREDENTIALS} is not set: systemd sets it for a unit with LoadCredential={name}:/path")
    })?;
    Ok(Path::new(&folder).join(name))
}

/// The text of a file of secrets, which a reload will want to read again.
pub(super) fn contents(file: &Path, found: &mut Collector) -> Result<String, String> {
    found.reads(file);
    let mut text = String::new();
    let read = std::fs::File::open(file).and_then(|file| file.take(MAX_FILE_BYTES).read_to_string(&mut text));
    match read {
        Ok(_) => Ok(text),
        Err(error) => Err(format!("{} cannot be read: {error}", file.display())),
    }
}
