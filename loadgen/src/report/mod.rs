//! Everything one run measured, as plain values; the files beside this one write it in one form each.

pub mod benchmarks;
pub mod calls;
pub mod csv;
pub mod exemplars;
#[cfg(test)]
mod format_tests;
pub mod github;
pub mod hdr;
pub mod html;
pub mod json;
pub mod junit;
pub mod knee;
pub mod live;
mod markup;
mod nodes;
pub mod openmetrics;
pub mod progress;
pub mod recorded;
#[cfg(test)]
mod sample;
pub mod screen;
mod scrub;
pub mod table;
pub mod when;

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{
    arrival::{Shape, Spread},
    attack,
    book::Book,
    calibrate::Calibration,
    media::{Counters, Measured, Window},
    runner::{sample::Sampled, storm::Storm},
    scenario::{Depth, Scenario, TurnBy},
    scrape::Metrics,
    slice::{Moment, Share, Slice},
    slo::Objective,
    stats::erlang,
};

/// A finished, or interrupted, run.
pub struct Run {
    pub scenario: Scenario,
    pub schedule_hash: String,
    pub target: Target,
    /// Measured part, cut short where the run was interrupted.
    pub window: Window,
    pub interrupted: bool,
    pub book: Book,
    pub media: Measured,
    pub traffic: Traffic,
    pub generator: Generator,
    pub sampled: Sampled,
    /// The relay's own counters when all callers had gone.
    pub server_metrics: Option<Metrics>,
    /// The share of the schedule this generator took; none for a whole run.
    pub share: Option<Share>,
    /// Of a merged run: what each slice said of its own generator.
    pub slices: Vec<SliceFaults>,
    /// Why it was ended early, of its own accord.
    pub aborted: Option<String>,
    /// Lines the file of calls lacks.
    pub calls_unwritten: u64,
    /// What became of those who were all cut off at once.
    pub storm: Option<Storm>,
    /// What hostile traffic did beside the callers.
    pub attack: Option<attack::Account>,
    /// What this machine can carry, where that is known.
    pub calibration: Option<Calibration>,
    /// When the schedule began on the wall clock.
    pub started: Moment,
    /// What somebody changed of the load while it ran; the schedule's hash then says only how it began.
    pub changes: Vec<Change>,
}

/// The offered rate became another, by hand.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Seconds from the start of the schedule.
    pub t: f64,
    /// Of the rate the schedule has at any moment; 0 while paused.
    pub factor: f64,
}

/// How a slice's generator did, in the words of its own verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SliceFaults {
    pub slice: Slice,
    pub faults: Vec<String>,
}

/// Callers below which the process itself outweighs them.
const ENOUGH_CALLERS: u64 = 100;

/// What one caller costs the generator.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OneCaller {
    /// When most were there, so many.
    pub callers: u64,
    /// Memory each added to the process by then.
    pub bytes: f64,
    /// CPU of the whole process in the window, a second and talking caller; none where nobody talked.
    pub cpu_millis: Option<f64>,
}

/// Calls at the same time below which looking now and then does not see enough of them for Little's law.
const FEWEST_CALLS_AT_ONCE: f64 = 3.0;

/// What the callers of a scenario are, in words.
pub(crate) fn callers(scenario: &Scenario) -> &'static str {
    match scenario.depth {
        _ if scenario.mixed.is_some() => "callers of several depths, each among its own",
        Depth::Light => "light: no DTLS, one connectivity check through the relay, media not encrypted",
        Depth::Full => "full: ICE, DTLS and SRTP by str0m through our own TURN client, Opus-framed RTP",
        Depth::Signalling => "signalling: WebSocket only, descriptions exchanged, no TURN, no media",
        Depth::Turn if scenario.turn_client == TurnBy::WebrtcRs => {
            "TURN only, by the turn crate's client (cross-check): an allocation each, its voice comes back to it"
        }
        Depth::Turn => "TURN only: no signalling, an allocation each, its voice comes back to it",
        Depth::Matching => "matching: WebSocket only, hang up when matched",
    }
}

/// Whom the load went to.
#[derive(Clone, Debug)]
pub struct Target {
    pub url: String,
    pub address: SocketAddr,
    /// A relay of our own in a process of its own.
    pub own: bool,
}

/// Media packets of the whole run.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Traffic {
    pub sent: u64,
    pub received: u64,
    pub unsent: u64,
    pub dropped: u64,
    pub undelivered: u64,
}

