//! Why the daemon did not start or did not stay: for the operator, with what to do about it.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::upgrade::Unfit;
use crate::dataplane::BindError;
use crate::stream::CertificateError;

/// Why nothing was started.
#[derive(Debug)]
pub enum StartError {
    /// A UDP listener.
    Udp(BindError),
    /// A TCP listener, and the key of `[listen]` that asked for it.
    Tcp { key: &'static str, address: SocketAddr, source: io::Error },
    /// What `[tls]` names cannot be used.
    Certificate(CertificateError),
    /// The certificates that requests to the backend of this section are to trust.
    BackendCa(&'static str, PathBuf),
    /// The system gave no random bytes.
    Random,
    /// The system did not list this machine's addresses, without which the deny list has a hole.
    OwnAddresses(io::Error),
    /// Not all could be given up that was to be.
    Sandbox(crate::sandbox::Refused),
    /// Nobody of the name in `sandbox.user`.
    NoSuchUser(String),
    /// The relay at work did not hand its sockets over.
    HandOver(io::Error),
    /// There is no relay at work whose calls could be taken over.
    NobodyToUpgrade(PathBuf),
    /// The relay at work has calls that this one cannot take over. It goes on.
    Unfit(Unfit),
    /// The broker of `[cluster]` could keep what it hears.
    Broker(&'static str),
    /// Nothing to call this node by.
    NoNode,
    /// A `[cluster]`, and a program without the bus.
    NoBus,
    /// No thread or no runtime.
    Threads(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Udp(error) => error.fmt(f),
            StartError::Tcp { key, address, source } => tcp(key, *address, source, f),
            StartError::Certificate(error) => error.fmt(f),
            StartError::BackendCa(section, file) => write!(
                f,
                "no certificate to trust in {}, which TLS in [{section}] needs. Install the system's (ca-certificates) or set {section}.ca",
                file.display()
            ),
            StartError::Random => f.write_str("the system gives no random bytes (getrandom), so no key can be made"),
            StartError::OwnAddresses(error) => {
                write!(f, "cannot list this machine's own addresses to deny them as peers: {error}")
            }
            StartError::Sandbox(error) => error.fmt(f),
            StartError::NoSuchUser(name) => {
                write!(
                    f,
                    "there is no user {name:?}, which [sandbox] user names. Make it (useradd --system), or change [sandbox] user"
                )
            }
            StartError::HandOver(error) => write!(
                f,
                "the relay at work did not hand over: {error}. Its log says more; it must run as the same user, and --hand-over must name a place that user may write to"
            ),
            StartError::NobodyToUpgrade(socket) => write!(
                f,
                "no relay listens at {}. Name the socket that the running one was started with (--hand-over), or start this one with `relay --hand-over {0}`, which needs none",
                socket.display()
            ),
            StartError::Unfit(Unfit::Version(theirs, ours)) => write!(
                f,
                "the running relay gives its calls in version {}.{}, and this program reads version {}.{}. Nothing has changed. `relay --hand-over` takes its listeners and leaves running calls to it",
                theirs[0], theirs[1], ours[0], ours[1]
            ),
            StartError::Unfit(Unfit::Workers(theirs, ours)) => write!(
                f,
                "the running relay has {theirs} workers and this one would have {ours}, so clients would be looked for at the wrong ones. Nothing has changed. Set relay.workers = {theirs}, or use `relay --hand-over`, which leaves running calls to the one that has them"
            ),
            StartError::Broker(why) => f.write_str(why),
            StartError::NoNode => f.write_str(
                "the name of this machine cannot be that of a node (a-z, 0-9 and -). Write one in cluster.node, another on each node",
            ),
            StartError::NoBus => f.write_str(
                "[cluster] needs a program with the bus, and this one was built without: what is revoked on other nodes would not be \
                 heard of. Build it with `cargo build --release --features nats`, or take [cluster] out",
            ),
            StartError::Threads(error) => {
                write!(f, "cannot start threads: {error}; the limit of processes may be too low (systemd: TasksMax)")
            }
        }
    }
}

fn tcp(key: &str, address: SocketAddr, source: &io::Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let port = address.port();
    write!(f, "cannot listen on {key} {address}: ")?;
    match source.kind() {
        io::ErrorKind::AddrInUse => write!(
            f,
            "port {port} is in use. Find who holds it with `ss -tlpn 'sport = :{port}'` and stop it, or change [listen] {key}"
        ),
        io::ErrorKind::AddrNotAvailable => {
            write!(f, "this machine has no such address. `ip -br address` lists what it has; change [listen] {key}")
        }
        io::ErrorKind::PermissionDenied => write!(
            f,
            "no right to use port {port}. Grant CAP_NET_BIND_SERVICE (systemd: AmbientCapabilities), or choose a port from 1024 up in [listen] {key}"
        ),
        _ => write!(f, "{source}. See [listen] {key}"),
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            StartError::Udp(error) => Some(error),
            StartError::Certificate(error) => Some(error),
            StartError::Sandbox(error) => Some(error),
            StartError::Tcp { source, .. }
            | StartError::OwnAddresses(source)
            | StartError::HandOver(source)
            | StartError::Threads(source) => Some(source),
            StartError::Random
            | StartError::NoSuchUser(_)
            | StartError::BackendCa(..)
            | StartError::NobodyToUpgrade(_)
            | StartError::Unfit(_)
            | StartError::Broker(_)
            | StartError::NoNode
            | StartError::NoBus => None,
        }
    }
}

/// What ended a daemon that nobody asked to stop. Always a mistake of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// A thread of the packet path.
    Worker,
    /// The thread of signalling and admin, or of the TCP and TLS listeners.
    Edge,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self {
            Broken::Worker => "a worker of the packet path",
            Broken::Edge => "the signalling, TCP, TLS or admin listener",
        };
        write!(
            f,
            "{what} ended unexpectedly; the log says where. Everything was stopped, so that a supervisor can start it anew"
        )
    }
}

impl std::error::Error for Broken {}

/// Why [`super::serve`] did not end well.
#[derive(Debug)]
pub enum ServeError {
    Start(StartError),
    Broken(Broken),
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServeError::Start(error) => error.fmt(f),
            ServeError::Broken(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ServeError {}

impl From<StartError> for ServeError {
    fn from(error: StartError) -> ServeError {
        ServeError::Start(error)
    }
}

impl From<Broken> for ServeError {
    fn from(error: Broken) -> ServeError {
        ServeError::Broken(error)
    }
}
