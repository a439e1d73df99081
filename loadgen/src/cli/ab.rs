//! `loadgen ab`.

use std::{
    env,
    fs::OpenOptions,
    io::{self, Write},
    path::{Path, PathBuf},
};

use clap::Args;

use super::{
    INTERRUPTED, NICE, Stop, aim::check_descriptors, args::RunArgs, compare, internal, outputs, say, usage, write_json,
};
use crate::{
    ab::{self, Plan, proof::Proof},
    compare::{
        Comparison, How, Word, annotate,
        ci::{self, Conclusion},
    },
    own_relay::Program,
    sys,
};

pub(super) const EXAMPLES: &str = "\
Examples:
  loadgen ab --base ./relay-before --head ./relay-after          eight pairs of 2 s rounds, half a minute
  loadgen ab --base 'nice -n 5 old --config={config}' --head new any command, {config} is the file it is given
  loadgen ab --base old --head new --rounds 20 --margin 2%       finds less; the table says how much less
  loadgen ab --base old --head new --depth light --metric cpu/call,setup.p50
  loadgen ab --base old --aa --repeat 20                         the build against itself: how often chance alarms here
  loadgen ab --base old --head new --ci                          on a build server: see configs/ci/regression.yml

CMD is the path of a `relay` or of a `loadgen` (which has a relay in it), or words with {config}. It gets a configuration for
loopback, with ports of the kernel's choice and secrets of its own, and prints what `relay` prints: its `listening` lines, then
`ready`. The generator is this loadgen for both sides.

Every round starts its relay anew: what a process happens to get is then noise that averages out, not a bias all rounds share.
The two rounds of a pair have one seed, so one schedule, and run at the same moment, relays on one half of the processors and
generators on the other: what else happens on the machine meets both. --apart runs them one after the other (ABBA). The warm-up
does not count. A pair whose generator was late counts for nothing that is timed, and for cost only if both sides did the same
work; it is replaced, at most --replace times.

Judged as `loadgen compare` judges: medians of ln(head/base), bootstrap over pairs, signed ranks beside it, Holm over the gated
metrics, margins. \"detectable\" is the smallest change for the worse that so many pairs find eight times of ten.

Exit codes: 0 PASS · 1 internal · 2 usage · 4 REGRESSED · 5 INVALID: too few rounds with a sound generator · 7 a side broke a rule
of correctness · 8 INCONCLUSIVE · 130 interrupted. With --aa: 4 if there was any false alarm. With --ci: REGRESSED and 7 fail; INVALID
is tried once more and is then neutral, INCONCLUSIVE is neutral, both with exit code 0, an annotation, and conclusion=neutral in
$GITHUB_OUTPUT; only PASS says conclusion=success.";

#[derive(Args)]
pub(super) struct AbArgs {
    /// The build before the change
    #[arg(long, value_name = "CMD")]
    base: String,
    /// The build after it
    #[arg(long, value_name = "CMD", required_unless_present = "aa", conflicts_with = "aa")]
    head: Option<String>,
    /// Base against itself: proves how often chance is called a regression on this machine
    #[arg(long)]
    aa: bool,
    /// Whole comparisons to make, one after another; counts them
    #[arg(long, value_name = "N", default_value_t = 1)]
    repeat: usize,
    /// Pairs of rounds
    #[arg(long, value_name = "N", default_value_t = 8)]
    rounds: usize,
    /// Measured part of a round; as --for
    #[arg(long, value_name = "TIME")]
    round_time: Option<String>,
    /// Pairs more, at most, for those that do not count; without it half of --rounds
    #[arg(long, value_name = "N")]
    replace: Option<usize>,
    /// The rounds of a pair one after the other
    #[arg(long)]
    apart: bool,
    /// Conclude as a build server should
    #[arg(long, conflicts_with_all = ["aa", "repeat"])]
    ci: bool,
    #[command(flatten)]
    judged: compare::JudgedArgs,
    #[command(flatten, next_help_heading = "The load of a round, as of `loadgen run`; without a scenario `ab`")]
    run: Box<RunArgs>,
}

pub(super) fn run(args: &AbArgs) -> Result<u8, Stop> {
    let plan = args.plan()?;
    outputs::refuse_all("ab", &args.run)?;
    sys::raise_open_files().map_err(internal)?;
    let priority = !args.run.ordinary_priority && sys::raise_priority(NICE);
    let plan = Plan { priority, ..plan };
    let json = args.run.json.as_deref();
    if args.ci {
        return for_ci(&plan, args.run.quiet, json);
    }
    if args.aa || args.repeat > 1 {
        return prove(&plan, args, json);
    }
    let Some(comparison) = measure(&plan, args.run.quiet)? else { return Ok(INTERRUPTED) };
    compare::publish(json, &comparison)?;
    Ok(comparison.verdict().0.exit_code())
}

