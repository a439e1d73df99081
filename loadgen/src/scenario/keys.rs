//! A scenario as it is written, and its way to one that can be run: every value checked, all problems at once.

use std::{collections::BTreeMap, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, de};
use toml::Table;

use super::{Depth, Mixed, Problems, Scenario, Transport, TurnBy, parse_span};
use crate::{
    arrival::{MAX_RATE, Shape, Spread},
    attack,
    length::Length,
    media::{impair::Profile, voice::Voice},
    population::{MAX_BLOCKS, Mix},
};

/// A closed population larger than this is a mistake.
const MAX_USERS: u32 = 1_000_000;
/// What a transport is called, and whether others are tried when it leads nowhere.
const TRANSPORTS: &[(&str, (Transport, bool))] = &[
    ("udp", (Transport::Udp, false)),
    ("tcp", (Transport::Tcp, false)),
    ("tls", (Transport::Tls, false)),
    ("fallback", (Transport::Udp, true)),
];
/// Who stays away longer may find no session any more.
const LONGEST_AWAY: Duration = Duration::from_secs(5);

#[derive(Deserialize)]
pub(super) struct File {
    seed: u64,
    arrivals: ArrivalKeys,
    hold: HoldKeys,
    peer: PeerKeys,
    media: MediaKeys,
    faults: FaultKeys,
    attack: AttackKeys,
    slo: SloKeys,
}

#[derive(Deserialize)]
struct ArrivalKeys {
    calls_per_second: f64,
    shape: String,
    spread: String,
    users: u32,
    think: String,
    warmup: Span,
    r#for: Span,
    drain: Span,
}

#[derive(Deserialize)]
struct HoldKeys {
    length: String,
}

#[derive(Deserialize)]
struct PeerKeys {
    depth: String,
    transport: String,
    tls_ca: String,
    tls_name: String,
    turn_client: String,
    patience: String,
    abandonment: String,
    lines: u32,
    setup_timeout: Span,
    max_callers: usize,
    depths: BTreeMap<String, f64>,
    mix: MixKeys,
}

#[derive(Deserialize)]
struct MixKeys {
    levels: [f64; 6],
    genders: [f64; 3],
    bands: [f64; 3],
    picky_share: f64,
    wanted: [f64; 3],
    distances: [f64; 4],
    topics: u8,
    topic_skew: f64,
    topics_share: f64,
    require_share: f64,
    block_share: f64,
    blocks_each: u16,
    block_reach: u32,
}

#[derive(Deserialize)]
struct MediaKeys {
    kind: String,
    impair: String,
}

#[derive(Deserialize)]
struct FaultKeys {
    sever_at: Span,
    return_within: Span,
    return_for: String,
}

#[derive(Deserialize)]
struct AttackKeys {
    garbage_per_second: f64,
    challenges_per_second: f64,
    allocations_per_second: f64,
    slow_connections: u32,
}

#[derive(Deserialize)]
struct SloKeys {
    require: Vec<String>,
}

/// Collects problems, each with the key it concerns.
#[derive(Default)]
struct Notes(Vec<String>);

impl Notes {
    fn check(&mut self, good: bool, problem: impl FnOnce() -> String) {
        if !good {
            self.0.push(problem());
        }
    }

    /// The value `text` stands for; a problem noted and `instead` where it stands for none.
    fn read<T: FromStr<Err = String>>(&mut self, key: &str, text: &str, instead: T) -> T {
        text.parse().unwrap_or_else(|problem| {
            self.0.push(format!("{key} = {text:?}: {problem}"));
            instead
        })
    }

    /// One of a few words.
    fn choose<T: Copy>(&mut self, key: &str, text: &str, words: &[(&str, T)]) -> T {
        let found = words.iter().find(|(word, _)| *word == text);
        self.check(found.is_some(), || {
            let known: Vec<String> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
            format!("{key} = {text:?}: expected {}", known.join(" or "))
        });
        found.unwrap_or(&words[0]).1
    }

    fn share(&mut self, key: &str, share: f64) {
        self.check((0.0..=1.0).contains(&share), || format!("{key} = {share}: a share lies between 0 and 1"));
    }

