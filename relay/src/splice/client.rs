//! A client's connection, plain or inside TLS, as its worker left it.

use std::io::{self, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustls::ServerConnection;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::dataplane::DataClient;

pub(super) struct Client {
    socket: TcpStream,
    tls: Option<Box<ServerConnection>>,
    /// Goes as it is, before anything else.
    leaving: Vec<u8>,
    plain: Vec<u8>,
    received: Vec<u8>,
    _place: Box<dyn Send>,
}

/// A socket that answers at once, for rustls.
struct Now<'a, 'b>(&'a mut TcpStream, &'a mut Context<'b>);

impl Client {
    /// # Errors
    /// The runtime takes no more sockets.
    pub(super) fn new(left: DataClient) -> io::Result<Client> {
        let DataClient { socket, tls, leaving, plain, received, place } = left;
        let socket = TcpStream::from_std(socket)?;
        Ok(Client { socket, tls, leaving, plain, received, _place: place })
    }

    pub(super) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// What the client is to be told first, and what it has said already.
    pub(super) fn take_greeting(&mut self) -> (Vec<u8>, Vec<u8>) {
        (std::mem::take(&mut self.plain), std::mem::take(&mut self.received))
    }

    /// Writes all that waits: never more than a few TLS records.
    fn poll_drain(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.leaving.is_empty() {
            let count = ready!(Pin::new(&mut self.socket).poll_write(context, &self.leaving))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.leaving.drain(..count);
        }
        self.leaving = Vec::new();
        let Some(tls) = &mut self.tls else { return Poll::Ready(Ok(())) };
        while tls.wants_write() {
            match tls.write_tls(&mut Now(&mut self.socket, context)) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Client {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let Some(tls) = &mut this.tls else { return Pin::new(&mut this.socket).poll_read(context, buffer) };
        loop {
            match tls.reader().read(buffer.initialize_unfilled()) {
                Ok(count) => {
                    buffer.advance(count); // none: close_notify
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)), // cut off without close_notify
            }
            match tls.read_tls(&mut Now(&mut this.socket, context)) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
            }
            if let Err(error) = tls.process_new_packets() {
                let _ = tls.write_tls(&mut Now(&mut this.socket, context)); // the alert that says why
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error)));
            }
            // A new key, an answer to one: it goes with the next data if there is no room for it now.
            if tls.wants_write() {
                let _ = tls.write_tls(&mut Now(&mut this.socket, context));
            }
        }
    }
}

impl AsyncWrite for Client {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_drain(context))?;
        let Some(tls) = &mut this.tls else { return Pin::new(&mut this.socket).poll_write(context, bytes) };
        let count = tls.writer().write(bytes)?;
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_drain(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Some(tls) = &mut this.tls {
            tls.send_close_notify(); // once, however often it is called
        }
        ready!(this.poll_drain(context))?;
        Pin::new(&mut this.socket).poll_shutdown(context)
    }
}

impl Read for Now<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut buffer = ReadBuf::new(buffer);
        match Pin::new(&mut *self.0).poll_read(self.1, &mut buffer) {
            Poll::Ready(Ok(())) => Ok(buffer.filled().len()),
            Poll::Ready(Err(error)) => Err(error),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl Write for Now<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match Pin::new(&mut *self.0).poll_write(self.1, bytes) {
            Poll::Ready(result) => result,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
