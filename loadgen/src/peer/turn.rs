//! A TURN client without a socket (RFC 8656): allocate, permit, bind a channel, refresh, give back.
//!
//! Driving contract: hand it one input, then drain [`TurnClient::poll_transmit`] and [`TurnClient::poll_event`], then
//! wake it at [`TurnClient::poll_timeout`]. Times are those of the run's clock.

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use super::stun::{Builder, Class, Method, TransactionId, View, attribute, long_term_key};
use crate::time::Nanos;

/// First retransmission timeout; doubles each time (RFC 8489 §6.2.1).
pub const RTO: Duration = Duration::from_millis(500);
/// Sends of one request at most (Rc).
pub const MAX_SENDS: u8 = 7;
/// Waiting after the last send (Rm × RTO).
const LAST_WAIT: Duration = Duration::from_secs(8);
/// Ti: as long as all sends over UDP together.
const STREAM_WAIT: Duration = Duration::from_millis(39_500);
/// Channels and permissions are refreshed after this; a permission lasts 300 s (RFC 8656 §9).
const BINDING_REFRESH: Duration = Duration::from_secs(240);
/// 401 and 438 are answered this often per request before it counts as refused.
const MAX_CHALLENGES: u8 = 3;

/// Name and password, from the `ice` field of a signalling message.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    pub username: String,
    pub password: String,
}

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// `sent`: when the first Allocate left; the 401 round trip lies between.
    Allocated {
        relayed: SocketAddr,
        sent: Nanos,
    },
    Permitted {
        sent: Nanos,
    },
    Bound {
        channel: u16,
        sent: Nanos,
    },
    /// The allocation is gone: by our Refresh with lifetime 0, or the server says that there is none (437).
    Freed,
    Failed(Failure),
}

/// A request that came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    pub request: Method,
    pub reason: FailureReason,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub enum FailureReason {
    /// An error response with this code.
    Refused(u16),
    /// No answer to any of the sends.
    Timeout,
    /// A success response without valid MESSAGE-INTEGRITY or a required attribute.
    BadResponse,
}

/// One client's dealings with one TURN server.
pub struct TurnClient {
    credential: Credential,
    realm: String,
    nonce: Vec<u8>,
    key: [u8; 16],
    random: TransactionId,
    issued: u32,
    pending: Vec<Transaction>,
    transmit: VecDeque<Vec<u8>>,
    events: VecDeque<Event>,
    refresh_at: Option<Nanos>,
    rebind_at: Option<Nanos>,
    bound: Option<(u16, SocketAddr)>,
    stream: bool,
    /// Requests sent again because no answer came in time.
    pub retransmissions: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ask {
    Allocate,
    Refresh { lifetime: u32 },
    Permit(SocketAddr),
    Bind(u16, SocketAddr),
}

struct Transaction {
    id: TransactionId,
    ask: Ask,
    bytes: Vec<u8>,
    first_sent: Nanos,
    sends: u8,
    challenges: u8,
    again_at: Nanos,
}

impl TurnClient {
    /// `random`: twelve random bytes; transaction ids are counted up from them.
    pub fn new(credential: Credential, random: TransactionId) -> TurnClient {
        TurnClient {
            credential,
            realm: String::new(),
            nonce: Vec::new(),
            key: [0; 16],
            random,
            issued: 0,
            pending: Vec::new(),
            transmit: VecDeque::new(),
            events: VecDeque::new(),
            refresh_at: None,
            rebind_at: None,
            bound: None,
            stream: false,
            retransmissions: 0,
        }
    }

    /// Over TCP or TLS nothing is sent again; only the last wait of a request remains (RFC 8489 §6.2.2).
    pub fn over_stream(&mut self, stream: bool) {
        self.stream = stream;
    }

    /// Allocate a relayed transport address over UDP (RFC 8656 §7).
    pub fn allocate(&mut self, now: Nanos) {
        self.send(now, now, Ask::Allocate, 0);
    }

    /// Permit `peer` (RFC 8656 §10).
    pub fn permit(&mut self, now: Nanos, peer: SocketAddr) {
        self.send(now, now, Ask::Permit(peer), 0);
    }

