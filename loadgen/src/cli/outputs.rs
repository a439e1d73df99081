//! Where results go beside the screen. One flag a format, because a file's name does not say which of several formats of
//! JSON, XML or text it should be; all of them for `run`, `merge` and `report` alike.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use clap::Args;
use serde_json::Value;

use super::{INTERNAL, Stop, args::RunArgs, results::read_text, say, usage};
use crate::report::{
    benchmarks::{self, Better},
    csv, github, hdr, html, junit,
    knee::KneePoint,
    openmetrics,
    recorded::Recorded,
};

pub(super) const REPORT_EXAMPLES: &str = "\
Examples:
  loadgen run --json result.json; loadgen report result.json --html report.html
  loadgen report result.json --csv - | head    on standard output
  loadgen report result.json --junit loadgen.xml --github --bencher bencher.json
  loadgen report result.json --html report.html --knee limit.json

Every format is made from a stored result, so a run can be shown in another one afterwards. What each is for:
loadgen/docs/README.md.";

/// GitHub's name for the file a step's summary is appended to.
const SUMMARY: &str = "GITHUB_STEP_SUMMARY";

#[derive(Args, Clone)]
#[command(next_help_heading = "Outputs (FILE may be - for standard output)")]
pub(super) struct OutputArgs {
    /// A page for people, one file that needs no network
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// All histograms, as a log of HdrHistogram
    #[arg(long, value_name = "FILE")]
    hlog: Option<PathBuf>,
    /// The percentiles of one phase, for HdrHistogram's plotter
    #[arg(long, value_name = "FILE")]
    hgrm: Option<PathBuf>,
    /// Which phase, by its name in objectives; without it call set-up, or what comes nearest
    #[arg(long, value_name = "PHASE", requires = "hgrm")]
    hgrm_of: Option<String>,
    /// The time series, one line a second
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Objectives as test cases, JUnit XML
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// For Prometheus and its like, OpenMetrics text
    #[arg(long, value_name = "FILE")]
    openmetrics: Option<PathBuf>,
    /// In a GitHub workflow: a summary of the step, and annotations on standard output
    #[arg(long)]
    github: bool,
    /// For github-action-benchmark, tool customSmallerIsBetter
    #[arg(long, value_name = "FILE")]
    benchmark_action: Option<PathBuf>,
    /// For github-action-benchmark, tool customBiggerIsBetter
    #[arg(long, value_name = "FILE")]
    benchmark_action_bigger: Option<PathBuf>,
    /// For Bencher, Bencher Metric Format
    #[arg(long, value_name = "FILE")]
    bencher: Option<PathBuf>,
}

#[derive(Args)]
pub(super) struct ReportArgs {
    /// What `run --json` or `merge --json` wrote; - for standard input
    result: PathBuf,
    /// Points of a search for the limit, shown instead of those of the run: an array of them, or an object that has one as
    /// `points` or `knee`
    #[arg(long, value_name = "FILE")]
    knee: Option<PathBuf>,
    #[command(flatten)]
    outputs: OutputArgs,
}

/// `loadgen report`; without any format, what to keep of the result in a few lines.
/// For those whose result is not that of one run.
pub(super) fn refuse_all(command: &str, args: &RunArgs) -> Result<(), Stop> {
    match args.outputs.any() {
        true => Err(usage(format!("{command} writes --json alone: the other formats are those of one run"))),
        false => Ok(()),
    }
}

pub(super) fn report(args: &ReportArgs) -> Result<u8, Stop> {
    let result =
        Recorded::read(read_json(&args.result)?).map_err(|why| usage(format!("{}: {why}", args.result.display())))?;
    let knee = args.knee.as_deref().map(read_knee).transpose()?;
    if !args.outputs.any() {
        say(&mut io::stdout(), github::summary(&result).trim_end());
        return Ok(0);
    }
    args.outputs.write(&result, knee.as_deref())?;
    Ok(0)
}

fn read_json(path: &Path) -> Result<Value, Stop> {
    let text = read_text(path)?;
    serde_json::from_str(&text).map_err(|error| usage(format!("{}: {error}", path.display())))
}

