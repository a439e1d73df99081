//! TCP and TLS listeners: who comes in, and to whom they are led.
//!
//! A TURN client over TCP or TLS is a five-tuple whose datagrams arrive through a connection. Off the packet path, on a
//! thread of its own, connections are accepted, counted by network, told apart by their first bytes and, over TLS, shaken
//! hands with (`entrance`). Then TURN clients belong to a worker (`dataplane/stream.rs`), and HTTP to whoever takes [`Pages`].
//!
//! `[listen] tcp` takes STUN, and TLS too if there is a certificate: one port for both. `[listen] tls` takes TLS only.

mod counters;
mod entrance;
mod places;
mod prefixed;
pub mod proxy;
pub mod sniff;
pub mod tls;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ipnet::IpNet;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

pub use counters::Counters;
pub use prefixed::Prefixed;
pub use tls::{CertificateError, Certificates};

use crate::dataplane::Mailboxes;
use counters::Fate;
use entrance::{Door, Entrance};
use places::{Place, Places};

/// Connections the kernel holds for one listener before they are accepted, as far as net.core.somaxconn allows.
const BACKLOG: i32 = 16 * 1024;
/// Connections with HTTP waiting to be served.
const MAX_PAGES: usize = 256;
/// Reloads waiting for the listeners.
const MAX_CHANGES: usize = 4;
/// Pause after an accept that failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// A connection whose other end does not take or acknowledge what it is sent for this long is over.
const USER_TIMEOUT: Duration = Duration::from_secs(30);
/// A silent connection is asked whether it still is there.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(30), Duration::from_secs(10), 3);
/// What the kernel may hold for one slow reader, in bytes.
const SEND_BUFFER_BYTES: usize = 128 * 1024;
/// Of that, what is not on its way yet: more of it is only delay.
const NOT_SENT_BYTES: u32 = 16 * 1024;

/// What the operator chose.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    pub tcp: Vec<SocketAddr>,
    pub tls: Vec<SocketAddr>,
    /// Sources whose connections begin with a PROXY header, always.
    pub proxies: Vec<IpNet>,
    /// Sources that are not counted by network.
    pub exempt: Vec<IpNet>,
    /// Connections at once, all together.
    pub connections: usize,
    /// Connections at once of one /24 or /56.
    pub connections_of_one_network: u32,
    /// Whether HTTP is spoken inside TLS, if there is somewhere for it to go.
    pub pages: bool,
    pub patience: Patience,
}

/// How long a connection may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// To say what it speaks; and again inside TLS.
    pub first_bytes: Duration,
    /// For the TLS handshake.
    pub handshake: Duration,
}

/// Which list of `[listen]` a listener is from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    Tcp,
    Tls,
}

/// A listener that could not be opened.
#[derive(Debug)]
pub struct BindError {
    /// `tcp` or `tls`: the key of `[listen]`.
    pub key: &'static str,
    pub address: SocketAddr,
    pub source: io::Error,
}

/// Listening, nothing accepted yet.
pub struct Bound {
    tcp: Vec<(std::net::TcpListener, SocketAddr)>,
    tls: Vec<(std::net::TcpListener, SocketAddr)>,
    settings: Settings,
}

/// Opens every listener.
///
/// # Errors
/// The first address that could not be bound. Nothing stays open.
pub fn bind(settings: Settings) -> Result<Bound, BindError> {
    bind_with(settings, |_, _| None)
}

/// The same with listeners that somebody opened already, asked for by key and address.
///
/// # Errors
/// As [`bind`].
pub fn bind_with(
    settings: Settings,
    mut inherited: impl FnMut(&str, SocketAddr) -> Option<std::net::TcpListener>,
) -> Result<Bound, BindError> {
    let mut open = |key: &'static str, addresses: &[SocketAddr]| {
        let mut one = |address: &SocketAddr| {
            let opened = match inherited(key, *address) {
                Some(listener) => Ok((listener, *address)),
                None => open(*address),
            };
            opened.map_err(|source| BindError { key, address: *address, source })
        };
        addresses.iter().map(&mut one).collect::<Result<Vec<_>, _>>()
    };
    Ok(Bound { tcp: open("tcp", &settings.tcp)?, tls: open("tls", &settings.tls)?, settings })
}

