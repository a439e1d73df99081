//! Whether every thread still does something, for the supervisor that asks: each worker, and each runtime of those that serve connections.
//!
//! At each beat all of them are asked to count one up, which costs no packet anything; who has not done so by the next beat stands still,
//! and then the supervisor is not told that we are alive.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::runtime::Handle;

use crate::dataplane::Mailboxes;

/// Who is asked.
pub(super) struct Pulse {
    threads: Vec<Thread>,
}

struct Thread {
    name: String,
    ask: Box<dyn Fn(Arc<AtomicU64>) -> bool + Send>,
    answers: Arc<AtomicU64>,
    asked: u64,
    /// It was said that it stands still.
    said: bool,
}

impl Pulse {
    pub(super) fn new(workers: &Mailboxes, runtimes: impl IntoIterator<Item = (&'static str, Handle)>) -> Pulse {
        let worker = |number: u16| {
            let workers = workers.clone();
            // A full mailbox is the sign of a worker that stands still: then nothing more is left there.
            let ask = move |answers: Arc<AtomicU64>| workers.send(number, Box::new(move || count(&answers))).is_ok();
            Thread::new(format!("udp-{number}"), Box::new(ask))
        };
        let runtime = |(name, handle): (&'static str, Handle)| {
            let ask = move |answers: Arc<AtomicU64>| {
                drop(handle.spawn(async move { count(&answers) }));
                true
            };
            Thread::new(name.to_owned(), Box::new(ask))
        };
        Pulse { threads: (0..workers.workers()).map(worker).chain(runtimes.into_iter().map(runtime)).collect() }
    }

    /// Whether all have answered what they were asked at the last beat, and asks again. The first time nobody has been asked yet.
    pub(super) fn beats(&mut self) -> bool {
        let answered: Vec<bool> = self.threads.iter_mut().map(Thread::beats).collect();
        answered.into_iter().all(|beats| beats)
    }
}

fn count(answers: &AtomicU64) {
    answers.fetch_add(1, Ordering::Relaxed);
}

impl Thread {
    fn new(name: String, ask: Box<dyn Fn(Arc<AtomicU64>) -> bool + Send>) -> Thread {
        Thread { name, ask, answers: Arc::default(), asked: 0, said: false }
    }

    /// Asks nobody twice who has not answered yet: nothing piles up behind a thread that stands still.
    fn beats(&mut self) -> bool {
        let answered = self.answers.load(Ordering::Relaxed) == self.asked;
        if answered {
            self.asked += u64::from((self.ask)(Arc::clone(&self.answers)));
            self.said = false;
        } else if !std::mem::replace(&mut self.said, true) {
            tracing::error!(
                thread = self.name,
                "a thread does not answer; the supervisor is not told that this server is alive"
            );
        }
        answered
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn it_beats_while_everybody_answers_and_asks_nobody_twice() {
        let asked: Arc<Mutex<Vec<Arc<AtomicU64>>>> = Arc::default();
        let seen = Arc::clone(&asked);
        let ask = move |answers: Arc<AtomicU64>| {
            seen.lock().unwrap().push(answers);
            true
        };
        let mut pulse = Pulse { threads: vec![Thread::new("x".to_owned(), Box::new(ask))] };
        assert!(pulse.beats(), "nobody was asked before");
        assert!(!pulse.beats() && !pulse.beats());
        assert_eq!(asked.lock().unwrap().len(), 1);
        count(&asked.lock().unwrap()[0]);
        assert!(pulse.beats(), "late, and alive");
        assert!(!pulse.beats());
    }
}
