//! One relay takes the place of another on the same machine, and nobody is refused (`--hand-over SOCKET`).
//!
//! The one at work listens on a Unix socket; the new one connects to it:
//!
//! 1. every listening socket, one message each: `udp 127.0.0.1:3478` and the descriptor (SCM_RIGHTS); then `end`;
//! 2. the new one makes all that can fail, and says `go`;
//! 3. the old one accepts nobody any more (who comes waits in the sockets), sends callers without a call away, lets calls in set-up finish,
//!    moves its UDP clients onto sockets of their own (`dataplane::departure`), and says `yours`;
//! 4. the new one begins to read; the old one drains to its end.
//!
//! Until `yours` the new one may fail, and the next one asks again: the old one keeps what it has to give. Up to `go` it goes on as if nothing
//! had been; after that it serves who is there and waits for somebody to take the rest.
//!
//! `relay upgrade` takes the calls as well: `upgrade.rs` has how.
//!
//! The new one listens for a successor of its own before it asks for room, because it is then inside the sandbox. The place of the old one
//! is renamed for that, and whoever finds nobody at SOCKET looks for it there: at `SOCKET.before`.

use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::net::UnixListener;

use super::Running;
use super::StartError;
use super::descriptors;
use super::inherited::Inherited;
use super::notify::Notify;
use super::upgrade::{self, Ground, Taken, Wanted};
use crate::stream;
use crate::turn::Command;

/// For what the other side does before its next word.
const PATIENCE: Duration = Duration::from_secs(30);
/// For calls in set-up: none takes longer (`desk::CONNECT_MS`).
pub(super) const SET_UP: Duration = Duration::from_secs(10);
/// For the workers to move their clients.
const MOVING: Duration = Duration::from_secs(10);
/// For the thread of the HTTP listeners to accept nobody any more.
const REFUSING: Duration = Duration::from_secs(10);
/// For WebSockets to close.
const FAREWELL: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(10);
/// A line is shorter.
const MAX_LINE: usize = 128;
/// More sockets than a server listens on.
const MAX_SOCKETS: usize = 4096;

/// The place of a relay that is to be taken.
#[derive(Clone, Copy)]
pub struct Succession<'a> {
    /// Where the one at work is asked, and this one by the next.
    pub socket: &'a Path,
    /// With its calls. There must be one at work then.
    pub whole: bool,
}

/// A relay that is about to make room.
pub(super) struct Predecessor {
    stream: UnixStream,
    /// If it gives everything.
    pub(super) ground: Option<Ground>,
    /// It was found where a successor that failed has put it.
    put_aside: bool,
}

/// What a relay at work gives, if there is one.
///
/// # Errors
/// There is one, and it did not; or there is none, and its calls are wanted.
pub(super) fn ask(wanted: Succession<'_>) -> Result<Option<(Predecessor, Inherited)>, StartError> {
    let Some((mut predecessor, inherited)) = ask_for_listeners(wanted.socket).map_err(StartError::HandOver)? else {
        return if wanted.whole { Err(StartError::NobodyToUpgrade(wanted.socket.to_owned())) } else { Ok(None) };
    };
    if wanted.whole {
        let ground = upgrade::ask(&mut predecessor.stream).map_err(StartError::HandOver)?;
        predecessor.ground = Some(ground.map_err(StartError::Unfit)?);
    }
    Ok(Some((predecessor, inherited)))
}

