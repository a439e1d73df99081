//! Nodes, a network and callers in virtual time, from a seed: loss, duplicates, delays, partitions, crashes, restarts, a bus that dies. The
//! desk here is a stand-in that does what a desk must; the rules it judges by are its own.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use super::is_long;
use crate::cluster::{Body, CallId, Cluster, Counters, Envelope, Load, NodeId, Output, Peer, Settings, To};
use crate::matchmaking::tests::ticket;
use crate::matchmaking::{Band, Gender, GenderSet, Person, Policy, Ticket, TicketId, compatible};
use crate::time::{Millis, Now};

const SECOND: u64 = 1_000_000;
const POOLS: [&str; 3] = ["general", "oet", "night"];
/// A call with one participant is a fault after so long without a fault of the network.
const HALF_CALL: u64 = 17 * SECOND;

type Mute = fn(&Body) -> bool;

enum Event {
    Arrive { from: usize, to: usize, bytes: Vec<u8> },
    Wake(usize),
    Caller,
    Leave(u64),
    Tune(u64),
    HangUp { node: usize, call: CallId, connected: bool },
    Crash,
    Restart(usize),
    Partition,
    Heal,
    BusDies { told: bool },
    BusLives,
}

/// Somebody who wants to talk.
struct Caller {
    node: usize,
    ticket: Ticket,
    pool: &'static str,
    since: u64,
    call: Option<CallId>,
}

#[derive(Default)]
struct Call {
    /// Callers in it now, and all who ever were.
    inside: BTreeSet<u64>,
    ever: BTreeSet<u64>,
    halved: Option<u64>,
    connected: bool,
}

struct Node {
    cluster: Option<Cluster>,
    incarnation: u64,
    born: u64,
    counters: Arc<Counters>,
}

#[derive(Clone, Copy, Debug)]
struct Weather {
    loss: f64,
    double: f64,
    slow: f64,
    faults: u32,
}

struct Simulation {
    rng: StdRng,
    seed: u64,
    now: u64,
    order: u64,
    events: BinaryHeap<Reverse<(u64, u64)>>,
    what: BTreeMap<u64, Event>,
    nodes: Vec<Node>,
    callers: BTreeMap<u64, Caller>,
    /// What everybody there ever was is like.
    wishes: BTreeMap<u64, (&'static str, Ticket)>,
    tickets: BTreeMap<u64, u64>,
    next: u64,
    calls: BTreeMap<CallId, Call>,
    /// Which side of a partition a node is on.
    side: Vec<bool>,
    bus: bool,
    weather: Weather,
    /// What no node ever says.
    mute: Mute,
    /// When the network was last at fault.
    fault: u64,
    policy: Policy,
    made: usize,
    ended: usize,
    crashes: usize,
    messages: u64,
}

impl Simulation {
    fn new(seed: u64) -> Simulation {
        let mut rng = StdRng::seed_from_u64(seed);
        let kind = seed % 4;
        let weather = Weather {
            loss: [0.0, 0.01, 0.05, 0.0][kind as usize],
            double: [0.0, 0.05, 0.02, 0.0][kind as usize],
            slow: [0.0, 0.02, 0.05, 0.01][kind as usize],
            faults: [0, 2, 4, 6][kind as usize],
        };
        let count = 3 + rng.random_range(0..3);
        let policy = Policy { patience: 0, max_tickets: 20_000, max_pools: 8, ..Policy::default() };
        let mut simulation = Simulation {
            rng,
            seed,
            now: SECOND,
            order: 0,
            events: BinaryHeap::new(),
            what: BTreeMap::new(),
            nodes: Vec::new(),
            callers: BTreeMap::new(),
            wishes: BTreeMap::new(),
            tickets: BTreeMap::new(),
            next: 0,
            calls: BTreeMap::new(),
            side: vec![false; count],
            bus: true,
            weather,
            mute: |_| false,
            fault: 0,
            policy,
            made: 0,
            ended: 0,
            crashes: 0,
            messages: 0,
        };
        for number in 0..count {
            simulation.nodes.push(Node { cluster: None, incarnation: 0, born: 0, counters: Arc::default() });
            simulation.start(number);
        }
        simulation
    }

    fn at(&mut self, at: u64, event: Event) {
        self.order += 1;
        self.events.push(Reverse((at, self.order)));
        self.what.insert(self.order, event);
    }

    /// Each node's clock begins with itself.
    fn clock(&self, node: usize) -> Now {
        Now { mono: Millis((self.now - self.nodes[node].born) / 1_000), ..Now::default() }
    }

