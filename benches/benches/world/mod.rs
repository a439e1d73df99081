//! A TURN machine with allocations, and packets for them: what the benches of the core have in common. No socket, no kernel.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)] // each bench uses its part, and stops at the first surprise

use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;

use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use relay::access::{self, Policy, ReplyLimits};
use relay::auth::{self, Authenticator, CallKeys};
use relay::calls::Handle;
use relay::time::{Millis, Now, Unix};
use relay::turn::{
    Action, FiveTuple, Forward, HEADROOM, Limits, Packet, RelayedAddress, RelayedPort, Settings, Shared, TAILROOM,
    Transport, Turn,
};
use relay::wire::{Key, Message, Method, Request, TransactionId};

pub const REALM: &str = "bench";
pub const PAYLOAD: usize = 172; // Opus at 64 kbit/s in SRTP
/// Receive buffers in turn, as in a worker's batch: what arrives is warm, what the machine remembers may not be.
const BUFFERS: usize = 64;
pub const CHANNEL: u16 = 0x4000;
pub const NOW: Now = Now { mono: Millis(1_000_000), unix: Unix(1_800_000_000), micros: 0 };

/// A worker with allocations, and the packets that arrive for them in random order.
pub struct Scene {
    turn: Turn,
    order: Vec<u32>,
    /// The beginning of each client's datagram, or of everybody's.
    fronts: Vec<Vec<u8>>,
    length: usize,
    /// Packets of the peer to these ports instead of the clients' own.
    ports: Option<Vec<RelayedPort>>,
    buffers: Vec<Vec<u8>>,
    /// Where the payload is RTP: packets handed over so far.
    spoken: Option<usize>,
}

pub struct Client {
    pub index: usize,
    pub username: String,
    pub key: Key,
    pub relayed: SocketAddr,
}

impl Scene {
    fn new(turn: Turn, clients: usize, datagrams: &[Vec<u8>]) -> Scene {
        let mut order: Vec<u32> = (0..clients as u32).collect();
        order.shuffle(&mut rand_chacha::ChaCha12Rng::seed_from_u64(7));
        let length = datagrams[0].len();
        let mut buffer = vec![0; HEADROOM + length + TAILROOM];
        buffer[HEADROOM..HEADROOM + length].copy_from_slice(&datagrams[0]);
        let fronts = datagrams.iter().map(|datagram| datagram[..length.min(48)].to_vec()).collect();
        Scene { turn, order, fronts, length, ports: None, buffers: vec![buffer; BUFFERS], spoken: None }
    }

    /// Hands the machine so many packets.
    pub fn pass(&mut self, packets: usize) {
        let mut forwarded = 0;
        for (done, &index) in self.order.iter().cycle().take(packets).enumerate() {
            let front = &self.fronts[index as usize % self.fronts.len()];
            let buffer = &mut self.buffers[done % BUFFERS];
            buffer[HEADROOM..HEADROOM + front.len()].copy_from_slice(front);
            if let Some(spoken) = &mut self.spoken {
                write_rtp(&mut buffer[HEADROOM + 4..], (*spoken / self.order.len()) as u32);
                *spoken += 1;
            }
            let mut packet = Packet::new(buffer, HEADROOM..HEADROOM + self.length);
            let forward = match &self.ports {
                None => self.turn.handle_client(NOW, &five_tuple(index as usize), &mut packet),
                Some(ports) => self.turn.handle_peer(NOW, ports[index as usize], peer(), &mut packet),
            };
            forwarded += usize::from(black_box(forward) != Forward::None);
        }
        assert_eq!(forwarded, packets, "every packet goes somewhere");
        assert!(self.turn.poll_action().is_none());
    }

    pub fn calls(allocations: usize) -> Scene {
        Scene::of_calls(World::new(), allocations)
    }

    /// Calls in which everybody speaks in 20 ms frames; what is heard of them is counted.
    pub fn heard_voices(allocations: usize) -> Scene {
        Scene { spoken: Some(0), ..Scene::of_calls(World::with(true), allocations) }
    }

