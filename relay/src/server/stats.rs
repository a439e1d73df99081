//! All counters of the daemon, as one page of metrics.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use super::cluster_page;
use crate::bus::Neighbours;
use crate::calls::{Ledger, PoolTraffic};
use crate::cluster;
use crate::dataplane::IoCounters;
use crate::metrics::{Durations, Exposition, Kind};
use crate::stream;
use crate::{signalling, turn};

/// Where the numbers are read, at each scrape. Reading takes no lock of the packet path.
pub(super) struct Sources {
    /// By worker number.
    pub(super) turn: Vec<Arc<turn::Counters>>,
    /// By worker number.
    pub(super) io: Vec<Arc<IoCounters>>,
    pub(super) streams: Arc<stream::Counters>,
    pub(super) signalling: Arc<signalling::Counters>,
    /// Whether it is on: if not, nothing is told of it.
    pub(super) talks: AtomicBool,
    pub(super) ledger: Arc<Ledger>,
    /// If there may be TCP allocations.
    pub(super) tcp: Option<Arc<turn::Connections>>,
    /// If there are other nodes to be.
    pub(super) neighbours: Option<Neighbours>,
    /// The same.
    pub(super) matching: Option<Arc<cluster::Counters>>,
}

impl Sources {
    pub(super) fn page(&self) -> Exposition {
        let mut page = Exposition::default();
        page.family("relay_build_info", Kind::Gauge, "Version of this program.")
            .labelled(&[("version", &env!("CARGO_PKG_VERSION"))], 1);
        page.family("relay_log_lines_lost_total", Kind::Counter, "Log lines that could not be written.")
            .value(crate::log::lines_lost());
        self.relayed(&mut page);
        self.drops(&mut page);
        self.replies(&mut page);
        self.allocations(&mut page);
        self.sockets(&mut page);
        if let Some(connections) = &self.tcp {
            tcp(connections, &mut page);
        }
        if let Some(neighbours) = &self.neighbours {
            cluster_page::bus(neighbours, &mut page);
        }
        if let Some(matching) = &self.matching {
            cluster_page::matching(matching, &mut page);
        }
        if self.talks.load(Relaxed) {
            calls(&self.signalling, &mut page);
            desk(&self.signalling, &mut page);
            pools(&self.ledger.pool_traffic(), &mut page);
        }
        page
    }

    fn relayed(&self, page: &mut Exposition) {
        let packets =
            page.family("relay_packets_relayed_total", Kind::Counter, "Datagrams relayed, by how they travelled.");
        for (worker, counters) in self.turn.iter().enumerate() {
            for (path, relayed) in counters.relayed() {
                packets.labelled(&[("worker", &worker), ("path", &path)], relayed.packets);
            }
        }
        let bytes =
            page.family("relay_bytes_relayed_total", Kind::Counter, "Payload bytes relayed, by how they travelled.");
        for (worker, counters) in self.turn.iter().enumerate() {
            for (path, relayed) in counters.relayed() {
                bytes.labelled(&[("worker", &worker), ("path", &path)], relayed.bytes);
            }
        }
    }

    fn drops(&self, page: &mut Exposition) {
        let drops = page.family(
            "relay_drops_total",
            Kind::Counter,
            "Datagrams that went no further, by reason; all workers together.",
        );
        for (reason, count) in sum(self.turn.iter().map(|counters| counters.drops())) {
            drops.labelled(&[("reason", &reason)], count);
        }
        for (reason, count) in sum(self.io.iter().map(|counters| counters.drops())) {
            drops.labelled(&[("reason", &reason)], count);
        }
    }

    fn replies(&self, page: &mut Exposition) {
        let replies = page.family(
            "relay_replies_total",
            Kind::Counter,
            "STUN and TURN answers, by error code or success; all workers together.",
        );
        for (code, count) in sum(self.turn.iter().map(|counters| counters.replies())) {
            replies.labelled(&[("code", &code)], count);
        }
    }

