//! The server of a session and its callers, with everything that is checked on the way.

use super::integrity_number;
use relay::access::{self, Policy};
use relay::auth::{self, Authenticator, CallKeys, Credential, rest_credential};
use relay::calls::Handle;
use relay::time::{Millis, Now, Unix};
use relay::turn::{
    Action, AddressId, Command, Connection, FiveTuple, Forward, HEADROOM, OpenError, Packet, RelayedAddress,
    RelayedPort, Settings, Shared, TAILROOM, Transport, Turn,
};
use relay::wire::{Integrity, Key, Message, MessageClass, Method, PasswordAlgorithm, Request, TransactionId};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;

const REALM: &str = "fuzz";
const SERVER: ([u8; 4], u16) = ([198, 51, 100, 1], 3478);
const PASSWORD: &str = "a long secret";
const OFFERED: [PasswordAlgorithm; 2] = [PasswordAlgorithm::Sha256, PasswordAlgorithm::Md5];

/// Two users over UDP, one of them over TCP too, a time-limited one on IPv6, the two sides of a call, and somebody who
/// knows a name and not its password.
pub(super) const CALLERS: usize = 7;
const SIDES: [usize; 2] = [4, 5];
const IMPOSTOR: usize = 6;
/// Worker of each caller.
const WORKER: [usize; CALLERS] = [0, 1, 1, 0, 0, 1, 0];
const PORTS: std::ops::RangeInclusive<u16> = 50_000..=50_015;

pub(super) struct World {
    shared: Arc<Shared>,
    workers: Vec<Turn>,
    now: Now,
    keys: Arc<CallKeys>,
    nonces: [String; CALLERS],
    credentials: Vec<Credential>,
    connections: [u32; CALLERS],
    /// Open sockets, and who asked for them.
    open: BTreeMap<(u8, u16), usize>,
    relayed: Vec<SocketAddr>,
    tokens: Vec<[u8; 8]>,
    serial: u64,
    last: Option<(usize, Vec<u8>, bool)>,
    arrived: u64,
    pub(super) granted: usize,
    pub(super) relayed_packets: usize,
}

impl World {
    pub(super) fn new() -> World {
        let keys = Arc::new(CallKeys::new([1; 32]));
        let users = ["alice", "bob"].map(|name| (name.to_owned(), PASSWORD.to_owned())).to_vec();
        let rest_secrets = vec!["north".to_owned()];
        let auth = auth::Settings { realm: REALM.to_owned(), users, rest_secrets, ..Default::default() };
        let authenticator = Authenticator::new(auth, Arc::clone(&keys), [2; 32]);
        let addresses = vec![
            RelayedAddress { bind: [10, 0, 0, 4].into(), public: [198, 51, 100, 1].into() },
            RelayedAddress::same(IpAddr::from("2606:4700:7::1".parse::<Ipv6Addr>().unwrap())),
        ];
        let policy = Policy::new(&access::Settings {
            own_listeners: vec![SERVER.into()],
            own_addresses: addresses.iter().map(|address| address.public).collect(),
            ..Default::default()
        });
        let settings = Settings { addresses, ports: PORTS, max_permissions: 4, max_channels: 4, ..Default::default() };
        let shared = Shared::new(settings, authenticator, policy, [3; 32]);
        let now = Now { mono: Millis(1_000), unix: Unix(1_800_000_000), micros: 0 };
        let mut world = World {
            workers: (0..2).map(|n| Turn::new(Arc::clone(&shared), n, [4 + n as u8; 32])).collect(),
            shared,
            now,
            credentials: credentials(now),
            keys,
            nonces: Default::default(),
            connections: [1; CALLERS],
            open: BTreeMap::new(),
            relayed: Vec::new(),
            tokens: Vec::new(),
            serial: 0,
            last: None,
            arrived: 0,
            granted: 0,
            relayed_packets: 0,
        };
        world.new_call();
        world
    }

    pub(super) fn transaction(&mut self, same: bool) -> TransactionId {
        self.serial += u64::from(!same);
        let mut id = [0; 12];
        id[4..].copy_from_slice(&self.serial.to_be_bytes());
        TransactionId(id)
    }

