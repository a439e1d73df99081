//! Nodes by name, as operators and subjects know them, and by number, as the matching of several nodes does. Pure.

use std::collections::HashMap;

use super::MAX_NODES;
use crate::cluster::NodeId;

/// Who has said something, this node apart.
#[derive(Debug)]
pub(super) struct Names {
    own: NodeId,
    numbers: HashMap<String, Known>,
    names: HashMap<NodeId, String>,
    /// Counts what was heard.
    heard: u64,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    number: NodeId,
    heard: u64,
}

/// Whose number is somebody else's: one of the two needs another name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taken;

impl Names {
    pub(super) fn new(own: &str) -> Names {
        Names { own: NodeId::of(own), numbers: HashMap::new(), names: HashMap::new(), heard: 0 }
    }

    /// The number of a node that is heard. Of more than are known by name, the one heard longest ago is forgotten.
    ///
    /// # Errors
    /// [`Taken`].
    pub(super) fn hear(&mut self, name: &str) -> Result<NodeId, Taken> {
        self.hear_as(name, NodeId::of)
    }

    fn hear_as(&mut self, name: &str, number: impl Fn(&str) -> NodeId) -> Result<NodeId, Taken> {
        self.heard += 1;
        if let Some(known) = self.numbers.get_mut(name) {
            known.heard = self.heard;
            return Ok(known.number);
        }
        let number = number(name);
        if number == self.own || self.names.contains_key(&number) {
            return Err(Taken);
        }
        if self.numbers.len() >= MAX_NODES {
            let oldest = self.numbers.iter().min_by_key(|(_, known)| known.heard);
            if let Some((name, known)) = oldest.map(|(name, known)| (name.clone(), *known)) {
                self.numbers.remove(&name);
                self.names.remove(&known.number);
            }
        }
        self.numbers.insert(name.to_owned(), Known { number, heard: self.heard });
        self.names.insert(number, name.to_owned());
        Ok(number)
    }

    /// What that node is called, if it has been heard.
    pub(super) fn name(&self, number: NodeId) -> Option<&str> {
        self.names.get(&number).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_was_heard_can_be_answered() {
        let mut names = Names::new("a");
        assert_eq!(names.name(NodeId::of("b")), None);
        assert_eq!(names.hear("b"), Ok(NodeId::of("b")));
        assert_eq!(names.hear("b"), Ok(NodeId::of("b")));
        assert_eq!(names.name(NodeId::of("b")), Some("b"));
        assert_eq!(names.hear("a"), Err(Taken), "one's own name");
    }

    #[test]
    fn two_names_of_one_number_are_told_apart() {
        let mut names = Names::new("a");
        assert_eq!(names.hear_as("b", |_| NodeId(7)), Ok(NodeId(7)));
        assert_eq!(names.hear_as("c", |_| NodeId(7)), Err(Taken));
        assert_eq!(names.name(NodeId(7)), Some("b"));
    }

    #[test]
    fn of_too_many_names_the_one_heard_longest_ago_is_forgotten() {
        let mut names = Names::new("a");
        for number in 0..MAX_NODES {
            assert!(names.hear(&format!("n{number}")).is_ok());
        }
        assert!(names.hear("n0").is_ok() && names.hear("one-more").is_ok());
        assert_eq!((names.numbers.len(), names.names.len()), (MAX_NODES, MAX_NODES));
        assert_eq!((names.name(NodeId::of("n0")), names.name(NodeId::of("n1"))), (Some("n0"), None));
    }
}
