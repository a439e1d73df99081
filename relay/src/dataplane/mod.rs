//! Sockets and threads of the packet path.
//!
//! One thread for each core, each with a socket of its own on every listener address (SO_REUSEPORT: the kernel always
//! gives a five-tuple to the same one), its own TURN machine, and its own relayed sockets. Between them nothing is
//! shared but the machine's route table; other threads speak to a worker through its mailbox.
//!
//! The journey of a packet is in `worker.rs`; what it travels on is in `batch.rs`, `sockets.rs` and `sys.rs`.

mod batch;
mod counters;
mod departure;
mod listening;
mod mailbox;
mod marks;
mod names;
mod nap;
mod outbox;
mod parcels;
mod polling;
#[cfg(feature = "slowdown")]
pub(crate) mod slowdown;
mod socket;
mod sockets;
mod stream;
mod streams;
mod succession;
mod sys;
mod tcp;
mod worker;
mod worker_errors;
mod worker_streams;
mod worker_tcp;

#[cfg(test)]
pub(crate) mod tests;

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

pub use batch::MAX_DATAGRAM_BYTES;
pub use counters::{Count, IoCounters};
pub use listening::Opened;
pub use mailbox::{Errand, MAILBOX_COMMANDS, MAILBOX_ERRANDS, MAILBOX_STREAMS, Mailboxes, PostError, Refused};
pub use nap::{MAX_NAP_MICROS, NAP_ABOVE_PER_SEC};
pub use socket::BindError;
pub use stream::NewStream;
pub use succession::{Estate, Frozen};
pub use sys::give_heap_back;
pub use tcp::{DataClient, Task, Tasks, TasksSender, tasks};

use crate::clock::Clock;
use crate::turn;
use listening::{Known, Retired};
use mailbox::Mailbox;
use marks::Marks;
use nap::Nap;
use socket::{Listener, open_listeners};
use sockets::{Place, Sockets};
use streams::Streams;
use sys::Epoll;
use worker::Worker;

/// What the data plane needs to know, filled in by `server` from the configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Addresses to listen on. An unspecified one (0.0.0.0, ::) serves every address of this machine, of that IP version.
    pub listeners: Vec<SocketAddr>,
    /// Threads. 0: one for each core this process may use (`taskset`, cpusets and CPU quotas are obeyed).
    pub workers: usize,
    /// Receive buffer of each listening socket, in bytes. With CAP_NET_ADMIN as asked, else at most net.core.rmem_max.
    pub receive_buffer_bytes: usize,
    /// Nap before each look while busy, in microseconds, at most [`MAX_NAP_MICROS`]; 0 turns naps off. Taken only by a worker
    /// that receives more than [`NAP_ABOVE_PER_SEC`] and keeps up. Measured at 20 000 packets/s on two busy virtual cores:
    /// 200 cut the CPU per packet from 35 to 13 µs and add 0.15 ms to the median latency; 300 save little more. `None`: 200 for
    /// each worker, since they share the packets and each wake-up costs as much as two packets, however few it finds.
    pub nap_micros: Option<u32>,
    /// A stream client without an allocation is closed after so many milliseconds without a whole message.
    pub stream_idle_millis: u64,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            listeners: Vec::new(),
            workers: 0,
            receive_buffer_bytes: 4 << 20,
            nap_micros: None,
            stream_idle_millis: 30_000,
        }
    }
}

/// Sockets bound, nothing read yet.
pub struct Bound {
    addresses: Vec<SocketAddr>,
    seats: Vec<Seat>,
    nap_micros: u32,
    receive_buffer_bytes: usize,
    stream_idle_millis: u64,
    tcp: Option<TasksSender>,
    estates: Vec<Estate>,
}

/// Everything of a worker that can fail, made before it starts.
struct Seat {
    core: Option<usize>,
    listeners: Vec<Listener>,
    epoll: Epoll,
    mailbox: Arc<Mailbox>,
}

/// Opens every listener for every worker.
///
/// # Errors
/// The first address that could not be bound, and what to do about it. Nothing stays open.
pub fn bind(settings: &Settings) -> Result<Bound, BindError> {
    bind_with(settings, |_| Vec::new())
}

