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
//! Until `yours` either may give up, and the old one goes on as if nothing had been. The new one listens for a successor of its own before it
//! asks for room, because it is then inside the sandbox: if it fails so late, the old one is left without a place to be asked at.

use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::net::UnixListener;

use super::Running;
use super::descriptors;
use super::inherited::Inherited;
use super::notify::Notify;
use crate::stream;
use crate::turn::Command;

/// For what the other side does before its next word.
const PATIENCE: Duration = Duration::from_secs(30);
/// For calls in set-up: none takes longer (`desk::CONNECT_MS`).
const SET_UP: Duration = Duration::from_secs(10);
/// For the workers to move their clients.
const MOVING: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(10);
/// A line is shorter.
const MAX_LINE: usize = 128;
/// More sockets than a server listens on.
const MAX_SOCKETS: usize = 4096;

/// A relay that is about to make room.
pub(super) struct Predecessor(UnixStream);

/// What a relay at work gives, if there is one.
///
/// # Errors
/// There is one, and it did not.
pub(super) fn ask(path: &Path) -> io::Result<Option<(Predecessor, Inherited)>> {
    let stream = match UnixStream::connect(path) {
        Ok(stream) => stream,
        // Nobody, or one that is gone.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut given = Vec::new();
    while given.len() < MAX_SOCKETS {
        let mut line = [0; MAX_LINE];
        let (length, socket) = descriptors::receive(stream.as_fd(), &mut line)?;
        let text = std::str::from_utf8(&line[..length]).map_err(io::Error::other)?.trim_end();
        let named = text.split_once(' ').and_then(|(key, at)| Some((key.to_owned(), at.parse::<SocketAddr>().ok()?)));
        match (text, named, socket) {
            ("end", _, None) => return Ok(Some((Predecessor(stream), Inherited::given(given)))),
            (_, Some((key, _)), Some(socket)) => given.push((key, socket)),
            _ => break,
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}

impl Predecessor {
    /// Everything is made: returns when the listeners are ours.
    pub(super) fn make_room(mut self) -> io::Result<()> {
        self.0.write_all(b"go")?;
        let mut answer = [0; 5];
        self.0.read_exact(&mut answer)?;
        if &answer == b"yours" { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
    }
}

/// Listens for a successor, for the eyes of this process's own user alone.
pub(super) fn listen(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

impl Running {
    /// Gives everything to whoever has connected. After an error nothing has changed, or what has is nobody's loss: see the log.
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
        for (key, address, socket) in self.listening()? {
            descriptors::send(stream.as_fd(), format!("{key} {address}\n").as_bytes(), Some(socket.as_fd()))?;
        }
        descriptors::send(stream.as_fd(), b"end\n", None)?;
        let mut go = [0; 2];
        stream.read_exact(&mut go)?;
        self.close_to_newcomers();
        let begun = Instant::now();
        while begun.elapsed() < SET_UP
            && self.signalling.as_ref().is_some_and(|(controls, _)| controls.calls_in_set_up() > 0)
        {
            std::thread::sleep(LOOK);
        }
        if !self.workers.depart(MOVING) {
            tracing::error!("a worker took too long to let its listeners go");
        }
        if self.workers.mailboxes().post_all(Command::Drain).is_err() {
            tracing::warn!("a worker has too much to do to hear that it drains");
        }
        if let Some(pid) = peer.pid().and_then(|pid| u32::try_from(pid).ok()) {
            notify.main_process(pid);
        }
        stream.write_all(b"yours")?;
        tracing::info!("another relay has taken over the listeners");
        Ok(())
    }

    /// Whoever connects from now on waits in the sockets, which nobody reads.
    fn close_to_newcomers(&self) {
        self.admin.set_ready(false);
        self.edges.refuse();
        if let Some(streams) = &self.streams {
            let all = self.changeable.doors.iter().map(|door| (door.kind, door.listens)).collect();
            let _ = streams.change(stream::Bound::nothing(), all);
        }
        if let Some((signalling, _)) = &self.signalling {
            signalling.drain(u64::from(self.changeable.settings.drain.deadline_secs) * 1000);
        }
    }

    /// Every listening socket, once more.
    fn listening(&self) -> io::Result<Vec<(&'static str, SocketAddr, OwnedFd)>> {
        let mut all = Vec::new();
        for (address, socket) in self.workers.listeners() {
            all.push(("udp", *address, socket.try_clone()?));
        }
        for (kind, address, socket) in self.streams.iter().flat_map(|streams| streams.listeners()) {
            all.push((if kind == stream::Kind::Tcp { "tcp" } else { "tls" }, address, socket));
        }
        for (key, address, socket) in &self.http {
            all.push((key, *address, socket.try_clone()?));
        }
        Ok(all)
    }
}
