//! `loadgen merge`: the results of all slices of one run become the result one generator would have had. Histograms are
//! added, not percentiles; calls whose sides lie in two slices are joined and counted as they would have been.

use std::{collections::BTreeMap, net::SocketAddr};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    book::{Book, Parts, Timed},
    host::Used,
    media::{Measured, Window},
    report::{Generator, Run, Second, SliceFaults, Target, Traffic, json},
    runner::sample::Sampled,
    scenario::Scenario,
    scrape::Metrics,
    slice::{Moment, Share},
    stats::latency::{Distribution, Phase},
};

/// What a slice's JSON carries for the merge beside what any result carries.
#[derive(Serialize, Deserialize)]
struct Carried {
    number: u32,
    of: u32,
    start_at_ms: u64,
    /// Calls of this slice with callers of others.
    halves: usize,
    part: Part,
}

#[derive(Serialize, Deserialize)]
struct Part {
    window: Window,
    book: Parts,
    traffic: Traffic,
    generator: Generator,
    sampled: Sampled,
    server: Option<Metrics>,
    target: SocketAddr,
}

/// One slice's result as it was read.
pub struct Read {
    name: String,
    share: Share,
    version: String,
    hash: String,
    scenario: Value,
    interrupted: bool,
    url: String,
    faults: Vec<String>,
    phases: Vec<Phase>,
    media: Measured,
    part: Part,
}

/// The `slice` of a result: null unless it is one.
pub fn carried(run: &Run) -> Value {
    let Some(Share { slice, start_at }) = run.share else { return Value::Null };
    let carried = Carried {
        number: slice.number,
        of: slice.of,
        start_at_ms: start_at.0,
        halves: run.book.halves(),
        part: Part {
            window: run.window,
            book: run.book.parts(),
            traffic: run.traffic,
            generator: run.generator,
            sampled: run.sampled.clone(),
            server: run.server_metrics.clone(),
            target: run.target.address,
        },
    };
    serde_json::to_value(carried).unwrap_or_else(|error| unreachable!("plain values: {error}"))
}

/// Reads the JSON of a slice; `name` is how problems call it.
pub fn read(name: &str, text: &str) -> Result<Read, String> {
    let value: Value = serde_json::from_str(text).map_err(|error| format!("{name}: not JSON: {error}"))?;
    if value["schema"] != json::SCHEMA {
        return Err(format!("{name}: schema {}, expected {:?}", value["schema"], json::SCHEMA));
    }
    if value["slice"].is_null() {
        return Err(format!("{name}: not a slice: only results of `loadgen run --slice` are merged"));
    }
    let carried: Carried =
        serde_json::from_value(value["slice"].clone()).map_err(|error| format!("{name}: slice: {error}"))?;
    let slice = format!("{}/{}", carried.number, carried.of).parse().map_err(|problem| format!("{name}: {problem}"))?;
    let text = |key: &str| value[key].as_str().map(str::to_owned).ok_or_else(|| format!("{name}: no {key}"));
    let histogram = |of: &Value| {
        let decoded = of["hdr"].as_str().and_then(Distribution::decode);
        decoded.ok_or_else(|| format!("{name}: a histogram is missing or damaged"))
    };
    let phases = Timed::ALL.map(|timed| {
        let phase = &value["phases"][timed.key()];
        let (corrected, uncorrected) = (histogram(&phase["corrected"])?, histogram(&phase["uncorrected"])?);
        Ok(Phase { corrected, uncorrected })
    });
    let media = &value["media"];
    let media = Measured {
        lateness: histogram(&media["send_lateness"])?,
        delay: histogram(&media["one_way_delay"])?,
        variation: histogram(&media["delay_variation"])?,
    };
    let faults = value["verdict"]["generator_faults"].as_array().into_iter().flatten();
    Ok(Read {
        share: Share { slice, start_at: Moment(carried.start_at_ms) },
        version: text("loadgen")?,
        hash: text("schedule_hash")?,
        scenario: value["scenario"].clone(),
        interrupted: value["interrupted"] == true,
        url: value["target"]["url"].as_str().unwrap_or_default().to_owned(),
        faults: faults.filter_map(|fault| fault.as_str().map(str::to_owned)).collect(),
        phases: phases.into_iter().collect::<Result<_, String>>()?,
        media,
        part: carried.part,
        name: name.to_owned(),
    })
}

/// Joins all slices of one run; every reason why they are not that at once.
pub fn join(mut slices: Vec<Read>) -> Result<Run, Vec<String>> {
    let problems = problems(&slices);
    if !problems.is_empty() {
        return Err(problems);
    }
    slices.sort_by_key(|read| read.share.slice.number);
    let Some(first) = slices.first() else { return Err(vec!["nothing to merge".to_owned()]) };
    let scenario = scenario(&first.scenario).map_err(|problem| vec![problem])?;
    let started = first.share.start_at;
    let (window, schedule_hash) = (first.part.window, first.hash.clone());
    let target = Target { url: first.url.clone(), address: first.part.target, own: false };
    let sampled = merge_sampled(slices.iter().map(|read| &read.part.sampled));
    let server_metrics = slices.iter().find_map(|read| read.part.server.clone());
    let (mut traffic, mut generator, mut media) = (Traffic::default(), Generator::default(), Measured::default());
    for Read { part, media: theirs, .. } in &slices {
        traffic.add(&part.traffic);
        generator.add(&part.generator);
        media.merge(theirs);
    }
    let faults = |read: &Read| SliceFaults { slice: read.share.slice, faults: read.faults.clone() };
    let told = slices.iter().map(faults).collect();
    let book = Book::join(window, scenario.standard(), slices.into_iter().map(|read| (read.part.book, read.phases)));
    Ok(Run {
        scenario,
        schedule_hash,
        target,
        window,
        interrupted: false,
        book,
        media,
        traffic,
        generator,
        sampled,
        server_metrics,
        share: None,
        slices: told,
        aborted: None,
        calls_unwritten: 0,
        storm: None,
        attack: None,
        calibration: None,
        started,
        changes: Vec::new(),
    })
}