/// The same with sockets that somebody bound already, asked for by address.
///
/// # Errors
/// As [`bind`].
pub fn bind_with(
    settings: &Settings,
    mut inherited: impl FnMut(SocketAddr) -> Vec<OwnedFd>,
) -> Result<Bound, BindError> {
    let trouble = |source| BindError { address: None, source };
    let cores = plan_cores(settings.workers, sys::allowed_cores(), available_parallelism());
    let mut seats = cores.into_iter().map(Seat::new).collect::<io::Result<Vec<_>>>().map_err(trouble)?;
    let mut addresses = Vec::new();
    for address in &settings.listeners {
        let listeners = open_listeners(*address, seats.len(), settings.receive_buffer_bytes, inherited(*address))?;
        addresses.extend(listeners.first().map(|listener| listener.address));
        for (seat, listener) in seats.iter_mut().zip(listeners) {
            seat.add(listener).map_err(trouble)?;
        }
    }
    let Settings { nap_micros, receive_buffer_bytes, stream_idle_millis, .. } = *settings;
    let nap_micros = nap_micros.unwrap_or_else(|| nap::by_workers(seats.len()));
    Ok(Bound { addresses, seats, nap_micros, receive_buffer_bytes, stream_idle_millis, tcp: None, estates: Vec::new() })
}

/// The core of each worker; `None` lets the scheduler choose.
///
/// Pinned when there is a worker for every core we may use. With fewer, pinning would make every process under a CPU
/// quota crowd the first cores of the machine.
fn plan_cores(workers: usize, allowed: Vec<usize>, parallelism: usize) -> Vec<Option<usize>> {
    let wanted = if workers == 0 { parallelism.min(allowed.len().max(1)) } else { workers }.min(usize::from(u16::MAX));
    if allowed.is_empty() || wanted < allowed.len() {
        return vec![None; wanted];
    }
    allowed.iter().cycle().take(wanted).map(|core| Some(*core)).collect()
}

fn available_parallelism() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

impl Seat {
    fn new(core: Option<usize>) -> io::Result<Seat> {
        let (epoll, mailbox) = (Epoll::new()?, Arc::new(Mailbox::new()?));
        epoll.add(mailbox.readiness(), Place::Mailbox.number())?;
        Ok(Seat { core, listeners: Vec::new(), epoll, mailbox })
    }

    fn add(&mut self, listener: Listener) -> io::Result<()> {
        self.epoll.add(listener.socket.as_fd(), Place::Listener(self.listeners.len() as u16).number())?;
        self.listeners.push(listener);
        Ok(())
    }
}

impl Bound {
    /// Where we listen, in the settings' order, port 0 resolved.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Number of workers that [`Bound::start`] will start.
    pub fn workers(&self) -> usize {
        self.seats.len()
    }

    /// Hands what TCP allocations ask for to whoever holds the other end. Without, there are none.
    #[must_use]
    pub fn with_tcp(self, tasks: TasksSender) -> Bound {
        Bound { tcp: Some(tasks), ..self }
    }

    /// Each worker goes on with what one of another process has left it.
    #[must_use]
    pub fn with_estates(self, estates: Vec<Estate>) -> Bound {
        Bound { estates, ..self }
    }

    /// Starts the workers. `clock` is the one whose time everybody else hands to the core; `seed` should be random.
    ///
    /// # Errors
    /// If a thread cannot be started; those that were are stopped again.
    pub fn start(self, shared: &Arc<turn::Shared>, clock: Clock, seed: [u8; 32]) -> io::Result<Running> {
        let mut estates = self.estates.into_iter();
        let mailboxes: Vec<_> = self.seats.iter().map(|seat| Arc::clone(&seat.mailbox)).collect();
        let everybody = Mailboxes::new(mailboxes.iter().cloned());
        let nap = Arc::new(AtomicU32::new(self.nap_micros));
        let lent = |place: usize| {
            let all = self.seats.iter().filter_map(|seat| seat.listeners.get(place));
            all.map(|it| it.socket.try_clone()).collect::<io::Result<Vec<_>>>()
        };
        let listeners = self.addresses.iter().enumerate().map(|(place, at)| Ok(Known::new(*at, lent(place)?)));
        let listeners = Mutex::new(listeners.collect::<io::Result<_>>()?);
        let mut running = Running {
            mailboxes,
            listeners,
            receive_buffer_bytes: self.receive_buffer_bytes,
            nap: Arc::clone(&nap),
            threads: Vec::new(),
            turn: Vec::new(),
            io: Vec::new(),
            routes: Arc::clone(&shared.routes),
        };
        for (number, seat) in self.seats.into_iter().enumerate() {
            let number = number as u16;
            let mut turn = turn::Turn::new(Arc::clone(shared), number, seed_of(seed, number));
            let mut sockets = Sockets::new(seat.listeners, &shared.settings.addresses);
            let counters = Arc::new(IoCounters::default());
            if let Some(estate) = estates.next() {
                counters.relayed_sockets.add(estate.settle(&mut turn, &mut sockets, &seat.epoll)?);
            }
            running.turn.push(Arc::clone(turn.counters()));
            running.io.push(Arc::clone(&counters));
            let worker = Worker {
                number,
                streams: Streams::new(number, self.stream_idle_millis),
                everybody: everybody.clone(),
                sockets,
                epoll: seat.epoll,
                mailbox: seat.mailbox,
                turn,
                clock,
                counters,
                nap: Nap::new(Arc::clone(&nap)),
                marks: Marks::default(),
                tcp: self.tcp.clone(),
                departed: false,
                polls: false,
                retired: Retired::default(),
            };
            running.threads.push(spawn(number, seat.core, worker)?);
        }
        Ok(running)
    }
}

