//! The new configuration under construction: keys in their sections, the lines each came from, and what to tell the operator.

use std::fmt::Write as _;

use super::lines::Line;

/// A configuration, the files of its secrets, and what could not be carried over.
#[derive(Default)]
pub(super) struct Draft {
    keys: Vec<(&'static str, Entry)>,
    /// File names and what belongs into them, for the owner's eyes alone.
    pub(super) secrets: Vec<(String, String)>,
    /// What has no counterpart, why, and what to do.
    pub(super) missing: Vec<String>,
    /// What is different although it was carried over.
    pub(super) worth_knowing: Vec<String>,
    /// What was left out and is not missed.
    pub(super) dropped: Vec<String>,
    /// Lines that are in the file now.
    pub(super) mapped: usize,
}

struct Entry {
    comments: Vec<String>,
    name: &'static str,
    value: String,
}

/// Sections in the order they are written.
const ORDER: [&str; 7] = ["listen", "tls", "relay", "auth", "access", "limits", "drain"];

impl Draft {
    /// `section.name = value`, and where that comes from.
    pub(super) fn set(&mut self, section: &'static str, name: &'static str, value: String, from: &[&Line]) {
        self.mapped += from.len();
        let comments = from.iter().map(|line| line.shown()).collect();
        self.keys.push((section, Entry { comments, name, value }));
    }

    /// The same with a reason in place of a line.
    pub(super) fn add(&mut self, section: &'static str, name: &'static str, value: String, why: &str) {
        self.keys.push((section, Entry { comments: vec![why.to_owned()], name, value }));
    }

    pub(super) fn miss(&mut self, what: &str, why: &str) {
        self.missing.push(format!("{what}: {why}"));
    }

    pub(super) fn text(&self, source: &str) -> String {
        let mut text = format!("# Made from {source} by `relay import-coturn`. What a key does: relay explain KEY.\n");
        for section in ORDER {
            let mut entries = self.keys.iter().filter(|(of, _)| *of == section).map(|(_, entry)| entry).peekable();
            if entries.peek().is_none() {
                continue;
            }
            // Writing to a string cannot fail.
            let _ = write!(text, "\n[{section}]\n");
            for Entry { comments, name, value } in entries {
                for comment in comments {
                    let _ = writeln!(text, "# {comment}");
                }
                let _ = writeln!(text, "{name} = {value}");
            }
        }
        text
    }
}

/// A string as TOML writes it.
pub(super) fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// A list of strings.
pub(super) fn list<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| quoted(&item.to_string())).collect();
    format!("[{}]", items.join(", "))
}
