//! What matching over many nodes costs, in virtual time: nodes that are the real machine, a network that delays, callers by the million.
//!
//! `cargo bench -p benches --bench cluster [-- nodes waiting pools arrivals_per_sec]` (100, 1,000,000, 500 and 10,000 by default). What is said
//! of messages, bytes, hops and virtual time is exact and the same on every machine. What is said of real time is this machine's.
//!
//! Pools are as unequal as they are in life (the nth has a share of 1/n^0.8). A million people who fit nobody fill the queues; then newcomers
//! arrive who each fit somebody, others take the places that become free, and some leave.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use relay::cluster::{Body, CallId, Cluster, Counters, Envelope, Load, NodeId, Output, Peer, Settings, To};
use relay::matchmaking::{
    Band, Countries, Country, Gender, GenderSet, Level, Person, Policy, Ticket, TicketId, TopicMode, TopicSet,
};
use relay::time::{Millis, Now};

const SECOND: u64 = 1_000_000;
/// Of one message, in microseconds: the measured p50 of publish and deliver over NATS is in the middle (matching.md §4.13).
const DELAY: std::ops::Range<u64> = 20..50;
const AVOIDS: usize = 5;

enum Event {
    Arrive { to: usize, bytes: Vec<u8> },
    Wake(usize),
    Newcomer,
    Waiter,
    Leave,
    End { node: usize, call: CallId },
}

/// What was said of one kind.
#[derive(Clone, Copy, Default)]
struct Said {
    messages: u64,
    bytes: u64,
}

struct Node {
    cluster: Option<Cluster>,
    counters: Arc<Counters>,
    wake: u64,
    /// Real time spent in the machine.
    busy: Duration,
    /// Messages heard.
    heard: u64,
}

struct Simulation {
    rng: StdRng,
    now: u64,
    order: u64,
    events: BinaryHeap<Reverse<(u64, u64)>>,
    what: HashMap<u64, Event>,
    nodes: Vec<Node>,
    /// Cumulative shares of the pools.
    shares: Vec<f64>,
    names: Vec<String>,
    tickets: u64,
    /// Who waits and fits no waiter: where, and which ticket.
    crowd: Vec<(usize, u64)>,
    /// When a newcomer came.
    came: HashMap<u64, u64>,
    waits: Vec<u64>,
    matches: u64,
    within: u64,
    said: BTreeMap<&'static str, Said>,
    bus: bool,
    /// The bus keeps the order between two nodes.
    latest: HashMap<(usize, usize), u64>,
    /// When tickets were last heard of.
    told: u64,
}

fn kind(body: &Body) -> &'static str {
    match body {
        Body::Heartbeat(_) => "heartbeat",
        Body::Tickets { ops, .. } if ops.is_empty() => "mark",
        Body::Tickets { .. } => "tickets",
        Body::Again { .. } => "again",
        Body::Release { .. } => "release",
        Body::Turned { .. } => "turned",
        Body::Ask { .. } | Body::Standings { .. } => "standing",
        Body::Claim(_) => "claim",
        Body::Denied { .. } => "denied",
        Body::Grant { .. } => "grant",
        Body::Commit { .. } => "commit",
        Body::Confirmed { .. } => "confirmed",
        Body::No { .. } => "no",
        Body::Frame { .. } => "frame",
        Body::Audit { .. } => "audit",
    }
}

impl Simulation {
    fn new(nodes: usize, waiting: usize, pools: usize) -> Simulation {
        let mut shares: Vec<f64> = (1..=pools).map(|n| (n as f64).powf(-0.8)).collect();
        let total: f64 = shares.iter().sum();
        let mut sum = 0.0;
        for share in &mut shares {
            sum += *share / total;
            *share = sum;
        }
        let mut simulation = Simulation {
            rng: StdRng::seed_from_u64(1),
            now: SECOND,
            order: 0,
            events: BinaryHeap::new(),
            what: HashMap::new(),
            nodes: Vec::new(),
            names: (0..pools).map(|pool| format!("language-{pool}")).collect(),
            shares,
            tickets: 0,
            crowd: Vec::new(),
            came: HashMap::new(),
            waits: Vec::new(),
            matches: 0,
            within: 0,
            said: BTreeMap::new(),
            bus: true,
            latest: HashMap::new(),
            told: 0,
        };
        let max_tickets = if pools >= 100 { waiting / 5 + 20_000 } else { waiting * 3 / 2 };
        for number in 0..nodes {
            let policy = Policy { max_tickets, max_pools: pools + 1, ..Policy::default() };
            let load = Load { room: 10_000, calls: 0, draining: false };
            let settings = Settings { joins: true, load, ..Settings::alone(policy) };
            let counters = Arc::new(Counters::default());
            let me = Peer { node: NodeId(number as u64), incarnation: 1 };
            let cluster = Cluster::new(settings, simulation.clock(), me, Arc::clone(&counters));
            let node = Node { cluster: Some(cluster), counters, wake: u64::MAX, busy: Duration::ZERO, heard: 0 };
            simulation.nodes.push(node);
            simulation.drain(number);
        }
        simulation
    }

