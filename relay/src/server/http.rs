//! TCP listeners of the HTTP edges: bound before any thread starts, and bounded in connections and in silence.
//!
//! axum's own listener takes any number of connections and lets each of them say nothing for ever.
//! Only HTTP/1.1 is served here: whoever begins with the preface of HTTP/2 (h2c) is closed.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};

use super::serving::serve_http1;

/// How much one listener puts up with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Connections at a time; beyond, new ones are closed at once.
    pub(super) connections: usize,
    /// Time for a request head, however many bytes of it come.
    pub(super) head: Duration,
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
    adopt(std::net::TcpListener::bind(address)?)
}

/// Connections the kernel holds for one listener before they are accepted; it takes no more than net.core.somaxconn. Everybody comes back at
/// once after an upgrade, and who finds no room here tries again after a second, after three, and then too late to resume.
const BACKLOG: i32 = 16 * 1024;

/// Takes a listener that somebody opened already.
pub(super) fn adopt(listener: std::net::TcpListener) -> io::Result<Bound> {
    listener.set_nonblocking(true)?;
    socket2::SockRef::from(&listener).listen(BACKLOG)?;
    let address = listener.local_addr()?;
    Ok(Bound { listener, address })
}

impl Bound {
    /// The socket once more, for who takes this process's place.
    pub(super) fn lend(&self) -> io::Result<OwnedFd> {
        self.listener.try_clone().map(OwnedFd::from)
    }

    /// Hands the listener to the runtime that runs here.
    pub(super) fn into_listener(self, patience: Patience) -> io::Result<Listener> {
        let room = Arc::new(Semaphore::new(patience.connections));
        Ok(Listener { listener: TcpListener::from_std(self.listener)?, room, patience })
    }
}

/// A listener at work on a runtime.
#[derive(Debug)]
pub(super) struct Listener {
    listener: TcpListener,
    room: Arc<Semaphore>,
    patience: Patience,
}

impl Listener {
    pub(super) fn crowd(&self) -> Crowd {
        Crowd::of(&self.room, self.patience.connections)
    }

    /// Serves each connection in a task of its own. Never ends.
    pub(super) async fn serve(self, router: Router) {
        let Patience { head, silence, .. } = self.patience;
        loop {
            let (stream, from, place) = self.accept().await;
            tokio::spawn(serve_http1(Connection::new(stream, silence, place), from, router.clone(), head));
        }
    }

    async fn accept(&self) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
        loop {
            match self.listener.accept().await {
                Ok((stream, from)) => {
                    let Ok(place) = Arc::clone(&self.room).try_acquire_owned() else { continue };
                    // Frames are small and each one matters at once.
                    let _ = stream.set_nodelay(true);
                    return (stream, from, place);
                }
                Err(error) if concerns_one_connection(&error) => {}
                Err(_) => sleep(ACCEPT_PAUSE).await,
            }
        }
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
mod tests;
