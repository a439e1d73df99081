//! A trace of one's own calls, for who asks for it (matching.md §4.11): told as it happens to the one who asked, and to nobody else. Nothing
//! of it is written down, here or in a log, so there is nothing to find afterwards.

use super::session::Side;
use super::words::Word;
use super::{Connection, Desk};
use crate::signalling::ids::Id;
use crate::signalling::message::{Reply, Step};
use crate::time::Millis;

impl Desk {
    /// Somebody wants to follow their own calls, or no longer.
    pub(super) fn follow(&mut self, from: Connection, q: Option<u64>, on: bool) {
        let Some(session) = self.sessions.get_mut(&from) else { return };
        session.traced = on;
        self.tell_host(from, &Word::Follows(on));
        self.send(from, &Reply::Tracing { q, on });
    }

    /// A step of a call, told to that side if it wants to know. What a step says of the partner, the partner's frames say too.
    pub(super) fn trace(&mut self, id: Id, side: Side, step: Step) {
        self.trace_at(id, side, step, self.clock.mono);
    }

    pub(super) fn trace_at(&mut self, id: Id, side: Side, step: Step, at: Millis) {
        let Some(call) = self.calls.get(&id) else { return };
        let (to, at_ms) = (call.seat(side).connection, at.since(call.matched));
        if self.sessions.get(&to).is_some_and(|session| session.traced) {
            self.send(to, &Reply::Trace { call: id, at_ms, step });
        }
    }

    pub(super) fn trace_both(&mut self, id: Id, step: Step) {
        Side::BOTH.iter().for_each(|side| self.trace(id, *side, step));
    }
}
