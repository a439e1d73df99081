#![allow(clippy::unwrap_used)]
//! The desk under a fake clock, a fixed seed and a fake relay. `World` is the small language the stories are told in.

mod accepting;
mod adopting;
mod chaos;
mod draining;
mod handing;
mod hearing;
mod hostile;
mod joined;
mod operating;
mod queueing;
mod restarting;
mod resuming;
mod setup;
mod story;
mod trust;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::*;
use crate::auth::Credential;
use crate::calls::{Full, Gone, Heard};
use crate::matchmaking::{Gender, Level, Recent, TopicMode};
use crate::signalling::token::{Key, Minter, Profile};
use crate::time::Unix;

const SECRET: &[u8] = b"a shared secret of thirty-two b.";
const ISSUER: &str = "https://app.example";
const AUDIENCE: &str = "voice";

pub(super) const CHROMIUM: &str = include_str!("../../vectors/sdp/chromium-156-offer.sdp");
pub(super) const FIREFOX_ANSWER: &str = include_str!("../../vectors/sdp/firefox-153-answer.sdp");

/// What the fake relay was told, and what it answers.
#[derive(Default)]
pub(super) struct FakeState {
    pub(super) open: BTreeSet<[u8; 12]>,
    pub(super) paired: BTreeMap<[u8; 12], [u8; 12]>,
    pub(super) relayed: HashMap<[u8; 12], SocketAddr>,
    pub(super) opened: usize,
    pub(super) capacity: Option<usize>,
    pub(super) refuses_pairs: bool,
    pub(super) heard: HashMap<[u8; 12], Heard>,
    /// Whose streams are listened to.
    pub(super) listens: BTreeSet<[u8; 12]>,
}

#[derive(Clone, Default)]
pub(super) struct FakeRelay(pub(super) Arc<Mutex<FakeState>>);

impl RelayDesk for FakeRelay {
    fn open(&mut self, handle: Handle) -> Result<(), Full> {
        let mut state = self.0.lock().unwrap();
        if state.capacity.is_some_and(|capacity| state.open.len() >= capacity) {
            return Err(Full);
        }
        assert!(state.open.insert(handle.0), "a handle is drawn once");
        state.opened += 1;
        Ok(())
    }

    fn pair(&mut self, a: Handle, b: Handle) -> Result<(), Gone> {
        let mut state = self.0.lock().unwrap();
        if state.refuses_pairs || !state.open.contains(&a.0) || !state.open.contains(&b.0) {
            return Err(Gone);
        }
        state.paired.insert(a.0, b.0);
        state.paired.insert(b.0, a.0);
        Ok(())
    }

    fn close(&mut self, handle: Handle) {
        let mut state = self.0.lock().unwrap();
        let partner = state.paired.remove(&handle.0);
        for gone in [Some(handle.0), partner].into_iter().flatten() {
            state.open.remove(&gone);
            state.paired.remove(&gone);
            state.relayed.remove(&gone);
        }
    }

    fn relayed(&self, handle: &Handle) -> Vec<SocketAddr> {
        self.0.lock().unwrap().relayed.get(&handle.0).copied().into_iter().collect()
    }

    fn listen(&mut self, handle: &Handle, media: bool) -> Heard {
        let mut state = self.0.lock().unwrap();
        if media {
            state.listens.insert(handle.0);
        } else {
            state.listens.remove(&handle.0);
        }
        state.heard.get(&handle.0).copied().unwrap_or_default()
    }

    fn mint(&self, now: Now, handle: Handle, generation: u32, ttl_secs: u32) -> Credential {
        let expires = now.unix.0 + u64::from(ttl_secs);
        let username = format!("1.{expires}.{}.{generation}", handle.to_base64url());
        Credential { username, password: "password".into() }
    }
}

pub(super) struct World {
    pub(super) desk: Desk,
    pub(super) relay: FakeRelay,
    pub(super) counters: Arc<Counters>,
    pub(super) now: Now,
    inbox: HashMap<u64, VecDeque<Value>>,
    pub(super) closed: HashMap<u64, u16>,
    pub(super) reports: Vec<Dispatch>,
    /// To other nodes.
    pub(super) said: Vec<(To, Vec<u8>)>,
    /// The last numbered frame each connection got.
    pub(super) numbers: HashMap<u64, u64>,
    minted: u64,
}