    fn peer(&self, node: usize) -> Peer {
        Peer { node: NodeId(node as u64), incarnation: self.nodes[node].incarnation }
    }

    fn start(&mut self, node: usize) {
        self.nodes[node].incarnation += 1;
        self.nodes[node].born = self.now - self.rng.random_range(0..SECOND);
        let load = Load { room: 100, calls: 0, draining: false };
        let settings = Settings { joins: true, load, ..Settings::alone(self.policy.clone()) };
        let counters = Arc::clone(&self.nodes[node].counters);
        let mut cluster = Cluster::new(settings, self.clock(node), self.peer(node), counters);
        if !self.bus {
            cluster.handle_bus(self.clock(node), false);
        }
        self.nodes[node].cluster = Some(cluster);
        self.drain(node);
    }

    fn with(&mut self, node: usize, what: impl FnOnce(&mut Cluster, Now)) {
        let now = self.clock(node);
        if let Some(cluster) = self.nodes[node].cluster.as_mut() {
            what(cluster, now);
        }
        self.drain(node);
    }

    fn drain(&mut self, node: usize) {
        while let Some(output) = self.nodes[node].cluster.as_mut().and_then(Cluster::poll_output) {
            match output {
                Output::Send { to, envelope } => self.send(node, to, &envelope),
                Output::Paired(pair) => self.paired(node, [pair.waiter, pair.arrival]),
                Output::Matched(matched) => self.matched(node, matched.call, matched.ticket, matched.partner),
                Output::Ended { call, ticket, .. } => self.end_for(node, call, ticket.0),
                Output::Partner { .. } | Output::Passed { .. } => {}
                Output::Turned { ticket, why } => panic!("{:?} turned away: {why:?}, seed {}", ticket, self.seed),
            }
        }
        let Some(at) = self.nodes[node].cluster.as_ref().and_then(Cluster::poll_timeout) else { return };
        let at = (self.nodes[node].born + at.0 * 1_000).max(self.now + 1);
        self.at(at, Event::Wake(node));
    }

    fn send(&mut self, from: usize, to: To, envelope: &Envelope) {
        if (self.mute)(&envelope.body) {
            return;
        }
        let bytes = envelope.encode();
        for node in 0..self.nodes.len() {
            let meant = match to {
                To::Everybody => node != from,
                To::Node(id) => id.0 == node as u64,
            };
            if !meant || !self.bus || self.side[from] != self.side[node] {
                continue;
            }
            let copies = if self.rng.random_bool(self.weather.double) { 2 } else { 1 };
            for _ in 0..copies {
                if self.rng.random_bool(self.weather.loss) {
                    continue;
                }
                let slow = self.rng.random_bool(self.weather.slow);
                let delay = if slow { self.rng.random_range(0..SECOND) } else { self.rng.random_range(40..400) };
                self.messages += 1;
                self.at(self.now + delay, Event::Arrive { from, to: node, bytes: bytes.clone() });
            }
        }
    }

    fn caller(&mut self) {
        let living: Vec<usize> = (0..self.nodes.len()).filter(|&node| self.nodes[node].cluster.is_some()).collect();
        if living.is_empty() {
            return;
        }
        let node = living[self.rng.random_range(0..living.len())];
        self.next += 1;
        let number = self.next;
        let rng = &mut self.rng;
        let gender = [Gender::F, Gender::M][usize::from(rng.random_bool(0.5))];
        let wants = if rng.random_bool(0.3) { GenderSet::NONE.with(Gender::F) } else { GenderSet::ANY };
        let band = if rng.random_bool(0.1) { Band::B16_17 } else { Band::Adult };
        let avoid = (0..2).map(|_| Person(1_000_000 + rng.random_range(0..=number))).collect();
        let pool = POOLS[rng.random_range(0..POOLS.len())];
        let ticket = Ticket { gender, wants, band, avoid, ..ticket(number, 0) };
        let since = self.now;
        self.wishes.insert(number, (pool, ticket.clone()));
        self.callers.insert(number, Caller { node, ticket, pool, since, call: None });
        let quarter = self.rng.random_range(0..4);
        if quarter == 0 {
            let at = self.now + self.rng.random_range(0..20 * SECOND);
            self.at(at, Event::Leave(number));
        } else if quarter == 1 {
            let at = self.now + self.rng.random_range(0..3 * SECOND);
            self.at(at, Event::Tune(number));
        }
        self.wait(number);
    }

