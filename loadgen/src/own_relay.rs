//! The relay of a run without `--target`: this binary again, in a process of its own, so that its CPU and memory are told
//! apart from ours.
//!
//! Parent and child speak over pipes: the child reads TOML from its input up to [`END`], prints where it listens as the
//! daemon does, and stops when its input closes, which also happens if the parent dies.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::SocketAddr,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
};

mod program;

pub use program::Program;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::RngCore;

use crate::{
    peer::turn::Credential,
    runner::{Address, Aim},
    scenario::{Depth, Scenario, Transport},
    token::{Key, Minter},
};
use program::Folder;

/// The hidden subcommand.
pub const SUBCOMMAND: &str = "serve-relay-for-a-run";
/// In whose name allocations are made without signalling.
const USER: &str = "loadgen";
/// One for every port.
const MAX_ALLOCATIONS: u32 = 60_000;
/// Allocations of one user where some of them are attackers.
const ATTACKED_QUOTA: u32 = 50;
/// 127.0.0.0/8 without the addresses of [`crate::attack`].
const CALLERS: &str = r#""127.0.0.0/9", "127.128.0.0/10", "127.192.0.0/11", "127.224.0.0/12", "127.240.0.0/13", "127.248.0.0/14", "127.252.0.0/15", "127.254.0.0/16""#;
/// Ends the configuration on the child's input.
const END: &str = "# end of configuration";

/// A relay of our own.
pub struct OwnRelay {
    child: Child,
    /// Closing it stops the relay, unless it is another program.
    input: Option<ChildStdin>,
    /// Where such a program has its configuration.
    folder: Option<Folder>,
    pub turn: SocketAddr,
    /// The same over TCP.
    pub tcp: SocketAddr,
    /// For allocations without signalling.
    pub credential: Credential,
    pub signalling: SocketAddr,
    pub admin: Option<SocketAddr>,
}

impl OwnRelay {
    /// Starts it on free ports of the loopback interface, with `topics` topics and at most `lines` allocations (0: as many
    /// as there are ports), and returns it with the key for tokens. Where it is `attacked`, attackers are not exempt from its
    /// limits as callers are, and a user has a quota.
    pub fn start(topics: u8, lines: u32, attacked: bool) -> io::Result<(OwnRelay, Minter)> {
        OwnRelay::of(&Program::This, topics, lines, attacked)
    }

    /// The same of any build of it.
    pub fn of(program: &Program, topics: u8, lines: u32, attacked: bool) -> io::Result<(OwnRelay, Minter)> {
        let (mut secret, mut run) = ([0; 32], [0; 16]);
        rand::rng().fill_bytes(&mut secret);
        rand::rng().fill_bytes(&mut run);
        let secret = URL_SAFE_NO_PAD.encode(secret);
        let configuration = configuration(&secret, topics, lines, attacked);
        let folder = matches!(program, Program::Command(_)).then(|| Folder::with(&configuration)).transpose()?;
        let mut command = match (program, &folder) {
            (Program::Command(words), Some(folder)) => folder.command(words)?,
            (Program::Loadgen(path), _) => Command::new(path),
            _ => Command::new(std::env::current_exe()?),
        };
        if folder.is_none() {
            command.arg(SUBCOMMAND);
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0) // Ctrl-C ends the measurement, not the relay under it
            .spawn()?;
        let mut input = child.stdin.take().ok_or_else(|| io::Error::other("no pipe to the relay"))?;
        if folder.is_none() {
            input.write_all(format!("{configuration}\n{END}\n").as_bytes())?;
        }
        let output =
            child.stdout.take().map(BufReader::new).ok_or_else(|| io::Error::other("no pipe from the relay"))?;
        let Listening { turn: Some(turn), tcp: Some(tcp), signalling: Some(signalling), admin } =
            Listening::read(output)
        else {
            let _ = child.kill(); // it may serve, and only have said so in other words
            let status = child.wait()?;
            let said = folder.map_or_else(String::new, |folder| folder.complaints());
            return Err(io::Error::other(format!("the relay of our own did not start ({status}){said}")));
        };
        let credential = Credential { username: USER.into(), password: secret.clone() };
        let key = Key::Hs256(secret.into_bytes());
        let minter = Minter { kid: "loadgen".into(), issuer: "loadgen".into(), audience: "loadgen".into(), key, run };
        Ok((OwnRelay { child, input: Some(input), folder, turn, tcp, credential, signalling, admin }, minter))
    }

