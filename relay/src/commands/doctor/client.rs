//! A TURN client that allocates, lets one peer in, and hears it. What goes wrong comes back in plain words.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use relay::wire::{Key, Message, MessageClass, Method, Request, TransactionId, attribute};

use super::transport::{Link, Transport};

const UDP: u8 = 17;
/// Messages read while waiting for the one that is meant.
const MOST_OTHERS: usize = 16;
/// Times a request is sent over UDP.
const TRIES: usize = 2;
/// What is relayed begins as RTP does: in a call nothing else passes (`calls.payload`).
const THERE: &[u8] = b"\x80\x6frelay doctor, there";
const BACK: &[u8] = b"\x80\x6frelay doctor, and back";

pub(super) struct Client {
    link: Link,
    username: String,
    password: String,
    /// Realm, key and nonce of the server's challenge.
    challenge: Option<(String, Key, String)>,
    number: u32,
    seed: u64,
}

impl Client {
    pub(super) fn connect(
        transport: Transport,
        to: SocketAddr,
        name: &str,
        (username, password): (&str, &str),
    ) -> Result<Client, String> {
        let link = Link::open(transport, to, name).map_err(|error| format!("no connection to {to}: {error}"))?;
        let seed =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(7, |it| it.as_nanos() as u64);
        Ok(Client {
            link,
            username: username.to_owned(),
            password: password.to_owned(),
            challenge: None,
            number: 0,
            seed,
        })
    }

    /// The relayed address.
    pub(super) fn allocate(&mut self) -> Result<SocketAddr, String> {
        let answer = self.ask(Method::Allocate, |request| request.requested_transport(UDP))?;
        let relayed = Message::parse(&answer).ok().and_then(|message| message.xor_relayed_address().ok().flatten());
        relayed.ok_or_else(|| "the answer to an Allocate names no relayed address".to_owned())
    }

    pub(super) fn permit(&mut self, peer: SocketAddr) -> Result<(), String> {
        self.ask(Method::CreatePermission, |request| request.xor_peer_address(peer)).map(|_| ())
    }

    pub(super) fn send(&mut self, peer: SocketAddr, payload: &[u8]) -> Result<(), String> {
        let id = self.transaction();
        let bytes = Request::indication(Method::Send, id).xor_peer_address(peer).data(payload).finish(None);
        self.link.send(&bytes).map_err(|error| format!("nothing can be sent: {error}"))
    }

    pub(super) fn hears(&mut self, payload: &[u8]) -> Result<(), String> {
        self.wait(|message| {
            message.class() == MessageClass::Indication && message.value(attribute::DATA) == Some(payload)
        })
        .map(|_| ())
        .map_err(|_| "an allocation was made, and a relayed packet did not arrive".to_owned())
    }

    pub(super) fn release(&mut self) {
        // Whatever it answers, the allocation ends by itself soon.
        let _ = self.ask(Method::Refresh, |request| request.lifetime(0));
    }

    /// Asks, with credentials once the server has said for which realm.
    fn ask(&mut self, method: Method, fill: impl Fn(Request) -> Request) -> Result<Vec<u8>, String> {
        for _ in 0..3 {
            let id = self.transaction();
            let request = fill(Request::new(method, id));
            let bytes = match &self.challenge {
                Some((realm, key, nonce)) => request.credentials(&self.username, realm, nonce).finish(Some(key)),
                None => request.finish(None),
            };
            let answer = self.exchange(&bytes, id)?;
            let message = Message::parse(&answer).map_err(|_| "the answer is no STUN message".to_owned())?;
            let code = message.error_code().ok().flatten();
            let text = |value: Option<&[u8]>| value.map(|it| String::from_utf8_lossy(it).into_owned());
            let offered = (text(message.realm().ok().flatten()), text(message.nonce().ok().flatten()));
            match (code, offered) {
                (None, _) => return Ok(answer),
                (Some(401), (Some(realm), Some(nonce))) if self.challenge.is_none() => {
                    let key = Key::long_term(self.username.as_bytes(), realm.as_bytes(), self.password.as_bytes());
                    self.challenge = Some((realm, key, nonce));
                }
                (Some(438), (Some(realm), Some(nonce))) => {
                    let key = Key::long_term(self.username.as_bytes(), realm.as_bytes(), self.password.as_bytes());
                    self.challenge = Some((realm, key, nonce));
                }
                (Some(code), _) => return Err(refusal(method, code)),
            }
        }
        Err("the server asks for credentials again and again".to_owned())
    }

    fn exchange(&mut self, bytes: &[u8], id: TransactionId) -> Result<Vec<u8>, String> {
        let tries = if matches!(self.link, Link::Datagrams(_)) { TRIES } else { 1 };
        let mut last = String::new();
        for _ in 0..tries {
            self.link.send(bytes).map_err(|error| format!("nothing can be sent: {error}"))?;
            match self.wait(|message| message.transaction() == id) {
                Ok(answer) => return Ok(answer),
                Err(why) => last = why,
            }
        }
        Err(last)
    }

    fn wait(&mut self, wanted: impl Fn(&Message<'_>) -> bool) -> Result<Vec<u8>, String> {
        for _ in 0..MOST_OTHERS {
            let bytes = self.link.receive().map_err(|error| match error.kind() {
                std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => {
                    "no answer within three seconds".to_owned()
                }
                _ => format!("no answer: {error}"),
            })?;
            if Message::parse(&bytes).is_ok_and(|message| wanted(&message)) {
                return Ok(bytes);
            }
        }
        Err("only other messages came".to_owned())
    }

    fn transaction(&mut self) -> TransactionId {
        self.number += 1;
        let mut id = [0; 12];
        id[..4].copy_from_slice(&self.number.to_be_bytes());
        id[4..].copy_from_slice(&self.seed.to_be_bytes());
        TransactionId(id)
    }
}

fn refusal(method: Method, code: u16) -> String {
    let why = match code {
        300 => "the server sends clients elsewhere: it is draining",
        401 => "the server does not accept these credentials",
        403 => "the peer may not be reached: access.deny_peers, or the default deny list",
        486 => "the user has too many allocations: access.user_allocations",
        508 => "the server has no room, or is draining",
        440 => "the server has no relayed address of this IP version",
        _ => "see RFC 8656",
    };
    format!("{method:?} was refused with {code}: {why}")
}

/// Two clients of one user: an allocation each, and a packet from each to the other.
pub(super) fn call(transport: Transport, to: SocketAddr, name: &str, who: (&str, &str)) -> Result<(), String> {
    speak(transport, to, name, [who, who], true)
}

/// The same for two of any name. `permit`: two of one call need not let each other in.
pub(super) fn speak(
    transport: Transport,
    to: SocketAddr,
    name: &str,
    [one, other]: [(&str, &str); 2],
    permit: bool,
) -> Result<(), String> {
    let mut a = Client::connect(transport, to, name, one)?;
    let mut b = Client::connect(transport, to, name, other)?;
    let spoken = (|| {
        let (at, bt) = (a.allocate()?, b.allocate()?);
        if permit {
            a.permit(bt)?;
            b.permit(at)?;
        }
        a.send(bt, THERE)?;
        b.hears(THERE)?;
        b.send(at, BACK)?;
        a.hears(BACK)
    })();
    a.release();
    b.release();
    spoken
}

/// One request to an admin listener: the whole answer, if there is one.
pub(super) fn get(server: SocketAddr, path: &str) -> Option<String> {
    const PATIENCE: Duration = Duration::from_secs(3);
    const MOST: u64 = 1 << 20;
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {server}\r\nconnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.take(MOST).read_to_string(&mut answer).ok()?;
    Some(answer)
}
