//! From an accepted connection to whoever serves it. One task each, gone when the connection is given away.
//!
//! 1. A connection from a proxy says whom it is for.
//! 2. Its first bytes say what it speaks.
//! 3. TLS shakes hands, and what is inside speaks again.
//! 4. STUN goes to a worker, HTTP to the HTTP server, anything else away.
//!
//! Each has its deadline.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use ipnet::IpNet;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::counters::{Counters, Fate};
use super::places::{Place, Places};
use super::prefixed::Prefixed;
use super::proxy::{self, Endpoints, Parsed};
use super::sniff::{ENOUGH_BYTES, Spoken, sniff};
use super::tls::{ALPN_HTTP, ALPN_HTTP2, ALPN_TURN};
use super::{Kind, Page, Patience};
use crate::dataplane::{Mailboxes, NewStream};

/// What every connection needs on its way in.
pub(super) struct Entrance {
    pub(super) patience: Patience,
    pub(super) proxies: RwLock<Vec<IpNet>>,
    pub(super) places: Arc<Places>,
    /// Without, nobody speaks TLS.
    pub(super) tls: RwLock<Option<TlsAcceptor>>,
    pub(super) workers: Mailboxes,
    pub(super) next_worker: AtomicU16,
    /// Where HTTP goes, if there is a server for it.
    pub(super) pages: Option<mpsc::Sender<Page>>,
    /// Whether any goes there now.
    pub(super) serves_pages: AtomicBool,
    pub(super) counters: Arc<Counters>,
}

/// The listener a connection came in by.
#[derive(Clone, Copy)]
pub(super) struct Door {
    pub(super) kind: Kind,
    /// Index among the listeners of its kind.
    pub(super) index: u16,
}

/// A connection on its way in.
struct Visitor {
    door: Door,
    endpoints: Endpoints,
    place: Place,
}

type Encrypted = TlsStream<Prefixed<TcpStream>>;

impl Entrance {
    /// Sees a connection to whoever serves it, or closes it.
    pub(super) async fn admit(&self, door: Door, stream: TcpStream, from: SocketAddr, place: Place) {
        let fate = self.lead(door, stream, from, place).await.unwrap_or_else(|why_not| why_not);
        self.counters.count(fate);
    }

    pub(super) fn is_proxy(&self, from: IpAddr) -> bool {
        let from = from.to_canonical();
        self.proxies.read().unwrap_or_else(PoisonError::into_inner).iter().any(|net| net.contains(&from))
    }

    async fn lead(&self, door: Door, mut stream: TcpStream, from: SocketAddr, mut place: Place) -> Result<Fate, Fate> {
        let local = stream.local_addr().map_err(|_| Fate::Silent)?;
        let mut endpoints = Endpoints { source: from, destination: local };
        let proxied = self.is_proxy(from.ip());
        if !proxied && !place.is_from(from.ip()) {
            return Err(Fate::NetworkFull);
        }
        let opening = async {
            if proxied && let Some(named) = read_proxy(&mut stream).await? {
                if !place.is_from(named.source.ip()) {
                    return Err(Fate::NetworkFull);
                }
                endpoints = named;
            }
            read_first(&mut stream).await
        };
        let (first, spoken) = timeout(self.patience.first_bytes, opening).await.map_err(|_| Fate::Silent)??;
        let visitor = Visitor { door, endpoints, place };
        let tls = self.tls.read().unwrap_or_else(PoisonError::into_inner).clone();
        match (spoken, door.kind, tls) {
            (Spoken::Stun, Kind::Tcp, _) => self.to_turn(visitor, stream, first, None, Fate::TurnTcp),
            (Spoken::Tls, _, Some(tls)) => {
                let shaken = timeout(self.patience.handshake, tls.accept(Prefixed::new(first, stream))).await;
                let stream = shaken.map_err(|_| Fate::Handshake)?.map_err(|_| Fate::Handshake)?;
                self.inside_tls(visitor, stream).await
            }
            _ => Err(Fate::OtherProtocol),
        }
    }

