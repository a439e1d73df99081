//! An honest TURN client without a socket: one transaction at a time, sent again as RFC 8489 §6.2.1 has it, everything
//! refreshed in time, and started over when the server knows it no more.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use crate::auth::Credential;
use crate::turn::tests::world::{REALM, UDP, channel_data};
use crate::wire::{Key, Message, MessageClass, Method, Request, TransactionId, channel_data as framed};

/// RFC 8489 §6.2.1: RTO, Rc and Rm.
const RTO: u64 = 500;
const SENDS: u32 = 7;
const LAST_WAIT: u64 = 16 * RTO;

/// How long before its end a thing is refreshed, and after a refusal that may pass, tried again.
const MARGIN: u64 = 60_000;
const PAUSE: u64 = 1_000;

pub(super) struct Honest {
    pub(super) number: u8,
    credential: Credential,
    nonce: String,
    pending: Option<Pending>,
    serial: u64,
    pub(super) relayed: Option<SocketAddr>,
    /// Everybody it talks to: who that is, and where.
    targets: Vec<(u8, SocketAddr)>,
    by_channel: bool,
    channel: u16,
    channel_until: u64,
    refresh_at: u64,
    permit_at: u64,
    bind_at: u64,
    data_at: u64,
    pace: u64,
    /// The five-tuple holds an allocation whose answer was lost.
    haunted: bool,
    pub(super) leaving: bool,
    pub(super) gone: bool,
    /// From whom it has heard.
    pub(super) heard: BTreeSet<u8>,
}

struct Pending {
    id: TransactionId,
    method: Method,
    bytes: Vec<u8>,
    sends: u32,
    at: u64,
}

impl Honest {
    pub(super) fn new(number: u8, credential: Credential, by_channel: bool, pace: u64) -> Honest {
        Honest {
            number,
            credential,
            nonce: String::new(),
            pending: None,
            serial: 0,
            relayed: None,
            targets: Vec::new(),
            by_channel,
            channel: 0x4000,
            channel_until: 0,
            refresh_at: 0,
            permit_at: 0,
            bind_at: 0,
            data_at: 0,
            pace,
            haunted: false,
            leaving: false,
            gone: false,
            heard: BTreeSet::new(),
        }
    }

    /// Whom to talk to; somebody who moved gets another channel.
    pub(super) fn meet(&mut self, now: u64, who: u8, at: SocketAddr) {
        if self.targets.contains(&(who, at)) {
            return;
        }
        self.targets.retain(|(other, _)| *other != who);
        self.targets.insert(0, (who, at));
        self.channel += 1;
        (self.permit_at, self.bind_at, self.channel_until) = (now, now, 0);
    }

    /// When to ask [`Honest::poll`] next.
    pub(super) fn wakes_at(&self, now: u64) -> Option<u64> {
        if self.gone {
            return None;
        }
        let request = match &self.pending {
            Some(pending) => pending.at,
            None => self.wants(now).map_or_else(|| self.next_wish(), |_| now),
        };
        Some(request.min(self.next_data()).max(now))
    }

    /// What it sends now, if anything.
    pub(super) fn poll(&mut self, now: u64) -> Option<Vec<u8>> {
        if self.gone {
            return None;
        }
        if self.pending.as_ref().is_some_and(|pending| pending.at <= now) {
            return self.send_again(now);
        }
        if self.pending.is_none()
            && let Some((method, request)) = self.wants(now)
        {
            return Some(self.begin(now, method, request));
        }
        if self.next_data() <= now { self.talk(now) } else { None }
    }

    fn send_again(&mut self, now: u64) -> Option<Vec<u8>> {
        let pending = self.pending.as_mut()?;
        if pending.sends == SENDS {
            self.pending = None; // it failed; what is still wanted begins anew
            self.serial += 1;
            return None;
        }
        pending.sends += 1;
        let wait = if pending.sends == SENDS { LAST_WAIT } else { RTO << (pending.sends - 1) };
        pending.at = now + wait;
        Some(pending.bytes.clone())
    }

    fn begin(&mut self, now: u64, method: Method, fill: Request) -> Vec<u8> {
        let Credential { username, password } = &self.credential;
        let key = Key::long_term(username.as_bytes(), REALM.as_bytes(), password.as_bytes());
        let bytes = match self.nonce.as_str() {
            "" => fill.finish(None),
            nonce => fill.credentials(username, REALM, nonce).finish(Some(&key)),
        };
        let id = self.id();
        self.pending = Some(Pending { id, method, bytes: bytes.clone(), sends: 1, at: now + RTO });
        bytes
    }

    fn id(&self) -> TransactionId {
        let mut id = [self.number; 12];
        id[..8].copy_from_slice(&self.serial.to_be_bytes());
        TransactionId(id)
    }

    /// The most urgent request, if there is one. The transaction is the next one.
    fn wants(&self, now: u64) -> Option<(Method, Request)> {
        let request = |method| (method, Request::new(method, self.id()));
        let end = || (Method::Refresh, Request::new(Method::Refresh, self.id()).lifetime(0));
        if self.haunted || self.leaving && self.relayed.is_some() {
            return Some(end());
        }
        if self.leaving {
            return None;
        }
        if self.relayed.is_none() {
            let due = self.refresh_at <= now;
            return due.then(|| (Method::Allocate, request(Method::Allocate).1.requested_transport(UDP)));
        }
        if self.refresh_at <= now {
            return Some(request(Method::Refresh));
        }
        if self.permit_at <= now && !self.targets.is_empty() {
            let (method, bare) = request(Method::CreatePermission);
            return Some((method, self.targets.iter().fold(bare, |request, (_, at)| request.xor_peer_address(*at))));
        }
        let (_, at) = self.targets.first().filter(|_| self.by_channel && self.bind_at <= now)?;
        let (method, bare) = request(Method::ChannelBind);
        Some((method, bare.channel_number(self.channel).xor_peer_address(*at)))
    }