    /// Bind `channel` to `peer`, and keep the binding and its permission fresh (RFC 8656 §12).
    pub fn bind(&mut self, now: Nanos, channel: u16, peer: SocketAddr) {
        self.bound = Some((channel, peer));
        self.send(now, now, Ask::Bind(channel, peer), 0);
    }

    /// Give the allocation back: Refresh with lifetime 0 (RFC 8656 §8).
    pub fn free(&mut self, now: Nanos) {
        self.pending.clear();
        self.refresh_at = None;
        self.rebind_at = None;
        self.send(now, now, Ask::Refresh { lifetime: 0 }, 0);
    }

    /// A STUN message from the server that arrived at `at`. What is not an answer to a request of ours is ignored.
    pub fn handle_message(&mut self, at: Nanos, message: &View<'_>) {
        let id = message.transaction();
        let Some(index) = self.pending.iter().position(|t| t.id == id && t.ask.method() as u16 == message.method())
        else {
            return;
        };
        match message.class() {
            Class::Success => {
                let transaction = self.pending.swap_remove(index);
                self.handle_success(at, &transaction, message);
            }
            Class::Error => {
                let transaction = self.pending.swap_remove(index);
                self.handle_error(at, transaction, message);
            }
            Class::Request | Class::Indication => {}
        }
    }

    /// Sends again what had no answer, gives up what had none for too long, and keeps the allocation alive.
    pub fn handle_timeout(&mut self, now: Nanos) {
        let mut index = 0;
        while index < self.pending.len() {
            if self.pending[index].again_at > now {
                index += 1;
            } else if self.pending[index].sends >= MAX_SENDS {
                let given_up = self.pending.swap_remove(index);
                self.fail(given_up.ask, FailureReason::Timeout);
            } else {
                self.retransmissions += 1;
                self.transmit.push_back(self.pending[index].send_again(now));
                index += 1;
            }
        }
        if self.refresh_at.is_some_and(|at| at <= now) {
            self.refresh_at = None;
            self.send(now, now, Ask::Refresh { lifetime: 600 }, 0);
        }
        if self.rebind_at.is_some_and(|at| at <= now) {
            self.rebind_at = None;
            if let Some((channel, peer)) = self.bound {
                self.send(now, now, Ask::Bind(channel, peer), 0);
            }
        }
    }

    pub fn poll_timeout(&self) -> Option<Nanos> {
        let again = self.pending.iter().map(|transaction| transaction.again_at);
        again.chain(self.refresh_at).chain(self.rebind_at).min()
    }

    /// The next datagram for the server.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.transmit.pop_front()
    }

    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn send(&mut self, now: Nanos, first_sent: Nanos, ask: Ask, challenges: u8) {
        let id = self.next_id();
        let bytes = self.encode(id, ask);
        self.transmit.push_back(bytes.clone());
        let (sends, wait) = if self.stream { (MAX_SENDS, STREAM_WAIT) } else { (1, RTO) };
        self.pending.push(Transaction { id, ask, bytes, first_sent, sends, challenges, again_at: now.after(wait) });
    }

    fn next_id(&mut self) -> TransactionId {
        self.issued += 1;
        let mut id = self.random;
        for (byte, count) in id[8..].iter_mut().zip(self.issued.to_be_bytes()) {
            *byte ^= count;
        }
        id
    }

    fn encode(&self, id: TransactionId, ask: Ask) -> Vec<u8> {
        let builder = Builder::new(Class::Request, ask.method(), id);
        let builder = match ask {
            Ask::Allocate => builder.attribute(attribute::REQUESTED_TRANSPORT, &[17, 0, 0, 0]),
            Ask::Refresh { lifetime } => builder.attribute(attribute::LIFETIME, &lifetime.to_be_bytes()),
            Ask::Permit(peer) => builder.address(attribute::XOR_PEER_ADDRESS, peer),
            Ask::Bind(channel, peer) => {
                let [high, low] = channel.to_be_bytes();
                let builder = builder.attribute(attribute::CHANNEL_NUMBER, &[high, low, 0, 0]);
                builder.address(attribute::XOR_PEER_ADDRESS, peer)
            }
        };
        if self.nonce.is_empty() {
            return builder.finish();
        }
        let builder = builder.attribute(attribute::USERNAME, self.credential.username.as_bytes());
        let builder = builder.attribute(attribute::REALM, self.realm.as_bytes());
        builder.attribute(attribute::NONCE, &self.nonce).integrity(&self.key).finish()
    }

