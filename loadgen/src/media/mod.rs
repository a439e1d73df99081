//! Media and all UDP: one thread paces and sends every caller's packets in batches, receives everything, and hands
//! control datagrams to the callers. Callers speak to it through [`Media`].

pub mod bridge;
mod engine;
mod full;
pub mod impair;
pub mod packet;
mod parties;
pub mod sockets;
pub mod stream;
pub mod tls;
pub mod voice;

use std::{
    collections::VecDeque,
    io,
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use tokio::sync::mpsc;

use crate::{
    peer::{full::FullPeer, note::Note},
    stats::latency::Distribution,
    sys::{EventFd, go_real_time},
    time::{Clock, Nanos},
};
use impair::{Impairment, Profile};
use packet::StreamId;
use sockets::{Key, Sockets, Source};
use stream::Account;
use voice::{Speaker, Voice};

/// Letters waiting for one caller at most; more means that the generator does not keep up, which is counted.
pub const MAILBOX: usize = 32;

/// What the media thread tells a caller.
#[derive(Debug)]
pub enum Mail {
    /// A datagram that is not media, and when the kernel got it.
    Datagram { at: Nanos, bytes: Box<[u8]> },
    /// The partner's first packet arrived.
    FirstVoice { at: Nanos },
    /// The account after [`Media::hush`]. Boxed, for every mailbox has room for many letters.
    Account(Box<Account>),
}

/// When something counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Window {
    pub from: Nanos,
    pub until: Nanos,
}

impl Window {
    pub fn contains(&self, at: Nanos) -> bool {
        self.from <= at && at < self.until
    }
}

/// Counters the media thread writes and anybody reads.
#[derive(Debug, Default)]
pub struct Counters {
    /// Callers that are sending now.
    pub talking: AtomicU64,
    pub sent: AtomicU64,
    pub received: AtomicU64,
    /// Media packets the kernel did not take.
    pub unsent: AtomicU64,
    /// Datagrams our own sockets dropped for want of room.
    pub dropped: AtomicU64,
    /// Letters a caller's mailbox had no room for.
    pub undelivered: AtomicU64,
    /// Media of another call.
    pub foreign: AtomicU64,
    /// Media with changed bytes.
    pub corrupt: AtomicU64,
}

impl Counters {
    fn add(counter: &AtomicU64, more: u64) {
        counter.store(counter.load(Ordering::Relaxed) + more, Ordering::Relaxed); // one writer
    }
}

/// What the media thread measured, inside the window.
#[derive(Debug, Default)]
pub struct Measured {
    /// How late each packet was sent.
    pub lateness: Distribution,
    /// One-way delay of each packet: from the stamp in it to the kernel's arrival stamp.
    pub delay: Distribution,
    /// How much longer each packet took than the fastest of its stream so far (RFC 5481 §4.2).
    pub variation: Distribution,
}

impl Measured {
    pub fn merge(&mut self, other: &Measured) {
        self.lateness.merge(&other.lateness);
        self.delay.merge(&other.delay);
        self.variation.merge(&other.variation);
    }

    pub fn heard(&mut self, delay: Duration, variation: Duration) {
        self.delay.record(delay);
        self.variation.record(variation);
    }
}

pub(crate) enum Command {
    Attach { source: Source, mailbox: mpsc::Sender<Mail>, network: Option<Box<Impairment>>, opaque: bool },
    Hear { key: Key, channel: u16, stream: StreamId },
    Talk { key: Key, server: SocketAddr, channel: u16, stream: StreamId, speaker: Speaker },
    HandOver { key: Key, server: SocketAddr, channel: u16, peer: Box<FullPeer> },
    Pass { key: Key, at: Nanos, data: Vec<u8> },
    Hush { key: Key },
    Detach { key: Key },
    Stop,
}

#[derive(Default)]
pub(crate) struct Queue(Mutex<VecDeque<Command>>);

/// The handle of the media thread. Commands are bounded by what callers do: a handful each.
pub struct Media {
    sockets: Arc<Sockets>,
    queue: Arc<Queue>,
    bell: Arc<EventFd>,
    counters: Arc<Counters>,
    network: Option<(Profile, u64)>,
    voice: (Voice, u64),
    thread: Mutex<Option<JoinHandle<Measured>>>,
}

