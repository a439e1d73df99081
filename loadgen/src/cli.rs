//! The command line: arguments → scenario and aim → run → table, file and exit code.

mod ab;
mod aim;
mod args;
mod calibrate;
mod compare;
mod find_limit;
mod manner;
mod outputs;
mod results;
mod victim;

use std::{
    fs,
    io::{self, Write},
    path::Path,
    process::ExitCode,
    sync::Arc,
};

use clap::{CommandFactory as _, Parser, Subcommand};
use relay::manual::{Completions, Manual};
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    null_server, own_relay,
    report::{
        Run, json,
        live::{self, Live},
        recorded::Recorded,
        screen::Screen,
        table,
    },
    runner,
    scenario::built_in,
    selftest, sys,
    verdict::{self, Verdict},
};
use aim::{check_descriptors, reach};
use args::RunArgs;
use outputs::OutputArgs;

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
  loadgen run several-nodes --target ws://a:8080/v1/ws --target ws://b:8080/v1/ws --admin 10.0.0.1:9100 --admin 10.0.0.2:9100 …
  loadgen run --json result.json --html report.html --junit loadgen.xml
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
    Merge(Box<results::MergeArgs>),
    /// Show where the slowest calls of a run lost their time
    #[command(after_help = results::EXPLAIN_EXAMPLES)]
    Explain(results::ExplainArgs),
    /// Write a stored result in other formats: a page, a time series, what CI systems read
    #[command(after_help = outputs::REPORT_EXAMPLES)]
    Report(Box<outputs::ReportArgs>),
    /// Compare stored results of two builds
    #[command(after_help = compare::EXAMPLES)]
    Compare(compare::CompareArgs),
    /// Compare two builds of the relay under the same load, in pairs of short rounds
    #[command(after_help = ab::EXAMPLES)]
    Ab(Box<ab::AbArgs>),
    /// Find the most calls a second a server carries with its objectives kept
    #[command(after_help = find_limit::EXAMPLES)]
    FindLimit(Box<find_limit::FindLimitArgs>),
    /// Drive the matchmaker alone on a virtual clock: same seed, same decisions
    #[command(after_help = results::SIMULATE_EXAMPLES)]
    Simulate(Box<RunArgs>),
    /// List the built-in scenarios
    #[command(after_help = "Example:\n  loadgen scenarios; loadgen run one-sided")]
    Scenarios,
    /// Compare the formulas loadgen judges by with known values
    #[command(after_help = "Example:\n  loadgen selftest | grep -v ✓     what does not hold")]
    Selftest,
    /// Print the JSON schema of what `run --json` writes, or another command
    #[command(
        after_help = "Examples:\n  loadgen schema > loadgen.run.1.schema.json\n  loadgen schema comparison      what compare --json and ab --json write\n  loadgen schema limit           what find-limit --json writes\n  loadgen schema proof           what ab --repeat --json writes"
    )]
    Schema {
        /// Of what
        #[arg(default_value = "run", value_parser = ["run", "comparison", "limit", "proof"])]
        of: String,
    },
    /// Print completions for a shell
    #[command(after_help = "Example:\n  source <(loadgen completions bash)")]
    Completions(Completions),
    /// Print this help as man pages
    #[command(after_help = "Examples:\n  loadgen man run | man -l -\n  loadgen man --output /usr/local/share/man/man1")]
    Man(Manual),
    /// Serve a relay for a run: configuration on standard input (used by `run`)
    #[command(name = own_relay::SUBCOMMAND, hide = true)]
    ServeRelay,
    /// Serve what loadgen is calibrated against (used by `calibrate`)
    #[command(name = null_server::SUBCOMMAND, hide = true)]
    ServeNothing,
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
        Command::Report(args) => outputs::report(&args),
        Command::Compare(args) => compare::run(&args),
        Command::Ab(args) => ab::run(&args),
        Command::FindLimit(args) => find_limit::run(&args),
        Command::Simulate(args) => results::simulate(&args),
        Command::Selftest => Ok(selftest()),
        Command::Schema { of } => {
            let published = match of.as_str() {
                "comparison" => crate::compare::json::PUBLISHED,
                "limit" => crate::limit::json::PUBLISHED,
                "proof" => crate::ab::proof::PUBLISHED,
                _ => json::PUBLISHED,
            };
            say(&mut io::stdout(), published.trim_end());
            Ok(0)
        }
        Command::Completions(wanted) => show(|out| wanted.write(Cli::command(), out)),
        Command::Man(wanted) => show(|out| wanted.write(Cli::command(), out)),
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
    let mut manner = args.manner.manner(args.target.is_empty() && args.turn.is_none())?;
    check_descriptors(&scenario, args.target.is_empty())?;
    // Before any thread and the relay of our own, which inherit it.
    let priority_raised = !args.ordinary_priority && sys::raise_priority(NICE);
    let (own, aim) = args.aim(&scenario)?;
    manner.victim = args.victim(&scenario, own.as_ref(), &aim)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(internal)?;
    let mut screen = None;
    let run = runtime.block_on(async {
        reach(&aim, &scenario).await?;
        manner.live = args.shows_a_screen().then(Arc::default);
        // Where the terminal cannot be had, lines will do.
        screen = manner.live.clone().and_then(|live| Screen::start(live).ok());
        if screen.is_some() {
            tokio::spawn(end_on_terminate(manner.live.clone()));
        }
        let quiet = args.quiet || screen.is_some();
        let report = move |line: &str| {
            if !quiet {
                say(&mut io::stderr(), line)
            }
        };
        runner::run_as(scenario, aim, manner, priority_raised, report).await.map_err(internal)
    });
    drop(screen);
    drop(own);
    let run = run?;
    let verdict = verdict::judge(&run);
    publish(args.json.as_deref(), &args.outputs, &run, &verdict)?;
    Ok(if run.interrupted { INTERRUPTED } else { verdict.word.exit_code() })
}

