//! What waits to be written to one connection. Bounded: who does not read is not waited for (W11).

use std::collections::VecDeque;
use std::sync::Mutex;

use tokio::sync::Notify;

use super::codes::CloseCode;
use super::message::TextFrame;

/// Frames waiting for one connection (matching.md §4.12).
const MAX_FRAMES: usize = 64;
/// Bytes waiting for one connection, likewise.
const MAX_BYTES: usize = 128 * 1024;

/// A queue between the desk's task and one connection's.
#[derive(Default)]
pub(super) struct Outbox {
    inner: Mutex<Inner>,
    wake: Notify,
}

#[derive(Default)]
struct Inner {
    frames: VecDeque<TextFrame>,
    bytes: usize,
    close: Option<CloseCode>,
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    Waits,
    /// A droppable frame gave way, this one or an older one.
    Dropped,
    /// Nothing could give way; everything that waited is discarded, and the connection is to be closed.
    Overflow,
}

/// What to write next.
pub(super) enum Next {
    Frame(TextFrame),
    /// Close after what came before.
    Close(CloseCode),
}

impl Outbox {
    pub(super) fn push(&self, frame: TextFrame) -> Pushed {
        let Ok(mut inner) = self.inner.lock() else { return Pushed::Overflow };
        let pushed = inner.push(frame);
        drop(inner);
        self.wake.notify_one();
        pushed
    }

    /// Nothing is taken after this.
    pub(super) fn close(&self, code: CloseCode) {
        if let Ok(mut inner) = self.inner.lock() {
            inner.close.get_or_insert(code);
        }
        self.wake.notify_one();
    }

    /// Waits for something to write.
    pub(super) async fn next(&self) -> Next {
        loop {
            // Registered before looking, so that nothing slips between.
            let wake = self.wake.notified();
            if let Some(next) = self.pop() {
                return next;
            }
            wake.await;
        }
    }

    /// What waits behind the frame that is being written, if anything does.
    pub(super) fn frame(&self) -> Option<TextFrame> {
        self.inner.lock().ok()?.pop()
    }

    fn pop(&self) -> Option<Next> {
        let mut inner = self.inner.lock().ok()?;
        match inner.pop() {
            Some(frame) => Some(Next::Frame(frame)),
            None => inner.close.map(Next::Close),
        }
    }
}

impl Inner {
    fn pop(&mut self) -> Option<TextFrame> {
        let frame = self.frames.pop_front()?;
        self.bytes -= frame.json.len();
        Some(frame)
    }

    fn push(&mut self, frame: TextFrame) -> Pushed {
        if self.close.is_some() {
            return Pushed::Dropped;
        }
        let mut pushed = Pushed::Waits;
        while self.frames.len() >= MAX_FRAMES || self.bytes + frame.json.len() > MAX_BYTES {
            pushed = Pushed::Dropped;
            if frame.droppable {
                return pushed;
            }
            let Some(at) = self.frames.iter().position(|waiting| waiting.droppable) else {
                self.frames.clear();
                self.bytes = 0;
                return Pushed::Overflow;
            };
            if let Some(dropped) = self.frames.remove(at) {
                self.bytes -= dropped.json.len();
            }
        }
        self.bytes += frame.json.len();
        self.frames.push_back(frame);
        pushed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(json: &str, droppable: bool) -> TextFrame {
        TextFrame { json: json.to_owned(), droppable }
    }

    fn waiting(outbox: &Outbox) -> Vec<String> {
        std::iter::from_fn(|| match outbox.pop() {
            Some(Next::Frame(frame)) => Some(frame.json),
            _ => None,
        })
        .collect()
    }

    #[test]
    fn frames_come_out_in_order_and_the_close_last() {
        let outbox = Outbox::default();
        assert_eq!(outbox.push(frame("a", false)), Pushed::Waits);
        assert_eq!(outbox.push(frame("b", true)), Pushed::Waits);
        outbox.close(CloseCode::PROTO);
        assert_eq!(outbox.push(frame("c", false)), Pushed::Dropped);
        assert_eq!(waiting(&outbox), ["a", "b"]);
        assert!(matches!(outbox.pop(), Some(Next::Close(CloseCode::PROTO))));
    }

    #[test]
    fn what_waits_is_taken_without_waiting_and_a_close_is_left_for_last() {
        let outbox = Outbox::default();
        assert!(outbox.frame().is_none());
        outbox.push(frame("a", false));
        outbox.push(frame("b", false));
        outbox.close(CloseCode::PROTO);
        assert_eq!(outbox.frame().map(|frame| frame.json).as_deref(), Some("a"));
        assert_eq!(outbox.frame().map(|frame| frame.json).as_deref(), Some("b"));
        assert!(outbox.frame().is_none(), "a close is no frame");
        assert!(matches!(outbox.pop(), Some(Next::Close(CloseCode::PROTO))), "and is still there");
    }

    #[test]
    fn positions_give_way_first() {
        let outbox = Outbox::default();
        outbox.push(frame("first", false));
        outbox.push(frame("position", true));
        for _ in 2..MAX_FRAMES {
            assert_eq!(outbox.push(frame("x", false)), Pushed::Waits);
        }
        assert_eq!(outbox.push(frame("late position", true)), Pushed::Dropped);
        assert_eq!(outbox.push(frame("text", false)), Pushed::Dropped, "the older position went");
        let waiting = waiting(&outbox);
        assert_eq!((waiting.len(), &*waiting[0], &*waiting[1]), (MAX_FRAMES, "first", "x"));
        assert_eq!(waiting[MAX_FRAMES - 1], "text");
    }

    #[test]
    fn when_nothing_can_give_way_nothing_is_kept() {
        let outbox = Outbox::default();
        for _ in 0..MAX_FRAMES {
            outbox.push(frame("x", false));
        }
        assert_eq!(outbox.push(frame("x", false)), Pushed::Overflow);
        assert_eq!(outbox.push(frame("sorry", false)), Pushed::Waits);
        assert_eq!(waiting(&outbox), ["sorry"]);
    }

    #[test]
    fn bytes_are_bounded_too() {
        let outbox = Outbox::default();
        let big = "x".repeat(16 * 1024);
        for _ in 0..8 {
            assert_eq!(outbox.push(frame(&big, false)), Pushed::Waits);
        }
        assert_eq!(outbox.push(frame("x", false)), Pushed::Overflow);
    }
}
