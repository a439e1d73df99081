//! This relay among others: started before anybody is served, told about by `/metrics` and `GET /v1/cluster`.
//!
//! Without a `[cluster]` there is nobody else, and nothing of this runs.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
#[cfg(feature = "nats")]
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::http::header;
use axum::middleware::from_fn;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
#[cfg(feature = "nats")]
use tokio::runtime::Runtime;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

#[cfg(feature = "nats")]
use super::error::StartError;
use super::stats::Sources;
use crate::admin::Admin;
#[cfg(feature = "nats")]
use crate::bus;
use crate::bus::{Neighbours, Vitals};
use crate::cluster::{self, Load};
use crate::config::{self, Settings};
use crate::server::capacity::Capacity;
#[cfg(feature = "nats")]
use crate::signalling::desk::{self, Change};
#[cfg(feature = "nats")]
use crate::signalling::{self, Fellows};
use crate::signalling::{Controls, Tell, own_page};

/// What the broker may take to say its first word; without it this node begins on its own.
#[cfg(feature = "nats")]
const FIRST_WORD: Duration = Duration::from_secs(3);
/// How often the desk is told what this node still takes.
const LOOK: Duration = Duration::from_secs(1);
/// A call is two allocations.
const SIDES: u64 = 2;

/// What the others are told of this node and may have it do; nothing, before it serves.
#[derive(Clone, Default)]
pub(super) struct Hands(Arc<Palms>);

#[derive(Default)]
struct Palms {
    held: OnceLock<Held>,
    /// What must be alike on every node, in one number.
    rules: AtomicU64,
    /// The most there may be.
    allocations: AtomicU64,
    /// Something has changed that the others' desks should know at once.
    look: Notify,
}

struct Held {
    /// By which hashes its desk knows people.
    people: u64,
    admin: Admin,
    capacity: Arc<Capacity>,
    sources: Arc<Sources>,
    signalling: Controls,
}

impl Hands {
    /// From now on this node takes part.
    pub(super) fn hold(
        &self,
        admin: &Admin,
        capacity: &Arc<Capacity>,
        sources: &Arc<Sources>,
        (signalling, people): (&Controls, u64),
    ) {
        let held = Held {
            people,
            admin: admin.clone(),
            capacity: Arc::clone(capacity),
            sources: Arc::clone(sources),
            signalling: signalling.clone(),
        };
        // It is given once.
        let _ = self.0.held.set(held);
        self.look();
    }

    /// Has the desk told anew what this node takes: at once, where it would else be in a second.
    pub(super) fn look(&self) {
        self.0.look.notify_one();
    }

    /// What others are told goes by these from now on.
    pub(super) fn adopt(&self, settings: &Settings) {
        self.0.rules.store(config::rules(settings), Relaxed);
        self.0.allocations.store(settings.limits.total_allocations.into(), Relaxed);
        self.look();
    }

    /// Tells the desk what this node takes, as long as there is a desk.
    pub(super) async fn tell_load(self, desk: watch::Sender<Load>) {
        while !desk.is_closed() {
            let load = self.load();
            desk.send_if_modified(|told| std::mem::replace(told, load) != load);
            // Whichever comes first.
            let _ = timeout(LOOK, self.0.look.notified()).await;
        }
    }

    /// Nothing new where nobody should be sent, for whatever reason.
    fn load(&self) -> Load {
        let Some(held) = self.0.held.get() else { return Load::default() };
        let most = self.0.allocations.load(Relaxed);
        let free = if held.admin.is_ready() { most.saturating_sub(held.used()) / SIDES } else { 0 };
        let count = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        Load { room: count(free), calls: count(held.sources.signalling.calls()), draining: held.admin.is_draining() }
    }

    fn vitals(&self) -> Vitals {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let rules = self.0.rules.load(Relaxed);
        let Some(held) = self.0.held.get() else { return Vitals { version, rules, ..Vitals::default() } };
        let most = self.0.allocations.load(Relaxed);
        let free = (most.saturating_sub(held.used()) * 100).checked_div(most).unwrap_or(0);
        Vitals {
            ready: held.admin.is_ready(),
            draining: held.admin.is_draining(),
            sessions: held.sources.signalling.sessions(),
            calls: held.sources.signalling.calls(),
            room: free.min(held.capacity.free()),
            people: held.people,
            rules,
            version,
        }
    }

    #[cfg(feature = "nats")]
    fn apply(&self, changes: &[Change]) -> bool {
        self.0.held.get().is_some_and(|held| held.signalling.heed(changes))
    }
}

impl Held {
    /// Allocations.
    fn used(&self) -> u64 {
        self.sources.turn.iter().map(|worker| worker.allocations()).sum()
    }
}

/// As whom, and by whom.
#[cfg(feature = "nats")]
#[derive(Clone)]
pub(super) struct Target {
    pub(super) node: String,
    pub(super) settings: bus::Settings,
    /// Of the key that seals.
    pub(super) secrets: bus::Secrets,
}

/// At work. Dropped, it says goodbye.
pub(super) struct Cluster {
    pub(super) neighbours: Neighbours,
    pub(super) hands: Hands,
    pub(super) counters: Arc<cluster::Counters>,
    #[cfg(feature = "nats")]
    pub(super) bus: bus::Running,
    #[cfg(feature = "nats")]
    secrets: bus::Secrets,
    #[cfg(feature = "nats")]
    desk: Desk,
}

