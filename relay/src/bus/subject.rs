//! Where a message goes. The broker reads subjects, so there is nothing in them but what for and which node.
//!
//! `relay.v1.<purpose>` to every node · `relay.v1.<purpose>.<node>` to one · `relay.v1.answer.<node>.<number>` an answer.

use std::fmt::Write as _;

/// What all of ours begin with: all that a broker has to let this cluster's user say and hear, beside one question (`nats`).
pub const PREFIX: &str = "relay.v1";

/// What a message is for: a word out of this program, never out of anybody's mouth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Purpose(&'static str);

impl Purpose {
    /// Nodes say that they live.
    pub const ALIVE: Purpose = Purpose("alive");
    /// People and tokens the app has withdrawn.
    pub const REVOKED: Purpose = Purpose("revoked");
    /// Which of those another node holds.
    pub const HELD: Purpose = Purpose("held");
    /// What desks say to each other (`cluster`).
    pub const MATCHING: Purpose = Purpose("match");
    /// The benchmark and the tests.
    pub const ECHO: Purpose = Purpose("echo");
    const ANSWER: Purpose = Purpose("answer");

    /// `word`: lower-case letters, no dots.
    pub const fn new(word: &'static str) -> Purpose {
        Purpose(word)
    }
}

/// To whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To<'a> {
    Everybody,
    Node(&'a str),
}

pub(super) fn subject(purpose: Purpose, to: To<'_>) -> String {
    match to {
        To::Everybody => format!("{PREFIX}.{}", purpose.0),
        To::Node(node) => format!("{PREFIX}.{}.{node}", purpose.0),
    }
}

/// Where the answer to a request of `node` goes.
pub(super) fn answer(node: &str, number: u64) -> String {
    let mut subject = subject(Purpose::ANSWER, To::Node(node));
    // Writing to a string cannot fail.
    let _ = write!(subject, ".{number}");
    subject
}

/// All answers to `node`.
pub(super) fn answers(node: &str) -> String {
    subject(Purpose::ANSWER, To::Node(node)) + ".*"
}

/// The number of the request that this answers, if it is an answer to `node`.
pub(super) fn answered(subject: &str, node: &str) -> Option<u64> {
    let rest = subject.strip_prefix(PREFIX)?.strip_prefix(".answer.")?;
    rest.strip_prefix(node)?.strip_prefix('.')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_says_what_for_and_to_which_node_and_nothing_else() {
        assert_eq!(subject(Purpose::ALIVE, To::Everybody), "relay.v1.alive");
        assert_eq!(subject(Purpose::HELD, To::Node("a")), "relay.v1.held.a");
        assert_eq!(
            (answer("a", 7), answers("a")),
            ("relay.v1.answer.a.7".to_owned(), "relay.v1.answer.a.*".to_owned())
        );
        assert_eq!(answered("relay.v1.answer.a.7", "a"), Some(7));
        for other in ["relay.v1.answer.b.7", "relay.v1.answer.a", "relay.v1.answer.a.x", "relay.v1.answer.ab.7", ""] {
            assert_eq!(answered(other, "a"), None, "{other}");
        }
    }
}
