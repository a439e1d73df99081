//! Runs a scenario against a target: starts callers when the schedule says so, gives each a WebSocket and the media
//! thread, samples, drains, and hands over what was measured.
//!
//! Drain rule: after the last arrival callers in flight go on for `arrivals.drain`. Then everybody hangs up or leaves:
//! calls that were up succeeded, callers still unmatched or setting up are neither success nor failure.

mod abort;
mod connection;
mod cross_check;
mod director;
mod hand;
mod handshake;
mod ledger;
mod nodes;
pub(crate) mod sample;
mod session;
mod starter;
pub(crate) mod storm;

use std::{
    cell::{Cell, RefCell},
    io,
    net::SocketAddr,
    path::PathBuf,
    rc::Rc,
    sync::{Arc, atomic::Ordering},
    time::{Duration, SystemTime},
};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::LocalSet,
    time::{MissedTickBehavior, interval},
};

pub(crate) use connection::tcp;
pub use connection::{Address, Unreachable, check as check_reachable};

use crate::{
    arrival::followed::Followed,
    attack::{self, Attack, Victim},
    book::{Book, Row},
    calibrate::Calibration,
    caller::{Terms, record::Record},
    media::{Measured, Media, Window, tls::Dialer},
    peer::{note::Note, turn::Credential},
    report::{Change, Generator, Run, Target, Traffic, live::Live},
    rules::Violation,
    scenario::Scenario,
    scrape,
    slice::{Moment, Share},
    sys,
    time::{Clock, Nanos},
    token::Minter,
};
use abort::Patience;
use director::Director;
use hand::Hand;
use ledger::Ledger;
use nodes::Nodes;
use sample::{Sampled, Sampler};
use starter::Starter;
use storm::Storm;

/// From now to the first possible arrival, so that the start of the threads is not in the first latencies.
const HEAD_START: Duration = Duration::from_millis(200);

/// Between readings of the server's metrics.
const SCRAPE: Duration = Duration::from_millis(500);

/// What the run is aimed at.
pub struct Aim {
    pub address: Address,
    /// More nodes of the same cluster; callers go to each in turn.
    pub others: Vec<Address>,
    pub minter: Minter,
    /// Used instead of what signalling says.
    pub turn: Option<SocketAddr>,
    /// Where allocations are made without signalling, and in whose name.
    pub turn_only: Option<(SocketAddr, Credential)>,
    /// The server's process, where it is on this machine.
    pub server_pid: Option<u32>,
    /// The metrics pages of the server, or of each of its nodes.
    pub admin: Vec<SocketAddr>,
    /// A relay of our own, whose allocations must be back at zero at the end.
    pub own: bool,
}

impl Aim {
    /// Of all nodes.
    fn urls(&self) -> Vec<String> {
        [&self.address].into_iter().chain(&self.others).map(Address::url).collect()
    }
}

/// How a run is made, apart from what it does.
#[derive(Clone, Default)]
pub struct Manner {
    /// One of several generators.
    pub share: Option<Share>,
    /// When the first arrival is due at the earliest; that of the share goes before.
    pub start_at: Option<Moment>,
    /// Where one line a call goes.
    pub calls: Option<PathBuf>,
    /// End the run when an objective is missed for long enough.
    pub abort: bool,
    /// Whom hostile traffic goes to, where the scenario has any.
    pub victim: Option<Victim>,
    /// What this machine can carry.
    pub calibration: Option<Calibration>,
    /// Who watches, and may change the offered rate.
    pub live: Option<Arc<Live>>,
}

impl Manner {
    fn start_at(&self) -> Option<Moment> {
        self.share.map(|share| share.start_at).or(self.start_at)
    }
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
    pub(crate) nodes: Nodes,
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
    ledger: RefCell<Option<Ledger>>,
    /// When everybody was cut off last.
    storms: watch::Receiver<Option<Nanos>>,
    storm: RefCell<Storm>,
    /// What the server's metrics page said last.
    pub(crate) scraped: RefCell<Option<scrape::Metrics>>,
}

impl Context {
    /// One caller is done.
    pub(crate) fn keep(&self, record: Record) {
        let finished = self.book.borrow_mut().add(record);
        if let (Some(finished), Some(ledger)) = (finished, &mut *self.ledger.borrow_mut()) {
            ledger.add(&finished);
        }
    }

    /// Counts what became of a connection to `node`, where there are several.
    fn count_at(&self, node: usize, count: impl FnOnce(&mut Row)) {
        if let Some(row) = self.book.borrow_mut().by_node.as_mut().and_then(|nodes| nodes.row(node)) {
            count(row);
        }
    }

    /// Counts what a caller noticed of media that is its own to read.
    pub(crate) fn note(&self, note: Note) {
        self.media.note(note);
        match note {
            Note::Sent { due, late } if self.window.contains(due) => self.measured.borrow_mut().lateness.record(late),
            Note::Heard { at, delay, variation, .. } if self.window.contains(at) => {
                self.measured.borrow_mut().heard(delay, variation);
            }
            _ => {}
        }
    }
}