/// A caller's `ice`, reduced to its handle.
pub(super) fn handle_of(frame: &Value) -> [u8; 12] {
    let username = frame["ice"]["servers"][0]["username"].as_str().unwrap();
    Handle::from_base64url(username.split('.').nth(2).unwrap()).unwrap().0
}

pub(super) fn settings() -> Settings {
    let token = token::Settings {
        issuer: ISSUER.into(),
        audience: AUDIENCE.into(),
        keys: vec![("dev".into(), Key::hs256(SECRET).unwrap())],
        min_band: Band::B13_15,
    };
    Settings {
        direct_bands: vec![Band::Adult],
        topics: ["travel", "films", "work", "food", "music"].map(str::to_owned).to_vec(),
        reports: true,
        ..Settings::for_tokens(token)
    }
}

/// Somebody by number.
pub(super) fn profile(number: u64) -> Profile {
    Profile::adult(format!("pseudonym-{number:06}"))
}

impl World {
    pub(super) fn new() -> World {
        World::with(settings())
    }

    pub(super) fn with(settings: Settings) -> World {
        World::seeded(settings, 7)
    }

    pub(super) fn seeded(settings: Settings, seed: u8) -> World {
        let (relay, counters) = (FakeRelay::default(), Arc::new(Counters::default()));
        let desk = Desk::new(settings, Box::new(relay.clone()), [seed; 32], Arc::clone(&counters));
        let now = Now { mono: Millis(1_000), unix: Unix(1_800_000_000), micros: 0 };
        let (inbox, closed, numbers) = (HashMap::new(), HashMap::new(), HashMap::new());
        let (reports, said) = (Vec::new(), Vec::new());
        World { desk, relay, counters, now, inbox, closed, reports, said, numbers, minted: 0 }
    }

    /// Another process takes over, as clients see it: everybody who moves is cut. Returns the one before, with those who stay.
    pub(super) fn hand_over(&mut self, settings: Settings, stays: &dyn Fn(&Handle) -> bool) -> World {
        let closed = self.closed.len();
        let packed = self.desk.pack(self.now, stays).unwrap();
        self.collect();
        assert_eq!(self.closed.len(), closed, "nobody is sent away before there is somewhere to go");
        self.desk.dismiss(self.now);
        self.collect();
        let moves: BTreeSet<[u8; 12]> = packed.moves().iter().map(|handle| handle.0).collect();
        let packed: Packed = postcard::from_bytes(&postcard::to_allocvec(&packed).unwrap()).unwrap();
        let (relay, counters) = (FakeRelay::default(), Arc::new(Counters::default()));
        let (connected, own) = (Arc::clone(&counters), Box::new(relay.clone()));
        let mut seed = [0; 32];
        self.desk.rng.fill_bytes(&mut seed);
        let desk = Desk::unpack(settings, own, seed, connected, &packed, self.now).unwrap();
        let (mut old, mut new) = (self.relay.0.lock().unwrap(), relay.0.lock().unwrap());
        assert!(new.open.is_subset(&moves), "nothing is open there that did not move");
        for gone in &moves {
            assert!(old.open.remove(gone));
            assert_eq!(old.paired.remove(gone), new.paired.get(gone).copied());
            let held = old.relayed.remove_entry(gone).filter(|_| new.open.contains(gone));
            new.relayed.extend(held);
        }
        new.opened = old.opened;
        drop((old, new));
        let (numbers, now) = (self.numbers.clone(), self.now);
        let (inbox, closed, minted) = (HashMap::new(), HashMap::new(), self.minted);
        let (reports, said) = (Vec::new(), Vec::new());
        let successor = World { desk, relay, counters, now, inbox, closed, reports, said, numbers, minted };
        std::mem::replace(self, successor)
    }

    pub(super) fn token(&mut self, profile: &Profile) -> String {
        self.minted += 1;
        Minter::hs256("dev", SECRET, ISSUER, AUDIENCE).mint(self.now.unix, 300, &self.minted.to_string(), profile)
    }

