//! Sequences through the TURN machine: the bytes are a script of requests, packets, commands and time.
//!
//! What must hold whatever the script: nothing panics, every range lies inside its buffer, every port that was opened is
//! closed or still held, and a call-bound caller reaches nobody but its partner.

use super::bytes::Script;
use relay::access::{self, Policy};
use relay::auth::{self, Authenticator, CallKeys, Credential};
use relay::calls::Handle;
use relay::time::{Millis, Now, Unix};
use relay::turn::{
    Action, Command, FiveTuple, Forward, HEADROOM, OpenError, Packet, RelayedAddress, RelayedPort, Settings, Shared,
    TAILROOM, Transport, Turn,
};
use relay::wire::{Key, Message, Method, Request, TransactionId};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

const REALM: &str = "fuzz";
const SERVER: ([u8; 4], u16) = ([198, 51, 100, 1], 3478);
/// Callers: 0 and 1 are the two sides of a call, 2 holds a handle without a call, 3 and 4 have ordinary credentials.
const CALLERS: usize = 5;
const PAIRED: usize = 2;

struct World {
    shared: Arc<Shared>,
    turn: Turn,
    now: Now,
    keys: Arc<CallKeys>,
    nonces: [String; CALLERS],
    credentials: Vec<Credential>,
    open: BTreeSet<(u8, u16)>,
    relayed: Vec<SocketAddr>,
    serial: u64,
    forwarded: usize,
}

/// Plays the script.
pub(super) fn run(script: &[u8]) {
    play(script);
}

/// How many packets were relayed.
fn play(script: &[u8]) -> usize {
    let mut world = World::new();
    let mut script = Script::new(script);
    let mut steps = 0;
    while !script.is_over() && steps < 256 {
        world.step(&mut script);
        steps += 1;
    }
    world.end();
    world.forwarded
}

/// Two sides of a call over channels; two ordinary callers by permissions and by channels; a peer outside.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    // The first request of each caller earns the nonce.
    let allocate = |caller| [[0, caller, 0, 0], [0, caller, 0, 0]].concat();
    let permit = |caller, peer| vec![2, caller, 0, peer];
    let bind = |caller, peer| vec![3, caller, 1, peer];
    // RTP by its header, as it must be in a call.
    let data = |caller| [&[4, caller, 1, 0, 12, 0x80, 111, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2][..], b"voice"].concat();
    let send = |caller, peer| [&[5, caller, peer, 0, 0, 5][..], b"voice"].concat();
    let from_outside = [&[6, 0, 0x80, 0, 5][..], b"voice"].concat();
    let wait = |tenths: u16| [&[7][..], &tenths.to_be_bytes()].concat();
    let (refresh, close) = (vec![1, 3, 10, 100], vec![8, 0, 0]);
    vec![
        [allocate(0), allocate(1), bind(0, 1), bind(1, 0), data(0), data(1), close, data(0)].concat(),
        [allocate(3), allocate(4), permit(3, 1), permit(4, 0), send(3, 1), send(4, 0), wait(3_100), send(3, 1)]
            .concat(),
        [allocate(3), allocate(4), bind(3, 1), bind(4, 0), data(3), refresh, wait(6_100), bind(3, 1), data(4)].concat(),
        [allocate(3), permit(3, 0x80), send(3, 0x80), from_outside.clone(), bind(3, 0x80), data(3), from_outside]
            .concat(),
    ]
}

impl World {
    fn new() -> World {
        let keys = Arc::new(CallKeys::new([1; 32]));
        let users =
            vec![("alice".to_owned(), "a long secret".to_owned()), ("bob".to_owned(), "another secret".to_owned())];
        let settings = auth::Settings { realm: REALM.to_owned(), users, ..Default::default() };
        let authenticator = Authenticator::new(settings, Arc::clone(&keys), [2; 32]);
        let relayed = RelayedAddress { bind: [198, 51, 100, 1].into(), public: [198, 51, 100, 1].into() };
        let policy = Policy::new(&access::Settings {
            own_listeners: vec![SERVER.into()],
            own_addresses: vec![relayed.public],
            allow_peers: vec!["203.0.113.0/24".parse().unwrap()],
            ..Default::default()
        });
        let settings = Settings {
            addresses: vec![relayed],
            ports: 50_000..=50_015,
            max_permissions: 4,
            max_channels: 4,
            ..Default::default()
        };
        let shared = Shared::new(settings, authenticator, policy, [3; 32]);
        let now = Now { mono: Millis(1_000), unix: Unix(1_800_000_000), micros: 0 };
        let handles = [Handle([0; 12]), Handle([1; 12]), Handle([2; 12])];
        for handle in handles {
            shared.ledger.open(handle).unwrap();
        }
        shared.ledger.pair(handles[0], handles[1]).unwrap();
        let mut credentials: Vec<_> = handles.iter().map(|handle| keys.mint(now, *handle, 1, 60)).collect();
        for (username, password) in [("alice", "a long secret"), ("bob", "another secret")] {
            credentials.push(Credential { username: username.to_owned(), password: password.to_owned() });
        }
        let turn = Turn::new(Arc::clone(&shared), 0, [4; 32]);
        World {
            shared,
            turn,
            now,
            keys,
            nonces: Default::default(),
            credentials,
            open: BTreeSet::new(),
            relayed: Vec::new(),
            serial: 0,
            forwarded: 0,
        }
    }

