//! The internet in small: network namespaces on one public wire, and NATs (nftables) with callers behind them. Needs root.
//!
//! Every name begins with this process's id, and all of it is gone when the [`Network`] is dropped.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// What `nft` and `ip` come in.
pub const FIX: &str = "apt-get install iproute2 nftables (tests/run.sh does it), as root";

/// The port that a network which admits "the web only" lets out.
const WEB: u16 = 443;

/// Namespaces around a bridge, the public wire.
pub struct Network {
    prefix: String,
    namespaces: Vec<String>,
    plugs: u32,
}

/// What a NAT does with the port of an inside address. What comes from outside uninvited is dropped by both; an invitation is
/// for one address and port, as Linux has it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ports {
    /// The same for every destination, if it is free.
    Preserved,
    /// Another one, at random, for every destination ("symmetric").
    Random,
}

/// What a NAT lets out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Lets {
    /// Everything.
    All,
    /// No UDP.
    Tcp,
    /// Nothing but TCP to port 443.
    Web,
}

/// A command that runs a program inside a namespace.
pub fn command_inside(namespace: &str, program: &Path) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace]).arg(program);
    command
}

/// Whether this process may make namespaces; if not, why.
pub fn possible() -> Result<(), String> {
    for tool in ["ip", "nft"] {
        let found = Command::new(tool).arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
        if !found {
            return Err(format!("there is no `{tool}`: {FIX}"));
        }
    }
    let mut network = Network::without_wire();
    let name = network.name("probe");
    let made = Command::new("ip").args(["netns", "add", &name]).output().unwrap();
    network.namespaces.push(name);
    if made.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&made.stderr).trim().to_owned()) }
}

impl Network {
    /// The public wire, with nobody on it.
    pub fn public() -> Network {
        sweep();
        let mut network = Network::without_wire();
        let inet = network.namespace("inet");
        ip(&inet, "link add wire type bridge");
        ip(&inet, "link set wire up");
        network
    }

    fn without_wire() -> Network {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Network { prefix: format!("e2e-{}-{number}-", std::process::id()), namespaces: Vec::new(), plugs: 0 }
    }

    fn name(&self, short: &str) -> String {
        format!("{}{short}", self.prefix)
    }

    fn namespace(&mut self, short: &str) -> String {
        let name = self.name(short);
        run(Command::new("ip").args(["netns", "add", &name]), "");
        self.namespaces.push(name.clone());
        ip(&name, "link set lo up");
        name
    }

    /// A host on the public wire, with these addresses (with their prefix lengths). Returns its namespace.
    pub fn public_host(&mut self, short: &str, addresses: &[&str]) -> String {
        let host = self.namespace(short);
        let plug = format!("plug{}", self.plugs);
        self.plugs += 1;
        let inet = self.name("inet");
        ip(&host, &format!("link add wan type veth peer name {plug} netns {inet}"));
        ip(&inet, &format!("link set {plug} master wire up"));
        ip(&host, "link set wan up");
        for address in addresses {
            // No duplicate address detection: it would only be waited for.
            let nodad = if address.contains(':') { " nodad" } else { "" };
            ip(&host, &format!("addr add {address} dev wan{nodad}"));
        }
        host
    }

    /// Whether this host's packets arrive. While they do not, TCP connections break as soon as anything is said on them, on either
    /// side: the resets are all that passes.
    pub fn cut(host: &str, off: bool) {
        const RESET: &str = "meta l4proto tcp reject with tcp reset;";
        let resets = format!("oifname \"wan\" tcp flags & rst == rst accept; oifname \"wan\" {RESET}");
        lose(host, off, &format!("iifname \"wan\" {RESET}"), &resets);
    }

    /// The same without a word to anybody: packets go nowhere, and nothing breaks.
    pub fn swallow(host: &str, off: bool) {
        lose(host, off, "", "");
    }

    /// Makes a host on the wire, or behind another NAT, a NAT with one host behind it, `10.<net>.0.2`. Returns the latter's namespace.
    pub fn behind(&mut self, nat: &str, short: &str, net: u8, ports: Ports, lets: Lets) -> String {
        let inside = self.namespace(short);
        ip(nat, &format!("link add lan type veth peer name wan netns {inside}"));
        ip(nat, "link set lan up");
        ip(nat, &format!("addr add 10.{net}.0.1/24 dev lan"));
        ip(&inside, "link set wan up");
        ip(&inside, &format!("addr add 10.{net}.0.2/24 dev wan"));
        ip(&inside, &format!("route add default via 10.{net}.0.1"));
        run(command_inside(nat, Path::new("sh")).args(["-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"]), "");
        run(command_inside(nat, Path::new("nft")).args(["-f", "-"]), &rules(ports, lets));
        inside
    }
}

/// Drops what a host gets and sends, but for what these rules make of it first.
fn lose(host: &str, off: bool, coming: &str, going: &str) {
    let rules = format!(
        "table inet cut {{ chain in {{ type filter hook input priority -10; {coming} iifname \"wan\" drop; }}; \
         chain out {{ type filter hook output priority -10; {going} oifname \"wan\" drop; }}; }}"
    );
    let rules = if off { &*rules } else { "delete table inet cut" };
    run(command_inside(host, Path::new("nft")).args(["-f", "-"]), rules);
}

/// A home router's rules. Input is closed too: a stray packet that reached the router itself would leave a connection-tracking
/// entry that takes the very port the inside host is about to be given.
fn rules(ports: Ports, lets: Lets) -> String {
    let random = if ports == Ports::Random { "random,fully-random" } else { "" };
    let blocked = match lets {
        Lets::All => String::new(),
        Lets::Tcp => "iifname \"lan\" meta l4proto udp drop;".to_owned(),
        Lets::Web => format!("iifname \"lan\" meta l4proto != tcp drop; iifname \"lan\" tcp dport != {WEB} drop;"),
    };
    let mut text = String::new();
    writeln!(text, "table ip nat {{ chain out {{ type nat hook postrouting priority srcnat;").unwrap();
    writeln!(text, "oifname \"wan\" masquerade {random}; }}; }}").unwrap();
    writeln!(text, "table inet filter {{ chain in {{ type filter hook input priority filter;").unwrap();
    writeln!(text, "iifname \"wan\" ct state new drop; }};").unwrap();
    writeln!(text, "chain through {{ type filter hook forward priority filter;").unwrap();
    writeln!(text, "iifname \"wan\" ct state new drop; {blocked} }}; }}").unwrap();
    text
}

fn ip(namespace: &str, words: &str) {
    run(Command::new("ip").args(["-n", namespace]).args(words.split(' ')), "");
}

fn run(command: &mut Command, input: &str) {
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}. Fix: {FIX}"));
    // A program that does not read its input says why it failed by its exit code.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{command:?}: {}\n{input}", String::from_utf8_lossy(&output.stderr));
}

/// Removes what a test process left behind that was killed: the namespaces of processes that are no more.
fn sweep() {
    let listed = Command::new("ip").args(["netns", "list"]).output().unwrap();
    for line in String::from_utf8_lossy(&listed.stdout).lines() {
        let name = line.split(' ').next().unwrap_or_default();
        let Some(process) = name.strip_prefix("e2e-").and_then(|rest| rest.split('-').next()) else { continue };
        if !Path::new("/proc").join(process).exists() {
            let _ = Command::new("ip").args(["netns", "del", name]).stderr(Stdio::null()).status();
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for namespace in &self.namespaces {
            let _ = Command::new("ip").args(["netns", "del", namespace]).stderr(Stdio::null()).status();
        }
    }
}
