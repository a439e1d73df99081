//! The light peer: a TURN client, one connectivity check and the descriptions a caller signals. No socket, no clock.
//!
//! Written without the relay's own codec, so that the two check each other.

pub mod full;
pub mod ice;
pub mod note;
pub mod sdp;
pub mod stun;
pub mod turn;
pub mod turn_url;
pub mod ways;
