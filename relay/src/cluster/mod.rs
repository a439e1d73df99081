//! Matching beyond one node (matching.md §4.13), as a pure machine.
//!
//! Each ticket has a *home*, the node its connection is on, and each queue (a pool's age cohort) an *owner*, the node whose engine the
//! homes announce its tickets to. The owner picks pairs; the two homes make a call of it or do not. Nodes are equal: each is a home, and
//! owns some of the queues. A node by itself owns all of them and sends nothing: then this is the local matchmaker and nothing more.
//!
//! Driving contract, as everywhere: call one verb; then take every [`Output`] from [`Cluster::poll_output`] and act on it in order; then
//! sleep until [`Cluster::poll_timeout`] and call [`Cluster::handle_timeout`]. Verbs take effect at once: after [`Cluster::cancel`] the
//! ticket is in no call that has not been polled before.
//!
//! | file | what |
//! |---|---|
//! | `home` | exactly once: promises, calls, their ends |
//! | `owner` | the engine, whose tickets are in it, pairings under way |
//! | `rows` | announcements in order, and noticing what is missing |
//! | `members` | who lives, who owns, where a call is relayed |
//! | `inward`, `outward` | messages that arrive; what follows from an input |
//! | `message`, `attributes` | bytes |
//!
//! # Why not the rule of the design as it was written
//!
//! It had the owner claim at both homes, each grant with a lease, the owner commit to both, and after a lost commit the homes ask each
//! other: "committed iff both hold a grant, decided by the lower node id". That is two-phase commit whose coordinator may be doubted, with
//! two who may decide: the owner, which releases when an answer is late, and the lower home, which commits on its own grant and the other's
//! word. `tests/written_rule.rs` finds them disagreeing: the owner gives up on a slow answer and releases both; one home has heard that and
//! is free, or in its next call; the other is asked before it has, finds two grants, and commits. The call has one participant for good, and
//! nobody who would end it. Leases do not mend that, they add a third who decides.
//!
//! Here one step at one place makes a call: the decider's compare-and-set, of a ticket nobody else has been promised, on the strength of a
//! promise of the other. The owner decides nothing after it has proposed. The doubt that no protocol can remove (the last message may be the
//! lost one) is on one side only, and both its ends are safe: a follower that gives up says `No` and the call it is told of later ends; a
//! decider nobody confirms ends its call. It costs two messages less than the written rule, and the first of the two is told a hop earlier, the other no later.

mod attributes;
mod counters;
mod home;
mod inward;
mod members;
mod message;
mod outward;
mod owner;
mod rows;
mod timers;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use foldhash::fast::FixedState;

use attributes::queue_of;
use home::{Home, Patience};
use members::Members;
use owner::Owner;
use rows::Rows;
use timers::{Timer, Timers};

pub use counters::Counters;
pub use home::{ASK_AGAIN_MS, COMMIT_ASKS, Matched, PROMISE_ASKS, Why};
pub use members::{DEAD_AFTER_MS, GATHER_MS, HEARTBEAT_MS, MAX_NODES, Over, owner_of};
pub use message::{
    Body, CallId, Denial, Envelope, Load, Luggage, MAX_LUGGAGE_BYTES, MAX_MESSAGE_BYTES, NodeId, Peer, Told, Turned,
    Unreadable, VERSION,
};

use crate::matchmaking::{
    Census, Criteria, Eta, Hint, Match, Person, Policy, Position, Recent, Refused, Relax, Ticket, TicketId,
    is_acceptable,
};
use crate::time::{Millis, Now};
use message::QueueKey;

/// Homes compare the calls they share so often.
pub const AUDIT_MS: u64 = 5_000;
/// Calls that stand with a silent node end after so long: a client may resume that long.
pub const SILENT_MS: u64 = 15_000;
/// A call with another node must be connected by then after it was made.
pub const SET_UP_MS: u64 = 10_000;
/// Tickets one other node may announce here.
pub const MAX_TICKETS_OF_NODE: usize = 1 << 18;
/// Timers handled per call of [`Cluster::handle_timeout`].
const TIMER_SLICE: usize = 64;

