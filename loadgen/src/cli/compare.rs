//! `loadgen compare`.

use std::{
    io,
    path::{Path, PathBuf},
};

use clap::Args;

use super::{Stop, results::read_text, say, usage, write_json};
use crate::compare::{
    self, Comparison, How, Material, SEED, json,
    round::{Pair, Round},
    stored::{self, Stored},
    table,
};

pub(super) const EXAMPLES: &str = "\
Examples:
  loadgen compare before.json after.json           two results of `run --json`: the ratios, and no verdict from one round each
  loadgen compare --base a1.json --base a2.json … --head b1.json --head b2.json …
                                                   four rounds a side or more: intervals and a verdict
  loadgen compare --paired --base … --head …       the i-th of each side were made one after the other with one seed
  loadgen compare a.json b.json --despite machine  although they are of two machines

Results are comparable only if they share scenario, seed, schedule, machine and version of loadgen; what differs is named.
Rounds that are not paired are judged by their medians (bootstrap of both sides, and Mann and Whitney's test beside it). A
machine drifts: rounds made in one block and then in the other find differences where there are none. `loadgen ab` makes
its own rounds in pairs and does not have that fault.

REGRESSED: a gated metric is worse by more than its margin, one-sided, at 5 % for all gated metrics together (Holm). PASS:
every gated metric is surely not worse by more than that. INCONCLUSIVE: neither; the table says what so many rounds detect.
Exit codes: 0 PASS · 2 usage, or not comparable · 4 REGRESSED · 5 INVALID: too few rounds with a sound generator · 7 a run
broke a rule of correctness · 8 INCONCLUSIVE";

#[derive(Args)]
pub(super) struct CompareArgs {
    /// Two results: the one before, the one after
    #[arg(value_name = "A.json B.json", num_args = 2, conflicts_with_all = ["base", "head"], required_unless_present_all = ["base", "head"])]
    two: Vec<PathBuf>,
    /// A round of the side before; may be repeated
    #[arg(long, value_name = "FILE", requires = "head")]
    base: Vec<PathBuf>,
    /// A round of the side after; may be repeated
    #[arg(long, value_name = "FILE", requires = "base")]
    head: Vec<PathBuf>,
    /// The i-th rounds of both sides belong together
    #[arg(long)]
    paired: bool,
    /// Compare although these differ: scenario, seed, schedule, machine, version
    #[arg(long, value_name = "WHAT", value_delimiter = ',')]
    despite: Vec<String>,
    #[command(flatten)]
    judged: JudgedArgs,
    /// Write the comparison as JSON (loadgen.comparison/1); - for standard output
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What is judged, and how strictly.
#[derive(Args)]
pub(super) struct JudgedArgs {
    /// A metric that can stop a change, at most six; all are shown. Without: cpu/packet, success, setup.p50
    #[arg(long, value_name = "METRIC", value_delimiter = ',')]
    metric: Vec<String>,
    /// A change for the worse that is nobody's business: 3% for every gated metric, or setup.p50=10%
    #[arg(long, value_name = "[METRIC=]SHARE")]
    margin: Vec<String>,
}

impl JudgedArgs {
    pub(super) fn asked(&self) -> Result<Vec<compare::judge::Asked>, Stop> {
        compare::asked(&self.metric, &self.margin).map_err(usage)
    }
}

pub(super) fn run(args: &CompareArgs) -> Result<u8, Stop> {
    let asked = args.judged.asked()?;
    let known = stored::despites();
    if let Some(unknown) = args.despite.iter().find(|name| !known.contains(&name.as_str())) {
        return Err(usage(format!("--despite {unknown}: expected {}", known.join(", "))));
    }
    let (base, head) = match args.two.as_slice() {
        [base, head] => (read(std::slice::from_ref(base))?, read(std::slice::from_ref(head))?),
        _ => (read(&args.base)?, read(&args.head)?),
    };
    if args.paired && base.len() != head.len() {
        return Err(usage(format!("--paired: {} rounds of one side and {} of the other", base.len(), head.len())));
    }
    let different = stored::differences(&base, &head, args.paired, &args.despite);
    if !different.is_empty() {
        return Err(usage(different.join("\n")));
    }
    let rounds = |side: &[Stored]| side.iter().map(Stored::round).collect::<Vec<Round>>();
    let names = |side: &[Stored]| side.iter().map(|stored| stored.name.as_str()).collect::<Vec<_>>().join(", ");
    let (how, material) = if args.paired {
        let pair = |(base, head)| Pair { base, head, ..Pair::default() };
        (How::StoredPairs, Material::Pairs(rounds(&base).into_iter().zip(rounds(&head)).map(pair).collect()))
    } else {
        (How::Stored, Material::Sides { base: rounds(&base), head: rounds(&head) })
    };
    let mut comparison = Comparison::of(how, (names(&base), names(&head)), &asked, material, SEED);
    comparison.spread = stored::spread(&base, &head);
    comparison.notes.extend(args.despite.iter().map(|name| format!("compared despite another {name}")));
    publish(args.json.as_deref(), &comparison)?;
    Ok(comparison.verdict().0.exit_code())
}

/// The table, and the JSON where it is asked for.
pub(super) fn publish(path: Option<&Path>, comparison: &Comparison) -> Result<(), Stop> {
    let table = table::render(comparison);
    if path == Some(Path::new("-")) {
        say(&mut io::stderr(), &table);
    } else {
        say(&mut io::stdout(), &table);
    }
    path.map_or(Ok(()), |path| write_json(path, &json::render(comparison)))
}

fn read(paths: &[PathBuf]) -> Result<Vec<Stored>, Stop> {
    let one = |path: &PathBuf| {
        let text = read_text(path)?;
        Stored::read(&path.display().to_string(), &text).map_err(usage)
    };
    paths.iter().map(one).collect()
}
