//! What one event costs the matching engine while many wait.
//!
//! `cargo bench -p benches --bench matchmaking [-- 1000 100000]` (numbers waiting; 1,000 to 1,000,000 by default). Every event is timed by
//! itself; the price of reading the clock is measured and taken off. p99 on a machine that others use is mostly theirs: beside each event
//! stands the floor, as many reads from memory one after the other as are named, timed in the same way between the events.
#![allow(clippy::print_stdout)]

use std::time::Instant;

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use relay::matchmaking::{
    Band, Countries, Country, Gender, GenderSet, Level, Matchmaker, Person, Policy, Ticket, TicketId, TopicMode,
    TopicSet,
};
use relay::time::Millis;

const EVENTS: usize = 20_000;
/// When the measurement starts: everybody who waits has reached the last stage.
const START: u64 = 2_000_000;

fn main() {
    let arguments: Vec<String> = std::env::args().filter(|argument| !argument.starts_with("--")).collect();
    let number = |place: usize| arguments.get(place).and_then(|argument| argument.parse().ok());
    match (arguments.get(1).map(String::as_str), number(2), number(3)) {
        (Some("events"), Some(size), Some(avoids)) => events(size, avoids),
        (Some("storm"), Some(size), _) => storm(size),
        _ => everything(arguments.iter().filter_map(|argument| argument.parse().ok()).collect()),
    }
}

/// Each measurement in a process of its own, so that one does not use the memory another has left.
fn everything(sizes: Vec<usize>) {
    let sizes = if sizes.is_empty() { vec![1_000, 10_000, 100_000, 1_000_000] } else { sizes };
    println!(
        "{:>9} {:>6}  {:<16} {:>8} {:>8} {:>8} {:>8} {:>9}",
        "waiting", "avoid", "event", "p50 ns", "p90 ns", "p99 ns", "p99.9", "max µs"
    );
    for &size in &sizes {
        by_itself(&["events", &size.to_string(), "0"]);
        if size <= 100_000 {
            by_itself(&["events", &size.to_string(), "50"]);
        }
    }
    println!("\n{:>9}  {:>10} {:>8} {:>12} {:>12}", "waiting", "storm ms", "slices", "p50 slice µs", "max slice µs");
    for &size in &sizes {
        by_itself(&["storm", &size.to_string()]);
    }
}

/// What this machine needs for reads from memory that wait for one another, as along a list.
struct Floor {
    memory: Vec<u32>,
    at: u32,
}

impl Floor {
    /// As large as a million tickets.
    const BYTES: usize = 160 << 20;
    /// Reads in a sample.
    const READS: [u32; 3] = [1, 4, 8];

    fn new() -> Floor {
        Floor { memory: vec![1; Floor::BYTES / 4], at: 0 }
    }

    fn read(&mut self, times: u32) -> u32 {
        for _ in 0..times {
            let place = (u64::from(self.at) * self.memory.len() as u64) >> 32;
            let here = self.memory[place as usize];
            self.at = self.at.wrapping_mul(1_664_525).wrapping_add(1_013_904_222).wrapping_add(here);
        }
        self.at
    }
}

fn by_itself(arguments: &[&str]) {
    let ran = std::env::current_exe().and_then(|me| std::process::Command::new(me).args(arguments).status());
    assert!(ran.is_ok_and(|status| status.success()), "{arguments:?}");
}

/// Makes tickets. Women want men, men want the third gender, who want women: nobody fits anybody.
struct Crowd {
    rng: StdRng,
    number: u64,
    avoids: usize,
}

impl Crowd {
    fn new(avoids: usize) -> Crowd {
        Crowd { rng: StdRng::seed_from_u64(7), number: 0, avoids }
    }

    fn waiting(&mut self, since: u64) -> Ticket {
        match self.number % 3 {
            0 => self.ticket(Gender::F, Gender::M, since),
            1 => self.ticket(Gender::M, Gender::X, since),
            _ => self.ticket(Gender::X, Gender::F, since),
        }
    }

    /// Levels as in a language school, limits and topics as people choose them.
    fn ticket(&mut self, gender: Gender, wanted: Gender, since: u64) -> Ticket {
        self.number += 1;
        let rng = &mut self.rng;
        let level = Level::ALL[(rng.random_range(0..4) + rng.random_range(0..3)) as usize];
        let topics = (0..rng.random_range(0..4)).map(|_| rng.random_range(0..32_u8)).collect::<TopicSet>();
        let mut avoid: Vec<Person> = (0..self.avoids).map(|_| Person(rng.random())).collect();
        avoid.sort_unstable();
        Ticket {
            id: TicketId(self.number),
            person: Person(rng.random()),
            band: Band::Adult,
            gender,
            wants: GenderSet::NONE.with(wanted),
            level,
            max_distance: if rng.random_bool(0.6) { 5 } else { rng.random_range(0..5) },
            topics,
            topic_mode: if rng.random_bool(0.2) { TopicMode::Require } else { TopicMode::Prefer },
            avoid,
            recent: Vec::new(),
            country: Country::UNKNOWN,
            countries: Countries::ANY,
            meeting: None,
            since: Millis(since),
        }
    }
}

fn policy(size: usize) -> Policy {
    Policy { max_tickets: size + 2 * EVENTS, ..Policy::default() }
}

