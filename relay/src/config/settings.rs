//! The settings as run: every value checked, every default filled in.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;

use ipnet::IpNet;

use super::cluster::Cluster;
use super::drain::Drain;
use super::limits::Limits;
use super::sandbox::{Sandbox, SandboxMode};
use super::secret::Secret;
use super::telemetry::Telemetry;

/// What the program uses. `Settings::default()` is what an empty file means.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Files of secrets and users that were read for it, and will be again.
    pub files: Vec<std::path::PathBuf>,
    pub listen: Listen,
    pub tls: Option<Tls>,
    pub relay: Relay,
    pub auth: Auth,
    pub access: Access,
    pub limits: Limits,
    pub drain: Drain,
    pub sandbox: Sandbox,
    pub signalling: Signalling,
    pub reports: Option<Backend>,
    pub revocations: Option<Backend>,
    pub telemetry: Telemetry,
    pub cluster: Option<Cluster>,
    pub calls: Calls,
    pub matching: Matching,
}

/// Where the daemon listens. Port 0 takes any free port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    pub udp: Vec<SocketAddr>,
    /// TURN over TCP, and over TLS on the same port if there is a certificate.
    pub tcp: Vec<SocketAddr>,
    /// TURN over TLS only; with signalling, also HTTPS and WebSocket.
    pub tls: Vec<SocketAddr>,
    /// Sources whose TCP and TLS connections begin with a PROXY protocol v2 header, always.
    pub proxy_protocol_from: Vec<IpNet>,
    /// Two IP addresses and two ports for NAT behaviour discovery (RFC 5780): each address listens on both ports.
    pub nat_discovery: Option<[SocketAddr; 2]>,
    /// Without it the daemon is a plain STUN/TURN server.
    pub signalling: Option<SocketAddr>,
    /// Always a loopback address: it asks nobody who they are.
    pub admin: Option<SocketAddr>,
}

impl Default for Listen {
    fn default() -> Listen {
        Listen {
            udp: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 3478))],
            tcp: Vec::new(),
            tls: Vec::new(),
            proxy_protocol_from: Vec::new(),
            nat_discovery: None,
            signalling: None,
            admin: None,
        }
    }
}

impl Listen {
    /// The four sockets of NAT behaviour discovery: by address, then by port.
    pub fn discovery_sites(&self) -> Option<[[SocketAddr; 2]; 2]> {
        let pair = self.nat_discovery?;
        let site = |ip: SocketAddr, port: SocketAddr| SocketAddr::new(ip.ip(), port.port());
        Some(pair.map(|ip| pair.map(|port| site(ip, port))))
    }

