//! The desks of other nodes, as this desk's task meets them: what they say, whether they can be heard, and how much this node still takes.

use tokio::sync::{mpsc, watch};

use crate::cluster::{Load, Peer, To};

/// Messages handled in a row before clients and timers get their turn.
const SLICE: usize = 256;

/// A way to them. Nothing of it waits: what cannot be said now is lost, and said again by the protocol.
pub struct Fellows {
    /// Of other nodes, by who they are; in the order each has said it.
    pub heard: mpsc::Receiver<(Peer, Vec<u8>)>,
    pub say: Say,
    /// Whether others can be heard.
    pub up: watch::Receiver<bool>,
    /// This node's own.
    pub load: watch::Receiver<Load>,
    /// Is told once by which hashes this desk knows people.
    pub known_by: Box<dyn FnOnce(u64) + Send>,
}

/// Takes a message for others.
pub type Say = Box<dyn Fn(To, Vec<u8>) + Send>;

/// What the desk is to be told.
pub(super) enum News {
    Said(Peer, Vec<u8>),
    Up(bool),
    Load(Load),
}

/// What comes from them; from nobody, if there are none.
pub(super) struct Ear(Option<Heard>);

struct Heard {
    said: mpsc::Receiver<(Peer, Vec<u8>)>,
    up: watch::Receiver<bool>,
    load: watch::Receiver<Load>,
}

impl Fellows {
    /// What is heard, and how to speak; of a desk that knows people by `mark`.
    pub(super) fn split(self, mark: u64) -> (Ear, Say) {
        let Fellows { heard, say, mut up, mut load, known_by } = self;
        known_by(mark);
        // The desk begins with a bus that is up and no load: it is told how it is.
        up.mark_changed();
        load.mark_changed();
        (Ear(Some(Heard { said: heard, up, load })), say)
    }
}

impl Ear {
    pub(super) const fn deaf() -> Ear {
        Ear(None)
    }

    /// The next news. May be dropped at any time.
    pub(super) async fn next(&mut self) -> News {
        let Some(Heard { said, up, load }) = &mut self.0 else { return std::future::pending().await };
        tokio::select! {
            biased;
            Ok(()) = up.changed() => News::Up(*up.borrow_and_update()),
            Ok(()) = load.changed() => News::Load(*load.borrow_and_update()),
            Some((peer, message)) = said.recv() => News::Said(peer, message),
            // Their end is the end of this process.
            else => std::future::pending().await,
        }
    }

    /// What waits, as much as may be handled in a row.
    pub(super) fn waiting(&mut self) -> impl Iterator<Item = (Peer, Vec<u8>)> + '_ {
        std::iter::from_fn(|| self.0.as_mut()?.said.try_recv().ok()).take(SLICE)
    }
}
