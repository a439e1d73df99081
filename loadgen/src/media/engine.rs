//! The media thread: take commands, send what is due, receive what waits, rest. While anybody talks it wakes at each step
//! of the wheel and not for each packet (the kernel stamps arrivals, so delay does not depend on when we look); while
//! nobody talks it sleeps until something arrives.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    io,
    net::UdpSocket,
    os::fd::AsFd,
    sync::{Arc, atomic::Ordering},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::sync::mpsc::Sender;

use super::{
    Command, Counters, Mail, Measured, Queue, Window,
    full::{FullParty, Tally},
    impair::Impairment,
    packet::{self, Frame},
    parties::{Parties, Party},
    sockets::{Key, SHARED, Sockets, Source, shared_key},
    stream::{Account, Arrival, Hearing, Sending, Wheel, judge},
    voice::Tick,
};
use crate::{
    peer::stun,
    sys::{BATCH, Epoll, EventFd, Inbox, Outbox, sharpen_sleeps},
    time::{Clock, Nanos},
};

/// Token of the bell among those of the sockets.
const BELL: u64 = u64::MAX;
/// Rest while nobody talks but something is under way: it is stamped with its true arrival all the same.
const DELAYED_MS: i32 = 1;
/// Datagrams under way through impaired networks at most; more are lost and counted as undelivered.
const MAX_DELAYED: usize = 1 << 18;
/// Longest rest while nobody talks, so that the loop is seen to live.
const IDLE_MS: i32 = 100;

pub(super) struct Engine {
    clock: Clock,
    window: Window,
    sockets: Arc<Sockets>,
    queue: Arc<Queue>,
    bell: Arc<EventFd>,
    counters: Arc<Counters>,
    epoll: Epoll,
    inbox: Inbox,
    outboxes: Vec<Outbox>,
    single: Outbox,
    parties: Parties,
    wheel: Wheel,
    dropped: HashMap<u64, u32>,
    measured: Measured,
    /// Numbers what comes, so that equal arrivals keep their order.
    order: u64,
    /// What an impaired network still holds back, by when it arrives.
    delayed: BinaryHeap<Reverse<Delayed>>,
    stopped: bool,
}

/// A datagram on its way through an impaired network. Ordered by arrival, then by when it came.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Delayed {
    at: Nanos,
    order: u64,
    key: Key,
    bytes: Box<[u8]>,
}

impl Engine {
    pub(super) fn new(
        clock: Clock,
        window: Window,
        sockets: Arc<Sockets>,
        queue: Arc<Queue>,
        bell: Arc<EventFd>,
        counters: Arc<Counters>,
    ) -> io::Result<Engine> {
        let epoll = Epoll::new()?;
        epoll.add(bell.fd(), BELL)?;
        for (lane, socket) in sockets.shared().iter().enumerate() {
            epoll.add(socket.as_fd(), lane as u64)?;
        }
        Ok(Engine {
            clock,
            window,
            sockets,
            queue,
            bell,
            counters,
            epoll,
            inbox: Inbox::default(),
            outboxes: (0..SHARED).map(|_| Outbox::default()).collect(),
            single: Outbox::default(),
            parties: Parties::default(),
            wheel: Wheel::default(),
            dropped: HashMap::new(),
            measured: Measured::default(),
            order: 0,
            delayed: BinaryHeap::new(),
            stopped: false,
        })
    }

    pub(super) fn run(mut self) -> Measured {
        sharpen_sleeps();
        loop {
            let ready = self.rest();
            self.obey();
            if self.stopped {
                return self.measured;
            }
            self.send_due();
            for token in ready {
                self.receive(token);
            }
            self.release();
        }
    }

    /// Sleeps until the next step, or, while nobody talks, until something arrives. Returns what is readable.
    fn rest(&mut self) -> Vec<u64> {
        let idle = self.wheel.is_empty();
        if !idle {
            let pause = self.wheel.due().since(self.clock.now());
            if !pause.is_zero() {
                thread::sleep(pause);
            }
        }
        let longest = if self.delayed.is_empty() { IDLE_MS } else { DELAYED_MS };
        self.epoll.wait(if idle { longest } else { 0 }).collect()
    }

    fn obey(&mut self) {
        for command in self.queue.take() {
            self.handle(command);
        }
    }

