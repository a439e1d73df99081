//! Runs a scenario against a target: starts callers when the schedule says so, gives each a WebSocket and the media
//! thread, samples, drains, and hands over what was measured.
//!
//! Drain rule: after the last arrival callers in flight go on for `arrivals.drain`. Then everybody hangs up or leaves:
//! calls that were up succeeded, callers still unmatched or setting up are neither success nor failure.

mod connection;
mod cross_check;
pub(crate) mod sample;
mod session;

use std::{
    cell::{Cell, RefCell},
    io,
    net::SocketAddr,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use rand::RngCore;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, watch},
    task::LocalSet,
    time::{MissedTickBehavior, interval, sleep_until},
};

pub(crate) use connection::tcp;
pub use connection::{Address, Unreachable, check as check_reachable};

use crate::{
    arrival::Schedule,
    book::Book,
    caller::Terms,
    media::{Measured, Media, Window, tls::Dialer},
    peer::{note::Note, turn::Credential},
    report::{Generator, Run, Target, Traffic},
    rules::Violation,
    scenario::{Depth, Scenario, TurnBy},
    scrape, sys,
    time::{Clock, Nanos},
    token::Minter,
};
use sample::{Sampled, Sampler};

/// From now to the first possible arrival, so that the start of the threads is not in the first latencies.
const HEAD_START: Duration = Duration::from_millis(200);
/// How long callers may take to say goodbye.
const FAREWELL: Duration = Duration::from_secs(6);
/// Between looks at how many talk, for Little's law.
const LOOK: Duration = Duration::from_millis(50);

/// What the run is aimed at.
pub struct Aim {
    pub address: Address,
    pub minter: Minter,
    /// Used instead of what signalling says.
    pub turn: Option<SocketAddr>,
    /// Where allocations are made without signalling, and in whose name.
    pub turn_only: Option<(SocketAddr, Credential)>,
    /// The server's process, where it is on this machine.
    pub server_pid: Option<u32>,
    /// The server's metrics page.
    pub admin: Option<SocketAddr>,
    /// A relay of our own, whose allocations must be back at zero at the end.
    pub own: bool,
}

/// Where the run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Arriving,
    /// Nobody arrives any more; patience is no longer lost.
    Draining,
    /// Everybody leaves.
    Leaving,
}

/// What callers share.
pub(crate) struct Context {
    pub(crate) clock: Clock,
    pub(crate) window: Window,
    pub(crate) media: Media,
    pub(crate) terms: Terms,
    pub(crate) address: Address,
    pub(crate) minter: Minter,
    pub(crate) turn_only: Option<(SocketAddr, Credential)>,
    pub(crate) scenario: Scenario,
    pub(crate) dialer: Dialer,
    pub(crate) book: RefCell<Book>,
    /// Of callers whose media does not pass through the media thread's packets.
    pub(crate) measured: RefCell<Measured>,
    pub(crate) stage: watch::Receiver<Stage>,
    pub(crate) arrived: Cell<u64>,
    pub(crate) present: Cell<u64>,
    pub(crate) waiting: Cell<u64>,
    /// Callers whose check came through and who have not hung up.
    pub(crate) talking: Cell<u64>,
    /// Callers that have come up so far.
    pub(crate) came_up: Cell<u64>,
    /// Members of a closed population that came again inside the window.
    pub(crate) came_again: Cell<u64>,
}

impl Context {
    /// Counts what a caller noticed of media that is its own to read.
    pub(crate) fn note(&self, note: Note) {
        self.media.note(note);
        match note {
            Note::Sent { due, late } if self.window.contains(due) => self.measured.borrow_mut().lateness.record(late),
            Note::Heard { at, delay, .. } if self.window.contains(at) => {
                self.measured.borrow_mut().delay.record(delay);
            }
            _ => {}
        }
    }
}

/// One caller is due.
struct Due {
    number: u32,
    intended: Nanos,
}

