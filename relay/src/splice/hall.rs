//! Where connections meet: which are being opened, which wait to be bound, which are joined; and what is done about each task.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::sleep;

use super::client::Client;
use super::pace::Pace;
use super::pipe::{self, Common};
use crate::clock::Clock;
use crate::dataplane::{DataClient, Mailboxes, Task, Tasks};
use crate::turn::{Command, ConnectionId, Connections, RelayedPort, TcpEvent};

/// Admitted peers that are not yet taken note of. Listeners wait for room.
const ADMITTED: usize = 64;
/// Pause after an accept that failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// What the kernel may hold for a slow peer, in bytes.
const SEND_BUFFER_BYTES: usize = 128 * 1024;
/// What it may hold that a sender said and we have not read, in bytes.
const RECEIVE_BUFFER_BYTES: usize = 128 * 1024;
/// An end that takes nothing for so long is gone. Longer than for control connections: data may well wait.
const STALLED: Duration = Duration::from_secs(300);
/// A silent peer is asked whether it still is there.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(60), Duration::from_secs(15), 4);

pub(super) struct Hall {
    /// Lives through reloads, unlike what a reload replaces.
    connections: Arc<Connections>,
    workers: Mailboxes,
    clock: Clock,
    /// By relayed port. What is in here is counted, and bounded, in `turn`.
    ports: HashMap<RelayedPort, Port>,
    jobs: JoinSet<Done>,
    admit: mpsc::Sender<Admitted>,
    admitted: mpsc::Receiver<Admitted>,
}

/// One TCP allocation. Dropping it closes all of it.
struct Port {
    _listener: Job,
    peers: HashMap<ConnectionId, Peer>,
    common: Arc<Common>,
}

enum Peer {
    Connecting {
        _until_then: Job,
    },
    /// Nothing is read: the kernel holds what the peer says, and tells it when that is enough.
    Waiting(TcpStream),
    Joined {
        _until_then: Job,
    },
}

/// A job that ends when this is dropped.
struct Job(AbortHandle);

/// A peer that [`Connections::admit_peer`] let in.
struct Admitted {
    worker: u16,
    port: RelayedPort,
    id: ConnectionId,
    stream: TcpStream,
}

enum Done {
    Connected { worker: u16, port: RelayedPort, id: ConnectionId, result: io::Result<TcpStream> },
    Ended { port: RelayedPort, id: ConnectionId },
}

impl Hall {
    pub(super) fn new(connections: Arc<Connections>, workers: Mailboxes, clock: Clock) -> Hall {
        let (admit, admitted) = mpsc::channel(ADMITTED);
        Hall { connections, workers, clock, ports: HashMap::new(), jobs: JoinSet::new(), admit, admitted }
    }

    /// Until every worker is gone.
    pub(super) async fn run(mut self, mut tasks: Tasks) {
        loop {
            tokio::select! {
                task = tasks.next() => match task {
                    Some(task) => self.work(task),
                    None => return,
                },
                Some(admitted) = self.admitted.recv() => self.take(admitted),
                // An error is a job that was ended: whoever ended it knows.
                Some(done) = self.jobs.join_next() => if let Ok(done) = done { self.finish(done) },
            }
        }
    }

    fn work(&mut self, task: Task) {
        match task {
            Task::Listen { port, listener } => self.listen(port, listener),
            Task::Close { port } => drop(self.ports.remove(&port)),
            Task::Connect { worker, port, id, from, to } => self.connect(worker, port, id, (from, to)),
            Task::Abandon { port, id } => self.forget(port, id),
            Task::Bind { port, id, client } => self.join(port, id, *client),
        }
    }

    fn listen(&mut self, port: RelayedPort, listener: std::net::TcpListener) {
        // An allocation whose listener cannot be watched is deaf, and may still connect.
        let Ok(listener) = TcpListener::from_std(listener) else { return };
        let (connections, clock, admit) = (Arc::clone(&self.connections), self.clock, self.admit.clone());
        let job = self.jobs.spawn(async move { accept(port, listener, &connections, clock, &admit).await });
        let bits = self.connections.bits_per_second();
        let common =
            Common { connections: Arc::clone(&self.connections), to_peer: Pace::new(bits), to_client: Pace::new(bits) };
        let port_of_it = Port { _listener: Job(job), peers: HashMap::new(), common: Arc::new(common) };
        self.ports.insert(port, port_of_it);
    }

