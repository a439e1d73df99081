//! The command line: arguments → scenario and aim → run → table, file and exit code.

use std::{
    fs,
    io::{self, Write},
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};
use rand::RngCore;
use toml::Value;

use crate::{
    own_relay::{self, OwnRelay},
    report::{Run, json, table},
    runner::{self, Address, Aim, check_reachable},
    scenario::Scenario,
    sys,
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
    /// Serve a relay for a run: configuration on standard input (used by `run`)
    #[command(name = own_relay::SUBCOMMAND, hide = true)]
    ServeRelay,
}

#[derive(Args)]
struct RunArgs {
    /// A scenario file (TOML); what it does not name stays at its default
    scenario: Option<PathBuf>,
    /// Signalling of the relay to test; without it a relay of our own is started in its own process
    #[arg(long, value_name = "ws://HOST:PORT/v1/ws")]
    target: Option<String>,
    /// TURN server to use instead of the one signalling names
    #[arg(long, value_name = "IP:PORT", requires = "target")]
    turn: Option<SocketAddr>,
    /// Calls offered per second [key: arrivals.calls_per_second]
    #[arg(long = "calls/s", alias = "calls-per-second", value_name = "N")]
    calls: Option<f64>,
    /// poisson or constant [key: arrivals.spread]
    #[arg(long, value_name = "SPREAD")]
    arrivals: Option<String>,
    /// How long a call is held: exp:3s or fixed:10s [key: hold.length]
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
    /// g711 or none [key: media.kind]
    #[arg(long, value_name = "KIND")]
    media: Option<String>,
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
    token: TokenArgs,
    /// Process of the relay under test, for its CPU and memory
    #[arg(long, value_name = "PID", requires = "target")]
    server_pid: Option<u32>,
    /// The relay's admin address, for its own counters
    #[arg(long, value_name = "IP:PORT", requires = "target")]
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

fn run(args: &RunArgs) -> Result<u8, Stop> {
    let scenario = args.scenario()?;
    if args.print_config {
        say(&mut io::stdout(), scenario.resolved.to_string().trim_end());
        return Ok(0);
    }
    check_descriptors(&scenario, args.target.is_none())?;
    // Before any thread and the relay of our own, which inherit it.
    let priority_raised = !args.ordinary_priority && sys::raise_priority(NICE);
    let (own, aim) = args.aim(&scenario)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(internal)?;
    let run = runtime.block_on(async {
        check_reachable(&aim.address).await.map_err(|error| Stop(UNREACHABLE, error.to_string()))?;
        let quiet = args.quiet;
        let report = move |line: &str| {
            if !quiet {
                say(&mut io::stderr(), line)
            }
        };
        runner::run(scenario, aim, priority_raised, report).await.map_err(internal)
    });
    drop(own);
    let run = run?;
    let verdict = verdict::judge(&run);
    args.publish(&run, &verdict)?;
    Ok(if run.interrupted { INTERRUPTED } else { verdict.word.exit_code() })
}

impl RunArgs {
    fn scenario(&self) -> Result<Scenario, Stop> {
        let file = match &self.scenario {
            Some(path) => fs::read_to_string(path).map_err(|error| usage(format!("{}: {error}", path.display())))?,
            None => String::new(),
        };
        Scenario::resolve(&file, &self.overrides()).map_err(|problems| usage(problems.to_string()))
    }

    /// The scenario's keys that flags override.
    fn overrides(&self) -> Vec<(&'static str, Value)> {
        let text = |key, value: &Option<String>| value.clone().map(|value| (key, Value::from(value)));
        let seed = self.seed.map(|seed| ("seed", Value::from(i64::try_from(seed).unwrap_or(i64::MAX))));
        let calls = self.calls.map(|calls| ("arrivals.calls_per_second", Value::from(calls)));
        let slo = (!self.slo.is_empty()).then(|| ("slo.require", Value::from(self.slo.clone())));
        [
            seed,
            calls,
            slo,
            text("arrivals.spread", &self.arrivals),
            text("arrivals.for", &self.measured),
            text("arrivals.warmup", &self.warmup),
            text("arrivals.drain", &self.drain),
            text("hold.length", &self.hold),
            text("media.kind", &self.media),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// Where the load goes: the target, or a relay of our own that lives as long as the first part.
    fn aim(&self, scenario: &Scenario) -> Result<(Option<OwnRelay>, Aim), Stop> {
        let Some(url) = &self.target else {
            let (relay, minter) = OwnRelay::start(scenario.mix.topics).map_err(internal)?;
            let (address, server_pid, admin) = (Address::usual(relay.signalling), Some(relay.pid()), relay.admin);
            return Ok((Some(relay), Aim { address, minter, turn: None, server_pid, admin, own: true }));
        };
        let address = Address::parse(url).map_err(usage)?;
        let minter = self.token.minter()?;
        Ok((None, Aim { address, minter, turn: self.turn, server_pid: self.server_pid, admin: self.admin, own: false }))
    }

    fn publish(&self, run: &Run, verdict: &Verdict) -> Result<(), Stop> {
        let table = table::render(run, verdict);
        let Some(path) = &self.json else {
            say(&mut io::stdout(), table.trim_end());
            return Ok(());
        };
        let json = format!("{:#}\n", json::render(run, verdict));
        if path.as_os_str() == "-" {
            say(&mut io::stderr(), table.trim_end());
            say(&mut io::stdout(), json.trim_end());
            return Ok(());
        }
        say(&mut io::stdout(), table.trim_end());
        fs::write(path, json).map_err(|error| Stop(INTERNAL, format!("{}: {error}", path.display())))
    }
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

/// A descriptor per caller, and one more where callers cannot share UDP sockets; the relay of our own inherits the limit.
fn check_descriptors(scenario: &Scenario, own: bool) -> Result<(), Stop> {
    let limit = sys::raise_open_files().map_err(internal)?;
    let needed = scenario.expected_callers().min(scenario.max_callers) as u64 * if own { 1 } else { 2 } + 64;
    if needed <= limit {
        return Ok(());
    }
    Err(usage(format!(
        "this scenario needs about {needed} open files and the hard limit is {limit}: run `ulimit -Hn {needed}` as root in \
         this shell first, or lower --calls/s or --hold"
    )))
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
            Command::ServeRelay => panic!("{line}"),
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
