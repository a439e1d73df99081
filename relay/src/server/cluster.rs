//! This relay among others: started before anybody is served, told about by `/metrics` and `GET /v1/cluster`.
//!
//! Without a `[cluster]` there is nobody else, and nothing of this runs.

use std::sync::{Arc, OnceLock};

use axum::http::header;
use axum::middleware::from_fn;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

#[cfg(feature = "nats")]
use super::error::StartError;
use super::stats::Sources;
use crate::admin::Admin;
#[cfg(feature = "nats")]
use crate::bus;
use crate::bus::{Neighbours, Standing, Vitals};
use crate::metrics::{Exposition, Kind};
use crate::server::capacity::Capacity;
#[cfg(feature = "nats")]
use crate::signalling::desk::Change;
use crate::signalling::{Controls, Tell, own_page};

/// What the broker may take to say its first word; without it this node begins on its own.
#[cfg(feature = "nats")]
const FIRST_WORD: std::time::Duration = std::time::Duration::from_secs(3);

/// What the others are told of this node and may have it do; nothing, before it serves.
#[derive(Clone, Default)]
pub(super) struct Hands(Arc<OnceLock<Held>>);

struct Held {
    admin: Admin,
    capacity: Arc<Capacity>,
    sources: Arc<Sources>,
    signalling: Controls,
    allocations: u64,
}

impl Hands {
    /// From now on this node takes part. `allocations`: the most there may be.
    pub(super) fn hold(
        &self,
        admin: &Admin,
        capacity: &Arc<Capacity>,
        sources: &Arc<Sources>,
        signalling: &Controls,
        allocations: u32,
    ) {
        let held = Held {
            admin: admin.clone(),
            capacity: Arc::clone(capacity),
            sources: Arc::clone(sources),
            signalling: signalling.clone(),
            allocations: allocations.into(),
        };
        // It is given once.
        let _ = self.0.set(held);
    }

    fn vitals(&self) -> Vitals {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let Some(held) = self.0.get() else { return Vitals { version, ..Vitals::default() } };
        let used: u64 = held.sources.turn.iter().map(|worker| worker.allocations()).sum();
        let free = (held.allocations.saturating_sub(used) * 100).checked_div(held.allocations).unwrap_or(0);
        Vitals {
            ready: held.admin.is_ready(),
            draining: held.admin.is_draining(),
            sessions: held.sources.signalling.sessions(),
            calls: held.sources.signalling.calls(),
            room: free.min(held.capacity.free()),
            version,
        }
    }

    #[cfg(feature = "nats")]
    fn apply(&self, changes: &[Change]) -> bool {
        self.0.get().is_some_and(|held| held.signalling.heed(changes))
    }
}

/// As whom, and by whom.
#[cfg(feature = "nats")]
#[derive(Clone)]
pub(super) struct Target {
    pub(super) node: String,
    pub(super) settings: bus::Settings,
}

/// At work. Dropped, it says goodbye.
pub(super) struct Cluster {
    pub(super) neighbours: Neighbours,
    pub(super) hands: Hands,
    #[cfg(feature = "nats")]
    pub(super) bus: bus::Running,
}

impl Cluster {
    /// Waits for the broker's first word, to refuse one that could keep what it hears. One that is not there does not matter.
    #[cfg(feature = "nats")]
    pub(super) fn start(Target { node, settings }: Target, clock: crate::clock::Clock) -> Result<Cluster, StartError> {
        let (hands, counters) = (Hands::default(), Arc::default());
        let (of_vitals, of_changes) = (hands.clone(), hands.clone());
        let duties = bus::Duties {
            vitals: Box::new(move || of_vitals.vitals()),
            apply: Box::new(move |changes| of_changes.apply(changes)),
        };
        let mut known = None;
        let started = bus::start(settings, &node, &counters, |bus| {
            let (neighbours, round) = Neighbours::new(bus, clock, Arc::clone(&counters), duties);
            known = Some(neighbours.clone());
            (round, Box::new(move || neighbours.leave()))
        });
        let (bus, first) = started.map_err(StartError::Threads)?;
        match first.recv_timeout(FIRST_WORD) {
            Ok(Err(why @ (bus::NotTaken::Keeps | bus::NotTaken::DoesNotSay))) => {
                return Err(StartError::Broker(why.advice()));
            }
            Ok(_) => {}
            Err(_) => tracing::warn!("no broker of [cluster] has answered yet; this node begins on its own"),
        }
        let neighbours = known.ok_or(StartError::Random)?;
        Ok(Cluster { neighbours, hands, bus })
    }

