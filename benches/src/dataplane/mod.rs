//! What the relay costs per relayed packet, beside a bare forwarder in the same run.
//!
//! Relay and forwarder take turns on one core; the generator has another. CPU time is that of the thread that relays,
//! from the scheduler's own account (`/proc/self/task/*/schedstat`), so a busy machine disturbs it little. What two
//! cores cannot say: anything about latencies beyond the median.
#![allow(clippy::print_stdout)] // a command-line program

mod bare;
pub(crate) mod cpu;
mod generator;
pub(crate) mod mmsg;
mod report;
mod subject;

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use generator::Generator;
use report::{Account, Sample};
use subject::Subject;

#[derive(Parser)]
#[command(name = "dataplane", about = "CPU per relayed packet, as a ratio to a bare forwarder. Needs two cores.")]
struct Arguments {
    /// Calls; each is two callers sending 50 packets a second
    #[arg(long, default_value_t = 200)]
    calls: usize,
    /// Rounds; each measures the forwarder and the relay once
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Length of one measurement
    #[arg(long, default_value_t = 2)]
    seconds: u64,
    /// Nap of the relay's worker while busy, in microseconds; 0: none, like the forwarder
    #[arg(long, default_value_t = 0)]
    nap_micros: u32,
}

/// The program. `allocations` tells how many heap allocations the process has made.
pub fn main(allocations: fn() -> u64) -> ExitCode {
    match run(&Arguments::parse(), allocations) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("dataplane: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments, allocations: fn() -> u64) -> io::Result<()> {
    let [relay_core, generator_core, ..] = cpu::allowed()[..] else {
        return Err(io::Error::other("two cores are needed: one for the relay, one for the generator"));
    };
    cpu::pin(relay_core);
    let subjects = [Subject::bare()?, Subject::relay(arguments.nap_micros)?];
    cpu::pin(generator_core);
    let callers = arguments.calls * 2;
    let mut generator = Generator::new()?;
    for subject in &subjects {
        subject.admit(&mut generator, callers)?;
    }
    println!(
        "{} calls = {} packets/s, {} rounds of {} s, relay on core {relay_core}, generator on core {generator_core}",
        arguments.calls,
        callers * 50,
        arguments.rounds,
        arguments.seconds
    );
    let mut samples = [Vec::new(), Vec::new()];
    for round in 0..=arguments.rounds {
        for (subject, samples) in subjects.iter().zip(&mut samples) {
            let length = Duration::from_secs(if round == 0 { 1 } else { arguments.seconds });
            let account = || Account::of(subject, allocations);
            let before = account();
            let stretch = generator.run(callers, subject.address, subject::CHANNEL, length);
            let used = account().since(&before);
            if round > 0 {
                samples.push(Sample::new(stretch, &used)); // the first round only warms up
            }
        }
    }
    report::print([subjects[0].name, subjects[1].name], &samples);
    Ok(())
}
