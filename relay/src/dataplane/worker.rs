//! One worker: a thread, its sockets, its TURN machine, and the journey of a packet in numbered stages.
//!
//! The machine decides and the worker acts. Nothing here allocates, locks or switches task for a relayed packet.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::batch::{Batch, Queued, SLOTS};
use super::counters::IoCounters;
use super::listening::Retired;
use super::mailbox::{Mailbox, Mailboxes};
use super::marks::Marks;
use super::names::Leaving;
use super::nap::Nap;
use super::parcels::Parcels;
use super::sockets::{Place, Sockets};
use super::streams::Streams;
use super::sys::{self, Datagram, Epoll, Ready, may_be_left_over};
use super::tcp::TasksSender;
use super::worker_errors::Errors;
use super::worker_streams::STREAM_BUFFER_BYTES;
use crate::clock::Clock;
use crate::time::{Millis, Now};
use crate::turn::{Action, ClientPath, FiveTuple, Forward, OpenError, RelayedPort, Transport, Turn};

/// Full batches taken from one listener before the others get their turn.
const LISTENER_BATCHES: usize = 4;
/// Datagrams taken from one relayed socket before the others get their turn. A voice call has one or two waiting.
const RELAYED_DATAGRAMS: usize = 8;
/// Sockets looked after between two waits.
const READY: usize = 128;
/// How often listeners are asked what they have lost, and the kernel how long the worker has worked, while there is anything to do; in
/// milliseconds.
const LOOK_MILLIS: u64 = 1_000;
/// Pause after a turn that met nothing but errors, so that a socket that cannot recover does not burn a core.
const ERROR_PAUSE: Duration = Duration::from_millis(1);

pub(super) struct Worker {
    pub(super) number: u16,
    pub(super) streams: Streams,
    /// The mailboxes of all workers, ours included.
    pub(super) everybody: Mailboxes,
    pub(super) sockets: Sockets,
    pub(super) epoll: Epoll,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) turn: Turn,
    pub(super) clock: Clock,
    pub(super) counters: Arc<IoCounters>,
    pub(super) nap: Nap,
    pub(super) marks: Marks,
    /// Who does what TCP allocations ask for, if anybody.
    pub(super) tcp: Option<TasksSender>,
    /// The listeners were given away.
    pub(super) departed: bool,
    /// It polls its listeners instead of waiting for them.
    pub(super) polls: bool,
    /// Listeners that a reload has taken away.
    pub(super) retired: Retired,
}

/// Memory of a running worker, made in its own thread so that the pages are near its core.
pub(super) struct Hands {
    ready: Ready,
    pub(super) batch: Batch,
    pub(super) errors: Errors,
    commands: VecDeque<crate::turn::Command>,
    /// What streams bring, for as long as it takes to find the messages in it.
    pub(super) stream_buffer: Vec<u8>,
    /// What other workers left for our streams.
    pub(super) parcels: Parcels,
    /// Workers that were left something and do not know yet.
    pub(super) to_ring: Vec<u16>,
    /// When the listeners are asked what they have lost; `None` while nothing has come in since.
    look: Option<Millis>,
    /// What happened since the last wait.
    pub(super) turn: LastTurn,
}

#[derive(Default)]
pub(super) struct LastTurn {
    /// Something was received.
    pub(super) received: bool,
    /// Some socket may have more.
    backlog: bool,
    /// A wait or a receive failed.
    troubled: bool,
}

impl Worker {
    /// Works until the mailbox says stop.
    pub(super) fn run(mut self) {
        let hands = &mut Hands {
            ready: Ready::new(READY),
            batch: Batch::new(),
            errors: Errors::new(),
            commands: VecDeque::new(),
            stream_buffer: vec![0; STREAM_BUFFER_BYTES],
            parcels: Parcels::default(),
            to_ring: Vec::new(),
            look: None,
            turn: LastTurn::default(),
        };
        let mut now = self.clock.now();
        #[cfg(feature = "slowdown")]
        let mut slowdown = super::slowdown::Slowdown::new();
        while !self.mailbox.is_stopped() {
            self.wait(hands, now); // 1
            now = self.clock.now();
            self.ask_for_marks(now.mono);
            for i in 0..hands.ready.len() {
                match Place::from_number(hands.ready.get(i)) {
                    Place::Mailbox => self.command(hands, now),
                    Place::Stream(number) => self.serve_stream(hands, now, number), // 2, 3, 4
                    place => {
                        if hands.ready.has_error(i) {
                            self.take_errors(hands, now, place);
                        }
                        self.serve(hands, now, place); // 2, 3, 4
                    }
                }
            }
            if (self.polls || hands.ready.is_full()) && !self.departed {
                self.serve_listeners(hands, now);
            }
            self.flush(hands); // 5
            self.act(hands, now); // 6
            self.tick(hands, now); // 7
            self.flush_streams(hands, now); // 8
            #[cfg(feature = "slowdown")]
            slowdown.pay();
        }
    }