fn spawn(number: u16, core: Option<usize>, worker: Worker) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(format!("udp-{number}")).spawn(move || {
        if let Some(error) = core.and_then(|core| sys::pin(core).err()) {
            tracing::warn!(worker = number, %error, "not pinned to a core");
        }
        worker.run();
    })
}

/// A seed of its own for each worker.
fn seed_of(mut seed: [u8; 32], worker: u16) -> [u8; 32] {
    for (byte, by) in seed.iter_mut().zip(worker.to_le_bytes()) {
        *byte ^= by;
    }
    seed
}

/// The workers at work. Dropping it stops them.
pub struct Running {
    mailboxes: Vec<Arc<Mailbox>>,
    /// By their numbers, which every worker has the same.
    listeners: Mutex<Vec<Known>>,
    receive_buffer_bytes: usize,
    nap: Arc<AtomicU32>,
    threads: Vec<JoinHandle<()>>,
    turn: Vec<Arc<turn::Counters>>,
    io: Vec<Arc<IoCounters>>,
    routes: Arc<turn::Routes>,
}

impl Running {
    pub fn mailboxes(&self) -> Mailboxes {
        Mailboxes::new(self.mailboxes.iter().cloned())
    }

    /// Moves every UDP client that has an allocation onto a socket of its own and reads from the listeners no more: another process may.
    /// Whether all workers have done so in time.
    pub fn depart(&self, patience: Duration) -> bool {
        const LOOK: Duration = Duration::from_millis(1);
        for mailbox in &self.mailboxes {
            mailbox.depart();
        }
        let begun = Instant::now();
        while !self.mailboxes.iter().all(|mailbox| mailbox.has_departed()) {
            if begun.elapsed() > patience {
                return false;
            }
            thread::sleep(LOOK);
        }
        true
    }

    /// How long busy workers nap from now on, as [`Settings::nap_micros`] says.
    pub fn set_nap(&self, micros: Option<u32>) {
        self.nap.store(micros.unwrap_or_else(|| nap::by_workers(self.threads.len())), Ordering::Relaxed);
    }

    /// What each worker's machine counted, by worker number.
    pub fn counters(&self) -> Vec<Arc<turn::Counters>> {
        self.turn.clone()
    }

    /// What each worker's sockets counted, by worker number.
    pub fn io_counters(&self) -> Vec<Arc<IoCounters>> {
        self.io.clone()
    }

    /// Gives back what allocations that are gone have left, in the route table and in the heap. Takes milliseconds: not for threads that
    /// packets wait for.
    pub fn give_memory_back(&self) {
        self.routes.give_memory_back();
        give_heap_back();
    }

    /// Whether a worker has ended although nobody asked it to.
    pub fn has_ended(&self) -> bool {
        self.threads.iter().any(JoinHandle::is_finished)
    }

    /// Ends every worker, waits for it, and closes its sockets.
    pub fn stop(self) {}
}

impl Drop for Running {
    fn drop(&mut self) {
        for mailbox in &self.mailboxes {
            mailbox.stop();
        }
        for (worker, thread) in self.threads.drain(..).enumerate() {
            if thread.join().is_err() {
                tracing::error!(worker, "a worker had ended by a panic");
            }
        }
    }
}

#[cfg(test)]
mod plan_tests {
    use super::plan_cores;

    #[test]
    fn by_default_every_allowed_core_gets_a_worker_of_its_own() {
        assert_eq!(plan_cores(0, vec![2, 5], 2), [Some(2), Some(5)]);
    }

    #[test]
    fn under_a_cpu_quota_there_are_fewer_workers_and_the_scheduler_places_them() {
        assert_eq!(plan_cores(0, vec![0, 1, 2, 3], 2), [None, None]);
        assert_eq!(plan_cores(1, vec![0, 1], 2), [None]);
    }

    #[test]
    fn more_workers_than_cores_share_them() {
        assert_eq!(plan_cores(3, vec![4, 6], 2), [Some(4), Some(6), Some(4)]);
    }

    #[test]
    fn there_is_a_worker_even_if_the_kernel_would_not_say_which_cores_there_are() {
        assert_eq!(plan_cores(0, vec![], 8), [None]);
    }
}
