//! The tables, as Markdown.

use std::fmt::Write as _;

use super::results::{Book, Spread};

/// How values are shown, in this order: name, decimals, and whether the spread matters.
const VALUES: &[(&str, usize, bool)] = &[
    ("limit packets/s", 0, true),
    ("µs/packet", 2, true),
    ("ratio", 3, true),
    ("limit ratio", 3, false),
    ("p50 ratio", 2, true),
    ("allocations", 0, false),
    ("kB/allocation", 2, true),
    ("kB with channel", 2, true),
    ("kB left after free", 2, false),
    ("descriptors/allocation", 2, false),
    ("µs/allocation", 1, true),
    ("allocations/s", 0, false),
    ("µs/cycle", 1, false),
    ("cycles", 0, false),
    ("same port", 0, false),
    ("growth kB", 0, false),
    ("calls/packet", 2, false),
    ("switches/packet", 3, false),
    ("loss %", 3, false),
    ("p50 µs", 0, true),
    ("p99 µs", 0, false),
    ("server busy %", 0, false),
    ("generator busy %", 0, false),
    ("late %", 1, false),
    ("retransmissions", 0, false),
];
/// Beyond this the generator may have been the limit.
const BUSY_PERCENT: f64 = 90.0;
const LATE_PERCENT: f64 = 1.0;

/// Everything a book has.
pub(crate) fn page(book: &Book) -> String {
    let mut page = String::new();
    environment(&mut page, book);
    let mut columns: Vec<&str> = Vec::new();
    for column in book.records.iter().map(|record| &record.column).chain(book.failures.iter().map(|it| &it.column)) {
        if !columns.contains(&column.as_str()) {
            columns.push(column);
        }
    }
    for column in columns {
        table(&mut page, book, column);
    }
    page
}

fn environment(page: &mut String, book: &Book) {
    let Some(run) = book.runs.last() else { return };
    let e = &run.environment;
    let _ = writeln!(
        page,
        "{}, commit {}; Linux {}, {} cores of {}, {}; rmem_max {}, rmem_default {}; {}\n",
        e.time, e.commit, e.kernel, e.cores, e.processor, e.virtualisation, e.rmem_max, e.rmem_default, e.versions
    );
    for run in &book.runs {
        let e = &run.environment;
        let _ = writeln!(
            page,
            "- `run.sh {}`: {} s; {}, commit {}, load average {}, steal {:.1} %",
            run.command, run.seconds, e.time, e.commit, e.load_average, e.steal_percent
        );
    }
}

fn table(page: &mut String, book: &Book, column: &str) {
    let mut servers: Vec<&str> = Vec::new();
    for record in book.records.iter().filter(|record| record.column == column) {
        if !servers.contains(&record.server.as_str()) {
            servers.push(&record.server);
        }
    }
    servers.sort_by_key(|server| super::servers::Kind::OWN.iter().position(|kind| server.starts_with(kind.name())));
    let has = |value: &str| servers.iter().any(|server| !book.values(column, server, value).is_empty());
    let values: Vec<_> = VALUES.iter().filter(|(value, ..)| has(value)).collect();
    let _ = writeln!(page, "\n### {column}\n");
    if !servers.is_empty() {
        let names: Vec<&str> = values.iter().map(|(name, ..)| *name).collect();
        let _ = writeln!(page, "| server | {} |\n|---{}|", names.join(" | "), "|---:".repeat(names.len()));
    }
    for server in &servers {
        let cells =
            values.iter().map(|(value, decimals, spread)| cell(book.values(column, server, value), *decimals, *spread));
        let _ = writeln!(page, "| {server} | {} |", cells.collect::<Vec<_>>().join(" | "));
    }
    for server in &servers {
        warn(page, book, column, server);
    }
    for failure in book.failures.iter().filter(|failure| failure.column == column) {
        let _ = writeln!(page, "\n{} failed: {}", failure.server, failure.why.replace('\n', " "));
    }
}

/// The median, and from where to where if there were several.
fn cell(values: Vec<f64>, decimals: usize, spread: bool) -> String {
    let several = values.len() > 1;
    match Spread::of(values) {
        Some(Spread { low, median, high }) if spread && several => {
            format!("{median:.decimals$} ({low:.decimals$}–{high:.decimals$})")
        }
        Some(Spread { median, .. }) => format!("{median:.decimals$}"),
        None => "–".to_owned(),
    }
}

/// When to distrust a row.
fn warn(page: &mut String, book: &Book, column: &str, server: &str) {
    let above = |value: &str, most: f64| book.median(column, server, value).filter(|value| *value > most);
    let idle = book.median(column, server, "server busy %").is_none_or(|busy| busy < BUSY_PERCENT);
    if let Some(busy) = above("generator busy %", BUSY_PERCENT).filter(|_| idle) {
        let _ = writeln!(page, "\n{server}: the generator was {busy:.0} % busy, it may have been the limit.");
    }
    if above("generator-bound", 0.5).is_some() {
        let _ = writeln!(page, "\n{server}: the generator gave up first, the server's limit is higher.");
    }
    // At the limit nobody is on time.
    if let Some(late) = above("late %", LATE_PERCENT).filter(|_| !column.ends_with("limit")) {
        let _ = writeln!(page, "\n{server}: {late:.0} % left late, arrivals were not evenly paced.");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_a_row_for_each_server_and_says_when_to_distrust_it() {
        let mut book = Book::default();
        book.add("limit", "relay", 0, &[("µs/packet", 4.0), ("generator busy %", 95.0)]);
        book.add("limit", "relay", 1, &[("µs/packet", 5.0), ("generator busy %", 96.0)]);
        book.add("limit", "bare-one", 0, &[("µs/packet", 3.0)]);
        book.fail("limit", "coturn", "it has ended");
        let page = page(&book);
        let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| ")).collect();
        assert!(rows[1].starts_with("| bare-one | 3.00 "), "{page}");
        assert!(rows[2].starts_with("| relay | 5.00 (4.00–5.00) "), "{page}");
        assert!(page.contains("the generator was 96 % busy") && page.contains("coturn failed: it has ended"));
    }
}
