//! The desk: sessions, tickets and calls as a pure machine (matching.md §4.4).
//!
//! Driving contract: call one of [`Desk::handle_open`], [`Desk::handle_frame`], [`Desk::handle_close`], [`Desk::handle_lost`],
//! [`Desk::handle_timeout`] (or a verb of `operator` or `bound`); then take every [`Output`] from [`Desk::poll_output`] and act on it in order; then sleep
//! until [`Desk::poll_timeout`]. A deadline in the past means work is left over: handle the input that waits, then call
//! again. The relay is told within `handle_*`, so a call's routes are dead before its `ended` can be polled.

mod abroad;
mod accept;
mod adopt;
mod bound;
mod call;
mod deny;
mod drain;
mod end;
mod enter;
mod guests;
mod hand_on;
mod hearing;
mod joined;
mod mark;
mod negotiate;
mod operator;
mod packed;
mod passes;
mod quality;
mod queue;
mod queues;
mod replay;
mod restart;
mod resume;
mod session;
mod timers;
mod trace;
mod trust;
mod words;

#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use foldhash::fast::FixedState;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{RngCore as _, SeedableRng as _};

use self::bound::Bound;
pub use self::bound::{BOUND_SECS, Lifetime, MAX_BOUND, MAX_BOUND_SECS, MAX_START_SECS};
use self::call::Call;
use self::deny::Deny;
pub use self::deny::{Change, DenyFull, MAX_DENIED, Revoked};
use self::guests::Guest;
use self::hand_on::Handing;
pub use self::joined::Joined;
pub use self::operator::{DENY_SECS, Held, MAX_DENY_SECS, Subject, revoked_until};
pub use self::packed::{BadPacked, Packed, VERSION as PACKED_VERSION};
use self::queues::Queues;
use self::session::{Place, Session};
use self::timers::{Timer, Timers};
use self::trust::Pending;
use super::codes::{CloseCode, ErrorCode};
use super::counters::Counters;
use super::evidence::Tags;
use super::ids::Id;
use super::limits::{Bucket, Meter, Rate};
use super::message::{Ice, IceServer, Reply, Request, TextFrame, Unreadable, parse};
use super::pass::Passes;
use super::relay_desk::RelayDesk;
use super::token::{self, Verifier};
use crate::calls::Handle;
use crate::cluster::{CallId, To};
use crate::matchmaking::{Band, Pepper, Person, Policy, RecentPartners, TicketId};
use crate::time::{Millis, Now};

/// `hello` must have come by then.
pub const HELLO_MS: u64 = 5_000;
/// `ack` must have come by then after `matched`.
pub const ACK_MS: u64 = 1_000;
/// The description a side owes must have come by then.
pub const DESCRIPTION_MS: u64 = 3_000;
/// Both sides must be connected by then after `matched`.
pub const CONNECT_MS: u64 = 10_000;
/// No call is longer: relayed credentials of one call should not become a line of one's own (matching.md §4.6).
pub const MAX_CALL_MS: u64 = 4 * 3_600_000;
/// How often the age of a call is looked at.
const AGE_LOOK_MS: u64 = 60_000;
/// Both people must have agreed by then after `matched`, where they are asked.
pub const ACCEPT_MS: u64 = 15_000;
/// Both sides must be connected again by then after `restart`.
pub const RESTART_MS: u64 = 15_000;
/// A broken connection may be resumed for so long.
pub const RESUME_MS: u64 = 15_000;
/// The last partner may be blocked or reported for so long after the call.
pub const LAST_CALL_MS: u64 = 10 * 60_000;
/// The generation every call begins with.
const FIRST_GENERATION: u32 = 1;
/// ICE generations of one call.
const MAX_RESTARTS: u32 = 32;
/// Reports on their way to the app's backend.
pub const MAX_REPORTS: usize = 256;
/// Life of a relay credential: the time to *start* an allocation, in seconds.
pub const CREDENTIAL_SECS: u32 = 60;
/// Timers handled per call of [`Desk::handle_timeout`]: a fraction of a millisecond, so that arrivals never wait long behind them.
const TIMER_SLICE: usize = 64;
/// Hints looked for, in all queues together: each looks at many tickets, and with a hundred thousand waiting that would be all there is time
/// for. Who gets none keeps the one they have.
const HINTS: Rate = Rate { burst: 100, per_minute: 300 * 60 };
/// What a client that finds the server full is asked to wait, from here to twice as long.
const BUSY_RETRY_MS: u64 = 2_000;