    fn weights(&mut self, key: &str, weights: &[f64]) {
        let good = weights.iter().all(|w| w.is_finite() && *w >= 0.0) && weights.iter().sum::<f64>() > 0.0;
        self.check(good, || format!("{key}: weights must not be negative, and one must be above 0"));
    }
}

impl File {
    pub(super) fn check(self, resolved: Table) -> Result<Scenario, Problems> {
        let mut notes = Notes::default();
        let (arrivals, peer) = (self.arrivals, self.peer);
        let rate = arrivals.calls_per_second;
        notes.check(rate > 0.0 && rate <= MAX_RATE, || {
            format!("arrivals.calls_per_second = {rate}: must be above 0 and at most {MAX_RATE}")
        });
        let users = arrivals.users;
        notes.check(users <= MAX_USERS, || format!("arrivals.users = {users}: at most {MAX_USERS}"));
        notes.check(!arrivals.r#for.0.is_zero(), || "arrivals.for: nothing is measured in no time".to_owned());
        peer.mix.check(&mut notes);
        let mixed = Mixed::new(self.seed, &peer.depths).unwrap_or_else(|problem| {
            notes.0.push(problem);
            None
        });
        let (transport, falls_back) = notes.choose("peer.transport", &peer.transport, TRANSPORTS);
        let severed = self.faults.sever_at.0;
        let fixed = Length::Fixed(Duration::ZERO);
        let scenario = Scenario {
            seed: self.seed,
            calls_per_second: rate,
            shape: notes.read("arrivals.shape", &arrivals.shape, Shape::Steady),
            spread: notes.choose(
                "arrivals.spread",
                &arrivals.spread,
                &[("poisson", Spread::Poisson), ("constant", Spread::Constant)],
            ),
            users,
            think: notes.read("arrivals.think", &arrivals.think, fixed),
            warmup: arrivals.warmup.0,
            measured: arrivals.r#for.0,
            drain: arrivals.drain.0,
            hold: notes.read("hold.length", &self.hold.length, fixed),
            depth: notes.choose("peer.depth", &peer.depth, Depth::WORDS),
            transport,
            falls_back,
            tls_ca: Some(peer.tls_ca).filter(|path| !path.is_empty()).map(Into::into),
            tls_name: Some(peer.tls_name).filter(|name| !name.is_empty()),
            turn_client: notes.choose(
                "peer.turn_client",
                &peer.turn_client,
                &[("ours", TurnBy::Ours), ("webrtc-rs", TurnBy::WebrtcRs)],
            ),
            patience: notes.read("peer.patience", &peer.patience, fixed),
            abandonment_fails: notes.choose(
                "peer.abandonment",
                &peer.abandonment,
                &[("failure", true), ("neutral", false)],
            ),
            lines: peer.lines,
            setup_timeout: peer.setup_timeout.0,
            max_callers: peer.max_callers,
            mix: peer.mix.into(),
            media: self.media.kind != "none",
            voice: match self.media.kind.as_str() {
                "none" => Voice::default(),
                text => notes.read("media.kind", text, Voice::default()),
            },
            network: match self.media.impair.as_str() {
                "none" => None,
                text => Some(notes.read("media.impair", text, Profile::default())),
            },
            mixed,
            sever_at: (!severed.is_zero()).then_some(severed),
            return_within: self.faults.return_within.0,
            resume_sessions: notes.choose(
                "faults.return_for",
                &self.faults.return_for,
                &[("session", true), ("token", false)],
            ),
            attack: self.attack.check(&mut notes),
            objectives: Vec::new(),
            resolved,
        };
        let scenario = scenario.with_objectives(&self.slo.require, &mut notes).consistent(&mut notes);
        if notes.0.is_empty() { Ok(scenario) } else { Err(Problems(notes.0)) }
    }
}

impl Scenario {
    fn with_objectives(mut self, texts: &[String], notes: &mut Notes) -> Scenario {
        for text in texts {
            match text.parse() {
                Ok(objective) => self.objectives.push(objective),
                Err(problem) => notes.0.push(format!("slo {text:?}: {problem}")),
            }
        }
        self
    }

