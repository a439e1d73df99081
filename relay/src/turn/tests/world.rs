//! A server of one or more workers, clients that know their credentials, and time that passes when told to.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::access;
use crate::auth::{self, Authenticator, CallKeys};
use crate::calls::Handle;
use crate::time::{Millis, Now, Unix};
use crate::turn::*;
use crate::wire::{Key, Message, MessageClass, Method, Request, TransactionId, attribute as attr};

pub(super) const REALM: &str = "voice.example";
pub(super) const UDP: u8 = 17;

pub(super) fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A peer somewhere in the public internet.
pub(super) fn outside(last: u8) -> SocketAddr {
    SocketAddr::from(([93, 184, 216, last], 9000))
}

pub(super) struct World {
    pub(super) now: Now,
    pub(super) shared: Arc<Shared>,
    pub(super) workers: Vec<Turn>,
    pub(super) call_keys: Arc<CallKeys>,
    access: access::Settings,
    /// Processes before this one.
    upgrades: u8,
    /// Sockets the machine asked for and has not closed.
    pub(super) sockets: BTreeSet<RelayedPort>,
    /// How many `Open`s to refuse before granting one.
    pub(super) failing_opens: usize,
    /// Leave `Open`s unanswered in `opens`.
    pub(super) slow_opens: bool,
    pub(super) opens: Vec<(usize, RelayedPort)>,
    /// Control messages that went out, oldest first.
    pub(super) replies: Vec<(ClientPath, Vec<u8>)>,
    /// TCP listeners the machine asked for and has not closed.
    pub(super) listeners: BTreeSet<RelayedPort>,
    /// What it asked for besides, for TCP allocations, oldest first.
    pub(super) tcp: Vec<TcpAction>,
    transactions: u64,
}

/// Somebody behind one five-tuple, served by one worker.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) from: FiveTuple,
    pub(super) worker: usize,
    pub(super) username: String,
    pub(super) password: String,
    pub(super) nonce: String,
}

/// A control message as its receiver reads it.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) code: u16,
    pub(super) signed: bool,
    pub(super) relayed: Option<SocketAddr>,
    pub(super) mapped: Option<SocketAddr>,
    pub(super) lifetime: Option<u32>,
    pub(super) token: Option<[u8; 8]>,
    pub(super) unknown: Vec<u8>,
    pub(super) bytes: Vec<u8>,
}

/// What became of one data packet.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Out {
    Nothing,
    Client(SocketAddr, Data),
    Peer { from: RelayedPort, to: SocketAddr, payload: Vec<u8> },
}

/// What a client gets to see of data.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Data {
    Channel(u16, Vec<u8>),
    Indication(SocketAddr, Vec<u8>),
}

pub(super) fn settings() -> Settings {
    Settings {
        addresses: vec![
            RelayedAddress { bind: "10.0.0.4".parse().unwrap(), public: "203.0.113.7".parse().unwrap() },
            RelayedAddress::same("2001:db8:7::1".parse().unwrap()),
        ],
        ports: 50_000..=50_999,
        // These tests say who may reach whom; what payloads of a call look like has its own (`calls.rs`).
        call_payload: Payload::Any,
        ..Settings::default()
    }
}

pub(super) fn world() -> World {
    World::new(settings(), 1)
}

fn shared(settings: Settings, call_keys: &Arc<CallKeys>, access: &access::Settings, seed: [u8; 32]) -> Arc<Shared> {
    let users = ["alice", "bob", "carol"].map(|name| (name.to_owned(), format!("{name}'s secret"))).to_vec();
    let auth = auth::Settings { realm: REALM.to_owned(), users, ..auth::Settings::default() };
    let authenticator = Authenticator::new(auth, Arc::clone(call_keys), [9; 32]);
    Shared::new(settings, authenticator, access::Policy::new(access), seed)
}

impl World {
    pub(super) fn new(settings: Settings, workers: u16) -> World {
        let access = access::Settings {
            own_listeners: vec![addr("203.0.113.7:3478"), addr("[2001:db8:7::1]:3478")],
            own_addresses: vec!["203.0.113.7".parse().unwrap(), "10.0.0.4".parse().unwrap()],
            ..access::Settings::default()
        };
        World::with_access(settings, workers, access)
    }

