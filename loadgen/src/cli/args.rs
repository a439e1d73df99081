//! What `run` and `simulate` take, and the scenario that makes.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use clap::Args;
use toml::Value;

use super::{Stop, manner, outputs::OutputArgs, usage};
use crate::{
    peer::turn_url,
    report::screen,
    scenario::{Scenario, Transport, built_in},
};

#[derive(Args, Clone)]
pub(super) struct RunArgs {
    /// A scenario by name (see `loadgen scenarios`) or a file (TOML); what it does not name stays at its default
    pub(super) scenario: Option<PathBuf>,
    /// Signalling of the relay to test; without it a relay of our own is started in its own process. Once for each node of a
    /// cluster: callers go to them in turn, and who loses one comes back to another
    #[arg(long, value_name = "ws[s]://HOST:PORT/v1/ws")]
    pub(super) target: Vec<String>,
    /// With --target: TURN server to use instead of the one signalling names. Alone: measure this TURN server, whoever
    /// made it, without signalling (depth turn); needs --user and --password, or --turn-secret
    #[arg(long, value_name = "turn:HOST:PORT[?transport=tcp]|turns:HOST:PORT")]
    pub(super) turn: Option<String>,
    /// User name at that TURN server
    #[arg(long, value_name = "NAME", requires = "turn")]
    pub(super) user: Option<String>,
    /// Password at that TURN server; or in LOADGEN_TURN_PASSWORD
    #[arg(long, value_name = "PASSWORD", requires = "user")]
    pub(super) password: Option<String>,
    /// Shared secret of that TURN server's time-limited credentials; or in LOADGEN_TURN_SECRET
    #[arg(long, value_name = "SECRET", requires = "turn")]
    pub(super) turn_secret: Option<String>,
    /// Calls offered per second [key: arrivals.calls_per_second]
    #[arg(long = "calls/s", alias = "calls-per-second", value_name = "N")]
    pub(super) calls: Option<f64>,
    /// steady, ramp:10..200/60s, steps:50,100,200x30s, spike:10..200@30s+5s or trace:FILE [key: arrivals.shape];
    /// poisson or constant [key: arrivals.spread]
    #[arg(long, value_name = "SHAPE")]
    pub(super) arrivals: Option<String>,
    /// poisson or constant [key: arrivals.spread]
    #[arg(long, value_name = "SPREAD")]
    pub(super) spread: Option<String>,
    /// A closed population of N who come again; its latencies hide stalls of the server [key: arrivals.users]
    #[arg(long, value_name = "N")]
    pub(super) users: Option<u32>,
    /// How long those are away [key: arrivals.think]
    #[arg(long, value_name = "LENGTH")]
    pub(super) think: Option<String>,
    /// light, full, signalling, matching or turn [key: peer.depth]
    #[arg(long, value_name = "DEPTH")]
    pub(super) depth: Option<String>,
    /// To the TURN server: udp, tcp, tls (see --tls-ca), or fallback: UDP, after two seconds TCP, then TLS [key: peer.transport]
    #[arg(long, value_name = "NAME")]
    pub(super) transport: Option<String>,
    /// Certificates (PEM) the server's must be or be signed by, over TURN and wss://; without, any will do [key: peer.tls_ca]
    #[arg(long, value_name = "FILE")]
    pub(super) tls_ca: Option<String>,
    /// Name its certificate must have; without, that of the URL [key: peer.tls_name]
    #[arg(long, value_name = "NAME")]
    pub(super) tls_name: Option<String>,
    /// With --turn: ours, or webrtc-rs as a cross-check [key: peer.turn_client]
    #[arg(long, value_name = "CLIENT")]
    pub(super) turn_client: Option<String>,
    /// How long a caller waits for a partner: fixed:15s, exp:…, lognormal:… [key: peer.patience]
    #[arg(long, value_name = "LENGTH")]
    pub(super) patience: Option<String>,
    /// Any other key, as in --set peer.mix.topics=12; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub(super) set: Vec<String>,
    /// How long a call is held: exp:3s, fixed:10s or lognormal:30s,1.2 [key: hold.length]
    #[arg(long, value_name = "HOLD")]
    pub(super) hold: Option<String>,
    /// Measured time [key: arrivals.for]
    #[arg(long = "for", value_name = "TIME")]
    pub(super) measured: Option<String>,
    /// Time before it that does not count [key: arrivals.warmup]
    #[arg(long, value_name = "TIME")]
    pub(super) warmup: Option<String>,
    /// Time after it for calls in flight [key: arrivals.drain]
    #[arg(long, value_name = "TIME")]
    pub(super) drain: Option<String>,
    /// Same seed: same schedule, same people [key: seed]
    #[arg(long)]
    pub(super) seed: Option<u64>,
    /// g711, opus or none; with pauses: "opus,vad" [key: media.kind]
    #[arg(long, value_name = "KIND")]
    pub(super) media: Option<String>,
    /// The network callers are behind: wifi, lte, 3g-poor … or its parts; see --print-config [key: media.impair]
    #[arg(long, value_name = "NETWORK")]
    pub(super) impair: Option<String>,
    /// An objective, may be repeated; replaces those of the scenario [key: slo.require]
    #[arg(long, value_name = "EXPR")]
    pub(super) slo: Vec<String>,
    /// Write everything measured as JSON; - for standard output
    #[arg(long, value_name = "FILE")]
    pub(super) json: Option<PathBuf>,
    /// Print the resolved scenario and stop
    #[arg(long)]
    pub(super) print_config: bool,
    /// Do not ask the kernel for a better share of the processor, as is done where it is allowed
    #[arg(long)]
    pub(super) ordinary_priority: bool,
    /// No progress lines
    #[arg(long, short)]
    pub(super) quiet: bool,
    /// Lines instead of a screen, as where standard output is no terminal
    #[arg(long)]
    pub(super) plain: bool,
    #[command(flatten)]
    pub(super) manner: manner::MannerArgs,
    #[command(flatten)]
    pub(super) outputs: OutputArgs,
    #[command(flatten)]
    pub(super) token: TokenArgs,
    /// Process of the relay under test, for its CPU and memory
    #[arg(long, value_name = "PID")]
    pub(super) server_pid: Option<u32>,
    /// The relay's admin address, for its own counters; once for each node, whose counters are added
    #[arg(long, value_name = "IP:PORT")]
    pub(super) admin: Vec<SocketAddr>,
}

