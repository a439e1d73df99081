//! What was measured, as pure functions of what happened: latency distributions, RTP reception, voice quality.

pub mod bursts;
pub mod emodel;
pub mod erlang;
pub mod latency;
pub mod reception;
