//! The desk at work: what comes in is handled one at a time, and what the desk says to it goes out before the next.
//!
//! Connections hand in their frames themselves, from their own tasks: between a frame and its answer no other task need be woken. A task of the
//! desk's own sees to the rest: what is due, other nodes, the operator, other settings.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::ws::Utf8Bytes;
use foldhash::fast::FixedState;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;

use super::codes::CloseCode;
use super::counters::Counters;
use super::desk::{Connection, Desk, Dispatch, Output};
use super::fellows::{Ear, News, Say};
use super::listener::Fresh;
use super::outbox::{Outbox, Pushed};
use super::{revocations, webhook};
use crate::clock::Clock;
use crate::time::{Millis, Now};

/// Questions answered in a row before timers get their turn.
const ASK_SLICE: usize = 256;
/// What is due is left to the desk's task for so long. Then whoever comes does a part of it: with ten thousand connections that have something
/// to say at once, that task has its turn after them all.
const LATE_MS: u64 = 20;

/// What a connection tells the desk.
pub(super) enum Event {
    Opened(Connection, Arc<Outbox>),
    Frame(Connection, Utf8Bytes),
    /// A message that is no text.
    Garbage(Connection),
    /// The client closed it, or a fault of the client's did.
    Closed(Connection),
    /// It broke.
    Lost(Connection),
}

/// Something for the operator, done where the desk is.
pub(super) type Ask = Box<dyn FnOnce(&mut Desk, Now) + Send>;

/// Where everybody finds the desk.
pub(super) struct Front {
    /// `None`: it has ended.
    inner: Mutex<Option<Inner>>,
    /// The desk's task should look up: something is due before it meant to, or the desk has ended.
    look: Notify,
}

pub(super) struct Inner {
    reception: Reception,
    /// What the desk's task waits for.
    waits_for: Option<Millis>,
}

/// The desk has ended.
#[derive(Debug)]
pub(super) struct Ended;

impl Front {
    pub(super) fn new(reception: Reception) -> Arc<Front> {
        let inner = Mutex::new(Some(Inner { reception, waits_for: None }));
        Arc::new(Front { inner, look: Notify::new() })
    }

    /// Handles it before it returns: what the desk answers lies in the outboxes then.
    pub(super) fn handle(&self, event: Event) -> Result<(), Ended> {
        let looks = self.with(|inner| {
            inner.reception.handle(event);
            inner.reception.do_what_is_due(LATE_MS);
            inner.has_something_sooner()
        })?;
        if looks {
            self.look.notify_one();
        }
        Ok(())
    }

    /// Everybody who is connected is told that the server goes away.
    pub(super) fn end(&self) {
        let ended = self.inner.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(ended);
    }

    /// The desk's task: until nobody is left to ask anything, or the desk has ended.
    pub(super) async fn run(
        self: Arc<Self>,
        inbox: mpsc::Receiver<Ask>,
        others: Ear,
        draining: watch::Receiver<Option<u64>>,
        other: mpsc::Receiver<Fresh>,
    ) {
        let _end = End(&self);
        // It has ended either way.
        let _ = self.work(inbox, others, draining, other).await;
    }

    async fn work(
        &self,
        mut inbox: mpsc::Receiver<Ask>,
        mut others: Ear,
        mut draining: watch::Receiver<Option<u64>>,
        mut other: mpsc::Receiver<Fresh>,
    ) -> Result<(), Ended> {
        let mut may_drain = true;
        loop {
            let until_deadline = self.with(Inner::wait)?;
            tokio::select! {
                biased;
                asked = draining.wait_for(Option::is_some), if may_drain => {
                    // An error means that nobody is left to ask.
                    let asked = asked.ok().and_then(|asked| *asked);
                    may_drain = false;
                    if let Some(in_ms) = asked {
                        self.with(|inner| inner.reception.drain(in_ms))?;
                    }
                }
                Some(fresh) = other.recv() => self.with(|inner| inner.reception.adopt(fresh))?,
                ask = inbox.recv() => match ask {
                    Some(ask) => self.with(|inner| inner.reception.act_all(ask, &mut inbox))?,
                    None => return Ok(()),
                },
                news = others.next() => self.with(|inner| inner.reception.hear(news))?,
                () = self.look.notified() => {}
                () = pause(until_deadline) => {}
            }
            self.with(|inner| {
                for (peer, message) in others.waiting() {
                    inner.reception.hear(News::Said(peer, message));
                }
                inner.reception.do_what_is_due(0);
            })?;
        }
    }

    pub(super) fn with<T>(&self, act: impl FnOnce(&mut Inner) -> T) -> Result<T, Ended> {
        let _alarm = Alarm(&self.look);
        let mut inner = self.inner.lock().map_err(|_| Ended)?;
        inner.as_mut().map(act).ok_or(Ended)
    }
}

/// However the desk's task ends.
struct End<'a>(&'a Front);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Whoever comes upon a fault of the desk's has the desk's task look up, so that the desk ends: dropped after the lock it is held over.
struct Alarm<'a>(&'a Notify);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.notify_one();
        }
    }
}