    fn clock(&self) -> Now {
        Now { mono: Millis(self.now / 1_000), micros: (self.now % 1_000) as u16, ..Now::default() }
    }

    fn at(&mut self, at: u64, event: Event) {
        self.order += 1;
        self.events.push(Reverse((at, self.order)));
        self.what.insert(self.order, event);
    }

    fn with<T>(&mut self, number: usize, what: impl FnOnce(&mut Cluster, Now) -> T) -> Option<T> {
        let (clock, node) = (self.clock(), &mut self.nodes[number]);
        let cluster = node.cluster.as_mut()?;
        let start = Instant::now();
        let result = what(cluster, clock);
        node.busy += start.elapsed();
        self.drain(number);
        Some(result)
    }

    fn drain(&mut self, number: usize) {
        while let Some(output) = self.nodes[number].cluster.as_mut().and_then(Cluster::poll_output) {
            match output {
                Output::Send { to, envelope } => self.send(number, to, &envelope),
                Output::Paired(pair) => {
                    self.within += 1;
                    self.met([pair.waiter.0, pair.arrival.0]);
                }
                Output::Matched(matched) => {
                    let (call, ticket) = (matched.call, matched.ticket);
                    self.nodes[number].cluster.as_mut().unwrap().connected(call);
                    if matched.leads {
                        self.at(self.now + SECOND, Event::End { node: number, call });
                    }
                    self.met([ticket, ticket]);
                }
                Output::Ended { .. } | Output::Partner { .. } | Output::Passed { .. } => {}
                Output::Turned { why, .. } => panic!("turned away: {why:?}"),
            }
        }
        let Some(at) = self.nodes[number].cluster.as_ref().and_then(Cluster::poll_timeout) else { return };
        let at = (at.0 * 1_000).max(self.now + 1);
        if at < self.nodes[number].wake {
            self.nodes[number].wake = at;
            self.at(at, Event::Wake(number));
        }
    }

    /// One or two tickets are in a call; those of newcomers say how long that took.
    fn met(&mut self, tickets: [u64; 2]) {
        for ticket in tickets {
            if let Some(came) = self.came.remove(&ticket) {
                self.waits.push(self.now - came);
                self.matches += 1;
            }
        }
    }

    fn send(&mut self, from: usize, to: To, envelope: &Envelope) {
        if !self.bus {
            return;
        }
        let bytes = envelope.encode();
        let said = self.said.entry(kind(&envelope.body)).or_default();
        said.messages += 1;
        said.bytes += bytes.len() as u64;
        let to: Vec<usize> = match to {
            To::Everybody => (0..self.nodes.len()).filter(|&node| node != from).collect(),
            To::Node(node) => vec![node.0 as usize],
        };
        for to in to {
            let latest = self.latest.entry((from, to)).or_default();
            *latest = (self.now + self.rng.random_range(DELAY)).max(*latest + 1);
            let at = *latest;
            if matches!(&envelope.body, Body::Tickets { ops, .. } if !ops.is_empty()) {
                self.told = at;
            }
            self.at(at, Event::Arrive { to, bytes: bytes.clone() });
        }
    }

    fn ticket(&mut self, gender: Gender, wants: Gender) -> Ticket {
        self.tickets += 1;
        let rng = &mut self.rng;
        Ticket {
            id: TicketId(self.tickets),
            person: Person(rng.random()),
            band: Band::Adult,
            gender,
            wants: GenderSet::NONE.with(wants),
            level: Level::ALL[(rng.random_range(0..4) + rng.random_range(0..3)) as usize],
            max_distance: 5,
            topics: (0..rng.random_range(0..4)).map(|_| rng.random_range(0..32_u8)).collect::<TopicSet>(),
            topic_mode: TopicMode::Prefer,
            avoid: (0..AVOIDS).map(|_| Person(rng.random())).collect(),
            recent: Vec::new(),
            country: Country::UNKNOWN,
            countries: Countries::ANY,
            meeting: None,
            since: self.clock().mono,
        }
    }

