//! A book that is not complete by itself: the sides of calls whose other side is in another generator's book. Parts of
//! one run add up to the book a single generator would have kept.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Book, ByNode, ByStart, Cause, Counts, Exemplars, Finished, Record, Standard, Timed, Violation, Voice};
use crate::{
    media::Window,
    stats::latency::{Phase, Scores},
    time::Nanos,
};

/// Sides without their other side that one generator keeps; beyond, the run cannot be merged and says so.
pub const MAX_HALVES: usize = 1_000_000;

/// Everything a book holds, its histograms apart.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Parts {
    counts: Counts,
    causes: Vec<(Cause, u64)>,
    violations: Vec<(Violation, u64)>,
    voice: Voice,
    scores: Scores,
    talk: Duration,
    calls_seen: u64,
    exemplars: Exemplars,
    #[serde(default)]
    by_start: ByStart,
    #[serde(default)]
    by_node: Option<ByNode>,
    halves: Vec<Record>,
    #[serde(default)]
    left: Vec<String>,
}

impl Book {
    /// Ends a book of which other generators keep parts: what waits for its other side is a half, and no violation yet.
    pub fn close_as_part(&mut self) -> Vec<Finished> {
        let mut halves: Vec<Record> = std::mem::take(&mut self.waiting).into_values().collect();
        halves.sort_by_key(|record| record.number);
        halves.truncate(MAX_HALVES);
        self.halves = halves;
        let half = |record: &Record| Finished { a: record.clone(), b: None, counts: false, up: false };
        self.halves.iter().map(half).collect()
    }

    /// Sides whose other side is in another part.
    pub fn halves(&self) -> usize {
        self.halves.len()
    }

    pub fn parts(&self) -> Parts {
        Parts {
            counts: self.counts,
            causes: self.causes.iter().map(|(cause, times)| (cause.clone(), *times)).collect(),
            violations: self.violations.iter().map(|(violation, times)| (*violation, *times)).collect(),
            voice: self.voice,
            scores: self.mos.clone(),
            talk: self.talk,
            calls_seen: self.calls_seen,
            exemplars: self.exemplars.clone(),
            by_start: self.by_start.clone(),
            by_node: self.by_node.clone(),
            halves: self.halves.clone(),
            left: self.left.iter().cloned().collect(),
        }
    }

    /// The one book of several parts, each with its phases in the order of [`Timed::ALL`].
    pub fn join(window: Window, standard: Standard, parts: impl IntoIterator<Item = (Parts, Vec<Phase>)>) -> Book {
        let mut parts = parts.into_iter().peekable();
        let begin = parts.peek().map_or(Nanos::ZERO, |(part, _)| part.by_start.begin());
        let mut book = Book::new(window, standard).beginning(begin);
        let mut halves = Vec::new();
        for (part, phases) in parts {
            halves.extend(book.absorb(part, &phases));
        }
        for half in halves {
            book.join_half(half);
        }
        book.close();
        book
    }

    /// Adds what a part has counted, and returns what it could not.
    fn absorb(&mut self, part: Parts, phases: &[Phase]) -> Vec<Record> {
        self.counts.add(&part.counts);
        self.voice.add(&part.voice);
        self.mos.merge(&part.scores);
        self.talk += part.talk;
        self.calls_seen += part.calls_seen;
        self.exemplars.merge(part.exemplars);
        self.left.extend(part.left);
        self.by_start.merge(&part.by_start);
        if let Some(theirs) = &part.by_node {
            self.by_node.get_or_insert_default().merge(theirs);
        }
        for (cause, times) in part.causes {
            *self.causes.entry(cause).or_default() += times;
        }
        for (violation, times) in part.violations {
            self.note(violation, times);
        }
        for (timed, phase) in Timed::ALL.into_iter().zip(phases) {
            let ours = &mut self.phases[timed as usize];
            ours.corrected.merge(&phase.corrected);
            ours.uncorrected.merge(&phase.uncorrected);
        }
        part.halves
    }

    /// As [`Book::add`], of a caller that was counted already.
    fn join_half(&mut self, record: Record) {
        let Some(call) = record.told.as_ref().map(|told| told.call.clone()) else { return };
        match self.waiting.remove(&call) {
            Some(partner) => {
                self.add_call(&partner, &record);
                self.finish(partner, Some(record));
            }
            None => _ = self.waiting.insert(call, record),
        }
    }
}

impl Counts {
    fn add(&mut self, other: &Counts) {
        let Counts {
            callers,
            calls_up,
            calls_failed,
            callers_failed,
            abandoned,
            blocked,
            unmatched,
            in_flight,
            cut,
            turn_retransmissions,
            check_retransmissions,
            requeued,
            freed,
            allocated,
            allocated_over,
            widened_early,
            direct,
            unheard,
            outside_callers,
            outside_calls_up,
            outside_failed,
        } = *other;
        let fields = [
            (&mut self.callers, callers),
            (&mut self.calls_up, calls_up),
            (&mut self.calls_failed, calls_failed),
            (&mut self.callers_failed, callers_failed),
            (&mut self.abandoned, abandoned),
            (&mut self.blocked, blocked),
            (&mut self.unmatched, unmatched),
            (&mut self.in_flight, in_flight),
            (&mut self.cut, cut),
            (&mut self.turn_retransmissions, turn_retransmissions),
            (&mut self.check_retransmissions, check_retransmissions),
            (&mut self.requeued, requeued),
            (&mut self.freed, freed),
            (&mut self.allocated, allocated),
            (&mut self.widened_early, widened_early),
            (&mut self.direct, direct),
            (&mut self.unheard, unheard),
            (&mut self.outside_callers, outside_callers),
            (&mut self.outside_calls_up, outside_calls_up),
            (&mut self.outside_failed, outside_failed),
        ];
        for (ours, theirs) in fields {
            *ours += theirs;
        }
        for (ours, theirs) in self.allocated_over.iter_mut().zip(allocated_over) {
            *ours += theirs;
        }
    }
}

impl Voice {
    fn add(&mut self, other: &Voice) {
        let Voice {
            streams,
            sent,
            expected,
            received,
            lost,
            duplicates,
            reordered,
            late,
            jitter,
            worst_jitter,
            rating,
            bursts,
        } = *other;
        let fields = [
            (&mut self.streams, streams),
            (&mut self.sent, sent),
            (&mut self.expected, expected),
            (&mut self.received, received),
            (&mut self.lost, lost),
            (&mut self.duplicates, duplicates),
            (&mut self.reordered, reordered),
            (&mut self.late, late),
        ];
        for (ours, theirs) in fields {
            *ours += theirs;
        }
        self.jitter += jitter;
        self.worst_jitter = self.worst_jitter.max(worst_jitter);
        self.rating += rating;
        self.bursts.add(&bursts);
    }
}
