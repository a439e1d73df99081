//! The thread of everything that speaks HTTP: signalling with the page, and admin, on one small runtime.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use axum::Router;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::error::Broken;
use super::http::Listener;

/// How soon a worker that died is noticed.
const HEALTH_INTERVAL: Duration = Duration::from_secs(1);
/// What connections get to end when the daemon stops.
const FAREWELL: Duration = Duration::from_millis(200);

/// A runtime that is not driven yet. Listeners and tasks are given to it inside [`runtime`]'s `enter`.
pub(super) fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// What is served, and whether the rest of the daemon is well.
pub(super) struct Work {
    pub(super) services: Vec<(Listener, Router)>,
    pub(super) is_healthy: Arc<dyn Fn() -> bool + Send + Sync>,
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
            runtime.shutdown_timeout(FAREWELL);
            report.send_replace(end);
        })?;
        Ok(Edges { stop, broken, thread: Some(thread) })
    }

    /// Ends when something broke that nobody asked to stop.
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
            tracing::error!("the edges' thread had ended by a panic");
        }
    }
}

/// Serves until asked to stop (`None`) or until something ends that should not.
async fn run(work: Work, mut stopped: watch::Receiver<bool>) -> Option<Broken> {
    let mut services = JoinSet::new();
    for (listener, router) in work.services {
        services.spawn(serve(listener, router));
    }
    let mut health = interval(HEALTH_INTERVAL);
    health.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = stopped.wait_for(|stop| *stop) => return None,
            Some(_) = services.join_next() => return Some(Broken::Edge),
            _ = health.tick() => if !(work.is_healthy)() { return Some(Broken::Worker) },
        }
    }
}

async fn serve(listener: Listener, router: Router) -> io::Result<()> {
    use axum::serve::ListenerExt as _;
    // `tap_io` because axum hands the client's address only to listeners of its own making.
    let service = router.into_make_service_with_connect_info::<std::net::SocketAddr>();
    axum::serve(listener.tap_io(|_| {}), service).await
}
