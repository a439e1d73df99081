//! What goes over to a relay that takes another one's place together with its calls (`relay upgrade`), and in which words.
//!
//! `handover.rs` has the conversation up to the listeners. Where a successor wants everything, it goes on like this:
//!
//! 1. `up`, and the one at work says what its snapshots are written in and what the other must stand on: its clock, its keys, how many
//!    workers there are ([`Ground`]). One that cannot read such a snapshot leaves here, and nothing has changed;
//! 2. the new one makes all that can fail, and says `go` and where it listens and relays ([`Wanted`]);
//! 3. the one at work makes no new match, lets calls in set-up get there, packs the desk and sends that; the new one reads it, and says
//!    `ready`. Then the workers stand still, and it sends the [`Snapshot`], and after it the sockets of relayed ports;
//! 4. the new one has read all of it and says `taken`; the workers part with those who went, and the one at work says `yours`;
//! 5. the new one begins to read. WebSockets close in the one before, and their clients come back to the new one; who could not go, clients over
//!    TCP and TLS and their partners, is served there to their end.
//!
//! Up to `taken` the one at work can go on as if nothing had been, and does when it hears no more. Media waits in the sockets from the
//! moment the workers stand still until the new one's begin.

use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Running;
use super::descriptors;
use super::handover::{SET_UP, wait_while};
use super::parts::Seeds;
use crate::auth::{CallKeys, Ring};
use crate::clock::Clock;
use crate::dataplane::Estate;
use crate::routes::AddressId;
use crate::signalling;
use crate::turn::{Going, PackedShared, PackedTurn, RelayedAddress, RelayedPort};

/// What snapshots are written in: ours, and what the desk packs. To be raised whenever anything in one changes; a test tells.
const VERSION: [u16; 2] = [1, signalling::PACKED_VERSION];

/// For the workers to stand still, and for the other side to read; together shorter than they do.
const STILL: Duration = Duration::from_secs(2);
/// Longer than any snapshot.
const MAX_FRAME: u64 = 1 << 32;

/// What a successor must stand on from its first moment.
#[derive(Serialize, Deserialize)]
pub(super) struct Ground {
    /// How long the clock has counted when the machine's own said this.
    clock: (Duration, u64),
    ring: Ring,
    nonces: [u8; 32],
    demo: [u8; 32],
    workers: u16,
}

/// Where the successor listens and relays.
#[derive(Serialize, Deserialize)]
pub(super) struct Wanted {
    pub(super) listeners: Vec<SocketAddr>,
    pub(super) addresses: Vec<RelayedAddress>,
}

#[derive(Serialize, Deserialize)]
struct Snapshot {
    shared: PackedShared,
    workers: Vec<PackedTurn>,
    /// The worker and the port of each socket that follows.
    sockets: Vec<(u16, RelayedPort)>,
}

/// What was taken over.
pub(super) struct Taken {
    pub(super) desk: Option<signalling::Packed>,
    pub(super) shared: PackedShared,
    pub(super) estates: Vec<Estate>,
}

/// Why a successor leaves before anything has changed.
#[derive(Debug)]
pub enum Unfit {
    /// Its snapshots are of the first version, and this program reads the second.
    Version([u16; 2], [u16; 2]),
    /// It has so many workers, and this one so many.
    Workers(u16, usize),
}

impl Ground {
    /// The clock that goes on from there.
    pub(super) fn clock(&self) -> Clock {
        let (before, at) = self.clock;
        let since = descriptors::monotonic_micros().unwrap_or(at).saturating_sub(at);
        Clock::started(before + Duration::from_micros(since))
    }

    /// The keys that go on.
    pub(super) fn keys(&self) -> CallKeys {
        CallKeys::from_ring(self.ring.clone())
    }

    /// What was made with them stays good.
    pub(super) fn secrets(&self, fresh: Seeds) -> Seeds {
        Seeds { nonces: self.nonces, demo: self.demo, ..fresh }
    }

    /// Each client's packets come to the worker they have come to, if there are as many.
    pub(super) fn fits(&self, workers: usize) -> Result<(), Unfit> {
        if usize::from(self.workers) == workers { Ok(()) } else { Err(Unfit::Workers(self.workers, workers)) }
    }
}

/// The successor's side of step 1.
pub(super) fn ask(stream: &mut UnixStream) -> io::Result<Result<Ground, Unfit>> {
    stream.write_all(b"up")?;
    let mut version = [0; 2];
    for part in &mut version {
        let mut bytes = [0; 2];
        stream.read_exact(&mut bytes)?;
        *part = u16::from_le_bytes(bytes);
    }
    if version != VERSION {
        return Ok(Err(Unfit::Version(version, VERSION)));
    }
    read_frame(stream).map(Ok)
}

/// The successor's side of steps 2 to 4.
pub(super) fn take(stream: &mut UnixStream, wanted: &Wanted) -> io::Result<Taken> {
    // It waits for calls in set-up.
    stream.set_read_timeout(Some(SET_UP + 4 * STILL))?;
    stream.write_all(b"go")?;
    write_frame(stream, wanted)?;
    let desk: Option<signalling::Packed> = read_frame(stream)?;
    if desk.as_ref().is_some_and(|desk| !desk.is_sound()) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it gave sessions and calls that cannot be read"));
    }
    stream.write_all(b"ready")?;
    let snapshot: Snapshot = read_frame(stream)?;
    let mut estates: Vec<Estate> =
        snapshot.workers.into_iter().map(|turn| Estate { turn, sockets: Vec::new() }).collect();
    for (worker, port) in snapshot.sockets {
        let (_, socket) = descriptors::receive(stream.as_fd(), &mut [0])?;
        let (estate, socket) = estates.get_mut(usize::from(worker)).zip(socket).ok_or(io::ErrorKind::InvalidData)?;
        estate.sockets.push((port, socket));
    }
    stream.write_all(b"taken")?;
    hear(stream, b"yours")?;
    Ok(Taken { desk, shared: snapshot.shared, estates })
}

