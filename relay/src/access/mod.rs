//! What they may do: which peers may be reached.