/// How tokens for the target are made.
#[derive(Args, Clone)]
pub(super) struct TokenArgs {
    /// Key identifier
    #[arg(long, value_name = "KID", default_value = "dev")]
    pub(super) token_kid: String,
    /// HS256 or EdDSA
    #[arg(long, value_name = "ALG", default_value = "HS256")]
    pub(super) token_alg: String,
    /// HS256: the secret as written; EdDSA: the private key, 32 bytes in base64url; or in LOADGEN_TOKEN_SECRET
    #[arg(long, value_name = "SECRET")]
    pub(super) token_secret: Option<String>,
    /// Issuer of the tokens
    #[arg(long, value_name = "ISS", default_value = "https://app.example")]
    pub(super) issuer: String,
    /// Their audience
    #[arg(long, value_name = "AUD", default_value = "voice")]
    pub(super) audience: String,
}

impl RunArgs {
    pub(super) fn scenario(&self) -> Result<Scenario, Stop> {
        let (file, folder) = match &self.scenario {
            Some(path) => match path.to_str().and_then(built_in::find) {
                Some(scenario) => (scenario.file.to_owned(), Path::new("")),
                None => (read_scenario(path)?, path.parent().unwrap_or(Path::new(""))),
            },
            None => (String::new(), Path::new("")),
        };
        let mut overrides = self.overrides(self.manner.objectives()?);
        for text in &self.set {
            overrides.push(setting(text).map_err(usage)?);
        }
        let overrides: Vec<(&str, Value)> =
            overrides.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
        let scenario = Scenario::resolve(&file, &overrides).map_err(|problems| usage(problems.to_string()))?;
        // What a flag names counts from where we are, what the file names from where the file is.
        Ok(if self.arrivals.is_some() { scenario } else { scenario.relative_to(folder) })
    }

    /// Whether the run is shown as it goes on a screen of its own.
    pub(super) fn shows_a_screen(&self) -> bool {
        !self.plain && !self.quiet && screen::is_possible()
    }

    /// The scenario's keys that flags override.
    fn overrides(&self, more: Vec<String>) -> Vec<(String, Value)> {
        let text = |key: &'static str, value: &Option<String>| value.clone().map(|value| (key, Value::from(value)));
        let spread = self.arrivals.as_deref().is_some_and(|arrivals| matches!(arrivals, "poisson" | "constant"));
        let arrivals = if spread { "arrivals.spread" } else { "arrivals.shape" };
        let seed = self.seed.map(|seed| ("seed", Value::from(i64::try_from(seed).unwrap_or(i64::MAX))));
        let calls = self.calls.map(|calls| ("arrivals.calls_per_second", Value::from(calls)));
        // A TURN URL names its transport; what it does not name or cannot be read is told later.
        let named =
            self.turn.as_deref().and_then(|url| turn_url::parse(url).ok()?.1).map(|transport| match transport {
                Transport::Udp => "udp",
                Transport::Tcp => "tcp",
                Transport::Tls => "tls",
            });
        let alone = (self.turn.is_some() && self.target.is_empty() && self.depth.is_none())
            .then(|| ("peer.depth", Value::from("turn")));
        let slo = [self.slo.clone(), more].concat();
        let slo = (!slo.is_empty()).then(|| ("slo.require", Value::from(slo)));
        [
            seed,
            calls,
            slo,
            alone,
            text(arrivals, &self.arrivals),
            text("arrivals.spread", &self.spread),
            self.users.map(|users| ("arrivals.users", Value::from(users))),
            text("arrivals.think", &self.think),
            text("peer.depth", &self.depth),
            text("peer.transport", &self.transport),
            text("peer.tls_ca", &self.tls_ca),
            text("peer.tls_name", &self.tls_name),
            text("peer.turn_client", &self.turn_client),
            named.map(|transport| ("peer.transport", Value::from(transport))),
            text("peer.patience", &self.patience),
            text("arrivals.for", &self.measured),
            text("arrivals.warmup", &self.warmup),
            text("arrivals.drain", &self.drain),
            text("hold.length", &self.hold),
            text("media.kind", &self.media),
            text("media.impair", &self.impair),
        ]
        .into_iter()
        .flatten()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
    }
}

fn read_scenario(path: &Path) -> Result<String, Stop> {
    fs::read_to_string(path).map_err(|error| {
        let names: Vec<&str> = built_in::ALL.iter().map(|scenario| scenario.name).collect();
        usage(format!("{}: {error}; built-in scenarios are {}", path.display(), names.join(", ")))
    })
}

/// `KEY=VALUE`, the value as TOML writes it; what is no TOML is a word.
fn setting(text: &str) -> Result<(String, Value), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("--set {text}: expected KEY=VALUE"))?;
    let table: Option<toml::Table> = format!("value = {value}").parse().ok();
    let parsed = table.and_then(|mut table| table.remove("value"));
    Ok((key.trim().to_owned(), parsed.unwrap_or_else(|| Value::from(value.trim()))))
}