impl Running {
    /// This one's side of step 1, and where the other one listens.
    fn say_what_it_takes(&self, stream: &mut UnixStream) -> io::Result<Wanted> {
        let clock = self.changeable.clock;
        let ground = Ground {
            clock: (clock.elapsed(), descriptors::monotonic_micros().ok_or(io::ErrorKind::Unsupported)?),
            ring: self.changeable.keys.ring(clock.mono()),
            nonces: self.changeable.nonces,
            demo: self.changeable.demo,
            workers: self.workers.mailboxes().workers(),
        };
        for part in VERSION {
            stream.write_all(&part.to_le_bytes())?;
        }
        write_frame(stream, &ground)?;
        stream.read_exact(&mut [0; 2])?;
        read_frame(stream)
    }

    /// Everything that can go. After an error all goes on here, as if nothing had been.
    pub(super) fn give_everything(&mut self, stream: &mut UnixStream) -> io::Result<()> {
        let wanted = &self.say_what_it_takes(stream)?;
        let signalling = self.signalling.0.clone();
        if !signalling.hold() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        wait_while(SET_UP, || signalling.calls_in_set_up() > 0);
        let going = Arc::new(self.going(wanted));
        let stays = Arc::clone(&going);
        let desk = signalling.pack(move |handle| stays.stays().contains(handle));
        let given = self.give_desk(stream, desk.as_ref()).and_then(|()| self.give_calls(stream, &going));
        given.inspect(|()| signalling.dismiss()).inspect_err(|_| {
            let back = desk.is_none_or(|desk| signalling.take_back(desk));
            if !(signalling.go_on() && back) {
                tracing::error!("sessions could not be taken back: their clients begin anew");
            }
        })
    }

    fn going(&self, wanted: &Wanted) -> Going {
        let listens = |at: &SocketAddr| wanted.listeners.iter().position(|it| it == at).map(|place| place as u16);
        let relays = |at| wanted.addresses.iter().position(|it| it == at).map(|place| AddressId(place as u8));
        let shared = &self.changeable.shared;
        let listeners = self.workers.listens_at().iter().map(|at| at.as_ref().and_then(listens)).collect();
        let addresses = shared.settings.addresses.iter().map(relays).collect();
        Going::new(listeners, addresses).with_whole_calls(&shared.ledger)
    }

    /// Sessions may be many: media goes on while they are written and read.
    fn give_desk(&self, stream: &mut UnixStream, desk: Option<&signalling::Packed>) -> io::Result<()> {
        write_frame(stream, &desk)?;
        hear(stream, b"ready")
    }

    /// The workers stand still in here.
    fn give_calls(&self, stream: &mut UnixStream, going: &Arc<Going>) -> io::Result<()> {
        let begun = Instant::now();
        let mut frozen = self.workers.freeze(going, STILL)?;
        let mut snapshot =
            Snapshot { shared: self.changeable.shared.pack(going), workers: Vec::new(), sockets: Vec::new() };
        let mut sockets = Vec::new();
        for (worker, estate) in (0..).zip(std::mem::take(&mut frozen.estates)) {
            snapshot.workers.push(estate.turn);
            snapshot.sockets.extend(estate.sockets.iter().map(|(port, _)| (worker, *port)));
            sockets.extend(estate.sockets.into_iter().map(|(_, socket)| socket));
        }
        hand_on(stream, &snapshot, &sockets)?;
        frozen.part()?;
        // It has everything: if it does not hear this, it is gone, and all that it has taken.
        let told = stream.write_all(b"yours").is_ok();
        let allocations: usize = snapshot.workers.iter().map(PackedTurn::len).sum();
        let still_ms = begun.elapsed().as_millis() as u64;
        tracing::info!(
            allocations,
            sockets = sockets.len(),
            still_ms,
            told,
            "another relay has taken over what can go"
        );
        Ok(())
    }
}

fn hand_on(stream: &mut UnixStream, snapshot: &Snapshot, sockets: &[OwnedFd]) -> io::Result<()> {
    write_frame(stream, snapshot)?;
    for socket in sockets {
        descriptors::send(stream.as_fd(), b"s", Some(socket.as_fd()))?;
    }
    stream.set_read_timeout(Some(STILL))?;
    hear(stream, b"taken")
}

/// The other one's next word, which must be this.
fn hear(stream: &mut UnixStream, word: &[u8; 5]) -> io::Result<()> {
    let mut heard = [0; 5];
    stream.read_exact(&mut heard)?;
    if &heard == word { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
}

fn write_frame(stream: &mut UnixStream, what: &impl Serialize) -> io::Result<()> {
    let bytes = postcard::to_allocvec(what).map_err(io::Error::other)?;
    stream.write_all(&(bytes.len() as u64).to_le_bytes())?;
    stream.write_all(&bytes)
}

fn read_frame<T: DeserializeOwned>(stream: &mut UnixStream) -> io::Result<T> {
    let mut length = [0; 8];
    stream.read_exact(&mut length)?;
    let length =
        Some(u64::from_le_bytes(length)).filter(|length| *length <= MAX_FRAME).ok_or(io::ErrorKind::InvalidData)?;
    let mut bytes = Vec::new();
    stream.take(length).read_to_end(&mut bytes)?;
    postcard::from_bytes(&bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it gave what cannot be read"))
}