/// One connection, numbered by the edge; never reused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Connection(pub u64);

/// The operator's choices.
#[derive(Clone)]
pub struct Settings {
    /// Whether signalling is on: if not, nobody is let in, and who is in no call is sent away.
    pub open: bool,
    pub token: token::Settings,
    /// What clients put into `iceServers`, as URLs (RFC 7065).
    pub turn_urls: Vec<String>,
    /// `[calls] path = "direct-first"`.
    pub direct_first: bool,
    /// Bands that may go direct, if anybody may.
    pub direct_bands: Vec<Band>,
    /// Topics by number, at most 64.
    pub topics: Vec<String>,
    pub matching: Policy,
    /// Connections at once; new ones are turned away at nine tenths of it.
    pub max_sessions: usize,
    /// Told to clients; the edge keeps it.
    pub heartbeat_ms: u64,
    /// People are asked before they are connected.
    pub acceptance: bool,
    /// How the streams of calls are doing is heard, and told to the two callers.
    pub quality: bool,
    /// There is somebody to deliver reports to.
    pub reports: bool,
    /// Nobody is let in before [`Desk::recall`].
    pub await_revocations: bool,
    /// Tags of texts hang on it; nodes that share it verify each other's. `None`: drawn at start.
    pub tag_secret: Option<[u8; 32]>,
    /// The others there are. `None`: this node is alone.
    pub joined: Option<Joined>,
}

impl Settings {
    /// Open, for whoever has such a token; what else there is to choose is left out or as small as it may be.
    pub fn for_tokens(token: token::Settings) -> Settings {
        Settings {
            open: true,
            token,
            turn_urls: vec!["turn:127.0.0.1:3478?transport=udp".into()],
            direct_first: false,
            direct_bands: Vec::new(),
            topics: Vec::new(),
            matching: Policy::default(),
            max_sessions: 1_000,
            heartbeat_ms: 20_000,
            acceptance: false,
            quality: true,
            reports: false,
            await_revocations: false,
            tag_secret: None,
            joined: None,
        }
    }
}

/// What the edge must do, in this order.
#[derive(PartialEq, Eq)]
pub enum Output {
    Frame {
        to: Connection,
        frame: TextFrame,
    },
    /// Close after what was written before. The desk has forgotten the connection.
    Close {
        to: Connection,
        code: CloseCode,
    },
    /// Deliver, and say how it went with [`Desk::handle_reported`].
    Report(Dispatch),
    /// Seal and publish.
    Bus {
        to: To,
        payload: Vec<u8>,
    },
}

/// A report for the app's backend, to be signed and sent.
#[derive(PartialEq, Eq)]
pub struct Dispatch {
    pub id: Id,
    /// A child's safety: to be tried again until it is delivered.
    pub urgent: bool,
    pub json: String,
}

