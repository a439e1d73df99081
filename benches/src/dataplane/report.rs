//! Medians, spreads, and when to distrust them.

use super::subject::Subject;
use crate::load::cpu;
use crate::load::voice::Stretch;

/// The generator was the limit if more than this share of its packets left late.
const LATE_SHARE: f64 = 0.01;

/// What relaying has used so far.
pub(crate) struct Account {
    nanos: u64,
    system_calls: Option<u64>,
    allocations: u64,
}

impl Account {
    pub(crate) fn of(subject: &Subject, allocations: fn() -> u64) -> Account {
        let (nanos, system_calls) = (cpu::thread_nanos(subject.thread), subject.system_calls());
        Account { nanos, system_calls, allocations: allocations() }
    }

    /// The difference. The allocations of looking at the account itself are a handful and stay in.
    pub(crate) fn since(&self, before: &Account) -> Account {
        Account {
            nanos: self.nanos - before.nanos,
            system_calls: self.system_calls.zip(before.system_calls).map(|(after, before)| after - before),
            allocations: self.allocations - before.allocations,
        }
    }
}

/// What one measurement came to.
pub(crate) struct Sample {
    micros: f64,
    system_calls: Option<f64>,
    allocations: f64,
    loss: f64,
    late: f64,
    latency_p50: f64,
}

impl Sample {
    pub(crate) fn new(mut stretch: Stretch, used: &Account) -> Sample {
        let (sent, received) = (stretch.sent.max(1) as f64, stretch.received.max(1) as f64);
        stretch.latencies.sort_unstable();
        Sample {
            micros: used.nanos as f64 / 1000.0 / received,
            system_calls: used.system_calls.map(|calls| calls as f64 / received),
            allocations: used.allocations as f64 / received,
            loss: 1.0 - stretch.received as f64 / sent,
            late: stretch.late as f64 / sent,
            latency_p50: stretch
                .latencies
                .get(stretch.latencies.len() / 2)
                .map_or(f64::NAN, |n| f64::from(*n) / 1000.0),
        }
    }
}

/// The table, and the ratio of the second subject to the first.
pub(crate) fn print(names: [&str; 2], samples: &[Vec<Sample>; 2]) {
    println!(
        "{:<15} {:>10} {:>15} {:>12} {:>13} {:>8} {:>8} {:>8}",
        "medians", "µs/packet", "low to high", "calls/packet", "allocs/packet", "loss", "p50 µs", "late"
    );
    for (name, samples) in names.iter().zip(samples) {
        let costs = Spread::of(samples.iter().map(|sample| sample.micros));
        let middle = |of: fn(&Sample) -> f64| Spread::of(samples.iter().map(of)).median;
        println!(
            "{:<15} {:>10.2} {:>7.2}-{:<7.2} {:>12.2} {:>13.5} {:>7.3}% {:>8.0} {:>7.2}%",
            name,
            costs.median,
            costs.low,
            costs.high,
            middle(|sample| sample.system_calls.unwrap_or(f64::NAN)),
            middle(|sample| sample.allocations),
            middle(|sample| sample.loss) * 100.0,
            middle(|sample| sample.latency_p50),
            middle(|sample| sample.late) * 100.0,
        );
    }
    let ratio = Spread::of(samples[0].iter().zip(&samples[1]).map(|(bare, relay)| relay.micros / bare.micros));
    println!(
        "CPU per packet, {} / {}: {:.3} (median of rounds; {:.3} to {:.3})",
        names[1], names[0], ratio.median, ratio.low, ratio.high
    );
    if samples.iter().any(|samples| Spread::of(samples.iter().map(|sample| sample.late)).median > LATE_SHARE) {
        println!("careful: the generator fell behind its schedule, so arrivals were not evenly paced");
    }
}

struct Spread {
    low: f64,
    median: f64,
    high: f64,
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Spread {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let at = |i: usize| values.get(i).copied().unwrap_or(f64::NAN);
        Spread { low: at(0), median: at(values.len() / 2), high: at(values.len().saturating_sub(1)) }
    }
}