    /// Under a new ticket, with the seniority they have.
    fn wait(&mut self, number: u64) {
        let Some(caller) = self.callers.get(&number) else { return };
        let node = caller.node;
        let clock = self.clock(node);
        let waited = (self.now - caller.since) / 1_000;
        self.next += 1;
        let id = TicketId(self.next);
        let ticket = Ticket { id, since: Millis(clock.mono.0.saturating_sub(waited)), ..caller.ticket.clone() };
        let pool = caller.pool;
        self.tickets.insert(id.0, number);
        if let Some(caller) = self.callers.get_mut(&number) {
            caller.ticket.id = id;
        }
        self.with(node, |cluster, now| cluster.enqueue(now, pool, ticket).unwrap());
    }

    /// Rule: who enters a call waits, with that ticket, there, and is in no other.
    fn enter(&mut self, node: usize, ticket: u64, call: CallId) -> u64 {
        let number = *self.tickets.get(&ticket).unwrap_or_else(|| panic!("nobody's ticket, seed {}", self.seed));
        let caller = self.callers.get_mut(&number).unwrap_or_else(|| panic!("a call for nobody, seed {}", self.seed));
        assert_eq!((caller.node, caller.ticket.id.0, caller.call), (node, ticket, None), "seed {}", self.seed);
        caller.call = Some(call);
        number
    }

    fn paired(&mut self, node: usize, pair: [TicketId; 2]) {
        self.next += 1;
        let call = CallId { owner: Peer { node: NodeId(1_000), incarnation: 0 }, number: self.next };
        let inside: BTreeSet<u64> = pair.map(|ticket| self.enter(node, ticket.0, call)).into();
        self.judge_pair(&inside);
        self.calls.insert(call, Call { ever: inside.clone(), inside, halved: None, connected: true });
        self.made += 1;
        let at = self.now + self.rng.random_range(SECOND..10 * SECOND);
        self.at(at, Event::HangUp { node, call, connected: false });
    }

    fn matched(&mut self, node: usize, call: CallId, ticket: u64, partner: NodeId) {
        let number = self.enter(node, ticket, call);
        assert_ne!(partner.0, node as u64);
        let now = self.now;
        let of = self.calls.entry(call).or_default();
        assert!(of.ever.insert(number), "somebody is in a call twice, seed {}", self.seed);
        assert!(of.ever.len() <= 2, "a call of three, seed {}", self.seed);
        of.inside.insert(number);
        of.halved = (of.inside.len() == 1).then_some(now);
        let (ever, whole) = (of.ever.clone(), of.inside.len() == 2);
        if ever.len() == 2 {
            self.judge_pair(&ever);
        }
        if whole {
            self.made += 1;
            for caller in ever {
                let at = self.now + 300_000;
                let node = self.callers.get(&caller).map_or(0, |caller| caller.node);
                self.at(at, Event::HangUp { node, call, connected: true });
            }
            let at = self.now + self.rng.random_range(SECOND..12 * SECOND);
            self.at(at, Event::HangUp { node, call, connected: false });
        }
    }

    /// Rule: the two fit by the formula, as patient as they may be.
    fn judge_pair(&self, pair: &BTreeSet<u64>) {
        let [(one, a), (other, b)] = pair.iter().map(|number| &self.wishes[number]).collect::<Vec<_>>()[..] else {
            panic!("no pair")
        };
        assert_eq!(one, other, "seed {}", self.seed);
        assert!(compatible(a, 3, b, 3, &self.policy), "strangers, seed {}", self.seed);
    }

    /// A call is over for one of ours: back into the queue if it never was one, else home.
    fn end_for(&mut self, node: usize, call: CallId, ticket: u64) {
        let number = self.tickets[&ticket];
        let Some(of) = self.calls.get_mut(&call) else { panic!("no call ends, seed {}", self.seed) };
        assert!(of.inside.remove(&number), "somebody outside is sent out, seed {}", self.seed);
        of.halved = (of.inside.len() == 1).then_some(self.now);
        let connected = of.connected;
        self.ended += 1;
        let Some(caller) = self.callers.get_mut(&number) else { return };
        assert_eq!((caller.node, caller.call.take()), (node, Some(call)));
        if connected {
            self.callers.remove(&number);
        } else {
            self.wait(number);
        }
    }

    fn hang_up(&mut self, node: usize, call: CallId, connected: bool) {
        let Some(of) = self.calls.get_mut(&call) else { return };
        let here: Vec<u64> = of.inside.iter().copied().filter(|number| self.callers[number].node == node).collect();
        if here.is_empty() || self.nodes[node].cluster.is_none() {
            return;
        }
        if connected {
            of.connected |= of.inside.len() == 2;
            if of.connected {
                self.with(node, |cluster, _| cluster.connected(call));
            }
            return;
        }
        let of = self.calls.get_mut(&call).unwrap();
        for number in &here {
            of.inside.remove(number);
        }
        of.connected = true;
        of.halved = (of.inside.len() == 1).then_some(self.now);
        here.iter().for_each(|number| _ = self.callers.remove(number));
        self.with(node, |cluster, now| cluster.end(now, call));
    }

