//! `loadgen find-limit`.

use std::{
    io,
    path::PathBuf,
    time::{Duration, Instant},
};

use clap::Args;

use super::{
    INTERRUPTED, NICE, Stop,
    aim::{check_descriptors, reach},
    args::RunArgs,
    internal, outputs, say, usage, write_json,
};
use crate::{
    allowance,
    arrival::Shape,
    compare::parse_share,
    limit::{self, Found, Search, Who, json, probe},
    runner::{self, Manner},
    scenario::{Scenario, parse_span},
    sys,
    verdict::Word,
};

pub(super) const EXAMPLES: &str = "\
Examples:
  loadgen find-limit                                     of a relay of its own, ten minutes at most
  loadgen find-limit --slo 'allocate.p99<50ms' --slo 'success>=99.9%' --resolution 3%
  loadgen find-limit set-up --from 100 --json limit.json
  loadgen find-limit --target ws://host:8080/v1/ws --token-secret SECRET … --server-pid PID
  loadgen find-limit --turn turn:host:3478 --user U --password P          any TURN server: coturn, eturnal, a provider's

Calls a second are doubled until an objective is missed, then halved in between until the two are within --resolution. Both ends are
then measured --confirm times more: the lower one moves down until it is carried every time, the upper one up until it never is. The
answer is what lies between, in calls a second, busy-hour call attempts (× 3600) and Erlang (× mean hold), and who gave out: the
generator, the server's processors, its ports or quota, or an objective alone. A window is as long as its rarest percentile needs. A
point that was not carried while others had more than 2 % of the machine's time (steal) is measured again, up to eight times. One
at which the generator was at fault is measured three times before it counts as its limit, and higher ones once; above it, the
server's is unknown.
A relay of our own is started anew for every point. Nothing is begun after --at-most.

Exit codes: 0 an interval, confirmed · 2 usage · 3 an objective is missed at any load · 5 the generator gave out first: the server
carries the lower end at least · 6 target unreachable · 8 not confirmed in time · 130 interrupted";

#[derive(Args)]
pub(super) struct FindLimitArgs {
    /// Calls a second to begin with
    #[arg(long, value_name = "N", default_value_t = 20.0)]
    from: f64,
    /// How near the ends come before they are confirmed
    #[arg(long, value_name = "SHARE", default_value = "5%")]
    resolution: String,
    /// Windows in a row that must agree at each end
    #[arg(long, value_name = "N", default_value_t = 4)]
    confirm: u32,
    /// When nothing new is begun
    #[arg(long, value_name = "TIME", default_value = "10m")]
    at_most: String,
    #[command(
        flatten,
        next_help_heading = "The load of a point, as of `loadgen run`; without a scenario `find-limit`"
    )]
    run: Box<RunArgs>,
}

pub(super) fn run(args: &FindLimitArgs) -> Result<u8, Stop> {
    let search = args.search()?;
    outputs::refuse_all("find-limit", &args.run)?;
    let mut base = args.run.clone();
    base.scenario.get_or_insert_with(|| PathBuf::from("find-limit"));
    let scenario = base.scenario()?;
    if scenario.users > 0 || scenario.shape != Shape::Steady {
        return Err(usage(
            "find-limit needs callers who arrive at a steady rate: no --users, no --arrivals shape".to_owned(),
        ));
    }
    if scenario.objectives.is_empty() {
        return Err(usage("find-limit needs an objective: --slo 'success>=99%'".to_owned()));
    }
    sys::raise_open_files().map_err(internal)?;
    let priority = !args.run.ordinary_priority && sys::raise_priority(NICE);
    let began = Instant::now();
    let (mut number, mut stopped) = (0, None);
    let found = limit::search(search, &|| began.elapsed(), &mut |purpose, rate| {
        number += 1;
        let point = point(&base, &probe::at(&scenario, rate, number), purpose, priority).map_err(|stop| {
            let error = io::Error::other(stop.1.clone());
            stopped = Some(stop);
            error
        })?;
        if !args.run.quiet {
            say(&mut io::stderr(), &json::line(&point));
        }
        Ok(point)
    });
    let found = found.map_err(|error| stopped.unwrap_or_else(|| internal(error)))?;
    let target = (!base.target.is_empty())
        .then(|| base.target.join(", "))
        .or(base.turn.clone())
        .unwrap_or_else(|| "a relay of our own".to_owned());
    let to_stdout = args.run.json.as_deref() == Some(std::path::Path::new("-"));
    let words = json::words(&found, &scenario);
    if to_stdout {
        say(&mut io::stderr(), &words)
    } else {
        say(&mut io::stdout(), &words)
    }
    if let Some(path) = &args.run.json {
        write_json(path, &json::render(&found, &scenario, &target))?;
    }
    Ok(exit_code(&found))
}

impl FindLimitArgs {
    fn search(&self) -> Result<Search, Stop> {
        let resolution = parse_share(&self.resolution).map_err(usage)?;
        let at_most = parse_span(&self.at_most).map_err(usage)?;
        if resolution < 0.005
            || self.confirm == 0
            || !self.from.is_finite()
            || self.from < 1.0
            || at_most < Duration::from_secs(1)
        {
            return Err(usage("--resolution 0.5% at least, --confirm 1, --from 1, --at-most 1s".to_owned()));
        }
        Ok(Search { from: self.from, resolution, confirm: self.confirm, at_most })
    }
}

fn point(args: &RunArgs, scenario: &Scenario, purpose: &'static str, priority: bool) -> Result<limit::Point, Stop> {
    check_descriptors(scenario, args.target.is_empty())?;
    let (own, aim) = args.aim(scenario)?;
    let may_use = aim.server_pid.map(allowance::processors_of).filter(|count| *count > 0).map(|count| count as f64);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(internal)?;
    let run = runtime.block_on(async {
        reach(&aim, scenario).await?;
        runner::run_as(scenario.clone(), aim, Manner::default(), priority, |_| {}).await.map_err(internal)
    })?;
    drop(own);
    if run.interrupted {
        return Err(Stop(INTERRUPTED, "interrupted".to_owned()));
    }
    Ok(probe::point(purpose, &run, may_use))
}

fn exit_code(found: &Found) -> u8 {
    match (found.low, found.who) {
        (_, Some(Who::Generator)) => Word::Invalid.exit_code(),
        (None, _) => Word::Fail.exit_code(),
        _ if !found.confirmed => Word::Inconclusive.exit_code(),
        _ => 0,
    }
}
