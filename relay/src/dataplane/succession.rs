//! Giving what one process relays to another one: each worker stands still for as long as it takes to write down who goes and to hand on
//! their sockets. What arrives meanwhile waits in those sockets, and the other process reads it.
//!
//! A worker that is not told that the other one has everything goes on as if nothing had been.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use super::Running;
use super::sockets::{Place, Sockets};
use super::sys::Epoll;
use super::worker::{Hands, Worker};
use crate::time::Now;
use crate::turn::{Going, PackedTurn, RelayedPort, Turn};

/// Longest that a worker stands still.
const STILL: Duration = Duration::from_secs(5);
/// What is left of that when it is told, at least: one that goes on by itself and one that has gone must not be told apart too late.
const MARGIN: Duration = Duration::from_secs(1);

/// What one worker gives: who goes, and the sockets of their relayed ports, named as the other process does.
#[derive(Default)]
pub struct Estate {
    pub turn: PackedTurn,
    pub sockets: Vec<(RelayedPort, OwnedFd)>,
}

/// Workers that stand still. Dropped, they go on.
pub struct Frozen {
    since: Instant,
    verdicts: Vec<SyncSender<()>>,
    /// By worker.
    pub estates: Vec<Estate>,
}

/// What a worker is told.
pub(super) struct Freeze {
    going: Arc<Going>,
    given: SyncSender<(u16, io::Result<Estate>)>,
    gone: Receiver<()>,
}

impl Running {
    /// Has every worker stand still and write down who goes.
    ///
    /// # Errors
    /// A worker took longer than `patience`, or there were no descriptors left; all go on.
    pub fn freeze(&self, going: &Arc<Going>, patience: Duration) -> io::Result<Frozen> {
        let (given, all) = sync_channel(self.mailboxes.len());
        let mut frozen = Frozen { since: Instant::now(), verdicts: Vec::new(), estates: Vec::new() };
        for mailbox in &self.mailboxes {
            let (verdict, gone) = sync_channel(1);
            frozen.verdicts.push(verdict);
            frozen.estates.push(Estate::default());
            mailbox.freeze(Freeze { going: Arc::clone(going), given: given.clone(), gone });
        }
        let deadline = Instant::now() + patience;
        for _ in &self.mailboxes {
            let left = deadline.saturating_duration_since(Instant::now());
            let (worker, estate) = all.recv_timeout(left).map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?;
            if let Some(place) = frozen.estates.get_mut(usize::from(worker)) {
                *place = estate?;
            }
        }
        Ok(frozen)
    }

    /// The addresses listened at, by their numbers; `None` for those that were taken away.
    pub fn listens_at(&self) -> Vec<Option<std::net::SocketAddr>> {
        self.known().iter().map(|it| it.is_offered().then_some(it.address())).collect()
    }
}

impl Frozen {
    /// The other process has everything: those who go are its clients from now on, and so are all who come.
    ///
    /// # Errors
    /// It took so long that workers are about to go on by themselves; all do.
    pub fn part(self) -> io::Result<()> {
        if self.since.elapsed() + MARGIN > STILL {
            return Err(io::ErrorKind::TimedOut.into());
        }
        for verdict in self.verdicts {
            // There is room for one, and its worker waits for it.
            let _ = verdict.try_send(());
        }
        Ok(())
    }
}

impl Worker {
    pub(super) fn freeze(&mut self, hands: &mut Hands, now: Now, freeze: Freeze) {
        let Freeze { going, given, gone } = freeze;
        let before = self.sockets.departures();
        self.move_clients(hands, now, |turn, client| !turn.goes(client, &going));
        let estate = self.estate(&going);
        if given.send((self.number, estate)).is_err() || gone.recv_timeout(STILL).is_err() {
            return self.move_back(hands, self.clock.now(), before);
        }
        self.turn.part_with(&going);
        self.act(hands, now);
        self.close_listeners();
    }

    fn estate(&self, going: &Going) -> io::Result<Estate> {
        let sockets = self.turn.sockets_that_go(going).into_iter();
        let lent = |(port, there): (RelayedPort, RelayedPort)| {
            let socket = self.sockets.get(Place::Relayed(port))?;
            Some(socket.try_clone_to_owned().map(|socket| (there, socket)))
        };
        Ok(Estate { turn: self.turn.pack(going), sockets: sockets.filter_map(lent).collect::<io::Result<_>>()? })
    }
}

impl Estate {
    /// Becomes the new worker's. How many sockets it has got.
    pub(super) fn settle(self, turn: &mut Turn, sockets: &mut Sockets, epoll: &Epoll) -> io::Result<u64> {
        turn.unpack(self.turn);
        let mut adopted = 0;
        for (port, socket) in self.sockets {
            if let Some(socket) = sockets.adopt(port, socket) {
                epoll.add(socket, Place::Relayed(port).number())?;
                adopted += 1;
            }
        }
        Ok(adopted)
    }
}