/// The machine.
pub struct Desk {
    settings: Settings,
    verifier: Verifier,
    relay: Box<dyn RelayDesk>,
    rng: ChaCha12Rng,
    queues: Queues,
    recent: RecentPartners,
    sessions: HashMap<Connection, Session, FixedState>,
    /// How many of them are away.
    away: usize,
    /// The next number for a session that has no connection here yet: downwards from the last there is.
    absent: u64,
    // Keyed hashes, like `Connection` and `TicketId` nothing a stranger chooses.
    people: HashMap<Person, Connection, FixedState>,
    waiting: HashMap<TicketId, Connection, FixedState>,
    calls: HashMap<Id, Call, FixedState>,
    sids: HashMap<Id, Connection, FixedState>,
    /// Callers of other nodes in calls of ours.
    guests: HashMap<Connection, Guest, FixedState>,
    /// What clients get for the case that this node dies; with other nodes only.
    passes: Option<Passes>,
    /// Calls with another node: the guest here, or the caller of ours who is one there.
    shared: HashMap<CallId, Connection, FixedState>,
    /// Blocks of the last half hour, whose people may have come back with a token that does not name them yet.
    blocks: RecentPartners,
    deny: Deny,
    reports: HashMap<Id, Pending, FixedState>,
    bound: HashMap<Id, Bound, FixedState>,
    tags: Tags,
    /// The moment of the input at work.
    clock: Now,
    tickets: u64,
    hints: Bucket,
    positions: Bucket,
    topics_rev: u32,
    timers: Timers,
    outputs: VecDeque<Output>,
    counters: Arc<Counters>,
    draining: bool,
    handing: Handing,
    /// Whose sessions are packed, and who has not been told so yet.
    packed_lines: Vec<Connection>,
    /// What the app has revoked before this run is not known yet.
    sealed: bool,
    /// The machine has little left to give: see [`Desk::set_strained`].
    strained: bool,
    /// Whose call ended while this server drains.
    leaving: Vec<Connection>,
}

impl Desk {
    /// `seed` from a good source of randomness: identifiers and pseudonyms hang on it.
    pub fn new(settings: Settings, relay: Box<dyn RelayDesk>, seed: [u8; 32], counters: Arc<Counters>) -> Desk {
        counters.set_awaiting_revocations(settings.await_revocations);
        let mut rng = ChaCha12Rng::from_seed(seed);
        let mut pepper = [0; 32];
        rng.fill_bytes(&mut pepper);
        let mut tag_secret = [0; 32];
        rng.fill_bytes(&mut tag_secret);
        Desk {
            verifier: Verifier::new(settings.token.clone(), settings.pepper().unwrap_or(Pepper::new(pepper))),
            relay,
            rng,
            queues: Queues::new(&settings),
            recent: RecentPartners::default(),
            sessions: HashMap::default(),
            away: 0,
            absent: u64::MAX,
            people: HashMap::default(),
            waiting: HashMap::default(),
            calls: HashMap::default(),
            sids: HashMap::default(),
            guests: HashMap::default(),
            passes: settings.joined.as_ref().map(|joined| Passes::new(&joined.pepper)),
            shared: HashMap::default(),
            blocks: RecentPartners::default(),
            deny: Deny::default(),
            reports: HashMap::default(),
            bound: HashMap::default(),
            tags: Tags::new(settings.tag_secret.unwrap_or(tag_secret)),
            clock: Now::default(),
            tickets: 0,
            hints: Bucket::full(HINTS, Millis(0)),
            positions: Bucket::full(queue::POSITIONS, Millis(0)),
            topics_rev: enter::topics_revision(&settings.topics),
            timers: Timers::default(),
            outputs: VecDeque::new(),
            counters,
            draining: false,
            handing: Handing::default(),
            packed_lines: Vec::new(),
            sealed: settings.await_revocations,
            strained: false,
            leaving: Vec::new(),
            settings,
        }
    }

    /// A connection opened. Who comes back to a session is let in for as long as there is any room; whether a newcomer is, `hello` decides
    /// (matching.md §4.12).
    pub fn handle_open(&mut self, now: Now, connection: Connection) {
        self.clock = now;
        let nobody_can_come_back = self.sids.is_empty();
        // Who is away has no connection, and should find room for one.
        let connected = self.own_sessions() - self.away;
        if connected >= self.settings.max_sessions || nobody_can_come_back && !self.admits() {
            self.turn_away(now, connection, None);
        } else {
            self.sessions.insert(connection, Session::new(now.mono));
            self.timers.set(now.mono.after(HELLO_MS), Timer::Hello(connection));
        }
        self.settle(now);
    }