/// One IP version only, like the UDP listeners.
fn open(address: SocketAddr) -> io::Result<(std::net::TcpListener, SocketAddr)> {
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    let listener = std::net::TcpListener::from(socket);
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// A connection that speaks HTTP inside TLS.
pub struct Page {
    pub stream: Prefixed<TlsStream<Prefixed<TcpStream>>>,
    pub from: SocketAddr,
    /// Whether it is HTTP/2.
    pub http2: bool,
    /// To be kept as long as the connection.
    place: Place,
}

impl Page {
    /// The connection, its source, and its place, to be kept as long as the connection.
    pub fn into_parts(self) -> (Prefixed<TlsStream<Prefixed<TcpStream>>>, SocketAddr, Box<dyn Send + Sync>) {
        (self.stream, self.from, Box::new(self.place))
    }
}

/// Connections for the HTTP server, as they come.
pub struct Pages(mpsc::Receiver<Page>);

impl Pages {
    /// Waits for ever once the listeners are stopped.
    pub async fn next(&mut self) -> Page {
        match self.0.recv().await {
            Some(page) => page,
            None => std::future::pending().await,
        }
    }
}

/// Where HTTP inside TLS goes: the end to give to [`Bound::start`], and the end to serve.
pub fn pages() -> (PagesSender, Pages) {
    let (sender, receiver) = mpsc::channel(MAX_PAGES);
    (PagesSender(sender), Pages(receiver))
}

pub struct PagesSender(mpsc::Sender<Page>);

impl Bound {
    /// No listener at all.
    pub fn nothing() -> Bound {
        Bound { tcp: Vec::new(), tls: Vec::new(), settings: Settings::default() }
    }

    /// These and those.
    #[must_use]
    pub fn and(mut self, more: Bound) -> Bound {
        self.tcp.extend(more.tcp);
        self.tls.extend(more.tls);
        self
    }

    /// Where we listen over TCP, in the settings' order, port 0 resolved.
    pub fn tcp(&self) -> Vec<SocketAddr> {
        self.tcp.iter().map(|(_, address)| *address).collect()
    }

    /// Where we listen over TLS.
    pub fn tls(&self) -> Vec<SocketAddr> {
        self.tls.iter().map(|(_, address)| *address).collect()
    }

    /// Starts to accept, in a thread of its own, TURN clients for these workers. Without certificates nobody speaks TLS.
    ///
    /// # Errors
    /// If there is no thread or no runtime.
    pub fn start(
        self,
        workers: Mailboxes,
        certificates: Option<&Certificates>,
        pages: Option<PagesSender>,
    ) -> io::Result<Running> {
        let lent = Mutex::new(lend(&self.tcp, &self.tls)?);
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let settings = self.settings;
        let counters = Arc::new(Counters::default());
        let places = Places::new(settings.connections, settings.connections_of_one_network, settings.exempt);
        let entrance = Arc::new(Entrance {
            patience: settings.patience,
            proxies: RwLock::new(settings.proxies),
            places: Arc::clone(&places),
            tls: RwLock::new(certificates.map(|certificates| acceptor(certificates, settings.pages))),
            workers,
            next_worker: AtomicU16::new(0),
            pages: pages.map(|PagesSender(sender)| sender),
            serves_pages: AtomicBool::new(settings.pages),
            counters: Arc::clone(&counters),
        });
        let listeners = {
            let _inside = runtime.enter();
            let tcp = self.tcp.into_iter().map(|listener| (Kind::Tcp, listener)).enumerate();
            let tls = self.tls.into_iter().map(|listener| (Kind::Tls, listener)).enumerate();
            let listener = |(index, (kind, (listener, address)))| {
                Ok(Accepting {
                    door: Door { kind, index: index as u16 },
                    address,
                    listener: TcpListener::from_std(listener)?,
                })
            };
            tcp.chain(tls).map(listener).collect::<io::Result<Vec<_>>>()?
        };
        let (stop, stopped) = watch::channel(false);
        let (changes, changed) = mpsc::channel(MAX_CHANGES);
        let handle = runtime.handle().clone();
        let shared = Arc::clone(&entrance);
        let thread = thread::Builder::new()
            .name("streams".to_owned())
            .spawn(move || accept_all(&runtime, listeners, &shared, stopped, changed))?;
        Ok(Running { stop, changes, lent, entrance, counters, places, runtime: handle, thread: Some(thread) })
    }
}

/// The listeners at work. Dropping it closes them and every connection that is not given away yet.
pub struct Running {
    stop: watch::Sender<bool>,
    changes: mpsc::Sender<Change>,
    /// The listeners once more, for who takes this process's place.
    lent: Mutex<Vec<(Kind, SocketAddr, std::net::TcpListener)>>,
    entrance: Arc<Entrance>,
    counters: Arc<Counters>,
    places: Arc<Places>,
    runtime: Handle,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// The runtime of its thread.
    pub fn runtime(&self) -> Handle {
        self.runtime.clone()
    }

    /// Sources of new connections that are not counted by network, from now on.
    pub fn set_exempt(&self, exempt: Vec<IpNet>) {
        self.places.set_exempt(exempt);
    }

    /// New connections may speak HTTP inside TLS from now on, or not.
    pub fn set_pages(&self, pages: bool, certificates: Option<&Certificates>) {
        self.entrance.serves_pages.store(pages, Relaxed);
        self.set_certificates(certificates);
    }

    /// New connections may speak TLS with these from now on, or not at all.
    pub fn set_certificates(&self, certificates: Option<&Certificates>) {
        let with_pages = self.entrance.serves_pages.load(Relaxed);
        let acceptor = certificates.map(|certificates| acceptor(certificates, with_pages));
        *self.entrance.tls.write().unwrap_or_else(PoisonError::into_inner) = acceptor;
    }

    /// Sources whose new connections begin with a PROXY header, from now on.
    pub fn set_proxies(&self, proxies: Vec<IpNet>) {
        *self.entrance.proxies.write().unwrap_or_else(PoisonError::into_inner) = proxies;
    }

    /// Accepts at `opened` too, and no more at `closed`; who came in by those stays. Whether the thread could be told.
    #[must_use]
    pub fn change(&self, opened: Bound, closed: Vec<(Kind, SocketAddr)>) -> bool {
        let Ok(more) = lend(&opened.tcp, &opened.tls) else { return false };
        let Ok(place) = self.changes.try_reserve() else { return false };
        let mut lent = self.lent.lock().unwrap_or_else(PoisonError::into_inner);
        lent.retain(|(kind, address, _)| !closed.contains(&(*kind, *address)));
        lent.extend(more);
        place.send(Change { opened, closed });
        true
    }

    /// Every listening socket, for who takes this process's place.
    pub fn listeners(&self) -> Vec<(Kind, SocketAddr, OwnedFd)> {
        let lent = self.lent.lock().unwrap_or_else(PoisonError::into_inner);
        lent.iter().filter_map(|(kind, at, socket)| Some((*kind, *at, socket.try_clone().ok()?.into()))).collect()
    }

    /// Whether the thread has ended although nobody asked it to.
    pub fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread of the TCP and TLS listeners had ended by a panic");
        }
    }
}

