//! What the driver of a caller may ask of any kind of caller.
//!
//! Driving contract: hand it one input (`handle_*`), drain [`Machine::poll_output`], wake it at [`Machine::poll_timeout`]
//! with [`Machine::handle_timeout`], until [`Machine::is_done`]; then take the [`Record`].

use super::{Cut, Output, record::Record};
use crate::{media::stream::Account, time::Nanos};

/// A caller as a state machine. What a kind never meets does nothing.
pub trait Machine {
    /// The WebSocket is open, or could not be opened, or said something, or closed.
    fn handle_open(&mut self) {}
    fn handle_unreachable(&mut self, _now: Nanos) {}
    fn handle_frame(&mut self, _now: Nanos, _text: &str) {}
    fn handle_closed(&mut self, _now: Nanos) {}
    /// The WebSocket is cut and would come back, `asked` to by the server or not: what that means to the caller.
    fn handle_cut(&mut self, _asked: bool) -> Cut {
        Cut::Lost
    }
    /// A new WebSocket stands for the one that was cut.
    fn handle_reopened(&mut self) {}
    /// A datagram from the TURN server that the kernel got at `at`.
    fn handle_datagram(&mut self, at: Nanos, now: Nanos, datagram: &[u8]);
    /// The first packet of the stream that is expected arrived.
    fn handle_first_voice(&mut self, at: Nanos, now: Nanos);
    /// The account of the media after [`Output::Hush`].
    fn handle_account(&mut self, now: Nanos, account: Account);
    fn handle_timeout(&mut self, now: Nanos);
    /// Nobody arrives any more.
    fn handle_last_call(&mut self) {}
    /// The run is over.
    fn handle_leave(&mut self, now: Nanos);

    fn poll_timeout(&self) -> Option<Nanos>;
    fn poll_output(&mut self) -> Option<Output>;
    fn is_done(&self) -> bool;
    /// Whether what makes a call has come through.
    fn is_up(&self) -> bool;
    fn is_waiting(&self) -> bool {
        false
    }
    /// Whether it is set up and has not hung up.
    fn is_talking(&self) -> bool;
    fn into_record(self: Box<Self>) -> Record;
}