    fn crash(&mut self) {
        let living: Vec<usize> = (0..self.nodes.len()).filter(|&node| self.nodes[node].cluster.is_some()).collect();
        if living.len() < 2 {
            return;
        }
        let node = living[self.rng.random_range(0..living.len())];
        self.nodes[node].cluster = None;
        self.crashes += 1;
        let gone: Vec<u64> = self.callers.iter().filter(|(_, of)| of.node == node).map(|(number, _)| *number).collect();
        for number in gone {
            if let Some(call) = self.callers.remove(&number).and_then(|caller| caller.call) {
                let of = self.calls.get_mut(&call).unwrap();
                of.inside.remove(&number);
                of.halved = (of.inside.len() == 1).then_some(self.now);
            }
        }
        let at = self.now + self.rng.random_range(SECOND / 2..8 * SECOND);
        self.at(at, Event::Restart(node));
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrive { from, to, bytes } if self.bus && self.side[from] == self.side[to] => {
                self.with(to, |cluster, now| cluster.handle_bytes(now, &bytes));
            }
            Event::Arrive { .. } => {}
            Event::Wake(node) => {
                let now = self.clock(node);
                let due = |cluster: &Cluster| cluster.poll_timeout().is_some_and(|at| at <= now.mono);
                if self.nodes[node].cluster.as_ref().is_some_and(due) {
                    self.with(node, |cluster, now| cluster.handle_timeout(now));
                }
            }
            Event::Caller => self.caller(),
            Event::Leave(number) => self.leave(number),
            Event::Tune(number) => self.tune(number),
            Event::HangUp { node, call, connected } => self.hang_up(node, call, connected),
            Event::Crash => self.crash(),
            Event::Restart(node) => {
                if self.nodes[node].cluster.is_none() {
                    self.start(node);
                }
            }
            Event::Partition => {
                for node in 0..self.nodes.len() {
                    self.side[node] = self.rng.random_bool(0.5);
                }
                let at = self.now + self.rng.random_range(SECOND / 10..8 * SECOND);
                self.at(at, Event::Heal);
            }
            Event::Heal => self.side.fill(false),
            Event::BusDies { told } => {
                self.bus = false;
                if told {
                    (0..self.nodes.len())
                        .for_each(|node| self.with(node, |cluster, now| cluster.handle_bus(now, false)));
                }
                let at = self.now + self.rng.random_range(SECOND / 10..6 * SECOND);
                self.at(at, Event::BusLives);
            }
            Event::BusLives => {
                self.bus = true;
                (0..self.nodes.len()).for_each(|node| self.with(node, |cluster, now| cluster.handle_bus(now, true)));
            }
        }
        if !self.bus || self.side.contains(&true) || self.nodes.iter().any(|node| node.cluster.is_none()) {
            self.fault = self.now;
        }
    }

    fn leave(&mut self, number: u64) {
        let Some(caller) = self.callers.get(&number).filter(|caller| caller.call.is_none()) else { return };
        let (node, id) = (caller.node, caller.ticket.id);
        self.callers.remove(&number);
        self.with(node, |cluster, now| assert!(cluster.cancel(now, id)));
    }

    fn tune(&mut self, number: u64) {
        let Some(caller) = self.callers.get_mut(&number).filter(|caller| caller.call.is_none()) else { return };
        caller.ticket.wants = GenderSet::ANY;
        self.wishes.insert(number, (caller.pool, caller.ticket.clone()));
        let (node, id, criteria) = (caller.node, caller.ticket.id, caller.ticket.criteria());
        self.with(node, |cluster, now| {
            assert_eq!(cluster.tune(now, id, criteria), Ok(()));
            _ = cluster.position(now, id);
        });
    }

    /// Rule at every step: nobody is alone in a call for long, once the network is well.
    fn judge(&self) {
        for call in self.calls.values() {
            let since = call.halved.map(|since| since.max(self.fault));
            assert!(
                since.is_none_or(|since| self.now - since < HALF_CALL),
                "alone in a call for long, seed {}",
                self.seed
            );
        }
    }

