//! What is measured: the bare forwarder, or the relay's data plane with its real machine and everything in force.

use std::io;
use std::net::{SocketAddr, SocketAddrV4};
use std::sync::Arc;

use relay::calls::Handle;
use relay::clock::Clock;
use relay::dataplane::{self, Running};
use relay::wire::{Key, Message, MessageClass, Method, Request, TransactionId};
use relay::{access, auth, turn};

use super::bare;
use super::generator::Generator;

/// The channel every caller binds to its partner.
pub(crate) const CHANNEL: u16 = 0x4001;
const REALM: &str = "bench";
/// RFC 8656 §18.7: UDP.
const UDP: u8 = 17;
/// How long a credential may be used to allocate; admission takes far less.
const CREDENTIAL_SECS: u32 = 600;

pub(crate) struct Subject {
    pub(crate) name: &'static str,
    /// What the names of its threads start with.
    pub(crate) thread: &'static str,
    pub(crate) address: SocketAddrV4,
    relay: Option<Relay>,
}

struct Relay {
    running: Running,
    shared: Arc<turn::Shared>,
    keys: Arc<auth::CallKeys>,
    clock: Clock,
}

/// One caller's way in.
struct Caller {
    number: usize,
    handle: Handle,
    credential: auth::Credential,
    nonce: String,
}

impl Subject {
    pub(crate) fn bare() -> io::Result<Subject> {
        Ok(Subject { name: "bare forwarder", thread: bare::THREAD, address: v4(bare::start()?)?, relay: None })
    }

    pub(crate) fn relay(nap_micros: u32) -> io::Result<Subject> {
        let settings = dataplane::Settings {
            listeners: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
            nap_micros: Some(nap_micros),
            ..dataplane::Settings::default()
        };
        let bound = dataplane::bind(&settings).map_err(io::Error::other)?;
        let address = v4(bound.addresses()[0])?;
        let keys = Arc::new(auth::CallKeys::new([2; 32]));
        let shared = shared(&keys, address.into());
        let clock = Clock::start();
        let running = bound.start(&shared, clock, [7; 32])?;
        Ok(Subject { name: "relay", thread: "udp-", address, relay: Some(Relay { running, shared, keys, clock }) })
    }

    /// Lets every caller reach its partner: an allocation and a channel for each. The forwarder admits everybody.
    pub(crate) fn admit(&self, generator: &mut Generator, callers: usize) -> io::Result<()> {
        let Some(relay) = &self.relay else { return Ok(()) };
        for first in (0..callers).step_by(2) {
            let (a, b) = (Caller::new(first, relay), Caller::new(first + 1, relay));
            let (mut a, mut b) = (a.ok_or_else(full)?, b.ok_or_else(full)?);
            let relayed = [a.allocate(generator, self.address)?, b.allocate(generator, self.address)?];
            relay.shared.ledger.pair(a.handle, b.handle).map_err(|_| io::Error::other("a call could not be paired"))?;
            a.bind_channel(generator, self.address, relayed[1])?;
            b.bind_channel(generator, self.address, relayed[0])?;
        }
        Ok(())
    }

    /// Calls of recvmmsg, sendmmsg and epoll_wait so far.
    pub(crate) fn system_calls(&self) -> Option<u64> {
        let counters = self.relay.as_ref()?.running.io_counters();
        Some(counters.iter().map(|io| io.receive_calls.get() + io.send_calls.get() + io.waits.get()).sum())
    }
}

fn shared(keys: &Arc<auth::CallKeys>, listener: SocketAddr) -> Arc<turn::Shared> {
    let auth = auth::Settings { realm: REALM.to_owned(), ..auth::Settings::default() };
    let access = access::Settings { own_listeners: vec![listener], ..access::Settings::default() };
    let settings = turn::Settings {
        addresses: vec![turn::RelayedAddress::same(listener.ip())],
        ports: 1024..=65535,
        ..turn::Settings::default()
    };
    let authenticator = auth::Authenticator::new(auth, Arc::clone(keys), [3; 32]);
    turn::Shared::new(settings, authenticator, access::Policy::new(&access), [4; 32])
}

impl Caller {
    fn new(number: usize, relay: &Relay) -> Option<Caller> {
        let mut handle = Handle([0; 12]);
        handle.0[..8].copy_from_slice(&(number as u64).to_be_bytes());
        relay.shared.ledger.open(handle).ok()?;
        let credential = relay.keys.mint(relay.clock.now(), handle, 0, CREDENTIAL_SECS);
        Some(Caller { number, handle, credential, nonce: String::new() })
    }

    fn allocate(&mut self, generator: &mut Generator, server: SocketAddrV4) -> io::Result<SocketAddr> {
        let request = || Request::new(Method::Allocate, transaction(self.number)).requested_transport(UDP);
        self.nonce = generator.ask(self.number, server, &request().finish(None), |answer| {
            let answer = Message::parse(answer).ok()?;
            String::from_utf8(answer.nonce().ok()??.to_vec()).ok()
        })?;
        let request = self.sign(Request::new(Method::Allocate, transaction(self.number)).requested_transport(UDP));
        generator
            .ask(self.number, server, &request, |answer| Message::parse(answer).ok()?.xor_relayed_address().ok()?)
    }

    fn bind_channel(&self, generator: &mut Generator, server: SocketAddrV4, peer: SocketAddr) -> io::Result<()> {
        let request = Request::new(Method::ChannelBind, transaction(self.number));
        let request = self.sign(request.channel_number(CHANNEL).xor_peer_address(peer));
        generator.ask(self.number, server, &request, |answer| {
            (Message::parse(answer).ok()?.class() == MessageClass::Success).then_some(())
        })
    }

    fn sign(&self, request: Request) -> Vec<u8> {
        let auth::Credential { username, password } = &self.credential;
        let key = Key::long_term(username.as_bytes(), REALM.as_bytes(), password.as_bytes());
        request.credentials(username, REALM, &self.nonce).finish(Some(&key))
    }
}

fn transaction(caller: usize) -> TransactionId {
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let mut id = [0; 12];
    id[..4].copy_from_slice(&COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed).to_be_bytes());
    id[4..].copy_from_slice(&(caller as u64).to_be_bytes());
    TransactionId(id)
}

fn full() -> io::Error {
    io::Error::other("the ledger is full")
}

fn v4(address: SocketAddr) -> io::Result<SocketAddrV4> {
    match address {
        SocketAddr::V4(address) => Ok(address),
        SocketAddr::V6(_) => Err(io::Error::other("the generator speaks IPv4")),
    }
}
