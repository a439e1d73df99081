//! The servers, each as a user would run it, on a port of its own: what is started, and how its callers get in.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use relay::wire::{Method, Request, TransactionId};

use super::process::{Process, Scratch, until};

pub(crate) const REALM: &str = "bench";
pub(crate) const USER: &str = "bench";
pub(crate) const PASSWORD: &str = "correct horse battery";

/// What can be measured.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Relay,
    RelayCall,
    RelayCallDeaf,
    Coturn,
    TurnRs,
    TurnCrate,
    BareOne,
    BareTwo,
    External(External),
}

/// A server that somebody else has started.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct External {
    pub(crate) name: String,
    pub(crate) address: SocketAddrV4,
    pub(crate) username: String,
    pub(crate) password: String,
    pub(crate) pid: Option<u32>,
}

/// How a server is to be run this time.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) cores: Vec<usize>,
    pub(crate) home: usize,
    pub(crate) workers: usize,
    /// Where the server lets itself be told: the forwarders and the host.
    pub(crate) nap: Option<u32>,
    pub(crate) callers: usize,
    pub(crate) client_port: u16,
    /// Port of the outside peers; without it callers reach each other.
    pub(crate) peer_port: Option<u16>,
    /// Relayed ports, where the server lets itself be told.
    pub(crate) ports: (u16, u16),
    /// Certificate and key for those that speak TLS.
    pub(crate) certificate: Option<(PathBuf, PathBuf)>,
    pub(crate) relay_binary: PathBuf,
    pub(crate) turn_rs_binary: PathBuf,
}

/// How callers get in.
pub(crate) enum Access {
    /// Everybody may send.
    Nobody,
    /// Everybody may send; the relayed port of each caller.
    Ports(Vec<u16>),
    User {
        username: String,
        password: String,
    },
    /// Each has a credential of its own, made by the host on demand.
    Calls,
}

pub(crate) struct Server {
    pub(crate) pid: Option<u32>,
    pub(crate) udp: SocketAddrV4,
    pub(crate) tcp: Option<SocketAddrV4>,
    pub(crate) tls: Option<SocketAddrV4>,
    pub(crate) access: Access,
    pub(crate) process: Option<Process>,
}

impl Kind {
    pub(crate) const OWN: [Kind; 8] = [
        Kind::BareOne,
        Kind::BareTwo,
        Kind::Relay,
        Kind::RelayCall,
        Kind::Coturn,
        Kind::TurnRs,
        Kind::TurnCrate,
        Kind::RelayCallDeaf,
    ];

    pub(crate) fn name(&self) -> &str {
        match self {
            Kind::Relay => "relay",
            Kind::RelayCall => "relay-call",
            Kind::RelayCallDeaf => "relay-call-deaf",
            Kind::Coturn => "coturn",
            Kind::TurnRs => "turn-rs",
            Kind::TurnCrate => "turn-crate",
            Kind::BareOne => "bare-one",
            Kind::BareTwo => "bare-two",
            Kind::External(external) => &external.name,
        }
    }

    /// Whether callers may reach peers that are not callers.
    pub(crate) fn reaches_outside(&self) -> bool {
        !matches!(self, Kind::RelayCall | Kind::RelayCallDeaf | Kind::TurnRs | Kind::BareOne)
    }

    /// Whether it has allocations at all.
    pub(crate) fn is_turn(&self) -> bool {
        !matches!(self, Kind::BareOne | Kind::BareTwo)
    }

    pub(crate) fn start(&self, plan: &Plan, scratch: &Scratch) -> Result<Server, String> {
        let started = match self {
            Kind::Relay => relay(plan, scratch),
            Kind::RelayCall => host(plan, scratch, false),
            Kind::RelayCallDeaf => host(plan, scratch, true),
            Kind::Coturn => coturn(plan, scratch),
            Kind::TurnRs => turn_rs(plan, scratch),
            Kind::TurnCrate => turn_crate(plan, scratch),
            Kind::BareOne => bare("one", plan, scratch),
            Kind::BareTwo => bare("two", plan, scratch),
            Kind::External(external) => Ok(external.server()),
        };
        started.map_err(|error| format!("{}: {error}", self.name()))
    }
}

impl External {
    /// `name=host:port,user,password[,pid]`
    pub(crate) fn parse(text: &str) -> Result<External, String> {
        let usage = || format!("{text:?} is not name=host:port,user,password[,pid]");
        let (name, rest) = text.split_once('=').ok_or_else(usage)?;
        let fields: Vec<&str> = rest.split(',').collect();
        let [address, username, password, pid @ ..] = fields.as_slice() else { return Err(usage()) };
        let pid = pid.first().map(|pid| pid.parse().map_err(|_| usage())).transpose()?;
        Ok(External {
            name: name.to_owned(),
            address: address.parse().map_err(|_| usage())?,
            username: (*username).to_owned(),
            password: (*password).to_owned(),
            pid,
        })
    }

