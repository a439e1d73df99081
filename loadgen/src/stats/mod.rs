//! What was measured, as pure functions of what happened: latency distributions, RTP reception, voice quality.

pub mod bursts;
pub mod erlang;
pub mod latency;
pub mod reception;

/// The relay classes what it hears by the same model.
pub use relay::emodel;
