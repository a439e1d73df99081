//! What became of callers node by node, and of calls by whether their two sides are connected to one node or to two. Kept only
//! where a run is aimed at several.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{Finished, Record};
use crate::{
    caller::record::{Cause, Outcome},
    stats::latency::Distribution,
};

/// See the module's text.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ByNode {
    pub rows: Vec<Row>,
    /// Both sides of a call are connected to one node …
    pub same: Kind,
    /// … or to two.
    pub across: Kind,
    /// From being put back into the queue to the next match.
    pub rematch: Encoded,
}

/// One node. Sides and callers of the measured window; what happened to connections, of the whole run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    pub url: String,
    /// Callers it greeted.
    pub connected: u64,
    /// Sides, connected here, of calls that came up, and of attempts that failed.
    pub sides_up: u64,
    pub failed: u64,
    /// Connections it did not take.
    pub refused: u64,
    /// Connections that broke under callers who were about something.
    pub lost: u64,
    /// Of those, how many had their session again.
    pub resumed: u64,
    /// Callers who had lost another node and came here anew.
    pub came_over: u64,
}

/// Calls of one kind that came up, and how long they took.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Kind {
    pub calls_up: u64,
    pub calls_failed: u64,
    /// Sides that had to allocate on another relay than the one they were ready on, and how long that took them.
    pub moved: u64,
    pub moved_allocate: Encoded,
    pub decision: Encoded,
    pub setup_after_match: Encoded,
    pub setup: Encoded,
}

/// A distribution that travels as text.
#[derive(Clone, Debug, Default)]
pub struct Encoded(pub Distribution);

impl ByNode {
    pub fn of(urls: impl IntoIterator<Item = String>) -> ByNode {
        let rows = urls.into_iter().map(|url| Row { url, ..Row::default() }).collect();
        ByNode { rows, ..ByNode::default() }
    }

    pub fn row(&mut self, node: usize) -> Option<&mut Row> {
        self.rows.get_mut(node)
    }

    /// All rows together.
    pub fn total(&self) -> Row {
        let mut total = Row::default();
        self.rows.iter().for_each(|row| total.add(row));
        total
    }

    /// `neutral`: without a call it is neither success nor failure.
    pub(super) fn add(&mut self, call: &Finished, decision: Option<Duration>, neutral: impl Fn(&Record) -> bool) {
        for side in [Some(&call.a), call.b.as_ref()].into_iter().flatten() {
            if let Some(length) = side.rematch {
                self.rematch.0.record(length);
            }
            let Some(row) = self.rows.get_mut(usize::from(side.node)).filter(|_| call.counts) else { continue };
            row.connected += u64::from(side.times.registered.is_some());
            row.sides_up += u64::from(call.up);
            row.failed += u64::from(!call.up && call.cause().is_some() && !neutral(side));
        }
        let Finished { a, b: Some(b), counts: true, .. } = call else { return };
        let kind = if a.node == b.node { &mut self.same } else { &mut self.across };
        kind.calls_up += u64::from(call.up);
        kind.calls_failed += u64::from(!call.up && call.cause().is_some());
        if let Some(decision) = decision {
            kind.decision.0.record(decision);
        }
        if !call.up {
            return;
        }
        for side in [a, b].into_iter().filter(|side| side.moved) {
            kind.moved += 1;
            if let (Some(asked), Some(allocated)) = (side.times.ice, side.times.allocated) {
                kind.moved_allocate.0.record(allocated.since(asked));
            }
        }
        let after_match = [a, b].map(|side| Some(side.times.connected?.since(side.times.matched?)));
        for (into, length) in
            [(&mut kind.setup_after_match, after_match.into_iter().max().flatten()), (&mut kind.setup, call.setup())]
        {
            if let Some(length) = length {
                into.0.record(length);
            }
        }
    }

    pub(super) fn merge(&mut self, other: &ByNode) {
        self.rows.resize_with(self.rows.len().max(other.rows.len()), Row::default);
        for (ours, theirs) in self.rows.iter_mut().zip(&other.rows) {
            ours.url.clone_from(&theirs.url);
            ours.add(theirs);
        }
        self.rematch.0.merge(&other.rematch.0);
        for (ours, theirs) in [(&mut self.same, &other.same), (&mut self.across, &other.across)] {
            ours.add(theirs);
        }
    }
}