    fn next_wish(&self) -> u64 {
        match (self.leaving, self.relayed) {
            (true, _) => u64::MAX,
            (false, None) => self.refresh_at,
            (false, Some(_)) if self.targets.is_empty() => self.refresh_at,
            (false, Some(_)) if self.by_channel => self.refresh_at.min(self.permit_at).min(self.bind_at),
            (false, Some(_)) => self.refresh_at.min(self.permit_at),
        }
    }

    fn next_data(&self) -> u64 {
        let talks = self.relayed.is_some() && !self.targets.is_empty() && !self.leaving;
        if talks { self.data_at } else { u64::MAX }
    }

    /// To each in turn. The payload says for whom it is, and from whom.
    fn talk(&mut self, now: u64) -> Option<Vec<u8>> {
        self.data_at = now + self.pace;
        self.targets.rotate_left(usize::from(!self.by_channel));
        let turn = self.serial.wrapping_add(now / self.pace.max(1)) as usize % self.targets.len();
        let (who, at) = *self.targets.get(turn)?;
        let payload = [who, self.number, 0xDA, 0x7A];
        if turn == 0 && self.by_channel && now < self.channel_until {
            return Some(channel_data(self.channel, &payload));
        }
        Some(Request::indication(Method::Send, TransactionId([7; 12])).xor_peer_address(at).data(&payload).finish(None))
    }

    /// Something arrived.
    pub(super) fn handle(&mut self, now: u64, bytes: &[u8]) {
        if self.gone {
            return;
        }
        if let Some(view) = framed::parse(bytes).filter(|_| bytes[0] >= 0x40) {
            return self.hear(&bytes[4..4 + view.len]);
        }
        let message = Message::parse(bytes).expect("a server sends well formed messages");
        if message.class() == MessageClass::Indication {
            return self.hear(&bytes[message.data_range().expect("data")]);
        }
        if self.pending.as_ref().is_none_or(|pending| pending.id != message.transaction()) {
            return; // of a transaction that is over
        }
        let Some(Pending { method, .. }) = self.pending.take() else { return };
        self.serial += 1;
        let code = match message.class() {
            MessageClass::Success => 0,
            _ => message.error_code().expect("readable").expect("an error has a code"),
        };
        self.conclude(now, method, code, &message);
    }

    fn conclude(&mut self, now: u64, method: Method, code: u16, message: &Message<'_>) {
        match (code, method) {
            (401 | 438, _) => {
                assert!(code == 438 || self.nonce.is_empty(), "good credentials are refused");
                let nonce = message.nonce().expect("readable").expect("a challenge has a nonce");
                self.nonce = String::from_utf8(nonce.to_vec()).expect("text");
            }
            (0, Method::Allocate) => {
                self.relayed = message.xor_relayed_address().expect("readable");
                self.refresh_at = now + lifetime(message) - MARGIN;
                (self.permit_at, self.bind_at, self.channel_until) = (now, now, 0);
            }
            (437, Method::Allocate) => self.haunted = true,
            (0 | 437, Method::Refresh) if self.leaving || self.haunted => self.let_go(now),
            (0, Method::Refresh) => self.refresh_at = now + lifetime(message) - MARGIN,
            (437, _) => self.let_go(now),
            (0, Method::CreatePermission) => self.permit_at = now + 300_000 - MARGIN,
            (0, Method::ChannelBind) => {
                self.bind_at = now + 300_000 - MARGIN; // its permission needs it sooner than the channel
                self.channel_until = now + 600_000 - MARGIN;
            }
            // The other side is not there, or not any more; no port could be had.
            (403, _) => (self.permit_at, self.bind_at) = (now + PAUSE, now + PAUSE),
            (508, Method::Allocate) => self.refresh_at = now + PAUSE,
            other => panic!("an honest client is answered {other:?}"),
        }
    }

    fn let_go(&mut self, now: u64) {
        (self.relayed, self.haunted, self.refresh_at) = (None, false, now);
        self.gone = self.leaving;
    }

    fn hear(&mut self, payload: &[u8]) {
        assert_eq!(payload[0], self.number, "data for somebody else");
        self.heard.insert(payload[1]);
    }
}

fn lifetime(message: &Message<'_>) -> u64 {
    u64::from(message.lifetime().expect("readable").expect("a lifetime")) * 1000
}

#[test]
fn an_unanswered_request_is_sent_as_rfc_8489_has_it() {
    let credential = Credential { username: "alice".to_owned(), password: String::new() };
    let mut client = Honest::new(0, credential, false, 1_000);
    let mut sent = Vec::new();
    let mut now = 0;
    while sent.len() < 8 {
        if client.poll(now).is_some() {
            sent.push(now);
        }
        now += 100;
    }
    // §6.2.1: "requests are sent at times 0 ms, 500 ms, 1500 ms, 3500 ms, 7500 ms, 15500 ms, and 31500 ms", failed at 39500.
    assert_eq!(sent[..7], [0, 500, 1_500, 3_500, 7_500, 15_500, 31_500]);
    assert!((39_500..=39_700).contains(&sent[7]), "{} begins anew", sent[7]);
}