    async fn inside_tls(&self, visitor: Visitor, mut stream: Encrypted) -> Result<Fate, Fate> {
        // We have nothing to say after the handshake, so no segment of ours carries its acknowledgement, and a client that left
        // Nagle's algorithm on would wait 40 ms for it before its first message.
        let _ = SockRef::from(stream.get_ref().0.get_ref()).set_tcp_quickack(true);
        let reading = timeout(self.patience.first_bytes, read_first(&mut stream)).await;
        let (first, spoken) = reading.map_err(|_| Fate::Silent)??;
        // A client that named a protocol is held to it: nobody's page is to speak to the other one (RFC 7301, ALPACA).
        let agreed = stream.get_ref().1.alpn_protocol().map(|name| match name {
            ALPN_TURN => Spoken::Stun,
            ALPN_HTTP => Spoken::Http,
            ALPN_HTTP2 => Spoken::Http2,
            _ => Spoken::Other,
        });
        // HTTP/2 is spoken only by who has named it (RFC 9113 §3.2).
        if agreed.map_or(spoken == Spoken::Http2, |agreed| agreed != spoken) {
            return Err(Fate::OtherProtocol);
        }
        match spoken {
            Spoken::Stun => {
                let (stream, session) = stream.into_inner();
                // The handshake has read what was in front of it.
                let stream = stream.into_inner().ok_or(Fate::Handshake)?;
                self.to_turn(visitor, stream, first, Some(Box::new(session)), Fate::TurnTls)
            }
            Spoken::Http | Spoken::Http2 => {
                let pages = self.pages.as_ref().filter(|_| self.serves_pages.load(Relaxed));
                let pages = pages.ok_or(Fate::OtherProtocol)?;
                let Visitor { endpoints, place, .. } = visitor;
                let http2 = spoken == Spoken::Http2;
                let page = Page { stream: Prefixed::new(first, stream), from: endpoints.source, http2, place };
                pages.try_send(page).map(|()| Fate::Http).map_err(|_| Fate::Busy)
            }
            Spoken::Tls | Spoken::Unclear | Spoken::Other => Err(Fate::OtherProtocol),
        }
    }

    fn to_turn(
        &self,
        visitor: Visitor,
        stream: TcpStream,
        first: Vec<u8>,
        tls: Option<Box<rustls::ServerConnection>>,
        fate: Fate,
    ) -> Result<Fate, Fate> {
        // Stays non-blocking.
        let socket = stream.into_std().map_err(|_| Fate::Silent)?;
        let Visitor { door, endpoints, place } = visitor;
        let Endpoints { source: remote, destination: local } = endpoints;
        let new = NewStream { socket, tls, first, listener: door.index, local, remote, place: Box::new(place) };
        // In turn: nobody knows yet who will talk to whom.
        let worker = self.next_worker.fetch_add(1, Relaxed) % self.workers.workers().max(1);
        self.workers.adopt(worker, Box::new(new)).map(|()| fate).map_err(|_| Fate::Busy)
    }
}

/// Reads a PROXY header and not a byte more.
async fn read_proxy(stream: &mut TcpStream) -> Result<Option<Endpoints>, Fate> {
    let mut bytes = Vec::with_capacity(proxy::HEADER_BYTES);
    loop {
        match proxy::parse(&bytes) {
            Parsed::Header(header) => return Ok(header.endpoints),
            Parsed::Refused => return Err(Fate::Proxy),
            Parsed::Incomplete(needed) => read_up_to(stream, &mut bytes, needed).await?,
        }
    }
}

/// Reads as few bytes as it takes to tell what is spoken.
async fn read_first(stream: &mut (impl AsyncRead + Unpin)) -> Result<(Vec<u8>, Spoken), Fate> {
    let mut first = Vec::with_capacity(ENOUGH_BYTES);
    loop {
        match sniff(&first) {
            Spoken::Unclear => read_up_to(stream, &mut first, ENOUGH_BYTES).await?,
            spoken => return Ok((first, spoken)),
        }
    }
}

async fn read_up_to(stream: &mut (impl AsyncRead + Unpin), bytes: &mut Vec<u8>, most: usize) -> Result<(), Fate> {
    let missing = most.saturating_sub(bytes.len()) as u64;
    match stream.take(missing).read_buf(bytes).await {
        Ok(0) | Err(_) => Err(Fate::Silent),
        Ok(_) => Ok(()),
    }
}

/// Times of one connection's way in.
impl Default for Patience {
    fn default() -> Patience {
        Patience { first_bytes: Duration::from_secs(10), handshake: Duration::from_secs(10) }
    }
}
