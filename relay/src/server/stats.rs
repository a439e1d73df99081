//! All counters of the daemon, as one page of metrics.

use std::sync::Arc;

use crate::dataplane::IoCounters;
use crate::metrics::{Exposition, Kind};
use crate::turn::Counters;

/// Where the numbers are read, at each scrape. Reading takes no lock of the packet path.
pub(super) struct Sources {
    /// By worker number.
    pub(super) turn: Vec<Arc<Counters>>,
    /// By worker number.
    pub(super) io: Vec<Arc<IoCounters>>,
}

impl Sources {
    pub(super) fn render(&self) -> String {
        let mut page = Exposition::default();
        page.family("relay_build_info", Kind::Gauge, "Version of this program.")
            .labelled(&[("version", &env!("CARGO_PKG_VERSION"))], 1);
        self.relayed(&mut page);
        self.drops(&mut page);
        self.replies(&mut page);
        self.allocations(&mut page);
        self.sockets(&mut page);
        page.finish()
    }

    fn relayed(&self, page: &mut Exposition) {
        let mut packets =
            page.family("relay_packets_relayed_total", Kind::Counter, "Datagrams relayed, by how they travelled.");
        for (worker, counters) in self.turn.iter().enumerate() {
            for (path, relayed) in counters.relayed() {
                packets.labelled(&[("worker", &worker), ("path", &path)], relayed.packets);
            }
        }
        let mut bytes =
            page.family("relay_bytes_relayed_total", Kind::Counter, "Payload bytes relayed, by how they travelled.");
        for (worker, counters) in self.turn.iter().enumerate() {
            for (path, relayed) in counters.relayed() {
                bytes.labelled(&[("worker", &worker), ("path", &path)], relayed.bytes);
            }
        }
    }

    fn drops(&self, page: &mut Exposition) {
        let mut drops = page.family(
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
        let mut replies = page.family(
            "relay_replies_total",
            Kind::Counter,
            "STUN and TURN answers, by error code or success; all workers together.",
        );
        for (code, count) in sum(self.turn.iter().map(|counters| counters.replies())) {
            replies.labelled(&[("code", &code)], count);
        }
    }

    fn allocations(&self, page: &mut Exposition) {
        let mut now = page.family("relay_allocations", Kind::Gauge, "Allocations that exist now.");
        for (worker, counters) in self.turn.iter().enumerate() {
            now.labelled(&[("worker", &worker)], counters.allocations());
        }
        let mut made = page.family("relay_allocations_created_total", Kind::Counter, "Allocations made.");
        for (worker, counters) in self.turn.iter().enumerate() {
            made.labelled(&[("worker", &worker)], counters.allocations_created());
        }
    }

    fn sockets(&self, page: &mut Exposition) {
        let mut io = page.family("relay_io_total", Kind::Counter, "What the workers' sockets did, by kind.");
        for (worker, counters) in self.io.iter().enumerate() {
            for (kind, count) in counters.totals() {
                if kind != OPEN_SOCKETS {
                    io.labelled(&[("worker", &worker), ("kind", &kind)], count);
                }
            }
        }
        let mut open = page.family("relay_relayed_sockets", Kind::Gauge, "Relayed sockets open now.");
        for (worker, counters) in self.io.iter().enumerate() {
            open.labelled(&[("worker", &worker)], counters.relayed_sockets.get());
        }
    }
}

/// The one number among the totals that goes down again.
const OPEN_SOCKETS: &str = "relayed_sockets";

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