    /// The same, not listened to.
    pub fn unheard_voices(allocations: usize) -> Scene {
        Scene { spoken: Some(0), ..Scene::calls(allocations) }
    }

    fn of_calls(world: World, allocations: usize) -> Scene {
        let (mut world, clients) = world.in_calls(allocations);
        for client in &clients {
            world.bind(client, clients[client.index ^ 1].relayed);
        }
        Scene::new(world.turn, allocations, &[channel_data()])
    }

    pub fn calls_by_indication(allocations: usize) -> Scene {
        let (world, clients) = World::new().in_calls(allocations);
        let send = |peer| Request::indication(Method::Send, TransactionId([1; 12])).xor_peer_address(peer);
        let datagram = |client: &Client| send(clients[client.index ^ 1].relayed).data(&[0xAB; PAYLOAD]).finish(None);
        Scene::new(world.turn, allocations, &clients.iter().map(datagram).collect::<Vec<_>>())
    }

    pub fn clients_of_a_peer(allocations: usize) -> Scene {
        let (world, _) = World::with_a_peer(allocations);
        Scene::new(world.turn, allocations, &[channel_data()])
    }

    pub fn peer_of_clients(allocations: usize) -> Scene {
        let (world, clients) = World::with_a_peer(allocations);
        let ports = clients.iter().map(|client| world.shared.routes.locate(client.relayed).unwrap()).collect();
        Scene { ports: Some(ports), ..Scene::new(world.turn, allocations, &[vec![0xAB; PAYLOAD]]) }
    }
}

/// Opus in 20 ms frames, packet `number` of its stream.
fn write_rtp(payload: &mut [u8], number: u32) {
    payload[..2].copy_from_slice(&[0x80, 111]);
    payload[2..4].copy_from_slice(&(number as u16).to_be_bytes());
    payload[4..8].copy_from_slice(&number.wrapping_mul(960).to_be_bytes());
}

impl Client {
    fn new(index: usize, username: String, password: &str) -> Client {
        let key = Key::long_term(username.as_bytes(), REALM.as_bytes(), password.as_bytes());
        Client { index, username, key, relayed: peer() }
    }
}

pub struct World {
    pub turn: Turn,
    pub shared: Arc<Shared>,
    pub call_keys: Arc<CallKeys>,
}

impl World {
    pub fn new() -> World {
        World::with(false)
    }

    /// `quality`: the streams of calls are listened to.
    pub fn with(quality: bool) -> World {
        let call_keys = Arc::new(CallKeys::new([1; 32]));
        let users = vec![("user".to_owned(), "secret".to_owned())];
        let auth = auth::Settings { realm: REALM.to_owned(), users, ..auth::Settings::default() };
        let authenticator = Authenticator::new(auth, Arc::clone(&call_keys), [2; 32]);
        let settings = Settings {
            // Two, for more allocations than one address has ports.
            addresses: ["203.0.113.7", "203.0.113.8"].map(|it| RelayedAddress::same(it.parse().unwrap())).into(),
            ports: 1024..=65535,
            user_allocations: u32::MAX,
            // Counted as in a call, but never reached in the one moment all this happens in.
            call_limits: Limits { packets_per_second: u32::MAX, bits_per_second: u64::MAX >> 8 },
            unauthenticated: ReplyLimits { per_second: 0, ..ReplyLimits::default() },
            quality,
            ..Settings::default()
        };
        let shared = Shared::new(settings, authenticator, Policy::new(&access::Settings::default()), [3; 32]);
        World { turn: Turn::new(Arc::clone(&shared), 0, [4; 32]), shared, call_keys }
    }