    pub(super) fn with_access(settings: Settings, workers: u16, access: access::Settings) -> World {
        let call_keys = Arc::new(CallKeys::new([7; 32]));
        let shared = shared(settings, &call_keys, &access, [1; 32]);
        World {
            now: Now { mono: Millis(1_000_000), unix: Unix(1_800_000_000), micros: 0 },
            workers: (0..workers).map(|n| Turn::new(Arc::clone(&shared), n, [n as u8; 32])).collect(),
            shared,
            call_keys,
            access,
            upgrades: 0,
            sockets: BTreeSet::new(),
            failing_opens: 0,
            slow_opens: false,
            opens: Vec::new(),
            replies: Vec::new(),
            listeners: BTreeSet::new(),
            tcp: Vec::new(),
            transactions: 0,
        }
    }

    /// Another process takes over, by a snapshot as it would be sent. Whoever cannot go is gone.
    pub(super) fn upgrade(&mut self) {
        let addresses = (0..self.shared.settings.addresses.len()).map(|place| Some(AddressId(place as u8)));
        let going = Going::new(vec![Some(0)], addresses.collect()).with_whole_calls(&self.shared.ledger);
        let packed: Vec<PackedTurn> = self.workers.iter().map(|worker| worker.pack(&going)).collect();
        let packed = postcard::to_allocvec(&(self.shared.pack(&going), packed)).unwrap();
        let (calls, packed): (PackedShared, Vec<PackedTurn>) = postcard::from_bytes(&packed).unwrap();
        self.call_keys = Arc::new(CallKeys::from_ring(self.call_keys.ring(self.now.mono)));
        self.upgrades = self.upgrades.wrapping_add(1);
        // Or it would give out the same tokens again.
        let seed = [1 ^ self.upgrades; 32];
        self.shared = shared(self.shared.settings.clone(), &self.call_keys, &self.access, seed);
        self.shared.unpack(calls);
        for (number, (worker, packed)) in self.workers.iter_mut().zip(packed).enumerate() {
            *worker = Turn::new(Arc::clone(&self.shared), number as u16, [0x55 ^ number as u8; 32]);
            worker.unpack(packed);
        }
    }

    pub(super) fn wait_secs(&mut self, secs: u64) {
        self.now = self.now.after(secs * 1000);
    }

    /// As the edge does: calls `handle_timeout` wherever it is due.
    pub(super) fn run_timers(&mut self) {
        for worker in 0..self.workers.len() {
            while self.workers[worker].poll_timeout().is_some_and(|at| at <= self.now.mono) {
                self.workers[worker].handle_timeout(self.now);
                self.drain(worker);
            }
        }
    }

    pub(super) fn user(&mut self, name: &str, number: u8) -> Client {
        let from = five_tuple(SocketAddr::from(([198, 51, 100, number], 4000 + u16::from(number))));
        self.client_at(from, 0, name, &format!("{name}'s secret"))
    }

    /// A client on the given worker.
    pub(super) fn user_on(&mut self, worker: usize, name: &str, number: u8) -> Client {
        Client { worker, ..self.user(name, number) }
    }

    /// The holder of a call-bound credential for this handle.
    pub(super) fn caller(&mut self, handle: Handle, number: u8) -> Client {
        let credential = self.call_keys.mint(self.now, handle, 1, 60);
        let from = five_tuple(SocketAddr::from(([198, 51, 100, number], 4000 + u16::from(number))));
        self.client_at(from, 0, &credential.username, &credential.password)
    }

    /// Learns the nonce the way clients do: from the 401.
    pub(super) fn client_at(&mut self, from: FiveTuple, worker: usize, username: &str, password: &str) -> Client {
        let (username, password) = (username.to_owned(), password.to_owned());
        let mut client = Client { from, worker, username, password, nonce: String::new() };
        let bare = Request::new(Method::Allocate, self.transaction()).requested_transport(UDP).finish(None);
        let challenge = self.deliver(&client, &bare).unwrap();
        assert_eq!(challenge.code, 401);
        let message = Message::parse(&challenge.bytes).unwrap();
        client.nonce = String::from_utf8(message.nonce().unwrap().unwrap().to_vec()).unwrap();
        client
    }

    pub(super) fn transaction(&mut self) -> TransactionId {
        self.transactions += 1;
        let mut id = [0x77; 12];
        id[..8].copy_from_slice(&self.transactions.to_be_bytes());
        TransactionId(id)
    }

