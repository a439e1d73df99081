//! The command line: arguments → scenario and aim → run → table, file and exit code.

mod calibrate;
mod manner;
mod results;
mod victim;

use std::{
    fs,
    io::{self, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};
use rand::RngCore;
use toml::Value;

use crate::{
    null_server,
    own_relay::{self, OwnRelay},
    peer::{turn::Credential, turn_url},
    report::{Run, json, table},
    runner::{self, Address, Aim, check_reachable},
    scenario::{Depth, Scenario, Transport, TurnBy, built_in},
    selftest, sys,
    token::{Key, Minter},
    verdict::{self, Verdict},
};

/// Asked of the kernel for this process, so that whoever else uses the machine disturbs the measurement less.
const NICE: i32 = -10;

const INTERNAL: u8 = 1;
const USAGE: u8 = 2;
const UNREACHABLE: u8 = 6;
const INTERRUPTED: u8 = 130;

const EXAMPLES: &str = "\
Examples:
  loadgen run                                  a relay of its own, 60 calls/s for 20 s, then a table
  loadgen run --calls/s 100 --hold fixed:10s   more and longer calls; flags override the scenario's keys
  loadgen run configs/scenarios/steady-voice.toml --json result.json
  loadgen run --target ws://127.0.0.1:8080/v1/ws --token-kid dev --token-secret SECRET \\
              --issuer https://app.example --audience voice --server-pid $(pidof relay)
  loadgen run --slo 'setup.p99<2s' --slo 'mos.p5>=4.0'
  loadgen run --print-config                   every key with its value, to start a scenario file from

What is measured: every caller has its own WebSocket and its own TURN client. It says hello, queues, allocates, is
matched, exchanges descriptions, binds a channel, checks connectivity through the relay, sends 50 packets a second,
hangs up. Latencies count from the schedule's intended start, so that neither a slow server nor a slow generator can
hide them; \"from-send\" beside them counts from the actual start.

Drain rule: after the last arrival calls in flight go on for arrivals.drain. Then everybody hangs up: calls that were up
succeeded; callers still unmatched or setting up are neither success nor failure, and are shown.

Many generators: --slice and --start-at, see `loadgen merge --help`. Slow calls: `loadgen explain RESULT.json`.

Exit codes: 0 pass · 1 internal · 2 usage · 3 objective missed · 5 INVALID: the generator, not the target · 6 target
unreachable · 7 correctness violated · 8 too few samples to say · 130 interrupted (what was measured is printed)";

#[derive(Parser)]
#[command(name = "loadgen", version, about = "Load generator for peer-to-peer voice: matching, signalling, TURN and media", after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Simulate callers against a relay and print what was measured
    #[command(after_help = EXAMPLES)]
    Run(Box<RunArgs>),
    /// Find out how much load this machine can make
    #[command(after_help = calibrate::EXAMPLES)]
    Calibrate(calibrate::CalibrateArgs),
    /// Join the results of all slices of one run
    #[command(after_help = results::MERGE_EXAMPLES)]
    Merge(results::MergeArgs),
    /// Show where the slowest calls of a run lost their time
    #[command(after_help = results::EXPLAIN_EXAMPLES)]
    Explain(results::ExplainArgs),
    /// Drive the matchmaker alone on a virtual clock: same seed, same decisions
    #[command(after_help = results::SIMULATE_EXAMPLES)]
    Simulate(Box<RunArgs>),
    /// List the built-in scenarios
    #[command(after_help = "Example:\n  loadgen scenarios; loadgen run one-sided")]
    Scenarios,
    /// Compare the formulas loadgen judges by with known values
    #[command(after_help = "Example:\n  loadgen selftest | grep -v ✓     what does not hold")]
    Selftest,
    /// Print the JSON schema of what `run --json` writes
    #[command(after_help = "Example:\n  loadgen schema > loadgen.run.1.schema.json")]
    Schema,
    /// Serve a relay for a run: configuration on standard input (used by `run`)
    #[command(name = own_relay::SUBCOMMAND, hide = true)]
    ServeRelay,
    /// Serve what loadgen is calibrated against (used by `calibrate`)
    #[command(name = null_server::SUBCOMMAND, hide = true)]
    ServeNothing,
}

