//! When a server read what it answers, and when the last of its answer was written: taken at its sockets.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

/// One for all connections of a server; zero means "not yet".
pub(crate) struct Stopwatch {
    begin: Instant,
    read: AtomicU64,
    written: AtomicU64,
}

impl Stopwatch {
    pub(crate) fn new() -> Arc<Stopwatch> {
        Arc::new(Stopwatch { begin: Instant::now(), read: AtomicU64::new(0), written: AtomicU64::new(0) })
    }

    pub(crate) fn arm(&self) {
        self.written.store(0, Ordering::SeqCst);
        self.read.store(0, Ordering::SeqCst);
    }

    /// From the first read since it was armed to the last write.
    pub(crate) fn taken(&self) -> Duration {
        let [read, written] = [&self.read, &self.written].map(|moment| moment.load(Ordering::SeqCst));
        Duration::from_nanos(written.saturating_sub(read))
    }

    fn now(&self) -> u64 {
        self.begin.elapsed().as_nanos() as u64
    }
}

/// A connection that tells its stopwatch.
pub(crate) struct Watched {
    stream: TcpStream,
    watch: Arc<Stopwatch>,
}

impl Watched {
    pub(crate) fn new(stream: TcpStream, watch: &Arc<Stopwatch>) -> Watched {
        stream.set_nodelay(true).unwrap();
        Watched { stream, watch: Arc::clone(watch) }
    }

    fn wrote(&self, result: io::Result<usize>) -> Poll<io::Result<usize>> {
        self.watch.written.store(self.watch.now(), Ordering::SeqCst);
        Poll::Ready(result)
    }
}

impl AsyncRead for Watched {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        let _ = this.watch.read.compare_exchange(0, this.watch.now(), Ordering::SeqCst, Ordering::SeqCst);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = ready!(Pin::new(&mut this.stream).poll_write(cx, buf));
        this.wrote(result)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = ready!(Pin::new(&mut this.stream).poll_write_vectored(cx, bufs));
        this.wrote(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

/// Accepts watched connections.
pub(crate) struct Watching {
    pub(crate) listener: TcpListener,
    pub(crate) watch: Arc<Stopwatch>,
}

impl Listener for Watching {
    type Io = Watched;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (Watched, Self::Addr) {
        let (stream, from) = self.listener.accept().await.unwrap();
        (Watched::new(stream, &self.watch), from)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}
