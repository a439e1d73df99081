//! Shared route table.

/// Relayed port → the way to its client.
pub struct Routes {}
