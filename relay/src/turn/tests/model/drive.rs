//! Makes an action happen to the server and to the model, and compares.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::action::{self, Action, Ask, CLIENTS, HANDLES, Proof};
use super::asked::{Answer, Delivery, Request as Asked, Time};
use super::cast::{Proven, Seen, client, is_ours, look_at, name_of, proven, transaction};
use super::reference::{MAX_CHANNELS, MAX_PERMISSIONS, Model};
use crate::turn::tests::world::*;
use crate::turn::*;
use crate::wire::{self, Key, Message, Method};

const WORKERS: u16 = 2;
/// Requests of one client that may be sent again.
const REMEMBERED: usize = 3;
/// A nonce counts time in steps of 16 ms: whether it is good is open for so long after its hour.
const NONCE_GRAIN: u64 = 16;
const HOUR: u64 = 3_600_000;

pub(super) struct Driver {
    world: World,
    model: Model,
    clients: Vec<Client>,
    pub(super) credentials: Vec<Proven>,
    pub(super) nonces: Vec<Nonce>,
    sent: Vec<VecDeque<Sent>>,
    /// The last relayed address of each client.
    pub(super) relayed: Vec<SocketAddr>,
    /// The latest last.
    pub(super) tokens: Vec<[u8; 8]>,
    free_at_first: usize,
    /// What workers have not heard yet: calls that are over.
    posted: Vec<(u16, RelayedPort)>,
    connections: u32,
    transactions: u64,
    pub(super) seen: Seen,
}

#[derive(Clone)]
pub(super) struct Nonce {
    pub(super) text: String,
    pub(super) made: u64,
}

#[derive(Clone)]
struct Sent {
    bytes: Vec<u8>,
    asked: Asked,
    key: Option<Key>,
}

impl Driver {
    pub(super) fn new(user_allocations: u32) -> Driver {
        let settings = Settings {
            user_allocations,
            max_permissions: MAX_PERMISSIONS as u16,
            max_channels: MAX_CHANNELS as u16,
            ports: 50_000..=50_099,
            ..settings()
        };
        let mut world = World::new(settings, WORKERS);
        for handle in 0..HANDLES {
            world.shared.ledger.open(name_of(handle)).unwrap();
        }
        let credentials: Vec<_> = (0..CLIENTS).map(|who| proven(&world, who)).collect();
        let free_at_first = world.free_ports();
        let clients = (0..CLIENTS).map(|who| client(who, 1)).collect();
        let relayed = (0..CLIENTS).map(|who| addr(&format!("203.0.113.7:{}", 50_090 + who))).collect();
        let nonces = vec![Nonce { text: String::new(), made: 0 }; CLIENTS];
        world.run_timers();
        let mut driver = Driver {
            model: Model::new(user_allocations, HANDLES),
            world,
            clients,
            credentials,
            nonces,
            sent: vec![VecDeque::new(); CLIENTS],
            relayed,
            tokens: Vec::new(),
            free_at_first,
            posted: Vec::new(),
            connections: 1,
            transactions: 0,
            seen: Seen::default(),
        };
        (0..CLIENTS).for_each(|who| driver.earn_nonce(who));
        driver
    }

    pub(super) fn act(&mut self, action: &Action) {
        match *action {
            Action::Ask { who, what, proof } => self.ask(who, what, proof),
            Action::AskAgain { who, back } => {
                let again = self.sent[who].iter().rev().nth(back).cloned();
                again.into_iter().for_each(|sent| self.deliver(who, &sent));
            }
            Action::Send { who, peer } => self.send(who, peer),
            Action::Channel { who, number } => self.channel(who, number),
            Action::FromOutside { whose, peer } => self.receive(whose, peer),
            Action::Disconnect { who } => self.disconnect(who),
            Action::Upgrade => {
                (0..CLIENTS).for_each(|who| self.disconnect(who)); // connections do not go
                self.catch_up();
                self.world.upgrade();
            }
            Action::Mint { who } => self.credentials[who] = proven(&self.world, who),
            Action::Open { handle } => {
                self.catch_up(); // a handle is never opened again while it is being closed
                self.world.shared.ledger.open(name_of(handle)).unwrap();
                self.model.open(handle);
            }
            Action::Pair { one, other } => {
                self.catch_up();
                let paired = self.world.shared.ledger.pair(name_of(one), name_of(other)).is_ok();
                assert_eq!(paired, self.model.pair(one, other), "whether they are a call now");
            }
            Action::Close { handle, late } => {
                self.posted.extend(self.world.shared.ledger.close(name_of(handle)));
                self.model.close(handle);
                if !late {
                    self.catch_up();
                }
            }
            Action::Wait { millis, late } => {
                self.world.now = self.world.now.after(millis);
                if !late {
                    self.catch_up();
                }
            }
        }
        self.compare_ports(action);
    }