    /// Adds what the caller knows of itself; without a nonce that is nothing.
    pub(super) fn sign(&self, caller: usize, request: Request, sha256: bool, hidden: bool) -> (Request, Option<Key>) {
        let nonce = &self.nonces[caller];
        if nonce.is_empty() {
            return (request, None);
        }
        let username = &self.credentials[caller].username;
        let request = match hidden {
            true => request.hidden_credentials(username, REALM, nonce),
            false => request.credentials(username, REALM, nonce),
        };
        let key = self.key(caller, sha256);
        match sha256 {
            true => (request.password_algorithm(&OFFERED, PasswordAlgorithm::Sha256), Some(key)),
            false => (request, Some(key)),
        }
    }

    fn key(&self, caller: usize, sha256: bool) -> Key {
        let Credential { username, password } = &self.credentials[caller];
        let algorithm = if sha256 { PasswordAlgorithm::Sha256 } else { PasswordAlgorithm::Md5 };
        Key::derive(algorithm, username.as_bytes(), REALM.as_bytes(), password.as_bytes())
    }

    /// A request; `altered`: it is not what its sender signed.
    pub(super) fn ask(&mut self, caller: usize, bytes: &[u8], altered: bool) {
        self.last = Some((caller, bytes.to_vec(), altered));
        self.deliver(caller, bytes, !altered && caller != IMPOSTOR);
    }

    /// The last request again, perhaps in the name of somebody who did not send it.
    pub(super) fn repeat(&mut self, other: Option<usize>) {
        let Some((caller, bytes, altered)) = self.last.clone() else { return };
        let thief = other.is_some_and(|other| other != caller);
        self.deliver(other.unwrap_or(caller), &bytes, !altered && !thief && caller != IMPOSTOR);
    }

    pub(super) fn data(&mut self, caller: usize, bytes: &[u8]) {
        self.deliver(caller, bytes, false);
    }

    /// A datagram at a relayed socket.
    pub(super) fn outsider(&mut self, which: u8, from: SocketAddr, payload: &[u8]) {
        let place = usize::from(which) % self.open.len().max(1);
        let Some((&(address, port), &owner)) = self.open.iter().nth(place) else { return };
        let (mut buffer, range) = with_room(payload);
        let to = RelayedPort { address: AddressId(address), port };
        let worker = &mut self.workers[WORKER[owner]];
        let forward = worker.handle_peer(self.now, to, from, &mut Packet::new(&mut buffer, range));
        self.arrived += 1;
        if let Forward::ToClient { to, data } = forward {
            assert!(buffer.get(data).is_some(), "what is sent lies inside the buffer");
            assert!(to == self.tuple(owner), "it goes to whom the port belongs");
            self.relayed_packets += 1;
        }
        self.drain(None, false);
    }

    pub(super) fn pass_time(&mut self, millis: u64) {
        self.now = self.now.after(millis);
        for worker in 0..self.workers.len() {
            while self.workers[worker].poll_timeout().is_some_and(|at| at <= self.now.mono) {
                self.workers[worker].handle_timeout(self.now);
            }
        }
        self.drain(None, false);
    }

    /// The next packet of this caller comes over a new connection.
    pub(super) fn disconnect(&mut self, caller: usize) {
        let gone = self.tuple(caller);
        if gone.transport.is_stream() {
            self.workers[WORKER[caller]].handle_disconnect(&gone);
            self.connections[caller] += 1;
            self.drain(None, false);
            assert!(!self.workers[WORKER[caller]].has_allocation(&gone));
        }
    }

    pub(super) fn close_call(&mut self) {
        for (worker, port) in self.shared.ledger.close(side(0)) {
            self.workers[usize::from(worker)].handle_command(self.now, Command::Close(port));
        }
        self.drain(None, false);
    }

    pub(super) fn new_call(&mut self) {
        for (number, caller) in SIDES.into_iter().enumerate() {
            self.shared.ledger.open(side(number)).expect("room for two");
            self.credentials[caller] = self.keys.mint(self.now, side(number), 1, 600);
        }
        let _ = self.shared.ledger.pair(side(0), side(1)); // or they are in it already
    }

    pub(super) fn forget_nonce(&mut self, caller: usize) {
        self.nonces[caller].clear();
    }

