//! Hostile traffic beside the honest load, at a bounded rate from addresses of its own: what matters is what the honest
//! callers are left with. Only against this machine and private networks.
//!
//! Garbage: datagrams of random bytes. Challenges: Allocate requests without a credential, each worth a 401. Allocations:
//! one user asks again and again from ever new addresses, until the quota refuses. Slow connections: an upgrade request at
//! a byte a second (slow-loris), opened again when the server has had enough.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket},
    os::fd::AsFd,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rand::RngCore;
use rand_chacha::{ChaCha12Rng, rand_core::SeedableRng};
use socket2::{Domain, Protocol, Socket, Type};

use crate::{
    peer::{
        stun::{Builder, Class, Method, View, attribute, long_term_key},
        turn::Credential,
    },
    sys::{self, Inbox},
};

/// The most of each kind a scenario may ask for: datagrams a second, and connections.
pub const MAX_RATE: f64 = 50_000.0;
pub const MAX_SLOW: u32 = 2_000;
/// Where attackers live, apart from callers and servers: 127.255.1.0 to 127.255.250.255.
const ADDRESSES: u32 = 250 << 8;
const FIRST_ADDRESS: u32 = 0x7FFF_0100;
const TICK: Duration = Duration::from_millis(5);
/// Between two bytes of a slow connection.
const DRIP: Duration = Duration::from_secs(1);
const REQUEST: &[u8] = b"GET /v1/ws HTTP/1.1\r\nHost: relay\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX-Wait: ";
const UDP: [u8; 4] = [17, 0, 0, 0];

/// How much of what, as the scenario says; nothing of all is no attack.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Mix {
    /// Datagrams a second.
    pub garbage: f64,
    pub challenges: f64,
    pub allocations: f64,
    /// Connections held.
    pub slow: u32,
}

/// Whom it goes to.
#[derive(Clone)]
pub struct Victim {
    pub turn: SocketAddr,
    pub signalling: Option<SocketAddr>,
    /// In whose name allocations are asked for.
    pub user: Option<Credential>,
}

/// What was done and what came back.
#[derive(Debug, Default)]
struct Counters {
    garbage: AtomicU64,
    challenges: AtomicU64,
    allocations: AtomicU64,
    challenged: AtomicU64,
    granted: AtomicU64,
    refused: AtomicU64,
    answered_otherwise: AtomicU64,
    slow_opened: AtomicU64,
    slow_closed: AtomicU64,
}

/// The same as plain numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Account {
    pub garbage_sent: u64,
    pub challenges_sent: u64,
    pub allocations_asked: u64,
    /// Answers: 401 and 438, allocations granted, other errors (quota), anything else.
    pub challenged: u64,
    pub granted: u64,
    pub refused: u64,
    pub answered_otherwise: u64,
    pub slow_opened: u64,
    /// Of those, closed by the server.
    pub slow_closed: u64,
}

impl Mix {
    pub fn is_any(&self) -> bool {
        self.garbage + self.challenges + self.allocations > 0.0 || self.slow > 0
    }
}