    fn run_until(&mut self, until: u64) {
        let mut steps = 0_u64;
        while let Some(Reverse((at, order))) = self.events.peek().copied() {
            if at > until {
                break;
            }
            self.events.pop();
            self.now = self.now.max(at);
            let event = self.what.remove(&order).unwrap();
            self.happen(event);
            steps += 1;
            if steps.is_multiple_of(256) {
                self.judge();
                self.calls.retain(|_, call| !call.inside.is_empty() || call.ever.len() < 2);
            }
        }
        self.now = until;
    }

    /// Everything is well from here on: nobody is alone, and nobody waits who fits somebody.
    fn settle(&mut self) {
        self.weather = Weather { loss: 0.0, double: 0.0, slow: 0.0, faults: 0 };
        if !self.bus {
            self.happen(Event::BusLives);
        }
        self.happen(Event::Heal);
        self.run_until(self.now + 45 * SECOND);
        self.judge();
        let half: Vec<_> = self.calls.iter().filter(|(_, call)| call.inside.len() == 1).collect();
        assert!(half.is_empty(), "{} calls of one, seed {}", half.len(), self.seed);
        let waiting: Vec<&Caller> = self.callers.values().filter(|caller| caller.call.is_none()).collect();
        let known: usize = self.nodes.iter().filter_map(|node| node.cluster.as_ref()).map(Cluster::waiting).sum();
        assert_eq!(waiting.len(), known, "somebody is lost, seed {}", self.seed);
        for (place, a) in waiting.iter().enumerate() {
            for b in &waiting[..place] {
                let fit = a.pool == b.pool && compatible(&a.ticket, 3, &b.ticket, 3, &self.policy);
                assert!(!fit, "two who fit wait side by side, at {} and {}, seed {}", a.node, b.node, self.seed);
            }
        }
        for node in &self.nodes {
            let cluster = node.cluster.as_ref().unwrap();
            assert_eq!(cluster.owner.claims(), 0, "a pairing is unsettled, seed {}", self.seed);
            assert!(cluster.home.promises.is_empty(), "a promise stays, seed {}", self.seed);
        }
    }
}

fn simulate(seed: u64, callers: u64, mute: Mute) -> (usize, usize, usize, u64) {
    let mut simulation = Simulation::new(seed);
    simulation.mute = mute;
    let length = 60 * SECOND;
    for _ in 0..callers {
        let at = simulation.now + simulation.rng.random_range(0..length);
        simulation.at(at, Event::Caller);
    }
    for _ in 0..simulation.weather.faults {
        let at = simulation.now + simulation.rng.random_range(SECOND..length);
        let event = match simulation.rng.random_range(0..4) {
            0 => Event::Crash,
            1 => Event::Partition,
            which => Event::BusDies { told: which == 2 },
        };
        simulation.at(at, event);
        let at = simulation.now + simulation.rng.random_range(SECOND..length);
        simulation.at(at, Event::Crash);
    }
    simulation.run_until(simulation.now + length);
    simulation.settle();
    (simulation.made, simulation.ended, simulation.crashes, simulation.messages)
}

fn simulate_all(seeds: std::ops::Range<u64>, callers: u64) {
    let (mut made, mut ended, mut crashes, mut messages) = (0, 0, 0, 0);
    for seed in seeds.clone() {
        let of = simulate(seed, callers, |_| false);
        (made, ended, crashes, messages) = (made + of.0, ended + of.1, crashes + of.2, messages + of.3);
    }
    println!(
        "{} runs: {made} calls, {ended} of them ended by the other side, {crashes} crashes, {messages} messages",
        seeds.end - seeds.start
    );
    assert!(made as u64 > callers * (seeds.end - seeds.start) / 4);
}

#[test]
fn whatever_the_network_does_nobody_is_in_two_calls_and_nobody_stays_alone() {
    simulate_all(0..if is_long() { 600 } else { 12 }, 1_500);
}

/// Each kind of message is needed: without it a rule is broken before long.
#[test]
fn what_is_never_said_is_missed() {
    let mutes: [(&str, Mute); 4] = [
        ("what became of picked tickets", |body| matches!(body, Body::Release { .. })),
        ("that something is missing", |body| matches!(body, Body::Again { .. })),
        ("no, and what is shared", |body| matches!(body, Body::No { .. } | Body::Audit { .. })),
        ("that somebody lives", |body| matches!(body, Body::Heartbeat(_))),
    ];
    for (name, mute) in mutes {
        let fails = |seed| std::panic::catch_unwind(|| simulate(seed, 600, mute)).is_err();
        assert!((0..24).any(fails), "nobody misses to be told {name}");
    }
}
