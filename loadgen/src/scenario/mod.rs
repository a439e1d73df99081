//! What a run does. `configs/scenarios/default.toml` is the list of keys and their defaults; a scenario file and then
//! the flags are laid over it. A key that is not in that list is refused with a suggestion, all problems at once.

pub mod built_in;
mod depths;
mod keys;

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use rand_chacha::{ChaCha12Rng, rand_core::SeedableRng};
use toml::{Table, Value};

use crate::{
    arrival::{Piece, Schedule, Shape, Spread, followed::Recipe, unit},
    attack,
    book::Standard,
    length::Length,
    media::{impair::Profile, voice::Voice},
    population::{Mix, Person},
    slo::Objective,
};
pub use depths::Mixed;
use keys::File;

/// Every key at its default.
pub const DEFAULTS: &str = include_str!("../../../configs/scenarios/default.toml");

/// Apart from the streams people are drawn from.
const THINKING: u64 = 1 << 40;
const RETURNING: u64 = 1 << 42;

/// How far callers go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Queue and be matched, then hang up.
    Matching,
    /// Exchange descriptions as well, and hold the call: WebSockets only.
    Signalling,
    /// TURN, a connectivity check and voice-like packets as well.
    Light,
    /// As a browser: ICE, DTLS, SRTP through TURN.
    Full,
    /// No signalling: an allocation each at a TURN server, its voice sent to itself.
    Turn,
}

impl Depth {
    pub const WORDS: &[(&str, Depth)] = &[
        ("light", Depth::Light),
        ("full", Depth::Full),
        ("signalling", Depth::Signalling),
        ("matching", Depth::Matching),
        ("turn", Depth::Turn),
    ];

    pub fn name(self) -> &'static str {
        Depth::WORDS.iter().find(|(_, depth)| *depth == self).map_or("", |(word, _)| word)
    }

    /// Whether callers use a TURN server.
    pub fn relays(self) -> bool {
        matches!(self, Depth::Light | Depth::Full | Depth::Turn)
    }

    /// Callers who make one call together.
    pub fn callers_per_call(self) -> u32 {
        if self == Depth::Turn { 1 } else { 2 }
    }
}

/// How callers reach the TURN server; relayed addresses are UDP always.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Transport {
    Udp,
    Tcp,
    /// The server's certificate is not checked.
    Tls,
}

/// Whose TURN client callers have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TurnBy {
    Ours,
    /// The `turn` crate's, as a cross-check.
    WebrtcRs,
}

/// A resolved scenario.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    pub seed: u64,
    /// Calls offered per second where the shape names no rate; two callers make a call.
    pub calls_per_second: f64,
    pub shape: Shape,
    pub spread: Spread,
    /// A closed population of this many, who come again when they have finished; 0: callers arrive as the shape says.
    pub users: u32,
    /// How long those are away.
    pub think: Length,
    /// First part of the arrivals, outside percentiles and objectives.
    pub warmup: Duration,
    /// Measured part of the arrivals.
    pub measured: Duration,
    /// How long calls in flight may finish after the last arrival.
    pub drain: Duration,
    pub hold: Length,
    pub depth: Depth,
    pub transport: Transport,
    /// UDP, which is `transport` then, is only the first way that is tried: TCP and TLS follow.
    pub falls_back: bool,
    /// Certificates (PEM) the TURN server's must be or be signed by; none: any will do.
    pub tls_ca: Option<PathBuf>,
    /// The name its certificate must have; none: its address.
    pub tls_name: Option<String>,
    pub turn_client: TurnBy,
    /// A caller without a partner for this long gives up.
    pub patience: Length,
    /// Allocations the TURN server grants at a time, as far as is known; 0: no limit. One that is refused for want of
    /// room is then blocked, not failed.
    pub lines: u32,
    /// Whether giving up counts as a failed attempt.
    pub abandonment_fails: bool,
    /// From matched to media both ways.
    pub setup_timeout: Duration,
    /// Bound on callers at the same time; arrivals beyond it are dropped and counted.
    pub max_callers: usize,
    pub mix: Mix,
    /// Whether voice-like packets flow.
    pub media: bool,
    /// What they are like.
    pub voice: Voice,
    /// The network every caller is behind; none: as it is.
    pub network: Option<Profile>,
    /// Callers of several depths; none: all of [`Scenario::depth`].
    pub mixed: Option<Mixed>,
    /// When every WebSocket is cut, counted from the first arrival, and within what time their callers come back.
    pub sever_at: Option<Duration>,
    pub return_within: Duration,
    /// Whether they come back for the session they had; else as the same person with a new token.
    pub resume_sessions: bool,
    /// Hostile traffic beside the callers.
    pub attack: attack::Mix,
    pub objectives: Vec<Objective>,
    /// The resolved file, for `--print-config` and the report.
    pub resolved: Table,
}