fn problems(slices: &[Read]) -> Vec<String> {
    let Some(first) = slices.first() else { return vec!["nothing to merge".to_owned()] };
    let of = first.share.slice.of;
    let mut problems = Vec::new();
    let mut found: BTreeMap<u32, &str> = BTreeMap::new();
    for read in slices {
        let mut differs = |what: &str, ours: &str, theirs: &str| {
            if ours != theirs {
                problems.push(format!("{}: {what} {ours}, but {} has {theirs}", read.name, first.name));
            }
        };
        differs("loadgen", &read.version, &first.version);
        differs("seed", &read.scenario["seed"].to_string(), &first.scenario["seed"].to_string());
        differs("schedule", &read.hash, &first.hash);
        differs("start", &read.share.start_at.to_string(), &first.share.start_at.to_string());
        differs("number of slices", &read.share.slice.of.to_string(), &of.to_string());
        differs("target", &read.url, &first.url);
        if read.scenario != first.scenario {
            problems.push(format!("{}: another scenario than {}", read.name, first.name));
        }
        if read.interrupted {
            problems.push(format!("{}: was interrupted", read.name));
        }
        let number = read.share.slice.number;
        if let Some(other) = found.insert(number, &read.name) {
            problems.push(format!("{}: slice {number}/{of} again, {other} is it already", read.name));
        }
    }
    let missing = (1..=of).filter(|number| !found.contains_key(number));
    problems.extend(missing.map(|number| format!("slice {number}/{of} is missing")));
    problems
}

fn scenario(resolved: &Value) -> Result<Scenario, String> {
    let table: toml::Table = serde_json::from_value(resolved.clone()).map_err(|error| format!("scenario: {error}"))?;
    Scenario::resolve(&table.to_string(), &[]).map_err(|problems| problems.to_string())
}

/// Generators add up where they count and are as bad as their worst where they tell of health. The server is one and is
/// taken from the first slice that could see it.
fn merge_sampled<'a>(all: impl Iterator<Item = &'a Sampled> + Clone) -> Sampled {
    let seconds = merge_seconds(all.clone());
    let server = all.clone().find(|sampled| sampled.used.server_cpu.is_some()).cloned().unwrap_or_default();
    let mut used = Used { server_cpu: server.used.server_cpu, ..Used::default() };
    used.allowance.available = f64::INFINITY;
    let mut merged = Sampled::default();
    for sampled in all {
        let theirs = &sampled.used;
        used.generator_cpu += theirs.generator_cpu;
        used.machine_busy = used.machine_busy.max(theirs.machine_busy);
        used.machine_stolen = used.machine_stolen.max(theirs.machine_stolen);
        used.throttled = used.throttled.max(theirs.throttled);
        used.allowance.available = used.allowance.available.min(theirs.allowance.available);
        used.allowance.foreign = used.allowance.foreign.max(theirs.allowance.foreign);
        for (ours, theirs) in [(&mut used.busiest, &theirs.busiest), (&mut used.waited, &theirs.waited)] {
            if theirs.1 >= ours.1 {
                ours.clone_from(theirs);
            }
        }
        merged.elapsed = merged.elapsed.max(sampled.elapsed);
        merged.calls_mean += sampled.calls_mean;
        merged.callers_at_peak += sampled.callers_at_peak;
        merged.generator_bytes += sampled.generator_bytes;
        merged.generator_growth.0 += sampled.generator_growth.0;
        merged.generator_growth.1 += sampled.generator_growth.1;
    }
    let peak = seconds.iter().map(|second| second.calls).max();
    Sampled {
        used,
        calls_peak: peak.unwrap_or(0),
        server_bytes_before: server.server_bytes_before,
        server_bytes_peak: server.server_bytes_peak,
        allocations_at_peak: server.allocations_at_peak,
        seconds,
        ..merged
    }
}

fn merge_seconds<'a>(all: impl Iterator<Item = &'a Sampled>) -> Vec<Second> {
    let mut merged: BTreeMap<u64, Second> = BTreeMap::new();
    for theirs in all.flat_map(|sampled| &sampled.seconds) {
        let ours = merged.entry(theirs.second).or_default();
        ours.second = theirs.second;
        ours.arrived += theirs.arrived;
        ours.callers += theirs.callers;
        ours.waiting += theirs.waiting;
        ours.calls += theirs.calls;
        ours.calls_up += theirs.calls_up;
        ours.failed += theirs.failed;
        ours.sent += theirs.sent;
        ours.received += theirs.received;
        ours.generator_cpu += theirs.generator_cpu;
        ours.server_cpu = ours.server_cpu.or(theirs.server_cpu);
        ours.server_allocations = ours.server_allocations.or(theirs.server_allocations);
        ours.server_bytes = ours.server_bytes.max(theirs.server_bytes);
    }
    merged.into_values().collect()
}

impl Traffic {
    fn add(&mut self, other: &Traffic) {
        self.sent += other.sent;
        self.received += other.received;
        self.unsent += other.unsent;
        self.dropped += other.dropped;
        self.undelivered += other.undelivered;
    }
}

impl Generator {
    fn add(&mut self, other: &Generator) {
        self.offered_callers += other.offered_callers;
        self.dropped_arrivals += other.dropped_arrivals;
        self.stuck += other.stuck;
        self.open_files = self.open_files.max(other.open_files);
        self.priority_raised |= other.priority_raised;
    }
}
