//! A TURN machine with clients that only exist as numbers, and a heap that counts. Shared by the test binaries about memory
//! and about what a relayed packet costs.
#![allow(dead_code, unsafe_code, clippy::unwrap_used, clippy::new_without_default, unreachable_pub)] // each binary uses its part; GlobalAlloc is an unsafe trait

use std::alloc::{GlobalAlloc, Layout, System};
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use relay::access::{self, Policy, ReplyLimits};
use relay::auth::{self, Authenticator, CallKeys};
use relay::calls::Handle;
use relay::time::{Millis, Now, Unix};
use relay::turn::{
    Action, FiveTuple, Forward, HEADROOM, Limits, Packet, RelayedAddress, Settings, Shared, TAILROOM, Transport, Turn,
};
use relay::wire::{Key, Message, Method, Request, TransactionId};

pub struct Counting;

static LIVE: AtomicU64 = AtomicU64::new(0);
static CALLS: AtomicU64 = AtomicU64::new(0);

// SAFETY: everything is handed to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.fetch_add(1, Relaxed);
        LIVE.fetch_add(layout.size() as u64, Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() as u64, Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Bytes of the heap in use, as they were asked for.
pub fn live_bytes() -> u64 {
    LIVE.load(Relaxed)
}

/// Times anybody asked the heap for memory.
pub fn heap_calls() -> u64 {
    CALLS.load(Relaxed)
}

/// Bytes of this process that lie in memory, as the kernel counts them.
pub fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

pub const REALM: &str = "test";
pub const CHANNEL: u16 = 0x4000;
pub const NOW: Now = Now { mono: Millis(1_000_000), unix: Unix(1_800_000_000), micros: 0 };

pub struct World {
    pub turn: Turn,
    pub shared: Arc<Shared>,
    pub call_keys: Arc<CallKeys>,
}

pub struct Client {
    pub five_tuple: FiveTuple,
    pub handle: Handle,
    pub username: String,
    pub key: Key,
    pub nonce: String,
    pub relayed: SocketAddr,
}

impl World {
    pub fn new() -> World {
        World::with_ports(1024..=65535)
    }

    pub fn with_ports(ports: RangeInclusive<u16>) -> World {
        World::at("203.0.113.7".parse().unwrap(), ports, access::Settings::default())
    }

    pub fn at(address: IpAddr, ports: RangeInclusive<u16>, access: access::Settings) -> World {
        let call_keys = Arc::new(CallKeys::new([1; 32]));
        let users = vec![("user".to_owned(), "secret".to_owned())];
        let auth = auth::Settings { realm: REALM.to_owned(), users, ..auth::Settings::default() };
        let authenticator = Authenticator::new(auth, Arc::clone(&call_keys), [2; 32]);
        let settings = Settings {
            addresses: vec![RelayedAddress::same(address)],
            ports,
            user_allocations: u32::MAX,
            call_limits: Limits { packets_per_second: u32::MAX, bits_per_second: u64::MAX >> 8 },
            unauthenticated: ReplyLimits { per_second: 0, ..ReplyLimits::default() },
            ..Settings::default()
        };
        let shared = Shared::new(settings, authenticator, Policy::new(&access), [3; 32]);
        World { turn: Turn::new(Arc::clone(&shared), 0, [4; 32]), shared, call_keys }
    }

    /// Somebody with a credential for one call; not allocated yet.
    pub fn caller(&self, number: u32) -> Client {
        let mut handle = Handle([7; 12]);
        handle.0[..4].copy_from_slice(&number.to_be_bytes());
        self.shared.ledger.open(handle).unwrap();
        let credential = self.call_keys.mint(NOW, handle, 1, 60);
        Client::new(number, handle, credential.username, &credential.password)
    }

    /// Somebody with ordinary credentials.
    pub fn user(&self, number: u32) -> Client {
        Client::new(number, Handle([0; 12]), "user".to_owned(), "secret")
    }

    /// Both round trips.
    pub fn allocate(&mut self, client: &mut Client) {
        let transaction = TransactionId([8; 12]);
        let request = || Request::new(Method::Allocate, transaction).requested_transport(17);
        let challenge = self.deliver(client, &request().finish(None));
        let nonce = Message::parse(&challenge).unwrap().nonce().unwrap().unwrap().to_vec();
        client.nonce = String::from_utf8(nonce).unwrap();
        let reply = self.deliver(client, &client.sign(request()));
        client.relayed = Message::parse(&reply).unwrap().xor_relayed_address().unwrap().unwrap();
    }

    pub fn bind(&mut self, client: &Client, peer: SocketAddr) {
        let request = Request::new(Method::ChannelBind, TransactionId([9; 12]));
        let reply = self.deliver(client, &client.sign(request.channel_number(CHANNEL).xor_peer_address(peer)));
        assert_eq!(Message::parse(&reply).unwrap().error_code(), Ok(None));
    }

    pub fn free(&mut self, client: &Client) {
        let request = Request::new(Method::Refresh, TransactionId([10; 12])).lifetime(0);
        let reply = self.deliver(client, &client.sign(request));
        assert_eq!(Message::parse(&reply).unwrap().error_code(), Ok(None));
    }

    pub fn deliver(&mut self, client: &Client, datagram: &[u8]) -> Vec<u8> {
        let mut buffer = datagram.to_vec();
        let range = 0..buffer.len();
        self.turn.handle_client(NOW, &client.five_tuple, &mut Packet::new(&mut buffer, range));
        let mut reply = Vec::new();
        while let Some(action) = self.turn.poll_action() {
            match action {
                Action::Reply { bytes, .. } => reply = bytes,
                Action::Open { port } => self.turn.handle_opened(NOW, port, Ok(())),
                Action::Close { .. } | Action::Tcp(_) => {}
            }
        }
        reply
    }

    /// Two callers in a call, with channels to each other.
    pub fn call(&mut self, number: u32) -> [Client; 2] {
        let mut both = [self.caller(number * 2), self.caller(number * 2 + 1)];
        self.shared.ledger.pair(both[0].handle, both[1].handle).unwrap();
        both.iter_mut().for_each(|client| self.allocate(client));
        for (one, other) in [(0, 1), (1, 0)] {
            self.bind(&both[one], both[other].relayed);
        }
        both
    }

    /// ChannelData from a client; whether it went somewhere.
    pub fn relays(&mut self, client: &Client, buffer: &mut [u8; HEADROOM + 176 + TAILROOM]) -> bool {
        buffer[HEADROOM..HEADROOM + 2].copy_from_slice(&CHANNEL.to_be_bytes());
        buffer[HEADROOM + 2..HEADROOM + 4].copy_from_slice(&172_u16.to_be_bytes());
        let mut packet = Packet::new(buffer, HEADROOM..HEADROOM + 176);
        self.turn.handle_client(NOW, &client.five_tuple, &mut packet) != Forward::None
    }
}

impl Client {
    fn new(number: u32, handle: Handle, username: String, password: &str) -> Client {
        let [_, b, c, d] = number.to_be_bytes();
        let remote = SocketAddr::from(([100, b + 1, c, d], 40_000));
        let local = SocketAddr::from(([203, 0, 113, 7], 3478));
        let key = Key::long_term(username.as_bytes(), REALM.as_bytes(), password.as_bytes());
        let five_tuple = FiveTuple { listener: 0, transport: Transport::Udp, local, remote };
        Client { five_tuple, handle, username, key, nonce: String::new(), relayed: remote }
    }

    pub fn sign(&self, request: Request) -> Vec<u8> {
        request.credentials(&self.username, REALM, &self.nonce).finish(Some(&self.key))
    }
}
