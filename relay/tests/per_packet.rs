//! A relayed packet costs no memory from the heap, no task switch and no system call but waiting, receiving and sending, in
//! batches: shown on the real data plane with real sockets. No lock either: the packet path has none to take (`turn/forward`
//! reads the route table, which is atomics), and a contended one would show as a task switch that no wait accounts for.
//!
//! One test, so that the harness does not use the heap while it runs.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)] // a test, which says what it measured

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use relay::clock::Clock;
use relay::dataplane::{self, NewStream, Running};
use relay::turn::HEADROOM;
use relay::wire::{Message, Method, Request, TransactionId};
use relay::{access, turn};
use support::{CHANNEL, Client, Counting, World, heap_calls};

#[global_allocator]
static HEAP: Counting = Counting;

const PAYLOAD: usize = 172;
/// Sent before any is read back: fewer than fill the smallest receive buffer on the way.
const BURST: usize = 32;
/// The same over a stream: as much as its buffers keep room for between two bursts, which is 200 ms of voice.
const STREAM_BURST: usize = 10;
const BURSTS: usize = 200;
/// Measurements, of which one without any use of the heap is enough.
const TRIES: usize = 3;
/// Long enough for a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(10);

struct Caller {
    link: Link,
    client: Client,
}

enum Link {
    Udp(UdpSocket),
    Tcp(TcpStream),
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
    let link = || Link::Udp(connected(server));
    let callers = [Caller { link: link(), client: world.caller(1) }, Caller { link: link(), client: world.caller(2) }];
    talk(&world, &running, "hairpin", callers, BURST);

    let tcp = || Link::Tcp(stream(&running));
    let callers = [Caller { link: tcp(), client: world.caller(5) }, Caller { link: tcp(), client: world.caller(6) }];
    talk(&world, &running, "hairpin, TCP to TCP", callers, STREAM_BURST);
    let callers = [Caller { link: tcp(), client: world.caller(7) }, Caller { link: link(), client: world.caller(8) }];
    talk(&world, &running, "hairpin, TCP to UDP", callers, STREAM_BURST);
    let callers = [Caller { link: link(), client: world.caller(9) }, Caller { link: tcp(), client: world.caller(10) }];
    talk(&world, &running, "hairpin, UDP to TCP", callers, STREAM_BURST);

    let peer = socket();
    let mut user = Caller { link: link(), client: world.user(3) };
    user.allocate();
    user.bind(peer.local_addr().unwrap());
    let relayed = user.client.relayed;
    let peer = Link::Udp(peer);
    passes(&running, "to a peer outside", &user.link, &channel_data(), &peer, BURST);
    let send = Request::indication(Method::Send, TransactionId([1; 12])).xor_peer_address(peer.address());
    let indication = send.data(&[0xAB; PAYLOAD]).finish(None);
    passes(&running, "Send indication to a peer", &user.link, &indication, &peer, BURST);
    peer.connect(relayed);
    passes(&running, "from a peer outside", &peer, &[0xAB; PAYLOAD], &user.link, BURST);
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

/// Two in a call, the first of whom speaks.
fn talk(world: &World, running: &Running, name: &str, [mut one, mut other]: [Caller; 2], burst: usize) {
    world.shared.ledger.pair(one.client.handle, other.client.handle).unwrap();
    one.allocate();
    other.allocate();
    one.bind(other.client.relayed);
    other.bind(one.client.relayed);
    passes(running, name, &one.link, &channel_data(), &other.link, burst);
}

/// Sends bursts one way and reads them at the other end, after a first burst that warms up.
fn passes(running: &Running, name: &str, from: &Link, message: &[u8], to: &Link, burst: usize) {
    in_a_burst(from, message, to, burst);
    let packets = (burst * BURSTS) as u64;
    let mut tries = 1..=TRIES;
    let used = loop {
        let (before, heap) = (Account::of(running), heap_calls());
        for _ in 0..BURSTS {
            in_a_burst(from, message, to, burst);
        }
        let heap = heap_calls() - heap;
        let used = Account::of(running).since(&before);
        println!("{name}: {used:?} for {packets} packets, {heap} uses of the heap");
        assert_eq!(used.relayed, packets, "{name}: every packet is counted");
        // A starved worker finds more at once than ever before, and its buffers grow to that; a packet's own need would show each time.
        if heap == 0 || tries.next().is_none() {
            assert_eq!(heap, 0, "{name}: uses of the heap");
            break used;
        }
    };
    // A wait that brings one datagram, its receive and its send: never more, whatever the machine is busy with.
    assert!(used.calls <= 3 * packets + BURSTS as u64, "{name}: {} system calls", used.calls);
    assert!(used.switches <= used.sleeps + BURSTS as u64 / 10, "{name}: {used:?}");
}

fn in_a_burst(from: &Link, message: &[u8], to: &Link, count: usize) {
    let mut buffer = [0; HEADROOM + 2048];
    for _ in 0..count {
        from.send(message);
    }
    for _ in 0..count {
        assert!(to.receive(&mut buffer) >= PAYLOAD);
    }
}

impl Link {
    fn send(&self, message: &[u8]) {
        match self {
            Link::Udp(socket) => assert_eq!(socket.send(message).unwrap(), message.len()),
            Link::Tcp(stream) => (&*stream).write_all(message).unwrap(), // each is a whole number of words
        }
    }

    /// One message.
    fn receive(&self, buffer: &mut [u8]) -> usize {
        match self {
            Link::Udp(socket) => socket.recv(buffer).unwrap(),
            Link::Tcp(stream) => {
                let mut stream = stream;
                stream.read_exact(&mut buffer[..4]).unwrap();
                let header = if buffer[0] < 0x40 { 20 } else { 4 };
                let length = header + usize::from(u16::from_be_bytes([buffer[2], buffer[3]]));
                stream.read_exact(&mut buffer[4..length.next_multiple_of(4)]).unwrap();
                length
            }
        }
    }

    fn address(&self) -> SocketAddr {
        match self {
            Link::Udp(socket) => socket.local_addr().unwrap(),
            Link::Tcp(stream) => stream.local_addr().unwrap(),
        }
    }

    fn connect(&self, to: SocketAddr) {
        if let Link::Udp(socket) = self {
            socket.connect(to).unwrap();
        }
    }
}

impl Account {
    fn of(running: &Running) -> Account {
        let (io, turn) = (&running.io_counters()[0], &running.counters()[0]);
        let switches = switches("udp-0");
        let sleeps = io.waits.get() + io.naps.get();
        let datagrams = io.receive_calls.get() + io.send_calls.get();
        let calls = datagrams + io.stream_reads.get() + io.stream_writes.get() + io.waits.get();
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

/// A client's end of a connection whose other end is the worker's.
fn stream(running: &Running) -> TcpStream {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.set_nodelay(true).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let (socket, remote) = listener.accept().unwrap();
    socket.set_nonblocking(true).unwrap();
    socket.set_nodelay(true).unwrap();
    let local = socket.local_addr().unwrap();
    let new = NewStream { socket, tls: None, first: Vec::new(), listener: 0, local, remote, place: Box::new(()) };
    running.mailboxes().adopt(0, Box::new(new)).unwrap();
    client
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
        self.link.send(request);
        let mut buffer = [0; 2048];
        let length = self.link.receive(&mut buffer);
        buffer[..length].to_vec()
    }
}
