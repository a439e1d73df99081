//! One caller's task: carries frames, datagrams and time between the machine and the world.

use std::{io, net::SocketAddr, rc::Rc};

use futures_util::{SinkExt, StreamExt};
use tokio::{
    sync::{
        mpsc::{self, Receiver, Sender},
        watch,
    },
    time::{Duration, sleep_until, timeout},
};
use tokio_tungstenite::tungstenite::Message;

use super::{
    Again, Context, Due, Stage,
    connection::{self, Socket},
    storm,
};
use crate::{
    book::lost_its_node,
    caller::{Caller, Cut, Machine, Output, Plan, Solo, Terms},
    media::{
        MAILBOX, Mail,
        bridge::Bridge,
        sockets::{Source, loopback_address},
    },
    scenario::{Depth, Transport},
    time::Nanos,
};

/// A server that does not take a frame for this long is gone.
const WRITE_PATIENCE: Duration = Duration::from_secs(5);

struct Session {
    context: Rc<Context>,
    number: u32,
    node: usize,
    /// What comes for it is its own to read.
    opaque: bool,
    caller: Box<dyn Machine>,
    socket: Option<Socket>,
    mailbox: Sender<Mail>,
    letters: Receiver<Mail>,
    source: Option<(Source, SocketAddr)>,
    bridge: Option<Bridge>,
    stage: watch::Receiver<Stage>,
    storms: watch::Receiver<Option<Nanos>>,
    /// When we cut it off.
    severed: Option<Nanos>,
    /// When it was cut off and came back for its session, until it has that again.
    away: Option<Away>,
    /// The server has asked it to come back to another process.
    asked: bool,
    /// The node's connection broke, and its session is not had again yet.
    astray: bool,
    /// It was cut off before and comes back.
    returning: bool,
    /// It comes from another node, which it has lost.
    came_over: bool,
    shown: Shown,
}

struct Away {
    cut: Nanos,
    back: Nanos,
}

/// How this caller is counted at the moment.
#[derive(Default)]
struct Shown {
    waiting: bool,
    talking: bool,
    came_up: bool,
}

/// Runs one caller from its start to its record. Says whether it was cut off, and when it comes again.
pub(super) async fn run(context: Rc<Context>, due: Due, random: [u8; 32]) -> Option<Again> {
    let Due { number, intended, visit, came_over } = due;
    let started = context.clock.now();
    let person = context.scenario.person(number);
    let unix = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let depth = context.scenario.depth_of(number);
    let terms = Terms { depth, media: context.terms.media && depth.relays(), ..context.terms };
    let pool = context.scenario.mixed.map(|_| format!("loadgen-{}", depth.name()));
    let caller: Box<dyn Machine> = match &context.turn_only {
        Some((server, credential)) => {
            let plan = Plan { number, intended, person, token: String::new(), random };
            Box::new(Solo::new(plan, context.terms, *server, credential.clone(), started))
        }
        None => {
            let token = context.minter.mint_for(number, visit, pool.as_deref(), &person.criteria, unix);
            Box::new(Caller::new(Plan { number, intended, person, token, random }, terms, started))
        }
    };
    let (mailbox, letters) = mpsc::channel(MAILBOX);
    let (stage, mut storms) = (context.stage.clone(), context.storms.clone());
    storms.mark_unchanged();
    let mut session = Session {
        node: context.nodes.next(started),
        context,
        number,
        opaque: depth == Depth::Full,
        caller,
        socket: None,
        mailbox,
        letters,
        source: None,
        bridge: None,
        stage,
        storms,
        severed: None,
        away: None,
        asked: false,
        astray: false,
        returning: visit > 0 && !came_over,
        came_over,
        shown: Shown::default(),
    };
    // By reference: every future that took the session would keep room for another.
    session.run().await;
    session.conclude()
}

impl Session {
    async fn run(&mut self) {
        if self.context.turn_only.is_none() {
            self.connect().await;
        }
        self.act().await;
        self.show();
        while !self.caller.is_done() && self.severed.is_none() {
            self.step().await;
            self.act().await;
            self.show();
        }
        self.end().await;
    }