/// The operator's choices.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The same on every node: an owner goes by its own. `max_tickets` bounds the tickets of all homes in our engine.
    pub policy: Policy,
    /// There is a bus. Without, nobody is told anything.
    pub joins: bool,
    /// See [`SET_UP_MS`]; longer where people are asked first.
    pub set_up_ms: u64,
    /// See [`MAX_TICKETS_OF_NODE`].
    pub max_tickets_of_node: usize,
    pub load: Load,
}

impl Settings {
    /// One node that knows of no other.
    pub fn alone(policy: Policy) -> Settings {
        Settings {
            policy,
            joins: false,
            set_up_ms: SET_UP_MS,
            max_tickets_of_node: MAX_TICKETS_OF_NODE,
            load: Load::default(),
        }
    }
}

/// Whom a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    Everybody,
    Node(NodeId),
}

/// What the desk must do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// To be sealed and published. The desk packs its [`Luggage`] into a `Grant` or a `Commit` before that; the same call may come again,
    /// and takes the same luggage.
    Send { to: To, envelope: Envelope },
    /// Two tickets that both waited here are a call; as the local matchmaker says it.
    Paired(Match),
    /// A ticket of ours is in a call with somebody of another node.
    Matched(Matched),
    /// That call is over, and the other home is told or cannot be. Who is not to blame waits again with their t0, under a new ticket.
    Ended { call: CallId, ticket: TicketId, why: Why },
    /// The partner's node is not heard, or is heard again. The call stands; its media may go on.
    Partner { call: CallId, ticket: TicketId, heard: bool },
    /// The partner's desk says this of that call.
    Passed { call: CallId, ticket: TicketId, luggage: Luggage },
    /// The ticket waits no more: the owner of its queue would not have it.
    Turned { ticket: TicketId, why: Turned },
}

/// A ticket of this node.
struct Own {
    pool: Arc<str>,
    queue: QueueKey,
    ticket: Ticket,
    /// Whose engine it is in.
    owner: Peer,
    /// Where it stands, as another node's engine said.
    told: Option<Told>,
    /// Not said to anybody yet.
    fresh: bool,
}

/// The machine.
pub struct Cluster {
    settings: Settings,
    me: Peer,
    clock: Millis,
    members: Members,
    home: Home,
    owner: Owner,
    rows: Rows,
    own: HashMap<u64, Own, FixedState>,
    /// What we say to ourselves.
    inbox: VecDeque<Body>,
    /// Whose standing is to be asked for, and whether with hints.
    asks: BTreeMap<Peer, (Vec<u64>, bool)>,
    asks_due: Option<Millis>,
    /// Partners of calls who are not heard.
    silent: BTreeMap<NodeId, Peer>,
    timers: Timers,
    outputs: VecDeque<Output>,
    counters: Arc<Counters>,
    /// What the edge says this node still takes.
    load: Load,
    /// See [`Cluster::hold`].
    held: bool,
    /// Our engine pairs nobody before that; see [`GATHER_MS`].
    gathering: Option<Millis>,
    /// When we were last told a ticket that was not for us.
    surprised: Option<Millis>,
}

impl Cluster {
    /// `me.incarnation`: larger than in this node's lives before.
    pub fn new(settings: Settings, now: Now, me: Peer, counters: Arc<Counters>) -> Cluster {
        let mut timers = Timers::default();
        if settings.joins {
            timers.set(now.mono, Timer::Heartbeat);
            timers.set(now.mono.after(rows::MARK_MS), Timer::Marks);
            timers.set(now.mono.after(AUDIT_MS), Timer::Audit);
        }
        Cluster {
            me,
            clock: now.mono,
            members: Members::new(me, settings.load),
            home: Home::new(me, Patience::DEFAULT),
            owner: Owner::new(me, settings.policy.clone(), settings.max_tickets_of_node),
            rows: Rows::default(),
            own: HashMap::default(),
            inbox: VecDeque::new(),
            asks: BTreeMap::new(),
            asks_due: None,
            silent: BTreeMap::new(),
            timers,
            outputs: VecDeque::new(),
            counters,
            load: settings.load,
            held: false,
            gathering: None,
            surprised: None,
            settings,
        }
    }