/// Every problem of a scenario, one a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<String>);

impl fmt::Display for Problems {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for Problems {}

impl Default for Scenario {
    /// What `default.toml` says; a test proves that it resolves.
    fn default() -> Scenario {
        Scenario::resolve("", &[]).unwrap_or_else(|problems| unreachable!("the embedded defaults: {problems}"))
    }
}

impl Scenario {
    /// Lays `file` (TOML) and then `flags` (dotted key, TOML value) over the defaults.
    pub fn resolve(file: &str, flags: &[(&str, Value)]) -> Result<Scenario, Problems> {
        let mut resolved: Table = parse(DEFAULTS)?;
        let mut problems = Vec::new();
        overlay(&mut resolved, parse(file)?, "", &mut problems);
        for (key, value) in flags {
            overlay(&mut resolved, nest(key, value.clone()), "", &mut problems);
        }
        if !problems.is_empty() {
            return Err(Problems(problems));
        }
        let written: File = resolved.clone().try_into().map_err(|error: toml::de::Error| problem(error.message()))?;
        written.check(resolved)
    }

    /// What makes a call a success.
    pub fn standard(&self) -> Standard {
        Standard {
            depth: self.depth,
            mixed: self.mixed,
            media: self.media,
            abandonment_fails: self.abandonment_fails,
            lines: self.lines,
        }
    }

    /// How deep caller `number` goes.
    pub fn depth_of(&self, number: u32) -> Depth {
        self.mixed.map_or(self.depth, |mixed| mixed.of(number))
    }

    /// Depths that occur, each with its share of the callers.
    pub fn depths(&self) -> Vec<(Depth, f64)> {
        self.mixed.map_or_else(|| vec![(self.depth, 1.0)], |mixed| mixed.parts().collect())
    }

    /// How long after the cut caller `number` comes back.
    pub fn back_after(&self, number: u32) -> Duration {
        self.back_within(self.return_within, number, 0)
    }

    /// The same when everybody is back within `spread`; of each attempt another.
    pub fn back_within(&self, spread: Duration, number: u32, attempt: u8) -> Duration {
        let mut random = ChaCha12Rng::seed_from_u64(self.seed);
        random.set_stream(RETURNING | u64::from(attempt) << 32 | u64::from(number));
        spread.mul_f64(unit(&mut random))
    }

    /// Who caller `number` is.
    pub fn person(&self, number: u32) -> Person {
        self.mix.person(self.seed, number, self.hold, self.patience)
    }

    /// Whether media is read and counted by the callers themselves, not by the media thread.
    pub fn reads_its_own_media(&self) -> bool {
        self.depth == Depth::Full || self.mixed.is_some() || self.turn_client == TurnBy::WebrtcRs
    }

    /// How long the caller that follows caller `number` of a closed population is away before.
    pub fn think_after(&self, number: u32) -> Duration {
        let mut random = ChaCha12Rng::seed_from_u64(self.seed);
        random.set_stream(THINKING | u64::from(number));
        self.think.draw(&mut random)
    }

    /// From the first arrival to the last.
    pub fn arrivals_length(&self) -> Duration {
        self.warmup + self.measured
    }

    /// Mean of the calls a second over the arrivals; what a trace or a closed population makes of it is known afterwards.
    pub fn mean_rate(&self) -> f64 {
        self.shape.peak_and_mean(self.calls_per_second, self.arrivals_length()).1
    }