#[derive(Args)]
struct RunArgs {
    /// A scenario by name (see `loadgen scenarios`) or a file (TOML); what it does not name stays at its default
    scenario: Option<PathBuf>,
    /// Signalling of the relay to test; without it a relay of our own is started in its own process
    #[arg(long, value_name = "ws://HOST:PORT/v1/ws")]
    target: Option<String>,
    /// With --target: TURN server to use instead of the one signalling names. Alone: measure this TURN server, whoever
    /// made it, without signalling (depth turn); needs --user and --password, or --turn-secret
    #[arg(long, value_name = "turn:HOST:PORT[?transport=tcp]|turns:HOST:PORT")]
    turn: Option<String>,
    /// User name at that TURN server
    #[arg(long, value_name = "NAME", requires = "turn")]
    user: Option<String>,
    /// Password at that TURN server; or in LOADGEN_TURN_PASSWORD
    #[arg(long, value_name = "PASSWORD", requires = "user")]
    password: Option<String>,
    /// Shared secret of that TURN server's time-limited credentials; or in LOADGEN_TURN_SECRET
    #[arg(long, value_name = "SECRET", requires = "turn")]
    turn_secret: Option<String>,
    /// Calls offered per second [key: arrivals.calls_per_second]
    #[arg(long = "calls/s", alias = "calls-per-second", value_name = "N")]
    calls: Option<f64>,
    /// steady, ramp:10..200/60s, steps:50,100,200x30s, spike:10..200@30s+5s or trace:FILE [key: arrivals.shape];
    /// poisson or constant [key: arrivals.spread]
    #[arg(long, value_name = "SHAPE")]
    arrivals: Option<String>,
    /// poisson or constant [key: arrivals.spread]
    #[arg(long, value_name = "SPREAD")]
    spread: Option<String>,
    /// A closed population of N who come again; its latencies hide stalls of the server [key: arrivals.users]
    #[arg(long, value_name = "N")]
    users: Option<u32>,
    /// How long those are away [key: arrivals.think]
    #[arg(long, value_name = "LENGTH")]
    think: Option<String>,
    /// light, full (builds with that feature), signalling, matching or turn [key: peer.depth]
    #[arg(long, value_name = "DEPTH")]
    depth: Option<String>,
    /// To the TURN server: udp, tcp, tls (see --tls-ca), or fallback: UDP, after two seconds TCP, then TLS [key: peer.transport]
    #[arg(long, value_name = "NAME")]
    transport: Option<String>,
    /// Certificates (PEM) the TURN server's must be or be signed by; without, any will do [key: peer.tls_ca]
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<String>,
    /// Name its certificate must have [key: peer.tls_name]
    #[arg(long, value_name = "NAME")]
    tls_name: Option<String>,
    /// With --turn: ours, or webrtc-rs as a cross-check [key: peer.turn_client]
    #[arg(long, value_name = "CLIENT")]
    turn_client: Option<String>,
    /// How long a caller waits for a partner: fixed:15s, exp:…, lognormal:… [key: peer.patience]
    #[arg(long, value_name = "LENGTH")]
    patience: Option<String>,
    /// Any other key, as in --set peer.mix.topics=12; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// How long a call is held: exp:3s, fixed:10s or lognormal:30s,1.2 [key: hold.length]
    #[arg(long, value_name = "HOLD")]
    hold: Option<String>,
    /// Measured time [key: arrivals.for]
    #[arg(long = "for", value_name = "TIME")]
    measured: Option<String>,
    /// Time before it that does not count [key: arrivals.warmup]
    #[arg(long, value_name = "TIME")]
    warmup: Option<String>,
    /// Time after it for calls in flight [key: arrivals.drain]
    #[arg(long, value_name = "TIME")]
    drain: Option<String>,
    /// Same seed: same schedule, same people [key: seed]
    #[arg(long)]
    seed: Option<u64>,
    /// g711, opus or none; with pauses: "opus,vad" [key: media.kind]
    #[arg(long, value_name = "KIND")]
    media: Option<String>,
    /// The network callers are behind: wifi, lte, 3g-poor … or its parts; see --print-config [key: media.impair]
    #[arg(long, value_name = "NETWORK")]
    impair: Option<String>,
    /// An objective, may be repeated; replaces those of the scenario [key: slo.require]
    #[arg(long, value_name = "EXPR")]
    slo: Vec<String>,
    /// Write everything measured as JSON; - for standard output
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Print the resolved scenario and stop
    #[arg(long)]
    print_config: bool,
    /// Do not ask the kernel for a better share of the processor, as is done where it is allowed
    #[arg(long)]
    ordinary_priority: bool,
    /// No progress lines
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    manner: manner::MannerArgs,
    #[command(flatten)]
    token: TokenArgs,
    /// Process of the relay under test, for its CPU and memory
    #[arg(long, value_name = "PID")]
    server_pid: Option<u32>,
    /// The relay's admin address, for its own counters
    #[arg(long, value_name = "IP:PORT")]
    admin: Option<SocketAddr>,
}