    /// A ticket waits, here or at the owner of its queue, with the seniority of `ticket.since`. Its number is never used twice.
    ///
    /// # Errors
    /// [`Refused`]. Another node's engine says so later, by [`Output::Turned`].
    pub fn enqueue(&mut self, now: Now, pool: &str, ticket: Ticket) -> Result<(), Refused> {
        self.clock = now.mono;
        let number = ticket.id.0;
        let queue = queue_of(pool, ticket.band, self.settings.policy.minor_bands_meet);
        let owner = self.members.owner(queue);
        if owner != self.me && !is_acceptable(pool, &ticket) {
            return Err(Refused::BadCriteria);
        }
        if owner != self.me && self.own.len() >= self.settings.policy.max_tickets {
            return Err(Refused::Full);
        }
        if !self.home.enter(number, queue) {
            return Err(if is_acceptable(pool, &ticket) { Refused::DuplicateTicket } else { Refused::BadCriteria });
        }
        let own = Own { pool: pool.into(), queue, ticket, owner, told: None, fresh: true };
        self.own.insert(number, own);
        let said = self.say(number);
        if said.is_err() {
            self.own.remove(&number);
            self.home.leave(number);
        }
        self.settle();
        said
    }

    /// Takes the ticket out: its person left, or its socket is gone. False if it does not wait (any more).
    pub fn cancel(&mut self, now: Now, id: TicketId) -> bool {
        self.clock = now.mono;
        let waited = self.home.leave(id.0);
        if waited {
            self.unsay(id.0, rows::LAZY_MS);
            self.own.remove(&id.0);
        }
        self.settle();
        waited
    }

    /// Changes what a waiting ticket asks for; it keeps its seniority.
    ///
    /// # Errors
    /// [`Refused::Unknown`] or [`Refused::BadCriteria`]; the ticket then waits as before, if it does.
    pub fn tune(&mut self, now: Now, id: TicketId, criteria: Criteria) -> Result<(), Refused> {
        self.clock = now.mono;
        let own = self.own.get_mut(&id.0).ok_or(Refused::Unknown)?;
        if !criteria.is_valid() {
            return Err(Refused::BadCriteria);
        }
        let Criteria { wants, level, max_distance, topics, topic_mode, countries } = criteria;
        let ticket = &mut own.ticket;
        (ticket.wants, ticket.level, ticket.max_distance) = (wants, level, max_distance);
        (ticket.topics, ticket.topic_mode, ticket.countries) = (topics, topic_mode, countries);
        self.home.renew(id.0);
        if let Some(epoch) = self.home.waiting(id.0)
            && self.owner.tune(now.mono, id.0, epoch, criteria).is_err()
        {
            self.say(id.0)?;
        }
        self.settle();
        Ok(())
    }

    /// Adds somebody to the people a waiting ticket avoids; holds from now on, whatever an owner has picked meanwhile.
    ///
    /// # Errors
    /// [`Refused::Unknown`], or [`Refused::Full`] if the ticket avoids [`crate::matchmaking::MAX_AVOID`] people already.
    pub fn avoid(&mut self, now: Now, id: TicketId, person: Person) -> Result<(), Refused> {
        self.clock = now.mono;
        let own = self.own.get_mut(&id.0).ok_or(Refused::Unknown)?;
        let ticket = &mut own.ticket;
        if !ticket.avoid.contains(&person) {
            ticket.recent.retain(|recent| *recent != person);
            if ticket.avoid.len() + ticket.recent.len() >= crate::matchmaking::MAX_AVOID {
                return Err(Refused::Full);
            }
            ticket.avoid.push(person);
        }
        self.home.revoke(id.0);
        if let Some(epoch) = self.home.waiting(id.0)
            && self.owner.avoid(id.0, epoch, person).is_err()
        {
            self.say(id.0)?;
        }
        self.settle();
        Ok(())
    }