    fn allocations(&self, page: &mut Exposition) {
        let now = page.family("relay_allocations", Kind::Gauge, "Allocations that exist now.");
        for (worker, counters) in self.turn.iter().enumerate() {
            now.labelled(&[("worker", &worker)], counters.allocations());
        }
        let made = page.family("relay_allocations_created_total", Kind::Counter, "Allocations made.");
        for (worker, counters) in self.turn.iter().enumerate() {
            made.labelled(&[("worker", &worker)], counters.allocations_created());
        }
    }

    fn sockets(&self, page: &mut Exposition) {
        let io = page.family("relay_io_total", Kind::Counter, "What the workers' sockets did, by kind.");
        for (worker, counters) in self.io.iter().enumerate() {
            for (kind, count) in counters.totals() {
                if !OPEN.contains(&kind) {
                    io.labelled(&[("worker", &worker), ("kind", &kind)], count);
                }
            }
        }
        let busy =
            page.family("relay_worker_busy_seconds_total", Kind::Counter, "Processor time the workers have used.");
        for (worker, counters) in self.io.iter().enumerate() {
            busy.labelled_seconds(&[("worker", &worker)], counters.busy_micros.get());
        }
        let open = page.family("relay_relayed_sockets", Kind::Gauge, "Relayed sockets open now.");
        for (worker, counters) in self.io.iter().enumerate() {
            open.labelled(&[("worker", &worker)], counters.relayed_sockets.get());
        }
        let streams = page.family("relay_streams", Kind::Gauge, "TURN clients connected over TCP or TLS now.");
        for (worker, counters) in self.io.iter().enumerate() {
            streams.labelled(&[("worker", &worker)], counters.streams.get());
        }
        let fates = page.family(
            "relay_stream_connections_total",
            Kind::Counter,
            "Connections accepted over TCP and TLS, by what became of them.",
        );
        for (fate, count) in self.streams.fates() {
            fates.labelled(&[("fate", &fate)], count);
        }
    }
}

fn tcp(connections: &turn::Connections, page: &mut Exposition) {
    page.family("relay_tcp_peer_connections", Kind::Gauge, "Peer connections of TCP allocations now, in any state.")
        .value(connections.len() as u64);
    let counters = connections.counters();
    let events =
        page.family("relay_tcp_events_total", Kind::Counter, "What became of peer connections of TCP allocations.");
    for (event, count) in counters.events() {
        events.labelled(&[("event", &event)], count);
    }
    let bytes = page.family(
        "relay_tcp_bytes_relayed_total",
        Kind::Counter,
        "Bytes passed on by TCP allocations, by direction.",
    );
    for (path, count) in counters.relayed() {
        bytes.labelled(&[("path", &path)], count);
    }
}

fn calls(counters: &signalling::Counters, page: &mut Exposition) {
    for (name, help, value) in [
        ("relay_calls", "Calls now, in set-up or connected.", counters.calls()),
        ("relay_queue_tickets", "Tickets waiting now.", counters.queued()),
    ] {
        page.family(name, Kind::Gauge, help).value(value);
    }
    for (name, help, value) in [
        ("relay_matches_total", "Pairs made.", counters.matched()),
        ("relay_calls_connected_total", "Calls that both sides reported connected.", counters.connected()),
    ] {
        page.family(name, Kind::Counter, help).value(value);
    }
    let ended = page.family("relay_calls_ended_total", Kind::Counter, "Calls ended, by reason.");
    for (reason, count) in counters.ended() {
        ended.labelled(&[("reason", &reason)], count);
    }
    for (name, help, durations) in [
        ("relay_match_wait_seconds", "From the start of waiting to the match.", &counters.wait),
        ("relay_call_ack_seconds", "From the match to the first ack.", &counters.ack),
        ("relay_call_answer_seconds", "From the match to the relayed answer.", &counters.answer),
        (
            "relay_call_first_packet_seconds",
            "From the match to the first relayed packet of media of either side.",
            &counters.first_packet,
        ),
        ("relay_call_audible_seconds", "From the match to relayed media of both sides.", &counters.audible),
        ("relay_call_setup_seconds", "From the match to both sides connected.", &counters.setup),
        (
            "relay_call_uplink_loss_ratio",
            "Share of a side's media packets that did not reach the relay, of each side of a call that is over.",
            &counters.quality.loss,
        ),
        (
            "relay_call_uplink_jitter_seconds",
            "Interarrival jitter (RFC 3550) of a side's media at the relay, mean of its windows.",
            &counters.quality.jitter,
        ),
        (
            "relay_call_leg_rtt_seconds",
            "From the relay to a side's client and back, by its ICE consent checks, smoothed.",
            &counters.quality.round_trip,
        ),
        (
            "relay_call_mos",
            "MOS-CQE of a side's media as it reached the relay: E-model (ITU-T G.107), profile g711-plc.",
            &counters.quality.mos,
        ),
    ] {
        page.family(name, Kind::Histogram, help).durations(Durations {
            bounds_ms: durations.bounds_ms(),
            counts: durations.buckets(),
            sum_ms: durations.sum_ms(),
            fine: durations.fine(),
        });
    }
}