    async fn connect(&mut self) {
        // Boxed: what connecting needs is not kept for as long as the caller lives.
        for _ in 0..self.context.nodes.len() {
            let Context { nodes, dialer, .. } = &*self.context;
            let address = nodes.address(self.node);
            if let Ok(socket) = Box::pin(connection::connect(address, dialer, self.number, connection::PATIENCE)).await
            {
                self.socket = Some(socket);
                return self.caller.handle_open();
            }
            self.context.count_at(self.node, |row| row.refused += 1);
            self.context.nodes.leave_alone(self.node, self.now());
            self.node = self.context.nodes.next(self.now());
        }
        self.caller.handle_unreachable(self.now());
    }

    /// Waits for one input and hands it to the machine.
    async fn step(&mut self) {
        let wake = self.caller.poll_timeout().unwrap_or(Nanos(u64::MAX / 2));
        let clock = self.context.clock;
        tokio::select! {
            Some(letter) = self.letters.recv() => self.handle_mail(letter),
            message = next(&mut self.socket) => self.handle_message(message).await,
            () = sleep_until(clock.instant(wake).into()) => self.caller.handle_timeout(clock.now()),
            Ok(()) = self.stage.changed() => self.handle_stage(),
            Ok(()) = self.storms.changed() => self.cut().await,
        }
    }

    fn handle_mail(&mut self, letter: Mail) {
        let now = self.now();
        match letter {
            Mail::Datagram { at, bytes } => self.caller.handle_datagram(at, now, &bytes),
            Mail::FirstVoice { at } => self.caller.handle_first_voice(at, now),
            Mail::Account(account) => self.caller.handle_account(now, *account),
        }
    }

    async fn handle_message(&mut self, message: Option<Message>) {
        let now = self.now();
        match message {
            Some(message) => {
                self.asked |= connection::restarts(&message);
                if let Some(text) = connection::text(&message) {
                    self.caller.handle_frame(now, text);
                }
            }
            None => {
                self.socket = None;
                match std::mem::take(&mut self.asked).then(|| self.caller.handle_cut(true)) {
                    Some(Cut::Resumes) => Box::pin(self.move_over(now)).await,
                    Some(Cut::Anew) => Box::pin(self.open_again(now)).await,
                    _ => Box::pin(self.lose_node(now)).await,
                }
            }
        }
    }

    /// A connection that broke is over, but where there are several nodes its caller tries once more to have its session again: it
    /// may be the connection, it may be the node.
    async fn lose_node(&mut self, now: Nanos) {
        let cut = self.caller.handle_cut(true);
        if !self.context.nodes.several() || cut == Cut::Indifferent {
            return self.caller.handle_closed(now);
        }
        self.astray = true;
        self.context.count_at(self.node, |row| row.lost += 1);
        if cut == Cut::Resumes {
            sleep_until(self.context.clock.instant(self.context.return_to_node(self.number, now)).into()).await;
            if self.dial(storm::ANSWERED_WITHIN).await {
                return self.caller.handle_reopened();
            }
            self.context.nodes.leave_alone(self.node, self.now());
        }
        self.caller.handle_closed(self.now());
    }

    /// Another process has what this one had.
    async fn move_over(&mut self, cut: Nanos) {
        {
            let mut storm = self.context.storm.borrow_mut();
            storm.at = if storm.severed == 0 { cut } else { storm.at };
        }
        let back = self.context.return_when_asked(self.number, cut);
        self.come_back(cut, back, true).await;
    }

    fn handle_stage(&mut self) {
        let stage = *self.stage.borrow_and_update();
        match stage {
            Stage::Arriving => {}
            Stage::Draining => self.caller.handle_last_call(),
            Stage::Leaving => self.caller.handle_leave(self.now()),
        }
    }