/// Whether this caller's connection broke and its session was not had again.
pub fn lost_its_node(record: &Record) -> bool {
    matches!(record.outcome, Outcome::Failed(Cause::SocketLost | Cause::Refused(_)))
}

impl Row {
    fn add(&mut self, other: &Row) {
        let Row { connected, sides_up, failed, refused, lost, resumed, came_over, .. } = *other;
        let fields = [
            (&mut self.connected, connected),
            (&mut self.sides_up, sides_up),
            (&mut self.failed, failed),
            (&mut self.refused, refused),
            (&mut self.lost, lost),
            (&mut self.resumed, resumed),
            (&mut self.came_over, came_over),
        ];
        for (ours, theirs) in fields {
            *ours += theirs;
        }
    }
}

impl Kind {
    fn add(&mut self, other: &Kind) {
        self.calls_up += other.calls_up;
        self.calls_failed += other.calls_failed;
        self.moved += other.moved;
        let fields = [
            (&mut self.moved_allocate, &other.moved_allocate),
            (&mut self.decision, &other.decision),
            (&mut self.setup_after_match, &other.setup_after_match),
            (&mut self.setup, &other.setup),
        ];
        for (ours, theirs) in fields {
            ours.0.merge(&theirs.0);
        }
    }
}

impl Serialize for Encoded {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.encode().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Encoded {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Encoded, D::Error> {
        let read = Distribution::decode(&String::deserialize(deserializer)?);
        read.map(Encoded).ok_or_else(|| de::Error::custom("a damaged histogram"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{
        caller::signal::Role,
        rules::tests::{criteria, record},
        time::Nanos,
    };

    fn call(nodes: [u16; 2], moved: bool, up: bool) -> Finished {
        let [mut a, mut b] =
            [(1, Role::Offerer), (2, Role::Answerer)].map(|(number, role)| record(number, role, criteria()));
        for (side, node) in [(&mut a, nodes[0]), (&mut b, nodes[1])] {
            side.node = node;
            side.times.registered = Some(Nanos(1));
            side.times.matched = Some(Nanos(2_000_000));
            side.times.connected = Some(Nanos(5_000_000));
        }
        (b.moved, b.times.ice, b.times.allocated) = (moved, Some(Nanos(0)), Some(Nanos(1_000_000)));
        if !up {
            b.outcome = Outcome::Failed(Cause::SocketLost);
        }
        Finished { a, b: Some(b), counts: true, up }
    }

    #[test]
    fn calls_of_one_node_and_of_two_are_told_apart_and_each_side_counts_where_it_is() {
        let mut ours = ByNode::of(["x".to_owned(), "y".to_owned()]);
        for call in [call([0, 0], false, true), call([0, 1], true, true), call([1, 0], false, false)] {
            ours.add(&call, Some(Duration::from_millis(1)), |_| false);
        }
        let rows: Vec<_> = ours.rows.iter().map(|row| (row.connected, row.sides_up, row.failed)).collect();
        assert_eq!(rows, [(4, 3, 1), (2, 1, 1)]);
        assert_eq!((ours.same.calls_up, ours.same.moved, ours.same.setup.0.len()), (1, 0, 1));
        let across = &ours.across;
        assert_eq!((across.calls_up, across.calls_failed, across.moved, across.decision.0.len()), (1, 1, 1, 2));
        assert_eq!(across.setup_after_match.0.max_millis().map(|ms| ms.round()), Some(3.0));
    }

    #[test]
    fn parts_that_went_through_json_add_up() {
        let mut part = ByNode::of(["x".to_owned(), "y".to_owned()]);
        part.add(&call([0, 1], true, true), None, |_| false);
        part.row(1).unwrap().lost = 3;
        let text = serde_json::to_string(&part).unwrap();
        let mut whole = ByNode::default();
        for _ in 0..2 {
            whole.merge(&serde_json::from_str(&text).unwrap());
        }
        assert_eq!(whole.total(), Row { connected: 4, sides_up: 4, lost: 6, ..Row::default() });
        assert_eq!((whole.across.moved_allocate.0.len(), whole.rows[1].url.as_str()), (2, "y"));
    }
}
