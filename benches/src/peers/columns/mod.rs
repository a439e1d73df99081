//! The columns of the table, one question each.

mod calls;
mod latency;
mod limit;
mod memory;
mod paced;
mod scale;
mod setup;
mod streams;

use super::bench::Bench;

pub(crate) struct Column {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) measure: Measure,
}

type Measure = fn(&mut Bench) -> Result<(), String>;

const fn column(name: &'static str, about: &'static str, measure: Measure) -> Column {
    Column { name, about, measure }
}

pub(crate) const COLUMNS: &[Column] = &[
    column("paced", "CPU per packet at 20 000 packets/s, evenly paced, callers to callers", paced::hairpin),
    column("limit", "most packets/s with at most 0.1 % lost, and the CPU per packet there", limit::hairpin),
    column("outside", "both again for callers and outside peers, through 400 real relayed ports", limit::outside),
    column("tcp", "both again for callers over TCP, beside the same server's UDP", streams::tcp),
    column("tls", "both again for callers over TLS, beside the same server's UDP", streams::tls),
    column("memory", "process memory per allocation, with a channel, and after all were freed", memory::ordinary),
    column("held", "50 000 call-bound allocations held at once, and the memory after them", memory::held),
    column("setup", "CPU per allocation made, both round trips, at saturation", setup::allocate),
    column("cycles", "1 000 000 allocations made and freed: does memory grow?", setup::cycles),
    column("reuse", "a five-tuple and a port are taken again the moment they are free", setup::reuse),
    column("calls", "system calls per packet at 20 000 packets/s (needs perf)", calls::system_calls),
    column("latency", "p50 and p99 with naps off and on, beside a forwarder that naps alike", latency::naps),
    column("many", "4 000 calls beside 200 at the same 20 000 packets/s", scale::calls),
    column("workers", "two workers beside one: CPU per packet, summed", scale::workers),
];