/// Runs to the end and returns everything measured. `priority`: the process was allowed a better share of the processor,
/// so the threads that keep time may try for more. `report` gets a line a second.
pub async fn run(scenario: Scenario, aim: Aim, priority: bool, report: impl FnMut(&str)) -> io::Result<Run> {
    let open_files = sys::raise_open_files()?;
    let schedule = scenario.schedule().map_err(io::Error::other)?;
    let clock = Clock::start();
    let start = clock.now().after(HEAD_START);
    let from = start.after(scenario.warmup);
    let window = Window { from, until: from.after(scenario.measured) };
    let (stages, stage) = watch::channel(Stage::Arriving);
    let context = Rc::new(Context {
        clock,
        window,
        media: Media::start(clock, window, priority)?
            .behind(scenario.network, scenario.seed)
            .speaking(scenario.voice, scenario.seed)
            .opaque(scenario.depth == Depth::Full),
        terms: Terms {
            depth: scenario.depth,
            setup_timeout: scenario.setup_timeout,
            media: scenario.media,
            turn: aim.turn,
            transport: scenario.transport,
            clock,
            voice: (scenario.voice, scenario.seed),
        },
        address: aim.address.clone(),
        minter: aim.minter.clone(),
        turn_only: aim.turn_only.clone(),
        dialer: Dialer::new(scenario.tls_ca.as_deref(), scenario.tls_name.as_deref())?,
        measured: RefCell::default(),
        book: RefCell::new(Book::new(window, scenario.standard())),
        scenario,
        stage,
        arrived: Cell::new(0),
        present: Cell::new(0),
        waiting: Cell::new(0),
        talking: Cell::new(0),
        came_up: Cell::new(0),
        came_again: Cell::new(0),
    });
    let starter = Starter::start(&schedule, clock, start, priority)?;
    let local = LocalSet::new();
    let mut director = Director {
        context: context.clone(),
        starter,
        stages,
        sampler: Sampler::new(aim.server_pid, window, report),
        interrupt: signal(SignalKind::interrupt())?,
        dropped: 0,
        interrupted: None,
    };
    local.run_until(director.direct(&local, start, window)).await;
    let inside = |at: &&Nanos| window.contains(start.after(at.since(Nanos::ZERO)));
    let generator = Generator {
        offered_callers: schedule.starts().iter().filter(inside).count() as u64 + context.came_again.get(),
        dropped_arrivals: director.dropped,
        stuck: context.present.get(),
        open_files,
        priority_raised: priority,
    };
    drop(local); // callers that did not end are dropped with it
    let server_metrics = match aim.admin {
        Some(admin) => scrape::metrics(admin).await,
        None => None,
    };
    let Director { sampler, interrupted, context: directed, .. } = director;
    drop(directed);
    let window = Window { until: interrupted.map_or(window.until, |at| at.clamp(window.from, window.until)), ..window };
    let sampled = sampler.finish(window, context.scenario.depth.callers_per_call());
    let context = Rc::try_unwrap(context).map_err(|_| io::Error::other("a caller outlived the run"))?;
    let ended =
        Ended { schedule: schedule.hash(), window, interrupted: interrupted.is_some(), sampled, server_metrics };
    conclude(context, &aim, ended, generator)
}

/// What is known of a run when all callers have gone.
struct Ended {
    schedule: String,
    window: Window,
    interrupted: bool,
    sampled: Sampled,
    server_metrics: Option<scrape::Metrics>,
}

/// Stops the media thread, closes the book and puts the parts together.
fn conclude(context: Context, aim: &Aim, ended: Ended, mut generator: Generator) -> io::Result<Run> {
    let Ended { schedule, window, interrupted, sampled, server_metrics } = ended;
    let mut media = context.media.stop().ok_or_else(|| io::Error::other("the media thread died"))?;
    media.merge(&context.measured.borrow());
    let counters = context.media.counters();
    let mut book = context.book.into_inner();
    book.close();
    book.note(Violation::CrossTalk, counters.foreign.load(Ordering::Relaxed));
    book.note(Violation::Corrupt, counters.corrupt.load(Ordering::Relaxed));
    if aim.own {
        let left = server_metrics.as_ref().and_then(|metrics| metrics.allocations);
        book.note(Violation::Leak, left.unwrap_or(0));
    }
    if interrupted {
        let share = window.until.since(window.from).as_secs_f64() / context.scenario.measured.as_secs_f64();
        generator.offered_callers = (generator.offered_callers as f64 * share) as u64;
    }
    Ok(Run {
        scenario: context.scenario,
        schedule_hash: schedule,
        target: match &aim.turn_only {
            Some((server, _)) => Target { url: format!("turn:{server}"), address: *server, own: aim.own },
            None => Target { url: aim.address.url(), address: aim.address.socket, own: aim.own },
        },
        window,
        interrupted,
        book,
        media,
        traffic: Traffic::read(counters),
        generator,
        sampled,
        server_metrics,
    })
}

