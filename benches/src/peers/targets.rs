//! The targets of the data path, and whether a book of measurements meets them. Medians of rounds; ratios within a round.

use std::fmt::Write as _;

use super::results::{Book, Spread};

/// A bound on one value.
struct Bar {
    target: usize,
    about: &'static str,
    column: &'static str,
    server: &'static str,
    value: &'static str,
    bound: Bound,
}

#[derive(Clone, Copy)]
enum Bound {
    AtMost(f64),
    AtLeast(f64),
    /// Nothing is demanded.
    Told,
}

use Bound::{AtLeast, AtMost, Told};

const fn bar(
    target: usize,
    about: &'static str,
    column: &'static str,
    server: &'static str,
    value: &'static str,
    bound: Bound,
) -> Bar {
    Bar { target, about, column, server, value, bound }
}

const BARS: &[Bar] = &[
    bar(1, "CPU per packet at the limit ÷ bare-one, daemon", "limit", "relay", "ratio", AtMost(1.15)),
    bar(1, "the same, call-bound", "limit", "relay-call", "ratio", AtMost(1.15)),
    bar(1, "limit ÷ bare-one's, daemon", "limit", "relay", "limit ratio", AtLeast(0.9)),
    bar(1, "the same, call-bound", "limit", "relay-call", "limit ratio", AtLeast(0.9)),
    bar(1, "CPU per packet at the limit ÷ coturn's", "limit", "relay", "÷ coturn", AtMost(0.44)),
    bar(1, "CPU per packet at the limit ÷ turn-rs's", "limit", "relay", "÷ turn-rs", AtMost(0.83)),
    bar(1, "limit ÷ turn-rs's", "limit", "relay", "limit ÷ turn-rs", AtLeast(1.2)),
    bar(2, "outside peers, CPU per packet at the limit ÷ bare-two", "outside-limit", "relay", "ratio", AtMost(1.10)),
    bar(2, "outside peers, the same ÷ coturn's", "outside-limit", "relay", "÷ coturn", AtMost(0.85)),
    bar(3, "TCP ÷ UDP, CPU per packet at the limit", "tcp-limit", "relay, TCP", "ratio", AtMost(1.5)),
    bar(3, "TCP ÷ UDP at 20 000/s", "tcp-paced", "relay, TCP", "ratio", Told),
    bar(3, "TLS ÷ UDP, CPU per packet at the limit", "tls-limit", "relay, TLS", "ratio", Told),
    bar(4, "kB per call-bound allocation with its channel", "memory", "relay-call", "kB with channel", AtMost(1.024)),
    bar(4, "kB per ordinary allocation", "memory", "relay", "kB/allocation", AtMost(3.072)),
    bar(4, "call-bound allocations held at once", "held", "relay-call", "allocations", AtLeast(50_000.0)),
    bar(4, "kB with channel, 50 000 held", "held", "relay-call", "kB with channel", AtMost(1.024)),
    bar(4, "kB left of each of 50 000 after they are freed", "held", "relay-call", "kB left after free", AtMost(0.1)),
    bar(5, "CPU µs per call-bound allocation", "setup", "relay-call", "µs/allocation", AtMost(20.0)),
    bar(5, "allocate and free cycles", "cycles", "relay-call", "cycles", AtLeast(1_000_000.0)),
    bar(5, "growth over them, kB, daemon", "cycles", "relay", "growth kB", AtMost(500.0)),
    bar(5, "growth over them, kB, call-bound", "cycles", "relay-call", "growth kB", AtMost(500.0)),
    bar(5, "ports and five-tuples taken again at once, no refusal", "reuse", "relay", "cycles", AtLeast(20_000.0)),
    bar(6, "p50 ÷ bare-one's, naps off", "latency", "relay-call, nap 0", "p50 ratio", AtMost(1.10)),
    bar(6, "p50 ÷ bare-one's, both nap", "latency", "relay-call, nap 200", "p50 ratio", AtMost(1.10)),
    bar(
        6,
        "p50 ÷ bare-one's when idle, both may nap",
        "latency-idle",
        "relay-call, nap 200",
        "p50 ratio",
        AtMost(1.10),
    ),
    bar(7, "CPU per packet, 4 000 calls ÷ 200, daemon", "many", "relay, 4000 calls", "ratio", AtMost(1.25)),
    bar(7, "the same, call-bound", "many", "relay-call, 4000 calls", "ratio", AtMost(1.25)),
    bar(7, "CPU per packet, two workers ÷ one, 20 000/s", "workers", "relay, 2 workers", "ratio", AtMost(1.1)),
    bar(7, "the same at 60 000/s", "workers-60000", "relay, 2 workers", "ratio", AtMost(1.1)),
    bar(8, "system calls per packet at 20 000/s", "calls", "relay", "calls/packet", Told),
    bar(8, "task switches per packet at 20 000/s", "calls", "relay", "switches/packet", Told),
];

