//! A relayed packet costs no memory from the heap, no task switch and no system call but waiting, receiving and sending, in
//! batches: shown on the real data plane with real sockets. No lock either: the packet path has none to take (`turn/forward`
//! reads the route table, which is atomics), and a contended one would show as a task switch that no wait accounts for.
//!
//! One test, so that the harness does not use the heap while it runs.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)] // a test, which says what it measured

mod support;

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use relay::clock::Clock;
use relay::dataplane::{self, Running};
use relay::turn::HEADROOM;
use relay::wire::{Message, Method, Request, TransactionId};
use relay::{access, turn};
use support::{CHANNEL, Client, Counting, World, heap_calls};

#[global_allocator]
static HEAP: Counting = Counting;

const PAYLOAD: usize = 172;
/// Sent before any is read back: fewer than fill the smallest receive buffer on the way.
const BURST: usize = 32;
const BURSTS: usize = 200;
/// Long enough for a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(10);

struct Caller {
    socket: UdpSocket,
    client: Client,
}

/// What the worker did.
#[derive(Debug)]
struct Account {
    calls: u64,
    sleeps: u64,
    switches: u64,
    relayed: u64,
}

#[test]
fn a_relayed_packet_allocates_nothing_and_switches_no_task() {
    let (mut world, running, server) = start();
    let [mut one, mut other] = [caller(&world, 1, server), caller(&world, 2, server)];
    world.shared.ledger.pair(one.client.handle, other.client.handle).unwrap();
    one.allocate();
    other.allocate();
    one.bind(other.client.relayed);
    other.bind(one.client.relayed);
    passes(&running, "hairpin", &one.socket, &channel_data(), &other.socket);

    let peer = socket();
    let mut user = Caller { socket: connected(server), client: world.user(3) };
    user.allocate();
    user.bind(peer.local_addr().unwrap());
    passes(&running, "to a peer outside", &user.socket, &channel_data(), &peer);
    peer.connect(user.client.relayed).unwrap();
    passes(&running, "from a peer outside", &peer, &[0xAB; PAYLOAD], &user.socket);

    let send = Request::indication(Method::Send, TransactionId([1; 12])).xor_peer_address(peer.local_addr().unwrap());
    passes(&running, "Send indication to a peer", &user.socket, &send.data(&[0xAB; PAYLOAD]).finish(None), &peer);
    world.turn.handle_command(support::NOW, turn::Command::Drain); // the machine of this thread has no part in it
    running.stop();
}

fn start() -> (World, Running, SocketAddr) {
    let settings = dataplane::Settings {
        listeners: vec!["127.0.0.1:0".parse().unwrap()],
        workers: 1,
        ..dataplane::Settings::default()
    };
    let bound = dataplane::bind(&settings).unwrap();
    let server = bound.addresses()[0];
    let access = access::Settings {
        allow_peers: vec!["127.0.0.0/8".parse().unwrap()],
        own_listeners: vec![server],
        ..access::Settings::default()
    };
    let world = World::at(server.ip(), 20_000..=60_000, access);
    let running = bound.start(&world.shared, Clock::start(), [5; 32]).unwrap();
    (world, running, server)
}

/// Sends bursts one way and reads them at the other end, after a first burst that warms up.
fn passes(running: &Running, name: &str, from: &UdpSocket, datagram: &[u8], to: &UdpSocket) {
    burst(from, datagram, to);
    let (before, heap) = (Account::of(running), heap_calls());
    for _ in 0..BURSTS {
        burst(from, datagram, to);
    }
    let heap = heap_calls() - heap;
    let used = Account::of(running).since(&before);
    let packets = (BURST * BURSTS) as u64;
    println!("{name}: {used:?} for {packets} packets, {heap} uses of the heap");
    assert_eq!(used.relayed, packets, "{name}: every packet is counted");
    assert_eq!(heap, 0, "{name}: uses of the heap");
    // A wait that brings one datagram, its receive and its send: never more, whatever the machine is busy with.
    assert!(used.calls <= 3 * packets + BURSTS as u64, "{name}: {} system calls", used.calls);
    assert!(used.switches <= used.sleeps + BURSTS as u64 / 10, "{name}: {used:?}");
}

fn burst(from: &UdpSocket, datagram: &[u8], to: &UdpSocket) {
    let mut buffer = [0; HEADROOM + 2048];
    for _ in 0..BURST {
        from.send(datagram).unwrap();
    }
    for _ in 0..BURST {
        assert!(to.recv(&mut buffer).unwrap() >= PAYLOAD);
    }
}

impl Account {
    fn of(running: &Running) -> Account {
        let (io, turn) = (&running.io_counters()[0], &running.counters()[0]);
        let switches = switches("udp-0");
        let sleeps = io.waits.get() + io.naps.get();
        let calls = io.receive_calls.get() + io.send_calls.get() + io.waits.get();
        let relayed = turn.relayed().map(|(_, relayed)| relayed.packets).sum();
        Account { calls, sleeps, switches, relayed }
    }

    fn since(self, before: &Account) -> Account {
        Account {
            calls: self.calls - before.calls,
            sleeps: self.sleeps - before.sleeps,
            switches: self.switches - before.switches,
            relayed: self.relayed - before.relayed,
        }
    }
}

/// Times the thread of that name gave up its core of its own accord.
fn switches(thread: &str) -> u64 {
    let tasks = fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
    let named =
        |path: &std::path::PathBuf| fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm.trim() == thread);
    let status = fs::read_to_string(tasks.into_iter().find(named).unwrap().join("status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn caller(world: &World, number: u32, server: SocketAddr) -> Caller {
    Caller { socket: connected(server), client: world.caller(number) }
}

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn connected(server: SocketAddr) -> UdpSocket {
    let socket = socket();
    socket.connect(server).unwrap();
    socket
}

fn channel_data() -> Vec<u8> {
    let mut datagram = CHANNEL.to_be_bytes().to_vec();
    datagram.extend_from_slice(&(PAYLOAD as u16).to_be_bytes());
    datagram.resize(4 + PAYLOAD, 0xAB);
    datagram
}

impl Caller {
    fn allocate(&mut self) {
        let request = || Request::new(Method::Allocate, TransactionId([8; 12])).requested_transport(17);
        let challenge = self.ask(&request().finish(None));
        let nonce = Message::parse(&challenge).unwrap().nonce().unwrap().unwrap().to_vec();
        self.client.nonce = String::from_utf8(nonce).unwrap();
        let reply = self.ask(&self.client.sign(request()));
        self.client.relayed = Message::parse(&reply).unwrap().xor_relayed_address().unwrap().unwrap();
    }

    fn bind(&self, peer: SocketAddr) {
        let request = Request::new(Method::ChannelBind, TransactionId([9; 12]));
        let reply = self.ask(&self.client.sign(request.channel_number(CHANNEL).xor_peer_address(peer)));
        assert_eq!(Message::parse(&reply).unwrap().error_code(), Ok(None));
    }

    fn ask(&self, request: &[u8]) -> Vec<u8> {
        self.socket.send(request).unwrap();
        let mut buffer = [0; 2048];
        let length = self.socket.recv(&mut buffer).unwrap();
        buffer[..length].to_vec()
    }
}
