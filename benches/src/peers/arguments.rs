//! The command line, and what `--help` teaches.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

use super::bare::Forward;
use super::host::Host;
use super::servers::{External, Kind};

const EXAMPLES: &str = "\
Examples:
  benches/peers/run.sh --quick
      Proves in seconds that everything works: the relay and the bare forwarders, two columns. Its numbers mean little.
  benches/peers/run.sh
      Every column for every server that is installed. Takes about half an hour; leave the machine alone.
  benches/peers/run.sh --column limit --rounds 3 --json today.json
      One column, kept in a file. Run it again with other columns: the file collects them.
  benches/peers/run.sh report today.json
      Tables and targets of such a file, as Markdown.
  benches/peers/run.sh --column paced --server relay --server bare-one --external pion=127.0.0.1:3478,user,secret,4711
      Beside a server that somebody else has started: name=host:port,user,password[,pid]. Its CPU counts if its pid is given.
      It must let its callers reach relayed addresses on 127.0.0.1.

Servers: bare-one (a forwarder with one socket: 1 receive + 1 send), bare-two (a socket for each caller: 2 + 2), relay (the
daemon, one user with a password), relay-call (its data plane with call-bound credentials), relay-call-deaf (the same, not listening to
how calls go; only if asked for), coturn (apt-get install coturn),
turn-rs (run.sh --with-turn-rs builds it, once), turn-crate (a server made of the turn crate, 0.17).

The servers run on one core and the generator on another. CPU time is the scheduler's account of the whole server process.
Numbers of different runs do not compare; ratios within a run do, to a few percent. Latencies and small losses vary a lot.";

/// This relay beside other TURN servers and bare forwarders, in turns, under the same load.
#[derive(Parser)]
#[command(name = "peers", after_long_help = EXAMPLES, after_help = "More, with examples and the columns: --help")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Option<Role>,

    /// A column to measure; again for more. Without: all of them
    #[arg(long = "column", value_name = "NAME")]
    pub(crate) columns: Vec<String>,

    /// A server to measure; again for more. Without: all that are installed
    #[arg(long = "server", value_name = "NAME")]
    pub(crate) servers: Vec<String>,

    /// A server that runs already, as `name=host:port,user,password[,pid]`
    #[arg(long = "external", value_name = "SERVER", value_parser = External::parse)]
    pub(crate) externals: Vec<External>,

    /// Keep the measurements in this file; columns and servers it has already are replaced
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// How long everything takes
    #[arg(long, value_enum, default_value_t = Length::Standard)]
    pub(crate) length: Length,

    /// Only proves that it works: the relay and the forwarders, seconds
    #[arg(long)]
    pub(crate) quick: bool,

    /// Rounds; each measures every server once [default: 1, 3 or 5 by length]
    #[arg(long, value_name = "N")]
    pub(crate) rounds: Option<usize>,

    /// Core of the servers
    #[arg(long, value_name = "CORE")]
    pub(crate) server_core: Option<usize>,

    /// Core of the generator
    #[arg(long, value_name = "CORE")]
    pub(crate) generator_core: Option<usize>,

    /// The relay to measure [default: beside this program]
    #[arg(long, value_name = "FILE")]
    pub(crate) relay_binary: Option<PathBuf>,

    /// turn-rs [default: target/peers/bin/turn-server]
    #[arg(long, value_name = "FILE")]
    pub(crate) turn_rs_binary: Option<PathBuf>,

    /// Lists columns and servers
    #[arg(long)]
    pub(crate) list: bool,
}

#[derive(Subcommand)]
pub(crate) enum Role {
    /// Prints tables and targets of files that --json has written
    Report {
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    #[command(hide = true)]
    Forward(Forward),
    #[command(hide = true)]
    Host(Host),
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Length {
    Short,
    Standard,
    Full,
}

impl Length {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Length::Short => "short",
            Length::Standard => "standard",
            Length::Full => "full",
        }
    }
}

impl Arguments {
    pub(crate) fn length(&self) -> Length {
        if self.quick { Length::Short } else { self.length }
    }

    pub(crate) fn rounds(&self) -> usize {
        let usual = match self.length() {
            Length::Short => 1,
            Length::Standard => 3,
            Length::Full => 5,
        };
        self.rounds.unwrap_or(usual)
    }

    /// Of one measurement at one rate.
    pub(crate) fn seconds(&self) -> f64 {
        match self.length() {
            Length::Short => 0.3,
            Length::Standard => 2.0,
            Length::Full => 4.0,
        }
    }

    /// Of one step of the search for a limit.
    pub(crate) fn probe_seconds(&self) -> f64 {
        match self.length() {
            Length::Short => 0.15,
            Length::Standard => 0.6,
            Length::Full => 1.0,
        }
    }

    /// Scales a number of allocations or cycles.
    pub(crate) fn many(&self, standard: usize) -> usize {
        match self.length() {
            Length::Short => standard.div_ceil(50),
            Length::Standard | Length::Full => standard,
        }
    }

    /// The servers asked for, or all.
    pub(crate) fn kinds(&self) -> Result<Vec<Kind>, String> {
        let own = |name: &String| {
            let known = || Kind::OWN.iter().map(Kind::name).collect::<Vec<_>>().join(", ");
            let kind = Kind::OWN.into_iter().find(|kind| kind.name() == name);
            kind.ok_or_else(|| format!("no server is called {name:?}; there are {}", known()))
        };
        let mut kinds: Vec<Kind> = self.servers.iter().map(own).collect::<Result<_, _>>()?;
        if kinds.is_empty() && self.quick {
            kinds = vec![Kind::BareOne, Kind::BareTwo, Kind::Relay, Kind::RelayCall];
        } else if kinds.is_empty() {
            kinds = Kind::OWN.into_iter().filter(|kind| *kind != Kind::RelayCallDeaf).collect();
        }
        kinds.extend(self.externals.iter().cloned().map(Kind::External));
        Ok(kinds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_server_of_somebody_else_is_read() {
        let external = External::parse("pion=127.0.0.1:3478,user,secret,4711").unwrap();
        assert_eq!((external.name.as_str(), external.pid), ("pion", Some(4711)));
        assert_eq!(External::parse("pion=127.0.0.1:3478,user,secret").unwrap().pid, None);
        assert!(External::parse("pion=127.0.0.1,user").is_err());
    }

    #[test]
    fn an_unknown_server_is_told_which_there_are() {
        let arguments = Arguments::parse_from(["peers", "--server", "nginx"]);
        assert!(arguments.kinds().unwrap_err().contains("coturn"));
    }
}
