//! The daemon: arguments → settings → run → exit code.
#![allow(clippy::print_stdout, reason = "the command line prints: it is what its user asked for")]

mod cli;
mod commands;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};
use cli::{Cli, Command};
use relay::server::Succession;

/// What people say and are is not to lie around in freed memory.
#[global_allocator]
static HEAP: relay::sandbox::Wiping = relay::sandbox::Wiping;

fn main() -> ExitCode {
    let arguments = Cli::parse();
    // What it finds is said aloud; the server it starts for a moment has nothing to add.
    let examines = matches!(arguments.command, Some(Command::Doctor(_)));
    start_logging(if examines { cli::Level::Error } else { arguments.log });
    match (&arguments.command, &arguments.config) {
        (Some(Command::Explain { key }), _) => commands::explain(key.as_deref()),
        (Some(Command::Doctor(wanted)), file) => commands::doctor::doctor(wanted, file.as_deref()),
        (Some(Command::ImportCoturn(wanted)), _) => commands::coturn::import(wanted),
        (Some(Command::Completions(wanted)), _) => commands::shown(|out| wanted.write(Cli::command(), out)),
        (Some(Command::Man(wanted)), _) => commands::shown(|out| wanted.write(Cli::command(), out)),
        (None, None) => commands::run_local(),
        (None, Some(file)) => {
            let place = arguments.hand_over.as_deref();
            commands::run(file, place.map(|socket| Succession { socket, whole: false }))
        }
        (Some(Command::Upgrade { hand_over }), Some(file)) => {
            commands::run(file, Some(Succession { socket: hand_over, whole: true }))
        }
        (Some(Command::Check), Some(file)) => commands::check(file),
        (Some(Command::Credentials(wanted)), Some(file)) => commands::credentials(file, wanted),
        (Some(Command::Prove(wanted)), file) => commands::prove(file.as_deref(), wanted),
        (Some(_), None) => commands::usage("this command needs --config FILE"),
    }
}

/// Logs of this program alone go to standard error: what libraries say may name a caller. A panic is one line with its place; what it
/// would say may hold somebody's data.
fn start_logging(level: cli::Level) {
    use std::io::IsTerminal;
    let own = tracing_subscriber::EnvFilter::new(format!("off,relay={}", level.name()));
    tracing_subscriber::fmt()
        .with_env_filter(own)
        .with_writer(|| relay::log::Stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
        tracing::error!("panic at {place}");
    }));
}
