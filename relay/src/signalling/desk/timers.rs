//! What wakes the desk. A timer that is no longer wanted stays and finds nothing to do: each connection and each call has
//! at most a few, and none is longer than a minute, so they need no removal.

use super::Connection;
use super::session::Side;
use crate::matchmaking::TicketId;
use crate::signalling::ids::Id;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// No `hello` yet.
    Hello(Connection),
    /// Tell the ticket's owner where it stands.
    Position(Connection, TicketId),
    /// Both should have said `ack`.
    Ack(Id),
    /// Somebody owes a description.
    Description(Id),
    /// Both should be connected.
    Connect(Id),
    /// Both people should have agreed.
    Accept(Id),
    /// Both should be connected again in this generation.
    Restarted(Id, u32),
    /// That side heard nothing a while ago.
    Stalled(Id, Side),
    /// What does the relay hear of that call?
    Listen(Id),
    /// Nobody resumed this session.
    Gone(Connection),
    /// Something this session keeps may be too old.
    Tidy(Connection),
    /// This caller wanted a call to end, whose host may not have heard it.
    Ends(Connection),
    /// Is anybody in that call of an app's own matchmaker?
    Bound(Id),
}

pub(super) type Timers = crate::timers::Timers<Timer>;