/// A run whose terminal is taken is not simply killed: it would be left in a state in which nobody can type.
async fn end_on_terminate(live: Option<Arc<Live>>) {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return };
    terminate.recv().await;
    live.iter().for_each(|live| live.press(live::Command::End));
}

/// The table, and whatever else is asked for; what goes to standard output sends the table to standard error.
fn publish(path: Option<&Path>, outputs: &OutputArgs, run: &Run, verdict: &Verdict) -> Result<(), Stop> {
    let table = table::render(run, verdict);
    let aside = path == Some(Path::new("-"));
    if aside || outputs.takes_standard_output() {
        say(&mut io::stderr(), table.trim_end());
    } else {
        say(&mut io::stdout(), table.trim_end());
    }
    if path.is_none() && !outputs.any() {
        return Ok(());
    }
    let result = json::render(run, verdict);
    let written = match path {
        Some(_) if aside => {
            say(&mut io::stdout(), &format!("{result:#}"));
            Ok(())
        }
        Some(path) => {
            let written = fs::write(path, format!("{result:#}\n"));
            written.map_err(|error| Stop(INTERNAL, format!("{}: {error}", path.display())))
        }
        None => Ok(()),
    };
    if outputs.any() {
        // From the text, as they would be made afterwards: a number that was written and read may differ in its last digit.
        let stored = serde_json::from_str(&result.to_string()).map_err(|error| Stop(INTERNAL, error.to_string()))?;
        outputs.write(&Recorded::read(stored).map_err(|error| Stop(INTERNAL, error))?, None)?;
    }
    written
}

/// To a file, or to standard output for `-`.
fn write_json(path: &Path, value: &serde_json::Value) -> Result<(), Stop> {
    let json = format!("{value:#}\n");
    if path == Path::new("-") {
        say(&mut io::stdout(), json.trim_end());
        return Ok(());
    }
    fs::write(path, json).map_err(|error| Stop(INTERNAL, format!("{}: {error}", path.display())))
}

fn show(write: impl FnOnce(&mut io::StdoutLock<'static>) -> io::Result<()>) -> Result<u8, Stop> {
    match write(&mut io::stdout().lock()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(usage(error.to_string())),
        _ => Ok(0),
    }
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
    use super::*;
    use crate::scenario::Scenario;

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
    fn the_help_of_every_subcommand_has_an_example_of_it() {
        let command = Cli::command();
        for subcommand in command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set()) {
            let help = subcommand.clone().render_long_help().to_string();
            let example = help.find("Example").unwrap_or_else(|| panic!("{}: no example", subcommand.get_name()));
            let named = format!("loadgen {}", subcommand.get_name());
            assert!(help[example..].contains(&named), "{named} is not in its own examples");
        }
        assert!(command.clone().render_long_help().to_string().contains("Examples:"));
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