/// One caller; a member of a closed population comes again when it has finished and thought.
async fn attend(context: Rc<Context>, mut due: Due) {
    loop {
        let mut random = [0; 32];
        rand::rng().fill_bytes(&mut random);
        if context.scenario.turn_client == TurnBy::WebrtcRs {
            cross_check::run(context.clone(), due.number, due.intended, random).await;
        } else {
            session::run(context.clone(), due.number, due.intended, random).await;
        }
        let arriving = || *context.stage.borrow() == Stage::Arriving;
        if context.scenario.users == 0 || !arriving() {
            return;
        }
        let intended = context.clock.now().after(context.scenario.think_after(due.number));
        due = Due { number: due.number.wrapping_add(context.scenario.users), intended };
        sleep_until(context.clock.instant(intended).into()).await;
        if !arriving() {
            return;
        }
        context.arrived.set(context.arrived.get() + 1);
        context.present.set(context.present.get() + 1);
        context.came_again.set(context.came_again.get() + u64::from(context.window.contains(intended)));
    }
}

/// The thread that says when a caller is due, to within the kernel's timer.
struct Starter {
    due: mpsc::UnboundedReceiver<Due>,
    stop: Arc<AtomicBool>,
}

impl Starter {
    /// The channel is bounded by the schedule.
    fn start(schedule: &Schedule, clock: Clock, start: Nanos, real_time: bool) -> io::Result<Starter> {
        let (sender, due) = mpsc::unbounded_channel();
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, starts) = (stop.clone(), schedule.starts().to_vec());
        thread::Builder::new().name("starter".to_owned()).spawn(move || {
            sys::sharpen_sleeps();
            if real_time {
                sys::go_real_time();
            }
            for (number, at) in (0..).zip(starts) {
                let intended = start.after(at.since(Nanos::ZERO));
                let pause = intended.since(clock.now());
                if !pause.is_zero() {
                    thread::sleep(pause);
                }
                if stopped.load(Ordering::Relaxed) || sender.send(Due { number, intended }).is_err() {
                    return;
                }
            }
        })?;
        Ok(Starter { due, stop })
    }
}

/// Leads the run through its stages.
struct Director<R> {
    context: Rc<Context>,
    starter: Starter,
    stages: watch::Sender<Stage>,
    sampler: Sampler<R>,
    interrupt: Signal,
    dropped: u64,
    interrupted: Option<Nanos>,
}

impl<R: FnMut(&str)> Director<R> {
    async fn direct(&mut self, local: &LocalSet, start: Nanos, window: Window) {
        let clock = self.context.clock;
        self.sampler.begin(start);
        self.arrivals(local, window.until).await;
        let drained =
            if self.interrupted.is_some() { clock.now() } else { window.until.after(self.context.scenario.drain) };
        self.await_everybody(Stage::Draining, drained).await;
        self.await_everybody(Stage::Leaving, clock.now().after(FAREWELL)).await;
    }

    /// Lets callers in until the last is due or somebody interrupts.
    async fn arrivals(&mut self, local: &LocalSet, until: Nanos) {
        let clock = self.context.clock;
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut open = true;
        loop {
            tokio::select! {
                biased;
                _ = self.interrupt.recv() => {
                    self.interrupted = Some(clock.now());
                    return self.starter.stop.store(true, Ordering::Relaxed);
                }
                due = self.starter.due.recv(), if open => match due {
                    Some(due) => self.arrive(local, due),
                    None => open = false,
                },
                _ = look.tick() => self.sampler.look(&self.context, "arriving"),
                () = sleep_until(clock.instant(until).into()) => return,
            }
        }
    }

    /// An arrival that cannot happen is dropped and counted, never delayed.
    fn arrive(&mut self, local: &LocalSet, due: Due) {
        let context = &self.context;
        if context.present.get() >= context.scenario.max_callers as u64 {
            self.dropped += 1;
            return;
        }
        context.arrived.set(context.arrived.get() + 1);
        context.present.set(context.present.get() + 1);
        local.spawn_local(attend(context.clone(), due));
    }

    /// Announces `stage` and waits until nobody is left or `until`.
    async fn await_everybody(&mut self, stage: Stage, until: Nanos) {
        let _ = self.stages.send(stage);
        let clock = self.context.clock;
        let name = if stage == Stage::Draining { "draining" } else { "leaving" };
        let mut look = interval(LOOK);
        while self.context.present.get() > 0 && clock.now() < until {
            tokio::select! {
                _ = look.tick() => self.sampler.look(&self.context, name),
                _ = self.interrupt.recv() => {
                    self.interrupted.get_or_insert(clock.now());
                    return;
                }
            }
        }
    }
}
