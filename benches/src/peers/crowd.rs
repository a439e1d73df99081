//! Many TURN clients on one socket, in closed loop: each waits for its answer before it asks the next, so many at a time.

use std::collections::VecDeque;
use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use relay::wire::{Key, Message, MessageClass, Method, Request, TransactionId};

use super::servers::{Access, Server};
use crate::load::caller_address;
use crate::load::mmsg::Mmsg;

/// The channel every caller binds to its peer.
pub(crate) const CHANNEL: u16 = 0x4001;
/// RFC 8656 §18.8: UDP.
const UDP: u8 = 17;
/// As long as a server grants, so that nothing ends during a measurement.
const LIFETIME_SECS: u32 = 3600;
const RETRANSMIT: Duration = Duration::from_millis(500);
const TRIES: u32 = 10;

/// One thing a caller asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ask {
    Allocate,
    Channel(SocketAddrV4),
    /// Refresh with a lifetime of zero.
    Free,
}

#[derive(Default, Clone)]
pub(crate) struct Caller {
    credential: Arc<Credential>,
    signs: Option<Signs>,
    pub(crate) relayed: Option<SocketAddrV4>,
    step: usize,
    ask: Option<Ask>,
    serial: u32,
    tries: u32,
    sent: Option<Instant>,
}

#[derive(Default)]
struct Credential {
    username: String,
    password: String,
}

/// What a challenge taught.
#[derive(Clone)]
struct Signs {
    realm: String,
    nonce: String,
    key: Key,
}

pub(crate) struct Crowd {
    socket: Arc<UdpSocket>,
    server: SocketAddrV4,
    pub(crate) callers: Vec<Caller>,
    out: Mmsg,
    inn: Mmsg,
    waiting: usize,
    /// Tells answers to this crowd from those to others on the same socket, which may come late.
    id: u32,
}

/// What a closed loop came to.
pub(crate) struct Done {
    pub(crate) length: Duration,
    /// Share of the time that the generator had something to do.
    pub(crate) busy: f64,
    pub(crate) retransmissions: u64,
}

impl Crowd {
    /// Callers of a server, each with the credential its server wants.
    pub(crate) fn new(socket: &Arc<UdpSocket>, server: &mut Server, callers: usize) -> Result<Crowd, String> {
        let (out, inn) = (Mmsg::new(64, 2048), Mmsg::new(256, 2048));
        let (socket, address) = (Arc::clone(socket), server.udp);
        let mut crowd =
            Crowd { socket, server: address, callers: Vec::new(), out, inn, waiting: 0, id: rand::random() };
        crowd.callers = vec![Caller::default(); callers];
        crowd.open(server)?;
        Ok(crowd)
    }

