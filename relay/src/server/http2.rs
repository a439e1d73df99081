//! One connection with HTTP/2 (RFC 9113), for pages. It was agreed on in TLS; there is no other way in.
//!
//! There is no WebSocket inside (RFC 8441 is not announced, so browsers open a connection with HTTP/1.1 for it): sixteen of them would
//! share one of the places that are counted by network, and one alarm of silence.
//!
//! Floods: `h2` closes with ENHANCE_YOUR_CALM a connection that resets more than [`RESETS`] requests nobody has looked at yet (rapid reset,
//! CVE-2023-44487) or makes us reset as many (CVE-2025-8671), and one that goes on with a head beyond all measure (CONTINUATION flood).

use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Request, header};
use hyper::server::conn::http2;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::timeout;

use super::http::Patience;
use super::serving::{HEAD_BYTES, with_peer};

/// Requests at once.
const STREAMS: u32 = 16;
/// Resets of one connection that are not work.
const RESETS: usize = 16;
/// Of a request's body before we read it; nobody sends us more than a wish.
const STREAM_WINDOW_BYTES: u32 = 16 * 1024;
/// Of all of them. The least there can be (RFC 9113 §6.9.2).
const CONNECTION_WINDOW_BYTES: u32 = 65_535;
/// Of an answer before the client takes it.
const SEND_BUFFER_BYTES: usize = 16 * 1024;

/// Serves until the connection is over, or until too long after its latest request: pages need less, and a head whose bytes drip in, or
/// frames that ask for nothing, do not count.
pub(super) async fn serve_http2<S>(stream: S, from: SocketAddr, router: Router, patience: Patience)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (asked, asking) = watch::channel(());
    let inner = TowerToHyperService::new(router);
    let service = service_fn(move |request| {
        asked.send_replace(());
        inner.call(with_host(with_peer(request, from)))
    });
    let connection = builder().serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        // An error concerns this connection alone.
        _ = connection => {}
        () = nothing_asked(asking, patience) => {}
    }
}

fn builder() -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .max_concurrent_streams(STREAMS)
        .max_pending_accept_reset_streams(RESETS)
        .max_local_error_reset_streams(RESETS)
        .max_header_list_size(HEAD_BYTES as u32)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES);
    builder
}

async fn nothing_asked(mut asking: watch::Receiver<()>, patience: Patience) {
    let mut wait = patience.head;
    while let Ok(Ok(())) = timeout(wait, asking.changed()).await {
        wait = patience.silence;
    }
}

/// HTTP/2 names the host elsewhere (§8.3.1); who asks for it looks where HTTP/1.1 has it.
fn with_host(mut request: Request<Body>) -> Request<Body> {
    let host = request.uri().authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    if let Some(host) = host {
        request.headers_mut().insert(header::HOST, host);
    }
    request
}

#[cfg(test)]
mod tests;
