//! An honest client with a raw link under it, so that a test can be dishonest at any moment.

use super::message::{attr, method};
use super::{Answer, Ask, Challenge, Got, Link, Login, Transport};
use crate::{Daemon, PATIENCE};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Over UDP a request that is not answered is sent again after this (RFC 8489 §6.2.1).
const RETRANSMIT: Duration = Duration::from_secs(2);
/// What the transaction ids of fences begin with.
const FENCE: &[u8; 5] = b"fence";

/// UDP, in REQUESTED-TRANSPORT.
pub const UDP: u8 = 17;

pub struct Client {
    pub link: Link,
    pub login: Login,
    pub challenge: Challenge,
    /// Relayed data that came while something else was waited for.
    waiting: VecDeque<Vec<u8>>,
    fences: u32,
}

/// What came before the fence did.
#[derive(Debug)]
pub enum Said {
    Messages(Vec<Vec<u8>>),
    Closed,
    /// Not even the fence was answered.
    Nothing,
}

/// A payload that was relayed to this client.
#[derive(Debug, PartialEq, Eq)]
pub struct Data {
    pub payload: Vec<u8>,
    /// The number, if it came over a channel.
    pub channel: Option<u16>,
    /// The peer, if it came in an indication.
    pub peer: Option<SocketAddr>,
}

impl Client {
    /// Connected as alice, nothing asked yet.
    pub fn open(daemon: &Daemon, transport: Transport) -> Client {
        Client::over(Link::open(daemon, transport), Login::new("alice", "alice's long secret"))
    }

    pub fn over(link: Link, login: Login) -> Client {
        Client { link, login, challenge: Challenge::default(), waiting: VecDeque::new(), fences: 0 }
    }

    /// With realm and nonce of a first, unauthenticated Allocate.
    pub fn challenged(daemon: &Daemon, transport: Transport) -> Client {
        let mut client = Client::open(daemon, transport);
        client.fetch_challenge();
        client
    }

    /// With an allocation of the transport's family; also answers the relayed address.
    pub fn allocated(daemon: &Daemon, transport: Transport) -> (Client, SocketAddr) {
        let mut client = Client::challenged(daemon, transport);
        let relayed = client.allocate(if transport.is_ipv6() { 2 } else { 1 });
        (client, relayed)
    }

    pub fn fetch_challenge(&mut self) {
        let answer = self.exchange(&Ask::request(method::ALLOCATE).transport(UDP).bytes());
        assert_eq!(answer.code(), 401, "{answer:?}");
        self.challenge = answer.challenge();
    }

    /// Allocates for an address family, 1 or 2, which must be granted.
    pub fn allocate(&mut self, family: u8) -> SocketAddr {
        let ask = Ask::request(method::ALLOCATE).transport(UDP);
        let answer = self.ask(if family == 1 { ask } else { ask.family(family) });
        assert_eq!(answer.code(), 0, "{answer:?}");
        answer.address(attr::XOR_RELAYED_ADDRESS).unwrap()
    }

    /// Signs, sends, and answers what the server said.
    pub fn ask(&mut self, ask: Ask) -> Answer {
        let bytes = ask.signed(&self.login, &self.challenge).bytes();
        self.exchange(&bytes)
    }

    /// The code of the answer to a signed request; 0 for success.
    pub fn code(&mut self, ask: Ask) -> u16 {
        self.ask(ask).code()
    }

    pub fn permit(&mut self, peer: SocketAddr) -> u16 {
        self.code(Ask::request(method::CREATE_PERMISSION).peer(peer))
    }

    pub fn bind(&mut self, channel: u16, peer: SocketAddr) -> u16 {
        self.code(Ask::request(method::CHANNEL_BIND).channel(channel).peer(peer))
    }

    pub fn refresh(&mut self, lifetime: u32) -> u16 {
        self.code(Ask::request(method::REFRESH).lifetime(lifetime))
    }

    pub fn send_to(&mut self, peer: SocketAddr, payload: &[u8]) {
        self.link.send(&Ask::indication(method::SEND).peer(peer).data(payload).bytes());
    }

    /// ChannelData, padded over streams.
    pub fn send_on(&mut self, channel: u16, payload: &[u8]) {
        let bytes = channel_data(channel, payload, self.link.is_stream());
        self.link.send(&bytes);
    }

    /// Sends a request and waits for the answer to it.
    pub fn exchange(&mut self, request: &[u8]) -> Answer {
        self.try_exchange(request, PATIENCE).unwrap_or_else(|why| panic!("no answer to a request: {why:?}"))
    }

    pub fn try_exchange(&mut self, request: &[u8], patience: Duration) -> Result<Answer, Got> {
        let start = Instant::now();
        loop {
            self.link.send(request);
            let round = if self.link.is_stream() { patience } else { RETRANSMIT.min(patience) };
            match self.await_answer(&request[8..20], round) {
                Err(Got::Silence) if start.elapsed() < patience => {}
                found => return found,
            }
        }
    }

