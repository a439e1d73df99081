//! One line a call, as CSV: who, what became of it, and every stamp of both sides.

use std::fmt::Write;

use super::exemplars::steps;
use crate::{
    book::Finished,
    caller::record::{Outcome, Record},
    time::Nanos,
};

/// Stamps in the order of the columns; milliseconds from the side's intended start.
const STEPS: [&str; 18] = [
    "started",
    "welcome",
    "queue sent",
    "queued",
    "matched",
    "credential",
    "allocate sent",
    "allocated",
    "permission sent",
    "permitted",
    "channel sent",
    "channel bound",
    "check sent",
    "connected",
    "first media",
    "hang-up sent",
    "ended",
    "freed",
];
/// Columns of one side before its stamps and after.
const BEFORE: [&str; 3] = ["caller", "role", "intended_s"];
const AFTER: [&str; 8] =
    ["turn_retransmissions", "requeued", "sent", "received", "lost", "late", "jitter_ms", "delay_ms"];

/// The first line.
pub fn header() -> String {
    let mut line = String::from("counted,outcome,setup_ms");
    for side in ["a", "b"] {
        for column in BEFORE {
            let _ = write!(line, ",{side}_{column}");
        }
        for step in STEPS {
            let _ = write!(line, ",{side}_{}_ms", step.replace([' ', '-'], "_"));
        }
        for column in AFTER {
            let _ = write!(line, ",{side}_{column}");
        }
    }
    line
}

/// The line of one call; the columns of `b` are empty for a caller that never had a partner.
pub fn line(call: &Finished) -> String {
    let setup = call.setup().map_or_else(String::new, |setup| format!("{:.3}", setup.as_secs_f64() * 1e3));
    let mut line = format!("{},{},{setup}", u8::from(call.counts), outcome(call));
    side(&mut line, &call.a);
    match &call.b {
        Some(b) => side(&mut line, b),
        None => line.push_str(&",".repeat(BEFORE.len() + STEPS.len() + AFTER.len())),
    }
    line
}

/// A word or a cause; nothing in it is a comma or came from outside unchecked.
fn outcome(call: &Finished) -> String {
    let word = match (call.cause(), &call.a.outcome) {
        (Some(cause), _) => cause.name(),
        (None, Outcome::Unmatched) => "unmatched at the end".to_owned(),
        (None, _) if call.up => "up".to_owned(),
        (None, _) => "setting up at the end".to_owned(),
    };
    word.chars().map(|c| if c.is_ascii_graphic() && c != ',' && c != '"' { c } else { ' ' }).collect()
}

fn side(line: &mut String, record: &Record) {
    let role = record.told.as_ref().map_or(String::new(), |told| format!("{:?}", told.role).to_lowercase());
    let intended = record.times.intended.since(Nanos::ZERO).as_secs_f64();
    let _ = write!(line, ",{},{role},{intended:.6}", record.number);
    let found = steps(&record.times);
    for step in STEPS {
        match found.iter().find(|(name, _)| *name == step) {
            Some((_, at)) => _ = write!(line, ",{at:.3}"),
            None => line.push(','),
        }
    }
    let _ = write!(line, ",{},{}", record.turn_retransmissions, record.requeued);
    match record.account {
        Some(account) => {
            let summary = account.summary;
            let (jitter, delay) = (summary.jitter.as_secs_f64() * 1e3, summary.delay.as_secs_f64() * 1e3);
            let _ = write!(
                line,
                ",{},{},{},{},{jitter:.3},{delay:.3}",
                account.sent, summary.received, summary.lost, summary.late
            );
        }
        None => line.push_str(",,,,,,"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        caller::{record::Cause, signal::Role},
        media::stream::Account,
        rules::tests::{criteria, record},
    };

    fn columns(line: &str) -> usize {
        line.split(',').count()
    }

    #[test]
    fn every_line_has_as_many_columns_as_the_header() {
        let mut a = record(1, Role::Offerer, criteria());
        a.times.connected = Some(Nanos(5_000_000));
        a.account = Some(Account::default());
        let b = record(2, Role::Answerer, criteria());
        let pair = line(&Finished { a: a.clone(), b: Some(b), counts: true, up: true });
        let alone = line(&Finished { a, b: None, counts: false, up: false });
        for line in [&pair, &alone] {
            assert_eq!(columns(line), columns(&header()), "{line}");
        }
        assert!(pair.starts_with("1,up,") && alone.starts_with("0,"), "{pair}\n{alone}");
        let connected = header().split(',').position(|column| column == "a_connected_ms");
        assert_eq!(connected.and_then(|at| pair.split(',').nth(at)), Some("5.000"));
    }

    #[test]
    fn a_servers_words_cannot_break_out_of_their_column() {
        let mut a = record(1, Role::Offerer, criteria());
        a.outcome = Outcome::Failed(Cause::Ended("x,\"y\"\n=1+1".to_owned()));
        let line = line(&Finished { a, b: None, counts: true, up: false });
        assert_eq!(columns(&line), columns(&header()), "{line}");
        assert!(!line.contains('\n') && !line.contains('"'));
    }
}