/// One caller is due.
#[derive(Clone, Copy)]
struct Due {
    number: u32,
    intended: Nanos,
    /// How often this person was here before.
    visit: u32,
    /// It has lost the node it was connected to.
    came_over: bool,
}

/// A caller that was cut off comes again.
struct Again {
    at: Nanos,
    came_over: bool,
}

/// Runs to the end and returns everything measured. `priority`: the process was allowed a better share of the processor,
/// so the threads that keep time may try for more. `report` gets a line a second.
pub async fn run(scenario: Scenario, aim: Aim, priority: bool, report: impl FnMut(&str)) -> io::Result<Run> {
    run_as(scenario, aim, Manner::default(), priority, report).await
}

/// How the scenario's callers make TLS connections.
pub fn dialer(scenario: &Scenario) -> io::Result<Dialer> {
    Dialer::new(scenario.tls_ca.as_deref(), scenario.tls_name.as_deref())
}

/// As [`run`], in a special manner.
pub async fn run_as(
    scenario: Scenario,
    mut aim: Aim,
    manner: Manner,
    priority: bool,
    report: impl FnMut(&str),
) -> io::Result<Run> {
    let open_files = sys::raise_open_files()?;
    let schedule = scenario.schedule().map_err(io::Error::other)?;
    let slice = manner.share.map(|share| share.slice);
    if let Some(share) = manner.share {
        aim.minter.run = share.run(scenario.seed, &schedule.hash());
    }
    let (clock, start) = begin(manner.start_at()).await?;
    let started = wall_of(SystemTime::now(), start.since(clock.now()));
    let from = start.after(scenario.warmup);
    let window = Window { from, until: from.after(scenario.measured) };
    let (stages, stage) = watch::channel(Stage::Arriving);
    let (cut, storms) = watch::channel(None);
    let context = Rc::new(Context {
        clock,
        window,
        media: Media::start(clock, window, priority)?
            .behind(scenario.network, scenario.seed)
            .speaking(scenario.voice, scenario.seed),
        terms: Terms {
            depth: scenario.depth,
            setup_timeout: scenario.setup_timeout,
            media: scenario.media,
            turn: aim.turn,
            transport: scenario.transport,
            falls_back: scenario.falls_back,
            clock,
            resumes: scenario.sever_at.is_some() && scenario.resume_sessions,
            stays: !aim.others.is_empty(),
            voice: (scenario.voice, scenario.seed),
        },
        nodes: Nodes::new(aim.address.clone(), &aim.others),
        minter: aim.minter.clone(),
        turn_only: aim.turn_only.clone(),
        dialer: dialer(&scenario)?,
        measured: RefCell::default(),
        book: RefCell::new(Book::new(window, scenario.standard()).beginning(start).over(aim.urls())),
        scenario,
        stage,
        arrived: Cell::new(0),
        present: Cell::new(0),
        waiting: Cell::new(0),
        talking: Cell::new(0),
        came_up: Cell::new(0),
        came_again: Cell::new(0),
        storms,
        storm: RefCell::default(),
        scraped: RefCell::default(),
        ledger: RefCell::new(manner.calls.as_deref().map(Ledger::create).transpose()?),
    });
    let due = schedule.of(slice);
    // Other slices would not know of a change.
    let recipe = context.scenario.recipe().filter(|_| manner.live.is_some() && slice.is_none());
    let hand = Hand::new(manner.live.clone(), recipe.is_some());
    let starter = Starter::start(Followed::new(due.clone(), recipe), clock, start, priority)?;
    let local = LocalSet::new();
    let mut director = Director {
        context: context.clone(),
        starter,
        stages,
        sampler: Sampler::new(aim.server_pid, window, report).showing(manner.live, schedule.hash()),
        interrupt: signal(SignalKind::interrupt())?,
        dropped: 0,
        interrupted: None,
        cut,
        sever_at: context.scenario.sever_at.map(|after| start.after(after)),
        patience: manner.abort.then(Patience::default),
        aborted: None,
        hand,
        offered: 0,
    };
    if !aim.admin.is_empty() {
        local.spawn_local(follow(context.clone(), aim.admin.clone()));
    }
    let attack = manner.victim.filter(|_| context.scenario.attack.is_any());
    let attack = attack.map(|victim| Attack::start(context.scenario.attack, victim)).transpose()?;
    local.run_until(director.direct(&local, start, window)).await;
    let attack = attack.map(Attack::stop);
    let inside = |(_, at): &&(u32, Nanos)| window.contains(start.after(at.since(Nanos::ZERO)));
    // A schedule that was changed by hand, or not followed to its end, offered what it did and not what it would have.
    let changed = !director.hand.changes.is_empty();
    let offered = if changed { director.offered } else { due.iter().filter(inside).count() as u64 };
    let generator = Generator {
        offered_callers: offered + context.came_again.get(),
        dropped_arrivals: director.dropped,
        stuck: context.present.get(),
        open_files,
        priority_raised: priority,
    };
    drop(local); // callers that did not end are dropped with it
    let server_metrics = scrape::metrics(&aim.admin).await;
    let Director { sampler, interrupted, context: directed, aborted, hand, .. } = director;
    drop(directed);
    let window = Window { until: interrupted.map_or(window.until, |at| at.clamp(window.from, window.until)), ..window };
    let sampled = sampler.finish(window, context.scenario.depth.callers_per_call());
    let context = Rc::try_unwrap(context).map_err(|_| io::Error::other("a caller outlived the run"))?;
    let ended = Ended {
        schedule: schedule.hash(),
        window,
        interrupted: interrupted.is_some() && aborted.is_none(),
        sampled,
        server_metrics,
        share: manner.share,
        aborted,
        attack,
        calibration: manner.calibration,
        started,
        changes: hand.changes,
    };
    conclude(context, &aim, ended, generator)
}