fn ask_for_listeners(path: &Path) -> io::Result<Option<(Predecessor, Inherited)>> {
    let (stream, put_aside) = match connect(path)? {
        Some(stream) => (stream, false),
        None => match connect(&aside(path))? {
            Some(stream) => (stream, true),
            None => return Ok(None),
        },
    };
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut given = Vec::new();
    while given.len() < MAX_SOCKETS {
        let mut line = [0; MAX_LINE];
        let (length, socket) = descriptors::receive(stream.as_fd(), &mut line)?;
        let text = std::str::from_utf8(&line[..length]).map_err(io::Error::other)?.trim_end();
        let named = text.split_once(' ').and_then(|(key, at)| Some((key.to_owned(), at.parse::<SocketAddr>().ok()?)));
        match (text, named, socket) {
            ("end", _, None) => {
                let predecessor = Predecessor { stream, ground: None, put_aside };
                return Ok(Some((predecessor, Inherited::given(given))));
            }
            (_, Some((key, _)), Some(socket)) => given.push((key, socket)),
            _ => break,
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}

/// `None` if there is nobody, or one that is gone.
fn connect(path: &Path) -> io::Result<Option<UnixStream>> {
    match UnixStream::connect(path) {
        Ok(stream) => Ok(Some(stream)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Where the place of the one at work is while another takes over.
fn aside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".before");
    name.into()
}

impl Predecessor {
    /// Everything is made: returns when the listeners are ours, with what else there is.
    pub(super) fn make_room(mut self, wanted: &Wanted) -> io::Result<Option<Taken>> {
        if self.ground.is_some() {
            return upgrade::take(&mut self.stream, wanted).map(Some);
        }
        self.stream.write_all(b"go")?;
        let mut answer = [0; 5];
        self.stream.read_exact(&mut answer)?;
        if &answer == b"yours" { Ok(None) } else { Err(io::ErrorKind::InvalidData.into()) }
    }
}

/// Listens for a successor, for the eyes of this process's own user alone. Who is asked at that place now can be asked aside.
pub(super) fn listen(path: &Path, predecessor: Option<&Predecessor>) -> io::Result<UnixListener> {
    let moved = match predecessor {
        Some(Predecessor { put_aside: false, .. }) => std::fs::rename(path, aside(path)),
        _ => std::fs::remove_file(path),
    };
    match moved {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Returns when the other side has made all that can fail, and says `go`; or wants more, and says `up`.
fn give(stream: &mut UnixStream, listening: &[(&'static str, SocketAddr, OwnedFd)]) -> io::Result<[u8; 2]> {
    for (key, address, socket) in listening {
        descriptors::send(stream.as_fd(), format!("{key} {address}\n").as_bytes(), Some(socket.as_fd()))?;
    }
    descriptors::send(stream.as_fd(), b"end\n", None)?;
    let mut word = [0; 2];
    stream.read_exact(&mut word)?;
    Ok(word)
}

pub(super) fn wait_while(at_most: Duration, what: impl Fn() -> bool) {
    let begun = Instant::now();
    while begun.elapsed() < at_most && what() {
        std::thread::sleep(LOOK);
    }
}

impl Running {
    /// Gives everything to whoever has connected. After an error the next one may ask.
    pub(super) fn hand_over(
        &mut self,
        path: &Path,
        stream: &tokio::net::UnixStream,
        notify: &Notify,
    ) -> io::Result<()> {
        let peer = stream.peer_cred()?;
        if peer.uid() != std::fs::metadata(path)?.uid() {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let mut stream = UnixStream::from(stream.as_fd().try_clone_to_owned()?);
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        // Whoever asked before may have got as far as to have them closed here.
        let listening = if self.makes_room { std::mem::take(&mut self.given) } else { self.listening()? };
        let word = give(&mut stream, &listening);
        let whole = matches!(&word, Ok(word) if word == b"up");
        let wanted = match word {
            // Who talks has been moved already, onto sockets that others cannot read.
            Ok(_) if whole && self.makes_room => {
                Err(io::Error::other("asked for calls after somebody took the listeners and failed"))
            }
            Ok(_) if whole => self.give_everything(&mut stream),
            word => word.map(drop),
        };
        self.makes_room |= wanted.is_ok();
        if self.makes_room {
            self.given = listening;
        }
        wanted?;
        self.close_to_newcomers();
        if !whole {
            self.let_listeners_go();
            stream.write_all(b"yours")?;
        }
        wait_while(REFUSING, || !self.edges.refuses());
        if self.workers.mailboxes().post_all(Command::Drain).is_err() {
            tracing::warn!("a worker has too much to do to hear that it drains");
        }
        if let Some(pid) = peer.pid().and_then(|pid| u32::try_from(pid).ok()) {
            notify.main_process(pid);
        }
        self.given.clear();
        tracing::info!("another relay has taken over the listeners");
        if whole {
            // Who has not heard that there is somewhere to resume would take this one's end for a fault of the network.
            wait_while(FAREWELL, || self.signalling.0.lines() as u64 > 2 * self.signalling.1.calls());
        }
        Ok(())
    }

    /// Those who talk go on on sockets of their own.
    fn let_listeners_go(&self) {
        wait_while(SET_UP, || self.signalling.0.calls_in_set_up() > 0);
        wait_while(REFUSING, || !self.edges.refuses());
        if !self.workers.depart(MOVING) {
            tracing::error!("a worker took too long to let its listeners go");
        }
    }

    /// Whoever connects from now on waits in the sockets, which nobody reads.
    fn close_to_newcomers(&self) {
        self.admin.set_ready(false);
        self.edges.refuse();
        let all = self.changeable.doors.iter().map(|door| (door.kind, door.listens)).collect();
        let _ = self.streams.change(stream::Bound::nothing(), all);
        self.signalling.0.drain(u64::from(self.changeable.settings.drain.deadline_secs) * 1000);
    }

    /// Every listening socket, once more.
    fn listening(&self) -> io::Result<Vec<(&'static str, SocketAddr, OwnedFd)>> {
        let mut all = Vec::new();
        for (address, socket) in self.workers.listeners()? {
            all.push(("udp", address, socket));
        }
        for (kind, address, socket) in self.streams.listeners() {
            all.push((if kind == stream::Kind::Tcp { "tcp" } else { "tls" }, address, socket));
        }
        for (key, address, socket) in &self.http {
            all.push((key, *address, socket.try_clone()?));
        }
        Ok(all)
    }
}
