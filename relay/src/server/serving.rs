//! One connection with HTTP/1.1, served within bounds.
//!
//! [`axum::serve()`] is not used because it lets a request head take for ever, reads 400 KB of it, and takes HTTP/2 wherever it is built in.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::signalling::Peer;

/// A request head is never longer, in bytes.
pub(super) const HEAD_BYTES: usize = 16 * 1024;

/// Serves until the connection is over. It has `head` for each request head, from its start and from the answer before;
/// afterwards, silence is the concern of `stream`.
pub(super) async fn serve_http1<S>(stream: S, from: SocketAddr, router: Router, head: Duration)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let inner = TowerToHyperService::new(router);
    let service = service_fn(move |request| inner.call(with_peer(request, from)));
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(head).max_buf_size(HEAD_BYTES);
    // An error concerns this connection alone.
    let _ = builder.serve_connection(TokioIo::new(stream), service).with_upgrades().await;
}

/// What `into_make_service_with_connect_info` would have added.
pub(super) fn with_peer(request: Request<Incoming>, from: SocketAddr) -> Request<Body> {
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(ConnectInfo(Peer(from)));
    request
}