    /// The machine is at nine tenths of what it may use, or no longer: newcomers are asked to wait, so that the calls there are are served.
    pub fn set_strained(&mut self, strained: bool) {
        self.strained = strained;
    }

    /// Whether newcomers are let in. The last tenth of the sessions is for those who come back.
    fn admits(&self) -> bool {
        !self.closes()
            && !self.sealed
            && !self.strained
            && self.sids.len() < self.settings.max_sessions - self.settings.max_sessions.div_ceil(10)
    }

    /// A text frame arrived.
    pub fn handle_frame(&mut self, now: Now, connection: Connection, frame: &str) {
        self.clock = now;
        let Some(session) = self.sessions.get_mut(&connection) else { return };
        if let Err(retry_ms) = session.meters.take(Meter::Frame, now.mono) {
            self.too_often(now, connection, None, Some(retry_ms));
        } else {
            match parse(frame) {
                Ok(envelope) => {
                    // On a new connection `hello` comes before what an older one has lost.
                    let counts = !matches!(envelope.request, Request::Hello(_));
                    session.heard = session.heard.max(envelope.q.filter(|_| counts).unwrap_or(0));
                    self.request(now, connection, envelope.q, envelope.request, frame);
                }
                Err(Unreadable::Unknown { q }) => {
                    session.heard = session.heard.max(q.unwrap_or(0));
                    self.refuse(now, connection, q, ErrorCode::Unknown);
                }
                Err(Unreadable::Proto) => self.refuse(now, connection, None, ErrorCode::Proto),
            }
        }
        self.settle(now);
    }

    /// Something else than a text frame arrived.
    pub fn handle_garbage(&mut self, now: Now, connection: Connection) {
        self.clock = now;
        self.refuse(now, connection, None, ErrorCode::Proto);
        self.settle(now);
    }

    /// The client closed the connection: it is not coming back.
    pub fn handle_close(&mut self, now: Now, connection: Connection) {
        self.clock = now;
        self.forget(now, connection);
        self.settle(now);
    }

    /// The connection broke: its session may be resumed for [`RESUME_MS`].
    pub fn handle_lost(&mut self, now: Now, connection: Connection) {
        self.clock = now;
        self.break_off(now, connection);
        self.settle(now);
    }

    /// The connection cannot take what it is sent: it is told so, if it still can, and closed.
    pub fn handle_slow(&mut self, now: Now, connection: Connection) {
        self.clock = now;
        self.refuse(now, connection, None, ErrorCode::Slow);
        self.settle(now);
    }

    /// Time has come to or past [`Desk::poll_timeout`].
    pub fn handle_timeout(&mut self, now: Now) {
        self.clock = now;
        for _ in 0..TIMER_SLICE {
            let Some(timer) = self.timers.pop_due(now.mono) else { break };
            self.fire(now, timer);
        }
        if self.queues.poll_timeout().is_some_and(|at| at <= now.mono) {
            self.queues.handle_timeout(now);
        }
        self.recent.forget_expired(now.mono);
        self.blocks.forget_expired(now.mono);
        self.verifier.forget_expired(now.unix);
        self.settle(now);
    }

