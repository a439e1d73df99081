//! The thread of everything that speaks HTTP: signalling with the page, and admin, on one small runtime.

use std::io;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use axum::Router;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::error::Broken;
use super::http::{Crowd, Listener};
use super::https::Https;
use crate::signalling::{Peer, Signalling};

/// How soon a part that died is noticed.
const HEALTH_INTERVAL: Duration = Duration::from_secs(1);
/// What clients get to take their leave when the daemon stops.
const FAREWELL: Duration = Duration::from_millis(200);

/// A runtime that nobody drives yet. Listeners and tasks are given to it inside its `enter`.
pub(super) fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// What is served, and how the rest of the daemon is.
pub(super) struct Work {
    pub(super) services: Vec<(Listener, Router)>,
    /// HTTP inside TLS, and what it is answered with.
    pub(super) https: Option<(Https, Router)>,
    pub(super) signalling: Option<Signalling>,
    /// Whether a worker of the packet path has ended.
    pub(super) worker_has_ended: Box<dyn Fn() -> bool + Send>,
}

/// The thread at work. Dropping it stops it and waits for it.
pub(super) struct Edges {
    stop: watch::Sender<bool>,
    broken: watch::Receiver<Option<Broken>>,
    thread: Option<JoinHandle<()>>,
}

impl Edges {
    pub(super) fn start(runtime: Runtime, work: Work) -> io::Result<Edges> {
        let (stop, stopped) = watch::channel(false);
        let (report, broken) = watch::channel(None);
        let thread = thread::Builder::new().name("edges".to_owned()).spawn(move || {
            let end = runtime.block_on(run(work, stopped));
            report.send_replace(end);
        })?;
        Ok(Edges { stop, broken, thread: Some(thread) })
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

/// Serves until asked to stop (`None`) or until something ends that should not.
async fn run(work: Work, stopped: watch::Receiver<bool>) -> Option<Broken> {
    let crowds: Vec<Crowd> = work.services.iter().map(|(listener, _)| listener.crowd()).collect();
    let mut services = JoinSet::new();
    for (listener, router) in work.services {
        services.spawn(serve(listener, router));
    }
    if let Some((listener, router)) = work.https {
        services.spawn(serve_inside_tls(listener, router));
    }
    let end = watch_over(&mut services, work.signalling.as_ref(), &work.worker_has_ended, stopped).await;
    services.abort_all();
    // Its end tells everybody who is connected; they get a moment to hear it.
    drop(work.signalling);
    let _ = timeout(FAREWELL, async {
        for crowd in &crowds {
            crowd.gone().await;
        }
    })
    .await;
    end
}

async fn serve(listener: Listener, router: Router) -> io::Result<()> {
    axum::serve(listener, router.into_make_service_with_connect_info::<Peer>()).await
}

async fn serve_inside_tls(listener: Https, router: Router) -> io::Result<()> {
    axum::serve(listener, router.into_make_service_with_connect_info::<Peer>()).await
}

async fn watch_over(
    services: &mut JoinSet<io::Result<()>>,
    signalling: Option<&Signalling>,
    worker_has_ended: &(dyn Fn() -> bool + Send),
    mut stopped: watch::Receiver<bool>,
) -> Option<Broken> {
    let mut health = interval(HEALTH_INTERVAL);
    health.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = stopped.wait_for(|stop| *stop) => return None,
            Some(_) = services.join_next() => return Some(Broken::Edge),
            _ = health.tick() => {
                if worker_has_ended() {
                    return Some(Broken::Worker);
                }
                if signalling.is_some_and(Signalling::has_ended) {
                    return Some(Broken::Edge);
                }
            }
        }
    }
}
