//! This relay beside other servers: who is measured (`servers`), with what (`load`), what is asked (`columns`), and the table.
#![allow(clippy::print_stdout, clippy::print_stderr)] // a command-line program

mod arguments;
mod bare;
mod bench;
mod callers_on_streams;
mod columns;
mod crowd;
mod environment;
mod host;
mod nap;
mod process;
mod results;
mod servers;
mod table;
mod targets;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use arguments::{Arguments, Role};
use bench::{Bench, CALLERS};
use clap::Parser;
use columns::{COLUMNS, Column};
use environment::{Environment, Ticks};
use process::Scratch;
use results::{Book, Run};
use servers::{Kind, Plan};

use crate::load::cpu;
use crate::load::voice::{self, Lane};

/// The program.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match &arguments.command {
        Some(Role::Report { files }) => report(files),
        Some(Role::Forward(forward)) => bare::serve(forward).map_err(|error| error.to_string()),
        Some(Role::Host(host)) => host::serve(host).map_err(|error| error.to_string()),
        None if arguments.list => {
            list();
            Ok(())
        }
        None => measure(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peers: {error}");
            ExitCode::from(2)
        }
    }
}

fn list() {
    for Column { name, about, .. } in COLUMNS {
        println!("{name:<10} {about}");
    }
    println!("servers: {}", Kind::OWN.iter().map(Kind::name).collect::<Vec<_>>().join(", "));
}

fn report(files: &[PathBuf]) -> Result<(), String> {
    let mut book = Book::default();
    for file in files {
        if !file.exists() {
            return Err(format!("{} does not exist", file.display()));
        }
        book.merge(Book::read(file)?);
    }
    targets::compare(&mut book);
    print!("{}{}", table::page(&book), targets::page(&book));
    Ok(())
}

fn measure(arguments: &Arguments) -> Result<(), String> {
    let columns = chosen(arguments)?;
    let (server_core, home) = cores(arguments)?;
    let all_cores = cpu::allowed().len();
    cpu::pin(home);
    let scratch = Scratch::new().map_err(|error| error.to_string())?;
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let socket = || voice::socket().map_err(|error| error.to_string());
    let (callers, peers) = (socket()?, socket()?);
    let client_port = callers.local_addr().map_err(|error| error.to_string())?.port();
    let plan = Plan {
        cores: vec![server_core],
        home,
        workers: 1,
        nap: None,
        callers: CALLERS,
        client_port,
        peer_port: None,
        ports: (1024, 65535),
        certificate: None,
        relay_binary: arguments.relay_binary.clone().unwrap_or_else(|| own.with_file_name("relay")),
        turn_rs_binary: arguments.turn_rs_binary.clone().unwrap_or_else(|| turn_rs(&own)),
    };
    let kinds = installed(arguments, &plan)?;
    let environment = Environment::look(&plan.turn_rs_binary);
    let lanes = vec![Lane::new(&callers), Lane::new(&peers)];
    let mut bench =
        Bench { arguments, scratch: &scratch, kinds, plan, callers, peers, lanes, book: Book::default(), column: "" };
    println!("servers on core {server_core}, generator on core {home}\n");
    let mut all = Book::default();
    for column in columns {
        eprintln!("{}: {} …", column.name, column.about);
        let run = piece(&mut bench, column, &Environment { cores: all_cores, ..environment.clone() });
        let mut book = std::mem::take(&mut bench.book);
        book.runs.push(run);
        if let Some(file) = &arguments.json {
            let mut kept = Book::read(file)?;
            kept.merge(book.clone());
            kept.write(file)?;
        }
        all.merge(book);
    }
    print!("{}", table::page(&all));
    if all.failures.is_empty() { Ok(()) } else { Err("not everything could be measured; see above".to_owned()) }
}

/// Measures one column; one that breaks leaves the others alone.
fn piece(bench: &mut Bench, column: &Column, environment: &Environment) -> Run {
    let (ticks, start) = (Ticks::now(), Instant::now());
    bench.column = column.name;
    if let Err(why) = (column.measure)(bench) {
        eprintln!("{}: {why}", column.name);
        bench.book.fail(column.name, "all", &why);
    }
    let steal_percent = Ticks::now().steal_percent_since(&ticks);
    let (length, rounds) = (bench.arguments.length().name(), bench.arguments.rounds());
    Run {
        column: column.name.to_owned(),
        command: format!("--column {} --length {length} --rounds {rounds}", column.name),
        seconds: start.elapsed().as_secs(),
        environment: Environment { steal_percent, ..environment.clone() },
    }
}

fn chosen(arguments: &Arguments) -> Result<Vec<&'static Column>, String> {
    let find = |name: &String| {
        let known = || COLUMNS.iter().map(|column| column.name).collect::<Vec<_>>().join(", ");
        let column = COLUMNS.iter().find(|column| column.name == name);
        column.ok_or_else(|| format!("no column is called {name:?}; there are {}", known()))
    };
    let quick = ["paced", "outside"];
    if !arguments.columns.is_empty() {
        return arguments.columns.iter().map(find).collect();
    }
    Ok(COLUMNS.iter().filter(|column| !arguments.quick || quick.contains(&column.name)).collect())
}

/// Of the servers and of the generator.
fn cores(arguments: &Arguments) -> Result<(usize, usize), String> {
    let (first, second) = match cpu::allowed()[..] {
        [first, second, ..] => (first, second),
        [only] if arguments.quick => {
            eprintln!("careful: servers and generator share the only core, so that no number means anything");
            (only, only)
        }
        _ => return Err("two cores are needed: one for the servers, one for the generator".to_owned()),
    };
    Ok((arguments.server_core.unwrap_or(second), arguments.generator_core.unwrap_or(first)))
}

/// `target/peers/bin/turn-server`, seen from `target/release/peers`.
fn turn_rs(own: &std::path::Path) -> PathBuf {
    let target = own.parent().and_then(std::path::Path::parent).unwrap_or(std::path::Path::new("target"));
    target.join("peers/bin/turn-server")
}

/// What was asked for must be there; of the rest, what is not is left out.
fn installed(arguments: &Arguments, plan: &Plan) -> Result<Vec<Kind>, String> {
    let mut kinds = arguments.kinds()?;
    let mut missing = Vec::new();
    kinds.retain(|kind| match kind.missing(plan) {
        None => true,
        Some(how) => {
            missing.push(format!("{} is not there: {how}", kind.name()));
            false
        }
    });
    if !missing.is_empty() && !arguments.servers.is_empty() {
        return Err(missing.join("\n"));
    }
    missing.iter().for_each(|line| eprintln!("left out: {line}"));
    Ok(kinds)
}
