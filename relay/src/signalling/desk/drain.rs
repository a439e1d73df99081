//! The server is going to end: nobody new, no new calls, and whoever is in none is sent away.

use super::session::Place;
use super::{Connection, Desk, Output};
use crate::signalling::codes::CloseCode;
use crate::time::Now;

impl Desk {
    /// From now on connections are turned away with `E_BUSY`, and those without a call are closed with 1001 (going away), so that
    /// they look for another server. Calls go on until they end.
    pub fn handle_drain(&mut self, now: Now) {
        self.draining = true;
        let idle = self.sessions.iter().filter(|(_, session)| !matches!(session.place, Place::InCall(..)));
        self.leaving.extend(idle.map(|(connection, _)| *connection));
        self.settle(now);
    }

    /// Closes those whose call is over. Whom they leave behind by it is seen off as well.
    pub(super) fn see_off(&mut self, now: Now) {
        while let Some(connection) = self.leaving.pop() {
            let session = self.sessions.get(&connection);
            if session.is_some_and(|session| !matches!(session.place, Place::InCall(..))) {
                self.outputs.push_back(Output::Close { to: connection, code: CloseCode::AWAY });
                self.forget(now, connection);
            }
        }
    }

    /// A seat is empty: while draining there is nothing else to sit down at.
    pub(super) fn stands_up(&mut self, connection: Connection) {
        if self.draining {
            self.leaving.push(connection);
        }
    }
}