/// How tokens for the target are made.
#[derive(Args)]
struct TokenArgs {
    /// Key identifier
    #[arg(long, value_name = "KID", default_value = "dev")]
    token_kid: String,
    /// HS256 or EdDSA
    #[arg(long, value_name = "ALG", default_value = "HS256")]
    token_alg: String,
    /// HS256: the secret as written; EdDSA: the private key, 32 bytes in base64url; or in LOADGEN_TOKEN_SECRET
    #[arg(long, value_name = "SECRET")]
    token_secret: Option<String>,
    /// Issuer of the tokens
    #[arg(long, value_name = "ISS", default_value = "https://app.example")]
    issuer: String,
    /// Their audience
    #[arg(long, value_name = "AUD", default_value = "voice")]
    audience: String,
}

/// Why the command ends before there is a verdict.
struct Stop(u8, String);

/// Runs the command line.
pub fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run(args) => run(&args),
        Command::Scenarios => {
            for scenario in built_in::ALL {
                say(&mut io::stdout(), &format!("{:<16} {}", scenario.name, scenario.about()));
            }
            Ok(0)
        }
        Command::Calibrate(args) => calibrate::run(&args),
        Command::Merge(args) => results::merge(&args),
        Command::Explain(args) => results::explain(&args),
        Command::Simulate(args) => results::simulate(&args),
        Command::Selftest => Ok(selftest()),
        Command::Schema => {
            say(&mut io::stdout(), json::PUBLISHED.trim_end());
            Ok(0)
        }
        Command::ServeNothing => null_server::serve().map(|()| 0).map_err(|message| Stop(INTERNAL, message)),
        Command::ServeRelay => own_relay::serve().map(|()| 0).map_err(|message| Stop(INTERNAL, message)),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(Stop(code, message)) => {
            say(&mut io::stderr(), &format!("loadgen: {message}"));
            ExitCode::from(code)
        }
    }
}

fn selftest() -> u8 {
    let vectors = selftest::vectors();
    for vector in &vectors {
        say(&mut io::stdout(), &vector.line());
    }
    let wrong = vectors.iter().filter(|vector| !vector.holds()).count();
    say(&mut io::stdout(), &format!("{} of {} hold", vectors.len() - wrong, vectors.len()));
    if wrong == 0 { 0 } else { INTERNAL }
}

fn run(args: &RunArgs) -> Result<u8, Stop> {
    let scenario = args.scenario()?;
    if args.print_config {
        say(&mut io::stdout(), scenario.resolved.to_string().trim_end());
        return Ok(0);
    }
    let mut manner = args.manner.manner(args.target.is_none() && args.turn.is_none())?;
    check_descriptors(&scenario, args.target.is_none())?;
    // Before any thread and the relay of our own, which inherit it.
    let priority_raised = !args.ordinary_priority && sys::raise_priority(NICE);
    let (own, aim) = args.aim(&scenario)?;
    manner.victim = args.victim(&scenario, own.as_ref(), &aim)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(internal)?;
    let run = runtime.block_on(async {
        if aim.turn_only.is_none() {
            check_reachable(&aim.address).await.map_err(|error| Stop(UNREACHABLE, error.to_string()))?;
        }
        let quiet = args.quiet;
        let report = move |line: &str| {
            if !quiet {
                say(&mut io::stderr(), line)
            }
        };
        runner::run_as(scenario, aim, manner, priority_raised, report).await.map_err(internal)
    });
    drop(own);
    let run = run?;
    let verdict = verdict::judge(&run);
    publish(args.json.as_deref(), &run, &verdict)?;
    Ok(if run.interrupted { INTERRUPTED } else { verdict.word.exit_code() })
}

