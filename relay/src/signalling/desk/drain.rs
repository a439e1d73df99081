//! The server is going to end: nobody new, no new calls, and whoever is in none is sent away.

use super::hand_on::Handing;
use super::{Connection, Desk, Output};
use crate::signalling::codes::CloseCode;
use crate::signalling::message::Reply;
use crate::time::Now;

impl Desk {
    /// From now on newcomers are turned away with `E_BUSY`. Everybody is told; those without a call are closed with 1001
    /// (going away), so that they look for another server. Calls go on until they end, or the server does in `in_ms`.
    pub fn handle_drain(&mut self, now: Now, in_ms: u64, to: Option<&str>) {
        self.clock = now;
        self.draining = true;
        self.send_away(in_ms, to);
        self.settle(now);
    }

    /// Whether nobody new sits down at anything.
    pub(super) const fn closes(&self) -> bool {
        self.draining || !self.settings.open || matches!(self.handing, Handing::Packed)
    }

    /// Tells everybody, and sees off at the end of this input who is in no call.
    pub(super) fn send_away(&mut self, in_ms: u64, to: Option<&str>) {
        let known = self.sessions.iter().filter(|(_, session)| session.caller.is_some());
        let known = known.filter(|(connection, _)| !self.is_guest(**connection));
        let mut known: Vec<Connection> = known.map(|(connection, _)| *connection).collect();
        known.sort_unstable();
        for connection in known {
            self.send(connection, &Reply::Drain { in_ms, to });
        }
        let idle = self.sessions.iter().filter(|(_, session)| !session.place.is_in_call());
        self.leaving.extend(idle.map(|(connection, _)| *connection));
    }

    /// Calls whose two sides have not both said that they are connected.
    pub fn calls_in_set_up(&self) -> usize {
        self.calls.values().filter(|call| !call.connected).count() + self.set_ups_abroad()
    }

    /// Closes those whose call is over. Whom they leave behind by it is seen off as well.
    pub(super) fn see_off(&mut self, now: Now) {
        while let Some(connection) = self.leaving.pop() {
            let session = self.sessions.get(&connection);
            if session.is_some_and(|session| !session.place.is_in_call()) {
                self.outputs.push_back(Output::Close { to: connection, code: CloseCode::AWAY });
                self.forget(now, connection);
            }
        }
    }

    /// A seat is empty: while it closes there is nothing else to sit down at.
    pub(super) fn stands_up(&mut self, connection: Connection) {
        if self.closes() {
            self.leaving.push(connection);
        }
    }
}