impl Inner {
    /// How long the desk's task may sleep, in milliseconds.
    fn wait(&mut self) -> Option<u64> {
        self.waits_for = self.reception.desk.poll_timeout();
        self.waits_for.map(|at| at.since(self.reception.clock.mono()))
    }

    fn has_something_sooner(&self) -> bool {
        let next = self.reception.desk.poll_timeout();
        next.is_some_and(|next| self.waits_for.is_none_or(|waits_for| next < waits_for))
    }
}

/// The desk and what carries its words.
pub(super) struct Reception {
    pub(super) desk: Desk,
    pub(super) clock: Clock,
    pub(super) outboxes: HashMap<Connection, Arc<Outbox>, FixedState>,
    pub(super) counters: Arc<Counters>,
    pub(super) courier: Option<mpsc::Sender<Dispatch>>,
    /// The list of revocations, on its way.
    pub(super) fetching: Option<JoinHandle<()>>,
    /// Does not keep the desk alive.
    pub(super) doorbell: mpsc::WeakSender<Ask>,
    /// To the desks of other nodes, if there are any.
    pub(super) say: Option<Say>,
}

impl Reception {
    fn adopt(&mut self, fresh: Fresh) {
        let (now, Fresh { settings, reports_changed, revocations_changed }) = (self.clock.now(), fresh);
        let asks = self.doorbell.upgrade();
        if let Some(asks) = asks.as_ref().filter(|_| reports_changed) {
            // The one before delivers what it has and ends.
            let backend = settings.reports;
            self.courier = backend.map(|it| webhook::spawn(it, asks.clone(), self.clock, Arc::clone(&self.counters)));
        }
        if let Some(asks) = asks.filter(|_| revocations_changed) {
            if let Some(before) = self.fetching.take() {
                before.abort();
            }
            self.fetching = settings.revocations.map(|it| revocations::spawn(it, asks, self.clock));
        }
        self.desk.adopt(now, settings.desk);
        self.deliver(now);
    }

    fn drain(&mut self, in_ms: u64) {
        let now = self.clock.now();
        self.desk.handle_drain(now, in_ms, None);
        self.deliver(now);
    }

    fn hear(&mut self, news: News) {
        let now = self.clock.now();
        match news {
            News::Said(peer, message) => self.desk.handle_bus(now, peer, &message),
            News::Up(up) => self.desk.handle_bus_state(now, up),
            News::Load(load) => self.desk.set_load(now, load),
        }
        self.deliver(now);
    }

    fn act_all(&mut self, first: Ask, inbox: &mut mpsc::Receiver<Ask>) {
        self.act(first);
        for _ in 1..ASK_SLICE {
            let Ok(ask) = inbox.try_recv() else { return };
            self.act(ask);
        }
    }

    fn act(&mut self, ask: Ask) {
        let now = self.clock.now();
        ask(&mut self.desk, now);
        self.deliver(now);
    }

    /// A part of it, if it is due for so long.
    fn do_what_is_due(&mut self, late_ms: u64) {
        let now = self.clock.now();
        if self.desk.poll_timeout().is_some_and(|at| at.after(late_ms) <= now.mono) {
            self.desk.handle_timeout(now);
            self.deliver(now);
        }
    }

    pub(super) fn handle(&mut self, event: Event) {
        let now = self.clock.now();
        match event {
            Event::Opened(connection, outbox) => {
                self.outboxes.insert(connection, outbox);
                self.desk.handle_open(now, connection);
            }
            Event::Frame(connection, frame) => self.desk.handle_frame(now, connection, frame.as_str()),
            Event::Garbage(connection) => self.desk.handle_garbage(now, connection),
            Event::Closed(connection) => {
                self.outboxes.remove(&connection);
                self.desk.handle_close(now, connection);
            }
            Event::Lost(connection) => {
                self.outboxes.remove(&connection);
                self.desk.handle_lost(now, connection);
            }
        }
        self.deliver(now);
    }

    fn deliver(&mut self, now: Now) {
        while let Some(output) = self.desk.poll_output() {
            match output {
                Output::Frame { to, frame } => match self.outboxes.get(&to).map(|outbox| outbox.push(frame)) {
                    Some(Pushed::Waits) | None => {}
                    Some(Pushed::Dropped) => self.counters.count_dropped(),
                    Some(Pushed::Overflow) => self.desk.handle_slow(now, to),
                },
                Output::Close { to, code } => {
                    if let Some(outbox) = self.outboxes.remove(&to) {
                        outbox.close(code);
                    }
                }
                Output::Report(report) => {
                    let id = report.id;
                    if self.courier.as_ref().is_none_or(|courier| courier.try_send(report).is_err()) {
                        self.desk.handle_reported(now, id, false);
                    }
                }
                Output::Bus { to, payload } => {
                    if let Some(say) = &self.say {
                        say(to, payload);
                    }
                }
            }
        }
    }
}

async fn pause(millis: Option<u64>) {
    match millis {
        Some(millis) => tokio::time::sleep(Duration::from_millis(millis)).await,
        None => std::future::pending().await,
    }
}

impl Drop for Reception {
    /// Whoever is still connected is told that the server goes away.
    fn drop(&mut self) {
        for outbox in self.outboxes.values() {
            outbox.close(CloseCode::AWAY);
        }
    }
}