/// Values that take another server's as their measure.
pub(crate) fn compare(book: &mut Book) {
    for column in ["limit", "outside-limit"] {
        book.compare(column, "µs/packet", "coturn", "÷ coturn");
    }
    book.compare("limit", "µs/packet", "turn-rs", "÷ turn-rs");
    book.compare("limit", "limit packets/s", "turn-rs", "limit ÷ turn-rs");
}

/// A row for each, as Markdown.
pub(crate) fn page(book: &Book) -> String {
    let mut page = "\n### Targets\n\n| # | what | bound | measured | |\n|---|---|---:|---:|---|\n".to_owned();
    for bar in BARS {
        let spread = Spread::of(book.values(bar.column, bar.server, bar.value));
        let (measured, verdict) = match spread {
            None => ("–".to_owned(), "not measured"),
            Some(Spread { low, median, high }) => {
                let several = if (high - low).abs() > f64::EPSILON {
                    format!(" ({}–{})", number(low), number(high))
                } else {
                    String::new()
                };
                (number(median) + &several, bar.bound.verdict(median))
            }
        };
        let _ = writeln!(page, "| {} | {} | {} | {measured} | {verdict} |", bar.target, bar.about, bar.bound.show());
    }
    page
}

impl Bound {
    fn verdict(self, value: f64) -> &'static str {
        let met = match self {
            AtMost(most) => value <= most,
            AtLeast(least) => value >= least,
            Told => return "reported",
        };
        if met { "met" } else { "**not met**" }
    }

    fn show(self) -> String {
        match self {
            AtMost(most) => format!("≤ {}", number(most)),
            AtLeast(least) => format!("≥ {}", number(least)),
            Told => "–".to_owned(),
        }
    }
}

/// Three places of what is small, none of what is large.
fn number(value: f64) -> String {
    match value.abs() {
        small if small < 10.0 => format!("{value:.3}"),
        middle if middle < 1000.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_met_missed_or_not_measured() {
        let mut book = Book::default();
        book.add("limit", "relay", 0, &[("ratio", 1.1), ("limit ratio", 0.8)]);
        let page = page(&book);
        let row = |about: &str| page.lines().find(|line| line.contains(about)).unwrap().to_owned();
        assert!(row("÷ bare-one, daemon").ends_with("| 1.100 | met |"));
        assert!(row("limit ÷ bare-one's, daemon").ends_with("| 0.800 | **not met** |"));
        assert!(row("limit ÷ turn-rs's").ends_with("| – | not measured |"));
    }

    #[test]
    fn ratios_to_other_servers_are_made_of_one_round() {
        let mut book = Book::default();
        for (round, relay) in [(0, 4.0), (1, 6.0)] {
            book.add("limit", "relay", round, &[("µs/packet", relay)]);
            book.add("limit", "coturn", round, &[("µs/packet", 2.0 * relay)]);
        }
        compare(&mut book);
        assert_eq!(book.values("limit", "relay", "÷ coturn"), [0.5, 0.5]);
    }
}