    /// Tells the other nodes.
    pub(super) fn tell(&self) -> Tell {
        let neighbours = self.neighbours.clone();
        Arc::new(move |change| neighbours.tell(change))
    }
}

/// `GET /v1/cluster`: who is there, for the operator and the dashboard.
pub(super) fn router(cluster: Option<&Cluster>) -> Router {
    let seen = cluster.map(|cluster| (cluster.neighbours.clone(), cluster.hands.clone()));
    let answer = move || {
        let told = seen.as_ref().map_or_else(alone, |(neighbours, hands)| together(neighbours, &hands.vitals()));
        let response: Response = ([(header::CACHE_CONTROL, "no-store")], Json(told)).into_response();
        std::future::ready(response)
    };
    Router::new().route("/v1/cluster", get(answer)).layer(from_fn(own_page))
}

fn alone() -> Value {
    json!({ "bus": "none", "nodes": [] })
}

fn together(neighbours: &Neighbours, own: &Vitals) -> Value {
    let node = |name: &str, vitals: &Vitals, age_ms: u64, here: bool| {
        json!({
            "node": name, "here": here, "ready": vitals.ready, "draining": vitals.draining, "sessions": vitals.sessions,
            "calls": vitals.calls, "room": vitals.room, "version": vitals.version, "age_ms": age_ms,
        })
    };
    let name = neighbours.bus().node().unwrap_or_default();
    let mut nodes = vec![node(name, own, 0, true)];
    nodes.extend(neighbours.seen().iter().map(|(name, member, age)| node(name, &member.vitals, *age, false)));
    nodes.sort_by_key(|node| node["node"].as_str().unwrap_or_default().to_owned());
    json!({ "bus": neighbours.counters().standing().name(), "node": name, "nodes": nodes })
}

pub(super) fn page(neighbours: &Neighbours, page: &mut Exposition) {
    let counters = neighbours.counters();
    let standing = counters.standing();
    for (name, help, value) in [
        (
            "relay_cluster_bus_connected",
            "1 while the broker of [cluster] is used; without it this node is on its own.",
            u64::from(standing == Standing::Connected),
        ),
        (
            "relay_cluster_bus_refused",
            "1 while the broker of [cluster] is not used because it could keep what it hears (JetStream).",
            u64::from(standing == Standing::Refused),
        ),
        ("relay_cluster_nodes", "Nodes of the cluster that live, this one among them.", counters.nodes().max(1)),
        ("relay_cluster_revocations", "Revocations in force that nodes tell each other.", counters.revocations()),
    ] {
        page.family(name, Kind::Gauge, help).value(value);
    }
    page.family("relay_cluster_connects_total", Kind::Counter, "Connections to a broker of [cluster].")
        .value(counters.connects());
    let messages = page.family("relay_cluster_messages_total", Kind::Counter, "Messages between nodes, by direction.");
    for (direction, count) in [("out", counters.sent()), ("in", counters.received())] {
        messages.labelled(&[("direction", &direction)], count);
    }
    let lost = page.family(
        "relay_cluster_messages_lost_total",
        Kind::Counter,
        "Messages between nodes that went no further, by reason.",
    );
    for (reason, count) in counters.lost() {
        lost.labelled(&[("reason", &reason)], count);
    }
}
