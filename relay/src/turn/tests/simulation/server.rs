//! The server, its two clients and a peer, and what must hold at every step.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::honest::Honest;
use super::network::{Event, Network};
use super::shadow::Shadow;
use crate::auth::Credential;
use crate::calls::Handle;
use crate::turn::tests::world::*;
use crate::turn::*;
use crate::wire::{Message, MessageClass, Method};

const CLIENTS: usize = 2;
/// Who the peer outside is in payloads.
const PEER: u8 = 9;
const HANDLES: [Handle; CLIENTS] = [Handle([1; 12]), Handle([2; 12])];
/// By then everybody must have heard from everybody, on top of how long they talk.
const PATIENCE: u64 = 4 * 3_600_000;
const SETTLED: u64 = 2 * 3_600_000;

pub(super) struct Simulation {
    random: ChaCha8Rng,
    network: Network,
    world: World,
    clients: Vec<Honest>,
    tuples: Vec<FiveTuple>,
    shadow: Shadow,
    sockets: BTreeMap<RelayedPort, usize>,
    captured: Vec<(usize, Vec<u8>)>,
    /// A call by call-bound credentials, rather than two users.
    call: bool,
    call_is_over: bool,
    polite: bool,
    arrived: u64,
    ports: usize,
    last_words: u64,
    farewell_said: bool,
}

impl Simulation {
    pub(super) fn new(seed: u64) -> Simulation {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let network = Network::new(&mut random);
        let workers = random.random_range(1..=2_u16);
        let call = random.random_bool(0.4);
        let world = World::new(settings(), workers);
        let by_channel = random.random_bool(0.6);
        let pace = [1_000, 7_000, 40_000][random.random_range(0..3_usize)];
        if call {
            HANDLES.iter().for_each(|handle| world.shared.ledger.open(*handle).unwrap());
            world.shared.ledger.pair(HANDLES[0], HANDLES[1]).unwrap();
        }
        let credential = |who: usize| match call {
            true => world.call_keys.mint(world.now, HANDLES[who], 1, 36_000),
            false => user(["alice", "bob"][who]),
        };
        let clients = (0..CLIENTS).map(|who| Honest::new(who as u8, credential(who), by_channel, pace)).collect();
        let talk = [20_000, 400_000, 1_300_000, 4_500_000][random.random_range(0..4_usize)];
        let mut simulation = Simulation {
            polite: random.random_bool(0.7),
            ports: world.free_ports(),
            last_words: world.now.mono.0 + talk,
            random,
            network,
            world,
            clients,
            tuples: (0..CLIENTS).map(tuple).collect(),
            shadow: Shadow::default(),
            sockets: BTreeMap::new(),
            captured: Vec::new(),
            call,
            call_is_over: false,
            arrived: 0,
            farewell_said: false,
        };
        simulation.network.certainly(simulation.last_words, Event::Farewell);
        simulation
    }

    /// To the end; how many events there were.
    pub(super) fn run(mut self) -> u64 {
        let mut steps = 0;
        while let Some(next) = self.next_at() {
            self.go_to(next);
            self.run_timers();
            while let Some(event) = self.network.arrive(self.now()) {
                self.happen(event);
                self.check();
                steps += 1;
            }
            for who in 0..CLIENTS {
                let now = self.now();
                if let Some(bytes) = self.clients[who].poll(now) {
                    self.leave_client(who, bytes);
                }
            }
            assert!(self.now() < self.last_words + PATIENCE, "they never heard from each other");
        }
        self.settle();
        steps
    }

    fn carry(&mut self, event: &Event) {
        self.network.carry(&mut self.random, self.world.now.mono.0, event);
    }

    fn now(&self) -> u64 {
        self.world.now.mono.0
    }

    fn next_at(&self) -> Option<u64> {
        let clients = self.clients.iter().filter_map(|client| client.wakes_at(self.now()));
        let work = clients.chain(self.network.next_at()).min()?;
        let timers = self.world.workers.iter().filter_map(Turn::poll_timeout).map(|at| at.0);
        timers.chain([work]).min()
    }