impl RunArgs {
    fn scenario(&self) -> Result<Scenario, Stop> {
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
        let alone = (self.turn.is_some() && self.target.is_none() && self.depth.is_none())
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

    /// Where the load goes: the target, or a relay of our own that lives as long as the first part.
    fn aim(&self, scenario: &Scenario) -> Result<(Option<OwnRelay>, Aim), Stop> {
        let turn = self.turn.as_deref().map(turn_url::parse).transpose().map_err(usage)?.map(|(server, _)| server);
        let alone = scenario.depth == Depth::Turn;
        let Some(url) = &self.target else {
            return match turn {
                Some(server) => Ok((None, self.foreign(server)?)),
                None => own(scenario),
            };
        };
        if alone {
            return Err(usage("depth turn has no signalling: give --turn instead of --target".to_owned()));
        }
        let address = Address::parse(url).map_err(usage)?;
        let minter = self.token.minter()?;
        let Self { server_pid, admin, .. } = *self;
        Ok((None, Aim { address, minter, turn, turn_only: None, server_pid, admin, own: false }))
    }

    /// A TURN server without signalling, anybody's.
    fn foreign(&self, server: SocketAddr) -> Result<Aim, Stop> {
        let from_environment = |name: &str| std::env::var(name).ok();
        let secret = self.turn_secret.clone().or_else(|| from_environment("LOADGEN_TURN_SECRET"));
        let password = self.password.clone().or_else(|| from_environment("LOADGEN_TURN_PASSWORD"));
        let credential = match (&self.user, password, secret) {
            (Some(user), Some(password), _) => Credential { username: user.clone(), password },
            (user, None, Some(secret)) => {
                let unix = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
                turn_url::time_limited(&secret, user.as_deref(), unix.map_or(0, |since| since.as_secs()))
            }
            _ => return Err(usage("--turn without --target needs --user and --password, or --turn-secret".to_owned())),
        };
        let minter = Minter {
            kid: String::new(),
            issuer: String::new(),
            audience: String::new(),
            key: Key::Hs256(Vec::new()),
            run: [0; 16],
        };
        let (turn_only, address) = (Some((server, credential)), Address::usual(server));
        let Self { server_pid, admin, .. } = *self;
        Ok(Aim { address, minter, turn: None, turn_only, server_pid, admin, own: false })
    }
}

/// The table, and the JSON where it is asked for.
fn publish(path: Option<&Path>, run: &Run, verdict: &Verdict) -> Result<(), Stop> {
    let table = table::render(run, verdict);
    let Some(path) = path else {
        say(&mut io::stdout(), table.trim_end());
        return Ok(());
    };
    let json = format!("{:#}\n", json::render(run, verdict));
    if path == Path::new("-") {
        say(&mut io::stderr(), table.trim_end());
        say(&mut io::stdout(), json.trim_end());
        return Ok(());
    }
    say(&mut io::stdout(), table.trim_end());
    fs::write(path, json).map_err(|error| Stop(INTERNAL, format!("{}: {error}", path.display())))
}

impl TokenArgs {
    fn minter(&self) -> Result<Minter, Stop> {
        let secret = self.token_secret.clone().or_else(|| std::env::var("LOADGEN_TOKEN_SECRET").ok());
        let secret = secret.ok_or_else(|| {
            usage(
                "--target needs --token-secret (or LOADGEN_TOKEN_SECRET), the key of one of its [auth] tokens"
                    .to_owned(),
            )
        })?;
        let key = Key::parse(&self.token_alg, &secret).map_err(usage)?;
        let mut run = [0; 16];
        rand::rng().fill_bytes(&mut run);
        let Self { token_kid: kid, issuer, audience, .. } = self;
        Ok(Minter { kid: kid.clone(), issuer: issuer.clone(), audience: audience.clone(), key, run })
    }
}

/// A relay of our own.
fn own(scenario: &Scenario) -> Result<(Option<OwnRelay>, Aim), Stop> {
    // Without signalling attackers and callers are one user, who needs no quota then.
    let attacked = scenario.attack.is_any() && scenario.depth != Depth::Turn;
    let (relay, minter) = OwnRelay::start(scenario.mix.topics, scenario.lines, attacked).map_err(internal)?;
    let (address, server_pid, admin) = (Address::usual(relay.signalling), Some(relay.pid()), relay.admin);
    let (server, turn) = match scenario.transport {
        // Where there is no signalling to say so, over TCP.
        Transport::Udp if scenario.falls_back && scenario.depth == Depth::Turn => (relay.turn, Some(relay.tcp)),
        Transport::Udp => (relay.turn, None),
        Transport::Tcp => (relay.tcp, Some(relay.tcp)),
        Transport::Tls => {
            return Err(usage("a relay of our own has no certificate: TLS needs --target or --turn".to_owned()));
        }
    };
    let turn_only = (scenario.depth == Depth::Turn).then(|| (server, relay.credential.clone()));
    Ok((Some(relay), Aim { address, minter, turn, turn_only, server_pid, admin, own: true }))
}

/// A descriptor per caller, and one more where callers cannot share UDP sockets; the relay of our own inherits the limit.
fn check_descriptors(scenario: &Scenario, own: bool) -> Result<(), Stop> {
    let limit = sys::raise_open_files().map_err(internal)?;
    let each = if scenario.transport != Transport::Udp || scenario.falls_back {
        4
    } else if scenario.turn_client == TurnBy::WebrtcRs {
        2
    } else if own {
        1
    } else {
        2
    };
    let needed = scenario.expected_callers().min(scenario.max_callers) as u64 * each + 64;
    if needed <= limit {
        return Ok(());
    }
    Err(usage(format!(
        "this scenario needs about {needed} open files and the hard limit is {limit}: run `ulimit -Hn {needed}` as root in \
         this shell first, or lower --calls/s or --hold"
    )))
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

fn usage(message: String) -> Stop {
    Stop(USAGE, message)
}

fn internal(error: io::Error) -> Stop {
    Stop(INTERNAL, error.to_string())
}

/// A reader that went away is no reason to fail.
fn say(to: &mut impl Write, text: &str) {
    let _ = writeln!(to, "{text}");
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::CommandFactory;

    use super::*;

    fn args(line: &str) -> RunArgs {
        match Cli::try_parse_from(line.split_whitespace()).unwrap().command {
            Command::Run(args) => *args,
            _ => panic!("{line}"),
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_override_keys() {
        let scenario = args("loadgen run --calls/s 7.5 --hold fixed:1s --seed 9 --slo success>=0.9").scenario();
        let scenario = scenario.unwrap_or_else(|Stop(_, message)| panic!("{message}"));
        assert_eq!((scenario.calls_per_second, scenario.seed), (7.5, 9));
        assert_eq!(scenario.objectives.len(), 1);
    }

    #[test]
    fn any_key_can_be_set_and_arrivals_take_a_shape_or_a_spread() {
        let scenario = |line: &str| args(&format!("loadgen run {line}")).scenario().map_err(|Stop(_, message)| message);
        let set = scenario("--set peer.mix.topics=12 --set peer.abandonment=neutral").unwrap();
        assert_eq!((set.mix.topics, set.abandonment_fails), (12, false));
        assert!(scenario("--set peer.mix.topic=12").unwrap_err().contains("did you mean topics?"));
        assert_eq!(scenario("--arrivals constant").unwrap().spread, crate::arrival::Spread::Constant);
        let ramp = scenario("one-sided --arrivals ramp:1..9/5s --spread constant").unwrap();
        assert!(matches!(ramp.shape, crate::arrival::Shape::Ramp { .. }));
        assert!(scenario("no-such-scenario").unwrap_err().contains("built-in scenarios are default"));
    }

    #[test]
    fn a_target_needs_a_key_and_a_bad_flag_is_usage() {
        let short = args("loadgen run --target ws://127.0.0.1:1 --token-secret short");
        assert!(matches!(short.aim(&Scenario::default()), Err(Stop(USAGE, _))));
        assert!(matches!(args("loadgen run --hold 3s").scenario(), Err(Stop(USAGE, _))));
    }

    #[test]
    fn too_many_callers_for_the_descriptors_are_refused_before_the_run() {
        let scenario = args("loadgen run --calls/s 100000 --hold fixed:1000s").scenario();
        let scenario = Scenario { max_callers: usize::MAX, ..scenario.unwrap_or_default() };
        let Err(Stop(code, message)) = check_descriptors(&scenario, true) else { panic!("accepted") };
        assert_eq!(code, USAGE);
        assert!(message.contains("ulimit -Hn"), "{message}");
    }
}