    /// Keys that contradict each other; media that a depth has no place for is simply none.
    fn consistent(mut self, notes: &mut Notes) -> Scenario {
        notes.check(self.users == 0 || self.shape == Shape::Steady, || {
            "arrivals.users: a closed population has no arrivals.shape, its starts follow the server".to_owned()
        });
        notes.check(self.network.is_none() || self.transport == Transport::Udp, || {
            "media.impair: datagrams are impaired, and a stream would not lose them; use peer.transport = \"udp\""
                .to_owned()
        });
        notes.check(self.mixed.is_none() || self.depth != Depth::Turn, || {
            "peer.depths: depth turn has no signalling, so nobody else can be among its callers".to_owned()
        });
        notes.check(self.sever_at.is_none_or(|at| at < self.arrivals_length()), || {
            "faults.sever_at: lies behind the last arrival".to_owned()
        });
        let resumes = self.resume_sessions && self.return_within <= LONGEST_AWAY;
        notes.check(self.sever_at.is_none() || !self.resume_sessions || resumes, || {
            format!("faults.return_within: a server keeps sessions for fifteen seconds; at most {LONGEST_AWAY:?} here")
        });
        let without =
            self.sever_at.is_none() || self.resume_sessions || self.depths().iter().all(|(depth, _)| !depth.relays());
        notes.check(without, || {
            "faults.return_for = \"token\": callers with allocations would leave them behind, so peer.depth must be \
             \"signalling\" or \"matching\""
                .to_owned()
        });
        let theirs = self.turn_client == TurnBy::WebrtcRs;
        let fits =
            self.depth == Depth::Turn && self.transport == Transport::Udp && !self.falls_back && self.network.is_none();
        notes.check(!theirs || fits, || {
            "peer.turn_client = \"webrtc-rs\": a cross-check of depth \"turn\" over UDP, without media.impair"
                .to_owned()
        });
        self.media &= self.depths().iter().any(|(depth, _)| depth.relays());
        self
    }
}

impl AttackKeys {
    fn check(&self, notes: &mut Notes) -> attack::Mix {
        let mix = attack::Mix {
            garbage: self.garbage_per_second,
            challenges: self.challenges_per_second,
            allocations: self.allocations_per_second,
            slow: self.slow_connections,
        };
        for (key, rate) in [("garbage", mix.garbage), ("challenges", mix.challenges), ("allocations", mix.allocations)]
        {
            notes.check((0.0..=attack::MAX_RATE).contains(&rate), || {
                format!("attack.{key}_per_second = {rate}: lies between 0 and {}", attack::MAX_RATE)
            });
        }
        notes.check(mix.slow <= attack::MAX_SLOW, || {
            format!("attack.slow_connections = {}: at most {}", mix.slow, attack::MAX_SLOW)
        });
        mix
    }
}

impl MixKeys {
    fn check(&self, notes: &mut Notes) {
        notes.weights("peer.mix.levels", &self.levels);
        notes.weights("peer.mix.genders", &self.genders);
        notes.weights("peer.mix.bands", &self.bands);
        notes.weights("peer.mix.wanted", &self.wanted);
        notes.weights("peer.mix.distances", &self.distances);
        notes.share("peer.mix.picky_share", self.picky_share);
        notes.share("peer.mix.topics_share", self.topics_share);
        notes.share("peer.mix.require_share", self.require_share);
        notes.share("peer.mix.block_share", self.block_share);
        notes.check(self.topics <= 64, || format!("peer.mix.topics = {}: the protocol knows at most 64", self.topics));
        notes.check((0.0..=10.0).contains(&self.topic_skew), || {
            format!("peer.mix.topic_skew = {}: lies between 0 and 10", self.topic_skew)
        });
        notes.check(self.blocks_each <= MAX_BLOCKS, || {
            format!("peer.mix.blocks_each = {}: a token blocks at most {MAX_BLOCKS}", self.blocks_each)
        });
    }
}

impl From<MixKeys> for Mix {
    fn from(keys: MixKeys) -> Mix {
        Mix {
            levels: keys.levels,
            genders: keys.genders,
            bands: keys.bands,
            picky_share: keys.picky_share,
            wanted: keys.wanted,
            distances: keys.distances,
            topics: keys.topics,
            topic_skew: keys.topic_skew,
            topics_share: keys.topics_share,
            require_share: keys.require_share,
            block_share: keys.block_share,
            blocks_each: keys.blocks_each,
            block_reach: keys.block_reach,
        }
    }
}

struct Span(Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_span(&text).map(Span).map_err(de::Error::custom)
    }
}
