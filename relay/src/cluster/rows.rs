//! Announcements on their way: each home tells each owner its changes as a row of numbered messages, so that the owner notices when one is
//! missing and has everything said again. The bus keeps the order and loses seldom; being told everything twice is the price of a loss.

use std::collections::BTreeMap;

use super::message::{Body, MAX_OPS, MAX_OPS_BYTES, NodeId, Op, Peer};
use crate::time::Millis;

/// That somebody waits is said at once; that somebody does not any more, with the next who does, or after so long. A claim that comes
/// before is refused.
pub(super) const LAZY_MS: u64 = 20;
/// As long may wait what the owner expects: that whom it has picked is gone. It asks after `CLAIM_MS`.
pub(super) const EXPECTED_MS: u64 = 1_000;
/// How far a row has come is said so often while things happened lately, so that the loss of its last message is noticed …
pub(super) const MARK_MS: u64 = 1_000;
const LATELY_MS: u64 = 3_000;
/// … and so often otherwise.
const SELDOM_MS: u64 = 10_000;
/// A home is asked to say a row again at most so often …
pub(super) const AGAIN_MS: u64 = 250;
/// … and to say anything again at most so often.
const AGAIN_AT_MOST_MS: u64 = 20;

/// What this node says to owners.
#[derive(Default)]
pub(super) struct Rows {
    begun: u64,
    rows: BTreeMap<NodeId, Row>,
    /// Nothing must go before that.
    next: Option<Millis>,
}

struct Row {
    owner: Peer,
    number: u64,
    at: u32,
    ops: Vec<Op>,
    bytes: usize,
    /// When what is in `ops` must go.
    flush: Option<Millis>,
    said: Millis,
    marked: Millis,
}

impl Rows {
    pub(super) fn push(&mut self, now: Millis, owner: Peer, op: Op, within_ms: u64) {
        if self.rows.get(&owner.node).is_some_and(|row| row.owner != owner) {
            self.rows.remove(&owner.node);
        }
        let begun = &mut self.begun;
        let row = self.rows.entry(owner.node).or_insert_with(|| {
            *begun += 1;
            Row { owner, number: *begun, at: 0, ops: Vec::new(), bytes: 0, flush: None, said: now, marked: now }
        });
        row.bytes += if let Op::Waits(announcement) = &op { 8 + announcement.attributes.bytes() } else { 6 };
        row.ops.push(op);
        let by = now.after(within_ms);
        row.flush = Some(row.flush.map_or(by, |flush| flush.min(by)));
        self.next = Some(self.next.map_or(by, |next| next.min(by)));
    }

    /// The next message that is due.
    pub(super) fn poll(&mut self, now: Millis) -> Option<(Peer, Body)> {
        self.next.filter(|next| *next <= now)?;
        let Some(row) = self.rows.values_mut().find(|row| row.flush.is_some_and(|flush| flush <= now)) else {
            self.next = self.rows.values().filter_map(|row| row.flush).min();
            return None;
        };
        let (mut bytes, mut count) = (0, 0);
        for op in row.ops.iter().take(MAX_OPS) {
            bytes += if let Op::Waits(announcement) = op { 8 + announcement.attributes.bytes() } else { 6 };
            if count > 0 && bytes > MAX_OPS_BYTES {
                break;
            }
            count += 1;
        }
        let rest = row.ops.split_off(count);
        let ops = std::mem::replace(&mut row.ops, rest);
        if row.ops.is_empty() {
            row.flush = None;
        }
        let at = row.at;
        (row.at, row.said, row.marked) = (at + 1, now, now);
        Some((row.owner, Body::Tickets { row: row.number, at, ops }))
    }

    /// Says how far each row has come.
    pub(super) fn marks(&mut self, now: Millis) -> Vec<(Peer, Body)> {
        let due = |row: &Row| {
            let pause = if now.since(row.said) < LATELY_MS { MARK_MS } else { SELDOM_MS };
            now.since(row.marked) >= pause && row.ops.is_empty()
        };
        let rows = self.rows.values_mut().filter(|row| due(row));
        let mark = |row: &mut Row| {
            row.marked = now;
            (row.owner, Body::Tickets { row: row.number, at: row.at, ops: Vec::new() })
        };
        rows.map(mark).collect()
    }

    pub(super) const fn next_flush(&self) -> Option<Millis> {
        self.next
    }

    /// Breaks a row off, if it is the one that is meant: everything is to be said again, in a new one.
    pub(super) fn restart(&mut self, owner: Peer, number: u64) -> bool {
        let meant = self.rows.get(&owner.node).is_some_and(|row| row.owner == owner && row.number == number);
        if meant {
            self.rows.remove(&owner.node);
        }
        meant
    }

    /// That node is gone, and forgets.
    pub(super) fn forget(&mut self, node: NodeId) {
        self.rows.remove(&node);
    }
}

/// How much of a home's row an owner has heard.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct HeardRow {
    number: u64,
    next: u32,
    /// When something was last said to be missing, and of which row.
    asked: Option<(Millis, u64)>,
}

/// What to do with a message of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The next one.
    Apply,
    /// The first of a new row: everything before is void.
    Restart,
    /// Old.
    Ignore,
    /// Something is missing; ask for it.
    Again,
}

impl HeardRow {
    pub(super) fn hear(&mut self, now: Millis, number: u64, at: u32, is_mark: bool) -> Step {
        let step = match (number.cmp(&self.number), at.cmp(&self.next)) {
            (std::cmp::Ordering::Greater, _) if at == 0 && !is_mark => Step::Restart,
            (std::cmp::Ordering::Equal, std::cmp::Ordering::Equal) if is_mark => Step::Ignore,
            (std::cmp::Ordering::Equal, std::cmp::Ordering::Equal) => Step::Apply,
            (std::cmp::Ordering::Less, _) | (std::cmp::Ordering::Equal, std::cmp::Ordering::Less) => Step::Ignore,
            (std::cmp::Ordering::Greater, _) | (std::cmp::Ordering::Equal, std::cmp::Ordering::Greater) => Step::Again,
        };
        match step {
            Step::Restart => *self = HeardRow { number, next: 1, asked: self.asked },
            Step::Apply => self.next += 1,
            Step::Again => {
                let pause = |of: u64| if of == number { AGAIN_MS } else { AGAIN_AT_MOST_MS };
                if self.asked.is_some_and(|(asked, of)| now.since(asked) < pause(of)) {
                    return Step::Ignore;
                }
                self.asked = Some((now, number));
            }
            Step::Ignore => {}
        }
        step
    }
}