/// Reads the server's metrics page all the time; ends with the run.
async fn follow(context: Rc<Context>, admin: Vec<SocketAddr>) {
    let mut every = interval(SCRAPE);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        let metrics = scrape::metrics(&admin).await;
        *context.scraped.borrow_mut() = metrics;
    }
}

/// The run's clock and the start of its schedule on it: soon, or when the wall clock says so.
async fn begin(at: Option<Moment>) -> io::Result<(Clock, Nanos)> {
    let Some(moment) = at else {
        let clock = Clock::start();
        return Ok((clock, clock.now().after(HEAD_START)));
    };
    let ahead = moment.ahead_of(SystemTime::now()).map_err(io::Error::other)?;
    tokio::time::sleep(ahead.saturating_sub(HEAD_START)).await;
    Ok((Clock::from_wall(moment.wall() - HEAD_START), Nanos::ZERO.after(HEAD_START)))
}

/// The moment of the wall clock that lies `ahead` of `now`.
fn wall_of(now: SystemTime, ahead: Duration) -> Moment {
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default() + ahead;
    Moment(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// What is known of a run when all callers have gone.
struct Ended {
    schedule: String,
    window: Window,
    interrupted: bool,
    sampled: Sampled,
    server_metrics: Option<scrape::Metrics>,
    share: Option<Share>,
    aborted: Option<String>,
    attack: Option<attack::Account>,
    calibration: Option<Calibration>,
    started: Moment,
    changes: Vec<Change>,
}

/// Stops the media thread, closes the book and puts the parts together.
fn conclude(context: Context, aim: &Aim, ended: Ended, mut generator: Generator) -> io::Result<Run> {
    let Ended { schedule, window, interrupted, sampled, server_metrics, share, aborted, attack, .. } = ended;
    let mut media = context.media.stop().ok_or_else(|| io::Error::other("the media thread died"))?;
    media.merge(&context.measured.borrow());
    let counters = context.media.counters();
    let mut book = context.book.into_inner();
    let alone = if share.is_some() { book.close_as_part() } else { book.close() };
    let storm = context.storm.into_inner();
    let storm = (context.scenario.sever_at.is_some() || storm.severed > 0).then_some(storm);
    let mut ledger = context.ledger.into_inner();
    for call in alone {
        ledger.iter_mut().for_each(|ledger| ledger.add(&call));
    }
    let calls_unwritten = ledger.map(Ledger::finish).transpose()?.unwrap_or(0);
    book.note(Violation::CrossTalk, counters.foreign.load(Ordering::Relaxed));
    book.note(Violation::Corrupt, counters.corrupt.load(Ordering::Relaxed));
    if aim.own {
        let left = server_metrics.as_ref().and_then(|metrics| metrics.allocations);
        // Attackers give nothing back: theirs are left for as long as an allocation lives.
        let attackers = attack.map_or(0, |attack| attack.granted);
        book.note(Violation::Leak, left.unwrap_or(0).saturating_sub(attackers));
    }
    if (interrupted || aborted.is_some()) && ended.changes.is_empty() {
        let share = window.until.since(window.from).as_secs_f64() / context.scenario.measured.as_secs_f64();
        generator.offered_callers = (generator.offered_callers as f64 * share) as u64;
    }
    let mut run = Run {
        scenario: context.scenario,
        schedule_hash: schedule,
        target: match &aim.turn_only {
            Some((server, _)) => Target { url: format!("turn:{server}"), address: *server, own: aim.own },
            None => Target { url: aim.urls().join(", "), address: aim.address.socket, own: aim.own },
        },
        window,
        interrupted,
        book,
        media,
        traffic: Traffic::read(counters),
        generator,
        sampled,
        server_metrics,
        share,
        slices: Vec::new(),
        aborted,
        calls_unwritten,
        storm,
        attack,
        calibration: ended.calibration,
        started: ended.started,
        changes: ended.changes,
    };
    run.book.note(Violation::Erlang, u64::from(run.contradicts_erlang()));
    Ok(run)
}
