//! Proof that nodes together keep what one keeps by itself.
//!
//! | promise | kept by |
//! |---|---|
//! | a ticket is never in two calls, a call has its two participants or comes to an end, no promise stays | `explore`: every interleaving of messages lost, doubled and late, of timers, crashes, false suspicions and owners who disagree |
//! | the explorer would notice | `explore::every_fault_is_found`; `written_rule`: the rule as it was written fails |
//! | the same with engines, announcements, heartbeats and members, and that everybody who fits is matched | `simulation`: seeds, virtual time |
//! | a node by itself is the local matchmaker | `alone` |
//! | what arrives is judged | `wire` |
//! | each verb | `behaviour` |
#![allow(clippy::unwrap_used, clippy::print_stdout)] // how much was explored is worth knowing

mod alone;
mod behaviour;
mod explore;
mod simulation;
mod wire;
mod written_rule;

/// `LONG=1`, as `tests/run.sh --long` has it.
fn is_long() -> bool {
    std::env::var_os("LONG").is_some()
}