/// What tells whether the generator did what it should.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Generator {
    /// Arrivals of the schedule inside the window.
    pub offered_callers: u64,
    /// Arrivals that could not happen.
    pub dropped_arrivals: u64,
    /// Callers that did not end by themselves.
    pub stuck: u64,
    pub open_files: u64,
    pub priority_raised: bool,
}

/// One second of the run, for the time series of the JSON.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Second {
    pub second: u64,
    pub arrived: u64,
    /// In the run at that moment.
    pub callers: u64,
    pub waiting: u64,
    pub calls: u64,
    pub calls_up: u64,
    pub failed: u64,
    pub sent: u64,
    pub received: u64,
    pub server_cpu: Option<Duration>,
    pub server_bytes: u64,
    pub server_allocations: Option<u64>,
    pub generator_cpu: Duration,
}

/// Three digits are what a histogram keeps and a reader wants.
pub(crate) fn number(value: f64) -> String {
    match value {
        value if value < 9.995 => format!("{value:.2}"),
        value if value < 99.95 => format!("{value:.1}"),
        value => format!("{value:.0}"),
    }
}

impl Traffic {
    pub(crate) fn read(counters: &Counters) -> Traffic {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Traffic {
            sent: read(&counters.sent),
            received: read(&counters.received),
            unsent: read(&counters.unsent),
            dropped: read(&counters.dropped),
            undelivered: read(&counters.undelivered),
        }
    }
}

impl Run {
    pub fn length(&self) -> Duration {
        self.window.until.since(self.window.from).max(Duration::from_millis(1))
    }

    /// Calls a second the schedule asked for.
    pub fn offered_cps(&self) -> f64 {
        self.generator.offered_callers as f64 / self.callers_per_call() / self.length().as_secs_f64()
    }

    /// Calls a second that came up.
    pub fn achieved_cps(&self) -> f64 {
        self.book.counts.calls_up as f64 / self.length().as_secs_f64()
    }

    /// L = λ·W: calls at the same time as the records say.
    pub fn calls_by_little(&self) -> f64 {
        self.book.talk.as_secs_f64() / self.callers_per_call() / self.length().as_secs_f64()
    }

    pub(crate) fn callers_per_call(&self) -> f64 {
        f64::from(self.scenario.depth.callers_per_call())
    }

    /// Share of allocations that were refused for want of room, and what Erlang's formula says of that many lines; none
    /// where no limit is named.
    pub fn blocking(&self) -> Option<(f64, f64)> {
        let (counts, lines) = (&self.book.counts, self.scenario.lines);
        let offered = counts.calls_up + counts.failed() + counts.blocked;
        let erlangs = self.offered_cps() * self.scenario.hold.mean().as_secs_f64();
        (lines > 0 && offered > 0).then(|| (counts.blocked as f64 / offered as f64, erlang::blocking(lines, erlangs)))
    }

    /// Whether independent Poisson arrivals were blocked as no system of so many lines would.
    pub fn contradicts_erlang(&self) -> bool {
        let (counts, scenario) = (&self.book.counts, &self.scenario);
        let poisson = scenario.users == 0 && scenario.spread == Spread::Poisson && scenario.shape == Shape::Steady;
        let offered = counts.calls_up + counts.failed() + counts.blocked;
        let whole = scenario.depth == Depth::Turn
            && poisson
            && self.changes.is_empty()
            && !self.interrupted
            && self.aborted.is_none();
        let expected = self.blocking().map(|(_, expected)| expected);
        whole && expected.is_some_and(|expected| erlang::contradicts(expected, counts.blocked, offered))
    }

    /// How far the sampled number of calls is from λ·W, 0 to 1; none with too few calls to tell.
    pub fn little_error(&self) -> Option<f64> {
        let (sampled, computed) = (self.sampled.calls_mean, self.calls_by_little());
        let enough = self.book.counts.calls_up >= 100 && computed >= FEWEST_CALLS_AT_ONCE;
        enough.then(|| (sampled - computed).abs() / sampled.max(computed).max(1e-9))
    }

    /// 99th percentile of the wait for a stranger who has not come yet, with a server of no cost and nobody picky: half
    /// of all callers wait an exponential time of the callers' rate λ, so ln 50 / λ. Milliseconds; none where callers do
    /// not arrive independently at one rate.
    pub fn match_floor_p99(&self) -> Option<f64> {
        let scenario = &self.scenario;
        let strangers = scenario.depth != Depth::Turn
            && scenario.users == 0
            && scenario.mixed.is_none()
            && scenario.spread == Spread::Poisson
            && scenario.shape == Shape::Steady
            && self.changes.is_empty();
        strangers.then(|| 50f64.ln() / (2.0 * scenario.calls_per_second) * 1e3)
    }