    fn somewhere(&mut self) -> (usize, String) {
        let node = loop {
            let node = self.rng.random_range(0..self.nodes.len());
            if self.nodes[node].cluster.is_some() {
                break node;
            }
        };
        let share: f64 = self.rng.random();
        let pool = self.shares.partition_point(|sum| *sum < share).min(self.names.len() - 1);
        (node, self.names[pool].clone())
    }

    /// Women want men, men want the third gender, who want women: nobody fits anybody.
    fn waiter(&mut self) {
        let (gender, wants) =
            [(Gender::F, Gender::M), (Gender::M, Gender::X), (Gender::X, Gender::F)][self.rng.random_range(0..3)];
        let ticket = self.ticket(gender, wants);
        let (node, pool) = self.somewhere();
        self.crowd.push((node, ticket.id.0));
        self.with(node, |cluster, now| cluster.enqueue(now, &pool, ticket)).unwrap().unwrap();
    }

    /// Fits a third of those who wait.
    fn newcomer(&mut self) {
        let (gender, wants) =
            [(Gender::M, Gender::F), (Gender::X, Gender::M), (Gender::F, Gender::X)][self.rng.random_range(0..3)];
        let ticket = self.ticket(gender, wants);
        let (node, pool) = self.somewhere();
        self.came.insert(ticket.id.0, self.now);
        self.with(node, |cluster, now| cluster.enqueue(now, &pool, ticket)).unwrap().unwrap();
    }

    fn leave(&mut self) {
        let place = self.rng.random_range(0..self.crowd.len());
        let (node, ticket) = self.crowd.swap_remove(place);
        self.with(node, |cluster, now| cluster.cancel(now, TicketId(ticket)));
    }

    fn run_until(&mut self, until: u64) {
        while let Some(Reverse((at, order))) = self.events.peek().copied() {
            if at > until {
                break;
            }
            self.events.pop();
            self.now = at;
            match self.what.remove(&order).unwrap() {
                Event::Arrive { to, bytes } => {
                    self.nodes[to].heard += 1;
                    self.with(to, |cluster, now| cluster.handle_bytes(now, &bytes));
                }
                Event::Wake(node) => {
                    if self.nodes[node].wake <= self.now {
                        self.nodes[node].wake = u64::MAX;
                        self.with(node, |cluster, now| cluster.handle_timeout(now));
                    }
                }
                Event::Newcomer => self.newcomer(),
                Event::Waiter => self.waiter(),
                Event::Leave => self.leave(),
                Event::End { node, call } => _ = self.with(node, |cluster, now| cluster.end(now, call)),
            }
        }
        self.now = until;
    }

    fn spread(&mut self, many: u64, over: u64, event: impl Fn() -> Event) {
        for _ in 0..many {
            let at = self.now + self.rng.random_range(0..over);
            self.at(at, event());
        }
    }

    fn begin(&mut self) {
        self.said.clear();
        self.waits.clear();
        (self.matches, self.within) = (0, 0);
        for node in &mut self.nodes {
            (node.busy, node.heard) = (Duration::ZERO, 0);
        }
    }

    fn total(&self, of: &[&str]) -> Said {
        let all = self.said.iter().filter(|(kind, _)| of.is_empty() || of.contains(kind));
        all.fold(Said::default(), |sum, (_, said)| Said {
            messages: sum.messages + said.messages,
            bytes: sum.bytes + said.bytes,
        })
    }

    fn counted(&self, count: impl Fn(&Counters) -> u64) -> u64 {
        self.nodes.iter().map(|node| count(&node.counters)).sum()
    }

    fn owned(&self) -> Vec<u64> {
        self.nodes.iter().filter(|node| node.cluster.is_some()).map(|node| node.counters.owned()).collect()
    }

    fn busiest(&self) -> (f64, f64) {
        let busy: Vec<f64> = self.nodes.iter().map(|node| node.busy.as_secs_f64()).collect();
        (busy.iter().sum(), busy.iter().copied().fold(0.0, f64::max))
    }
}

