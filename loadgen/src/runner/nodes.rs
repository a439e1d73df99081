//! The nodes a run is aimed at: callers go to them in turn, and nobody goes where nobody was for a while.

use std::{cell::Cell, time::Duration};

use super::Address;
use crate::time::Nanos;

/// A node that did not answer is left alone for so long, as a load balancer would.
const LEFT_ALONE: Duration = Duration::from_secs(5);

pub(crate) struct Nodes {
    nodes: Vec<Node>,
    turn: Cell<usize>,
}

struct Node {
    address: Address,
    left_alone_until: Cell<Nanos>,
}

impl Nodes {
    pub(super) fn new(first: Address, others: &[Address]) -> Nodes {
        let node = |address| Node { address, left_alone_until: Cell::default() };
        let nodes = [first].into_iter().chain(others.iter().cloned()).map(node).collect();
        Nodes { nodes, turn: Cell::new(0) }
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn several(&self) -> bool {
        self.nodes.len() > 1
    }

    pub(super) fn address(&self, node: usize) -> &Address {
        &self.nodes[node].address
    }

    /// Whose turn it is, of those that answer.
    pub(super) fn next(&self, now: Nanos) -> usize {
        let begin = self.turn.get();
        let in_turn = (0..self.len()).map(|step| (begin + step) % self.len());
        let answers = |node: &usize| self.nodes[*node].left_alone_until.get() <= now;
        let node = in_turn.into_iter().find(answers).unwrap_or(begin % self.len());
        self.turn.set((node + 1) % self.len());
        node
    }

    /// Nobody answers there.
    pub(super) fn leave_alone(&self, node: usize, now: Nanos) {
        self.nodes[node].left_alone_until.set(now.after(LEFT_ALONE));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(number: u16) -> Nodes {
        let address = |port: u16| Address::usual(([127, 0, 0, 1], port).into());
        Nodes::new(address(1), &(2..=number).map(address).collect::<Vec<_>>())
    }

    fn go(nodes: &Nodes, now: Nanos, callers: usize) -> Vec<usize> {
        (0..callers).map(|_| nodes.next(now)).collect()
    }

    #[test]
    fn callers_go_to_nodes_in_turn() {
        assert_eq!(go(&of(3), Nanos(0), 7), [0, 1, 2, 0, 1, 2, 0]);
        assert_eq!(go(&of(1), Nanos(0), 3), [0, 0, 0]);
    }

    #[test]
    fn nobody_goes_where_nobody_answered_until_a_while_later() {
        let nodes = of(3);
        nodes.leave_alone(1, Nanos(7));
        assert_eq!(go(&nodes, Nanos(8), 4), [0, 2, 0, 2]);
        assert_eq!(go(&nodes, Nanos(7).after(LEFT_ALONE), 3), [0, 1, 2]);
        for node in 0..3 {
            nodes.leave_alone(node, Nanos(9));
        }
        assert_eq!(go(&nodes, Nanos(9), 3), [0, 1, 2], "where nobody answers, anybody may");
    }
}