    /// A relayed address that was handed out, somebody outside, or what must never be reached.
    pub(super) fn peer(&self, choice: u8) -> SocketAddr {
        match choice {
            0x80..=0xBF => ([93, 184, 216, choice & 7], 9).into(),
            0xC0..=0xCF => ([127, 0, 0, 1], 80).into(),
            0xD0..=0xDF => ([169, 254, 169, 254], 80).into(),
            0xE0..=0xE7 => SERVER.into(),
            0xE8..=0xEF => ("::ffff:127.0.0.1".parse::<Ipv6Addr>().unwrap(), 80).into(),
            0xF0..=0xFF => ("2606:4700::1111".parse::<Ipv6Addr>().unwrap(), 9).into(),
            _ => {
                let own = self.relayed.get(usize::from(choice) % self.relayed.len().max(1));
                own.copied().unwrap_or_else(|| ([198, 51, 100, 1], 50_000 + u16::from(choice)).into())
            }
        }
    }

    pub(super) fn token(&self, choice: u8) -> [u8; 8] {
        self.tokens.get(usize::from(choice) % 4).copied().unwrap_or([choice; 8])
    }

    /// Longer than any lifetime and any reservation: everything is given back.
    pub(super) fn end(&mut self) {
        self.close_call();
        self.pass_time(3_600_000);
        self.pass_time(30_000);
        self.workers[0].handle_timeout(self.now);
        assert!(self.open.is_empty(), "every socket is closed in the end");
        for address in 0..2 {
            assert_eq!(self.shared.ports.free(AddressId(address)), PORTS.len(), "every port is back");
        }
        assert_eq!(self.workers.iter().map(|worker| worker.counters().allocations()).sum::<u64>(), 0);
    }

    /// A datagram from a caller and all that follows; `may_be_granted`: its sender proves who it is.
    fn deliver(&mut self, caller: usize, bytes: &[u8], may_be_granted: bool) {
        let (mut buffer, range) = with_room(bytes);
        let from = self.tuple(caller);
        let worker = &mut self.workers[WORKER[caller]];
        let forward = worker.handle_client(self.now, &from, &mut Packet::new(&mut buffer, range));
        self.arrived += 1;
        self.check_forward(caller, &forward, &buffer);
        self.drain(Some(caller), may_be_granted);
        assert_eq!(self.accounted(), self.arrived, "a packet is one reply, one relayed packet or one drop");
    }

    fn check_forward(&mut self, caller: usize, forward: &Forward, buffer: &[u8]) {
        match forward {
            Forward::None => return,
            Forward::ToPeer { from, to, data, .. } => {
                assert!(buffer.get(data.clone()).is_some(), "what is sent lies inside the buffer");
                assert_eq!(self.open.get(&(from.address.0, from.port)), Some(&caller), "by a socket of its own");
                let IpAddr::V4(ip) = to.ip() else {
                    assert!(!to.ip().is_loopback(), "{to}");
                    return;
                };
                assert!(!ip.is_loopback() && !ip.is_link_local() && !ip.is_unspecified(), "{to}");
                assert!(*to != SERVER.into(), "our own listener");
            }
            Forward::ToClient { to, data } => {
                assert!(buffer.get(data.clone()).is_some(), "what is sent lies inside the buffer");
                let reached = (0..CALLERS).find(|&other| self.tuple(other) == *to).expect("a client there is");
                let partner = SIDES.iter().position(|&side| side == caller).map(|side| SIDES[1 - side]);
                assert_eq!(SIDES.contains(&reached), partner.is_some(), "calls and users keep apart");
                assert!(partner.is_none_or(|partner| partner == reached), "a side reaches the other");
            }
        }
        self.relayed_packets += 1;
    }