fn percentile(sorted: &[u64], part: f64) -> u64 {
    sorted.get(((sorted.len() as f64 * part) as usize).min(sorted.len().saturating_sub(1))).copied().unwrap_or(0)
}

fn main() {
    let numbers: Vec<u64> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let number = |place: usize, default: u64| numbers.get(place).copied().unwrap_or(default);
    let (nodes, waiting, pools, rate) = (number(0, 100), number(1, 1_000_000), number(2, 500), number(3, 10_000));
    println!("{nodes} nodes, {waiting} waiting, {pools} pools, {rate} newcomers/s");
    let mut simulation = Simulation::new(nodes as usize, waiting as usize, pools as usize);
    simulation.run_until(3 * SECOND);
    fill(&mut simulation, waiting);
    churn(&mut simulation, rate);
    if nodes > 1 {
        death(&mut simulation, rate);
        outage(&mut simulation);
    }
    imbalance(nodes);
}

fn fill(simulation: &mut Simulation, waiting: u64) {
    simulation.begin();
    let start = Instant::now();
    simulation.spread(waiting, 10 * SECOND, || Event::Waiter);
    simulation.run_until(simulation.now + 11 * SECOND);
    let (announced, owned) = (simulation.total(&["tickets"]), simulation.owned());
    let most = owned.iter().copied().max().unwrap_or(0);
    let mean = owned.iter().sum::<u64>() as f64 / owned.len() as f64;
    println!("\nfilled in 10 s of virtual, {:.0} s of real time", start.elapsed().as_secs_f64());
    println!(
        "  announcements: {} messages, {:.0} bytes each (with {AVOIDS} to avoid)",
        announced.messages,
        announced.bytes as f64 / announced.messages.max(1) as f64
    );
    println!("  tickets per owner: mean {mean:.0}, most {most} ({:.2} x the mean)", most as f64 / mean);
    let (all, busiest) = simulation.busiest();
    println!("  machine: {:.2} us a ticket, {busiest:.2} s at the busiest node of 10 s", all / waiting as f64 * 1e6);
}

fn churn(simulation: &mut Simulation, rate: u64) {
    // Patience widens in the first ten seconds: let it be over.
    simulation.run_until(simulation.now + 2 * SECOND);
    simulation.begin();
    let before = [Counters::proposed, Counters::leases_expired, Counters::releases].map(|c| simulation.counted(c));
    let denied = |simulation: &Simulation| simulation.counted(|c| c.denials().iter().map(|(_, count)| count).sum());
    let denied_before = denied(simulation);
    let seconds = 5;
    let many = rate * seconds;
    simulation.spread(many, seconds * SECOND, || Event::Newcomer);
    simulation.spread(many, seconds * SECOND, || Event::Waiter);
    simulation.spread(many / 5, seconds * SECOND, || Event::Leave);
    simulation.run_until(simulation.now + (seconds + 2) * SECOND);
    let after = [Counters::proposed, Counters::leases_expired, Counters::releases].map(|c| simulation.counted(c));
    let mut waits = std::mem::take(&mut simulation.waits);
    waits.sort_unstable();
    let matches = simulation.matches as f64;
    println!("\n{rate} newcomers/s for {seconds} s, as many new to the crowd, a fifth as many leave");
    println!("  matched: {} of {many}; {} within one node", simulation.matches, simulation.within);
    println!(
        "  newcomer to its match: p50 {} us, p99 {} us, most {} us of virtual time (a hop is {}-{} us)",
        percentile(&waits, 0.5),
        percentile(&waits, 0.99),
        waits.last().copied().unwrap_or(0),
        DELAY.start,
        DELAY.end
    );
    println!("  {:<10} {:>10} {:>14} {:>14}", "", "messages", "messages/match", "bytes/match");
    for (kind, said) in &simulation.said {
        let per = |count: u64| count as f64 / matches;
        println!("  {kind:<10} {:>10} {:>14.3} {:>14.1}", said.messages, per(said.messages), per(said.bytes));
    }
    let claims = simulation.total(&["claim", "grant", "commit", "confirmed", "denied", "release"]);
    println!(
        "  claims by themselves: {:.2} messages, {:.0} bytes a match",
        claims.messages as f64 / matches,
        claims.bytes as f64 / matches
    );
    println!(
        "  proposed {}, denied {} ({:.3} %), leases expired {}, released {}",
        after[0] - before[0],
        denied(simulation) - denied_before,
        (denied(simulation) - denied_before) as f64 / (after[0] - before[0]).max(1) as f64 * 100.0,
        after[1] - before[1],
        after[2] - before[2]
    );
    let (all, busiest) = simulation.busiest();
    let heard = simulation.nodes.iter().map(|node| node.heard).max().unwrap_or(0);
    println!(
        "  machine: {:.1} us a match over all nodes; busiest node {busiest:.2} s of {} s, most heard by one {heard}",
        all / matches * 1e6,
        seconds + 2
    );
}