    /// How a run of `scenario` is aimed at it.
    pub fn aim(&self, minter: Minter, scenario: &Scenario) -> Result<Aim, String> {
        let (address, server_pid, admin) =
            (Address::usual(self.signalling), Some(self.pid()), self.admin.into_iter().collect());
        let (server, turn) = match scenario.transport {
            // Where there is no signalling to say so, over TCP.
            Transport::Udp if scenario.falls_back && scenario.depth == Depth::Turn => (self.turn, Some(self.tcp)),
            Transport::Udp => (self.turn, None),
            Transport::Tcp => (self.tcp, Some(self.tcp)),
            Transport::Tls => {
                return Err("a relay of our own has no certificate: TLS needs --target or --turn".to_owned());
            }
        };
        let turn_only = (scenario.depth == Depth::Turn).then(|| (server, self.credential.clone()));
        Ok(Aim { address, others: Vec::new(), minter, turn, turn_only, server_pid, admin, own: true })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for OwnRelay {
    fn drop(&mut self) {
        self.input = None;
        if self.folder.is_some() {
            let _ = self.child.kill(); // another program does not know what a closed input means
        }
        for _ in 0..300 {
            if let Ok(Some(_)) = self.child.try_wait() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A relay for loopback and this run alone.
fn configuration(secret: &str, topics: u8, lines: u32, attacked: bool) -> String {
    let topics: Vec<String> = (0..topics).map(|topic| format!("\"topic-{topic}\"")).collect();
    format!(
        r#"[listen]
udp = ["127.0.0.1:0"]
tcp = ["127.0.0.1:0"]
signalling = "127.0.0.1:0"
admin = "127.0.0.1:0"

[relay]
realm = "loadgen"
addresses = ["127.0.0.1"]
ports = "1024-65535"

[auth]
issuer = "loadgen"
audience = "loadgen"
users = {{ {USER} = "{secret}" }}
tokens = [{{ kid = "loadgen", alg = "HS256", secret = "{secret}" }}]

[access]
allow_peers = ["127.0.0.0/8"]
user_allocations = {allocations}

[limits]
exempt = [{exempt}]

[matching]
topics = [{topics}]
"#,
        topics = topics.join(", "),
        allocations = match (lines, attacked) {
            (0, true) => ATTACKED_QUOTA,
            (0, false) => MAX_ALLOCATIONS,
            (lines, _) => lines,
        },
        exempt = if attacked { CALLERS } else { "\"127.0.0.0/8\"" },
    )
}

#[derive(Default)]
struct Listening {
    turn: Option<SocketAddr>,
    tcp: Option<SocketAddr>,
    signalling: Option<SocketAddr>,
    admin: Option<SocketAddr>,
}

impl Listening {
    /// Reads the daemon's `listening …` lines up to `ready`.
    fn read(lines: impl BufRead) -> Listening {
        let mut listening = Listening::default();
        for line in lines.lines().map_while(Result::ok).take_while(|line| line != "ready") {
            let address = |what: &str| line.strip_prefix(what)?.strip_prefix(" http://")?.parse().ok();
            let turn = |over: &str| line.strip_prefix("listening turn ")?.strip_prefix(over)?.trim().parse().ok();
            listening.turn = listening.turn.or_else(|| turn("udp"));
            listening.tcp = listening.tcp.or_else(|| turn("tcp"));
            listening.signalling = listening.signalling.or(address("listening signalling"));
            listening.admin = listening.admin.or(address("listening admin"));
        }
        listening
    }
}

/// The child's side: serves until its input closes.
pub fn serve() -> Result<(), String> {
    let mut input = io::stdin().lock();
    let mut text = String::new();
    while input.read_line(&mut text).map_err(|error| error.to_string())? > 0 {
        if text.ends_with(&format!("{END}\n")) {
            break;
        }
    }
    let settings = relay::config::parse(&text, Path::new(".")).map_err(|problems| problems.to_string())?;
    let running = relay::server::start(&settings).map_err(|error| error.to_string())?;
    let mut output = io::stdout().lock();
    writeln!(output, "{}ready", running.addresses())
        .and_then(|()| output.flush())
        .map_err(|error| error.to_string())?;
    while input.read_line(&mut text).is_ok_and(|length| length > 0) {}
    running.stop();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_daemons_lines_are_read_up_to_ready() {
        let lines = "listening turn udp 127.0.0.1:1\nlistening signalling http://127.0.0.1:2\n\
                     listening admin http://127.0.0.1:3\nready\nlistening signalling http://127.0.0.1:4\n";
        let listening = Listening::read(lines.as_bytes());
        assert_eq!(listening.signalling, Some(SocketAddr::from(([127, 0, 0, 1], 2))));
        assert_eq!(listening.admin, Some(SocketAddr::from(([127, 0, 0, 1], 3))));
    }

    #[test]
    fn a_relay_that_says_nothing_did_not_start() {
        assert!(Listening::read(&b""[..]).signalling.is_none());
    }
}