    /// Clients 2n and 2n + 1 are in a call.
    pub fn in_calls(mut self, allocations: usize) -> (World, Vec<Client>) {
        let world = &mut self;
        let mut random = rand_chacha::ChaCha12Rng::seed_from_u64(8);
        let handles: Vec<_> = (0..allocations).map(|_| Handle(random.random())).collect();
        handles.iter().for_each(|&handle| world.shared.ledger.open(handle).unwrap());
        handles.chunks_exact(2).for_each(|pair| world.shared.ledger.pair(pair[0], pair[1]).unwrap());
        let clients = handles.iter().enumerate().map(|(index, handle)| world.caller(index, *handle)).collect();
        (self, clients)
    }

    /// Allocates with a credential for the handle: both round trips.
    pub fn caller(&mut self, index: usize, handle: Handle) -> Client {
        let credential = self.call_keys.mint(NOW, handle, 1, 60);
        self.allocate(index, credential.username, &credential.password)
    }

    /// Each client has a channel to the same peer outside.
    pub fn with_a_peer(allocations: usize) -> (World, Vec<Client>) {
        let mut world = World::new();
        let clients: Vec<_> =
            (0..allocations).map(|index| world.allocate(index, "user".to_owned(), "secret")).collect();
        for client in &clients {
            world.bind(client, peer());
        }
        (world, clients)
    }

    /// Both round trips.
    pub fn allocate(&mut self, index: usize, username: String, password: &str) -> Client {
        let mut client = Client::new(index, username, password);
        self.come_in(&mut client);
        client
    }

    /// A caller who has not allocated yet.
    pub fn prepare(&self, index: usize, handle: Handle) -> Client {
        let credential = self.call_keys.mint(NOW, handle, 1, 60);
        Client::new(index, credential.username, &credential.password)
    }

    pub fn come_in(&mut self, client: &mut Client) {
        let reply = self.ask(client, Method::Allocate, |request| request.requested_transport(17));
        client.relayed = Message::parse(&reply).unwrap().xor_relayed_address().unwrap().unwrap();
    }

    pub fn bind(&mut self, client: &Client, peer: SocketAddr) {
        let reply =
            self.ask(client, Method::ChannelBind, |request| request.channel_number(CHANNEL).xor_peer_address(peer));
        assert_eq!(Message::parse(&reply).unwrap().error_code(), Ok(None));
    }

    pub fn ask(&mut self, client: &Client, method: Method, fill: impl Fn(Request) -> Request) -> Vec<u8> {
        let request = || fill(Request::new(method, TransactionId([9; 12])));
        let challenge = self.deliver(client, &request().finish(None));
        let message = Message::parse(&challenge).unwrap();
        let nonce = std::str::from_utf8(message.nonce().unwrap().unwrap()).unwrap();
        let signed = request().credentials(&client.username, REALM, nonce).finish(Some(&client.key));
        self.deliver(client, &signed)
    }

    pub fn deliver(&mut self, client: &Client, datagram: &[u8]) -> Vec<u8> {
        let mut buffer = datagram.to_vec();
        let range = 0..buffer.len();
        self.turn.handle_client(NOW, &five_tuple(client.index), &mut Packet::new(&mut buffer, range));
        loop {
            match self.turn.poll_action().unwrap() {
                Action::Reply { bytes, .. } => return bytes,
                Action::Open { port } => self.turn.handle_opened(NOW, port, Ok(())),
                Action::Close { .. } | Action::Tcp(_) => {}
            }
        }
    }
}

pub fn five_tuple(index: usize) -> FiveTuple {
    let [_, b, c, d] = (index as u32).to_be_bytes();
    let remote = SocketAddr::from(([100, b + 1, c, d], 40_000));
    FiveTuple { listener: 0, transport: Transport::Udp, local: SocketAddr::from(([203, 0, 113, 7], 3478)), remote }
}

pub fn peer() -> SocketAddr {
    SocketAddr::from(([93, 184, 216, 34], 9000))
}

pub fn channel_data() -> Vec<u8> {
    let mut datagram = CHANNEL.to_be_bytes().to_vec();
    datagram.extend_from_slice(&(PAYLOAD as u16).to_be_bytes());
    datagram.resize(4 + PAYLOAD, 0xAB);
    datagram
}
