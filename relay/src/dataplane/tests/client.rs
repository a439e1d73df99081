//! A TURN client, over UDP or any other link, with one socket that waits for each answer, and a relay to talk to.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::clock::Clock;
use crate::dataplane::{self, Bound, Running};
use crate::wire::{Key, Message, MessageClass, Method, Request, TransactionId, channel_data};
use crate::{access, auth, turn};

const REALM: &str = "test.example";
const USERS: [(&str, &str); 2] = [("alice", "wonderland"), ("bob", "builder")];
/// Long enough for a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(5);
/// Long enough for a datagram on loopback that will not come.
const SILENCE: Duration = Duration::from_millis(200);

/// A running data plane that relays on loopback and lets ordinary users reach peers there.
pub(crate) struct Relay {
    pub(crate) running: Running,
    pub(crate) addresses: Vec<SocketAddr>,
}

impl Relay {
    pub(crate) fn start(listeners: &[&str], workers: usize) -> Relay {
        Relay::start_with(listeners, workers, 49152..=65535)
    }

    pub(crate) fn start_with(listeners: &[&str], workers: usize, ports: RangeInclusive<u16>) -> Relay {
        let listeners = listeners.iter().map(|text| text.parse().unwrap()).collect();
        let settings = dataplane::Settings { listeners, workers, ..dataplane::Settings::default() };
        Relay::start_bound(dataplane::bind(&settings).unwrap(), ports)
    }

    pub(crate) fn start_bound(bound: Bound, ports: RangeInclusive<u16>) -> Relay {
        let addresses = bound.addresses().to_vec();
        let running = bound.start(&shared(&addresses, ports), Clock::start(), [1; 32]).unwrap();
        Relay { running, addresses }
    }

    /// Allocations held now, by worker.
    pub(crate) fn allocations(&self) -> Vec<u64> {
        self.running.counters().iter().map(|counters| counters.allocations()).collect()
    }

    /// A drop counter of the sockets, all workers together.
    pub(crate) fn dropped(&self, reason: &str) -> u64 {
        let counters = self.running.io_counters();
        counters
            .iter()
            .flat_map(|counters| counters.drops().collect::<Vec<_>>())
            .filter(|(name, _)| *name == reason)
            .map(|(_, n)| n)
            .sum()
    }
}

pub(crate) fn shared(own_listeners: &[SocketAddr], ports: RangeInclusive<u16>) -> Arc<turn::Shared> {
    let users = USERS.map(|(name, password)| (name.to_owned(), password.to_owned())).to_vec();
    let auth = auth::Settings { realm: REALM.to_owned(), users, ..auth::Settings::default() };
    let authenticator = auth::Authenticator::new(auth, Arc::new(auth::CallKeys::new([2; 32])), [3; 32]);
    let access = access::Settings {
        allow_peers: ["127.0.0.0/8", "::1/128"].map(|net| net.parse().unwrap()).to_vec(),
        own_listeners: own_listeners.to_vec(),
        ..access::Settings::default()
    };
    let addresses = ["127.0.0.1", "::1"].map(|ip| turn::RelayedAddress::same(ip.parse().unwrap())).to_vec();
    let settings =
        turn::Settings { addresses, ports, user_allocations: 1000, tcp_allocations: true, ..turn::Settings::default() };
    // Relays that run side by side must not all try the same relayed ports in the same order.
    let seed = own_listeners
        .first()
        .map_or([0; 32], |address| [address.port().to_be_bytes(); 16].concat().try_into().unwrap());
    turn::Shared::new(settings, authenticator, access::Policy::new(&access), seed)
}

