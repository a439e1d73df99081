//! Telling systemd how it goes (sd_notify(3)): one datagram for each piece of news to the socket that `$NOTIFY_SOCKET` names.
//! Without one nobody is told, and nothing is different.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use super::descriptors::monotonic_micros;

/// Beats in the time after which a silent process is killed: whoever misses one may still be heard at the next.
const BEATS: u32 = 4;

/// The supervisor's ear, if it listens.
pub(super) struct Notify {
    to: Option<UnixDatagram>,
    /// How often it wants to hear that we are alive.
    watchdog: Option<Duration>,
}

impl Notify {
    pub(super) fn from_environment() -> Notify {
        let variable = |name| std::env::var(name).ok();
        let to = variable("NOTIFY_SOCKET").and_then(|path| {
            let address = match path.strip_prefix('@') {
                Some(name) => SocketAddr::from_abstract_name(name.as_bytes()),
                None => SocketAddr::from_pathname(&path),
            };
            // Connected now: from inside the sandbox an abstract address could not be reached any more.
            let socket = UnixDatagram::unbound().ok()?;
            socket.connect_addr(&address.ok()?).ok()?;
            Some(socket)
        });
        // Meant for another process if it names one.
        let meant = variable("WATCHDOG_PID").is_none_or(|pid| pid == std::process::id().to_string());
        let micros = variable("WATCHDOG_USEC").filter(|_| meant).and_then(|micros| micros.parse().ok());
        Notify {
            to,
            watchdog: micros.filter(|micros| *micros > 0).map(|micros: u64| Duration::from_micros(micros) / BEATS),
        }
    }

    /// For who is no longer the one to watch.
    pub(super) const fn nobody() -> Notify {
        Notify { to: None, watchdog: None }
    }

    /// How often to call [`Notify::alive`]: four times in the time after which it would be killed.
    pub(super) fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    pub(super) fn ready(&self) {
        self.say("READY=1\nSTATUS=relaying");
    }

    /// Says when it began, so that systemd can tell the `READY=1` that follows from an older one.
    pub(super) fn reloading(&self) {
        if let Some(micros) = monotonic_micros() {
            self.say(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
        }
    }

    pub(super) fn stopping(&self) {
        self.say("STOPPING=1\nSTATUS=draining");
    }

    pub(super) fn alive(&self) {
        self.say("WATCHDOG=1");
    }

    /// Another process takes this one's place, and is the one to watch.
    pub(super) fn main_process(&self, pid: u32) {
        self.say(&format!("MAINPID={pid}"));
    }

    fn say(&self, news: &str) {
        if let Some(socket) = &self.to {
            // A supervisor that does not listen is no reason to stop.
            let _ = socket.send(news.as_bytes());
        }
    }
}