fn read_knee(path: &Path) -> Result<Vec<KneePoint>, Stop> {
    let value = read_json(path)?;
    let inner = ["points", "knee"].into_iter().find(|key| value[*key].is_array());
    let points = inner.map_or(&value, |key| &value[key]).clone();
    serde_json::from_value(points).map_err(|error| usage(format!("{}: no points of a knee: {error}", path.display())))
}

impl OutputArgs {
    /// Whether anything is asked for.
    pub(super) fn any(&self) -> bool {
        self.github || self.files().iter().any(|file| file.is_some())
    }

    /// Whether something goes where otherwise the table would.
    pub(super) fn takes_standard_output(&self) -> bool {
        self.files().into_iter().flatten().any(|file| file == Path::new("-"))
    }

    fn files(&self) -> [Option<&PathBuf>; 9] {
        let Self {
            html, hlog, hgrm, csv, junit, openmetrics, benchmark_action, benchmark_action_bigger, bencher, ..
        } = self;
        [html, hlog, hgrm, csv, junit, openmetrics, benchmark_action, benchmark_action_bigger, bencher]
            .map(Option::as_ref)
    }

    /// Writes all that can be written and tells of what could not.
    pub(super) fn write(&self, result: &Recorded, knee: Option<&[KneePoint]>) -> Result<(), Stop> {
        let mut faults = Vec::new();
        let mut file = |path: &Option<PathBuf>, make: &dyn Fn() -> Result<Vec<u8>, String>| {
            let Some(path) = path else { return };
            let put = |bytes: Vec<u8>| put(path, &bytes).map_err(|error| error.to_string());
            if let Err(error) = make().and_then(put) {
                faults.push(format!("{}: {error}", path.display()));
            }
        };
        let text = |text: String| Ok(text.into_bytes());
        let json = |value: Value| Ok(format!("{value:#}\n").into_bytes());
        file(&self.html, &|| text(html::render(result, knee)));
        file(&self.hlog, &|| hdr::log(result).map_err(|error| error.to_string()));
        file(&self.hgrm, &|| self.table_of(result).and_then(text));
        file(&self.csv, &|| text(csv::render(result)));
        file(&self.junit, &|| text(junit::render(result)));
        file(&self.openmetrics, &|| text(openmetrics::render(result)));
        file(&self.benchmark_action, &|| json(benchmarks::action(result, Better::Smaller)));
        file(&self.benchmark_action_bigger, &|| json(benchmarks::action(result, Better::Bigger)));
        file(&self.bencher, &|| json(benchmarks::bencher(result)));
        if self.github {
            faults.extend(self.tell_github(result).err());
        }
        if faults.is_empty() { Ok(()) } else { Err(Stop(INTERNAL, faults.join("\n"))) }
    }

    fn table_of(&self, result: &Recorded) -> Result<String, String> {
        let phase = match &self.hgrm_of {
            Some(key) => result.phase(key).ok_or_else(|| {
                let known: Vec<&str> = result.phases().iter().map(|phase| phase.key).collect();
                format!("no phase {key:?} was measured: there are {}", known.join(", "))
            })?,
            None => result.main_phase().ok_or("no phase was measured")?,
        };
        Ok(hdr::table(&phase))
    }

    /// Outside a workflow the summary goes nowhere, which is said.
    fn tell_github(&self, result: &Recorded) -> Result<(), String> {
        for line in github::annotations(result) {
            if self.takes_standard_output() {
                say(&mut io::stderr(), &line);
            } else {
                say(&mut io::stdout(), &line);
            }
        }
        let Some(path) = std::env::var_os(SUMMARY) else {
            return Err(format!("--github: {SUMMARY} is not set, so there is no summary to append to"));
        };
        let appended = OpenOptions::new().create(true).append(true).open(&path);
        let written = appended.and_then(|mut file| file.write_all(github::summary(result).as_bytes()));
        written.map_err(|error| format!("{SUMMARY}: {error}"))
    }
}

fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if path == Path::new("-") {
        // A reader that went away is no reason to fail.
        let _ = io::stdout().write_all(bytes);
        return Ok(());
    }
    fs::write(path, bytes)
}