    fn server(&self) -> Server {
        let access = Access::User { username: self.username.clone(), password: self.password.clone() };
        Server { pid: self.pid, udp: self.address, tcp: Some(self.address), tls: None, access, process: None }
    }
}

fn user() -> Access {
    Access::User { username: USER.to_owned(), password: PASSWORD.to_owned() }
}

fn start(command: Command, plan: &Plan, scratch: &Scratch, name: &str) -> Result<Process, String> {
    Process::start(command, &plan.cores, plan.home, scratch.path().join(format!("{name}.log")))
}

/// The daemon, configured as an operator would, with meters that run and never bind.
fn relay(plan: &Plan, scratch: &Scratch) -> Result<Server, String> {
    if !plan.relay_binary.exists() {
        return Err(format!("{} is missing: cargo build --release -p relay", plan.relay_binary.display()));
    }
    let tls = plan.certificate.as_ref().map_or(String::new(), |(certificate, key)| {
        format!("[tls]\ncertificate = {certificate:?}\nprivate_key = {key:?}\n")
    });
    let tls_listener = if plan.certificate.is_some() { "\"127.0.0.1:0\"" } else { "" };
    let text = format!(
        r#"[listen]
udp = ["127.0.0.1:0"]
tcp = ["127.0.0.1:0"]
tls = [{tls_listener}]
{tls}
[relay]
realm = "{REALM}"
addresses = ["127.0.0.1"]
ports = "{}-{}"
workers = {}
[auth]
users = {{ {USER} = "{PASSWORD}" }}
[access]
allow_peers = ["127.0.0.0/8"]
user_allocations = 60000
[limits]
exempt = ["127.0.0.0/8"]
user_packets_per_second = 1000000
user_bits_per_second = 10000000000
"#,
        plan.ports.0, plan.ports.1, plan.workers
    );
    let file = scratch.write("relay.toml", &text)?;
    let mut command = Command::new(&plan.relay_binary);
    command.arg("--config").arg(file).args(["--log", "warn"]);
    let mut process = start(command, plan, scratch, "relay")?;
    let mut listening = [None; 3];
    loop {
        let line = process.line()?;
        if line == "ready" {
            break;
        }
        for (place, what) in listening.iter_mut().zip(["udp", "tcp", "tls"]) {
            let address = line.strip_prefix("listening turn ").and_then(|line| line.strip_prefix(what));
            *place = place.or_else(|| address?.trim().parse().ok());
        }
    }
    let [udp, tcp, tls] = listening;
    let udp = udp.ok_or("it listens nowhere")?;
    Ok(Server { pid: Some(process.pid()), udp, tcp, tls, access: user(), process: Some(process) })
}

/// This program again, in a role of its own.
fn myself() -> Result<Command, String> {
    std::env::current_exe().map(Command::new).map_err(|error| error.to_string())
}

fn host(plan: &Plan, scratch: &Scratch, deaf: bool) -> Result<Server, String> {
    let mut command = myself()?;
    command.args(["host", "--workers", &plan.workers.to_string()]);
    if let Some(nap) = plan.nap {
        command.args(["--nap", &nap.to_string()]);
    }
    if deaf {
        command.arg("--deaf");
    }
    let mut process = start(command, plan, scratch, "host")?;
    let udp = process.line()?.parse().map_err(|_| process.trouble("it listens nowhere"))?;
    Ok(Server { pid: Some(process.pid()), udp, tcp: None, tls: None, access: Access::Calls, process: Some(process) })
}

fn bare(kind: &str, plan: &Plan, scratch: &Scratch) -> Result<Server, String> {
    let mut command = myself()?;
    command.args(["forward", kind, "--callers", &plan.callers.to_string()]);
    command.args(["--client-port", &plan.client_port.to_string(), "--nap", &plan.nap.unwrap_or(0).to_string()]);
    if let Some(port) = plan.peer_port {
        command.args(["--peer-port", &port.to_string()]);
    }
    let mut process = start(command, plan, scratch, kind)?;
    let line = process.line()?;
    let (address, ports) = line.split_once(' ').unwrap_or((&line, ""));
    let udp = address.parse().map_err(|_| process.trouble("it listens nowhere"))?;
    let ports: Vec<u16> = ports.split_ascii_whitespace().filter_map(|port| port.parse().ok()).collect();
    let access = if kind == "one" { Access::Nobody } else { Access::Ports(ports) };
    Ok(Server { pid: Some(process.pid()), udp, tcp: None, tls: None, access, process: Some(process) })
}