    fn handle_success(&mut self, at: Nanos, done: &Transaction, message: &View<'_>) {
        if !message.integrity_matches(&self.key) {
            return self.fail(done.ask, FailureReason::BadResponse);
        }
        let sent = done.first_sent;
        match done.ask {
            Ask::Allocate => {
                let relayed = message.address(attribute::XOR_RELAYED_ADDRESS);
                let (Some(relayed), Some(lifetime)) = (relayed, message.u32(attribute::LIFETIME)) else {
                    return self.fail(done.ask, FailureReason::BadResponse);
                };
                self.refresh_at = Some(at.after(before_expiry(lifetime)));
                self.events.push_back(Event::Allocated { relayed, sent });
            }
            Ask::Refresh { lifetime: 0 } => self.events.push_back(Event::Freed),
            Ask::Refresh { .. } => {
                let lifetime = message.u32(attribute::LIFETIME).unwrap_or(600);
                self.refresh_at = Some(at.after(before_expiry(lifetime)));
            }
            Ask::Permit(_) => self.events.push_back(Event::Permitted { sent }),
            Ask::Bind(channel, _) => {
                self.rebind_at = Some(at.after(BINDING_REFRESH));
                self.events.push_back(Event::Bound { channel, sent });
            }
        }
    }

    /// A challenge is answered with the realm and nonce it carries (RFC 8489 §9.2.5); 437 means nothing is left to free.
    fn handle_error(&mut self, at: Nanos, done: Transaction, message: &View<'_>) {
        let code = message.error_code().unwrap_or(0);
        let first_401 = code == 401 && self.nonce.is_empty();
        if (first_401 || code == 438) && done.challenges < MAX_CHALLENGES && self.learn(message) {
            return self.send(at, done.first_sent, done.ask, done.challenges + 1);
        }
        match done.ask {
            Ask::Refresh { lifetime: 0 } if code == 437 => self.events.push_back(Event::Freed),
            ask => self.fail(ask, FailureReason::Refused(code)),
        }
    }

    fn learn(&mut self, message: &View<'_>) -> bool {
        let Some(nonce) = message.get(attribute::NONCE) else { return false };
        if let Some(Ok(realm)) = message.get(attribute::REALM).map(std::str::from_utf8) {
            self.realm = realm.to_owned();
            self.key = long_term_key(&self.credential.username, &self.realm, &self.credential.password);
        }
        self.nonce = nonce.to_vec();
        !nonce.is_empty()
    }

    fn fail(&mut self, ask: Ask, reason: FailureReason) {
        self.events.push_back(Event::Failed(Failure { request: ask.method(), reason }));
    }
}

impl Ask {
    fn method(self) -> Method {
        match self {
            Ask::Allocate => Method::Allocate,
            Ask::Refresh { .. } => Method::Refresh,
            Ask::Permit(_) => Method::CreatePermission,
            Ask::Bind(..) => Method::ChannelBind,
        }
    }
}

impl Transaction {
    fn send_again(&mut self, now: Nanos) -> Vec<u8> {
        let wait = if self.sends + 1 >= MAX_SENDS { LAST_WAIT } else { RTO * (1 << self.sends) };
        self.sends += 1;
        self.again_at = now.after(wait);
        self.bytes.clone()
    }
}

/// A minute before the lifetime ends, or at three quarters of a short one.
fn before_expiry(lifetime_secs: u32) -> Duration {
    let lifetime = Duration::from_secs(u64::from(lifetime_secs));
    lifetime.saturating_sub(Duration::from_secs(60)).max(lifetime * 3 / 4)
}

#[cfg(test)]
#[path = "turn_tests.rs"]
mod tests;
