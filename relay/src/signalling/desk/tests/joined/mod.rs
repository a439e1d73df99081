//! Desks of one cluster, each with a relay and a clock of its own, and the bus between them as a plain queue.

mod calls;
mod crowd;
mod ends;
mod travel;
mod upgrades;
mod weather;

use super::*;
use crate::cluster::{self, Envelope, Load, NodeId, Peer, owner_of};
use crate::signalling::desk::session::Place;

/// It arrives after others that were said later.
const LATE: usize = 9;

/// What becomes of a message: how often it arrives.
type Fate = Box<dyn FnMut(usize, &Envelope) -> usize>;

/// Several desks.
pub(super) struct Nodes {
    pub(super) worlds: Vec<World>,
    alive: Vec<bool>,
    fate: Fate,
    bus: bool,
    pool: String,
    /// To be brought out of its turn.
    late: Vec<(Peer, To, Vec<u8>)>,
    lives: Vec<u64>,
    /// The time of day is the same everywhere.
    unix_ms: u64,
}

fn peer(node: usize, incarnation: u64) -> Peer {
    Peer { node: NodeId(node as u64 + 1), incarnation }
}

/// Of a desk that is one of several.
fn joined(me: Peer) -> Settings {
    let load = Load { room: 100, ..Load::default() };
    let joined = Joined { me, pepper: [3; 32], load, counters: Arc::default() };
    Settings { joined: Some(joined), tag_secret: Some([4; 32]), ..settings() }
}

impl Nodes {
    fn new(count: usize) -> Nodes {
        Nodes::with(count, |settings| settings)
    }

    fn with(count: usize, change: impl Fn(Settings) -> Settings) -> Nodes {
        let world = |node: usize| {
            let mut world = World::seeded(change(joined(peer(node, 1))), node as u8);
            // No two clocks are alike.
            world.now.mono = Millis(1_000 + node as u64 * 987_654);
            world
        };
        let worlds: Vec<World> = (0..count).map(world).collect();
        let (alive, pool) = (vec![true; count], "general".to_owned());
        let (fate, late, lives, unix_ms) =
            (Box::new(|_: usize, _: &Envelope| 1), Vec::new(), vec![1; count], 1_800_000_000_000);
        let mut nodes = Nodes { worlds, alive, fate, bus: true, pool, late, lives, unix_ms };
        nodes.pass(cluster::GATHER_MS + 10);
        nodes
    }

    /// Everybody waits in a pool from now on whose owner is that node.
    fn owned_by(mut self, owner: usize) -> Nodes {
        let all: Vec<NodeId> = (0..self.worlds.len()).map(|node| peer(node, 1).node).collect();
        let name = |number: u32| format!("pool-{number}");
        let mut pools = (0..1_000).map(name);
        self.pool = pools.find(|pool| owner_of(pool, Band::Adult, false, &all) == peer(owner, 1).node).unwrap();
        self
    }

    /// What everybody says arrives, and what they say to that.
    fn deliver(&mut self) {
        for from in (0..self.worlds.len()).cycle() {
            if self.worlds.iter().all(|world| world.said.is_empty()) {
                return;
            }
            for (to, payload) in std::mem::take(&mut self.worlds[from].said) {
                assert!(payload.len() <= crate::bus::MAX_PAYLOAD, "the bus would not take {} bytes", payload.len());
                let envelope = Envelope::decode(&payload).unwrap();
                let copies = (self.fate)(from, &envelope);
                let copies = if self.alive[from] && self.bus { copies } else { 0 };
                if copies == LATE {
                    self.late.push((envelope.from, to, payload));
                    continue;
                }
                for _ in 0..copies {
                    self.bring(&envelope.from, to, &payload);
                }
            }
        }
    }

    fn bring(&mut self, from: &Peer, to: To, payload: &[u8]) {
        for (node, world) in self.worlds.iter_mut().enumerate() {
            let meant = matches!(to, To::Everybody) || to == To::Node(peer(node, 1).node);
            if self.alive[node] && meant && from.node != peer(node, 1).node {
                world.desk.handle_bus(world.now, *from, payload);
                world.collect();
            }
        }
    }