    fn go_to(&mut self, at: u64) {
        self.world.now = self.world.now.after(at.saturating_sub(self.now()));
    }

    fn run_timers(&mut self) {
        for worker in 0..self.world.workers.len() {
            if self.world.workers[worker].poll_timeout().is_some_and(|at| at <= self.world.now.mono) {
                self.world.workers[worker].handle_timeout(self.world.now);
                self.act(worker, None);
            }
        }
        self.check();
    }

    fn happen(&mut self, event: Event) {
        let now = self.now();
        match event {
            Event::AtServer { client, stranger, bytes } => self.at_server(client, stranger, &bytes),
            Event::AtClient { client, bytes } => {
                let before = self.clients[client].relayed;
                self.clients[client].handle(now, &bytes);
                if self.clients[client].relayed != before {
                    self.network.certainly(now + 50, Event::News);
                }
            }
            // It talks back: for whoever spoke, from the peer.
            Event::AtPeer { from, bytes } => {
                let bytes = vec![bytes[1], PEER, 0xEC, 0x40];
                self.carry(&Event::AtRelayed { port: from, host: 1, bytes });
            }
            Event::AtRelayed { port, host, bytes } => self.at_relayed(port, host, &bytes),
            Event::Opened { worker, port, works } => {
                if works {
                    assert!(self.sockets.insert(port, worker).is_none(), "opened twice");
                }
                let result = if works { Ok(()) } else { Err(OpenError::InUse) };
                self.world.workers[worker].handle_opened(self.world.now, port, result);
                self.act(worker, None);
            }
            Event::CallOver { worker, port } => {
                self.world.workers[worker].handle_command(self.world.now, Command::Close(port));
                self.act(worker, None);
            }
            Event::News => self.tell_news(),
            Event::Farewell => self.farewell(),
        }
    }

    fn tell_news(&mut self) {
        let now = self.now();
        for who in 0..CLIENTS {
            if let Some(at) = self.clients[1 - who].relayed {
                self.clients[who].meet(now, 1 - who as u8, at);
            }
            if !self.call {
                self.clients[who].meet(now, PEER, outside(1));
            }
        }
    }

    /// Everybody has heard from everybody: they go, politely or not. Until then they talk on.
    fn farewell(&mut self) {
        let expected = |who: usize| if self.call { vec![1 - who as u8] } else { vec![1 - who as u8, PEER] };
        let heard = |who: usize| expected(who).iter().all(|other| self.clients[who].heard.contains(other));
        if !(0..CLIENTS).all(heard) {
            return self.network.certainly(self.now() + 5_000, Event::Farewell);
        }
        self.farewell_said = true;
        if self.call {
            for (worker, port) in self.world.shared.ledger.close(HANDLES[0]) {
                let at = self.now() + self.random.random_range(0..2_000);
                self.network.certainly(at, Event::CallOver { worker: usize::from(worker), port });
            }
            self.call_is_over = true;
            self.shadow.forget_all();
        }
        for client in &mut self.clients {
            client.leaving = true;
            client.gone = !self.polite || self.call || client.relayed.is_none();
        }
    }

    fn leave_client(&mut self, who: usize, bytes: Vec<u8>) {
        if self.captured.len() < 50 {
            self.captured.push((who, bytes.clone()));
        }
        let event = Event::AtServer { client: who, stranger: false, bytes };
        self.carry(&event);
        if self.random.random_bool(0.05) {
            self.mischief();
        }
    }

    /// A stranger sends again what it saw, or writes to relayed ports.
    fn mischief(&mut self) {
        let (client, bytes) = self.captured[self.random.random_range(0..self.captured.len())].clone();
        let replay = Event::AtServer { client, stranger: true, bytes };
        self.carry(&replay);
        if let Some(port) = self.sockets.keys().next().copied() {
            let unwanted = Event::AtRelayed { port, host: 66, bytes: vec![0, 66] };
            self.carry(&unwanted);
        }
    }