/// Waits for something other threads do.
pub(crate) fn eventually(what: &str, mut happened: impl FnMut() -> bool) {
    let start = Instant::now();
    while !happened() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// What carries a client's messages, one at a time.
pub(crate) trait Link {
    fn send(&mut self, message: &[u8]) -> io::Result<()>;
    /// The next message, or an error once `patience` is over.
    fn receive(&mut self, patience: Duration) -> io::Result<Vec<u8>>;
    /// The client's end.
    fn address(&self) -> SocketAddr;
}

impl Link for UdpSocket {
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        UdpSocket::send(self, message).map(|_| ())
    }

    fn receive(&mut self, patience: Duration) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; 65536];
        self.set_read_timeout(Some(patience))?;
        let len = self.recv(&mut bytes)?;
        bytes.truncate(len);
        Ok(bytes)
    }

    fn address(&self) -> SocketAddr {
        self.local_addr().unwrap()
    }
}

pub(crate) struct Client {
    link: RefCell<Box<dyn Link>>,
    user: usize,
    nonce: String,
    transactions: Cell<u32>,
}

/// What an Allocate came to.
pub(crate) type Allocated = Result<SocketAddr, u16>;

impl Client {
    /// Connected, so that answers from any other address than the one written to are not heard.
    pub(crate) fn new(server: SocketAddr, user: usize) -> Client {
        let any = if server.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" };
        let socket = UdpSocket::bind(any).unwrap();
        socket.connect(server).unwrap();
        Client::over(Box::new(socket), user)
    }

    pub(crate) fn over(link: Box<dyn Link>, user: usize) -> Client {
        Client { link: RefCell::new(link), user, nonce: String::new(), transactions: Cell::new(0) }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.link.borrow().address()
    }

    pub(crate) fn send(&self, bytes: &[u8]) {
        self.link.borrow_mut().send(bytes).unwrap();
    }

    /// The mapped address the server sees.
    pub(crate) fn binding(&self) -> SocketAddr {
        let request = Request::new(Method::Binding, self.transaction()).finish(None);
        let answer = self.ask(&request);
        Message::parse(&answer).unwrap().xor_mapped_address().unwrap().unwrap()
    }

    /// Of the client's own IP version.
    pub(crate) fn allocate(&mut self) -> Allocated {
        self.allocate_for(17)
    }

    /// For the protocol of this number.
    pub(crate) fn allocate_for(&mut self, transport: u8) -> Allocated {
        let family = if self.address().is_ipv6() { 2 } else { 1 };
        self.allocate_of(transport, family)
    }

    /// 1: an IPv4 relayed address; 2: an IPv6 one.
    pub(crate) fn allocate_family(&mut self, family: u8) -> Allocated {
        self.allocate_of(17, family)
    }

    fn allocate_of(&mut self, transport: u8, family: u8) -> Allocated {
        self.allocate_as(|request| request.requested_transport(transport).requested_address_family(family))
            .map(|relayed| relayed[0])
    }

    /// Every relayed address that is granted. `fill` says for which protocol.
    pub(crate) fn allocate_as(&mut self, fill: impl Fn(Request) -> Request) -> Result<Vec<SocketAddr>, u16> {
        let request = || fill(Request::new(Method::Allocate, self.transaction()));
        let challenge = self.ask(&request().finish(None));
        let challenge = Message::parse(&challenge).unwrap();
        assert_eq!(challenge.error_code().unwrap(), Some(401));
        let nonce = String::from_utf8(challenge.nonce().unwrap().unwrap().to_vec()).unwrap();
        let request = request();
        self.nonce = nonce;
        let answer = self.ask(&self.sign(request));
        let answer = Message::parse(&answer).unwrap();
        match answer.class() {
            MessageClass::Success => Ok(answer.xor_relayed_addresses().map(Result::unwrap).collect()),
            _ => Err(answer.error_code().unwrap().unwrap()),
        }
    }

    pub(crate) fn bind_channel(&self, number: u16, peer: SocketAddr) {
        let request =
            Request::new(Method::ChannelBind, self.transaction()).channel_number(number).xor_peer_address(peer);
        self.expect_success(request);
    }

    pub(crate) fn permit(&self, peer: SocketAddr) {
        self.expect_success(Request::new(Method::CreatePermission, self.transaction()).xor_peer_address(peer));
    }