    pub(super) fn sign(&self, claims: &Value) -> String {
        Minter::hs256("dev", SECRET, ISSUER, AUDIENCE).sign(claims)
    }

    pub(super) fn claims(&mut self, profile: &Profile) -> Value {
        self.minted += 1;
        Minter::hs256("dev", SECRET, ISSUER, AUDIENCE).claims(self.now.unix, 300, &self.minted.to_string(), profile)
    }

    pub(super) fn open(&mut self, who: u64) {
        self.desk.handle_open(self.now, Connection(who));
        self.collect();
    }

    pub(super) fn raw(&mut self, who: u64, frame: &str) {
        self.desk.handle_frame(self.now, Connection(who), frame);
        self.collect();
    }

    pub(super) fn say(&mut self, who: u64, frame: Value) {
        self.raw(who, &frame.to_string());
    }

    pub(super) fn leave(&mut self, who: u64) {
        self.desk.handle_close(self.now, Connection(who));
        self.collect();
    }

    /// The connection breaks without a word.
    pub(super) fn cut(&mut self, who: u64) {
        self.desk.handle_lost(self.now, Connection(who));
        self.collect();
    }

    /// Time passes, every deadline in its turn.
    pub(super) fn pass(&mut self, millis: u64) {
        let end = self.now.after(millis);
        while let Some(at) = self.desk.poll_timeout().filter(|at| *at <= end.mono) {
            self.now = self.now.after(at.since(self.now.mono));
            self.desk.handle_timeout(self.now);
            self.collect();
        }
        self.now = self.now.after(end.mono.since(self.now.mono));
        self.desk.handle_timeout(self.now);
        self.collect();
    }

    pub(super) fn collect(&mut self) {
        while let Some(output) = self.desk.poll_output() {
            match output {
                Output::Frame { to, frame } => {
                    assert!(!self.closed.contains_key(&to.0), "nothing follows a close");
                    let frame = self.numbered(to.0, serde_json::from_str(&frame.json).unwrap());
                    self.inbox.entry(to.0).or_default().push_back(frame);
                }
                Output::Report(report) => self.reports.push(report),
                Output::Bus { to, payload } => self.said.push((to, payload)),
                Output::Close { to, code } => assert_eq!(self.closed.insert(to.0, code.0), None, "closed once"),
            }
        }
    }

    /// Takes the sequence number off a frame, which must go up.
    fn numbered(&mut self, who: u64, mut frame: Value) -> Value {
        if let Some(n) = frame.as_object_mut().and_then(|fields| fields.remove("n")).and_then(|n| n.as_u64()) {
            let last = self.numbers.insert(who, n).unwrap_or(0);
            assert!(n > last, "{n} after {last}");
        }
        frame
    }

    /// The next frame for `who`, which must be of type `t`.
    pub(super) fn hear(&mut self, who: u64, t: &str) -> Value {
        let inbox = self.inbox.entry(who).or_default();
        // Told beside everything else where there are other nodes.
        while t != "pass" && inbox.front().is_some_and(|frame| frame["t"] == "pass") {
            inbox.pop_front();
        }
        let frame = inbox.pop_front();
        let frame = frame.unwrap_or_else(|| panic!("{who} hears nothing instead of {t}"));
        assert_eq!(frame["t"], t, "{frame}");
        frame
    }

    /// The next frame for `who` must be this error.
    pub(super) fn hear_error(&mut self, who: u64, code: &str) -> Value {
        let frame = self.hear(who, "error");
        assert_eq!(frame["code"], code, "{frame}");
        frame
    }

    /// Whether such a frame is among those that wait to be heard.
    pub(super) fn heard(&self, who: u64, t: &str) -> bool {
        self.inbox.get(&who).is_some_and(|frames| frames.iter().any(|frame| frame["t"] == t))
    }

    pub(super) fn silent(&mut self, who: u64) {
        let mut left = self.inbox.remove(&who).unwrap_or_default();
        left.retain(|frame| frame["t"] != "pass");
        assert!(left.is_empty(), "{who} hears {left:?}");
    }

