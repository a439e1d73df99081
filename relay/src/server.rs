//! Composition: bind everything, start the edges, stop on request.
//!
//! Nothing half-starts: every socket is bound before the first thread exists, so a port in use is an error and not a daemon that
//! serves the other half.

mod addresses;
mod asks;
mod capacity;
mod descriptors;
mod drain;
mod edges;
mod error;
mod handover;
mod http;
mod http2;
mod https;
mod inherited;
mod inside;
mod memory;
mod notify;
mod parts;
mod pulse;
mod reload;
mod serving;
mod stats;
#[cfg(feature = "otlp")]
mod telemetry;
mod webhook_trust;

#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, RwLock};

use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::{Handle, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval};

pub use addresses::Addresses;
pub use error::{Broken, ServeError, StartError};
pub use reload::Reloaded;

use crate::admin::Admin;
use crate::auth::CallKeys;
use crate::clock::Clock;
use crate::config::Settings;
use crate::prove;
use crate::sandbox::Kept;
use crate::signalling::{self, LocalRelay, Signalling};
use crate::stream::{self, CertificateError, Certificates};
use crate::{dataplane, splice, turn, web};
use asks::Wish;
use capacity::Capacity;
use edges::{Edges, Service, Work};
use handover::Predecessor;
use inherited::Inherited;
use notify::Notify;
use parts::Seeds;
use pulse::Pulse;
use reload::{Changeable, Past};
use stats::Sources;

/// For a scraper and a few curious people.
const ADMIN_CONNECTIONS: usize = 32;
/// More signalling connections than one desk serves well.
const MOST_SESSIONS: u64 = 100_000;

/// More TCP and TLS connections than one server serves well.
const MOST_STREAMS: u64 = 100_000;

/// Looks over what `settings` name outside the configuration file.
///
/// # Errors
/// The certificate or its key cannot be used.
pub fn check(settings: &Settings) -> Result<(), CertificateError> {
    parts::certificate_files(settings).map_or(Ok(()), |files| stream::tls::check(&files))
}