    /// Everybody is cut off: who has a session comes back for it, others come anew.
    async fn cut(&mut self) {
        let Some(at) = *self.storms.borrow_and_update() else { return };
        let what = if self.context.terms.resumes { self.caller.handle_cut(false) } else { Cut::Lost };
        self.socket = self.socket.take().filter(|_| what == Cut::Lost);
        match what {
            Cut::Lost | Cut::Anew => self.severed = Some(at),
            Cut::Indifferent => {}
            Cut::Resumes => Box::pin(self.come_back(at, self.context.return_of(self.number, at), false)).await,
        }
    }

    /// Timers of the machine rest while it is away: nobody would hear what it has to say.
    async fn come_back(&mut self, cut: Nanos, back: Nanos, insists: bool) {
        self.context.storm.borrow_mut().severed += 1;
        sleep_until(self.context.clock.instant(back).into()).await;
        self.away = Some(Away { cut, back });
        match self.reconnect(cut, insists).await {
            true => self.caller.handle_reopened(),
            false => self.caller.handle_closed(self.now()),
        }
    }

    /// The server has moved before it heard hello.
    async fn open_again(&mut self, cut: Nanos) {
        let back = self.context.return_when_asked(self.number, cut);
        sleep_until(self.context.clock.instant(back).into()).await;
        match self.reconnect(cut, true).await {
            true => self.caller.handle_open(),
            false => self.caller.handle_closed(self.now()),
        }
    }

