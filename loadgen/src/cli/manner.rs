//! Flags of `run` that say how it is made, not what it does.

use std::{fs, path::PathBuf, time::SystemTime};

use clap::Args;

use super::{Stop, usage};
use crate::{
    calibrate::{Calibration, usual_path},
    runner::Manner,
    slice::{Moment, Share, Slice},
};

#[derive(Args, Clone)]
pub(super) struct MannerArgs {
    /// Be one of several generators of one run: take each n-th caller of the schedule. Same scenario, seed, target and
    /// --start-at everywhere; `loadgen merge` joins the results. Needs --target or --turn
    #[arg(long, value_name = "I/N", requires = "start_at")]
    slice: Option<Slice>,
    /// When the schedule begins: Unix seconds, or 2026-11-22T02:30:00Z
    #[arg(long, value_name = "MOMENT")]
    start_at: Option<Moment>,
    /// Write one line a call, every stamp of both sides, as CSV
    #[arg(long, value_name = "FILE")]
    calls_csv: Option<PathBuf>,
    /// End early (exit code 3) when an objective has been missed for five seconds on end
    #[arg(long)]
    abort_on_slo: bool,
    /// Objectives from a file, one a line, # for comments; added to those of --slo
    #[arg(long, value_name = "FILE")]
    slo_file: Option<PathBuf>,
    /// What this machine can carry, from `loadgen calibrate`; without it loadgen/calibration.json in the XDG state folder,
    /// if that is there and of this machine
    #[arg(long, value_name = "FILE")]
    calibration: Option<PathBuf>,
}

impl MannerArgs {
    /// `own`: the run starts a relay of its own, which no other generator could reach.
    pub(super) fn manner(&self, own: bool) -> Result<Manner, Stop> {
        if self.slice.is_some() && own {
            return Err(usage("--slice needs a relay all generators reach: give --target or --turn".to_owned()));
        }
        if let Some(moment) = self.start_at {
            moment.ahead_of(SystemTime::now()).map_err(usage)?;
        }
        let share = self.slice.zip(self.start_at).map(|(slice, start_at)| Share { slice, start_at });
        Ok(Manner {
            share,
            start_at: self.start_at,
            calls: self.calls_csv.clone(),
            abort: self.abort_on_slo,
            victim: None,
            calibration: self.calibration()?,
            live: None,
        })
    }

    /// A file that is named must be there and of this machine; the usual one is used if it is.
    fn calibration(&self) -> Result<Option<Calibration>, Stop> {
        let Some(path) = &self.calibration else {
            return Ok(usual_path().and_then(|path| Calibration::read(&path).ok()?));
        };
        match Calibration::read(path).map_err(usage)? {
            Some(calibration) => Ok(Some(calibration)),
            None => Err(usage(format!("{}: no calibration of this machine: run loadgen calibrate", path.display()))),
        }
    }

    /// The objectives of the file, if there is one.
    pub(super) fn objectives(&self) -> Result<Vec<String>, Stop> {
        let Some(path) = &self.slo_file else { return Ok(Vec::new()) };
        let text = fs::read_to_string(path).map_err(|error| usage(format!("{}: {error}", path.display())))?;
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or("").trim());
        Ok(lines.filter(|line| !line.is_empty()).map(str::to_owned).collect())
    }
}