    fn handle(&mut self, command: Command) {
        match command {
            Command::Attach { source, mailbox, network, opaque } => self.attach(source, mailbox, network, opaque),
            Command::Hear { key, channel, stream } => {
                if let Some((_, party)) = self.parties.get(key) {
                    party.hearing = Some(Hearing::new(channel, stream));
                }
            }
            Command::Talk { key, server, channel, stream, speaker } => {
                let now = self.clock.now();
                if let Some((place, party)) = self.parties.get(key) {
                    let step = self.wheel.add(place, now);
                    party.sending = Some((Sending { server, channel, stream, speaker, next: 0 }, step));
                    Counters::add(&self.counters.talking, 1);
                }
            }
            Command::HandOver { key, server, channel, peer } => {
                let now = self.clock.now();
                if let Some((place, party)) = self.parties.get(key) {
                    let step = self.wheel.add(place, now);
                    party.full = Some(FullParty { peer, server, channel, step });
                    Counters::add(&self.counters.talking, 1);
                }
            }
            Command::Pass { key, at, data } => {
                let tally = Tally { measured: &mut self.measured, counters: &self.counters, window: self.window };
                if let Some((_, party)) = self.parties.get(key) {
                    hear_full(party, tally, &self.sockets, at, &data);
                }
            }
            Command::Hush { key } => {
                if let Some(account) = self.hush(key) {
                    self.mail(key, Mail::Account(Box::new(account)));
                }
            }
            Command::Detach { key } => {
                self.hush(key);
                self.parties.remove(key);
            }
            Command::Stop => self.stopped = true,
        }
    }

    fn attach(&mut self, source: Source, mailbox: Sender<Mail>, network: Option<Box<Impairment>>, opaque: bool) {
        let key = source.key();
        if let Source::Own { socket, .. } = &source {
            // A socket that cannot be watched hears nothing, and its caller fails with a time-out that is counted.
            let _ = self.epoll.add(socket.as_fd(), key.0);
        }
        self.parties.insert(
            key,
            Party { source, mailbox, network, opaque, sending: None, full: None, hearing: None, closed: None },
        );
    }

    fn hush(&mut self, key: Key) -> Option<Account> {
        let (place, party) = self.parties.get(key)?;
        if let Some(mut full) = party.full.take() {
            self.wheel.remove(place, full.step);
            self.counters.talking.fetch_sub(1, Ordering::Relaxed);
            return full.peer.hush();
        }
        let sent = party.sending.take().map_or(0, |(sending, step)| {
            self.wheel.remove(place, step);
            self.counters.talking.fetch_sub(1, Ordering::Relaxed);
            sending.next
        });
        let hearing = party.hearing.take()?;
        party.closed = Some(hearing.stream);
        Some(hearing.account(sent))
    }

    fn send_due(&mut self) {
        let now = self.clock.now();
        while let Some((due, places)) = self.wheel.turn(now) {
            for place in places {
                let Some(Some(party)) = self.parties.places.get_mut(*place as usize) else { continue };
                if let Some(full) = &mut party.full {
                    let lane = if let Source::Shared { lane, .. } = party.source { lane } else { 0 };
                    let outbox = &mut self.outboxes[lane];
                    let mut tally =
                        Tally { measured: &mut self.measured, counters: &self.counters, window: self.window };
                    full.speak(due, self.clock.now(), &party.source, &self.sockets, outbox, &mut tally);
                    if outbox.is_full() {
                        flush(outbox, &self.sockets.shared()[lane], &self.counters);
                    }
                    continue;
                }
                let Some((sending, _)) = &mut party.sending else { continue };
                let Tick::Packet { bytes, marker, timestamp } = sending.speaker.tick() else { continue };
                let sent = self.clock.now();
                if self.window.contains(due) {
                    self.measured.lateness.record(sent.since(due));
                }
                let (outbox, address, socket) = match &party.source {
                    Source::Shared { lane, address } => {
                        (&mut self.outboxes[*lane], Some(*address), &self.sockets.shared()[*lane])
                    }
                    Source::Own { socket, .. } => (&mut self.single, None, &**socket),
                };
                let Sending { server, channel, stream, next: number, .. } = *sending;
                let (sent, payload_type) = (sent.0, sending.speaker.payload_type());
                let frame = Frame { stream, number, sent, payload_type, timestamp, marker };
                outbox.push(address, server, packet::OVERHEAD + bytes, |buffer| {
                    packet::write_frame(buffer, channel, frame);
                });
                sending.next += 1;
                if outbox.is_full() || address.is_none() {
                    flush(outbox, socket, &self.counters);
                }
            }
        }
        for (outbox, socket) in self.outboxes.iter_mut().zip(self.sockets.shared()) {
            flush(outbox, socket, &self.counters);
        }
    }

