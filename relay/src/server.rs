//! Composition: bind everything, start the edges, stop on request.
//!
//! Nothing half-starts: every socket is bound before the first thread exists, so a port in use is an error and not a daemon that
//! serves the other half.

mod addresses;
mod descriptors;
mod edges;
mod error;
mod http;
mod parts;
mod stats;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};

pub use addresses::Addresses;
pub use error::{Broken, ServeError, StartError};

use crate::admin::Admin;
use crate::auth::CallKeys;
use crate::clock::Clock;
use crate::config::Settings;
use crate::signalling::{self, LocalRelay, Signalling};
use crate::{dataplane, turn, web};
use edges::{Edges, Service, Work};
use parts::Seeds;
use stats::Sources;

/// For a scraper and a few curious people.
const ADMIN_CONNECTIONS: usize = 32;
/// More signalling connections than one desk serves well.
const MOST_SESSIONS: u64 = 100_000;

/// A daemon at work. Dropping it stops it, like [`Running::stop`].
pub struct Running {
    addresses: Addresses,
    admin: Admin,
    // Dropped before the workers: signalling ends first, while the calls it closes are still there.
    edges: Edges,
    _workers: Arc<dataplane::Running>,
}

/// Starts all that `settings` ask for. Returns once everything listens.
///
/// # Errors
/// What could not be had and what to do about it. Nothing is left running or bound.
pub fn start(settings: &Settings) -> Result<Running, StartError> {
    // A quarter of the descriptors is left for relayed sockets.
    let sessions = (descriptors::raise_limit() / 4 * 3).min(MOST_SESSIONS) as usize;
    let seeds = Seeds::from_system()?;
    let clock = Clock::start();
    let bound = Bound::all(settings)?;
    let addresses = bound.addresses();
    let keys = Arc::new(CallKeys::new(seeds.call_keys));
    let shared = parts::shared(settings, &addresses.all(), &keys, &seeds)?;
    let runtime = edges::runtime().map_err(StartError::Threads)?;

    let workers = bound.dataplane.start(&shared, clock, seeds.workers).map_err(StartError::Threads)?;
    let workers = Arc::new(workers);
    let signalling = bound.signalling.is_some().then(|| {
        let _inside = runtime.enter();
        let settings = parts::signalling(settings, &addresses, sessions, &seeds);
        signalling::spawn(settings, Box::new(local_relay(&shared, &keys, &workers)), clock, seeds.desk)
    });
    let admin = Admin::new(metrics(&workers, signalling.as_ref()));
    let calls = bound.signalling.zip(signalling.as_ref()).map(|(listener, signalling)| Service {
        listener,
        connections: sessions,
        router: signalling.router().merge(web::router()),
    });
    let operator = bound.admin.map(|listener| Service {
        listener,
        connections: ADMIN_CONNECTIONS,
        router: admin.clone().router(),
    });
    let services = calls.into_iter().chain(operator).collect();
    let work = Work { services, signalling, workers: Arc::clone(&workers) };
    let edges = Edges::start(runtime, work).map_err(StartError::Threads)?;
    admin.set_ready(true);
    tracing::info!(workers = workers.counters().len(), "started");
    Ok(Running { addresses, admin, edges, _workers: workers })
}

/// What signalling may do to the relay in this process.
fn local_relay(shared: &Arc<turn::Shared>, keys: &Arc<CallKeys>, workers: &dataplane::Running) -> LocalRelay {
    let mailboxes = workers.mailboxes();
    LocalRelay::new(Arc::clone(shared), Arc::clone(keys), move |worker, command| {
        // A full mailbox loses the command: routes are dead already, the allocation goes when it expires.
        let _ = mailboxes.post(worker, command);
    })
}

fn metrics(
    workers: &dataplane::Running,
    signalling: Option<&Signalling>,
) -> impl Fn() -> String + Send + Sync + 'static {
    let signalling = signalling.map(Signalling::counters);
    let sources = Sources { turn: workers.counters(), io: workers.io_counters(), signalling };
    move || sources.render()
}

/// Runs until SIGTERM or SIGINT, calling `announce` once everything listens.
///
/// # Errors
/// It did not start, or something broke while it ran.
pub fn serve(settings: &Settings, announce: impl FnOnce(&Addresses)) -> Result<(), ServeError> {
    let runtime = edges::runtime().map_err(StartError::Threads)?;
    // Before anything starts: a signal that comes meanwhile is obeyed afterwards, and stops cleanly.
    let signals = {
        let _inside = runtime.enter();
        [SignalKind::terminate(), SignalKind::interrupt()].map(signal)
    };
    let [terminate, interrupt] = signals;
    let (mut terminate, mut interrupt) =
        (terminate.map_err(StartError::Threads)?, interrupt.map_err(StartError::Threads)?);
    let running = start(settings)?;
    announce(running.addresses());
    runtime.block_on(async {
        tokio::select! {
            _ = terminate.recv() => Ok(()),
            _ = interrupt.recv() => Ok(()),
            broken = running.edges.broken() => Err(broken),
        }
    })?;
    running.stop();
    tracing::info!("stopped");
    Ok(())
}

impl Running {
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
    signalling: Option<http::Bound>,
    admin: Option<http::Bound>,
}

impl Bound {
    fn all(settings: &Settings) -> Result<Bound, StartError> {
        let dataplane = dataplane::bind(&parts::dataplane(settings)).map_err(StartError::Udp)?;
        let tcp = |key: &'static str, address: Option<SocketAddr>| {
            let bound =
                address.map(|address| http::bind(address).map_err(|source| StartError::Tcp { key, address, source }));
            bound.transpose()
        };
        let signalling = tcp("signalling", settings.listen.signalling)?;
        let admin = tcp("admin", settings.listen.admin)?;
        Ok(Bound { dataplane, signalling, admin })
    }

    fn addresses(&self) -> Addresses {
        let address = |bound: &Option<http::Bound>| bound.as_ref().map(|bound| bound.address);
        Addresses {
            udp: self.dataplane.addresses().to_vec(),
            signalling: address(&self.signalling),
            admin: address(&self.admin),
        }
    }
}
