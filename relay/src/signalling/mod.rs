//! pair.v1 over WebSocket: who may enter, who waits, who talks with whom, and what of it may pass.
//!
//! Pure: `message` the language, `token` who is calling, `sdp` and `candidate` what of a description may pass, `limits`
//! how much one may ask, `evidence` how to prove what was said, `desk` the machine of sessions, tickets and calls, which knows the relay only as a
//! [`RelayDesk`]. Edges: `listener` the WebSocket endpoint, one task per connection and one that owns the desk;
//! `fellows` the desks of other nodes; `operator` what an app's backend may ask; `waiting` who waits, for an operator to see; `webhook` reports on their way to it, `revocations` what it says at start;
//! `pressure` how near this process is to its limits.
//!
//! Nothing here is written anywhere, and no address, name, token, description or text is ever logged.

mod backend;
pub mod candidate;
pub mod codes;
pub mod counters;
mod demo;
pub mod desk;
pub mod evidence;
mod fellows;
mod gate;
pub mod ids;
pub mod limits;
mod listener;
pub mod message;
mod operator;
mod outbox;
pub mod pass;
mod pressure;
mod reception;
pub mod relay_desk;
mod revocations;
pub mod sdp;
mod socket;
pub mod token;
mod waiting;
pub mod webhook;

pub use counters::Counters;
pub use desk::{PACKED_VERSION, Packed};
pub use fellows::{Fellows, Say};
pub use listener::{Controls, Fresh, Peer, Settings, Signalling, spawn, spawn_from, spawn_prepared};
pub use operator::Tell;
pub(crate) use operator::{no_pages, own_page};
pub use pressure::Gauges;
pub use relay_desk::{LocalRelay, NoRelay, RelayDesk};
