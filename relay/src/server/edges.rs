//! The thread of everything that speaks HTTP: signalling with the page, and admin, on one small runtime.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use axum::Router;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::capacity::Capacity;
use super::error::Broken;
use super::http::{self, Crowd, Listener, Patience};
use super::https::Https;
use super::memory::Memory;
use super::parts::HEARTBEAT_MS;
use crate::dataplane;
use crate::signalling::Signalling;
use crate::splice;
use crate::stream::{self, Pages};

/// How soon a part that died is noticed.
const HEALTH_INTERVAL: Duration = Duration::from_secs(1);
/// What clients get to take their leave when the daemon stops.
const FAREWELL: Duration = Duration::from_millis(200);

/// A connection that says nothing for this long is closed: a client that missed more than three heartbeats is gone.
const SILENCE: Duration = Duration::from_millis(HEARTBEAT_MS * 15 / 4);
/// A request head that takes longer is not worth the wait.
const HEAD: Duration = Duration::from_secs(10);
/// Changes of listeners waiting at once: a reload makes two.
const MAX_CHANGES: usize = 8;
/// More than come in over TLS.
const MOST_PAGES: usize = 1 << 20;

/// A runtime that nobody drives yet. Tasks may be given to it inside its `enter`.
pub(super) fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// One listener and what it answers.
pub(super) struct Service {
    pub(super) listener: http::Bound,
    /// At a time; beyond, new ones are closed at once.
    pub(super) connections: usize,
    pub(super) router: Router,
}

type Named = (&'static str, Service);

/// What is served, and what is watched over.
pub(super) struct Work {
    /// By the keys of `[listen]`.
    pub(super) services: Vec<Named>,
    /// HTTP inside TLS, and what it is answered with.
    pub(super) https: (Pages, Router),
    pub(super) signalling: Signalling,
    pub(super) workers: Arc<dataplane::Running>,
    pub(super) streams: Arc<stream::Running>,
    /// If there are TCP allocations.
    pub(super) splice: Option<splice::Running>,
    /// Is shown the workers from time to time.
    pub(super) capacity: Arc<Capacity>,
}

/// Parts that must not end before they are asked to.
struct Watched {
    signalling: Signalling,
    workers: Arc<dataplane::Running>,
    streams: Arc<stream::Running>,
    splice: Option<splice::Running>,
    capacity: Arc<Capacity>,
}

/// The thread at work. Dropping it stops it and waits for it.
pub(super) struct Edges {
    stop: watch::Sender<bool>,
    refuse: watch::Sender<bool>,
    /// Whether it refuses by now.
    refuses: watch::Receiver<bool>,
    changes: mpsc::Sender<(&'static str, Option<Service>)>,
    broken: watch::Receiver<Option<Broken>>,
    thread: Option<JoinHandle<()>>,
}

impl Edges {
    pub(super) fn start(runtime: Runtime, work: Work) -> io::Result<Edges> {
        let (stop, stopped) = watch::channel(false);
        let (report, broken) = watch::channel(None);
        let (refuse, refused) = watch::channel(false);
        let (says_it_refuses, refuses) = watch::channel(false);
        let (changes, changed) = mpsc::channel(MAX_CHANGES);
        let Work { services, https, signalling, workers, streams, splice, capacity } = work;
        let services = {
            let _inside = runtime.enter();
            open(services)?
        };
        let watched = Watched { signalling, workers, streams, splice, capacity };
        let thread = thread::Builder::new().name("edges".to_owned()).spawn(move || {
            let asked = Asked { stopped, refused, says_it_refuses, changed };
            let end = runtime.block_on(run(services, https, watched, asked));
            report.send_replace(end);
        })?;
        Ok(Edges { stop, refuse, refuses, changes, broken, thread: Some(thread) })
    }

    /// Accepts nobody any more; whoever waits in the sockets is somebody else's. Connections that exist are served on.
    pub(super) fn refuse(&self) {
        self.refuse.send_replace(true);
    }

    /// Whether nobody is accepted any more since `refuse`.
    pub(super) fn refuses(&self) -> bool {
        *self.refuses.borrow()
    }

    /// Accepts at this listener from now on, if at any, and no more at the one of that key before; who came in by that stays. Whether the
    /// thread could be told.
    #[must_use]
    pub(super) fn change(&self, key: &'static str, service: Option<Service>) -> bool {
        self.changes.try_send((key, service)).is_ok()
    }

    /// Returns when something broke that nobody asked to stop.
    pub(super) async fn broken(&self) -> Broken {
        let mut broken = self.broken.clone();
        // An error means that the thread is gone without a word: it panicked.
        broken.wait_for(Option::is_some).await.ok().and_then(|end| *end).unwrap_or(Broken::Edge)
    }
}

impl Drop for Edges {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread of the edges had ended by a panic");
        }
    }
}