    /// Where the ticket stands, if that is known. In another node's engine: as it said last, and it is asked again.
    pub fn position(&mut self, now: Now, id: TicketId) -> Option<Position> {
        if let Some(position) = self.owner.position(now.mono, self.me.node, id.0) {
            return Some(position);
        }
        self.ask(id.0, false);
        let Told { ahead, stage, eta, .. } = self.own.get(&id.0)?.told?;
        Some(Position { ahead, stage, eta: eta.map(|(p50_ms, p90_ms)| Eta { p50_ms, p90_ms }) })
    }

    /// Which wish, given up, would match; as [`Cluster::position`].
    pub fn hint(&mut self, id: TicketId) -> Option<Hint> {
        if self.own.get(&id.0)?.owner == self.me {
            return self.owner.hint(self.me.node, id.0);
        }
        self.ask(id.0, true);
        let (relax, would_match) = self.own.get(&id.0)?.told?.hint?;
        let relax = *[Relax::Topics, Relax::Level, Relax::Gender, Relax::Country].get(usize::from(relax))?;
        Some(Hint { relax, would_match })
    }

    /// Says something to the partner's desk, at most [`MAX_LUGGAGE_BYTES`]; in order, once, and seldom lost. False if there is no such call.
    pub fn pass(&mut self, now: Now, call: CallId, luggage: Luggage) -> bool {
        self.clock = now.mono;
        let partner = self.home.calls.get(&call).map(|shared| shared.partner);
        if let Some(partner) = partner.filter(|_| luggage.0.len() <= MAX_LUGGAGE_BYTES) {
            self.send(partner, Body::Frame { call, luggage });
        }
        partner.is_some()
    }

    /// Both sides of the call are connected: it no longer ends by itself.
    pub fn connected(&mut self, call: CallId) {
        self.home.connected(call);
    }

    /// The partner's desk has ended the call, in words of its own ([`Output::Passed`]).
    pub fn part(&mut self, call: CallId) {
        self.home.part(call);
    }

    /// The desk ended the call; the other home is told.
    pub fn end(&mut self, now: Now, call: CallId) {
        self.clock = now.mono;
        self.home.end(call);
        self.settle();
    }

    /// What this node still takes. Others learn it with the next heartbeat, that it drains at once.
    pub fn set_load(&mut self, now: Now, load: Load) {
        self.clock = now.mono;
        self.load = load;
        self.adopt_load();
        self.settle();
    }

    /// Nobody of this node is matched before [`Cluster::go_on`]: its tickets are said to nobody, and its queues are others'.
    pub fn hold(&mut self, now: Now) {
        self.clock = now.mono;
        if std::mem::replace(&mut self.held, true) {
            return;
        }
        for number in self.numbers() {
            self.unsay(number, rows::LAZY_MS);
            self.home.revoke(number);
        }
        self.adopt_load();
        self.settle();
    }

    /// Undoes [`Cluster::hold`].
    pub fn go_on(&mut self, now: Now) {
        self.clock = now.mono;
        if !std::mem::take(&mut self.held) {
            return;
        }
        self.adopt_load();
        for number in self.numbers() {
            self.say_again(number);
        }
        self.settle();
    }

    /// What others are told of this node.
    fn adopt_load(&mut self) {
        let load = Load { draining: self.load.draining || self.held, ..self.load };
        let turns = self.members.load().draining != load.draining;
        self.members.set_load(load);
        if turns {
            self.beat(To::Everybody);
            self.move_queues();
        }
    }