    fn receive(&mut self, token: u64) {
        if token == BELL {
            return self.bell.clear();
        }
        let own = Key(token).is_own().then_some(Key(token));
        let own_socket = own.and_then(|key| self.parties.socket(key));
        let sockets = self.sockets.clone();
        let Some(socket) = own_socket.as_deref().or_else(|| sockets.shared().get(token as usize)) else { return };
        // An error here is an ICMP answer to something sent earlier; the caller's time-out tells the story.
        while let Ok(count @ 1..) = self.inbox.receive(socket.as_fd()) {
            let now = (self.clock.now(), SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
            for index in 0..count {
                self.take(index, token, own, now);
            }
            if count < BATCH {
                break;
            }
        }
    }

    /// Takes datagram `index` of the inbox; `now` is the same moment on the run's clock and on the kernel's.
    fn take(&mut self, index: usize, token: u64, own: Option<Key>, now: (Nanos, Duration)) {
        let key = own.or(self.inbox.datagram(index).local.map(|local| shared_key(token as usize, local)));
        let Some(key) = key else { return };
        if !self.parties.by_key.contains_key(&key) {
            self.obey(); // the answer to a caller whose attachment still waits in the queue
        }
        let received = self.inbox.datagram(index);
        if let Some(total) = received.dropped {
            let before = self.dropped.insert(token, total).unwrap_or(0);
            Counters::add(&self.counters.dropped, u64::from(total.wrapping_sub(before)));
        }
        let age = received.arrived.map_or(Duration::ZERO, |arrived| now.1.saturating_sub(arrived));
        let at = Nanos(now.0.0.saturating_sub(age.as_nanos() as u64));
        let Some((_, party)) = self.parties.get(key) else { return };
        match &mut party.network {
            None => {
                let tally = Tally { measured: &mut self.measured, counters: &self.counters, window: self.window };
                deliver(party, tally, &self.sockets, at, received.bytes);
            }
            Some(network) => {
                let arrivals = network.arrivals(at, received.bytes.len());
                for at in arrivals.into_iter().flatten() {
                    if self.delayed.len() == MAX_DELAYED {
                        Counters::add(&self.counters.undelivered, 1);
                        continue;
                    }
                    self.order += 1;
                    let (order, bytes) = (self.order, received.bytes.into());
                    self.delayed.push(Reverse(Delayed { at, order, key, bytes }));
                }
            }
        }
    }

    /// Hands over what has come through an impaired network by now.
    fn release(&mut self) {
        let now = self.clock.now();
        while self.delayed.peek().is_some_and(|Reverse(next)| next.at <= now) {
            let Some(Reverse(Delayed { at, key, bytes, .. })) = self.delayed.pop() else { return };
            if let Some((_, party)) = self.parties.get(key) {
                let tally = Tally { measured: &mut self.measured, counters: &self.counters, window: self.window };
                deliver(party, tally, &self.sockets, at, &bytes);
            }
        }
    }

    fn mail(&mut self, key: Key, letter: Mail) {
        let delivered = self.parties.get(key).is_none_or(|(_, party)| party.mailbox.try_send(letter).is_ok());
        if !delivered {
            Counters::add(&self.counters.undelivered, 1);
        }
    }
}

/// What a datagram that arrived at `at` is to its caller, and the letter it makes.
fn deliver(party: &mut Party, tally: Tally<'_>, sockets: &Sockets, at: Nanos, bytes: &[u8]) {
    let channel = party.full.as_ref().map(|full| full.channel);
    if let Some((_, data)) = stun::parse_channel_data(bytes).filter(|(through, _)| Some(*through) == channel) {
        return hear_full(party, tally, sockets, at, data);
    }
    let Tally { measured, counters, window } = tally;
    let arrival = match party.opaque {
        true => Arrival::Control,
        false => judge(party.hearing.as_mut(), party.closed, at, bytes),
    };
    let letter = match arrival {
        Arrival::Voice { delay, variation, first } => {
            Counters::add(&counters.received, 1);
            if window.contains(at) {
                measured.heard(delay, variation);
            }
            first.then_some(Mail::FirstVoice { at })
        }
        Arrival::Control => Some(Mail::Datagram { at, bytes: bytes.into() }),
        Arrival::Foreign => {
            Counters::add(&counters.foreign, 1);
            None
        }
        Arrival::Corrupt => {
            Counters::add(&counters.corrupt, 1);
            None
        }
        Arrival::Untimely => None,
    };
    if letter.is_some_and(|letter| party.mailbox.try_send(letter).is_err()) {
        Counters::add(&counters.undelivered, 1);
    }
}

/// What came through the channel of a full caller whose peer lives here.
fn hear_full(party: &mut Party, mut tally: Tally<'_>, sockets: &Sockets, at: Nanos, data: &[u8]) {
    let Some(full) = &mut party.full else { return };
    let first = full.hear(at, data, &party.source, sockets, &mut tally);
    if first.is_some_and(|at| party.mailbox.try_send(Mail::FirstVoice { at }).is_err()) {
        Counters::add(&tally.counters.undelivered, 1);
    }
}

fn flush(outbox: &mut Outbox, socket: &UdpSocket, counters: &Counters) {
    if outbox.is_empty() {
        return;
    }
    let wanted = outbox.len() as u64;
    let sent = outbox.flush(socket.as_fd()) as u64;
    Counters::add(&counters.sent, sent);
    Counters::add(&counters.unsent, wanted - sent);
}

#[cfg(test)]
#[path = "engine_tests.rs"]
mod tests;
