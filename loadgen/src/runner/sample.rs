//! Looks at the run from outside: how many talk, what the processes use, one line a second.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use super::Context;
use crate::{
    book::Timed,
    host::{Snapshot, Usage, Used},
    media::Window,
    report::{Second, live::Live, progress},
    time::Nanos,
};

/// What was seen from outside.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Sampled {
    /// Over the window as far as it was sampled, and how long that was.
    pub used: Used,
    pub elapsed: Duration,
    /// Calls at the same time inside the window, from what was really talking: mean and peak.
    pub calls_mean: f64,
    pub calls_peak: u64,
    pub server_bytes_before: Option<u64>,
    pub server_bytes_peak: u64,
    /// The most callers in the run up to the peak of the server's memory: what they took may outlive them.
    pub callers_at_peak: u64,
    /// The most allocations at the server up to then, where its metrics say.
    pub allocations_at_peak: Option<u64>,
    pub generator_bytes: u64,
    /// What the generator's memory grew by from before the first caller to when most were there, and how many those were.
    pub generator_growth: (u64, u64),
    pub seconds: Vec<Second>,
}

pub(super) struct Sampler<R> {
    server: Option<u32>,
    window: Window,
    report: R,
    start: Nanos,
    before: Snapshot,
    after: Option<Snapshot>,
    began: Option<Nanos>,
    ended: Nanos,
    looks: u64,
    talking: u64,
    peak: u64,
    server_peak_bytes: u64,
    callers_at_peak: u64,
    most_callers: u64,
    most_allocations: Option<u64>,
    generator_before: u64,
    generator_growth: (u64, u64),
    allocations_at_peak: Option<u64>,
    seconds: Vec<Second>,
    live: Option<Arc<Live>>,
    schedule: String,
}

impl<R: FnMut(&str)> Sampler<R> {
    pub(super) fn new(server: Option<u32>, window: Window, report: R) -> Sampler<R> {
        Sampler {
            server,
            window,
            report,
            start: Nanos::ZERO,
            before: Snapshot::take(server),
            after: None,
            began: None,
            ended: Nanos::ZERO,
            looks: 0,
            talking: 0,
            peak: 0,
            server_peak_bytes: 0,
            callers_at_peak: 0,
            most_callers: 0,
            most_allocations: None,
            generator_before: Snapshot::take(None).generator.resident_bytes,
            generator_growth: (0, 0),
            allocations_at_peak: None,
            seconds: Vec::new(),
            live: None,
            schedule: String::new(),
        }
    }

    /// Every second becomes a scene as well, of a run with this schedule.
    pub(super) fn showing(self, live: Option<Arc<Live>>, schedule: String) -> Sampler<R> {
        Sampler { live, schedule, ..self }
    }

    pub(super) fn begin(&mut self, start: Nanos) {
        self.start = start;
        self.seconds.push(Second::default());
    }

    /// One look; every second it becomes a line.
    pub(super) fn look(&mut self, context: &Context, stage: &'static str) {
        let now = context.clock.now();
        let talking = if context.scenario.media && !context.scenario.reads_its_own_media() {
            context.media.counters().talking.load(Ordering::Relaxed)
        } else {
            context.talking.get()
        };
        let per_call = u64::from(context.scenario.depth.callers_per_call());
        if self.window.contains(now) {
            self.looks += 1;
            self.talking += talking;
            self.peak = self.peak.max(talking);
            if self.began.is_none() {
                let memory_before = self.before.server;
                self.before = self.snapshot(context);
                // Memory is compared with the time before the first caller, CPU with the start of the window.
                if let (Some(now), Some(then)) = (&mut self.before.server, memory_before) {
                    now.resident_bytes = then.resident_bytes;
                }
                self.began = Some(now);
            }
        } else if self.began.is_some() && self.after.is_none() {
            self.after = Some(self.snapshot(context));
            self.ended = now;
        }
        let second = now.since(self.start).as_secs();
        if self.seconds.last().is_some_and(|last| second > last.second) {
            self.second(context, second, talking / per_call, stage);
        }
    }