/// The node that owns most dies, with its callers.
fn death(simulation: &mut Simulation, rate: u64) {
    let owned: Vec<u64> = simulation.nodes.iter().map(|node| node.counters.owned()).collect();
    let victim = (0..owned.len()).max_by_key(|&node| owned[node]).unwrap();
    simulation.begin();
    let announced = simulation.counted(Counters::announced);
    simulation.nodes[victim].cluster = None;
    simulation.crowd.retain(|(node, _)| *node != victim);
    let died = simulation.now;
    simulation.run_until(simulation.now + 4 * SECOND);
    let said = simulation.total(&["tickets"]);
    println!("\nthe owner of {} tickets dies", owned[victim]);
    println!(
        "  announced again: {} tickets in {} messages, {:.1} MB; the last is heard {} ms after the death, which is noticed after 2000",
        simulation.counted(Counters::announced) - announced,
        said.messages,
        said.bytes as f64 / 1e6,
        simulation.told.saturating_sub(died) / 1_000
    );
    let (_, busiest) = simulation.busiest();
    println!("  busiest node: {:.0} ms of real time in 4 s", busiest * 1e3);
    simulation.begin();
    simulation.spread(rate, SECOND, || Event::Newcomer);
    simulation.run_until(simulation.now + 3 * SECOND);
    println!("  newcomers matched after it: {} of {rate}", simulation.matches);
}

/// The bus is down for three seconds.
fn outage(simulation: &mut Simulation) {
    let nodes: Vec<usize> =
        (0..simulation.nodes.len()).filter(|&node| simulation.nodes[node].cluster.is_some()).collect();
    simulation.begin();
    let start = Instant::now();
    simulation.bus = false;
    for &node in &nodes {
        simulation.with(node, |cluster, now| cluster.handle_bus(now, false));
    }
    simulation.run_until(simulation.now + 3 * SECOND);
    simulation.bus = true;
    let announced = simulation.counted(Counters::announced);
    for &node in &nodes {
        simulation.with(node, |cluster, now| cluster.handle_bus(now, true));
    }
    let back = simulation.now;
    simulation.run_until(simulation.now + 4 * SECOND);
    let said = simulation.total(&["tickets"]);
    println!("\nthe bus is down for 3 s");
    println!(
        "  announced again: {} tickets in {} messages, {:.1} MB; {:.1} s of real time in all",
        simulation.counted(Counters::announced) - announced,
        said.messages,
        said.bytes as f64 / 1e6,
        start.elapsed().as_secs_f64()
    );
    println!(
        "  busiest node: {:.0} ms of real time; the last ticket is heard of {} ms after the bus is back",
        simulation.busiest().1 * 1e3,
        simulation.told.saturating_sub(back) / 1_000
    );
    let total = simulation.total(&["heartbeat"]);
    println!("  heartbeats meanwhile: {} published", total.messages);
}

/// How unequal owners are by chance alone: pools of one size, owners by the machine's own choice.
fn imbalance(nodes: u64) {
    println!(
        "\nowners by rendezvous over {nodes} nodes, pools of one size: most owned by one, times the mean; nodes that own none"
    );
    let others: Vec<NodeId> = (0..nodes).map(NodeId).collect();
    for pools in [1, 10, 100, 1_000, 10_000] {
        let mut owned: HashMap<NodeId, u64> = HashMap::new();
        for pool in 0..pools {
            *owned
                .entry(relay::cluster::owner_of(&format!("language-{pool}"), Band::Adult, false, &others))
                .or_default() += 1;
        }
        let most = owned.values().copied().max().unwrap_or(0) as f64;
        println!(
            "  {pools:>6} pools: {:.2} x, {} own none",
            most / (pools as f64 / nodes as f64),
            nodes - owned.len() as u64
        );
    }
}