/// Debian's package, default mode (recvmmsg is in later versions), one relay thread for the one core it has.
fn coturn(plan: &Plan, scratch: &Scratch) -> Result<Server, String> {
    let port = free_port()?;
    let mut command = Command::new("turnserver");
    command.args(["-n", "--listening-ip", "127.0.0.1", "--relay-ip", "127.0.0.1", "--lt-cred-mech"]);
    command.args(["--listening-port", &port.to_string(), "--realm", REALM, "--user", &format!("{USER}:{PASSWORD}")]);
    command.args(["--allow-loopback-peers", "--no-cli", "--no-dtls", "--no-stdout-log", "--log-file", "/dev/null"]);
    command.args(["--relay-threads", &plan.workers.to_string()]);
    command.args(["--min-port", &plan.ports.0.max(1024).to_string(), "--max-port", &plan.ports.1.to_string()]);
    command.arg("--pidfile").arg(scratch.path().join("coturn.pid"));
    command.arg("--userdb").arg(scratch.path().join("coturn.sqlite"));
    let tls_port = free_port()?;
    match &plan.certificate {
        Some((certificate, key)) => {
            command.arg("--cert").arg(certificate).arg("--pkey").arg(key);
            command.args(["--tls-listening-port", &tls_port.to_string()]);
        }
        None => _ = command.arg("--no-tls"),
    }
    let process = start(command, plan, scratch, "coturn")?;
    let local = |port| SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
    let tls = plan.certificate.as_ref().map(|_| local(tls_port));
    answering(process, local(port), Some(local(port)), tls)
}

fn turn_rs(plan: &Plan, scratch: &Scratch) -> Result<Server, String> {
    let port = free_port()?;
    let interface = |transport: &str| {
        format!(
            "[[server.interfaces]]\ntransport = \"{transport}\"\nlisten = \"127.0.0.1:{port}\"\n\
             external = \"127.0.0.1:{port}\"\nidle-timeout = 3600\nmtu = 1500\n"
        )
    };
    let text = format!(
        "[server]\nport-range = \"49152..65535\"\nmax-threads = {}\nrealm = \"{REALM}\"\n{}{}[log]\nlevel = \"error\"\n\
         stdout = true\n[auth]\nenable-hooks-auth = false\n[auth.static-credentials]\n{USER} = \"{PASSWORD}\"\n",
        plan.workers,
        interface("udp"),
        interface("tcp"),
    );
    let file = scratch.write("turn-rs.toml", &text)?;
    let mut command = Command::new(&plan.turn_rs_binary);
    command.arg("--config").arg(file);
    let local = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
    answering(start(command, plan, scratch, "turn-rs")?, local, Some(local), None)
}

fn turn_crate(plan: &Plan, scratch: &Scratch) -> Result<Server, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?.with_file_name("turn_crate_server");
    let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, free_port()?);
    let mut command = Command::new(program);
    command.args([&address.to_string(), REALM, USER, PASSWORD]);
    let mut process = start(command, plan, scratch, "turn-crate")?;
    process.line()?;
    answering(process, address, None, None)
}

/// Waits until the server answers a Binding request.
fn answering(
    mut process: Process,
    udp: SocketAddrV4,
    tcp: Option<SocketAddrV4>,
    tls: Option<SocketAddrV4>,
) -> Result<Server, String> {
    let socket = UdpSocket::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    let _ = socket.set_read_timeout(Some(Duration::from_millis(200)));
    let request = Request::new(Method::Binding, TransactionId(*b"are you here")).finish(None);
    let answer = until(|| {
        if process.has_ended() {
            return Some(false);
        }
        socket.send_to(&request, udp).ok()?;
        socket.recv(&mut [0; 512]).ok().map(|_| true)
    });
    match answer {
        Some(true) => Ok(Server { pid: Some(process.pid()), udp, tcp, tls, access: user(), process: Some(process) }),
        Some(false) => Err(process.trouble("it has ended")),
        None => Err(process.trouble("it does not answer")),
    }
}

/// A port that nobody has, over UDP and TCP.
fn free_port() -> Result<u16, String> {
    let free = |_| {
        let udp = UdpSocket::bind("127.0.0.1:0").ok()?;
        let address: SocketAddr = udp.local_addr().ok()?;
        TcpListener::bind(address).ok().map(|_| address.port())
    };
    (0..50).find_map(free).ok_or_else(|| "no port is free".to_owned())
}

impl Kind {
    /// How to get it, if it is not there.
    pub(crate) fn missing(&self, plan: &Plan) -> Option<String> {
        let in_path = |program: &str| {
            let path = std::env::var_os("PATH").unwrap_or_default();
            std::env::split_paths(&path).any(|directory| directory.join(program).exists())
        };
        match self {
            Kind::Relay if !plan.relay_binary.exists() => Some("cargo build --release -p relay".to_owned()),
            Kind::Coturn if !in_path("turnserver") => Some("apt-get install coturn".to_owned()),
            Kind::TurnRs if !plan.turn_rs_binary.exists() => Some("benches/peers/run.sh --with-turn-rs".to_owned()),
            _ => None,
        }
    }
}