fn pools(traffic: &[PoolTraffic], page: &mut Exposition) {
    let packets = page.family(
        "relay_pool_packets_relayed_total",
        Kind::Counter,
        "Datagrams that callers of a pool sent through the relay, counted in groups of calls that are over.",
    );
    for pool in traffic {
        packets.labelled(&[("pool", &pool.name)], pool.packets);
    }
    let bytes = page.family(
        "relay_pool_bytes_relayed_total",
        Kind::Counter,
        "Payload bytes that callers of a pool sent through the relay, counted in groups of calls that are over.",
    );
    for pool in traffic {
        bytes.labelled(&[("pool", &pool.name)], pool.bytes);
    }
}

fn desk(counters: &signalling::Counters, page: &mut Exposition) {
    page.family("relay_signalling_sessions", Kind::Gauge, "Open signalling connections.").value(counters.sessions());
    page.family(
        "relay_safety_reports_undelivered",
        Kind::Gauge,
        "Reports of a child's safety that wait: alert on this.",
    )
    .value(counters.safety_undelivered());
    page.family(
        "relay_revocations_awaited",
        Kind::Gauge,
        "1 until the list of [revocations] was fetched; nobody is let in before.",
    )
    .value(counters.awaiting_revocations());
    for (name, help, value) in [
        ("relay_signalling_welcomes_total", "Connections that passed hello.", counters.welcomed()),
        ("relay_texts_relayed_total", "Texts relayed.", counters.texts()),
        ("relay_sessions_resumed_total", "Sessions that came back on another connection.", counters.resumed()),
        ("relay_ice_restarts_total", "ICE generations begun in calls that stood.", counters.restarts()),
        ("relay_reports_delivered_total", "Reports the app's backend took.", counters.reports_delivered()),
        ("relay_reports_failed_total", "Reports it did not take.", counters.reports_failed()),
        (
            "relay_signalling_frames_dropped_total",
            "Frames that gave way on a slow connection.",
            counters.positions_dropped(),
        ),
        (
            "relay_signalling_upgrades_refused_total",
            "Connections refused for origin or haste.",
            counters.refused_upgrades(),
        ),
    ] {
        page.family(name, Kind::Counter, help).value(value);
    }
    let errors = page.family("relay_signalling_errors_total", Kind::Counter, "Error frames sent, by code.");
    for (code, count) in counters.errors() {
        errors.labelled(&[("code", &code)], count);
    }
}

/// The totals that have families of their own.
const OPEN: [&str; 3] = ["relayed_sockets", "streams", "busy_micros"];

/// Adds up the same names of several workers, in the order of the first.
fn sum<I: Iterator<Item = (&'static str, u64)>>(workers: impl Iterator<Item = I>) -> Vec<(&'static str, u64)> {
    let mut sums: Vec<(&'static str, u64)> = Vec::new();
    for worker in workers {
        for (place, (name, count)) in worker.enumerate() {
            match sums.get_mut(place) {
                Some((_, sum)) => *sum += count,
                None => sums.push((name, count)),
            }
        }
    }
    sums
}