    fn step(&mut self, script: &mut Script<'_>) {
        match script.byte() % 10 {
            0 => self.request(script, Method::Allocate),
            1 => self.request(script, Method::Refresh),
            2 => self.request(script, Method::CreatePermission),
            3 => self.request(script, Method::ChannelBind),
            4 => self.channel_data(script),
            5 => self.send(script),
            6 => self.outsider(script),
            7 => self.pass_time(u64::from(script.word())),
            8 => self.command(script),
            _ => {
                let caller = usize::from(script.byte()) % CALLERS;
                let bytes = script.slice(1_500).to_vec();
                self.client(caller, &bytes);
            }
        }
    }

    fn request(&mut self, script: &mut Script<'_>, method: Method) {
        let caller = usize::from(script.byte()) % CALLERS;
        let (flags, value) = (script.byte(), script.byte());
        self.serial += 1;
        let mut id = [0; 12];
        id[4..].copy_from_slice(&self.serial.to_be_bytes());
        let mut request = Request::new(method, TransactionId(id));
        match method {
            Method::Allocate => {
                request = request.requested_transport(if flags & 1 == 0 { 17 } else { value });
                if flags & 2 != 0 {
                    request = request.even_port(value & 1 != 0);
                }
                if flags & 4 != 0 {
                    request = request.reservation_token([value; 8]);
                }
                if flags & 8 != 0 {
                    request = request.requested_address_family(value);
                }
            }
            Method::Refresh => request = request.lifetime(u32::from(value) * u32::from(flags)),
            _ => {
                if method == Method::ChannelBind {
                    request = request.channel_number(0x4000 + u16::from(flags & 7));
                }
                for _ in 0..=flags >> 6 {
                    request = request.xor_peer_address(self.peer(value));
                }
            }
        }
        let Credential { username, password } = &self.credentials[caller];
        let nonce = &self.nonces[caller];
        let bytes = if nonce.is_empty() {
            request.finish(None)
        } else {
            let key = Key::long_term(username.as_bytes(), REALM.as_bytes(), password.as_bytes());
            request.credentials(username, REALM, nonce).finish(Some(&key))
        };
        self.client(caller, &bytes);
    }

    fn channel_data(&mut self, script: &mut Script<'_>) {
        let (caller, number) = (usize::from(script.byte()) % CALLERS, script.byte());
        let payload = script.slice(1_400);
        let mut bytes = vec![0x40, number, 0, 0];
        bytes[2..4].copy_from_slice(&u16::try_from(payload.len()).unwrap().to_be_bytes());
        bytes.extend_from_slice(payload);
        self.client(caller, &bytes);
    }

    fn send(&mut self, script: &mut Script<'_>) {
        let (caller, peer) = (usize::from(script.byte()) % CALLERS, script.byte());
        let (_, payload) = (script.byte(), script.slice(1_400));
        let request = Request::indication(Method::Send, TransactionId([9; 12])).xor_peer_address(self.peer(peer));
        self.client(caller, &request.data(payload).finish(None));
    }

    fn outsider(&mut self, script: &mut Script<'_>) {
        let (which, peer) = (script.byte(), script.byte());
        let payload = script.slice(1_400).to_vec();
        let Some(&(address, port)) = self.open.iter().nth(usize::from(which) % self.open.len().max(1)) else { return };
        let to = RelayedPort { address: relay::turn::AddressId(address), port };
        let peer = self.peer(peer);
        let (mut buffer, data) = with_room(&payload);
        let forward = self.turn.handle_peer(self.now, to, peer, &mut Packet::new(&mut buffer, data));
        self.check(None, &forward, &buffer);
        self.drain(None);
    }

    fn pass_time(&mut self, tenths: u64) {
        self.now = self.now.after(tenths * 100);
        self.turn.handle_timeout(self.now);
        self.drain(None);
    }

    fn command(&mut self, script: &mut Script<'_>) {
        let (what, which) = (script.byte(), script.byte());
        let handle = Handle([which % 3; 12]);
        match what % 4 {
            0 => {
                for (_, port) in self.shared.ledger.close(handle) {
                    self.turn.handle_command(self.now, Command::Close(port));
                }
            }
            1 => {
                let _ = self.shared.ledger.open(handle);
                self.credentials[usize::from(which % 3)] = self.keys.mint(self.now, handle, 2, 60);
            }
            2 => {
                let _ = self.shared.ledger.pair(Handle([0; 12]), Handle([1; 12]));
            }
            _ => self.turn.handle_command(
                self.now,
                Command::Close(RelayedPort { address: relay::turn::AddressId(0), port: 50_000 + u16::from(which) }),
            ),
        }
        self.drain(None);
    }

