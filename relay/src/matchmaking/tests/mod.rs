//! Proof that the engine keeps the promises of matching.md §5.4, in the ways §5.8 asks for.
#![allow(clippy::unwrap_used)]

mod oracle;
mod property;
mod tape;