fn patience(connections: usize) -> Patience {
    Patience { connections, head: HEAD, silence: SILENCE }
}

/// Takes the listeners into the runtime that runs here.
fn open(services: Vec<Named>) -> io::Result<Vec<Open>> {
    services.into_iter().map(|(key, service)| open_one(key, service)).collect()
}

fn open_one(key: &'static str, Service { listener, connections, router }: Service) -> io::Result<Open> {
    Ok((key, listener.into_listener(patience(connections))?, router))
}

type Open = (&'static str, Listener, Router);

/// What others ask of the thread.
struct Asked {
    stopped: watch::Receiver<bool>,
    refused: watch::Receiver<bool>,
    says_it_refuses: watch::Sender<bool>,
    changed: mpsc::Receiver<(&'static str, Option<Service>)>,
}

/// What accepts.
#[derive(Default)]
struct Services {
    tasks: JoinSet<()>,
    by_key: HashMap<&'static str, AbortHandle>,
    /// Of every listener there has been: who came in by one that is closed stays.
    crowds: Vec<Crowd>,
}

impl Services {
    fn add(&mut self, (key, listener, router): Open) {
        self.crowds.push(listener.crowd());
        let task = self.tasks.spawn(listener.serve(router));
        self.by_key.insert(key, task);
    }

    fn change(&mut self, key: &'static str, service: Option<Service>) {
        if let Some(before) = self.by_key.remove(key) {
            before.abort();
        }
        match service.map(|service| open_one(key, service)) {
            Some(Ok(open)) => self.add(open),
            Some(Err(error)) => tracing::error!(%error, key, "a new listener is not served; reload again"),
            None => {}
        }
    }
}

/// Serves until asked to stop (`None`) or until something ends that should not.
async fn run(open: Vec<Open>, (pages, router): (Pages, Router), watched: Watched, asked: Asked) -> Option<Broken> {
    let mut services = Services::default();
    open.into_iter().for_each(|open| services.add(open));
    let listener = Https::new(pages, patience(MOST_PAGES));
    services.crowds.push(listener.crowd());
    services.tasks.spawn(listener.serve(router));
    let end = watch_over(&mut services, &watched, asked).await;
    services.tasks.abort_all();
    // Its end tells everybody who is connected; they get a moment to hear it.
    drop(watched.signalling);
    let everybody_gone = async {
        for crowd in &services.crowds {
            crowd.gone().await;
        }
    };
    let _ = timeout(FAREWELL, everybody_gone).await;
    end
}

async fn watch_over(
    services: &mut Services,
    watched: &Watched,
    Asked { mut stopped, mut refused, says_it_refuses, mut changed }: Asked,
) -> Option<Broken> {
    let mut refuses = false;
    let (mut health, mut memory) = (interval(HEALTH_INTERVAL), Memory::default());
    health.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = stopped.wait_for(|stop| *stop) => return None,
            _ = refused.wait_for(|refuse| *refuse), if !refuses => {
                refuses = true;
                services.tasks.shutdown().await;
                says_it_refuses.send_replace(true);
            }
            Some((key, service)) = changed.recv() => services.change(key, service),
            Some(ended) = services.tasks.join_next() => {
                // Those that were told to end are no news.
                if !ended.is_err_and(|error| error.is_cancelled()) {
                    return Some(Broken::Edge);
                }
            }
            _ = health.tick() => {
                if watched.workers.has_ended() {
                    return Some(Broken::Worker);
                }
                memory.look(&watched.workers);
                watched.capacity.look(&watched.workers);
                let signalling = watched.signalling.has_ended();
                let spliced = watched.splice.as_ref().is_some_and(splice::Running::has_ended);
                if signalling || spliced || watched.streams.has_ended() {
                    return Some(Broken::Edge);
                }
            }
        }
    }
}