    /// A signed request and its answer.
    pub(super) fn ask(&mut self, client: &Client, method: Method, fill: impl FnOnce(Request) -> Request) -> Response {
        let bytes = self.signed(client, method, fill);
        self.deliver(client, &bytes).expect("an answer")
    }

    pub(super) fn signed(&mut self, client: &Client, method: Method, fill: impl FnOnce(Request) -> Request) -> Vec<u8> {
        let request = fill(Request::new(method, self.transaction()));
        request.credentials(&client.username, REALM, &client.nonce).finish(Some(&client.key()))
    }

    /// A datagram from a client; the reply that comes back at once, if any does.
    pub(super) fn deliver(&mut self, client: &Client, datagram: &[u8]) -> Option<Response> {
        let before = self.replies.len();
        assert_eq!(self.data(client, datagram), Out::Nothing);
        assert!(self.replies.len() <= before + 1, "one reply at most");
        let (to, bytes) = self.replies.get(before)?;
        assert_eq!(*to, client.from);
        Some(Response::read(bytes, &client.key()))
    }

    /// Any datagram from a client, with the room around it the edge leaves.
    pub(super) fn data(&mut self, client: &Client, datagram: &[u8]) -> Out {
        let mut buffer = around(datagram);
        let range = HEADROOM..HEADROOM + datagram.len();
        let now = self.now;
        let worker = &mut self.workers[client.worker];
        let forward = worker.handle_client(now, &client.from, &mut Packet::new(&mut buffer, range));
        self.drain(client.worker);
        read(forward, &buffer)
    }

    /// A datagram at a relayed socket.
    pub(super) fn peer_sends(&mut self, worker: usize, to: SocketAddr, peer: SocketAddr, payload: &[u8]) -> Out {
        let port = self.shared.routes.locate(to).unwrap();
        let mut buffer = around(payload);
        let range = HEADROOM..HEADROOM + payload.len();
        let now = self.now;
        let forward = self.workers[worker].handle_peer(now, port, peer, &mut Packet::new(&mut buffer, range));
        self.drain(worker);
        read(forward, &buffer)
    }

    pub(super) fn drain(&mut self, worker: usize) {
        while let Some(action) = self.workers[worker].poll_action() {
            match action {
                Action::Reply { to, bytes } => self.replies.push((to, bytes)),
                Action::Close { port } => assert!(self.sockets.remove(&port), "closed what is not open"),
                Action::Tcp(action) => self.tcp_action(worker, action),
                Action::Open { port } if self.slow_opens => self.opens.push((worker, port)),
                Action::Open { port } => self.open(worker, port),
            }
        }
    }

    pub(super) fn open(&mut self, worker: usize, port: RelayedPort) {
        let result = if self.failing_opens > 0 {
            self.failing_opens -= 1;
            Err(OpenError::InUse)
        } else {
            assert!(self.sockets.insert(port), "opened twice");
            Ok(())
        };
        self.workers[worker].handle_opened(self.now, port, result);
    }

    pub(super) fn allocate(&mut self, client: &Client) -> SocketAddr {
        let response = self.ask(client, Method::Allocate, |request| request.requested_transport(UDP));
        assert_eq!(response.code, 0, "{response:?}");
        response.relayed.unwrap()
    }

    pub(super) fn allocate_v6(&mut self, client: &Client) -> SocketAddr {
        let v6 = |request: Request| request.requested_transport(UDP).requested_address_family(2);
        self.ask(client, Method::Allocate, v6).relayed.unwrap()
    }

    pub(super) fn refresh(&mut self, client: &Client, secs: u32) -> Response {
        self.ask(client, Method::Refresh, |request| request.lifetime(secs))
    }

    pub(super) fn permit(&mut self, client: &Client, peer: SocketAddr) -> u16 {
        self.ask(client, Method::CreatePermission, |request| request.xor_peer_address(peer)).code
    }

    pub(super) fn bind(&mut self, client: &Client, number: u16, peer: SocketAddr) -> u16 {
        self.ask(client, Method::ChannelBind, |request| request.channel_number(number).xor_peer_address(peer)).code
    }

    pub(super) fn send(&mut self, client: &Client, peer: SocketAddr, payload: &[u8]) -> Out {
        let id = self.transaction();
        let bytes = Request::indication(Method::Send, id).xor_peer_address(peer).data(payload).finish(None);
        self.data(client, &bytes)
    }