/// What the desk is given, once.
#[cfg(feature = "nats")]
struct Desk {
    matching: bus::Matching,
    heard: Mutex<Option<tokio::sync::mpsc::Receiver<bus::Said>>>,
}

impl Cluster {
    /// Waits for the broker's first word, to refuse one that could keep what it hears. One that is not there does not matter. `runtime`: the
    /// desk's, which nobody drives yet.
    #[cfg(feature = "nats")]
    pub(super) fn start(
        Target { node, settings, secrets }: Target,
        of_node: &Settings,
        clock: crate::clock::Clock,
        runtime: &Runtime,
    ) -> Result<Cluster, StartError> {
        let (hands, counters) = (Hands::default(), Arc::default());
        hands.adopt(of_node);
        let (of_vitals, of_changes) = (hands.clone(), hands.clone());
        let duties = bus::Duties {
            vitals: Box::new(move || of_vitals.vitals()),
            apply: Box::new(move |changes| of_changes.apply(changes)),
        };
        let mut known = None;
        let started = bus::start(settings, &node, &counters, runtime.handle(), |bus| {
            let (matching, heard) = bus::Matching::new(&bus, &counters);
            let (neighbours, round) = Neighbours::new(bus, clock, Arc::clone(&counters), duties);
            known = Some((neighbours.clone(), Desk { matching, heard: Mutex::new(Some(heard)) }));
            (round, Box::new(move || neighbours.leave()))
        });
        let (bus, first) = started.map_err(StartError::Threads)?;
        match runtime.block_on(async { timeout(FIRST_WORD, first).await }) {
            Ok(Ok(Err(why @ (bus::NotTaken::Keeps | bus::NotTaken::DoesNotSay)))) => {
                return Err(StartError::Broker(why.advice()));
            }
            Ok(_) => {}
            Err(_) => tracing::warn!("no broker of [cluster] has answered yet; this node begins on its own"),
        }
        let (neighbours, desk) = known.ok_or(StartError::Random)?;
        Ok(Cluster { neighbours, hands, counters: Arc::default(), bus, secrets, desk })
    }

    /// Makes the desk one of several, and says what it is to be told about this node. Once.
    #[cfg(feature = "nats")]
    pub(super) fn join(&self, settings: &mut signalling::Settings) -> Option<watch::Sender<Load>> {
        let heard = self.desk.heard.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        let up = self.neighbours.bus().watch()?;
        let (says, tells) = (self.desk.matching.clone(), self.desk.matching.clone());
        let (sender, load) = watch::channel(self.hands.load());
        settings.desk.joined = Some(desk::Joined {
            me: self.desk.matching.me(),
            pepper: self.secrets.people,
            load: *load.borrow(),
            counters: Arc::clone(&self.counters),
        });
        settings.fellows = Some(Fellows {
            heard,
            say: Box::new(move |to, message| says.say(to, message)),
            up,
            load,
            known_by: Box::new(move |mark| tells.know_people_by(mark)),
        });
        Some(sender)
    }

    /// Tells the other nodes.
    pub(super) fn tell(&self) -> Tell {
        let neighbours = self.neighbours.clone();
        Arc::new(move |change| neighbours.tell(change))
    }
}

/// `GET /v1/cluster`: who is there, for the operator and the dashboard.
pub(super) fn router(cluster: Option<&Cluster>) -> Router {
    let seen =
        cluster.map(|cluster| (cluster.neighbours.clone(), Arc::clone(&cluster.counters), cluster.hands.clone()));
    let answer = move || {
        let told = seen
            .as_ref()
            .map_or_else(alone, |(neighbours, counters, hands)| together(neighbours, counters, &hands.vitals()));
        let response: Response = ([(header::CACHE_CONTROL, "no-store")], Json(told)).into_response();
        std::future::ready(response)
    };
    Router::new().route("/v1/cluster", get(answer)).layer(from_fn(own_page))
}

fn alone() -> Value {
    json!({ "bus": "none", "nodes": [] })
}

fn together(neighbours: &Neighbours, counters: &cluster::Counters, own: &Vitals) -> Value {
    let node = |name: &str, vitals: &Vitals, age_ms: u64, here: bool| {
        json!({
            "matches": vitals.matches(own), "same_settings": vitals.is_alike(own),
            "node": name, "here": here, "ready": vitals.ready, "draining": vitals.draining, "sessions": vitals.sessions,
            "calls": vitals.calls, "room": vitals.room, "version": vitals.version, "age_ms": age_ms,
        })
    };
    let name = neighbours.bus().node().unwrap_or_default();
    let mut nodes = vec![node(name, own, 0, true)];
    nodes.extend(neighbours.seen().iter().map(|(name, member, age)| node(name, &member.vitals, *age, false)));
    nodes.sort_by_key(|node| node["node"].as_str().unwrap_or_default().to_owned());
    let matching = json!({
        "nodes": counters.alive().max(1), "alone": counters.is_degraded(), "tickets": counters.owned(),
    });
    json!({ "bus": neighbours.counters().standing().name(), "node": name, "matching": matching, "nodes": nodes })
}