/// A daemon at work. Dropping it stops it, like [`Running::stop`].
pub struct Running {
    addresses: Addresses,
    admin: Admin,
    // Dropped before the workers: signalling ends first, while the calls it closes are still there.
    edges: Edges,
    signalling: Option<(signalling::Controls, Arc<signalling::Counters>)>,
    changeable: Changeable,
    /// Listeners that speak HTTP, once more.
    http: Vec<(&'static str, SocketAddr, OwnedFd)>,
    /// What was given to who asked last to take this one's place, and whether it has been closed for that here.
    given: Vec<(&'static str, SocketAddr, OwnedFd)>,
    makes_room: bool,
    /// Reloads that were asked for.
    wishes: mpsc::Receiver<Wish>,
    streams: Arc<stream::Running>,
    workers: Arc<dataplane::Running>,
    /// For a supervisor that wants to know whether all live.
    pulse: Pulse,
}

/// Starts all that `settings` ask for. Returns once everything listens.
///
/// # Errors
/// What could not be had and what to do about it. Nothing is left running or bound.
pub fn start(settings: &Settings) -> Result<Running, StartError> {
    Prepared::new(settings, None)?.start(None, Vec::new())
}

/// Everything bound and loaded, and not one thread yet: what is given up now, no thread has.
struct Prepared {
    settings: Settings,
    /// Signalling connections at once.
    sessions: usize,
    certificates: Option<Arc<Certificates>>,
    seeds: Seeds,
    clock: Clock,
    bound: Bound,
    addresses: Addresses,
    keys: Arc<CallKeys>,
    shared: Arc<turn::Shared>,
    /// If there is to be any.
    signalling: Option<signalling::Settings>,
    runtime: Runtime,
    /// The relay whose place this one takes.
    predecessor: Option<Predecessor>,
}

impl Prepared {
    /// In the place of a relay that listens at `hand_over`, if there is one.
    fn new(settings: &Settings, hand_over: Option<&Path>) -> Result<Prepared, StartError> {
        // A quarter of the descriptors is left for relayed sockets.
        let descriptors = descriptors::raise_limit();
        let sessions = (descriptors / 4 * 3).min(MOST_SESSIONS) as usize;
        let streams = (descriptors / 2).min(MOST_STREAMS) as usize;
        let certificates = parts::certificates(settings).map_err(StartError::Certificate)?;
        let seeds = Seeds::from_system()?;
        let clock = Clock::start();
        let before = hand_over.map(handover::ask).transpose().map_err(StartError::HandOver)?.flatten();
        let (predecessor, mut inherited) = match before {
            Some((predecessor, inherited)) => (Some(predecessor), inherited),
            None => (None, Inherited::from_environment()),
        };
        let bound = Bound::all(settings, streams, &mut inherited)?;
        inherited.close();
        let addresses = bound.addresses();
        let keys = Arc::new(CallKeys::new(seeds.call_keys));
        let udp = reload::udp_doors(settings, &addresses.udp);
        let shared = parts::shared(settings, &addresses, &udp, &keys, &seeds)?;
        let signalling = || parts::signalling(settings, &addresses, sessions, &seeds.demo);
        let signalling = bound.signalling.is_some().then(signalling).transpose()?;
        // What would fail when it is too late to give up.
        #[cfg(feature = "otlp")]
        parts::telemetry(settings)?;
        let runtime = edges::runtime().map_err(StartError::Threads)?;
        let settings = settings.clone();
        Ok(Prepared {
            settings,
            sessions,
            certificates,
            seeds,
            clock,
            bound,
            addresses,
            keys,
            shared,
            signalling,
            runtime,
            predecessor,
        })
    }

    /// `kept` is what the process has bound itself to; `others` are runtimes of threads that are there already.
    fn start(self, kept: Option<Kept>, others: Vec<Handle>) -> Result<Running, StartError> {
        let Prepared {
            settings,
            sessions,
            certificates,
            seeds,
            clock,
            bound,
            addresses,
            keys,
            shared,
            signalling,
            runtime,
            predecessor,
        } = self;
        let (sender, tasks) = dataplane::tasks();
        // A reload may turn them on where connections may lead anywhere.
        let with_tcp = inside::reaches_everybody(&settings);
        let dataplane = if with_tcp { bound.dataplane.with_tcp(sender) } else { bound.dataplane };
        let lent = |key, bound: &Option<http::Bound>| bound.as_ref().map(|it| Ok((key, it.address, it.lend()?)));
        let http = [lent("signalling", &bound.signalling), lent("admin", &bound.admin)];
        let http = http.into_iter().flatten().collect::<io::Result<_>>().map_err(StartError::Threads)?;
        // Nothing that is likely to fail comes after this.
        if let Some(predecessor) = predecessor {
            predecessor.make_room().map_err(StartError::HandOver)?;
        }
        let workers = dataplane.start(&shared, clock, seeds.workers).map_err(StartError::Threads)?;
        let workers = Arc::new(workers);
        let splice =
            with_tcp.then(|| splice::start(tasks, Arc::clone(&shared.tcp), workers.mailboxes(), clock)).transpose();
        let splice = splice.map_err(StartError::Threads)?;
        let signalling = signalling.map(|settings| {
            let _inside = runtime.enter();
            signalling::spawn(settings, Box::new(local_relay(&shared, &keys, &workers)), clock, seeds.desk)
        });
        let (sender, pages) = stream::pages();
        let sender = signalling.as_ref().map(|_| sender);
        let streams = bound.streams.start(workers.mailboxes(), certificates.as_deref(), sender);
        let streams = Arc::new(streams.map_err(StartError::Threads)?);
        let talking = signalling.as_ref().map(|signalling| (signalling.controls(), signalling.counters()));
        let waits = talking.as_ref().map(|(_, counters)| Arc::clone(counters));
        let knows = move || waits.as_ref().is_none_or(|counters| counters.awaiting_revocations() == 0);
        let tcp = with_tcp.then(|| Arc::clone(&shared.tcp));
        let sources = Arc::new(sources(&workers, &shared, tcp, signalling.as_ref(), &streams));
        let pages_of = Arc::clone(&sources);
        let render = move |format| pages_of.page().write(format);
        let admin = Admin::new(render, knows);
        let capacity = Arc::new(Capacity::default());
        let seen = Arc::clone(&capacity);
        let admin = admin.with_capacity(move || seen.says());
        let website = signalling.as_ref().map(|signalling| signalling.router().merge(web::router()));
        let https = website.clone().map(|router| (pages, router));
        let calls = bound.signalling.zip(website.clone());
        let calls = calls.map(|(listener, router)| ("signalling", Service { listener, connections: sessions, router }));
        let (readiness, mailboxes) = (admin.clone(), workers.mailboxes());
        let shut = move || {
            readiness.set_ready(false);
            mailboxes.post_all(turn::Command::Drain).is_ok()
        };
        let (asks, wishes) = asks::wishes();
        let asks = asks.router(signalling.is_none().then(|| shut.clone()));
        let backend = signalling.as_ref().map(|signalling| signalling.operator_router(shut)).unwrap_or_default();
        let runtimes =
            [Some(runtime.handle().clone()), Some(streams.runtime()), splice.as_ref().map(|it| it.runtime())];
        let named = ["edges", "streams", "splice"].into_iter().zip(runtimes.clone());
        let named = named.filter_map(|(name, runtime)| Some((name, runtime?)));
        let pulse = Pulse::new(&workers.mailboxes(), named);
        let threads = prove::Threads::new(
            workers.mailboxes(),
            others.into_iter().chain(runtimes.into_iter().flatten()),
            kept.as_ref(),
        );
        let facts = Arc::new(RwLock::new(parts::facts(&settings)));
        let proof = prove::router(Arc::clone(&facts), kept, threads);
        let operator = admin.clone().router().merge(asks).merge(backend).merge(proof);
        let router = operator.clone();
        let asked = bound.admin.map(|listener| Service { listener, connections: ADMIN_CONNECTIONS, router });
        let services = calls.into_iter().chain(asked.map(|service| ("admin", service))).collect();
        let (watched, accepting) = (Arc::clone(&workers), Arc::clone(&streams));
        #[cfg(feature = "otlp")]
        let telemetry = {
            let (sender, target) = tokio::sync::watch::channel(parts::telemetry(&settings)?);
            drop(runtime.spawn(telemetry::push(sources, target)));
            sender
        };
        let work = Work { services, https, signalling, workers: watched, streams: accepting, splice, capacity };
        let edges = Edges::start(runtime, work).map_err(StartError::Threads)?;
        admin.set_ready(true);
        tracing::info!(workers = workers.counters().len(), "started");
        #[cfg(feature = "slowdown")]
        tracing::warn!(
            percent = crate::dataplane::slowdown::percent(),
            "this build is slow on purpose: never serve people with it"
        );
        let changeable = Changeable {
            doors: reload::doors(&settings, &addresses.tcp, &addresses.tls),
            udp: reload::udp_doors(&settings, &addresses.udp),
            past: Past::default(),
            website,
            operator,
            facts,
            #[cfg(feature = "otlp")]
            telemetry,
            entered: settings.clone(),
            settings,
            keys,
            nonces: seeds.nonces,
            demo: seeds.demo,
            sessions,
            shared,
            certificates,
        };
        Ok(Running {
            addresses,
            admin,
            edges,
            signalling: talking,
            changeable,
            http,
            given: Vec::new(),
            makes_room: false,
            wishes,
            streams,
            workers,
            pulse,
        })
    }
}

/// What signalling may do to the relay in this process.
fn local_relay(shared: &Arc<turn::Shared>, keys: &Arc<CallKeys>, workers: &dataplane::Running) -> LocalRelay {
    let mailboxes = workers.mailboxes();
    LocalRelay::new(Arc::clone(&shared.ledger), Arc::clone(keys), move |worker, command| {
        // A full mailbox loses the command: routes are dead already, the allocation goes when it expires.
        let _ = mailboxes.post(worker, command);
    })
}

fn sources(
    workers: &dataplane::Running,
    shared: &turn::Shared,
    tcp: Option<Arc<turn::Connections>>,
    signalling: Option<&Signalling>,
    streams: &stream::Running,
) -> Sources {
    let (turn, io) = (workers.counters(), workers.io_counters());
    let (signalling, ledger) = (signalling.map(Signalling::counters), Arc::clone(&shared.ledger));
    Sources { turn, io, streams: streams.counters(), signalling, ledger, tcp }
}

/// Runs until it is asked to end, calling `announce` once everything listens.
///
/// SIGTERM: nothing new, and the end once everything that exists is over or `[drain] deadline_secs` have passed; a second one
/// ends at once. SIGINT: ends at once. SIGHUP and `POST /v1/reload`: `reread` reads the configuration again, or says what is wrong with it;
/// from `file`, which the sandbox therefore leaves readable.
///
/// # Errors
/// It did not start, or something broke while it ran.
pub fn serve(
    settings: &Settings,
    file: Option<&Path>,
    announce: impl FnOnce(&Addresses),
    reread: impl Fn() -> Result<Settings, String>,
    hand_over: Option<&Path>,
) -> Result<(), ServeError> {
    let runtime = edges::runtime().map_err(StartError::Threads)?;
    // Before anything starts: a signal that comes meanwhile is obeyed afterwards, and stops cleanly.
    let signals = {
        let _inside = runtime.enter();
        Signals::listen().map_err(StartError::Threads)
    };
    let mut signals = signals?;
    let notify = Notify::from_environment();
    let prepared = Prepared::new(settings, hand_over)?;
    // From inside the sandbox no place could be made for a successor any more.
    let heir = {
        let _inside = runtime.enter();
        hand_over
            .map(|path| handover::listen(path, prepared.predecessor.as_ref()))
            .transpose()
            .map_err(StartError::HandOver)
    };
    let mut heir = heir?;
    let kept = inside::enter(settings, file)?;
    let mut running = prepared.start(kept, vec![runtime.handle().clone()])?;
    announce(running.addresses());
    notify.ready();
    runtime.block_on(async {
        let mut watchdog = ticks(&notify);
        loop {
            tokio::select! {
                _ = signals.terminate.recv() => {
                    // Who ends has no successor: one that asked would wait.
                    heir = None;
                    return running.drain(&mut signals, &notify).await;
                }
                _ = signals.interrupt.recv() => return Ok(()),
                _ = signals.hangup.recv() => drop(running.reload_aloud(&notify, reread())),
                Some(Wish(answer)) = running.wishes.recv() => {
                    // Who asked may have gone.
                    let _ = answer.send(running.reload_aloud(&notify, reread()));
                }
                () = tick(&mut watchdog) => running.tell_alive(&notify),
                (path, stream) = successor(hand_over, heir.as_ref()) => match running.hand_over(path, &stream, &notify) {
                    Ok(()) => {
                        heir = None;
                        return running.drain(&mut signals, &Notify::nobody()).await;
                    }
                    Err(error) => tracing::error!(%error, "not handed over"),
                },
                broken = running.edges.broken() => return Err(broken),
            }
        }
    })?;
    running.stop();
    tracing::info!("stopped");
    Ok(())
}

/// Who wants to take this one's place.
async fn successor<'a>(path: Option<&'a Path>, heir: Option<&UnixListener>) -> (&'a Path, UnixStream) {
    loop {
        match (path, heir) {
            (Some(path), Some(heir)) => {
                if let Ok((stream, _)) = heir.accept().await {
                    return (path, stream);
                }
            }
            _ => std::future::pending().await,
        }
    }
}

/// When the supervisor is to be told that we are alive, if it wants to know.
fn ticks(notify: &Notify) -> Option<Interval> {
    let mut ticks = interval(notify.watchdog()?);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    Some(ticks)
}

async fn tick(ticks: &mut Option<Interval>) {
    match ticks {
        Some(ticks) => drop(ticks.tick().await),
        None => std::future::pending().await,
    }
}

/// What operators and supervisors say.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen() -> io::Result<Signals> {
        let [terminate, interrupt, hangup] =
            [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()].map(signal);
        Ok(Signals { terminate: terminate?, interrupt: interrupt?, hangup: hangup? })
    }
}

