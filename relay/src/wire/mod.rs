//! Bytes to types and back: no state at all.
