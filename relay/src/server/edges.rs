//! The thread of everything that speaks HTTP: signalling with the page, and admin, on one small runtime.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use axum::Router;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::task::JoinSet;
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

/// What is served, and what is watched over.
pub(super) struct Work {
    pub(super) services: Vec<Service>,
    /// HTTP inside TLS, and what it is answered with.
    pub(super) https: Option<(Pages, Router)>,
    pub(super) signalling: Option<Signalling>,
    pub(super) workers: Arc<dataplane::Running>,
    pub(super) streams: Option<Arc<stream::Running>>,
    /// If there are TCP allocations.
    pub(super) splice: Option<splice::Running>,
    /// Is shown the workers from time to time.
    pub(super) capacity: Arc<Capacity>,
}

/// Parts that must not end before they are asked to.
struct Watched {
    signalling: Option<Signalling>,
    workers: Arc<dataplane::Running>,
    streams: Option<Arc<stream::Running>>,
    splice: Option<splice::Running>,
    capacity: Arc<Capacity>,
}

/// The thread at work. Dropping it stops it and waits for it.
pub(super) struct Edges {
    stop: watch::Sender<bool>,
    refuse: watch::Sender<bool>,
    broken: watch::Receiver<Option<Broken>>,
    thread: Option<JoinHandle<()>>,
}

impl Edges {
    pub(super) fn start(runtime: Runtime, work: Work) -> io::Result<Edges> {
        let (stop, stopped) = watch::channel(false);
        let (report, broken) = watch::channel(None);
        let (refuse, refused) = watch::channel(false);
        let Work { services, https, signalling, workers, streams, splice, capacity } = work;
        let services = {
            let _inside = runtime.enter();
            open(services)?
        };
        let watched = Watched { signalling, workers, streams, splice, capacity };
        let thread = thread::Builder::new().name("edges".to_owned()).spawn(move || {
            let end = runtime.block_on(run(services, https, watched, (stopped, refused)));
            report.send_replace(end);
        })?;
        Ok(Edges { stop, refuse, broken, thread: Some(thread) })
    }

    /// Accepts nobody any more; whoever waits in the sockets is somebody else's. Connections that exist are served on.
    pub(super) fn refuse(&self) {
        self.refuse.send_replace(true);
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
fn open(services: Vec<Service>) -> io::Result<Vec<(Listener, Router)>> {
    services.into_iter().map(|it| Ok((it.listener.into_listener(patience(it.connections))?, it.router))).collect()
}

/// Serves until asked to stop (`None`) or until something ends that should not.
async fn run(
    open: Vec<(Listener, Router)>,
    https: Option<(Pages, Router)>,
    watched: Watched,
    asked: (watch::Receiver<bool>, watch::Receiver<bool>),
) -> Option<Broken> {
    let mut crowds: Vec<Crowd> = open.iter().map(|(listener, _)| listener.crowd()).collect();
    let mut services = JoinSet::new();
    for (listener, router) in open {
        services.spawn(listener.serve(router));
    }
    if let Some((pages, router)) = https {
        let listener = Https::new(pages, patience(MOST_PAGES));
        crowds.push(listener.crowd());
        services.spawn(listener.serve(router));
    }
    let end = watch_over(&mut services, &watched, asked).await;
    services.abort_all();
    // Its end tells everybody who is connected; they get a moment to hear it.
    drop(watched.signalling);
    let everybody_gone = async {
        for crowd in &crowds {
            crowd.gone().await;
        }
    };
    let _ = timeout(FAREWELL, everybody_gone).await;
    end
}

async fn watch_over(
    services: &mut JoinSet<()>,
    watched: &Watched,
    (mut stopped, mut refused): (watch::Receiver<bool>, watch::Receiver<bool>),
) -> Option<Broken> {
    let mut refuses = false;
    let (mut health, mut memory) = (interval(HEALTH_INTERVAL), Memory::default());
    health.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = stopped.wait_for(|stop| *stop) => return None,
            _ = refused.wait_for(|refuse| *refuse), if !refuses => {
                refuses = true;
                services.abort_all();
            }
            Some(_) = services.join_next() => {
                if !refuses {
                    return Some(Broken::Edge);
                }
            }
            _ = health.tick() => {
                if watched.workers.has_ended() {
                    return Some(Broken::Worker);
                }
                memory.look(&watched.workers);
                watched.capacity.look(&watched.workers);
                let signalling = watched.signalling.as_ref().is_some_and(Signalling::has_ended);
                let spliced = watched.splice.as_ref().is_some_and(splice::Running::has_ended);
                if signalling || spliced || watched.streams.as_ref().is_some_and(|streams| streams.has_ended()) {
                    return Some(Broken::Edge);
                }
            }
        }
    }
}