    fn at_server(&mut self, client: usize, stranger: bool, bytes: &[u8]) {
        let worker = client % self.world.workers.len();
        let own = self.tuples[client];
        let from = if stranger { FiveTuple { remote: outside(66), ..own } } else { own };
        let (mut buffer, data) = with_room(bytes);
        let machine = &mut self.world.workers[worker];
        let forward = machine.handle_client(self.world.now, &from, &mut Packet::new(&mut buffer, data));
        self.arrived += 1;
        match forward {
            Forward::None => {}
            _ if stranger => panic!("a stranger's data is relayed"),
            Forward::ToPeer { from, to, data, .. } => self.towards_peer(client, from, to, &buffer[data]),
            Forward::ToClient { to, data } => self.towards_client(Some(client), to, None, &buffer[data]),
        }
        self.act(worker, Some((client, stranger, bytes)));
    }

    fn at_relayed(&mut self, port: RelayedPort, host: u8, bytes: &[u8]) {
        let Some(&worker) = self.sockets.get(&port) else { return };
        let (mut buffer, data) = with_room(bytes);
        let machine = &mut self.world.workers[worker];
        let forward = machine.handle_peer(self.world.now, port, outside(host), &mut Packet::new(&mut buffer, data));
        self.arrived += 1;
        if let Forward::ToClient { to, data } = forward {
            self.towards_client(None, to, Some(host), &buffer[data]);
        }
        self.act(worker, None);
    }

    /// Nothing goes to a peer without a permission at that time.
    fn towards_peer(&mut self, client: usize, from: RelayedPort, to: SocketAddr, bytes: &[u8]) {
        let held = self.shadow.living(self.now(), client).expect("relayed without an allocation");
        assert_eq!(Some(held.relayed), self.world.shared.routes.public(from), "from a port of somebody else");
        assert!(held.permits(self.now(), to.ip()), "to a peer without a permission");
        assert!(self.sockets.contains_key(&from), "through a socket that is closed");
        assert_eq!((to, bytes[0]), (outside(1), PEER), "nobody else was meant");
        let bytes = bytes.to_vec();
        self.carry(&Event::AtPeer { from, bytes });
    }

    /// Nothing goes to a client that it is not for, nor without its permission, nor after the call.
    fn towards_client(&mut self, sender: Option<usize>, to: FiveTuple, host: Option<u8>, bytes: &[u8]) {
        let now = self.now();
        let client = self.tuples.iter().position(|tuple| *tuple == to).expect("a client of ours");
        assert!(!self.call_is_over, "a call goes on after its end");
        let held = self.shadow.living(now, client).expect("to somebody without an allocation");
        if let Some(host) = host {
            assert!(held.permits(now, outside(host).ip()), "from a peer without a permission");
        }
        if let Some(sender) = sender.filter(|_| !self.call) {
            let source = self.shadow.living(now, sender).expect("from somebody without an allocation");
            assert!(held.permits(now, source.relayed.ip()), "the receiver permits it");
            assert!(source.permits(now, held.relayed.ip()), "the sender may");
        }
        assert!(sender != Some(client), "nobody talks to itself here");
        let bytes = bytes.to_vec();
        self.carry(&Event::AtClient { client, bytes });
    }

    /// Carries out what a worker wants. `request` is what it was given, if that was a client's.
    fn act(&mut self, worker: usize, request: Option<(usize, bool, &[u8])>) {
        while let Some(action) = self.world.workers[worker].poll_action() {
            match action {
                Action::Tcp(_) => panic!("TCP allocations are switched off"),
                Action::Reply { to, bytes } => self.reply(to, request, bytes),
                Action::Open { port } => {
                    let works = self.random.random_bool(0.9);
                    let at = self.now() + self.random.random_range(0..700);
                    self.network.certainly(at, Event::Opened { worker, port, works });
                }
                Action::Close { port } => {
                    assert!(self.sockets.remove(&port).is_some(), "closed what is not open");
                }
            }
        }
    }