    /// Stage 1: sleep until a socket has something, the machine has a deadline, or the mailbox rings.
    fn wait(&mut self, hands: &mut Hands, now: Now) {
        let last = std::mem::take(&mut hands.turn);
        let nap = self.nap.due(now.mono).filter(|_| !last.backlog);
        if last.troubled && !last.received {
            thread::sleep(ERROR_PAUSE);
        } else if let Some(nap) = nap {
            thread::sleep(nap);
            self.counters.naps.add(1);
        }
        let deadlines = [
            self.turn.poll_timeout(),
            self.streams.poll_timeout(),
            hands.errors.poll_timeout(),
            hands.look,
            self.retired.poll_timeout(),
        ];
        hands.turn.troubled = self.poll_or_wait().is_err();
        let timeout = match deadlines.into_iter().flatten().min() {
            _ if self.polls => 0,
            Some(deadline) => i32::try_from(deadline.since(now.mono)).unwrap_or(i32::MAX),
            None => -1,
        };
        self.counters.waits.add(1);
        if let Err(error) = self.epoll.wait(&mut hands.ready, timeout) {
            hands.turn.troubled |= error.kind() != io::ErrorKind::Interrupted;
        }
        if self.polls || hands.ready.len() > 0 {
            hands.look.get_or_insert(now.mono.after(LOOK_MILLIS));
        }
    }

    /// DSCP and ECN of what comes in from here on, if they are worth asking for.
    fn ask_for_marks(&mut self, now: Millis) {
        if self.departed {
            return; // the listeners are somebody else's
        }
        if let Some(hear) = self.marks.change(now, self.nap.is_busy()) {
            self.sockets.hear_marks(hear);
        }
    }

    /// Stages 2 to 4 for one socket that has something, a bounded number of times.
    fn serve(&mut self, hands: &mut Hands, now: Now, place: Place) {
        let (batches, datagrams) = match place {
            Place::Listener(_) => (LISTENER_BATCHES, SLOTS),
            _ => (1, RELAYED_DATAGRAMS),
        };
        for _ in 0..batches {
            if !self.receive(hands, now, place, datagrams) {
                break;
            }
        }
    }

    /// While they are polled; and when more sockets are ready than one wait can name, since relayed sockets must not keep the
    /// listeners waiting their turn.
    fn serve_listeners(&mut self, hands: &mut Hands, now: Now) {
        for index in 0..self.sockets.listeners() {
            self.serve(hands, now, Place::Listener(index));
        }
    }

    /// Stage 2: receive a batch. Answers whether there may be more.
    pub(super) fn receive(&mut self, hands: &mut Hands, now: Now, place: Place, datagrams: usize) -> bool {
        if hands.batch.free() < datagrams {
            self.flush(hands);
        }
        let Some(socket) = self.sockets.get(place) else { return false }; // closed earlier in this turn
        self.counters.receive_calls.add(1);
        let mut received = hands.batch.receive(socket, datagrams);
        if received.as_ref().is_err_and(may_be_left_over) {
            received = hands.batch.receive(socket, datagrams); // the error is collected; the data is still there
        }
        let slots = match received {
            Ok(slots) => slots,
            Err(error) => {
                self.receive_error(hands, &error);
                return false;
            }
        };
        let count = slots.len();
        let full = count == datagrams;
        hands.turn.received |= count > 0;
        hands.turn.backlog |= full;
        self.nap.count(count);
        match place {
            Place::Listener(_) | Place::Departed(_) => {
                self.counters.from_clients.add(count as u64);
            }
            _ => self.counters.from_peers.add(count as u64),
        }
        for slot in slots {
            self.handle(hands, now, place, slot);
        }
        full
    }

    /// Stage 3: let the machine decide.
    fn handle(&mut self, hands: &mut Hands, now: Now, place: Place, slot: usize) {
        let received = hands.batch.take(slot);
        if let Some(total) = received.beside.overflow {
            self.counters.receive_buffer_full.add(self.sockets.note_overflow(place, total));
        }
        if received.truncated {
            return self.counters.too_long.add(1);
        }
        let Some(remote) = received.from else { return self.counters.unknown_source.add(1) };
        let mut packet = hands.batch.packet(slot, received.len);
        let forward = match place {
            Place::Listener(listener) => {
                if received.beside.tos != 0 {
                    self.marks.heard(now.mono);
                }
                let Some(local) = self.sockets.local(listener, &received.beside) else { return };
                let from = FiveTuple { listener, transport: Transport::Udp, local, remote };
                if self.is_turned_away(&from) {
                    return self.counters.listener_gone.add(1);
                }
                self.turn.handle_client(now, &from, &mut packet)
            }
            Place::Departed(number) => {
                let Some((listener, local)) = self.sockets.departed(number) else { return };
                let from = FiveTuple { listener, transport: Transport::Udp, local, remote };
                self.turn.handle_client(now, &from, &mut packet)
            }
            Place::Relayed(port) => self.turn.handle_peer(now, port, remote, &mut packet),
            Place::Stream(_) | Place::Mailbox => Forward::None,
        };
        self.queue(hands, now, slot, forward, carried(received.beside.tos));
    }

