//! Composition: bind everything, start the edges, stop on request.
//!
//! Nothing half-starts: every socket is bound before the first thread exists, so a port in use is an error and not a daemon that
//! serves the other half.

mod addresses;
mod asks;
mod bound;
mod capacity;
#[cfg_attr(not(feature = "nats"), allow(dead_code, reason = "without the bus there is no cluster"))]
mod cluster;
mod cluster_page;
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
mod prepared;
mod pulse;
mod reload;
mod serving;
mod stats;
#[cfg(feature = "otlp")]
mod telemetry;
mod upgrade;
mod webhook_trust;

#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval};

pub use addresses::Addresses;
pub use error::{Broken, ServeError, StartError};
pub use handover::Succession;
pub use reload::Reloaded;

use crate::admin::Admin;
use crate::config::Settings;
use crate::dataplane;
use crate::signalling;
use crate::stream::{self, CertificateError};
use asks::Wish;
use edges::Edges;
use notify::Notify;
use prepared::Prepared;
use pulse::Pulse;
use reload::Changeable;

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
    // Dropped first: the others hear that this node leaves before its callers do.
    cluster: Option<cluster::Cluster>,
    // Dropped before the workers: signalling ends first, while the calls it closes are still there.
    edges: Edges,
    /// Closed where it does not listen.
    signalling: (signalling::Controls, Arc<signalling::Counters>),
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

/// Runs until it is asked to end, calling `announce` once everything listens.
///
/// SIGTERM: nothing new, and the end once everything that exists is over or `[drain] deadline_secs` have passed; a second one
/// ends at once. SIGINT: ends at once. SIGHUP and `POST /v1/reload`: `reread` reads the configuration again, or says what is wrong with it;
/// from `file`, which the sandbox therefore leaves readable. With a `succession` it takes the place of another, and may be succeeded.
///
/// # Errors
/// It did not start, or something broke while it ran.
pub fn serve(
    settings: &Settings,
    file: Option<&Path>,
    announce: impl FnOnce(&Addresses),
    reread: impl Fn() -> Result<Settings, String>,
    succession: Option<Succession<'_>>,
) -> Result<(), ServeError> {
    let runtime = edges::runtime().map_err(StartError::Threads)?;
    // Before anything starts: a signal that comes meanwhile is obeyed afterwards, and stops cleanly.
    let signals = {
        let _inside = runtime.enter();
        Signals::listen().map_err(StartError::Threads)
    };
    let mut signals = signals?;
    let notify = Notify::from_environment();
    let place = succession.map(|it| it.socket);
    let prepared = Prepared::new(settings, succession)?;
    // From inside the sandbox no place could be made for a successor any more.
    let heir = {
        let _inside = runtime.enter();
        place
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
                (path, stream) = successor(place, heir.as_ref()) => match running.hand_over(path, &stream, &notify) {
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