/// A listener on the runtime's side, and the address it is known by: port 0 resolved.
struct Accepting {
    door: Door,
    address: SocketAddr,
    listener: TcpListener,
}

/// What a reload makes of the listeners.
struct Change {
    opened: Bound,
    closed: Vec<(Kind, SocketAddr)>,
}

type Opened = (std::net::TcpListener, SocketAddr);

fn lend(tcp: &[Opened], tls: &[Opened]) -> io::Result<Vec<(Kind, SocketAddr, std::net::TcpListener)>> {
    let tcp = tcp.iter().map(|listener| (Kind::Tcp, listener));
    let all = tcp.chain(tls.iter().map(|listener| (Kind::Tls, listener)));
    all.map(|(kind, (listener, address))| Ok((kind, *address, listener.try_clone()?))).collect()
}

fn accept_all(
    runtime: &Runtime,
    listeners: Vec<Accepting>,
    entrance: &Arc<Entrance>,
    mut stopped: watch::Receiver<bool>,
    mut changed: mpsc::Receiver<Change>,
) {
    runtime.block_on(async {
        let (mut accepting, mut doors) = (JoinSet::new(), HashMap::new());
        let mut next = 0;
        for Accepting { door, address, listener } in listeners {
            next = next.max(door.index + 1);
            let task = accepting.spawn(accept(door, listener, Arc::clone(entrance)));
            doors.insert((door.kind, address), task);
        }
        loop {
            tokio::select! {
                // An error means that nobody is left to stop us.
                _ = stopped.wait_for(|stop| *stop) => return,
                Some(Change { opened, closed }) = changed.recv() => {
                    let tcp = opened.tcp.into_iter().map(|listener| (Kind::Tcp, listener));
                    for (kind, (listener, address)) in tcp.chain(opened.tls.into_iter().map(|it| (Kind::Tls, it))) {
                        let Ok(listener) = TcpListener::from_std(listener) else { continue };
                        let door = Door { kind, index: next };
                        next = next.wrapping_add(1);
                        let task = accepting.spawn(accept(door, listener, Arc::clone(entrance)));
                        doors.insert((kind, address), task);
                    }
                    for gone in closed.iter().filter_map(|door| doors.remove(door)) {
                        gone.abort();
                    }
                    while accepting.try_join_next().is_some() {}
                }
            }
        }
    });
}

async fn accept(door: Door, listener: TcpListener, entrance: Arc<Entrance>) {
    loop {
        match listener.accept().await {
            Ok((stream, from)) => match entrance.places.take() {
                Some(place) => {
                    prepare(&stream);
                    let entrance = Arc::clone(&entrance);
                    tokio::spawn(async move { entrance.admit(door, stream, from, place).await });
                }
                None => entrance.counters.count(Fate::Full),
            },
            Err(error) if concerns_one_connection(&error) => {}
            Err(_) => sleep(ACCEPT_PAUSE).await,
        }
    }
}

fn acceptor(certificates: &Certificates, with_pages: bool) -> TlsAcceptor {
    TlsAcceptor::from(if with_pages { certificates.config_with_http2() } else { certificates.config() })
}

/// What the kernel does for us on each connection. None of it can fail on a TCP socket, and it would do without.
fn prepare(stream: &TcpStream) {
    let socket = SockRef::from(stream);
    let (time, interval, retries) = KEEPALIVE;
    let keepalive = TcpKeepalive::new().with_time(time).with_interval(interval).with_retries(retries);
    let _ = socket.set_tcp_nodelay(true);
    let _ = socket.set_tcp_keepalive(&keepalive);
    let _ = socket.set_tcp_user_timeout(Some(USER_TIMEOUT));
    let _ = socket.set_send_buffer_size(SEND_BUFFER_BYTES);
    let _ = socket.set_tcp_notsent_lowat(NOT_SENT_BYTES);
}

fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

#[cfg(test)]
mod tests;