    /// After longer than anything lasts, everything is back.
    pub(super) fn finish(&mut self) {
        for _ in 0..2 {
            self.act(&Action::Wait { millis: HOUR + 1, late: false });
        }
        self.world.workers[0].handle_timeout(self.world.now); // what is only reserved has no timer of its own
        assert_eq!(self.world.free_ports(), self.free_at_first, "every port is back");
        assert!(self.world.sockets.is_empty(), "every socket is closed");
        for worker in &self.world.workers {
            assert_eq!((worker.allocations.len(), worker.allocations.timers(), worker.openings.len()), (0, 0, 0));
        }
    }

    fn ask(&mut self, who: usize, what: Ask, proof: Proof) {
        self.catch_up();
        let age = self.now().millis - self.nonces[who].made;
        if (HOUR + 1..HOUR + NONCE_GRAIN).contains(&age) {
            self.earn_nonce(who);
        }
        self.transactions += 1;
        let method = match what {
            Ask::Allocate { .. } => Method::Allocate,
            Ask::Refresh { .. } => Method::Refresh,
            Ask::Permit { .. } => Method::CreatePermission,
            Ask::Bind { .. } => Method::ChannelBind,
        };
        let mut request = wire::Request::new(method, transaction(self.transactions));
        if proof == Proof::RightButUnknown {
            request = request.raw(0x7ABC, &[1, 2, 3]);
        }
        let (body, request) = self.fill(what, request);
        let (claim, request, key) = self.prove(who, proof, request);
        let asked = Asked { transaction: self.transactions, claim, body };
        let sent = Sent { bytes: request.finish(key.as_ref()), asked, key };
        self.deliver(who, &sent);
        self.sent[who].push_back(sent);
        if self.sent[who].len() > REMEMBERED {
            self.sent[who].pop_front();
        }
    }

    fn deliver(&mut self, who: usize, sent: &Sent) {
        self.catch_up();
        let now = self.now();
        let age = sent.asked.claim.nonce.map(|made| now.millis - made);
        if age.is_some_and(|age| (HOUR + 1..HOUR + NONCE_GRAIN).contains(&age)) {
            return; // the model cannot say
        }
        let expected = self.model.ask(now, who, &sent.asked);
        let key = sent.key.unwrap_or_else(|| self.clients[who].key());
        let got = self.answer(who, &sent.bytes, &key);
        let code = if let Answer::Refused(code) = expected { code } else { 0 };
        assert_eq!(got.code, code, "the model says {expected:?} to {:?} of client {who}", sent.asked);
        assert_eq!(got.signed, code != 401, "whether {code} is signed");
        *self.seen.codes.entry(code).or_default() += 1;
        self.learn_nonce(who, &got.bytes);
        self.compare_content(who, &expected, &got, &sent.asked);
    }

    fn compare_content(&mut self, who: usize, expected: &Answer, got: &Response, asked: &Asked) {
        match *expected {
            Answer::Refused(_) | Answer::Done => {
                assert_eq!((got.relayed, got.lifetime, got.token), (None, None, None));
            }
            Answer::Refreshed(secs) => assert_eq!((got.lifetime, got.relayed), (Some(secs), None)),
            Answer::Again { lifetime, relayed, token } => {
                assert_eq!((got.lifetime, got.relayed, got.token), (Some(lifetime), Some(relayed), token));
            }
            Answer::Allocated { lifetime, ipv6, even, token, exactly } => {
                let relayed = got.relayed.expect("a relayed address");
                assert_eq!((got.lifetime, relayed.is_ipv6(), got.token.is_some()), (Some(lifetime), ipv6, token));
                assert!(exactly.is_none_or(|exactly| exactly == relayed), "the port that was held for the token");
                assert!(!even || relayed.port().is_multiple_of(2), "an even port");
                assert!(is_ours(relayed.ip()) && (50_000..=50_099).contains(&relayed.port()));
                assert!(!self.model.is_taken(relayed), "nobody else has it");
                self.model.allocated(self.now(), who, asked, relayed, (lifetime, got.token));
                self.relayed[who] = relayed;
                self.tokens.extend(got.token);
            }
        }
        if matches!(expected, Answer::Again { .. } | Answer::Allocated { .. }) {
            assert_eq!(got.mapped, Some(self.clients[who].remote()));
        }
    }

    /// The one answer to a request, at once.
    fn answer(&mut self, who: usize, bytes: &[u8], key: &Key) -> Response {
        let before = self.world.replies.len();
        let client = self.clients[who].clone();
        assert_eq!(self.world.data(&client, bytes), Out::Nothing);
        assert_eq!(self.world.replies.len(), before + 1, "one answer");
        let (to, reply) = self.world.replies.pop().unwrap();
        assert_eq!(to, client.from, "to whoever asked");
        assert_eq!(reply[8..20], bytes[8..20], "with its transaction");
        Response::read(&reply, key)
    }