    /// Time passes, every deadline of every node in its turn.
    pub(super) fn pass(&mut self, mut millis: u64) {
        loop {
            self.deliver();
            for (from, to, payload) in std::mem::take(&mut self.late) {
                self.bring(&from, to, &payload);
            }
            self.deliver();
            let due = |world: &World| world.desk.poll_timeout().map(|at| at.since(world.now.mono));
            let next = self.worlds.iter().zip(&self.alive).filter(|(_, alive)| **alive).filter_map(|(it, _)| due(it));
            let step = next.min().unwrap_or(millis).min(millis);
            self.unix_ms += step;
            for (world, alive) in self.worlds.iter_mut().zip(&self.alive) {
                world.now = Now { unix: Unix(self.unix_ms / 1_000), ..world.now.after(step) };
                if *alive && world.desk.poll_timeout().is_some_and(|at| at <= world.now.mono) {
                    world.desk.handle_timeout(world.now);
                    world.collect();
                }
            }
            if step == millis && self.worlds.iter().all(|world| world.said.is_empty()) {
                return;
            }
            millis -= step;
        }
    }

    fn set_bus(&mut self, up: bool) {
        self.bus = up;
        for world in &mut self.worlds {
            world.desk.handle_bus_state(world.now, up);
            world.collect();
        }
        self.deliver();
    }

    fn set_room(&mut self, node: usize, room: u32) {
        let world = &mut self.worlds[node];
        world.desk.set_load(world.now, Load { room, ..Load::default() });
        world.collect();
        self.pass(cluster::HEARTBEAT_MS);
    }

    fn profile(&self, who: u64) -> Profile {
        Profile { pool: Some(self.pool.clone()), card: Some(json!({ "n": who })), ..profile(who) }
    }

    fn enter(&mut self, node: usize, who: u64) -> Value {
        let profile = self.profile(who);
        let welcome = self.worlds[node].enter_as(who, &profile);
        self.deliver();
        welcome
    }

    fn say(&mut self, node: usize, who: u64, frame: Value) {
        self.worlds[node].say(who, frame);
        self.deliver();
    }

    fn hear(&mut self, node: usize, who: u64, t: &str) -> Value {
        self.worlds[node].hear(who, t)
    }

    /// Waits; with an offer if there is one.
    fn queue(&mut self, node: usize, who: u64, offer: bool) {
        let offer = offer.then(|| json!({ "gen": 1, "sdp": CHROMIUM }));
        self.say(node, who, json!({ "t": "queue", "q": 2, "offer": offer }));
        self.hear(node, who, "queued");
    }

    /// 1 waits at node 0, 2 arrives at node 1; both have heard `matched` and said `ack`.
    fn match_two(&mut self, offer: bool) -> (String, Value, Value) {
        for (node, who) in [(0, 1), (1, 2)] {
            self.enter(node, who);
            self.queue(node, who, offer);
        }
        let (a, b) = (self.hear(0, 1, "matched"), self.hear(1, 2, "matched"));
        assert_eq!(a["call"], b["call"]);
        let call = a["call"].as_str().unwrap().to_owned();
        for (node, who) in [(0, 1), (1, 2)] {
            self.say(node, who, json!({ "t": "ack", "call": call }));
        }
        (call, a, b)
    }

    /// Describes, connects: the call stands.
    fn connect(&mut self, call: &str) {
        self.say(0, 1, json!({ "t": "offer", "call": call, "gen": 1, "sdp": CHROMIUM }));
        self.hear(1, 2, "offer");
        self.say(1, 2, json!({ "t": "answer", "call": call, "gen": 1, "sdp": FIREFOX_ANSWER }));
        self.hear(0, 1, "answer");
        self.both_connect(call);
    }

    fn both_connect(&mut self, call: &str) {
        for (node, who) in [(0, 1), (1, 2)] {
            self.say(node, who, json!({ "t": "ice", "call": call, "s": "connected" }));
        }
        for (node, who) in [(0, 1), (1, 2)] {
            self.hear(node, who, "connected");
        }
    }

    /// 1 and 2 talk, one at each of the two nodes.
    fn talking(&mut self) -> String {
        let (call, ..) = self.match_two(false);
        self.connect(&call);
        call
    }

    /// That node is gone, and everybody with it.
    fn crash(&mut self, node: usize) {
        self.alive[node] = false;
        self.worlds[node].said.clear();
    }

