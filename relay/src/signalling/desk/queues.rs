//! Where tickets wait: in this process, or in a cluster of which this node is one. The same verbs, so that the rest of the desk need not know.

use crate::cluster::{self, Cluster};
use crate::matchmaking::{
    Census, Criteria, Hint, Match, Matchmaker, Person, Position, Recent, Refused, Ticket, TicketId,
};
use crate::time::{Millis, Now};

/// By itself, or one of several.
#[expect(clippy::large_enum_variant, reason = "there is one, and a node by itself looks nothing up behind a pointer")]
pub(super) enum Queues {
    Alone(Matchmaker),
    Joined(Box<Cluster>),
}

impl Queues {
    pub(super) fn enqueue(&mut self, now: Now, pool: &str, ticket: Ticket) -> Result<(), Refused> {
        match self {
            Queues::Alone(matchmaker) => matchmaker.enqueue(now.mono, pool, ticket),
            Queues::Joined(cluster) => cluster.enqueue(now, pool, ticket),
        }
    }

    pub(super) fn cancel(&mut self, now: Now, id: TicketId) -> bool {
        match self {
            Queues::Alone(matchmaker) => matchmaker.cancel(id),
            Queues::Joined(cluster) => cluster.cancel(now, id),
        }
    }

    pub(super) fn tune(&mut self, now: Now, id: TicketId, criteria: Criteria) -> Result<(), Refused> {
        match self {
            Queues::Alone(matchmaker) => matchmaker.tune(now.mono, id, criteria),
            Queues::Joined(cluster) => cluster.tune(now, id, criteria),
        }
    }

    pub(super) fn avoid(&mut self, now: Now, id: TicketId, person: Person) -> Result<(), Refused> {
        match self {
            Queues::Alone(matchmaker) => matchmaker.avoid(id, person),
            Queues::Joined(cluster) => cluster.avoid(now, id, person),
        }
    }

    /// Of a ticket in another node's engine: as that said last.
    pub(super) fn position(&mut self, now: Now, id: TicketId) -> Option<Position> {
        match self {
            Queues::Alone(matchmaker) => matchmaker.position(now.mono, id),
            Queues::Joined(cluster) => cluster.position(now, id),
        }
    }

    pub(super) fn hint(&mut self, id: TicketId) -> Option<Hint> {
        match self {
            Queues::Alone(matchmaker) => matchmaker.hint(id),
            Queues::Joined(cluster) => cluster.hint(id),
        }
    }

    pub(super) fn hold(&mut self, now: Now) {
        match self {
            Queues::Alone(matchmaker) => matchmaker.hold(),
            Queues::Joined(cluster) => cluster.hold(now),
        }
    }

    pub(super) fn go_on(&mut self, now: Now) {
        match self {
            Queues::Alone(matchmaker) => matchmaker.go_on(now.mono),
            Queues::Joined(cluster) => cluster.go_on(now),
        }
    }

    pub(super) fn set_recent(&mut self, recent: Recent) {
        match self {
            Queues::Alone(matchmaker) => matchmaker.set_recent(recent),
            Queues::Joined(cluster) => cluster.set_recent(recent),
        }
    }

    /// Of the queues that are looked after here.
    pub(super) fn count(&self, now: Now, census: &mut Census) -> bool {
        match self {
            Queues::Alone(matchmaker) => matchmaker.count(now.mono, census),
            Queues::Joined(cluster) => cluster.count(now, census),
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Now) {
        match self {
            Queues::Alone(matchmaker) => matchmaker.handle_timeout(now.mono),
            Queues::Joined(cluster) => cluster.handle_timeout(now),
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Millis> {
        match self {
            Queues::Alone(matchmaker) => matchmaker.poll_timeout(),
            Queues::Joined(cluster) => cluster.poll_timeout(),
        }
    }

    /// The next pair of a node by itself; what a cluster has to say, pairs among it, [`Queues::poll_news`] says.
    pub(super) fn poll_match(&mut self) -> Option<Match> {
        match self {
            Queues::Alone(matchmaker) => matchmaker.poll_match(),
            Queues::Joined(_) => None,
        }
    }

    /// What the cluster wants done, in this order.
    pub(super) fn poll_news(&mut self) -> Option<cluster::Output> {
        self.cluster()?.poll_output()
    }

    /// The cluster, if this node is one of several.
    pub(super) fn cluster(&mut self) -> Option<&mut Cluster> {
        match self {
            Queues::Alone(_) => None,
            Queues::Joined(cluster) => Some(cluster),
        }
    }

    /// Tickets of this node that wait.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        match self {
            Queues::Alone(matchmaker) => matchmaker.waiting(),
            Queues::Joined(cluster) => cluster.waiting(),
        }
    }
}
