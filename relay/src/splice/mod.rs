//! TCP allocations at work (RFC 6062): listeners at relayed addresses, connections to and from peers, and the pipes between them
//! and clients. What may be done is decided in `turn`; this only does it.
//!
//! One thread of its own, so that nothing here takes time from datagrams. A pipe holds two buffers of a fixed size and reads
//! only what it has passed on: a slow reader stops its writer, through the kernel, and costs no memory.

mod client;
mod hall;
mod pace;
mod pipe;

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use tokio::runtime::{Builder, Handle};
use tokio::sync::watch;

use crate::clock::Clock;
use crate::dataplane::{Mailboxes, Tasks};
use crate::turn::Connections;
use hall::Hall;

/// The thread at work. Dropping it closes every connection and listener of TCP allocations.
pub struct Running {
    stop: watch::Sender<bool>,
    runtime: Handle,
    thread: Option<JoinHandle<()>>,
}

/// Starts to do what workers hand over. `clock` is the workers'.
///
/// # Errors
/// If there is no thread or no runtime.
pub fn start(tasks: Tasks, connections: Arc<Connections>, workers: Mailboxes, clock: Clock) -> io::Result<Running> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let (stop, mut stopped) = watch::channel(false);
    let handle = runtime.handle().clone();
    let thread = thread::Builder::new().name("splice".to_owned()).spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                () = Hall::new(connections, workers, clock).run(tasks) => {}
                // An error means that nobody is left to stop us.
                _ = stopped.wait_for(|stop| *stop) => {}
            }
        });
    })?;
    Ok(Running { stop, runtime: handle, thread: Some(thread) })
}

impl Running {
    /// The runtime of its thread.
    pub fn runtime(&self) -> Handle {
        self.runtime.clone()
    }

    /// Whether the thread has ended although nobody asked it to.
    pub fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread of the TCP allocations had ended by a panic");
        }
    }
}