/// Whether hostile traffic may go there.
pub fn may_be_attacked(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

/// An attack under way; it ends when it is stopped or dropped.
pub struct Attack {
    stop: Arc<AtomicBool>,
    counters: Arc<Counters>,
    threads: Vec<JoinHandle<()>>,
}

impl Attack {
    pub fn start(mix: Mix, victim: Victim) -> io::Result<Attack> {
        let (stop, counters) = (Arc::new(AtomicBool::new(false)), Arc::new(Counters::default()));
        let mut attack = Attack { stop: stop.clone(), counters: counters.clone(), threads: Vec::new() };
        if mix.garbage + mix.challenges + mix.allocations > 0.0 {
            let mut flood = Flood::new(mix, &victim, counters.clone())?;
            let stop = stop.clone();
            attack.spawn("flood", move || flood.run(&stop))?;
        }
        if let Some(signalling) = victim.signalling.filter(|_| mix.slow > 0) {
            attack.spawn("slow", move || drip(signalling, mix.slow, &stop, &counters))?;
        }
        Ok(attack)
    }

    fn spawn(&mut self, name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        self.threads.push(thread::Builder::new().name(name.to_owned()).spawn(work)?);
        Ok(())
    }

    pub fn stop(mut self) -> Account {
        self.end();
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let all = &self.counters;
        Account {
            garbage_sent: read(&all.garbage),
            challenges_sent: read(&all.challenges),
            allocations_asked: read(&all.allocations),
            challenged: read(&all.challenged),
            granted: read(&all.granted),
            refused: read(&all.refused),
            answered_otherwise: read(&all.answered_otherwise),
            slow_opened: read(&all.slow_opened),
            slow_closed: read(&all.slow_closed),
        }
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for Attack {
    fn drop(&mut self) {
        self.end();
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Datagrams of three kinds from one socket, with an address for each.
struct Flood {
    mix: Mix,
    turn: SocketAddr,
    user: Option<Credential>,
    socket: UdpSocket,
    inbox: Inbox,
    random: ChaCha12Rng,
    next_address: u32,
    /// Challenges that were taken up.
    insisted: u64,
    counters: Arc<Counters>,
}

impl Flood {
    fn new(mix: Mix, victim: &Victim, counters: Arc<Counters>) -> io::Result<Flood> {
        let any = if victim.turn.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(any)?;
        if victim.turn.is_ipv4() {
            sys::describe_datagrams(socket.as_fd())?;
        }
        Ok(Flood {
            mix,
            turn: victim.turn,
            user: victim.user.clone(),
            socket,
            inbox: Inbox::default(),
            random: ChaCha12Rng::seed_from_u64(0xA77AC),
            next_address: 0,
            insisted: 0,
            counters,
        })
    }

    fn run(&mut self, stop: &AtomicBool) {
        let start = Instant::now();
        let mut done = [0u64; 3];
        while !stop.load(Ordering::Relaxed) {
            let elapsed = start.elapsed().as_secs_f64();
            for (kind, rate) in [self.mix.garbage, self.mix.challenges, self.mix.allocations].into_iter().enumerate() {
                // What a held-up thread missed is left out: the rate is a bound.
                let due = (rate * elapsed) as u64;
                let most = (rate * 4.0 * TICK.as_secs_f64()).ceil() as u64;
                done[kind] = done[kind].max(due.saturating_sub(most));
                while done[kind] < due {
                    done[kind] += 1;
                    self.send(kind);
                }
            }
            self.answers();
            thread::sleep(TICK);
        }
    }

    fn send(&mut self, kind: usize) {
        let from = self.address();
        let bytes = if kind == 0 { self.garbage() } else { self.request(&[]).finish() };
        if sys::send(self.socket.as_fd(), &bytes, from, self.turn).is_err() {
            return;
        }
        count([&self.counters.garbage, &self.counters.challenges, &self.counters.allocations][kind]);
    }

    /// A new one each time where the target is on this machine.
    fn address(&mut self) -> Option<Ipv4Addr> {
        self.next_address = (self.next_address + 1) % ADDRESSES;
        self.turn
            .ip()
            .is_loopback()
            .then(|| Ipv4Addr::from(FIRST_ADDRESS + self.next_address))
            .filter(|_| self.turn.is_ipv4())
    }

    fn garbage(&mut self) -> Vec<u8> {
        let mut bytes = vec![0; 1 + self.random.next_u32() as usize % 600];
        self.random.fill_bytes(&mut bytes);
        bytes
    }

    /// An Allocate request. The low bit of its number says whether a challenge to it is taken up.
    fn request(&mut self, signed: &[(u16, &[u8])]) -> Builder {
        let mut id = [0; 12];
        self.random.fill_bytes(&mut id);
        let builder =
            Builder::new(Class::Request, Method::Allocate, id).attribute(attribute::REQUESTED_TRANSPORT, &UDP);
        signed.iter().fold(builder, |builder, (kind, value)| builder.attribute(*kind, value))
    }

    /// Counts what came back. As long as fewer were taken up than allocations were asked for, a challenge is answered with
    /// the credential.
    fn answers(&mut self) {
        while let Ok(got @ 1..) = self.inbox.receive(self.socket.as_fd()) {
            for index in 0..got {
                let datagram = self.inbox.datagram(index);
                let (bytes, local) = (datagram.bytes.to_vec(), datagram.local);
                self.answer(&bytes, local);
            }
        }
    }

    fn answer(&mut self, bytes: &[u8], local: Option<Ipv4Addr>) {
        let counters = self.counters.clone();
        let Some(message) = View::parse(bytes) else { return count(&counters.answered_otherwise) };
        match (message.class(), message.error_code()) {
            (Class::Success, _) => count(&counters.granted),
            (Class::Error, Some(401 | 438)) => {
                count(&counters.challenged);
                self.insist(&message, local);
            }
            (Class::Error, _) => count(&counters.refused),
            _ => count(&counters.answered_otherwise),
        }
    }

    fn insist(&mut self, challenge: &View<'_>, local: Option<Ipv4Addr>) {
        let asked = self.counters.allocations.load(Ordering::Relaxed);
        let (Some(realm), Some(nonce)) = (challenge.get(attribute::REALM), challenge.get(attribute::NONCE)) else {
            return;
        };
        let Some(Credential { username, password }) = self.user.clone().filter(|_| self.insisted < asked) else {
            return;
        };
        self.insisted += 1;
        let key = long_term_key(&username, &String::from_utf8_lossy(realm), &password);
        let signed = [(attribute::USERNAME, username.as_bytes()), (attribute::REALM, realm), (attribute::NONCE, nonce)];
        let request = self.request(&signed).integrity(&key).finish();
        let _ = sys::send(self.socket.as_fd(), &request, local, self.turn);
    }
}

/// Holds `wanted` connections, each of which says a byte a second of a request that never ends.
fn drip(to: SocketAddr, wanted: u32, stop: &AtomicBool, counters: &Counters) {
    let mut held: Vec<(TcpStream, usize)> = Vec::new();
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        while held.len() < wanted as usize {
            number += 1;
            let Ok(stream) = open(to, number) else { break };
            count(&counters.slow_opened);
            held.push((stream, 0));
        }
        held.retain_mut(|(stream, said)| {
            let alive = say_a_byte(stream, said);
            if !alive {
                count(&counters.slow_closed);
            }
            alive
        });
        let next = Instant::now() + DRIP;
        while Instant::now() < next && !stop.load(Ordering::Relaxed) {
            thread::sleep(TICK);
        }
    }
}

fn open(to: SocketAddr, number: u32) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    if to.ip().is_loopback() && to.is_ipv4() {
        let source = Ipv4Addr::from(FIRST_ADDRESS + number % ADDRESSES);
        socket.bind(&SocketAddr::from((source, 0)).into())?;
    }
    socket.connect_timeout(&to.into(), Duration::from_millis(500))?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// False when the server has had enough.
fn say_a_byte(stream: &mut TcpStream, said: &mut usize) -> bool {
    let byte = REQUEST.get(*said).copied().unwrap_or(b'x');
    *said += 1;
    let full = |error: &io::Error| error.kind() == io::ErrorKind::WouldBlock;
    let written = stream.write(&[byte]).is_ok_and(|written| written > 0);
    let mut buffer = [0; 256];
    let open = match stream.read(&mut buffer) {
        Ok(length) => length > 0,
        Err(error) => full(&error),
    };
    written && open
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_this_machine_and_private_networks_are_attacked() {
        for (address, allowed) in
            [("127.0.0.1", true), ("10.1.2.3", true), ("fd00::1", true), ("192.0.2.1", false), ("2001:db8::1", false)]
        {
            assert_eq!(may_be_attacked(address.parse().unwrap()), allowed, "{address}");
        }
    }

    #[test]
    fn the_rate_is_a_bound_and_every_datagram_has_an_address_of_its_own() {
        let victim = UdpSocket::bind("127.0.0.1:0").unwrap();
        victim.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let mix = Mix { garbage: 200.0, challenges: 200.0, ..Mix::default() };
        let began = Instant::now();
        let attack =
            Attack::start(mix, Victim { turn: victim.local_addr().unwrap(), signalling: None, user: None }).unwrap();
        let (mut sources, mut requests) = (std::collections::BTreeSet::new(), 0);
        let mut buffer = [0; 1500];
        while sources.len() < 100 && began.elapsed() < Duration::from_secs(30) {
            let Ok((length, from)) = victim.recv_from(&mut buffer) else { continue };
            requests += u32::from(View::parse(&buffer[..length]).is_some_and(|m| m.class() == Class::Request));
            sources.insert(from.ip());
        }
        let account = attack.stop();
        let most = began.elapsed().as_secs_f64() * 200.0 + 1.0;
        assert!(sources.len() >= 100 && requests > 20, "{} {requests}", sources.len());
        assert!(account.garbage_sent as f64 <= most && account.challenges_sent as f64 <= most, "{account:?} {most}");
    }
}