    fn reply(&mut self, to: FiveTuple, request: Option<(usize, bool, &[u8])>, bytes: Vec<u8>) {
        let now = self.now();
        let Some(client) = self.tuples.iter().position(|tuple| *tuple == to) else {
            let (_, stranger, _) = request.expect("an answer to nobody");
            assert!(stranger && to.remote == outside(66), "an answer to somebody unknown");
            assert_eq!(Message::parse(&bytes).unwrap().class(), MessageClass::Error, "a stranger is granted something");
            return;
        };
        match request {
            Some((asker, stranger, asked)) => {
                assert!(asker == client && !stranger, "an answer to somebody else");
                self.shadow.answered(now, client, asked, &bytes);
            }
            // The Allocate that waited for its socket.
            None => {
                let own = |(who, sent): &&(usize, Vec<u8>)| *who == client && sent.get(8..20) == bytes.get(8..20);
                let asked = self.captured.iter().find(own).map(|(_, sent)| sent.clone());
                let asked =
                    asked.unwrap_or_else(|| crate::wire::Request::new(Method::Allocate, id_of(&bytes)).finish(None));
                self.shadow.answered(now, client, &asked, &bytes);
            }
        }
        self.carry(&Event::AtClient { client, bytes });
    }

    /// At every step: one allocation per five-tuple, no port leaked, and every packet accounted for.
    fn check(&self) {
        let workers = &self.world.workers;
        let allocations: usize = workers.iter().map(|worker| worker.allocations.len()).sum();
        let openings: usize = workers.iter().map(|worker| worker.openings.len()).sum();
        assert!(allocations + openings <= CLIENTS, "one allocation per five-tuple");
        if !self.call {
            assert_eq!(self.sockets.len(), allocations, "a socket for each allocation");
            assert_eq!(self.shadow.count(self.now()), allocations, "what was granted exists, and nothing else");
        }
        let free = self.world.free_ports();
        assert!(free + allocations + openings <= self.ports, "a port is free and taken");
        assert!(openings > 0 || free + allocations == self.ports, "a port is lost");
        assert_eq!(workers.iter().map(accounted).sum::<u64>() + openings as u64, self.arrived, "packets accounted for");
    }

    /// When nobody sends any more and every lifetime is over, everything is back.
    fn settle(&mut self) {
        assert!(self.farewell_said);
        self.go_to(self.now() + SETTLED);
        self.run_timers();
        self.check();
        assert_eq!(self.world.free_ports(), self.ports, "every port is back");
        assert!(self.sockets.is_empty(), "every socket is closed");
        assert!(self.world.workers.iter().all(|worker| worker.counters().allocations() == 0));
    }
}

/// A reply, a relayed packet or a drop.
fn accounted(worker: &Turn) -> u64 {
    let counters = worker.counters();
    let replies: u64 = counters.replies().map(|(_, count)| count).sum();
    let relayed: u64 = counters.relayed().map(|(_, relayed)| relayed.packets).sum();
    replies + relayed + counters.drops().map(|(_, count)| count).sum::<u64>()
}

fn user(name: &str) -> Credential {
    Credential { username: name.to_owned(), password: format!("{name}'s secret") }
}

fn tuple(who: usize) -> FiveTuple {
    five_tuple(SocketAddr::from(([198, 51, 100, who as u8 + 1], 4000)))
}

fn id_of(message: &[u8]) -> crate::wire::TransactionId {
    let mut id = [0; 12];
    id.copy_from_slice(&message[8..20]);
    crate::wire::TransactionId(id)
}

fn with_room(bytes: &[u8]) -> (Vec<u8>, std::ops::Range<usize>) {
    let mut buffer = vec![0; HEADROOM];
    buffer.extend_from_slice(bytes);
    buffer.extend_from_slice(&[0; TAILROOM]);
    (buffer, HEADROOM..HEADROOM + bytes.len())
}
