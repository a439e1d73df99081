//! The light peer: a TURN client, one connectivity check and the descriptions a caller signals. No socket, no clock.
//!
//! Written without the relay's own codec, so that the two check each other.

#[cfg(feature = "full")]
pub mod full;
#[cfg(not(feature = "full"))]
#[path = "no_full.rs"]
pub mod full;
pub mod ice;
pub mod note;
pub mod sdp;
pub mod stun;
pub mod turn;
pub mod turn_url;
pub mod ways;