    /// Whether there is a connection again; who `insists` tries for as long as a session is kept.
    async fn reconnect(&mut self, cut: Nanos, insists: bool) -> bool {
        for attempt in 1..=u8::MAX {
            let patience = if insists { storm::ANSWERED_WITHIN } else { connection::PATIENCE };
            if self.dial(patience).await {
                return true;
            }
            match self.context.pause_after(attempt, self.number, cut, self.now()).filter(|_| insists) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return false,
            }
        }
        false
    }

    async fn dial(&mut self, patience: Duration) -> bool {
        let Context { nodes, dialer, .. } = &*self.context;
        self.socket = connection::connect(nodes.address(self.node), dialer, self.number, patience).await.ok();
        self.socket.is_some()
    }

    /// Does what the machine wants done, and what it wants if that cannot be.
    async fn act(&mut self) {
        while self.act_once().await {
            self.flush().await;
        }
    }

    /// Whether something is to be flushed.
    async fn act_once(&mut self) -> bool {
        let mut written = false;
        while let Some(output) = self.caller.poll_output() {
            match output {
                Output::Signal(frame) => written |= self.feed(frame).await,
                // Without a source, allocating times out.
                Output::Attach(transport, server) => {
                    self.detach();
                    self.source = Box::pin(self.attach(transport, server)).await.ok();
                }
                Output::Datagram(bytes) => {
                    if let Some((source, server)) = &self.source {
                        let _ = self.context.media.send(source, &bytes, *server); // lost like any other datagram
                    }
                }
                Output::Hear { channel, stream } => {
                    if let Some((source, _)) = &self.source {
                        self.context.media.hear(source.key(), channel, stream);
                    }
                }
                Output::Talk { channel, stream } => {
                    if let Some((source, server)) = &self.source {
                        self.context.media.talk(source.key(), *server, channel, stream);
                    }
                }
                Output::Note(note) => self.context.note(note),
                Output::HandOver { channel, peer } => {
                    if let Some((source, server)) = &self.source {
                        self.context.media.hand_over(source.key(), *server, channel, peer);
                    }
                }
                Output::Pass { at, data } => {
                    if let Some((source, _)) = &self.source {
                        self.context.media.pass(source.key(), at, data);
                    }
                }
                Output::Hush => {
                    if let Some((source, _)) = &self.source {
                        self.context.media.hush(source.key());
                    }
                }
                Output::Resumed => {
                    if let Some(away) = self.away.take() {
                        self.context.storm.borrow_mut().note_resumed(away.cut, away.back, self.now());
                    }
                    if std::mem::take(&mut self.astray) {
                        self.context.count_at(self.node, |row| row.resumed += 1);
                    }
                }
                Output::Close => {}
            }
        }
        written
    }

    /// Datagrams to `server` leave from a source of ours, or through a stream that looks like one.
    async fn attach(&mut self, transport: Transport, server: SocketAddr) -> io::Result<(Source, SocketAddr)> {
        let (media, mailbox) = (&self.context.media, self.mailbox.clone());
        if transport == Transport::Udp {
            return Ok((media.attach_as(self.number, server, mailbox, self.opaque)?, server));
        }
        let source = loopback_address(self.number, server.ip());
        let bridge = Bridge::open(server, transport, source, &self.context.dialer).await?;
        let source = media.attach_socket(self.number, bridge.near.try_clone()?, mailbox, self.opaque)?;
        let far = bridge.far;
        self.bridge = Some(bridge);
        Ok((source, far))
    }

    fn detach(&mut self) {
        if let Some((source, _)) = self.source.take() {
            self.context.media.detach(source.key());
        }
        self.bridge = None;
    }

    async fn feed(&mut self, frame: String) -> bool {
        let Some(socket) = &mut self.socket else { return false };
        matches!(timeout(WRITE_PATIENCE, socket.feed(Message::text(frame))).await, Ok(Ok(())))
    }

    async fn flush(&mut self) {
        let Some(socket) = &mut self.socket else { return };
        if !matches!(timeout(WRITE_PATIENCE, socket.flush()).await, Ok(Ok(()))) {
            self.socket = None;
            Box::pin(self.lose_node(self.now())).await;
        }
    }

    /// Keeps the gauges of the progress line.
    fn show(&mut self) {
        adjust(&self.context.waiting, &mut self.shown.waiting, self.caller.is_waiting());
        adjust(&self.context.talking, &mut self.shown.talking, self.caller.is_talking());
        let came_up = self.shown.came_up || self.caller.is_up();
        adjust(&self.context.came_up, &mut self.shown.came_up, came_up);
    }

    async fn end(&mut self) {
        self.show();
        self.detach();
        // Who is cut off does not say goodbye.
        if let Some(mut socket) = self.socket.take().filter(|_| self.severed.is_none()) {
            let _ = timeout(WRITE_PATIENCE, socket.close(None)).await;
        }
        let (waiting, talking) = (self.shown.waiting, self.shown.talking);
        adjust(&self.context.waiting, &mut self.shown.waiting, waiting && self.severed.is_none());
        adjust(&self.context.talking, &mut self.shown.talking, talking && self.severed.is_none());
    }

    /// Hands in the record; says when the caller comes again, if it was cut off.
    fn conclude(self) -> Option<Again> {
        let up = self.caller.is_up();
        let mut record = self.caller.into_record();
        record.node = self.node as u16;
        if self.came_over && record.times.registered.is_some() {
            self.context.count_at(self.node, |row| row.came_over += 1);
        }
        let now = self.context.clock.now();
        let lost = (self.astray && lost_its_node(&record))
            .then(|| Again { at: self.context.return_when_asked(self.number, now), came_over: true });
        if lost.is_some() {
            record.times.ended.get_or_insert(now);
        }
        if self.returning {
            self.context.storm.borrow_mut().note_return(&record);
        }
        if let Some(at) = self.severed {
            record = storm::severed(record, up, at);
            self.context.storm.borrow_mut().severed += 1;
        }
        self.context.keep(record);
        self.context.present.set(self.context.present.get() - 1);
        let severed = self.severed.map(|at| Again { at: self.context.return_of(self.number, at), came_over: false });
        severed.or(lost)
    }

    fn now(&self) -> Nanos {
        self.context.clock.now()
    }
}

/// The next message, none when the connection is over; never ready without one.
async fn next(socket: &mut Option<Socket>) -> Option<Message> {
    match socket {
        Some(socket) => socket.next().await?.ok(),
        None => std::future::pending().await,
    }
}

fn adjust(gauge: &std::cell::Cell<u64>, shown: &mut bool, is: bool) {
    match (std::mem::replace(shown, is), is) {
        (false, true) => gauge.set(gauge.get() + 1),
        (true, false) => gauge.set(gauge.get() - 1),
        _ => {}
    }
}