    /// Every UDP socket: those written, then those that NAT behaviour discovery needs besides.
    pub fn udp_sockets(&self) -> Vec<SocketAddr> {
        let mut sockets = self.udp.clone();
        for site in self.discovery_sites().iter().flatten().flatten() {
            if !sockets.contains(site) {
                sockets.push(*site);
            }
        }
        sockets
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    pub certificate: PathBuf,
    pub private_key: PathBuf,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relay {
    /// Fewer than 128 characters (RFC 8489 §14.9).
    pub realm: String,
    /// Where relayed transport addresses live. Empty: the addresses of the UDP, TCP and TLS listeners, see [`Settings::relay_addresses`].
    pub addresses: Vec<RelayAddress>,
    /// Real and virtual relayed ports share one allocator. Within 1024–65535.
    pub ports: RangeInclusive<u16>,
    /// 0: one per core this process may use.
    pub workers: usize,
    /// How long a busy worker naps before it looks again, in microseconds; 0: never. `None`: by the number of workers.
    pub nap_micros: Option<u32>,
    /// Also accept channels 0x5000–0x7FFF, for RFC 5766 clients.
    pub legacy_channels: bool,
    /// Clients that come over TCP or TLS may have TCP relayed too (RFC 6062). Off by default: no browser asks for it, and it
    /// lets every user open connections to any server in the world from here.
    pub tcp_allocations: bool,
}

impl Default for Relay {
    fn default() -> Relay {
        Relay {
            realm: "relay".to_owned(),
            addresses: Vec::new(),
            ports: 49152..=65535,
            workers: 0,
            nap_micros: None,
            legacy_channels: false,
            tcp_allocations: false,
        }
    }
}

/// An address relayed transport addresses are made of; the two differ on a cloud machine behind one-to-one NAT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayAddress {
    /// What sockets bind.
    pub bind: IpAddr,
    /// What clients are told; same family as `bind`.
    pub public: IpAddr,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    /// Static long-term credentials.
    pub users: Vec<User>,
    /// `iss` of tokens.
    pub issuer: Option<String>,
    /// `aud` of tokens.
    pub audience: Option<String>,
    /// Secrets of time-limited credentials, newest first.
    pub rest_secrets: Vec<Secret>,
    /// Expired time-limited credentials do not prolong an allocation either.
    pub rest_expiry_on_refresh: bool,
    /// MESSAGE-INTEGRITY (HMAC-SHA1) alone is proof enough; browsers send nothing else.
    pub sha1: bool,
    /// Clients are asked to send USERHASH in place of their name. Only with static users and nothing else.
    pub username_anonymity: bool,
    pub tokens: Vec<TokenKey>,
}

impl Default for Auth {
    fn default() -> Auth {
        Auth {
            users: Vec::new(),
            issuer: None,
            audience: None,
            rest_secrets: Vec::new(),
            rest_expiry_on_refresh: true,
            sha1: true,
            username_anonymity: false,
            tokens: Vec::new(),
        }
    }
}

#[derive(Clone, PartialEq, Eq)]
pub struct User {
    pub name: String,
    pub password: Secret,
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// A key that tokens may be signed with, chosen by the token's `kid`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenKey {
    pub kid: String,
    pub key: VerifyingKey,
}

/// The algorithm is pinned by the kind of key: a token cannot choose it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VerifyingKey {
    /// A public key: 32 bytes that form a point of the curve.
    EdDsa([u8; 32]),
    /// The bytes of the text as written, at least 32.
    Hs256(Secret),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    pub allow_peers: Vec<IpNet>,
    pub deny_peers: Vec<IpNet>,
    /// Most allocations of one user at a time.
    pub user_allocations: u32,
}

impl Default for Access {
    fn default() -> Access {
        Access { allow_peers: Vec::new(), deny_peers: Vec::new(), user_allocations: 30 }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signalling {
    /// Web origins that may open a signalling connection.
    pub origins: Vec<String>,
    /// What clients are told; empty: derived from where the daemon really listens.
    pub turn_urls: Vec<String>,
    /// The page, with tokens it mints itself. Only ever with signalling on loopback.
    pub demo_page: bool,
}

/// The app's backend: where it takes reports, or says what it has revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    pub https: bool,
    pub host: String,
    pub port: u16,
    /// With its query, if any.
    pub path: String,
    /// Signs what is sent there. On that of reports tags of texts hang too, so that nodes that share it verify each other's.
    pub secret: Secret,
    /// Certificates to trust instead of this system's.
    pub ca: Option<PathBuf>,
}

/// How media may travel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CallPath {
    /// Addresses hidden, all media relayed.
    #[default]
    Relay,
    /// Ordinary ICE, the relay as fallback; addresses are shown.
    DirectFirst,
}

/// What the two sides of a call may send each other through the relay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CallPayload {
    /// What browsers send, by the first header: STUN, DTLS, SRTP, SRTCP.
    #[default]
    WebRtc,
    Any,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calls {
    pub path: CallPath,
    /// Who may go direct when `path` allows it.
    pub direct_bands: Vec<AgeBand>,
    /// People are asked before they are connected.
    pub acceptance: bool,
    pub payload: CallPayload,
    /// How the streams of calls are doing is heard.
    pub quality: bool,
}

impl Default for Calls {
    fn default() -> Calls {
        Calls {
            path: CallPath::Relay,
            direct_bands: vec![AgeBand::Adult],
            acceptance: false,
            payload: CallPayload::WebRtc,
            quality: true,
        }
    }
}

/// An age band as configuration and tokens write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AgeBand {
    B13To15,
    B16To17,
    Adult,
}

impl AgeBand {
    pub const ALL: [AgeBand; 3] = [AgeBand::B13To15, AgeBand::B16To17, AgeBand::Adult];

