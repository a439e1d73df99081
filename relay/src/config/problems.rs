//! Everything wrong with a file, with lines and columns.

use std::fmt;
use std::path::{Path, PathBuf};

/// One thing to repair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// What is wrong and what would be right. Never quotes a secret.
    pub message: String,
}

/// All problems of one file, in the order of their lines; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    file: String,
    list: Vec<Problem>,
}

impl Problems {
    /// The same problems, printed with `file` in front of each line number.
    #[must_use]
    pub fn in_file(mut self, file: &str) -> Problems {
        self.file = file.to_owned();
        self
    }

    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.list.iter()
    }

    /// How many there are; never zero.
    pub fn count(&self) -> usize {
        self.list.len()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.list.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{}:{}:{}: {}", self.file, problem.line, problem.column, problem.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Problems while they are being found, by byte offset.
#[derive(Debug, Default)]
pub(super) struct Collector {
    found: Vec<Found>,
    /// What was read besides.
    files: Vec<PathBuf>,
}

#[derive(Debug)]
struct Found {
    at: usize,
    kind: Kind,
    message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Not TOML.
    Syntax,
    /// A value that stands in the file is wrong.
    Value,
    /// Something that should be there is not. Not said of a file with a syntax error, which may have swallowed it.
    Absence,
}

impl Collector {
    pub(super) fn syntax(&mut self, at: usize, message: impl Into<String>) {
        self.add(at, Kind::Syntax, message.into());
    }

    pub(super) fn value(&mut self, at: usize, message: impl Into<String>) {
        self.add(at, Kind::Value, message.into());
    }

    pub(super) fn absence(&mut self, at: usize, message: impl Into<String>) {
        self.add(at, Kind::Absence, message.into());
    }

    /// A file beside the configuration was read for it.
    pub(super) fn reads(&mut self, file: &Path) {
        self.files.push(file.to_owned());
    }

    pub(super) fn files(&self) -> Vec<PathBuf> {
        self.files.clone()
    }

    fn add(&mut self, at: usize, kind: Kind, message: String) {
        self.found.push(Found { at, kind, message });
    }

    /// `None` if nothing is wrong. One slip of the pen is one problem: what follows from a syntax error on its line is left out.
    pub(super) fn into_problems(mut self, text: &str) -> Option<Problems> {
        self.found.sort_by_key(|found| found.at);
        let broken: Vec<usize> =
            self.found.iter().filter(|f| f.kind == Kind::Syntax).map(|f| position(text, f.at).0).collect();
        let mut list: Vec<Problem> = Vec::new();
        for Found { at, kind, message } in self.found {
            let (line, column) = position(text, at);
            let follows = match kind {
                Kind::Syntax => list.iter().any(|earlier| earlier.line == line),
                Kind::Value => broken.contains(&line),
                Kind::Absence => !broken.is_empty(),
            };
            if !follows {
                list.push(Problem { line, column, message });
            }
        }
        (!list.is_empty()).then(|| Problems { file: "configuration".to_owned(), list })
    }
}

/// Line and column, both from 1, of a byte offset.
fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at.min(text.len())).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or(before).chars().count() + 1;
    (line, column)
}

/// `; did you mean "…"?` when one of `known` is close to `written`, else nothing.
pub(super) fn suggestion<'a>(written: &str, known: impl Iterator<Item = &'a str>) -> String {
    const CLOSE_ENOUGH: f64 = 0.7;
    known
        .map(|candidate| (strsim::jaro_winkler(written, candidate), candidate))
        .filter(|(likeness, _)| *likeness >= CLOSE_ENOUGH)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| format!("; did you mean \"{candidate}\"?"))
        .unwrap_or_default()
}

/// What was written, short and printable, for a message.
pub(super) fn quoted(written: &str) -> String {
    const LONGEST: usize = 60;
    let mut short: String = written.chars().take(LONGEST).collect();
    if short.len() < written.len() {
        short.push('…');
    }
    format!("\"{}\"", short.escape_debug())
}