    pub(super) fn ignore(&mut self, who: u64) {
        self.inbox.remove(&who);
    }

    /// Connected and idle; returns `welcome`.
    pub(super) fn enter_as(&mut self, who: u64, profile: &Profile) -> Value {
        let token = self.token(profile);
        self.open(who);
        self.say(who, json!({ "t": "hello", "q": 1, "v": [1], "token": token }));
        self.hear(who, "welcome")
    }

    pub(super) fn enter(&mut self, who: u64) -> Value {
        self.enter_as(who, &profile(who))
    }

    /// Waiting; returns `queued`.
    pub(super) fn queue(&mut self, who: u64) -> Value {
        self.say(who, json!({ "t": "queue", "q": 2 }));
        self.hear(who, "queued")
    }

    /// The relay gives an address to a handle; a candidate line for it.
    pub(super) fn allocate(&mut self, handle: [u8; 12]) -> String {
        let mut state = self.relay.0.lock().unwrap();
        let port = 50_000 + u16::try_from(state.opened).unwrap() * 7 + u16::from(handle[0]);
        state.relayed.insert(handle, SocketAddr::from(([203, 0, 113, 7], port)));
        format!("candidate:1 1 udp 41885439 203.0.113.7 {port} typ relay raddr 198.51.100.9 rport 4000 generation 0")
    }

    /// 1 waits, 2 arrives; both have heard `matched` and acknowledged. Returns the call and both `matched`.
    pub(super) fn match_two(&mut self) -> (String, Value, Value) {
        for who in [1, 2] {
            self.enter(who);
            self.queue(who);
        }
        let (a, b) = (self.hear(1, "matched"), self.hear(2, "matched"));
        let call = a["call"].as_str().unwrap().to_owned();
        for who in [1, 2] {
            self.say(who, json!({ "t": "ack", "call": call }));
        }
        (call, a, b)
    }

    /// Describes, connects: the call stands.
    pub(super) fn connect(&mut self, call: &str) {
        self.say(1, json!({ "t": "offer", "call": call, "gen": 1, "sdp": CHROMIUM }));
        self.hear(2, "offer");
        self.say(2, json!({ "t": "answer", "call": call, "gen": 1, "sdp": FIREFOX_ANSWER }));
        self.hear(1, "answer");
        for who in [1, 2] {
            self.say(who, json!({ "t": "ice", "call": call, "s": "connected" }));
        }
        for who in [1, 2] {
            self.hear(who, "connected");
        }
    }

    /// 1 and 2 talk.
    pub(super) fn talking(&mut self) -> String {
        let (call, ..) = self.match_two();
        self.connect(&call);
        call
    }

    /// Every table is empty, here and on the relay.
    pub(super) fn assert_nothing_left(&self) {
        let desk = &self.desk;
        let tables = [desk.sessions.len(), desk.people.len(), desk.waiting.len(), desk.calls.len()];
        assert_eq!(tables, [0; 4]);
        assert_eq!((desk.sids.len(), desk.bound.len(), desk.guests.len(), desk.shared.len()), (0, 0, 0, 0));
        assert_eq!(desk.queues.waiting(), 0);
        assert_eq!(self.open_handles(), 0);
        if let Queues::Joined(cluster) = &desk.queues {
            assert_eq!(cluster.shared(), (0, 0), "nor in the cluster");
        }
    }

    pub(super) fn open_handles(&self) -> usize {
        self.relay.0.lock().unwrap().open.len()
    }

    pub(super) fn ended(&self, why: &str) -> u64 {
        self.counters.ended().find(|(name, _)| *name == why).unwrap().1
    }
}

/// A queue frame that differs from the defaults.
pub(super) fn wish(gender: &[Gender], level: Option<Level>, mode: TopicMode, topics: &[u8]) -> Value {
    use crate::signalling::message::{GenderWord, LevelWord, ModeWord};
    let genders: Vec<GenderWord> = gender.iter().map(|gender| (*gender).into()).collect();
    json!({
        "t": "queue", "q": 2, "gender": genders, "level": level.map(LevelWord::from),
        "topic_mode": ModeWord::from(mode), "topics": topics,
    })
}
