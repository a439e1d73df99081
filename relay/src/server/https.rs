//! HTTP inside TLS, on a port shared with TURN: connections that the entrance found to speak HTTP, for [`mod@axum::serve`].

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::server::TlsStream;

use super::http::{Connection, Crowd};
use crate::signalling::Peer;
use crate::stream::{Page, Pages, Prefixed};

/// How many there may be is decided where they come in; here they are counted so that their end can be waited for.
pub(super) struct Https {
    pages: Pages,
    silence: Duration,
    room: Arc<Semaphore>,
}

/// More than are let in.
const MOST_CONNECTIONS: usize = 1 << 20;

impl Https {
    pub(super) fn new(pages: Pages, silence: Duration) -> Https {
        Https { pages, silence, room: Arc::new(Semaphore::new(MOST_CONNECTIONS)) }
    }

    pub(super) fn crowd(&self) -> Crowd {
        Crowd::of(&self.room, MOST_CONNECTIONS)
    }
}

impl axum::serve::Listener for Https {
    type Io = Connection<Prefixed<TlsStream<Prefixed<TcpStream>>>, (Box<dyn Send + Sync>, OwnedSemaphorePermit)>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let (stream, from, place) = Page::into_parts(self.pages.next().await);
            if let Ok(counted) = Arc::clone(&self.room).try_acquire_owned() {
                return (Connection::new(stream, self.silence, (place, counted)), from);
            }
        }
    }

    /// The one thing this is asked for is a log line of axum's that nobody asked for.
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)))
    }
}

impl Connected<IncomingStream<'_, Https>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Https>) -> Peer {
        Peer(*stream.remote_addr())
    }
}