    /// Gives every caller its credential; call-bound ones are made anew.
    pub(crate) fn open(&mut self, server: &mut Server) -> Result<(), String> {
        match (&server.access, &mut server.process) {
            (Access::User { username, password }, _) => {
                let shared = Arc::new(Credential { username: username.clone(), password: password.clone() });
                self.callers.iter_mut().for_each(|caller| caller.credential = Arc::clone(&shared));
            }
            (Access::Calls, Some(host)) => {
                host.tell(&format!("open {}", self.callers.len()))?;
                for caller in &mut self.callers {
                    let line = host.line()?;
                    let (username, password) = line.split_once(' ').ok_or("the host gave no credential")?;
                    let credential = Credential { username: username.to_owned(), password: password.to_owned() };
                    *caller = Caller { credential: Arc::new(credential), ..Caller::default() };
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Allocations for everybody.
    pub(crate) fn allocate(&mut self, window: usize) -> Result<Done, String> {
        self.each(0..self.callers.len(), window, |_, step, _| (step == 0).then_some(Ask::Allocate))
    }

    /// Channels for everybody: to the partner, or to a peer outside.
    pub(crate) fn bind(&mut self, peer: impl Fn(usize) -> Option<SocketAddrV4>) -> Result<Done, String> {
        let relayed: Vec<_> = self.callers.iter().map(|caller| caller.relayed).collect();
        let peer = |caller: usize| peer(caller).or_else(|| relayed.get(caller ^ 1).copied().flatten());
        self.each(0..self.callers.len(), 64, |caller, step, _| peer(caller).filter(|_| step == 0).map(Ask::Channel))
    }

    pub(crate) fn free(&mut self) -> Result<Done, String> {
        self.each(0..self.callers.len(), 64, |_, step, _| (step == 0).then_some(Ask::Free))
    }

    /// Has each of these callers ask what `script` says (caller, step, its relayed address), `window` at a time.
    pub(crate) fn each(
        &mut self,
        who: Range<usize>,
        window: usize,
        script: impl Fn(usize, usize, Option<SocketAddrV4>) -> Option<Ask>,
    ) -> Result<Done, String> {
        let (start, mut idle) = (Instant::now(), Duration::ZERO);
        let (mut left, mut active, mut retransmissions) = (who.clone(), VecDeque::new(), 0);
        let mut looked = start;
        while !(left.is_empty() && active.is_empty()) {
            while active.len() < window
                && let Some(number) = left.next()
            {
                self.callers[number].step = 0;
                self.callers[number].ask = script(number, 0, self.callers[number].relayed);
                if self.callers[number].ask.is_some() {
                    self.ask(number);
                    active.push_back(number);
                }
            }
            self.flush();
            let before = Instant::now();
            let Ok(received) = self.inn.receive(&self.socket, false) else {
                idle += before.elapsed();
                if before - looked > RETRANSMIT / 5 {
                    looked = before;
                    retransmissions += self.remind(&active)?;
                }
                continue;
            };
            let mut finished = false;
            for i in 0..received {
                if let Some(number) = self.hear(i)? {
                    let caller = &mut self.callers[number];
                    caller.ask = script(number, caller.step, caller.relayed);
                    if caller.ask.is_some() {
                        self.ask(number);
                    }
                    finished = true;
                }
            }
            if finished {
                active.retain(|number| self.callers[*number].ask.is_some());
            }
        }
        let length = start.elapsed();
        let busy = 1.0 - idle.as_secs_f64() / length.as_secs_f64();
        Ok(Done { length, busy, retransmissions })
    }

    /// Puts what a caller asks for into the next batch.
    fn ask(&mut self, number: usize) {
        let caller = &mut self.callers[number];
        caller.serial = caller.serial.wrapping_add(1);
        (caller.tries, caller.sent) = (0, None);
        self.send(number);
    }

    fn send(&mut self, number: usize) {
        if self.waiting == self.out.capacity() {
            self.flush();
        }
        let caller = &mut self.callers[number];
        let Some(message) = caller.request(number, self.id) else { return };
        caller.tries += 1;
        caller.sent = Some(Instant::now());
        self.out.write(self.waiting, caller_address(number), self.server, |bytes| {
            bytes[..message.len()].copy_from_slice(&message);
            message.len()
        });
        self.waiting += 1;
    }

    fn flush(&mut self) {
        self.out.send(&self.socket, std::mem::take(&mut self.waiting));
    }

    /// Asks again what was not answered.
    fn remind(&mut self, active: &VecDeque<usize>) -> Result<u64, String> {
        let mut count = 0;
        for number in active {
            let caller = &self.callers[*number];
            if caller.sent.is_some_and(|sent| sent.elapsed() > RETRANSMIT) {
                if caller.tries > TRIES {
                    return Err(format!("no answer to {:?}", caller.ask));
                }
                self.send(*number);
                count += 1;
            }
        }
        Ok(count)
    }

    /// Reads an answer; answers whose it was if its caller is now to ask the next thing.
    fn hear(&mut self, i: usize) -> Result<Option<usize>, String> {
        let Ok(message) = Message::parse(self.inn.received(i)) else { return Ok(None) };
        let [a, b, c, d, e, f, g, h, id @ ..] = message.transaction().0;
        if u32::from_be_bytes(id) != self.id {
            return Ok(None);
        }
        let (number, serial) = (u32::from_be_bytes([a, b, c, d]) as usize, u32::from_be_bytes([e, f, g, h]));
        let Some(caller) = self.callers.get_mut(number).filter(|caller| caller.serial == serial) else {
            return Ok(None);
        };
        if caller.ask.is_none() || caller.sent.is_none() {
            return Ok(None);
        }
        match message.class() {
            MessageClass::Success => {
                caller.succeed(&message);
                Ok(Some(number))
            }
            MessageClass::Error => {
                let code = message.error_code().ok().flatten().unwrap_or(0);
                if !caller.learn(&message, code) {
                    return Err(format!("{:?} was refused with {code}", caller.ask));
                }
                self.ask(number);
                Ok(None)
            }
            _ => Ok(None),
        }
    }
}

impl Caller {
    /// One with the credential that everybody has.
    pub(crate) fn of(access: &Access) -> Caller {
        let credential = match access {
            Access::User { username, password } => {
                Credential { username: username.clone(), password: password.clone() }
            }
            _ => Credential::default(),
        };
        Caller { credential: Arc::new(credential), ..Caller::default() }
    }

    /// The request for that, of a transaction of its own.
    pub(crate) fn ask_for(&mut self, ask: Ask, number: usize) -> Option<Vec<u8>> {
        self.ask = Some(ask);
        self.serial = self.serial.wrapping_add(1);
        self.request(number, 0)
    }

    pub(crate) fn succeed(&mut self, message: &Message) {
        if let Ok(Some(SocketAddr::V4(relayed))) = message.xor_relayed_address() {
            self.relayed = Some(relayed);
        }
        self.step += 1;
        self.sent = None;
    }

    /// 401 and 438 teach a nonce; answers whether it is worth asking again.
    pub(crate) fn learn(&mut self, message: &Message, code: u16) -> bool {
        if !(code == 438 || code == 401 && self.signs.is_none()) {
            return false;
        }
        let text = |value: Option<&[u8]>| value.map(|value| String::from_utf8_lossy(value).into_owned());
        let (Some(realm), Some(nonce)) = (text(message.realm().ok().flatten()), text(message.nonce().ok().flatten()))
        else {
            return false;
        };
        let Credential { username, password } = &*self.credential;
        let key = Key::long_term(username.as_bytes(), realm.as_bytes(), password.as_bytes());
        self.signs = Some(Signs { realm, nonce, key });
        true
    }

    fn request(&self, number: usize, crowd: u32) -> Option<Vec<u8>> {
        let mut id = [0; 12];
        id[..4].copy_from_slice(&(number as u32).to_be_bytes());
        id[4..8].copy_from_slice(&self.serial.to_be_bytes());
        id[8..].copy_from_slice(&crowd.to_be_bytes());
        let id = TransactionId(id);
        let request = match self.ask? {
            Ask::Allocate => Request::new(Method::Allocate, id).requested_transport(UDP).lifetime(LIFETIME_SECS),
            Ask::Channel(peer) => {
                Request::new(Method::ChannelBind, id).channel_number(CHANNEL).xor_peer_address(peer.into())
            }
            Ask::Free => Request::new(Method::Refresh, id).lifetime(0),
        };
        Some(match &self.signs {
            Some(Signs { realm, nonce, key }) => {
                request.credentials(&self.credential.username, realm, nonce).finish(Some(key))
            }
            None => request.finish(None),
        })
    }
}