    fn await_answer(&mut self, id: &[u8], within: Duration) -> Result<Answer, Got> {
        let deadline = Instant::now() + within;
        loop {
            match self.link.receive(deadline.saturating_duration_since(Instant::now())) {
                Got::Message(message) => match Answer::read(&message) {
                    Some(answer) if answer.id() == id => return Ok(answer),
                    _ => self.waiting.push_back(message),
                },
                other => return Err(other),
            }
        }
    }

    /// Sends anything, and a Binding request behind it. Whatever comes before the answer to that one was an answer to it.
    pub fn say(&mut self, bytes: &[u8]) -> Said {
        self.say_all(&[bytes])
    }

    pub fn say_all<B: AsRef<[u8]>>(&mut self, all: &[B]) -> Said {
        self.say_within(all, PATIENCE)
    }

    /// With an end to waiting for the fence: what was sent may have swallowed it.
    pub fn say_within<B: AsRef<[u8]>>(&mut self, all: &[B], patience: Duration) -> Said {
        for bytes in all {
            self.link.send(bytes.as_ref());
        }
        self.fences += 1;
        let mut id = [0; 12];
        id[..FENCE.len()].copy_from_slice(FENCE);
        id[8..].copy_from_slice(&self.fences.to_be_bytes());
        let fence = Ask::request(method::BINDING).numbered(id).bytes();
        let (start, mut said) = (Instant::now(), Vec::new());
        while start.elapsed() < patience {
            self.link.send(&fence);
            match self.until_fence(&id, if self.link.is_stream() { patience } else { RETRANSMIT }, &mut said) {
                Got::Silence => {}
                Got::Closed => return Said::Closed,
                Got::Message(_) => return Said::Messages(said),
            }
        }
        Said::Nothing
    }

    fn until_fence(&mut self, id: &[u8; 12], within: Duration, said: &mut Vec<Vec<u8>>) -> Got {
        let deadline = Instant::now() + within;
        loop {
            match self.link.receive(deadline.saturating_duration_since(Instant::now())) {
                Got::Message(message) if message.get(8..20) == Some(id) => return Got::Message(message),
                Got::Message(message) if message.get(8..13) == Some(FENCE) => {} // of a fence sent twice
                Got::Message(message) => said.push(message),
                other => return other,
            }
        }
    }

    /// The next relayed payload.
    pub fn data(&mut self, within: Duration) -> Option<Data> {
        let deadline = Instant::now() + within;
        loop {
            let message = match self.waiting.pop_front() {
                Some(message) => message,
                None => match self.link.receive(deadline.saturating_duration_since(Instant::now())) {
                    Got::Message(message) => message,
                    _ => return None,
                },
            };
            if let Some(data) = Data::read(&message) {
                return Some(data);
            }
        }
    }

    /// The next relayed payload, which must come.
    pub fn expect_data(&mut self) -> Data {
        self.data(PATIENCE).expect("relayed data")
    }
}

impl Data {
    fn read(message: &[u8]) -> Option<Data> {
        if let &[c0 @ 0x40..=0x7F, c1, _, _, ref payload @ ..] = message {
            let channel = Some(u16::from_be_bytes([c0, c1]));
            return Some(Data { payload: payload.to_vec(), channel, peer: None });
        }
        let answer =
            Answer::read(message).filter(|answer| answer.method() == method::DATA && answer.is_indication())?;
        Some(Data { payload: answer.value(attr::DATA)?, channel: None, peer: answer.address(attr::XOR_PEER_ADDRESS) })
    }
}

impl Said {
    /// What was answered, read as STUN.
    pub fn answers(&self) -> Vec<Answer> {
        match self {
            Said::Messages(messages) => messages.iter().filter_map(|message| Answer::read(message)).collect(),
            Said::Closed | Said::Nothing => Vec::new(),
        }
    }

    /// Asserts that nothing was said before the fence, and that the fence was answered.
    pub fn is_silence(&self, to: &str) {
        match self {
            Said::Messages(messages) => assert!(messages.is_empty(), "{to}: answered by {:?}", self.answers()),
            Said::Closed => panic!("{to}: the connection was closed"),
            Said::Nothing => panic!("{to}: nothing is answered any more"),
        }
    }

    /// Asserts that nothing good came of it: silence, an error or, on a stream, the end.
    pub fn is_no_success(&self, to: &str) {
        let success = self.answers().into_iter().find(Answer::is_success);
        assert!(success.is_none(), "{to}: {success:?}");
    }
}

/// An honest client says goodbye: over UDP nothing else would tell the server before the allocation expires.
impl Drop for Client {
    fn drop(&mut self) {
        if !self.link.is_stream() && !self.challenge.nonce.is_empty() {
            let goodbye = Ask::request(method::REFRESH).lifetime(0).signed(&self.login, &self.challenge);
            self.link.send(&goodbye.bytes());
        }
    }
}

/// A ChannelData message; padded to a multiple of four if it goes over a stream.
pub fn channel_data(channel: u16, payload: &[u8], padded: bool) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap();
    let mut bytes = [channel.to_be_bytes(), length.to_be_bytes()].concat();
    bytes.extend_from_slice(payload);
    if padded {
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    bytes
}