impl Running {
    /// A reload, of which the supervisor hears as well.
    fn reload_aloud(&mut self, notify: &Notify, read: Result<Settings, String>) -> Result<Reloaded, String> {
        notify.reloading();
        let reloaded = self.reload(read);
        notify.ready();
        reloaded
    }

    /// If all threads do something: else it is for the supervisor to end this.
    fn tell_alive(&mut self, notify: &Notify) {
        if self.pulse.beats() {
            notify.alive();
        }
    }

    /// Where it listens, port 0 resolved.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Blocks until something breaks that nobody asked to stop. Not to be called inside an async runtime.
    pub fn wait(&self) -> Broken {
        match edges::runtime() {
            Ok(runtime) => runtime.block_on(self.edges.broken()),
            Err(_) => Broken::Edge,
        }
    }

    /// Closes every connection and socket and waits for every thread; takes less than a second.
    pub fn stop(self) {
        self.admin.set_ready(false);
    }
}

/// Every socket of the daemon, bound and silent.
struct Bound {
    dataplane: dataplane::Bound,
    streams: stream::Bound,
    signalling: Option<http::Bound>,
    admin: Option<http::Bound>,
}

impl Bound {
    fn all(settings: &Settings, connections: usize, inherited: &mut Inherited) -> Result<Bound, StartError> {
        let dataplane = parts::dataplane(settings);
        let dataplane = dataplane::bind_with(&dataplane, |address| inherited.udp(address)).map_err(StartError::Udp)?;
        let streams = stream::bind_with(parts::stream(settings, connections), |key, at| inherited.tcp(key, at))
            .map_err(|stream::BindError { key, address, source }| StartError::Tcp { key, address, source })?;
        let mut tcp = |key: &'static str, address: Option<SocketAddr>| {
            let bound = address.map(|address| {
                let bound = inherited.tcp(key, address).map_or_else(|| http::bind(address), http::adopt);
                bound.map_err(|source| StartError::Tcp { key, address, source })
            });
            bound.transpose()
        };
        let signalling = tcp("signalling", settings.listen.signalling)?;
        let admin = tcp("admin", settings.listen.admin)?;
        Ok(Bound { dataplane, streams, signalling, admin })
    }

    fn addresses(&self) -> Addresses {
        let address = |bound: &Option<http::Bound>| bound.as_ref().map(|bound| bound.address);
        Addresses {
            udp: self.dataplane.addresses().to_vec(),
            tcp: self.streams.tcp(),
            tls: self.streams.tls(),
            signalling: address(&self.signalling),
            admin: address(&self.admin),
        }
    }
}
