//! HTTP inside TLS, on a port shared with TURN: connections that the entrance found to speak HTTP, for [`mod@axum::serve`].

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::http::Connection;
use crate::signalling::Peer;
use crate::stream::{Page, Pages, Prefixed};

/// Connections are counted where they came in.
pub(super) struct Https {
    pub(super) pages: Pages,
    pub(super) silence: Duration,
}

impl axum::serve::Listener for Https {
    type Io = Connection<Prefixed<TlsStream<Prefixed<TcpStream>>>, Box<dyn Send + Sync>>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        let (stream, from, place) = Page::into_parts(self.pages.next().await);
        (Connection::new(stream, self.silence, place), from)
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