    fn connect(&mut self, worker: u16, port: RelayedPort, id: ConnectionId, way: (SocketAddr, SocketAddr)) {
        let Some(open) = self.ports.get_mut(&port) else {
            self.tell(worker, TcpEvent::Connected { id, success: false });
            return;
        };
        let job = self.jobs.spawn(async move {
            let result = open_connection(way.0, way.1).await;
            Done::Connected { worker, port, id, result }
        });
        open.peers.insert(id, Peer::Connecting { _until_then: Job(job) });
    }

    fn take(&mut self, admitted: Admitted) {
        let Admitted { worker, port, id, stream } = admitted;
        let Some(open) = self.ports.get_mut(&port) else { return self.connections.ended(id) };
        prepare(&stream);
        open.peers.insert(id, Peer::Waiting(stream));
        if !self.tell(worker, TcpEvent::Accepted { id }) {
            self.forget(port, id);
        }
    }

    fn finish(&mut self, done: Done) {
        match done {
            Done::Connected { worker, port, id, result } => {
                let peers = self.ports.get_mut(&port).map(|open| &mut open.peers);
                let Some(peer) = peers.and_then(|peers| peers.get_mut(&id)) else { return };
                let success = result.is_ok();
                match result {
                    Ok(stream) => {
                        prepare(&stream);
                        *peer = Peer::Waiting(stream);
                    }
                    Err(_) => self.forget(port, id),
                }
                // A worker that hears nothing gives the connection up in time.
                self.tell(worker, TcpEvent::Connected { id, success });
            }
            Done::Ended { port, id } => self.forget(port, id),
        }
    }

    fn join(&mut self, port: RelayedPort, id: ConnectionId, client: DataClient) {
        let Some(open) = self.ports.get_mut(&port) else { return };
        let waiting = match open.peers.remove(&id) {
            Some(Peer::Waiting(stream)) => Client::new(client).ok().map(|client| (client, stream)),
            _ => None,
        };
        let Some((client, stream)) = waiting else { return self.connections.ended(id) };
        let socket = SockRef::from(client.socket());
        let _ = socket.set_tcp_user_timeout(Some(STALLED));
        let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES);
        let common = Arc::clone(&open.common);
        let job = self.jobs.spawn(async move {
            pipe::run(client, stream, &common).await;
            Done::Ended { port, id }
        });
        open.peers.insert(id, Peer::Joined { _until_then: Job(job) });
    }

    /// Closes a connection, if it is there still.
    fn forget(&mut self, port: RelayedPort, id: ConnectionId) {
        if let Some(open) = self.ports.get_mut(&port) {
            open.peers.remove(&id);
        }
        self.connections.ended(id);
    }

    /// Answers whether the worker will hear of it.
    fn tell(&self, worker: u16, event: TcpEvent) -> bool {
        self.workers.post(worker, Command::Tcp(event)).is_ok()
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Lets permitted peers in and closes the others at once, for as long as it is let.
async fn accept(
    port: RelayedPort,
    listener: TcpListener,
    connections: &Connections,
    clock: Clock,
    admit: &mpsc::Sender<Admitted>,
) -> Done {
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                let Some((worker, id)) = connections.admit_peer(clock.mono(), port, from) else { continue };
                if admit.send(Admitted { worker, port, id, stream }).await.is_err() {
                    return Done::Ended { port, id };
                }
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(_) => sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// "The local endpoint is the relayed transport address associated with the allocation" (RFC 6062 §5.2), which its listener
/// holds already.
async fn open_connection(from: SocketAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = if from.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(true)?;
    socket.bind(from)?;
    socket.connect(to).await
}

/// What the kernel does for us on each peer connection. None of it can fail on a TCP socket, and it would do without.
fn prepare(stream: &TcpStream) {
    let socket = SockRef::from(stream);
    let (time, interval, retries) = KEEPALIVE;
    let keepalive = TcpKeepalive::new().with_time(time).with_interval(interval).with_retries(retries);
    let _ = socket.set_tcp_nodelay(true);
    let _ = socket.set_tcp_keepalive(&keepalive);
    let _ = socket.set_tcp_user_timeout(Some(STALLED));
    let _ = socket.set_send_buffer_size(SEND_BUFFER_BYTES);
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES);
}