    /// Another life of it.
    fn revive(&mut self, node: usize) {
        self.alive[node] = true;
        self.lives[node] += 1;
        let mut world = World::seeded(joined(peer(node, self.lives[node])), (10 * self.lives[node]) as u8 + node as u8);
        world.now = self.worlds[node].now;
        self.worlds[node] = world;
    }

    fn living(&self) -> impl Iterator<Item = (usize, &World)> {
        self.worlds.iter().enumerate().filter(|(node, _)| self.alive[*node])
    }

    /// At any moment: every place is what it says, and nothing is open on a relay without a reason.
    fn judge_each(&self) {
        for (node, world) in self.living() {
            let desk = &world.desk;
            let (mut seated, mut abroad, mut handles) = (0, 0, 0);
            for (connection, session) in &desk.sessions {
                handles += usize::from(session.caller.as_ref().is_some_and(|caller| caller.warm.is_some()));
                match &session.place {
                    Place::New => assert!(!desk.is_guest(*connection)),
                    Place::Idle => assert!(!desk.is_guest(*connection), "a guest without a call at {node}"),
                    Place::Paused(paused) => handles += usize::from(paused.handle.is_some()),
                    Place::Queued(waiting) => {
                        assert_eq!(desk.waiting[&waiting.id], *connection);
                        handles += 1;
                    }
                    Place::InCall(call, side) => {
                        assert_eq!(desk.calls[call].seat(*side).connection, *connection);
                        seated += 1;
                        handles += 1;
                    }
                    Place::Abroad(place) => {
                        assert_eq!(desk.shared[&place.call], *connection);
                        abroad += 1;
                    }
                }
            }
            assert_eq!((seated, abroad + desk.guests.len()), (2 * desk.calls.len(), desk.shared.len()), "at {node}");
            assert_eq!(world.open_handles(), handles, "at {node}");
            assert_eq!(desk.waiting.len(), desk.queues.waiting(), "at {node}");
            let Queues::Joined(cluster) = &desk.queues else { panic!("it is joined") };
            assert_eq!(desk.shared.len(), cluster.shared().0, "at {node}");
        }
    }

    /// Once everything has been said: whoever is a guest somewhere is abroad at home, and the other way round.
    fn judge_together(&self) {
        self.judge_each();
        let mut sides: BTreeMap<cluster::CallId, Vec<&str>> = BTreeMap::new();
        for (_, world) in self.living() {
            for (call, connection) in &world.desk.shared {
                let side = if world.desk.is_guest(*connection) { "host" } else { "home" };
                sides.entry(*call).or_default().push(side);
            }
        }
        for (call, mut sides) in sides {
            sides.sort_unstable();
            assert_eq!(sides, ["home", "host"], "{call:?}");
        }
    }

    /// Handles open at each node.
    fn open(&self) -> Vec<usize> {
        self.worlds.iter().map(World::open_handles).collect()
    }

    /// Everybody leaves, and nothing is left of them anywhere.
    fn assert_nothing_left(&mut self) {
        for node in 0..self.worlds.len() {
            let own =
                |world: &World| world.desk.sessions.keys().copied().filter(|at| !world.desk.is_guest(*at)).collect();
            let connections: Vec<Connection> = own(&self.worlds[node]);
            connections.into_iter().for_each(|connection| self.worlds[node].leave(connection.0));
            self.deliver();
        }
        self.pass(20_000);
        for (_, world) in self.living() {
            world.assert_nothing_left();
        }
    }
}

#[test]
fn two_people_of_one_node_are_matched_as_if_there_were_no_other() {
    let mut world = World::with(joined(peer(0, 1)));
    let call = world.talking();
    world.say(1, json!({ "t": "hangup", "call": call }));
    assert_eq!(world.hear(1, "ended")["by"], "self");
    assert_eq!(world.hear(2, "ended")["by"], "peer");
    [1, 2].iter().for_each(|who| world.leave(*who));
    world.assert_nothing_left();
    let bodies = world.said.iter().map(|(_, payload)| Envelope::decode(payload).unwrap().body);
    assert!(bodies.into_iter().all(|body| matches!(body, cluster::Body::Heartbeat(_))), "there is nobody to tell");
}
