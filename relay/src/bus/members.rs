//! Which nodes there are, by what they say of themselves every half second. Pure: it is told what was heard, and the time.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::seal::Incarnation;
use crate::time::Millis;

/// Between two signs of life.
pub const BEAT_MS: u64 = 500;
/// A node that has said nothing for so long is dead.
pub const DEAD_MS: u64 = 2_000;
/// Nodes known by name, beside this one.
pub const MAX_NODES: usize = 256;
/// A version is shorter.
const LONGEST_VERSION: usize = 32;

/// What a node says of itself: how it is, never who is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vitals {
    /// As `/readyz` says.
    pub ready: bool,
    pub draining: bool,
    pub sessions: u64,
    pub calls: u64,
    /// Hundredths of what it could carry that are free.
    pub room: u64,
    pub version: String,
    /// By which hashes its desk knows people; 0 where that is not said.
    #[serde(default)]
    pub people: u64,
    /// Its settings for matching, in one number; 0 where that is not said.
    #[serde(default)]
    pub rules: u64,
}

impl Vitals {
    /// Whether its people are matched with those of a node like that.
    pub fn matches(&self, other: &Vitals) -> bool {
        self.people == other.people || self.people == 0 || other.people == 0
    }

    /// Whether it goes by the same settings for matching.
    pub fn is_alike(&self, other: &Vitals) -> bool {
        self.rules == other.rules || self.rules == 0 || other.rules == 0
    }
}

/// A sign of life.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Beat {
    #[serde(flatten)]
    pub(super) vitals: Vitals,
    /// The last one: it ends.
    #[serde(default)]
    pub(super) leaves: bool,
    /// What it holds of revocations, in one number.
    #[serde(default)]
    pub(super) held: u64,
}

/// A node that lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub incarnation: Incarnation,
    pub vitals: Vitals,
    pub heard: Millis,
}

impl Member {
    /// Whether new calls may go there.
    pub fn has_room(&self) -> bool {
        self.vitals.ready && !self.vitals.draining && self.vitals.room > 0
    }
}

/// What a sign of life has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A node nobody knew, or a new run of one.
    New,
    Known,
    Left,
    /// Of an earlier run of a node whose present one lives.
    Past,
    /// Somebody else has this node's own name.
    Namesake,
    /// Nobody knew it, and nobody will.
    NoRoom,
}

/// The others.
#[derive(Clone, Debug, Default)]
pub struct Members {
    own: String,
    others: BTreeMap<String, Member>,
}

impl Members {
    pub fn new(own: &str) -> Members {
        Members { own: own.to_owned(), others: BTreeMap::new() }
    }

    pub(super) fn hear(&mut self, now: Millis, node: &str, incarnation: Incarnation, beat: Beat) -> Heard {
        if node == self.own {
            return Heard::Namesake;
        }
        let known = self.others.get(node).map(|member| member.incarnation);
        if known.is_some_and(|known| known > incarnation) {
            return Heard::Past;
        }
        if beat.leaves {
            self.others.remove(node);
            return Heard::Left;
        }
        if known.is_none() && self.others.len() >= MAX_NODES {
            return Heard::NoRoom;
        }
        let mut vitals = beat.vitals;
        vitals.version = vitals.version.chars().take(LONGEST_VERSION).filter(|c| c.is_ascii_graphic()).collect();
        self.others.insert(node.to_owned(), Member { incarnation, vitals, heard: now });
        if known == Some(incarnation) { Heard::Known } else { Heard::New }
    }

    /// Forgets who is dead by now; their names.
    pub fn bury(&mut self, now: Millis) -> Vec<String> {
        let dead: Vec<String> =
            self.others.iter().filter(|(_, it)| now.since(it.heard) >= DEAD_MS).map(|(name, _)| name.clone()).collect();
        for name in &dead {
            self.others.remove(name);
        }
        dead
    }

    /// When the next one would be dead.
    pub fn poll_timeout(&self) -> Option<Millis> {
        self.others.values().map(|member| member.heard.after(DEAD_MS)).min()
    }

    /// By name, without this one.
    pub fn others(&self) -> impl Iterator<Item = (&str, &Member)> {
        self.others.iter().map(|(name, member)| (name.as_str(), member))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(started_ms: u64) -> Incarnation {
        Incarnation { started_ms, chance: 9 }
    }

    fn names(members: &Members) -> Vec<&str> {
        members.others().map(|(name, _)| name).collect()
    }

    #[test]
    fn a_node_lives_as_long_as_it_is_heard() {
        let mut members = Members::new("a");
        assert_eq!(members.hear(Millis(0), "b", run(1), Beat::default()), Heard::New);
        assert_eq!(members.hear(Millis(500), "b", run(1), Beat::default()), Heard::Known);
        assert_eq!(members.poll_timeout(), Some(Millis(2_500)));
        assert!(members.bury(Millis(2_499)).is_empty());
        assert_eq!(members.bury(Millis(2_500)), ["b"]);
        assert_eq!((names(&members).len(), members.poll_timeout()), (0, None));
    }

    #[test]
    fn a_new_run_takes_the_place_of_the_one_before_which_is_not_heard_any_more() {
        let mut members = Members::new("a");
        members.hear(Millis(0), "b", run(1), Beat::default());
        assert_eq!(members.hear(Millis(1), "b", run(2), Beat::default()), Heard::New);
        assert_eq!(members.hear(Millis(2), "b", run(1), Beat::default()), Heard::Past);
        let leaves = Beat { leaves: true, ..Beat::default() };
        assert_eq!(members.hear(Millis(3), "b", run(1), leaves.clone()), Heard::Past, "handed over");
        assert_eq!(names(&members), ["b"]);
        assert_eq!(members.hear(Millis(4), "b", run(2), leaves), Heard::Left);
        assert!(names(&members).is_empty());
    }

    #[test]
    fn a_node_of_ones_own_name_is_told_apart_and_there_is_an_end_to_names() {
        let mut members = Members::new("a");
        assert_eq!(members.hear(Millis(0), "a", run(7), Beat::default()), Heard::Namesake);
        for number in 0..MAX_NODES {
            assert_eq!(members.hear(Millis(0), &format!("n{number}"), run(1), Beat::default()), Heard::New);
        }
        assert_eq!(members.hear(Millis(0), "one-more", run(1), Beat::default()), Heard::NoRoom);
        assert_eq!(members.hear(Millis(0), "n0", run(2), Beat::default()), Heard::New);
    }

    #[test]
    fn new_calls_go_where_there_is_room_and_nobody_leaves() {
        let member = |ready, draining, room| Member {
            incarnation: run(1),
            vitals: Vitals { ready, draining, room, ..Vitals::default() },
            heard: Millis(0),
        };
        assert!(member(true, false, 1).has_room());
        for not in [member(false, false, 90), member(true, true, 90), member(true, false, 0)] {
            assert!(!not.has_room());
        }
    }

    #[test]
    fn a_sign_of_life_of_a_later_version_is_understood() {
        let text = r#"{"ready":true,"draining":false,"sessions":3,"calls":1,"room":80,"version":"9.9","more":[1]}"#;
        let beat: Beat = serde_json::from_str(text).unwrap_or_default();
        assert_eq!((beat.vitals.sessions, beat.vitals.room, beat.leaves), (3, 80, false));
    }
}