    /// When to call [`Desk::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Millis> {
        let memories = [self.recent.poll_timeout(), self.blocks.poll_timeout()];
        let machines = [self.timers.next(), self.queues.poll_timeout()];
        machines.into_iter().chain(memories).flatten().min()
    }

    /// The next thing to do for the edge.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn request(&mut self, now: Now, from: Connection, q: Option<u64>, request: Request, frame: &str) {
        let Some(session) = self.sessions.get_mut(&from) else { return };
        match (&session.place, request) {
            (_, Request::Ping { p, n }) => {
                session.replay.acknowledged(n.unwrap_or(0));
                self.send_plain(from, Reply::Pong { q, p }.frame());
            }
            (Place::New, Request::Hello(hello)) => self.hello(now, from, q, &hello),
            (Place::New, _) | (_, Request::Hello(_)) => self.refuse(now, from, q, ErrorCode::State),
            (Place::Idle, Request::Queue(queue)) => self.queue(now, from, q, &queue),
            (Place::Queued(_), Request::Tune(criteria)) => self.tune(now, from, q, &criteria),
            (Place::Queued(_), Request::Leave) => self.leave(now, from, q),
            (_, Request::Block { call }) => self.block(now, from, q, call),
            (_, Request::Report(report)) => self.report(now, from, q, &report),
            (_, Request::Trace { on }) => self.follow(from, q, on),
            (_, Request::Queue(_) | Request::Tune(_) | Request::Leave) => self.refuse(now, from, q, ErrorCode::State),
            (Place::Abroad(_), of_call) => self.pass_on(now, from, q, &of_call, frame),
            (_, of_call) => self.of_call(now, from, q, of_call),
        }
    }

    fn fire(&mut self, now: Now, timer: Timer) {
        match timer {
            Timer::Hello(connection) => {
                let late = self.sessions.get(&connection).is_some_and(|session| matches!(session.place, Place::New));
                if late {
                    self.close_with(now, connection, None, ErrorCode::Deadline, CloseCode::PROTO);
                }
            }
            Timer::Position(connection, ticket) => self.tell_position(now, connection, ticket),
            Timer::Gone(connection) => self.gone(now, connection),
            Timer::Tidy(connection) => self.tidy(now, connection),
            Timer::Accept(call) => self.accept_due(now, call),
            Timer::Restarted(call, generation) => self.restart_due(now, call, generation),
            Timer::Listen(call) => self.listen(now, call),
            Timer::Stalled(call, side) => self.still_stalled(now, call, side),
            Timer::Bound(call) => self.look_after_bound(now, call),
            Timer::Ack(call) => self.ack_due(now, call),
            Timer::Description(call) => self.description_due(now, call),
            Timer::Connect(call) => self.connect_due(now, call),
            Timer::Ends(connection) => self.ends_due(now, connection),
        }
    }

    /// After every input: pairs the matchmaker made become calls, and the gauges are set.
    fn settle(&mut self, now: Now) {
        while let Some(pair) = self.queues.poll_match() {
            self.matched(now, pair);
        }
        self.settle_joined(now);
        self.see_off(now);
        self.settle_joined(now);
        self.counters.set_gauges(self.own_sessions(), self.waiting.len(), self.calls.len());
    }

    fn send(&mut self, to: Connection, reply: &Reply<'_>) {
        let frame = reply.frame();
        self.send_frame(to, frame);
    }

    /// Numbers and keeps what must not be lost; says nothing to who is away, who hears it on coming back.
    fn send_frame(&mut self, to: Connection, frame: TextFrame) {
        let Some(mut frame) = self.tell_guest(to, frame) else { return };
        if let Some(session) = self.sessions.get_mut(&to).filter(|session| session.caller.is_some()) {
            if !frame.droppable {
                session.replay.number(self.clock.mono, &mut frame);
            }
            let away = session.away;
            self.tidy_later(self.clock, to);
            if away {
                return;
            }
        }
        self.send_plain(to, frame);
    }

    /// What may be lost with the connection.
    fn send_plain(&mut self, to: Connection, frame: TextFrame) {
        self.outputs.push_back(Output::Frame { to, frame });
    }

    /// Says no; closes if the code demands it.
    fn refuse(&mut self, now: Now, to: Connection, q: Option<u64>, code: ErrorCode) {
        if !self.sessions.contains_key(&to) {
            return;
        }
        match code.close() {
            Some(close) => self.close_with(now, to, q, code, close),
            None => {
                self.counters.count_error(code);
                self.send(to, &Reply::error(q, code, None));
            }
        }
    }

    /// Says why, closes, forgets.
    fn close_with(&mut self, now: Now, to: Connection, q: Option<u64>, code: ErrorCode, close: CloseCode) {
        self.counters.count_error(code);
        let frame = Reply::Error { q, code, msg: code.message(), retry_ms: None, fatal: true }.frame();
        if self.sessions.get(&to).is_some_and(|session| !session.away) {
            self.send_frame(to, frame);
            if !self.shut_guest(to, close) {
                self.outputs.push_back(Output::Close { to, code: close });
            }
        }
        self.forget(now, to);
    }

    /// E_RATE; closes with 4429 who earns it again and again.
    fn too_often(&mut self, now: Now, to: Connection, q: Option<u64>, retry_ms: Option<u64>) {
        let Some(session) = self.sessions.get_mut(&to) else { return };
        if session.meters.take(Meter::Strike, now.mono).is_err() {
            return self.close_with(now, to, q, ErrorCode::Rate, CloseCode::RATE);
        }
        self.counters.count_error(ErrorCode::Rate);
        self.send(to, &Reply::error(q, ErrorCode::Rate, retry_ms));
    }

    /// Full, for somebody who is not known here yet, or just gone to where they will be known.
    fn turn_away(&mut self, now: Now, to: Connection, q: Option<u64>) {
        if self.handing == Handing::Packed {
            self.outputs.push_back(Output::Close { to, code: CloseCode::RESTART });
            return self.forget(now, to);
        }
        self.counters.count_error(ErrorCode::Busy);
        let retry_ms = Some(self.busy_retry_ms());
        self.send(to, &Reply::error(q, ErrorCode::Busy, retry_ms));
        let code = ErrorCode::Busy.close().unwrap_or(CloseCode::AWAY);
        self.outputs.push_back(Output::Close { to, code });
        self.forget(now, to);
    }

    /// Full for this wish; the session goes on.
    fn busy(&mut self, to: Connection, q: Option<u64>) {
        self.counters.count_error(ErrorCode::Busy);
        let (code, retry_ms) = (ErrorCode::Busy, Some(self.busy_retry_ms()));
        self.send(to, &Reply::Error { q, code, msg: code.message(), retry_ms, fatal: false });
    }

    /// Spread, so that those turned away together do not come back together.
    fn busy_retry_ms(&mut self) -> u64 {
        BUSY_RETRY_MS + self.rng.next_u64() % BUSY_RETRY_MS
    }

    fn random_handle(&mut self) -> Handle {
        let mut bytes = [0; 12];
        self.rng.fill_bytes(&mut bytes);
        Handle(bytes)
    }

    fn ice(&self, now: Now, handle: Handle, generation: u32, direct: bool) -> Ice<'_> {
        self.ice_for(now, handle, generation, direct, CREDENTIAL_SECS)
    }

    /// `secs` to start an allocation.
    fn ice_for(&self, now: Now, handle: Handle, generation: u32, direct: bool, secs: u32) -> Ice<'_> {
        let credential = self.relay.mint(now, handle, generation, secs);
        let server = IceServer {
            urls: &self.settings.turn_urls,
            username: credential.username,
            credential: credential.password,
        };
        Ice { servers: vec![server], policy: if direct { "all" } else { "relay" } }
    }
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Desk({} sessions, {} calls)", self.sessions.len(), self.calls.len())
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Output::Frame { to, frame } => f.debug_struct("Frame").field("to", to).field("frame", frame).finish(),
            Output::Close { to, code } => f.debug_struct("Close").field("to", to).field("code", code).finish(),
            Output::Report(dispatch) => f.debug_tuple("Report").field(dispatch).finish(),
            Output::Bus { to, payload } => write!(f, "Bus({to:?}, {} bytes)", payload.len()),
        }
    }
}

impl fmt::Debug for Dispatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dispatch[redacted]")
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Settings({} turn urls, {} topics, [redacted])", self.turn_urls.len(), self.topics.len())
    }
}