    /// Every intended start; reads the trace if there is one.
    pub fn schedule(&self) -> Result<Schedule, String> {
        let length = self.arrivals_length();
        if self.users > 0 {
            let first = self.warmup.max(Duration::from_secs(1)).min(length);
            return Ok(Schedule::closed(self.users, first));
        }
        if let Shape::Trace(path) = &self.shape {
            let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
            return Schedule::replay(&text, length).map_err(|problem| format!("{}: {problem}", path.display()));
        }
        Ok(Schedule::new(self.seed, self.spread, &self.pieces(), length))
    }

    /// The course of the arrivals, in callers a second.
    fn pieces(&self) -> Vec<Piece> {
        let mut pieces = self.shape.pieces(self.calls_per_second);
        for piece in &mut pieces {
            piece.from *= f64::from(self.depth.callers_per_call());
            piece.to *= f64::from(self.depth.callers_per_call());
        }
        pieces
    }

    /// What more of the schedule is made from; none for a closed population and a trace, whose rate is not ours to change.
    pub fn recipe(&self) -> Option<Recipe> {
        let ours = self.users == 0 && !matches!(self.shape, Shape::Trace(_));
        let (seed, spread, length) = (self.seed, self.spread, self.arrivals_length());
        ours.then(|| Recipe { seed, spread, pieces: self.pieces(), length })
    }

    /// Callers expected at the same time, with a margin of four standard deviations and for those who wait.
    pub fn expected_callers(&self) -> usize {
        if self.users > 0 {
            return self.users as usize + 16;
        }
        let waiting = Duration::from_secs(1);
        let (peak, _) = self.shape.peak_and_mean(self.calls_per_second, self.arrivals_length());
        let mean = f64::from(self.depth.callers_per_call()) * peak * (self.hold.mean() + waiting).as_secs_f64();
        (mean + 4.0 * mean.sqrt()) as usize + 16
    }

    /// A trace's path counts from the folder of the file that names it.
    pub fn relative_to(mut self, folder: &Path) -> Scenario {
        if let Shape::Trace(path) = &mut self.shape {
            *path = folder.join(&*path);
        }
        self
    }
}

fn parse(text: &str) -> Result<Table, Problems> {
    text.parse().map_err(|error: toml::de::Error| problem(error.to_string().trim_end()))
}

fn problem(text: &str) -> Problems {
    Problems(vec![text.to_owned()])
}

fn nest(key: &str, value: Value) -> Table {
    let (head, value) = match key.split_once('.') {
        Some((head, rest)) => (head, Value::Table(nest(rest, value))),
        None => (key, value),
    };
    Table::from_iter([(head.to_owned(), value)])
}

/// Lays `over` upon `base`, whose keys are the only ones that exist.
fn overlay(base: &mut Table, over: Table, path: &str, problems: &mut Vec<String>) {
    for (key, value) in over {
        let Some(place) = base.get_mut(&key) else {
            problems.push(unknown(&format!("{path}{key}"), &key, base));
            continue;
        };
        match (place, value) {
            (Value::Table(inner), Value::Table(value)) => overlay(inner, value, &format!("{path}{key}."), problems),
            (Value::Table(_), _) => problems.push(format!("{path}{key} is a table: write [{path}{key}]")),
            (Value::Float(place), Value::Integer(value)) => *place = value as f64,
            (place, value) => *place = value,
        }
    }
}

fn unknown(path: &str, key: &str, base: &Table) -> String {
    let near = base.keys().map(|known| (strsim::damerau_levenshtein(key, known), known)).min();
    match near {
        Some((distance, known)) if distance <= 3 => format!("unknown key {path}: did you mean {known}?"),
        _ => format!("unknown key {path}: known here are {}", base.keys().cloned().collect::<Vec<_>>().join(", ")),
    }
}

/// A length of time as written: `250ms`, `20s`, `1.5m`, `2h`.
pub fn parse_span(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale = match unit {
        "us" | "µs" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(format!("{text:?} needs a unit: us, ms, s, m or h, as in 20s")),
    };
    let number: f64 = number.parse().map_err(|_| format!("{text:?} is not a length of time such as 20s"))?;
    Duration::try_from_secs_f64(number * scale).map_err(|_| format!("{text:?} is too long"))
}

#[cfg(test)]
mod tests;
