//! A TURN client without manners: any bytes over UDP, TCP or TLS, and what comes back before a deadline.
//!
//! ```text
//! transport  Transport::Tls6                                    which way in
//! link       Link::open(&daemon, transport)                     bytes out, whole messages in
//! message    Ask::request(ALLOCATE).transport(17).signed(…)     anything that looks like STUN, by a foreign codec
//! client     Client::allocated(&daemon, transport)              an honest client, and the fence that makes silence visible
//! ```
//!
//! Messages are built and read by the `stun` crate, not by the code under test. That something is *not* answered is not
//! found out by waiting: a Binding request is sent behind it, and whatever is answered before that one was an answer to it.

pub mod client;
pub mod link;
pub mod message;
pub mod transport;

pub use client::{Client, Data, Said};
pub use link::{Got, Link};
pub use message::{Answer, Ask, Challenge, Login};
pub use transport::Transport;