    fn finish_window(&mut self, now: Nanos) {
        self.after = Some(Snapshot::take(self.server));
        self.ended = now;
    }

    /// /proc where the server's process is ours to see, else what its metrics say.
    fn snapshot(&self, context: &Context) -> Snapshot {
        let mut snapshot = Snapshot::take(self.server);
        if snapshot.server.is_none() {
            let scraped = context.scraped.borrow();
            let usage = scraped.as_ref().and_then(|metrics| metrics.cpu.zip(metrics.resident_bytes));
            snapshot.server = usage.map(|(cpu, resident_bytes)| Usage { cpu, resident_bytes });
        }
        snapshot
    }

    fn second(&mut self, context: &Context, second: u64, calls: u64, stage: &'static str) {
        let per_call = u64::from(context.scenario.depth.callers_per_call());
        let snapshot = self.snapshot(context);
        let server_allocations = context.scraped.borrow().as_ref().and_then(|metrics| metrics.allocations);
        let (counters, book) = (context.media.counters(), context.book.borrow());
        let server_bytes = snapshot.server.map_or(0, |usage| usage.resident_bytes);
        self.most_callers = self.most_callers.max(context.present.get());
        self.most_allocations = self.most_allocations.max(server_allocations);
        if server_bytes > self.server_peak_bytes {
            self.server_peak_bytes = server_bytes;
            self.callers_at_peak = self.most_callers;
            self.allocations_at_peak = self.most_allocations;
        }
        let (present, generator_bytes) = (context.present.get(), snapshot.generator.resident_bytes);
        if present >= self.generator_growth.1 {
            self.generator_growth = (generator_bytes.saturating_sub(self.generator_before), present);
        }
        let now = Second {
            second,
            arrived: context.arrived.get(),
            callers: context.present.get(),
            waiting: context.waiting.get(),
            calls,
            calls_up: context.came_up.get() / per_call,
            failed: book.counts.failed() + book.counts.outside_failed,
            sent: counters.sent.load(Ordering::Relaxed),
            received: counters.received.load(Ordering::Relaxed),
            server_cpu: snapshot.server.map(|usage| usage.cpu),
            server_bytes,
            server_allocations,
            generator_cpu: snapshot.generator.cpu,
        };
        let setup = book.phase(Timed::Setup).corrected.percentile_millis(50.0);
        if let Some(before) = self.seconds.last() {
            (self.report)(&progress::line(&now, before, setup, stage));
            let scenario = &context.scenario;
            let show = |live: &Arc<Live>| {
                live.change(|scene| {
                    scene.title = progress::title(scenario, &self.schedule);
                    (scene.now, scene.before, scene.stage) = (now, *before, stage);
                    (scene.warmup, scene.length) =
                        (scenario.warmup.as_secs_f64(), scenario.arrivals_length().as_secs_f64());
                    scene.callers_per_call = per_call as f64;
                    scene.read(&book);
                });
            };
            self.live.iter().for_each(show);
        }
        self.seconds.push(now);
    }

    /// What was seen; `window` as it really was.
    pub(super) fn finish(mut self, window: Window, per_call: u32) -> Sampled {
        if self.after.is_none() {
            self.finish_window(window.until);
        }
        let after = self.after.unwrap_or_default();
        let elapsed = self.ended.since(self.began.unwrap_or(window.from)).max(Duration::from_millis(1));
        Sampled {
            used: self.before.until(&after, elapsed),
            elapsed,
            calls_mean: self.talking as f64 / f64::from(per_call) / self.looks.max(1) as f64,
            calls_peak: self.peak / u64::from(per_call),
            server_bytes_before: self.before.server.map(|usage| usage.resident_bytes),
            server_bytes_peak: self.server_peak_bytes,
            callers_at_peak: self.callers_at_peak,
            allocations_at_peak: self.allocations_at_peak,
            generator_bytes: after.generator.resident_bytes,
            generator_growth: self.generator_growth,
            seconds: self.seconds,
        }
    }
}
