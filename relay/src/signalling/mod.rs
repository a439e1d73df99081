//! pair.v1 over WebSocket.

pub mod candidate;
pub mod codes;
pub mod ids;
pub mod limits;
pub mod message;
pub mod sdp;
pub mod token;