impl Media {
    /// Starts the thread, before all ordinary ones if `real_time` and the kernel allows it. Lateness and delay count
    /// inside `window`.
    pub fn start(clock: Clock, window: Window, real_time: bool) -> io::Result<Media> {
        let sockets = Arc::new(Sockets::open()?);
        let (queue, bell) = (Arc::new(Queue::default()), Arc::new(EventFd::new()?));
        let counters = Arc::new(Counters::default());
        let engine =
            engine::Engine::new(clock, window, sockets.clone(), queue.clone(), bell.clone(), counters.clone())?;
        let thread = std::thread::Builder::new().name("media".to_owned()).spawn(move || {
            if real_time {
                go_real_time();
            }
            engine.run()
        })?;
        Ok(Media {
            sockets,
            queue,
            bell,
            counters,
            network: None,
            voice: Default::default(),
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Puts callers who attach from now on behind a network like this, drawn from `seed`.
    pub fn behind(mut self, profile: Option<Profile>, seed: u64) -> Media {
        self.network = profile.map(|profile| (profile, seed));
        self
    }

    /// How callers who talk from now on speak, their pauses drawn from `seed`.
    pub fn speaking(mut self, voice: Voice, seed: u64) -> Media {
        self.voice = (voice, seed);
        self
    }

    /// Counts what a caller whose media is opaque noticed. From one thread only.
    pub fn note(&self, note: Note) {
        match note {
            Note::Sent { .. } => Counters::add(&self.counters.sent, 1),
            Note::Heard { .. } => Counters::add(&self.counters.received, 1),
            Note::Foreign => Counters::add(&self.counters.foreign, 1),
            Note::Corrupt => Counters::add(&self.counters.corrupt, 1),
            Note::Checking | Note::Connected | Note::Secured => {}
        }
    }

    /// Gives caller `number` a source towards `server`; what arrives there goes to `mailbox`.
    pub fn attach(&self, number: u32, server: SocketAddr, mailbox: mpsc::Sender<Mail>) -> io::Result<Source> {
        self.attach_as(number, server, mailbox, false)
    }

    /// The same; if `opaque`, what comes is the caller's to read, media too.
    pub fn attach_as(
        &self,
        number: u32,
        server: SocketAddr,
        mailbox: mpsc::Sender<Mail>,
        opaque: bool,
    ) -> io::Result<Source> {
        let source = self.sockets.source(number, server)?;
        let network = self.network.map(|(profile, seed)| Box::new(Impairment::new(profile, seed, number)));
        self.post(Command::Attach { source: source.clone(), mailbox, network, opaque });
        Ok(source)
    }

    /// Gives caller `number` a connected socket of its own as its source.
    pub fn attach_socket(
        &self,
        number: u32,
        socket: UdpSocket,
        mailbox: mpsc::Sender<Mail>,
        opaque: bool,
    ) -> io::Result<Source> {
        let source = Source::of_socket(number, socket)?;
        self.post(Command::Attach { source: source.clone(), mailbox, network: None, opaque });
        Ok(source)
    }

    /// Sends a control datagram at once.
    pub fn send(&self, source: &Source, bytes: &[u8], server: SocketAddr) -> io::Result<()> {
        self.sockets.send(source, bytes, server)
    }

    /// Expects `stream` in `channel` from now on.
    pub fn hear(&self, key: Key, channel: u16, stream: StreamId) {
        self.post(Command::Hear { key, channel, stream });
    }

    /// Sends `stream` through `channel` until hushed.
    pub fn talk(&self, key: Key, server: SocketAddr, channel: u16, stream: StreamId) {
        let (voice, seed) = self.voice;
        let speaker = Speaker::new(voice, seed ^ packet::mix(key.0));
        self.post(Command::Talk { key, server, channel, stream, speaker });
    }

    /// Speaks and hears for a full caller's `peer` through `channel` until hushed.
    pub fn hand_over(&self, key: Key, server: SocketAddr, channel: u16, peer: Box<FullPeer>) {
        self.post(Command::HandOver { key, server, channel, peer });
    }

    /// What came through the channel of such a peer at `at`, before it was handed over.
    pub fn pass(&self, key: Key, at: Nanos, data: Vec<u8>) {
        self.post(Command::Pass { key, at, data });
    }

    /// Stops both directions; the account comes by mail.
    pub fn hush(&self, key: Key) {
        self.post(Command::Hush { key });
    }

    /// Forgets a source.
    pub fn detach(&self, key: Key) {
        self.post(Command::Detach { key });
    }

    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Ends the thread and returns what it measured; nothing the second time.
    pub fn stop(&self) -> Option<Measured> {
        self.post(Command::Stop);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        thread.join().ok()
    }

    fn post(&self, command: Command) {
        let was_empty = self.queue.push(command);
        if was_empty {
            self.bell.raise();
        }
    }
}

impl Queue {
    fn push(&self, command: Command) -> bool {
        let mut queue = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        queue.push_back(command);
        queue.len() == 1
    }

    pub(crate) fn take(&self) -> VecDeque<Command> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
