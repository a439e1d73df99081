//! `loadgen calibrate`.

use std::{io, path::PathBuf};

use clap::Args;

use super::{NICE, Stop, internal, say, usage};
use crate::{
    calibrate::{Calibration, Quantity, calibrate, table, usual_path},
    null_server::NullServer,
    sys,
};

pub(super) const EXAMPLES: &str = "\
Examples:
  loadgen calibrate                            everything, about five minutes, on a machine that does nothing else
  loadgen calibrate --only light --only packets
  loadgen calibrate --file ./this-runner.json; loadgen run --calibration ./this-runner.json
  loadgen calibrate --show                     what is known of this machine

Load is raised against a server that does nothing, in a process of its own, until loadgen's own numbers would be worthless.
The ceilings are kept beside kernel, processor and buffer limits; on another machine they are not used. Later runs show what
they left (\"generator headroom\"), warn above 70 % of a ceiling, and are INVALID above 90 %.";

#[derive(Args)]
pub(super) struct CalibrateArgs {
    /// Where the ceilings are kept; without it loadgen/calibration.json in the XDG state folder
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Only this: matching, signalling, light, turn (calls a second), packets or connected; may be repeated
    #[arg(long, value_name = "WHAT")]
    only: Vec<String>,
    /// Print what is known of this machine and stop
    #[arg(long)]
    show: bool,
}

pub(super) fn run(args: &CalibrateArgs) -> Result<u8, Stop> {
    let path = args.file.clone().or_else(usual_path);
    let path = path.ok_or_else(|| usage("neither HOME nor XDG_STATE_HOME is set: give --file".to_owned()))?;
    let known = Calibration::read(&path).unwrap_or_default();
    if args.show {
        let known = known.ok_or_else(|| usage(format!("{}: nothing is known of this machine", path.display())))?;
        say(&mut io::stdout(), &table(&known));
        return Ok(0);
    }
    let wanted = args.wanted()?;
    sys::raise_open_files().map_err(internal)?;
    sys::raise_priority(NICE);
    let server = NullServer::start().map_err(internal)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(internal)?;
    let before = known.unwrap_or_else(Calibration::here);
    let tell = |line: &str| say(&mut io::stderr(), line);
    let calibration = runtime.block_on(calibrate(&server, &wanted, before, tell)).map_err(internal)?;
    calibration.write(&path).map_err(internal)?;
    say(&mut io::stdout(), &format!("{}\nkept in {}", table(&calibration), path.display()));
    Ok(0)
}

impl CalibrateArgs {
    fn wanted(&self) -> Result<Vec<Quantity>, Stop> {
        let known = || Quantity::ALL.iter().map(|quantity| quantity.name()).collect::<Vec<_>>().join(", ");
        let find = |name: &String| {
            let found = Quantity::ALL.into_iter().find(|quantity| quantity.name() == *name);
            found.ok_or_else(|| usage(format!("--only {name}: expected {}", known())))
        };
        if self.only.is_empty() { Ok(Quantity::ALL.to_vec()) } else { self.only.iter().map(find).collect() }
    }
}