    pub fn name(self) -> &'static str {
        match self {
            AgeBand::B13To15 => "13-15",
            AgeBand::B16To17 => "16-17",
            AgeBand::Adult => "18+",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matching {
    /// A topic's number is its place here; at most 64.
    pub topics: Vec<String>,
    /// Youngest age band admitted.
    pub min_band: AgeBand,
    /// What becomes of two who talked lately.
    pub recent_partners: RecentPartners,
}

/// What becomes of two who talked in the last half hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RecentPartners {
    #[default]
    Avoid,
    AvoidUntilLastStage,
    Allow,
}

impl Default for Matching {
    fn default() -> Matching {
        let topics = ["travel", "films", "work", "food", "music"];
        Matching {
            topics: topics.map(str::to_owned).to_vec(),
            min_band: AgeBand::B13To15,
            recent_partners: RecentPartners::Avoid,
        }
    }
}

impl Settings {
    /// What `relay` runs without a file: everything on loopback, the page included. It holds no credentials.
    ///
    /// # Panics
    /// Never: a test parses the embedded file.
    pub fn local_defaults() -> Settings {
        super::parse(super::LOCAL, std::path::Path::new("")).expect("the embedded defaults are tested")
    }

    /// Where relayed transport addresses live: as configured, or the addresses of the UDP, TCP and TLS listeners.
    pub fn relay_addresses(&self) -> Vec<RelayAddress> {
        if !self.relay.addresses.is_empty() {
            return self.relay.addresses.clone();
        }
        let mut addresses: Vec<RelayAddress> = Vec::new();
        let listen = &self.listen;
        for ip in [&listen.udp, &listen.tcp, &listen.tls].into_iter().flatten().map(SocketAddr::ip) {
            if !addresses.iter().any(|known| known.bind == ip) {
                addresses.push(RelayAddress { bind: ip, public: ip });
            }
        }
        addresses
    }

    /// What an operator should know about settings that are allowed but not ordinary. One sentence each, no secrets.
    pub fn notices(&self) -> Vec<String> {
        let mut notices = Vec::new();
        let mut say = |condition: bool, text: &str| {
            if condition {
                notices.push(text.to_owned());
            }
        };
        say(
            self.telemetry.otlp.is_some() && !cfg!(feature = "otlp"),
            "telemetry.otlp_url does nothing: this program was built without OTLP (cargo build --features otlp)",
        );
        say(
            self.cluster.is_some() && !cfg!(feature = "nats"),
            "[cluster] needs a program built with the bus (cargo build --features nats): this one does not start with it",
        );
        say(
            self.cluster.as_ref().is_some_and(Cluster::logs_in_openly),
            "cluster.nats is nats:// to another machine: what the broker knows this cluster by travels there in the open; tls:// hides it",
        );
        say(
            self.cluster.is_some() && !self.signalling.turn_urls.is_empty(),
            "signalling.turn_urls must lead to this node alone, not to any node of the [cluster]: a call is relayed where its two sides are sent",
        );
        say(
            self.cluster.is_some() && self.signalling.demo_page,
            "tokens of the demo page are this node's alone: another node of the [cluster] does not take them",
        );
        say(
            !self.limits.exempt.is_empty(),
            "limits.exempt lifts the per-source limits for some prefixes: for load tests only",
        );
        say(
            self.limits.unauthenticated_per_second == 0,
            "limits.unauthenticated_per_second is 0: forged requests can make this server flood somebody with answers",
        );
        say(
            self.sandbox.mode == SandboxMode::Off,
            "sandbox.mode is \"off\": nothing but this program's good will keeps it from writing",
        );
        say(
            self.signalling.demo_page,
            "the demo page is on and mints tokens for anyone who reaches the signalling listener",
        );
        say(
            self.calls.path == CallPath::DirectFirst,
            "calls.path is \"direct-first\": callers who may go direct learn each other's addresses",
        );
        say(
            self.calls.payload == CallPayload::Any,
            "calls.payload is \"any\": who gets hold of both credentials of a call has a tunnel through this relay",
        );
        say(
            self.listen.signalling.is_some_and(|address| !address.ip().is_loopback()),
            "listen.signalling is plain HTTP off loopback: browsers need wss://, which listen.tls offers, or a proxy in front",
        );
        let nobody =
            self.auth.users.is_empty() && self.auth.rest_secrets.is_empty() && self.listen.signalling.is_none();
        say(nobody, "no credentials in [auth] and no signalling: this server answers STUN Binding requests only");
        notices
    }
}