    /// Calls a second where the schedule is densest, as far as that is known beforehand.
    pub fn peak_cps(&self) -> f64 {
        let scenario = &self.scenario;
        if scenario.users > 0 || matches!(scenario.shape, Shape::Trace(_)) {
            return self.offered_cps();
        }
        let (peak, mean) = scenario.shape.peak_and_mean(scenario.calls_per_second, scenario.arrivals_length());
        self.offered_cps() * (peak / mean.max(1e-9)).max(1.0)
    }

    /// The most media packets sent in a second.
    pub fn peak_packets(&self) -> f64 {
        let seconds = self.sampled.seconds.windows(2);
        let rates = seconds.map(|pair| {
            let passed = pair[1].second.saturating_sub(pair[0].second).max(1);
            pair[1].sent.saturating_sub(pair[0].sent) as f64 / passed as f64
        });
        rates.fold(0.0, f64::max)
    }

    /// The most callers at the same time.
    pub fn peak_callers(&self) -> f64 {
        self.sampled.seconds.iter().map(|second| second.callers).max().unwrap_or(0) as f64
    }

    /// Share of what this machine can carry, and of what; none where it is not calibrated.
    pub fn load_share(&self) -> Option<(String, f64)> {
        self.calibration.as_ref()?.share(self)
    }

    /// What is left of the generator, 0 to 1: of its busiest thread, and of what was calibrated.
    pub fn headroom(&self) -> f64 {
        let ceiling = self.load_share().map_or(0.0, |(_, share)| share);
        (1.0 - self.sampled.used.busiest.1.max(ceiling)).clamp(0.0, 1.0)
    }

    /// What one caller costs the generator; none with too few of them to tell.
    pub fn one_caller(&self) -> Option<OneCaller> {
        let (growth, callers) = self.sampled.generator_growth;
        let talking = self.sampled.calls_mean * self.callers_per_call();
        let cpu = self.sampled.used.generator_cpu.as_secs_f64() * 1e3 / self.sampled.elapsed.as_secs_f64();
        (callers >= ENOUGH_CALLERS).then(|| OneCaller {
            callers,
            bytes: growth as f64 / callers as f64,
            cpu_millis: (talking >= 1.0).then(|| cpu / talking),
        })
    }

    /// Server CPU per call that came up in the window; none for a slice, which knows its own calls only.
    pub fn cpu_per_call(&self) -> Option<Duration> {
        let whole = self.share.is_none();
        let calls = u32::try_from(self.book.counts.calls_up).ok().filter(|calls| *calls > 0 && whole)?;
        Some(self.sampled.used.server_cpu? / calls)
    }

    /// Resident memory of the server per caller at its peak, beyond what it had before the first. None where callers are
    /// too few to outweigh the process, or not all there are: attackers, and callers of other slices.
    pub fn bytes_per_caller(&self) -> Option<u64> {
        let Sampled { server_bytes_before, server_bytes_peak, callers_at_peak, .. } = self.sampled;
        let alone = self.share.is_none() && self.attack.is_none();
        let before = server_bytes_before?;
        (callers_at_peak >= ENOUGH_CALLERS && alone).then(|| server_bytes_peak.saturating_sub(before) / callers_at_peak)
    }

    /// The same per allocation, where the server's metrics say how many there were.
    pub fn bytes_per_allocation(&self) -> Option<u64> {
        let Sampled { server_bytes_before, server_bytes_peak, allocations_at_peak, .. } = self.sampled;
        let enough = |allocations: &u64| *allocations >= ENOUGH_CALLERS && self.attack.is_none();
        let allocations = allocations_at_peak.filter(enough)?;
        Some(server_bytes_peak.saturating_sub(server_bytes_before?) / allocations)
    }

    /// Calls through a relay, of those that came up; the others went from caller to caller.
    pub fn relayed(&self) -> u64 {
        self.book.counts.calls_up.saturating_sub(self.book.counts.direct)
    }

    /// What an objective speaks of, in its unit; none where there were too few samples.
    pub fn measured(&self, objective: &Objective) -> Option<f64> {
        self.book.measured(objective)
    }
}