    fn earn_nonce(&mut self, who: usize) {
        self.transactions += 1;
        let bare = wire::Request::new(Method::Refresh, transaction(self.transactions)).finish(None);
        let key = self.clients[who].key();
        let got = self.answer(who, &bare, &key);
        assert_eq!((got.code, got.signed), (401, false));
        self.learn_nonce(who, &got.bytes);
    }

    fn learn_nonce(&mut self, who: usize, reply: &[u8]) {
        let message = Message::parse(reply).unwrap();
        if let Some(text) = message.nonce().unwrap() {
            let text = String::from_utf8(text.to_vec()).unwrap();
            self.nonces[who] = Nonce { text, made: self.now().millis };
        }
    }

    fn send(&mut self, who: usize, peer: action::Peer) {
        let written = self.address(peer);
        let expected = self.model.send(self.now(), who, &look_at(written));
        let client = self.clients[who].clone();
        let got = self.world.send(&client, written, b"voice");
        self.compare_delivery(&expected, got, who);
    }

    fn channel(&mut self, who: usize, number: u16) {
        let expected = self.model.channel(self.now(), who, number);
        if !(0x4000..0x8000).contains(&number) {
            assert_eq!(expected, Delivery::Nowhere);
            return; // no ChannelData by its first bits
        }
        let client = self.clients[who].clone();
        let got = self.world.channel(&client, number, b"voice");
        self.compare_delivery(&expected, got, who);
    }

    fn receive(&mut self, whose: usize, peer: action::Peer) {
        let source = self.address(peer);
        let to = self.relayed[whose];
        // Whoever has it now: it may be somebody else's.
        let holder = (0..CLIENTS).find(|&client| self.model.relayed(client) == Some(to)).unwrap_or(whose);
        let expected = self.model.receive(self.now(), holder, look_at(source).name);
        let expected = if self.model.relayed(holder) == Some(to) { expected } else { Delivery::Nowhere };
        let got = self.world.peer_sends(self.clients[holder].worker, to, source, b"voice");
        self.seen.from_outside += u32::from(got != Out::Nothing);
        self.compare_delivery(&expected, got, holder);
    }

    fn compare_delivery(&mut self, expected: &Delivery, got: Out, sender: usize) {
        let payload = b"voice".to_vec();
        let wanted = match *expected {
            Delivery::Nowhere => Out::Nothing,
            Delivery::ToPeer { from, to } => {
                self.seen.to_peers += 1;
                let address = AddressId(u8::from(from.is_ipv6()));
                Out::Peer { from: RelayedPort { address, port: from.port() }, to, payload }
            }
            Delivery::ToClient { client, channel, source } => {
                self.seen.hairpins += u32::from(client != sender);
                self.seen.in_calls += u32::from(client >= 4 && client != sender);
                let data = match channel {
                    Some(number) => Data::Channel(number, payload),
                    None => Data::Indication(source, payload),
                };
                Out::Client(self.clients[client].remote(), data)
            }
        };
        assert_eq!(got, wanted, "what becomes of data of client {sender}");
    }

    fn disconnect(&mut self, who: usize) {
        if self.clients[who].from.transport.is_stream() {
            let worker = self.clients[who].worker;
            self.world.workers[worker].handle_disconnect(&self.clients[who].from);
            self.world.drain(worker);
            self.model.disconnect(who);
            self.connections += 1;
            self.clients[who] = client(who, self.connections);
        }
    }

    /// Timers run and commands arrive, as the edge sees to.
    fn catch_up(&mut self) {
        for (worker, port) in std::mem::take(&mut self.posted) {
            self.world.workers[usize::from(worker)].handle_command(self.world.now, Command::Close(port));
            self.world.drain(usize::from(worker));
        }
        self.world.run_timers();
        self.model.forget(self.now());
    }

    /// Sockets are the users' relayed addresses, and what is neither held nor reserved is free.
    fn compare_ports(&mut self, action: &Action) {
        if matches!(action, Action::Wait { late: true, .. } | Action::Send { .. } | Action::Channel { .. })
            || matches!(action, Action::FromOutside { .. })
            || !self.posted.is_empty()
            || self.world.workers.iter().any(|worker| worker.poll_timeout().is_some_and(|at| at <= self.world.now.mono))
        {
            return;
        }
        let public = |port: &RelayedPort| self.world.shared.routes.public(*port).unwrap();
        let mut sockets: Vec<_> = self.world.sockets.iter().map(public).collect();
        sockets.sort();
        assert_eq!(sockets, self.model.sockets(), "open sockets");
        self.world.shared.ports.expire(self.world.now.mono);
        self.model.forget(self.now());
        assert_eq!(self.free_at_first - self.world.free_ports(), self.model.taken(), "ports that are not free");
    }

    fn now(&self) -> Time {
        Time { millis: self.world.now.mono.0, unix: self.world.now.unix.0 }
    }
}