/// `size` people who fit nobody; and what they take in memory, in bytes each.
fn crowded(crowd: &mut Crowd, size: usize) -> (Matchmaker, f64) {
    let before = resident_bytes();
    let mut engine = Matchmaker::new(policy(size));
    for number in 0..size as u64 {
        // Over the last half hour, as they came.
        let now = START / 10 + number * 1_700_000 / size as u64;
        let ticket = crowd.waiting(now);
        enqueue(&mut engine, now, ticket);
        while engine.poll_timeout().is_some_and(|at| at <= Millis(now)) {
            engine.handle_timeout(Millis(now));
        }
    }
    assert_eq!((engine.waiting(), engine.poll_match()), (size, None));
    let bytes = (resident_bytes() - before) / size as f64;
    (engine, bytes)
}

fn enqueue(engine: &mut Matchmaker, now: u64, ticket: Ticket) {
    engine.enqueue(Millis(now), "general", ticket).unwrap_or_else(|refused| panic!("{refused:?}"));
}

/// A man arrives and finds the best of a third of everybody; a woman arrives and finds nobody; anybody asks where they stand, and leaves.
fn events(size: usize, avoids: usize) {
    let mut crowd = Crowd::new(avoids);
    let (mut engine, bytes) = crowded(&mut crowd, size);
    let clock = Samples::clock();
    let mut floor = Floor::new();
    let mut reads = Floor::READS.map(|_| Samples::default());
    let mut found = Samples::default();
    let (mut kept, mut asked, mut left) = (Samples::default(), Samples::default(), Samples::default());
    for event in 0..EVENTS as u64 {
        let now = START + event;
        engine.handle_timeout(Millis(now));
        let man = crowd.ticket(Gender::M, Gender::F, now);
        let pair = found.time(|| {
            enqueue(&mut engine, now, man);
            engine.poll_match()
        });
        if pair.is_none() {
            found.nanos.pop();
            engine.cancel(TicketId(crowd.number));
        }
        let woman = crowd.ticket(Gender::F, Gender::M, now);
        kept.time(|| enqueue(&mut engine, now, woman));
        let somebody = TicketId(crowd.rng.random_range(1..=size as u64));
        asked.time(|| engine.position(Millis(now), somebody));
        left.time(|| engine.cancel(somebody));
        let instead = crowd.waiting(now);
        enqueue(&mut engine, now, instead);
        while engine.poll_match().is_some() {}
        for (samples, times) in reads.iter_mut().zip(Floor::READS) {
            samples.time(|| floor.read(times));
        }
    }
    for (times, samples) in Floor::READS.into_iter().zip(reads) {
        samples.print(size, avoids, &format!("floor, {times} reads"), clock);
    }
    for (what, samples) in [("find and match", found), ("enqueue", kept), ("position", asked), ("cancel", left)] {
        samples.print(size, avoids, what, clock);
    }
    println!("{size:>9} {avoids:>6}  memory           {bytes:>8.0} B a ticket, of it {} B of avoid list", avoids * 8);
}

/// Everybody changes stage in the same millisecond.
fn storm(size: usize) {
    let mut crowd = Crowd::new(0);
    let mut engine = Matchmaker::new(Policy { patience: 0, ..policy(size) });
    for _ in 0..size {
        let ticket = crowd.waiting(START);
        enqueue(&mut engine, START, ticket);
    }
    let due = Millis(START + 1_500);
    let mut slices = Samples::default();
    while engine.poll_timeout().is_some_and(|at| at <= due) {
        slices.time(|| engine.handle_timeout(due));
    }
    assert_eq!(engine.poll_match(), None);
    let total: u64 = slices.nanos.iter().sum();
    slices.nanos.sort_unstable();
    let (median, longest) = (slices.percentile(50), slices.percentile(100));
    println!(
        "{size:>9}  {:>10.1} {:>8} {:>12} {:>12}",
        total as f64 / 1e6,
        slices.nanos.len(),
        median / 1000,
        longest / 1000
    );
}

#[derive(Default)]
struct Samples {
    nanos: Vec<u64>,
}

impl Samples {
    fn time<T>(&mut self, event: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = std::hint::black_box(event());
        self.nanos.push(start.elapsed().as_nanos() as u64);
        result
    }

    /// What timing costs by itself.
    fn clock() -> u64 {
        let mut nothing = Samples::default();
        (0..10_000).for_each(|_| nothing.time(|| ()));
        nothing.nanos.sort_unstable();
        nothing.percentile(50)
    }

    fn percentile(&self, percent: usize) -> u64 {
        self.permille(10 * percent)
    }

    fn permille(&self, permille: usize) -> u64 {
        let last = self.nanos.len().saturating_sub(1);
        self.nanos.get(last * permille / 1000).copied().unwrap_or(0)
    }

    fn print(mut self, size: usize, avoids: usize, what: &str, clock: u64) {
        self.nanos.sort_unstable();
        let [p50, p90, p99, most, max] =
            [500, 900, 990, 999, 1000].map(|permille| self.permille(permille).saturating_sub(clock));
        let (max, of) = (max as f64 / 1e3, self.nanos.len());
        println!("{size:>9} {avoids:>6}  {what:<16} {p50:>8} {p90:>8} {p99:>8} {most:>8} {max:>9.1}  ({of} events)");
    }
}

/// Memory this process holds, from the kernel. (4 KiB pages.)
fn resident_bytes() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<f64>().ok());
    pages.unwrap_or(f64::NAN) * 4096.0
}
