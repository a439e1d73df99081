//! Relayed ports.

/// One allocator for real and virtual ports. A lock inside: control path only.
pub struct Ports {}
