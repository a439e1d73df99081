//! TCP listeners of the HTTP edges: bound before any thread starts, and bounded in connections and in silence.
//!
//! axum's own listener takes any number of connections and lets each of them say nothing for ever.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};

use crate::signalling::Peer;

/// How much one listener puts up with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Connections at a time; beyond, new ones are closed at once.
    pub(super) connections: usize,
    /// A connection that sends nothing for this long is closed.
    pub(super) silence: Duration,
}

/// Pause after an accept that failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A listener that is bound and waits for its runtime.
#[derive(Debug)]
pub(super) struct Bound {
    listener: std::net::TcpListener,
    pub(super) address: SocketAddr,
}

/// Binds and listens. Port 0 is resolved in `address`.
pub(super) fn bind(address: SocketAddr) -> io::Result<Bound> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    Ok(Bound { listener, address })
}

impl Bound {
    /// Hands the listener to the runtime that runs here.
    pub(super) fn into_listener(self, patience: Patience) -> io::Result<Listener> {
        let room = Arc::new(Semaphore::new(patience.connections));
        let Patience { connections, silence } = patience;
        Ok(Listener { listener: TcpListener::from_std(self.listener)?, room, connections, silence })
    }
}

/// For [`axum::serve()`].
#[derive(Debug)]
pub(super) struct Listener {
    listener: TcpListener,
    room: Arc<Semaphore>,
    connections: usize,
    silence: Duration,
}

impl Listener {
    pub(super) fn crowd(&self) -> Crowd {
        Crowd::of(&self.room, self.connections)
    }
}

impl axum::serve::Listener for Listener {
    type Io = Connection<TcpStream, OwnedSemaphorePermit>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok((stream, from)) => {
                    let Ok(place) = Arc::clone(&self.room).try_acquire_owned() else { continue };
                    // Frames are small and each one matters at once.
                    let _ = stream.set_nodelay(true);
                    return (Connection::new(stream, self.silence, place), from);
                }
                Err(error) if concerns_one_connection(&error) => {}
                Err(_) => sleep(ACCEPT_PAUSE).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl Connected<IncomingStream<'_, Listener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Listener>) -> Peer {
        Peer(*stream.remote_addr())
    }
}

/// The connections of one listener, from aside.
#[derive(Debug)]
pub(super) struct Crowd {
    room: Arc<Semaphore>,
    connections: usize,
}

impl Crowd {
    /// Of a listener with so many places, each connection holding one.
    pub(super) fn of(room: &Arc<Semaphore>, connections: usize) -> Crowd {
        Crowd { room: Arc::clone(room), connections }
    }

    /// Returns once every connection is closed.
    pub(super) async fn gone(&self) {
        // An error means that the semaphore is closed, which nobody does.
        let _ = self.room.acquire_many(u32::try_from(self.connections).unwrap_or(u32::MAX)).await;
    }
}

fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// A stream that fails with `TimedOut` after too long a silence and gives its place back when it is dropped.
#[derive(Debug)]
pub(super) struct Connection<S, P> {
    stream: S,
    silence: Duration,
    alarm: Pin<Box<Sleep>>,
    _place: P,
}

impl<S, P> Connection<S, P> {
    /// `place` is dropped with the connection.
    pub(super) fn new(stream: S, silence: Duration, place: P) -> Connection<S, P> {
        Connection { stream, silence, alarm: Box::pin(sleep(silence)), _place: place }
    }
}

impl<S: AsyncRead + Unpin, P: Unpin> AsyncRead for Connection<S, P> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(result) = Pin::new(&mut self.stream).poll_read(context, buf) {
            let deadline = Instant::now() + self.silence;
            self.alarm.as_mut().reset(deadline);
            return Poll::Ready(result);
        }
        ready!(self.alarm.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncWrite + Unpin, P: Unpin> AsyncWrite for Connection<S, P> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn serve(connections: usize, silence: Duration) -> SocketAddr {
        let bound = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = bound.address;
        let listener = bound.into_listener(Patience { connections, silence }).unwrap();
        let page = axum::Router::new().route("/", axum::routing::get(async || "here"));
        tokio::spawn(async move { axum::serve(listener, page).await });
        address
    }

    async fn get(stream: &mut TcpStream) -> io::Result<String> {
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await?;
        let mut answer = vec![0; 1024];
        let length = stream.read(&mut answer).await?;
        Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
    }

    #[tokio::test]
    async fn connections_beyond_the_bound_are_closed_and_a_place_is_given_back() {
        let address = serve(1, Duration::from_secs(60)).await;
        let mut first = TcpStream::connect(address).await.unwrap();
        assert!(get(&mut first).await.unwrap().contains("200 OK"));
        let mut second = TcpStream::connect(address).await.unwrap();
        assert!(get(&mut second).await.map_or(true, |answer| answer.is_empty()), "there is no room");
        drop(first);
        for _ in 0..100 {
            let mut third = TcpStream::connect(address).await.unwrap();
            if get(&mut third).await.is_ok_and(|answer| answer.contains("200 OK")) {
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
        panic!("the place was not given back");
    }

    #[tokio::test]
    async fn a_connection_that_says_nothing_is_closed() {
        const SHORT: Duration = Duration::from_millis(100);
        let address = serve(1, SHORT).await;
        let mut silent = TcpStream::connect(address).await.unwrap();
        silent.write_all(b"GET / HT").await.unwrap();
        let mut rest = Vec::new();
        let begin = Instant::now();
        let _ = silent.read_to_end(&mut rest).await;
        assert!(begin.elapsed() >= SHORT, "closed after {:?}", begin.elapsed());
    }
}
