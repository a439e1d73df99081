//! Requests that wait for their answers, by number. An answer counts only if it comes from the node that was asked.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::{Delivery, MAX_REQUESTS, NoAnswer, Shared, lock};

type Answer = Result<Delivery, NoAnswer>;

#[derive(Default)]
pub(super) struct Pending {
    next: u64,
    waiting: HashMap<u64, (String, oneshot::Sender<Answer>)>,
}

/// One of them. Dropped, it waits no more.
pub(super) struct Expected {
    shared: Arc<Shared>,
    number: u64,
    answer: oneshot::Receiver<Answer>,
}

impl Pending {
    /// `None`: too many wait.
    pub(super) fn expect(shared: &Arc<Shared>, node: &str) -> Option<Expected> {
        let mut pending = lock(&shared.pending);
        if pending.waiting.len() >= MAX_REQUESTS {
            return None;
        }
        let number = pending.next;
        pending.next += 1;
        let (sender, answer) = oneshot::channel();
        pending.waiting.insert(number, (node.to_owned(), sender));
        Some(Expected { shared: Arc::clone(shared), number, answer })
    }

    pub(super) fn answered(&mut self, number: u64, delivery: Delivery) {
        if self.waiting.get(&number).is_some_and(|(node, _)| *node == delivery.from) {
            self.end(number, Ok(delivery));
        }
    }

    /// The broker, which anybody may be, says that nobody listens there.
    pub(super) fn unheard(&mut self, number: u64) {
        self.end(number, Err(NoAnswer::Nobody));
    }

    fn end(&mut self, number: u64, answer: Answer) {
        if let Some((_, waiting)) = self.waiting.remove(&number) {
            // Whoever asked may have gone.
            let _ = waiting.send(answer);
        }
    }
}

impl Expected {
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) async fn answer(&mut self) -> Answer {
        (&mut self.answer).await.unwrap_or(Err(NoAnswer::Late))
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        lock(&self.shared.pending).waiting.remove(&self.number);
    }
}
