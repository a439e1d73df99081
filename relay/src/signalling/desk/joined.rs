//! This desk among others: what the bus brings, and what the cluster wants done.

use std::fmt;
use std::sync::Arc;

use super::queues::Queues;
use super::{Desk, Output, Settings};
use crate::cluster::{self, Cluster, Counters, Envelope, Load, Peer, To};
use crate::matchmaking::{Matchmaker, Pepper};
use crate::time::Now;

/// What a desk needs to know to be one of several.
#[derive(Clone)]
pub struct Joined {
    pub me: Peer,
    /// Turns pseudonyms into persons; every node of the cluster has the same.
    pub pepper: [u8; 32],
    pub load: Load,
    pub counters: Arc<Counters>,
}

impl Queues {
    pub(super) fn new(settings: &Settings) -> Queues {
        let Some(Joined { me, load, counters, .. }) = &settings.joined else {
            return Queues::Alone(Matchmaker::new(settings.matching.clone()));
        };
        let alone = cluster::Settings::alone(settings.matching.clone());
        let settings = cluster::Settings { joins: true, load: *load, ..alone };
        // The first timeout is in the past, so the cluster begins as soon as anybody looks at the time.
        Queues::Joined(Box::new(Cluster::new(settings, Now::default(), *me, Arc::clone(counters))))
    }
}

impl Settings {
    pub(super) fn pepper(&self) -> Option<Pepper> {
        self.joined.as_ref().map(|joined| Pepper::new(joined.pepper))
    }
}

impl Desk {
    /// Something another desk has said, and who says so by the seal.
    pub fn handle_bus(&mut self, now: Now, from: Peer, payload: &[u8]) {
        self.clock = now;
        if let Some(cluster) = self.queues.cluster() {
            cluster.handle_sealed(now, from, payload);
        }
        self.settle(now);
    }

    /// The bus is up, as it is at first, or down: then this node matches its own.
    pub fn handle_bus_state(&mut self, now: Now, up: bool) {
        self.clock = now;
        if let Some(cluster) = self.queues.cluster() {
            cluster.handle_bus(now, up);
        }
        self.settle(now);
    }

    /// What this node still takes; others go by it.
    pub fn set_load(&mut self, now: Now, load: Load) {
        self.clock = now;
        if let Some(cluster) = self.queues.cluster() {
            cluster.set_load(now, load);
        }
        self.settle(now);
    }

    /// Does what the cluster wants.
    pub(super) fn settle_joined(&mut self, now: Now) {
        while let Some(news) = self.queues.poll_news() {
            match news {
                cluster::Output::Send { to, envelope } => self.publish(to, envelope),
                cluster::Output::Paired(pair) => self.matched(now, pair),
                _ => {}
            }
        }
    }

    fn publish(&mut self, to: To, envelope: Envelope) {
        self.outputs.push_back(Output::Bus { to, payload: envelope.encode() });
    }
}

impl fmt::Debug for Joined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Joined[redacted]")
    }
}