    /// Stage 4: remember what to send. The payload stays where it was received. `tos`: the DSCP and ECN it leaves with.
    pub(super) fn queue(&mut self, hands: &mut Hands, now: Now, slot: usize, forward: Forward, tos: u8) {
        match forward {
            Forward::ToClient { to, data } => {
                if let Some(connection) = to.transport.connection() {
                    return self.queue_for_stream(hands, connection, (slot, data));
                }
                let leaving = Leaving { source: self.sockets.source(to.listener, to.local), tos };
                let through = Place::Listener(to.listener);
                hands.batch.queue(Queued { through, slot, data, to: to.remote, leaving, dont_fragment: false });
            }
            Forward::ToPeer { from, to, data, dont_fragment } => {
                let (through, leaving) = (Place::Relayed(from), Leaving { source: None, tos });
                hands.batch.queue(Queued { through, slot, data, to, leaving, dont_fragment });
            }
            // Not a relayed packet: what it asks for is done before the next input is handled.
            Forward::None => self.act(hands, now),
        }
    }

    /// Stage 5: send what the batch caused.
    pub(super) fn flush(&mut self, hands: &mut Hands) {
        hands.batch.flush(&self.sockets, &self.counters);
    }

    /// Stage 6: do what the machine asked for.
    pub(super) fn act(&mut self, hands: &mut Hands, now: Now) {
        while let Some(action) = self.turn.poll_action() {
            match action {
                Action::Reply { to, bytes } => self.reply(hands, &to, &bytes),
                Action::Open { port } => {
                    let opened = self.open(port);
                    self.turn.handle_opened(now, port, opened);
                }
                Action::Tcp(action) => self.act_tcp(now, action),
                Action::Close { port } => {
                    // What was queued through it may still leave. The rest of the batch is not handled yet, so no slot is free.
                    hands.batch.send_queued(&self.sockets, &self.counters);
                    self.close(port);
                }
            }
        }
    }

    /// Stage 7: deadlines of the machine.
    fn tick(&mut self, hands: &mut Hands, now: Now) {
        if self.turn.poll_timeout().is_some_and(|deadline| deadline <= now.mono) {
            self.turn.handle_timeout(now);
            self.act(hands, now);
        }
        if hands.look.is_some_and(|due| due <= now.mono) {
            hands.look = None;
            self.counters.receive_buffer_full.add(self.sockets.listeners_lost());
            self.counters.busy_micros.raise_to(sys::thread_cpu().as_micros() as u64);
        }
        self.tick_retired(now);
        self.tick_streams(now);
        self.tick_errors(hands, now);
    }

    /// The mailbox rang.
    fn command(&mut self, hands: &mut Hands, now: Now) {
        self.mailbox.answer();
        self.mailbox.take_errands().into_iter().for_each(|errand| errand());
        self.change_listeners(now);
        self.mailbox.take(&mut hands.commands);
        while let Some(command) = hands.commands.pop_front() {
            self.counters.commands.add(1);
            self.turn.handle_command(now, command);
            self.sockets.know(self.turn.addresses());
            self.act(hands, now);
        }
        self.collect_streams(hands, now);
        if !self.departed && self.mailbox.is_to_depart() {
            self.depart(hands, now);
        }
        if let Some(freeze) = self.mailbox.take_freeze() {
            self.freeze(hands, now, freeze);
        }
    }

    fn reply(&mut self, hands: &mut Hands, to: &ClientPath, bytes: &[u8]) {
        if let Some(connection) = to.transport.connection() {
            return self.reply_on_stream(connection, bytes);
        }
        match self.sockets.get(Place::Listener(to.listener)) {
            Some(socket) => {
                let leaving = Leaving { source: self.sockets.source(to.listener, to.local), tos: 0 };
                hands.batch.send_now(socket, Datagram { bytes, to: to.remote, leaving }, &self.counters);
            }
            None => self.counters.no_socket.add(1),
        }
    }

    fn open(&mut self, port: RelayedPort) -> Result<(), OpenError> {
        let opened = self.sockets.open(port).and_then(|socket| {
            self.epoll.add(socket, Place::Relayed(port).number()).map_err(|_| OpenError::Unavailable)
        });
        match opened {
            Ok(()) => self.counters.relayed_sockets.add(1),
            Err(_) => {
                self.sockets.close(port);
                self.counters.open_failures.add(1);
            }
        }
        opened
    }

    fn close(&mut self, port: RelayedPort) {
        if self.sockets.close(port) {
            self.counters.relayed_sockets.sub(1);
        }
    }

    /// An error concerns one datagram that is gone (an ICMP answer to it) or the moment (no memory). The socket stays.
    fn receive_error(&mut self, hands: &mut Hands, error: &io::Error) {
        if !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) {
            self.counters.receive_errors.add(1);
            hands.turn.troubled = true;
        }
    }
}

/// DSCP and ECN go on as they came (RFC 8656 §14, preferred), but for the code points with which networks mark their own
/// routing traffic (CS6, CS7): from strangers these become best effort.
fn carried(tos: u8) -> u8 {
    const FIRST_NETWORK_CONTROL: u8 = 48 << 2;
    const ECN: u8 = 0b11;
    if tos >= FIRST_NETWORK_CONTROL { tos & ECN } else { tos }
}
