//! What was measured: records that can be kept in a file, so that a table can be measured in pieces.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::environment::Environment;

/// One measurement of one server in one round.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) column: String,
    pub(crate) server: String,
    pub(crate) round: usize,
    pub(crate) values: BTreeMap<String, f64>,
}

/// Everything a run came to, and all the runs before it in the same file.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct Book {
    pub(crate) runs: Vec<Run>,
    pub(crate) records: Vec<Record>,
    /// Column and server to why there is no number.
    pub(crate) failures: Vec<Failure>,
}

/// Where and how a piece was measured.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Run {
    #[serde(default)]
    pub(crate) column: String,
    pub(crate) command: String,
    pub(crate) seconds: u64,
    pub(crate) environment: Environment,
}

#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Failure {
    pub(crate) column: String,
    pub(crate) server: String,
    pub(crate) why: String,
}

impl Book {
    pub(crate) fn add(&mut self, column: &str, server: &str, round: usize, values: &[(&str, f64)]) {
        let values = values.iter().filter(|(_, value)| value.is_finite());
        let values = values.map(|(name, value)| ((*name).to_owned(), *value)).collect();
        self.records.push(Record { column: column.to_owned(), server: server.to_owned(), round, values });
    }

    pub(crate) fn fail(&mut self, column: &str, server: &str, why: &str) {
        let (column, server, why) = (column.to_owned(), server.to_owned(), why.to_owned());
        self.failures.push(Failure { column, server, why });
    }

    /// In each round, `value` of every server as a ratio to that of `reference`, as the value `name`.
    pub(crate) fn compare(&mut self, column: &str, value: &str, reference: &str, name: &str) {
        let servers = self.records.iter().filter(|record| record.column == column);
        let servers: BTreeSet<String> = servers.map(|record| record.server.clone()).collect();
        for server in servers {
            self.compare_one(column, &server, value, reference, name);
        }
    }

    /// As [`Book::compare`], for one server alone.
    pub(crate) fn compare_one(&mut self, column: &str, server: &str, value: &str, reference: &str, name: &str) {
        let references = self.by_round(column, reference, value);
        let own = |record: &&mut Record| record.column == column && record.server == server;
        for record in self.records.iter_mut().filter(own) {
            if let (Some(reference), Some(own)) = (references.get(&record.round), record.values.get(value)) {
                let ratio = own / reference;
                record.values.insert(name.to_owned(), ratio);
            }
        }
    }

    fn by_round(&self, column: &str, server: &str, value: &str) -> BTreeMap<usize, f64> {
        let records = self.records.iter().filter(|record| record.column == column && record.server == server);
        records.filter_map(|record| Some((record.round, *record.values.get(value)?))).collect()
    }

    /// The values of one kind, by round.
    pub(crate) fn values(&self, column: &str, server: &str, value: &str) -> Vec<f64> {
        let records = self.records.iter().filter(|record| record.column == column && record.server == server);
        records.filter_map(|record| record.values.get(value).copied()).collect()
    }

    pub(crate) fn median(&self, column: &str, server: &str, value: &str) -> Option<f64> {
        Spread::of(self.values(column, server, value)).map(|spread| spread.median)
    }

    /// Reads an earlier book, if there is one.
    pub(crate) fn read(path: &Path) -> Result<Book, String> {
        match std::fs::read_to_string(path) {
            Ok(text) => serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Book::default()),
            Err(error) => Err(format!("{}: {error}", path.display())),
        }
    }

    /// Puts a newer book's measurements in the place of those with the same column and server.
    pub(crate) fn merge(&mut self, newer: Book) {
        let measured = |column: &str, server: &str| (column.to_owned(), server.to_owned());
        let records = newer.records.iter().map(|record| measured(&record.column, &record.server));
        let failures = newer.failures.iter().map(|failure| measured(&failure.column, &failure.server));
        let fresh: BTreeSet<_> = records.chain(failures).collect();
        self.records.retain(|record| !fresh.contains(&measured(&record.column, &record.server)));
        self.failures.retain(|failure| !fresh.contains(&measured(&failure.column, &failure.server)));
        // An earlier run of which nothing is left need not be told of. `outside` measures `outside-paced` and so on.
        let left: BTreeSet<&str> = self.records.iter().map(|record| record.column.as_str()).collect();
        let again: BTreeSet<&str> = newer.runs.iter().map(|run| run.column.as_str()).collect();
        let has_left = |run: &Run| left.iter().any(|column| column.starts_with(run.column.as_str()));
        self.runs.retain(|run| !again.contains(run.column.as_str()) || has_left(run));
        self.records.extend(newer.records);
        self.failures.extend(newer.failures);
        self.runs.extend(newer.runs);
    }

    pub(crate) fn write(&self, path: &Path) -> Result<(), String> {
        let text = serde_json::to_string_pretty(self).map_err(|error| error.to_string())?;
        std::fs::write(path, text + "\n").map_err(|error| format!("{}: {error}", path.display()))
    }
}

/// Lowest, middle and highest of some numbers.
pub(crate) struct Spread {
    pub(crate) low: f64,
    pub(crate) median: f64,
    pub(crate) high: f64,
}

impl Spread {
    pub(crate) fn of(mut values: Vec<f64>) -> Option<Spread> {
        values.sort_by(f64::total_cmp);
        let (low, high) = (*values.first()?, *values.last()?);
        Some(Spread { low, median: values[values.len() / 2], high })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn book(value: f64) -> Book {
        let mut book = Book::default();
        book.add("limit", "bare", 0, &[("us", 2.0)]);
        book.add("limit", "relay", 0, &[("us", value)]);
        book
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        let mut book = book(3.0);
        book.add("limit", "bare", 1, &[("us", 10.0)]);
        book.add("limit", "relay", 1, &[("us", 5.0)]);
        book.compare("limit", "us", "bare", "ratio");
        assert_eq!(book.values("limit", "relay", "ratio"), [1.5, 0.5]);
    }

    #[test]
    fn a_newer_piece_takes_the_place_of_an_older_one_and_leaves_the_rest() {
        let mut all = book(3.0);
        let mut newer = Book::default();
        newer.add("limit", "relay", 0, &[("us", 4.0)]);
        newer.fail("limit", "coturn", "not installed");
        all.merge(newer);
        assert_eq!(all.values("limit", "relay", "us"), [4.0]);
        assert_eq!(all.values("limit", "bare", "us"), [2.0]);
        assert_eq!(all.failures.len(), 1);
    }

    #[test]
    fn a_book_survives_its_file() {
        let path = std::env::temp_dir().join(format!("peers-book-{}.json", std::process::id()));
        book(3.0).write(&path).unwrap();
        let read = Book::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(read.median("limit", "relay", "us"), Some(3.0));
    }
}
