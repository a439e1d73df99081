//! What `/metrics` says of a cluster: the bus, who is on it, and what nodes match together. Numbers only.

use crate::bus::{Neighbours, Standing};
use crate::cluster::{Counters, Denial, Why};
use crate::metrics::{Exposition, Kind};

/// The bus, and who is on it.
pub(super) fn bus(neighbours: &Neighbours, page: &mut Exposition) {
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
        (
            "relay_cluster_nodes_apart",
            "Nodes of the cluster that know people by another key: nobody is matched with theirs.",
            counters.apart(),
        ),
        (
            "relay_cluster_nodes_unlike",
            "Nodes of the cluster whose settings for matching are not this one's.",
            counters.unlike(),
        ),
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

/// What desks do together. "Here" is this node's part of it: two nodes count their halves of one claim.
pub(super) fn matching(counters: &Counters, page: &mut Exposition) {
    for (name, help, value) in [
        (
            "relay_cluster_matching_nodes",
            "Nodes whose people are matched with each other, this one among them.",
            counters.alive().max(1),
        ),
        (
            "relay_cluster_matching_alone",
            "1 while this node matches only its own people although it knows of others.",
            u64::from(counters.is_degraded()),
        ),
        (
            "relay_cluster_tickets_owned",
            "Tickets of all nodes in the queues that this node looks after.",
            counters.owned(),
        ),
    ] {
        page.family(name, Kind::Gauge, help).value(value);
    }
    let claims = page.family(
        "relay_cluster_claims_total",
        Kind::Counter,
        "Steps of pairing people of two nodes, taken here, by outcome.",
    );
    for (outcome, count) in [
        ("proposed", counters.proposed()),
        ("promised", counters.grants()),
        ("committed", counters.commits()),
        ("entered", counters.entered()),
        ("expired", counters.leases_expired()),
    ] {
        claims.labelled(&[("outcome", &outcome)], count);
    }
    for (why, count) in counters.denials() {
        claims.labelled(&[("outcome", &denial(why))], count);
    }
    let ended = page.family(
        "relay_cluster_calls_lost_total",
        Kind::Counter,
        "Calls of two nodes that ended without either side's word, by reason.",
    );
    for (why, count) in counters.ended() {
        ended.labelled(&[("reason", &end(why))], count);
    }
    let events =
        page.family("relay_cluster_matching_events_total", Kind::Counter, "What else nodes say about matching.");
    for (event, count) in [
        ("announced", counters.announced()),
        ("released", counters.releases()),
        ("turned_away", counters.turned()),
        ("said_again", counters.restarts()),
        ("unreadable", counters.unreadable()),
        ("stray", counters.strays()),
        ("node_lost", counters.deaths()),
    ] {
        events.labelled(&[("event", &event)], count);
    }
}

/// Why a home refused.
const fn denial(why: Denial) -> &'static str {
    match why {
        Denial::Unknown => "gone",
        Denial::Stale => "changed",
        Denial::Promised => "promised_elsewhere",
        Denial::Queue => "other_queue",
        Denial::Node => "node_unknown",
    }
}

const fn end(why: Why) -> &'static str {
    match why {
        Why::Partner => "partner",
        Why::Unconfirmed => "unconfirmed",
        Why::Node => "node",
        Why::Deadline => "deadline",
    }
}
