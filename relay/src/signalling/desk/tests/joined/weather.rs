//! Messages that are lost or doubled, nodes that die, a bus that goes down and comes back.