    /// Acts on what the machines want, as workers would; every fifth socket cannot be had.
    fn drain(&mut self, caller: Option<usize>, may_be_granted: bool) {
        for worker in 0..self.workers.len() {
            while let Some(action) = self.workers[worker].poll_action() {
                match action {
                    Action::Reply { to, bytes } => {
                        let caller = caller.expect("answers follow requests");
                        self.reply(caller, to, &bytes, may_be_granted);
                    }
                    Action::Open { port } => {
                        let result = if port.port.is_multiple_of(5) { Err(OpenError::InUse) } else { Ok(()) };
                        if result.is_ok() {
                            let owner = caller.expect("sockets follow requests");
                            let before = self.open.insert((port.address.0, port.port), owner);
                            assert_eq!(before, None, "no port is opened twice");
                        }
                        self.workers[worker].handle_opened(self.now, port, result);
                    }
                    Action::Tcp(_) => panic!("TCP allocations are switched off"),
                    Action::Close { port } => {
                        assert!(self.open.remove(&(port.address.0, port.port)).is_some(), "only open ports are closed");
                    }
                }
            }
        }
    }

    fn reply(&mut self, caller: usize, to: FiveTuple, bytes: &[u8], may_be_granted: bool) {
        assert!(to == self.tuple(caller), "the answer goes to whoever asked");
        let message = Message::parse(bytes).expect("answers are well formed");
        let signed = [false, true].into_iter().any(|sha256| message.integrity_matches(&self.key(caller, sha256)));
        let binding = message.method() == Method::Binding;
        match message.class() {
            MessageClass::Success if !binding => {
                assert!(may_be_granted, "nothing is granted without the password");
                assert!(signed, "what is granted is signed");
                assert_eq!(signatures(bytes), 1, "once");
                self.granted += 1;
            }
            MessageClass::Success => assert!(bytes.len() <= 44, "{} bytes to a stranger", bytes.len()),
            MessageClass::Error if signatures(bytes) == 0 && !binding => {
                assert!(bytes.len() <= 96, "{} bytes to a stranger", bytes.len());
            }
            class => assert_eq!(class, MessageClass::Error, "answers are responses"),
        }
        if let Ok(Some(nonce)) = message.nonce() {
            self.nonces[caller] = String::from_utf8(nonce.to_vec()).expect("nonces are text");
        }
        self.relayed.extend(message.xor_relayed_address().expect("a relayed address or none"));
        self.tokens.extend(message.reservation_token().expect("a token or none"));
    }

    fn accounted(&self) -> u64 {
        let of = |worker: &Turn| {
            let counters = worker.counters();
            let replies: u64 = counters.replies().map(|(_, count)| count).sum();
            let relayed: u64 = counters.relayed().map(|(_, relayed)| relayed.packets).sum();
            replies + relayed + counters.drops().map(|(_, count)| count).sum::<u64>()
        };
        self.workers.iter().map(of).sum()
    }

    fn tuple(&self, caller: usize) -> FiveTuple {
        let last = u8::try_from(caller).expect("few callers") + 10;
        let connection = Connection { worker: WORKER[caller] as u16, number: self.connections[caller] };
        let transport = match caller {
            2 => Transport::Tcp(connection),
            5 => Transport::Tls(connection),
            _ => Transport::Udp,
        };
        let remote = match caller {
            3 => (Ipv6Addr::new(0x2606, 0x4700, 3, 0, 0, 0, 0, last.into()), 40_000).into(),
            _ => ([192, 0, 2, last], 40_000).into(),
        };
        FiveTuple { listener: 0, transport, local: SERVER.into(), remote }
    }
}

fn credentials(now: Now) -> Vec<Credential> {
    let user = |name: &str, password: &str| Credential { username: name.to_owned(), password: password.to_owned() };
    let rest = rest_credential("north", Unix(now.unix.0 + 4_000), "carol");
    let (side, impostor) = (user("", ""), user("alice", "a guess"));
    vec![user("alice", PASSWORD), user("bob", PASSWORD), user("alice", PASSWORD), rest, side.clone(), side, impostor]
}

fn side(number: usize) -> Handle {
    Handle([number as u8; 12])
}

fn signatures(bytes: &[u8]) -> usize {
    let message = Message::parse(bytes).expect("answers are well formed");
    [Integrity::Sha1, Integrity::Sha256].iter().filter(|&&kind| message.value(integrity_number(kind)).is_some()).count()
}

fn with_room(bytes: &[u8]) -> (Vec<u8>, Range<usize>) {
    let mut buffer = vec![0; HEADROOM + bytes.len() + TAILROOM];
    let data = HEADROOM..HEADROOM + bytes.len();
    buffer[data.clone()].copy_from_slice(bytes);
    (buffer, data)
}
