//! Subcommands that work on results and scenarios without putting load on anything: merge, explain, simulate.

use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use clap::Args;
use serde_json::Value;

use super::{
    INTERNAL, Stop,
    args::RunArgs,
    outputs::{self, OutputArgs},
    publish, say, usage,
};
use crate::{explain, merge, simulate, verdict};

/// Largest result that is read.
const MAX_RESULT: u64 = 4 << 30;

pub(super) const MERGE_EXAMPLES: &str = "\
Example, two generators and one relay (the same moment, seed and scenario on both):
  a$ loadgen run voice.toml --target ws://relay:8080/v1/ws … --slice 1/2 --start-at 2026-11-22T02:30:00Z --json a.json
  b$ loadgen run voice.toml --target ws://relay:8080/v1/ws … --slice 2/2 --start-at 2026-11-22T02:30:00Z --json b.json
   $ loadgen merge a.json b.json --json whole.json

Histograms are added, never percentiles. Calls whose sides are in two slices are joined and judged like all others; a side
that nobody has the other of is a violation. A missing or repeated slice, another seed, schedule, scenario, target, moment
or version is refused. Clocks of the machines must agree (NTP, PTP): what is measured across two of them is as good as that.
The exit code is that of the verdict on the whole.";

pub(super) const EXPLAIN_EXAMPLES: &str = "\
Examples:
  loadgen run --json result.json; loadgen explain result.json
  loadgen explain result.json --worst 1        only the slowest call

Of every doubling of set-up time the eight slowest calls of a run are kept whole, with every stamp of both sides, and two of
every cause of failure. Bars cover the set-up; the longest step is marked.";

pub(super) const SIMULATE_EXAMPLES: &str = "\
Examples:
  loadgen simulate                             who would meet whom in `loadgen run`, on a virtual clock, in a blink
  loadgen simulate block-heavy --seed 7 --for 600s
  loadgen simulate one-sided --json - | jq -r .digest

The relay's own matchmaker is driven on a virtual clock by the schedule and the people of the scenario. The same seed makes
the same decisions, to the last one: compare the digest between builds. Every pair is checked by loadgen's own rules (exit
code 7 if one is broken).";

#[derive(Args)]
pub(super) struct MergeArgs {
    /// Results of all slices of one run, in any order
    #[arg(required = true, value_name = "RESULT.json")]
    results: Vec<PathBuf>,
    /// Write everything measured as JSON; - for standard output
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    outputs: OutputArgs,
}

#[derive(Args)]
pub(super) struct ExplainArgs {
    /// What `run --json` or `merge --json` wrote; - for standard input
    result: PathBuf,
    /// How many of the slowest calls, and of those that failed
    #[arg(long, value_name = "N", default_value_t = 3)]
    worst: usize,
}

pub(super) fn merge(args: &MergeArgs) -> Result<u8, Stop> {
    let read = |path: &PathBuf| {
        let name = path.display().to_string();
        read_text(path).and_then(|text| merge::read(&name, &text).map_err(usage))
    };
    let slices = args.results.iter().map(read).collect::<Result<Vec<_>, Stop>>()?;
    let run = merge::join(slices).map_err(|problems| usage(problems.join("\n")))?;
    let verdict = verdict::judge(&run);
    publish(args.json.as_deref(), &args.outputs, &run, &verdict)?;
    Ok(verdict.word.exit_code())
}

pub(super) fn explain(args: &ExplainArgs) -> Result<u8, Stop> {
    let text = read_text(&args.result)?;
    let result: Value =
        serde_json::from_str(&text).map_err(|error| usage(format!("{}: {error}", args.result.display())))?;
    say(&mut io::stdout(), explain::render(&result, args.worst).map_err(usage)?.trim_end());
    Ok(0)
}

pub(super) fn simulate(args: &RunArgs) -> Result<u8, Stop> {
    outputs::refuse_all("simulate", args)?;
    let scenario = args.scenario()?;
    let simulation = simulate::run(&scenario).map_err(usage)?;
    let table = simulate::table(&scenario, &simulation);
    match args.json.as_deref() {
        None => say(&mut io::stdout(), &table),
        Some(path) => {
            let json = format!("{:#}\n", simulate::render(&scenario, &simulation));
            if path == Path::new("-") {
                say(&mut io::stdout(), json.trim_end());
            } else {
                say(&mut io::stdout(), &table);
                fs::write(path, json).map_err(|error| Stop(INTERNAL, format!("{}: {error}", path.display())))?;
            }
        }
    }
    Ok(if simulation.violations.is_empty() { 0 } else { verdict::Word::Violated.exit_code() })
}

pub(super) fn read_text(path: &Path) -> Result<String, Stop> {
    let mut text = String::new();
    let read = if path == Path::new("-") {
        io::stdin().take(MAX_RESULT).read_to_string(&mut text)
    } else {
        fs::File::open(path).and_then(|file| file.take(MAX_RESULT).read_to_string(&mut text))
    };
    read.map_err(|error| usage(format!("{}: {error}", path.display())))?;
    Ok(text)
}
