//! `relay prove`: could this daemon have recorded a call? Not what we promise, but what the kernel says about the process, what the
//! process gets for trying, where each datum lives and for how long, and what may be told to users.
//!
//! Two halves. In the daemon, `threads` has every thread try to open a file for writing, and `answer` tells the admin listener. In
//! the command, `ask` fetches that, `kernel` reads /proc, `checks` compares, `text` prints. What this cannot show: that the daemon
//! is the one it says it is. Whoever controls the machine can run another; the callers' safety code reveals one that meddles.

mod answer;
mod ask;
mod checks;
mod data_map;
mod facts;
mod kernel;
mod paragraphs;
mod text;
mod threads;

pub use answer::{Answer, router};
pub use ask::{AskError, look};
pub use checks::{Check, Holds, Proof, prove};
pub use data_map::{Datum, data_map};
pub use facts::Facts;
pub use kernel::{Descriptors, Kernel};
pub use paragraphs::paragraphs;
pub use text::text;
pub use threads::{Thread, Threads};