    fn numbers(&self) -> Vec<u64> {
        let mut numbers: Vec<u64> = self.own.keys().copied().collect();
        numbers.sort_unstable();
        numbers
    }

    /// The bus is up, as it is at first, or down. Down, every node matches its own, and nobody is dead for not being heard.
    pub fn handle_bus(&mut self, now: Now, up: bool) {
        self.clock = now.mono;
        self.members.set_isolated(now.mono, !up);
        if !up {
            for peer in self.members.others() {
                self.forget(peer);
            }
        }
        if up && self.settings.joins {
            self.beat(To::Everybody);
        }
        self.move_queues();
        self.settle();
    }

    /// See [`crate::matchmaking::Matchmaker::set_recent`].
    pub fn set_recent(&mut self, recent: Recent) {
        self.owner.engine_mut().set_recent(recent);
    }

    /// What has become of that life of a node.
    pub fn over(&self, now: Now, peer: Peer) -> Over {
        self.members.over_for(now.mono, peer)
    }

    /// Tickets of this node that wait.
    pub fn waiting(&self) -> usize {
        self.own.len()
    }

    /// Calls with another node, and tickets promised to one.
    #[cfg(test)]
    pub(crate) fn shared(&self) -> (usize, usize) {
        (self.home.calls.len(), self.home.promises.len())
    }

    /// See [`crate::matchmaking::Matchmaker::count`]: of the queues this node owns.
    pub fn count(&self, now: Now, census: &mut Census) -> bool {
        self.owner.engine().count(owner::ahead(now.mono), census)
    }

    /// Time has come to or past [`Cluster::poll_timeout`].
    pub fn handle_timeout(&mut self, now: Now) {
        self.clock = now.mono;
        for _ in 0..TIMER_SLICE {
            let Some(timer) = self.timers.pop_due(now.mono) else { break };
            self.fire(timer);
        }
        for peer in self.members.bury(now.mono) {
            self.counters.count_death();
            self.bury(peer);
        }
        if self.owner.poll_timeout().is_some_and(|at| at <= now.mono) {
            self.owner.handle_timeout(now.mono);
        }
        if self.asks_due.is_some_and(|at| at <= now.mono) {
            self.send_asks();
        }
        self.settle();
    }

    /// When to call [`Cluster::handle_timeout`]; in the past while work is left over.
    pub fn poll_timeout(&self) -> Option<Millis> {
        let next = [self.timers.next(), self.members.next_death(), self.owner.poll_timeout(), self.asks_due];
        next.into_iter().chain([self.rows.next_flush()]).flatten().min()
    }

    /// The next thing to do for the desk.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The host's desk knows whether a call stands; the other home goes by its word, or by that of an audit, while there is a bus.
    fn set_up_due(&mut self, call: CallId) {
        if self.home.hosts(call) || self.members.is_isolated() {
            self.home.set_up_due(call);
        } else if self.home.is_set_up(call) {
            self.timers.set(self.clock.after(self.settings.set_up_ms), Timer::SetUp(call));
        }
    }

    fn fire(&mut self, timer: Timer) {
        let now = self.clock;
        match timer {
            Timer::Heartbeat => {
                self.beat(To::Everybody);
                self.timers.set(now.after(HEARTBEAT_MS), Timer::Heartbeat);
            }
            Timer::Marks => {
                for (to, body) in self.rows.marks(now) {
                    self.send(to, body);
                }
                self.timers.set(now.after(rows::MARK_MS), Timer::Marks);
            }
            Timer::Audit => {
                self.home.audit();
                self.timers.set(now.after(AUDIT_MS), Timer::Audit);
            }
            Timer::Home(call) => self.home.due(call),
            Timer::Claim(call) => self.release_due(call),
            Timer::Gathered => self.gathered(),
            Timer::SetUp(call) => self.set_up_due(call),
            Timer::Silent(peer) => self.still_silent(peer),
        }
    }
}