impl AbArgs {
    fn plan(&self) -> Result<Plan, Stop> {
        let RunArgs { target, turn, print_config, .. } = &*self.run;
        if !target.is_empty() || turn.is_some() || *print_config {
            return Err(usage(
                "ab starts its relays itself: --target, --turn and --print-config are for `loadgen run`".to_owned(),
            ));
        }
        if self.rounds < 2 {
            return Err(usage("--rounds: two pairs at least".to_owned()));
        }
        let head = self.head.as_ref().unwrap_or(&self.base);
        let program = |name: &String| name.parse::<Program>().map_err(usage);
        let mut run = self.run.clone();
        run.scenario.get_or_insert_with(|| PathBuf::from("ab"));
        run.measured = self.round_time.clone().or(run.measured);
        let scenario = run.scenario()?;
        check_descriptors(&scenario, true)?;
        Ok(Plan {
            base: program(&self.base)?,
            head: program(head)?,
            names: (self.base.clone(), head.clone()),
            scenario,
            rounds: self.rounds,
            replacements: self.replace.unwrap_or(self.rounds / 2),
            how: if self.apart { How::Apart } else { How::Together },
            asked: self.judged.asked()?,
            priority: false,
        })
    }
}

/// One comparison; none if it was interrupted.
fn measure(plan: &Plan, quiet: bool) -> Result<Option<Comparison>, Stop> {
    let tell = |line: &str| {
        if !quiet {
            say(&mut io::stderr(), line)
        }
    };
    match ab::compare(plan, tell) {
        Ok(comparison) => Ok(Some(comparison)),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(None),
        Err(error) => Err(internal(error)),
    }
}

/// Comparison after comparison, each with seeds of its own.
fn prove(plan: &Plan, args: &AbArgs, json: Option<&Path>) -> Result<u8, Stop> {
    let mut proof = Proof::default();
    let (base, head) = &plan.names;
    for number in 0..args.repeat {
        let mut scenario = plan.scenario.clone();
        scenario.seed = scenario.seed.wrapping_add(1000 * number as u64);
        let Some(comparison) = measure(&Plan { scenario, ..plan.clone() }, true)? else { break };
        proof.add(&comparison);
        let (word, reasons) = comparison.verdict();
        let first = comparison.compared.iter().find(|of| of.asked.gated).map_or_else(String::new, |of| of.sentence());
        let why = reasons.first().map_or(first.as_str(), String::as_str);
        say(&mut io::stderr(), &format!("comparison {}/{}: {}  {why}", number + 1, args.repeat, word.name()));
        if let Some(path) = json.filter(|path| *path != Path::new("-")) {
            write_json(path, &proof.render(base, head, args.aa))?;
        }
    }
    say(&mut io::stdout(), &proof.summary(args.aa));
    if json == Some(Path::new("-")) {
        write_json(Path::new("-"), &proof.render(base, head, args.aa))?;
    }
    if proof.len() < args.repeat {
        return Ok(INTERRUPTED);
    }
    Ok(if args.aa && proof.count(Word::Regressed) > 0 { Word::Regressed.exit_code() } else { 0 })
}

/// As a build server wants it: an annotation, a summary, an output.
fn for_ci(plan: &Plan, quiet: bool, json: Option<&Path>) -> Result<u8, Stop> {
    let interrupted = || Stop(INTERRUPTED, "interrupted".to_owned());
    let decided = ci::decide(|| {
        let comparison = measure(plan, quiet)?.ok_or_else(interrupted)?;
        compare::publish(json, &comparison)?;
        Ok((comparison.verdict().0, comparison))
    });
    let (conclusion, word, comparison) = decided.inspect_err(|Stop(_, why)| {
        say(&mut io::stdout(), &annotate::line(Conclusion::Failure, "loadgen ab", why));
    })?;
    let (_, reasons) = comparison.verdict();
    let message = if reasons.is_empty() { "no gated metric is worse".to_owned() } else { reasons.join("\n") };
    say(&mut io::stdout(), &annotate::line(conclusion, &format!("loadgen ab: {}", word.name()), &message));
    append("GITHUB_STEP_SUMMARY", &annotate::summary(&comparison, word, conclusion))?;
    append("GITHUB_OUTPUT", &format!("conclusion={}\n", conclusion.name()))?;
    Ok(conclusion.exit_code(word))
}

/// To the file a runner names, if it does.
fn append(variable: &str, text: &str) -> Result<(), Stop> {
    let Some(path) = env::var_os(variable).filter(|path| !path.is_empty()) else { return Ok(()) };
    let file = OpenOptions::new().append(true).create(true).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(internal)
}