    /// A datagram from a caller, and everything that follows from it.
    fn client(&mut self, caller: usize, bytes: &[u8]) {
        let (mut buffer, data) = with_room(bytes);
        let forward = self.turn.handle_client(self.now, &tuple(caller), &mut Packet::new(&mut buffer, data));
        self.check(Some(caller), &forward, &buffer);
        self.drain(Some(caller));
    }

    fn check(&mut self, caller: Option<usize>, forward: &Forward, buffer: &[u8]) {
        let (data, reached) = match forward {
            Forward::None => return,
            Forward::ToClient { to, data } => (data, Some(*to)),
            Forward::ToPeer { data, from, .. } => {
                assert!(self.open.contains(&(from.address.0, from.port)), "packets leave by sockets that are open");
                (data, None)
            }
        };
        self.forwarded += 1;
        assert!(buffer.get(data.clone()).is_some(), "what is sent lies inside the buffer");
        match caller {
            Some(caller @ (0 | 1)) => {
                assert!(reached == Some(tuple(1 - caller)), "one side of a call reaches the other, nobody else")
            }
            Some(PAIRED) => panic!("a caller without a call reaches nobody"),
            _ => assert!(
                reached.is_none_or(|to| to == tuple(3) || to == tuple(4)),
                "ordinary credentials reach no caller in a call"
            ),
        }
    }

    /// Acts on what the machine wants, as a worker would; every third socket cannot be had.
    fn drain(&mut self, caller: Option<usize>) {
        while let Some(action) = self.turn.poll_action() {
            match action {
                Action::Reply { to, bytes } => self.reply(caller, to, &bytes),
                Action::Open { port } => {
                    let result = if port.port % 3 == 0 { Err(OpenError::InUse) } else { Ok(()) };
                    if result.is_ok() {
                        assert!(self.open.insert((port.address.0, port.port)), "no port is opened twice");
                    }
                    self.turn.handle_opened(self.now, port, result);
                }
                Action::Tcp(action) => panic!("{action:?}, and nobody came over a stream"),
                Action::Close { port } => {
                    assert!(self.open.remove(&(port.address.0, port.port)), "only open ports are closed")
                }
            }
        }
    }

    fn reply(&mut self, caller: Option<usize>, to: FiveTuple, bytes: &[u8]) {
        let caller = caller.expect("answers follow requests");
        assert!(to == tuple(caller), "the answer goes to whoever asked");
        let message = Message::parse(bytes).expect("answers are well formed");
        if let Ok(Some(nonce)) = message.nonce() {
            self.nonces[caller] = String::from_utf8(nonce.to_vec()).expect("nonces are text");
        }
        if let Ok(Some(relayed)) = message.xor_relayed_address() {
            self.relayed.push(relayed);
        }
    }

    /// A relayed address that was handed out, an address outside, or one that must never be reached.
    fn peer(&self, choice: u8) -> SocketAddr {
        match choice {
            0x80..=0xBF => ([203, 0, 113, choice & 7], 9).into(),
            0xC0..=0xDF => ([127, 0, 0, 1], 80).into(),
            0xE0..=0xEF => SERVER.into(),
            0xF0..=0xFF => ("2001:db8::1".parse::<std::net::Ipv6Addr>().unwrap(), 9).into(),
            _ => {
                let own = self.relayed.get(usize::from(choice) % self.relayed.len().max(1));
                own.copied().unwrap_or_else(|| ([198, 51, 100, 1], 50_000 + u16::from(choice)).into())
            }
        }
    }

    /// Longer than any lifetime: everything is given back.
    fn end(&mut self) {
        self.pass_time(36_000 * 3);
        while self.turn.poll_timeout().is_some_and(|at| at <= self.now.mono) {
            self.pass_time(1);
        }
        assert!(self.open.is_empty(), "every socket is closed in the end");
    }
}

fn tuple(caller: usize) -> FiveTuple {
    let last = u8::try_from(caller).unwrap() + 10;
    FiveTuple {
        listener: 0,
        transport: Transport::Udp,
        local: SERVER.into(),
        remote: ([192, 0, 2, last], 40_000).into(),
    }
}

fn with_room(bytes: &[u8]) -> (Vec<u8>, std::ops::Range<usize>) {
    let mut buffer = vec![0; HEADROOM + bytes.len() + TAILROOM];
    let data = HEADROOM..HEADROOM + bytes.len();
    buffer[data.clone()].copy_from_slice(bytes);
    (buffer, data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seed_gets_packets_relayed() {
        for (number, seed) in seeds().iter().enumerate() {
            assert!(play(seed) > 0, "seed {number} is only refused: a poor start");
        }
    }
}