    pub(super) fn channel(&mut self, client: &Client, number: u16, payload: &[u8]) -> Out {
        self.data(client, &channel_data(number, payload))
    }

    pub(super) fn dropped(&self, why: Reason) -> u64 {
        self.workers.iter().map(|worker| worker.counters().dropped(why)).sum()
    }

    /// Two open handles in a call.
    pub(super) fn call(&mut self) -> (Handle, Handle) {
        self.transactions += 1;
        let [a, b] = [1, 2].map(|side| {
            let mut bytes = [side; 12];
            bytes[..8].copy_from_slice(&self.transactions.to_be_bytes());
            Handle(bytes)
        });
        self.shared.ledger.open(a).unwrap();
        self.shared.ledger.open(b).unwrap();
        self.shared.ledger.pair(a, b).unwrap();
        (a, b)
    }

    /// As signalling does: closes, and posts what comes back to the workers.
    pub(super) fn close(&mut self, handle: Handle) {
        for (worker, port) in self.shared.ledger.close(handle) {
            self.workers[usize::from(worker)].handle_command(self.now, Command::Close(port));
            self.drain(usize::from(worker));
        }
    }

    pub(super) fn free_ports(&self) -> usize {
        (0..2).map(|address| self.shared.ports.free(AddressId(address))).sum()
    }
}

impl Client {
    pub(super) fn key(&self) -> Key {
        Key::long_term(self.username.as_bytes(), REALM.as_bytes(), self.password.as_bytes())
    }

    pub(super) fn remote(&self) -> SocketAddr {
        self.from.remote
    }
}

impl Response {
    pub(super) fn read(bytes: &[u8], key: &Key) -> Response {
        let message = Message::parse(bytes).unwrap();
        let code = match message.class() {
            MessageClass::Success => 0,
            MessageClass::Error => message.error_code().unwrap().unwrap(),
            class => panic!("{class:?} is no answer"),
        };
        Response {
            code,
            signed: message.integrity_matches(key),
            relayed: message.xor_relayed_address().unwrap(),
            mapped: message.xor_mapped_address().unwrap(),
            lifetime: message.lifetime().unwrap(),
            token: message.reservation_token().unwrap(),
            unknown: message.value(attr::UNKNOWN_ATTRIBUTES).unwrap_or_default().to_vec(),
            bytes: bytes.to_vec(),
        }
    }
}

pub(super) fn five_tuple(remote: SocketAddr) -> FiveTuple {
    let local = if remote.is_ipv6() { addr("[2001:db8:7::1]:3478") } else { addr("203.0.113.7:3478") };
    FiveTuple { listener: 0, transport: Transport::Udp, local, remote }
}

pub(super) fn channel_data(number: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = number.to_be_bytes().to_vec();
    bytes.extend_from_slice(&(payload.len() as u16).to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// The datagram with room around it, filled with what must never leak.
fn around(datagram: &[u8]) -> Vec<u8> {
    let mut buffer = vec![0xEE; HEADROOM];
    buffer.extend_from_slice(datagram);
    buffer.extend_from_slice(&[0xEE; TAILROOM]);
    buffer
}

fn read(forward: Forward, buffer: &[u8]) -> Out {
    match forward {
        Forward::None => Out::Nothing,
        Forward::ToPeer { from, to, data, .. } => Out::Peer { from, to, payload: buffer[data].to_vec() },
        Forward::ToClient { to, data } => Out::Client(to.remote, Data::read(&buffer[data])),
    }
}

impl Data {
    fn read(bytes: &[u8]) -> Data {
        if bytes[0] & 0xC0 == 0x40 {
            let length = usize::from(u16::from_be_bytes([bytes[2], bytes[3]]));
            assert_eq!(bytes.len(), 4 + length);
            return Data::Channel(u16::from_be_bytes([bytes[0], bytes[1]]), bytes[4..].to_vec());
        }
        let message = Message::parse(bytes).unwrap();
        assert_eq!((message.class(), message.method()), (MessageClass::Indication, Method::Data));
        let range = message.data_range().unwrap();
        assert!(bytes[range.end..].iter().all(|&byte| byte == 0), "padding is zero");
        Data::Indication(message.xor_peer_address().unwrap().unwrap(), bytes[range].to_vec())
    }
}