    pub(crate) fn free(&self) {
        self.expect_success(Request::new(Method::Refresh, self.transaction()).lifetime(0));
    }

    /// Refreshes, or with 0 ends, the allocation and does not wait for the answer.
    pub(crate) fn ask_to_refresh(&self, lifetime: u32) {
        self.send(&self.sign(Request::new(Method::Refresh, self.transaction()).lifetime(lifetime)));
    }

    pub(crate) fn send_on_channel(&self, number: u16, payload: &[u8]) {
        let mut bytes = vec![0; channel_data::HEADER];
        channel_data::write_header(&mut bytes, number, payload.len() as u16);
        bytes.extend_from_slice(payload);
        self.send(&bytes);
    }

    /// A Send indication that asks for no fragmentation.
    pub(crate) fn send_whole(&self, peer: SocketAddr, payload: &[u8]) {
        let request = Request::indication(Method::Send, self.transaction()).xor_peer_address(peer).dont_fragment();
        self.send(&request.data(payload).finish(None));
    }

    pub(crate) fn send_indication(&self, peer: SocketAddr, payload: &[u8]) {
        let request = Request::indication(Method::Send, self.transaction()).xor_peer_address(peer).data(payload);
        self.send(&request.finish(None));
    }

    /// The next datagram.
    pub(crate) fn receive(&self) -> io::Result<Vec<u8>> {
        self.receive_within(PATIENCE)
    }

    /// The next ChannelData message: number and payload.
    pub(crate) fn receive_on_channel(&self) -> (u16, Vec<u8>) {
        let bytes = self.receive().unwrap();
        let view = channel_data::parse(&bytes).unwrap();
        (view.number, bytes[channel_data::HEADER..][..view.len].to_vec())
    }

    /// The next Data indication: peer and payload.
    pub(crate) fn receive_indication(&self) -> (SocketAddr, Vec<u8>) {
        let bytes = self.receive().unwrap();
        let message = Message::parse(&bytes).unwrap();
        assert_eq!(message.method(), Method::Data);
        (message.xor_peer_address().unwrap().unwrap(), bytes[message.data_range().unwrap()].to_vec())
    }

    pub(crate) fn hears_nothing(&self) -> bool {
        self.receive_within(SILENCE).is_err()
    }

    fn receive_within(&self, patience: Duration) -> io::Result<Vec<u8>> {
        self.link.borrow_mut().receive(patience)
    }

    fn expect_success(&self, request: Request) {
        let answer = self.ask(&self.sign(request));
        let answer = Message::parse(&answer).unwrap();
        assert_eq!(answer.class(), MessageClass::Success, "{:?}", answer.error_code());
    }

    /// A signed request; its answer, or an indication that came first.
    pub(crate) fn request(&mut self, method: Method, fill: impl FnOnce(Request) -> Request) -> Vec<u8> {
        if self.nonce.is_empty() {
            let challenge = self.ask(&Request::new(method, self.transaction()).finish(None));
            let challenge = Message::parse(&challenge).unwrap();
            self.nonce = String::from_utf8(challenge.nonce().unwrap().unwrap().to_vec()).unwrap();
        }
        self.ask(&self.sign(fill(Request::new(method, self.transaction()))))
    }

    fn sign(&self, request: Request) -> Vec<u8> {
        let (name, password) = USERS[self.user];
        let key = Key::long_term(name.as_bytes(), REALM.as_bytes(), password.as_bytes());
        request.credentials(name, REALM, &self.nonce).finish(Some(&key))
    }

    fn ask(&self, request: &[u8]) -> Vec<u8> {
        self.send(request);
        self.receive().unwrap()
    }

    fn transaction(&self) -> TransactionId {
        self.transactions.set(self.transactions.get() + 1);
        let mut id = [0; 12];
        id[..4].copy_from_slice(&self.transactions.get().to_be_bytes());
        TransactionId(id)
    }
}
