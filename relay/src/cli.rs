//! The command line, and what `--help` teaches.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use relay::manual::{Completions, Manual};

const EXAMPLES: &str = "\
Examples:
  relay
      Everything on this machine, for trying things: STUN/TURN on 127.0.0.1:3478 (UDP), the page on
      http://127.0.0.1:8080, metrics on http://127.0.0.1:9641/metrics. Prints how to try it and a
      password made for this run.
  relay check --config /etc/relay/relay.toml
      Every problem of the file at once, each with its line.
  relay --config /etc/relay/relay.toml
      For real use. configs/relay.toml in the source shows every option at its default.
  relay prove --config /etc/relay/relay.toml
      What keeps the running daemon from recording, asked of the kernel.
  relay credentials --config /etc/relay/relay.toml --user alice --ttl 3600
      A user name and password that work for an hour.
  relay upgrade --config /etc/relay/relay.toml --hand-over /run/relay/hand-over
      This program in the place of the running one, and every call goes on.
  relay explain limits.call_bits_per_second
      What a key does, its default, and whether a reload changes it.
  relay doctor --config /etc/relay/relay.toml
      What is wrong, in plain words, and what to do about it.

Where it listens is printed on standard output, one `listening …` line each, then `ready`; logs go
to standard error. SIGHUP, or POST /v1/reload, reads the file again. SIGTERM lets what exists end in peace, for as long as
[drain] deadline_secs says, and a second one does not; Ctrl-C stops it at once.

Exit status: 0 stopped on request, or the file is good; 1 could not start or broke; 2 wrong
arguments or a broken file.";

/// STUN/TURN relay with matchmaking and call signalling for voice between strangers.
///
/// Callers are matched, talk through the relay with their addresses hidden from each other, and hang up; nothing they say is
/// decrypted, recorded or written to disk. Without `[listen] signalling` it is a plain STUN/TURN server.
#[derive(Debug, Parser)]
#[command(name = "relay", version, after_long_help = EXAMPLES, after_help = "More, with examples: relay --help")]
pub(crate) struct Cli {
    /// Configuration file (TOML); without it, embedded defaults for local use
    #[arg(long, short, value_name = "FILE", global = true)]
    pub(crate) config: Option<PathBuf>,

    /// How much to log; nothing personal at any level
    #[arg(long, value_name = "LEVEL", value_enum, default_value_t = Level::Info, global = true)]
    pub(crate) log: Level,

    /// Takes the place of the relay that was started with the same socket, if there is one, refusing nobody; and then waits there for the next
    #[arg(long, value_name = "SOCKET")]
    pub(crate) hand_over: Option<PathBuf>,

    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Looks a configuration file over, starts nothing
    ///
    /// Prints every problem at once, as FILE:LINE:COLUMN, and exits with 2; or a summary, and exits with 0.
    Check,
    /// Makes time-limited TURN credentials
    ///
    /// They are made from the newest of `[auth] rest_secrets`, as described in draft-uberti-behave-turn-rest: what an app's
    /// backend would do. Prints `username …`, `password …` and `ttl_secs …`, one a line.
    #[command(after_help = "Example:\n  relay credentials --config relay.toml --user alice --ttl 3600")]
    Credentials(Credentials),
    /// Shows that the running daemon cannot record: what the kernel says, where each datum lives
    ///
    /// Asks the daemon through its admin listener and the kernel through /proc, so it runs on the same machine, as root to see
    /// everything. Exits with 0 if everything promised holds, and with 1 if not or if it cannot be seen.
    #[command(after_help = "Example:\n  relay prove --config relay.toml")]
    Prove(Prove),
    /// Explains a key of the configuration: what it does, type, default, range, whether a reload changes it
    ///
    /// Without a key all are listed; with a section, such as `limits`, those of it.
    #[command(after_help = "Examples:\n  relay explain limits.call_bits_per_second\n  relay explain drain")]
    Explain {
        /// `section.key`, a key alone, or a section
        #[arg(value_name = "KEY")]
        key: Option<String>,
    },
    /// Makes a configuration of coturn's turnserver.conf, and says what has no counterpart
    ///
    /// Every line is carried over, left out because nothing is lost, or listed with what to do about it. Secrets go into files beside the
    /// new configuration that only their owner may read.
    #[command(
        after_help = "Example:\n  relay import-coturn /etc/turnserver.conf --users-db /var/lib/turn/turndb -o /etc/relay/relay.toml"
    )]
    ImportCoturn(ImportCoturn),
    /// Takes the place of a running relay, with its calls: nobody hears it
    ///
    /// Started beside the one at work, as the same user, it receives what that one listens at and relays through, and everything it knows:
    /// allocations, calls, and who waits with what seniority. Calls over UDP go on; WebSocket clients come back by themselves and resume;
    /// clients over TCP and TLS and whom they talk with stay with the old process, which ends when they have. If this program cannot read
    /// what the running one knows, or cannot start, it says why and the running one goes on as if nothing had been. It then serves, and
    /// waits at the same socket for the next.
    #[command(
        after_help = "Example:\n  relay --config /etc/relay/relay.toml --hand-over /run/relay/hand-over      the one at work\n  relay upgrade --config /etc/relay/relay.toml --hand-over /run/relay/hand-over"
    )]
    Upgrade {
        /// Where the running relay waits for another: what its own --hand-over names
        #[arg(long, value_name = "SOCKET")]
        hand_over: PathBuf,
    },
    /// Finds out what is wrong: configuration, ports, certificate, clock, limits, addresses, and a call over each transport
    ///
    /// Each finding is in plain words with what to do about it. With a relay at work the calls go through it; without, one is started on the
    /// configured ports for the moment. Exits with 0 if nothing is bad, 1 if something is, 2 if the configuration cannot be read.
    #[command(
        after_help = "Examples:\n  relay doctor --config /etc/relay/relay.toml\n  RELAY_PASSWORD=… relay doctor --from-outside turn:relay.example:3478 --user 1767225600:me\n  RELAY_TOKENS='… …' relay doctor --from-outside wss://relay.example/v1/ws"
    )]
    Doctor(Doctor),
    /// Prints completions for a shell
    #[command(
        after_help = "Examples:\n  source <(relay completions bash)\n  relay completions fish > ~/.config/fish/completions/relay.fish"
    )]
    Completions(Completions),
    /// Prints this help as man pages
    ///
    /// The page of the program, or that of one of its commands; with --output all of them, each into a file of its own.
    #[command(after_help = "Examples:\n  relay man doctor | man -l -\n  relay man --output /usr/local/share/man/man1")]
    Man(Manual),
}

