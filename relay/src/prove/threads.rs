//! Every thread of the daemon tries to open a file for writing. /proc shows who is under seccomp; under Landlock it does not.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::dataplane::Mailboxes;
use crate::sandbox::{Kept, Probe, probe, thread_id};

/// A thread that takes longer to answer is busy beyond anything ordinary.
const PATIENCE: Duration = Duration::from_secs(5);

/// What one thread said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thread {
    /// The kernel's number.
    pub id: i32,
    pub writing: Probe,
}

/// The threads that can be asked: workers, and those that drive a runtime. Threads that look up names come and go; they are
/// children of these.
#[derive(Clone)]
pub struct Threads {
    workers: Mailboxes,
    runtimes: Vec<Handle>,
    /// Seccomp without Landlock: trying would end the process.
    fatal: bool,
}

impl Threads {
    pub fn new(workers: Mailboxes, runtimes: impl IntoIterator<Item = Handle>, kept: Option<&Kept>) -> Threads {
        let fatal = kept.is_some_and(|kept| kept.seccomp && kept.landlock.is_none());
        Threads { workers, runtimes: runtimes.into_iter().collect(), fatal }
    }

    /// What each says, in order of number. One that does not answer is not in it.
    pub async fn ask(&self) -> Vec<Thread> {
        let expected = usize::from(self.workers.workers()) + self.runtimes.len();
        let (sender, mut answers) = mpsc::channel(expected.max(1));
        let fatal = self.fatal;
        let try_it = move || Thread { id: thread_id(), writing: if fatal { Probe::NotTried } else { probe() } };
        for worker in 0..self.workers.workers() {
            let sender = sender.clone();
            // A worker that takes no errand is missing from the answer, which says enough.
            let _ = self.workers.send(worker, Box::new(move || _ = sender.try_send(try_it())));
        }
        for runtime in &self.runtimes {
            let sender = sender.clone();
            runtime.spawn(async move { _ = sender.try_send(try_it()) });
        }
        drop(sender);
        let mut threads = Vec::with_capacity(expected);
        while let Ok(Some(thread)) = timeout(PATIENCE, answers.recv()).await {
            threads.push(thread);
        }
        threads.sort_unstable_by_key(|thread: &Thread| thread.id);
        threads
    }
}
