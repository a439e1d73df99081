//! pair.v1 over WebSocket: who may enter, who waits, who talks with whom, and what of it may pass.
//!
//! Pure: `message` the language, `token` who is calling, `sdp` and `candidate` what of a description may pass, `limits`
//! how much one may ask, `desk` the machine of sessions, tickets and calls, which knows the relay only as a
//! [`RelayDesk`]. Edge: `listener` the WebSocket endpoint, one task per connection and one that owns the desk.
//!
//! Nothing here is written anywhere, and no address, name, token, description or text is ever logged.

pub mod candidate;
pub mod codes;
pub mod counters;
mod demo;
pub mod desk;
mod gate;
pub mod ids;
pub mod limits;
mod listener;
pub mod message;
mod outbox;
pub mod relay_desk;
pub mod sdp;
mod socket;
pub mod token;

pub use counters::Counters;
pub use listener::{Controls, Peer, Settings, Signalling, spawn};
pub use relay_desk::{LocalRelay, RelayDesk};