#[derive(Args, Debug)]
pub(crate) struct Prove {
    /// The daemon's admin listener, if not [listen] admin of the configuration file
    #[arg(long, value_name = "ADDR")]
    pub(crate) admin: Option<std::net::SocketAddr>,

    /// For programs
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Doctor {
    /// Findings as JSON, for programs
    #[arg(long)]
    pub(crate) json: bool,

    /// Also a call in a real Chromium, if there is one
    #[arg(long)]
    pub(crate) browser: bool,

    /// Only a client's half, from another machine: calls through this server. The password is taken from
    /// $RELAY_PASSWORD; for wss://HOST/v1/ws two tokens are taken from $RELAY_TOKENS
    #[arg(long, value_name = "URL")]
    pub(crate) from_outside: Option<String>,

    /// Whose credentials --from-outside uses
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,

    /// Where the system's numbers are
    #[arg(long, hide = true, default_value = "/proc")]
    pub(crate) proc: PathBuf,
}

#[derive(Args, Debug)]
pub(crate) struct ImportCoturn {
    /// coturn's configuration
    #[arg(value_name = "TURNSERVER_CONF")]
    pub(crate) file: PathBuf,

    /// Where the new configuration goes; files of secrets are put beside it
    #[arg(long, short, value_name = "FILE", default_value = "relay.toml")]
    pub(crate) output: PathBuf,

    /// coturn's database: the SQLite file (needs sqlite3), what `sqlite3 turndb .dump` wrote, or lines of `name:password`
    #[arg(long, value_name = "FILE")]
    pub(crate) users_db: Option<PathBuf>,

    /// Writes over files that are there
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Credentials {
    /// Whom they are for; any text without control characters
    #[arg(long, value_name = "NAME", default_value = "guest", value_parser = user_name)]
    pub(crate) user: String,

    /// How long an allocation may be started with them, in seconds
    #[arg(long, value_name = "SECS", default_value_t = 86_400, value_parser = clap::value_parser!(u32).range(1..=31_536_000))]
    pub(crate) ttl: u32,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Level {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl Level {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Level::Off => "off",
            Level::Error => "error",
            Level::Warn => "warn",
            Level::Info => "info",
            Level::Debug => "debug",
            Level::Trace => "trace",
        }
    }
}

/// The whole user name must stay below 509 bytes (RFC 8489 §14.3), time stamp included.
fn user_name(text: &str) -> Result<String, String> {
    const LONGEST: usize = 480;
    if text.is_empty() || text.len() > LONGEST {
        return Err(format!("a name has 1 to {LONGEST} bytes"));
    }
    if text.chars().any(char::is_control) {
        return Err("no control characters".to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_file_may_stand_before_or_after_the_command() {
        for arguments in [["relay", "check", "--config", "f"], ["relay", "--config", "f", "check"]] {
            let cli = Cli::parse_from(arguments);
            assert_eq!(cli.config, Some(PathBuf::from("f")));
            assert!(matches!(cli.command, Some(Command::Check)));
        }
    }

    #[test]
    fn the_help_shows_an_example_of_each_use() {
        let help = Cli::command().render_long_help().to_string();
        for example in ["relay check --config", "relay --config", "relay credentials --config", "Exit status"] {
            assert!(help.contains(example), "{example} is missing");
        }
    }
}
