//! One stream client's connection as its worker sees it: bytes in, whole messages out, and the way back.
//!
//! Nothing here blocks. An idle connection holds no buffer: bytes are read into the worker's, and only the beginning of an
//! unfinished message is kept.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use rustls::ServerConnection;

use super::outbox::{CHUNK_BYTES, Outbox};
use super::tcp::DataClient;
use crate::time::Millis;
use crate::turn::FiveTuple;

/// Bytes asked of the kernel with one call.
pub(super) const READ_BYTES: usize = 16 * 1024;
/// Memory a connection keeps for writing while nothing waits, in bytes.
const KEPT_BYTES: usize = 4 * 1024;

/// A TURN client that has been accepted, and, over TLS, has shaken hands: what a worker is given.
pub struct NewStream {
    /// Non-blocking.
    pub socket: TcpStream,
    /// `None` for plain TCP. May hold bytes already received.
    pub tls: Option<Box<ServerConnection>>,
    /// Plain bytes already taken from the connection.
    pub first: Vec<u8>,
    /// Index among the listeners of its transport.
    pub listener: u16,
    pub local: SocketAddr,
    pub remote: SocketAddr,
    /// Kept until the connection is closed, then dropped: the place it takes up somewhere.
    pub place: Box<dyn Send>,
}

impl NewStream {
    pub(super) fn is_tls(&self) -> bool {
        self.tls.is_some()
    }
}

/// A connection that belongs to a worker.
pub(super) struct Stream {
    pub(super) socket: TcpStream,
    tls: Option<Box<ServerConnection>>,
    pub(super) client: FiveTuple,
    /// The beginning of a message whose rest has not arrived.
    pub(super) unfinished: Vec<u8>,
    /// Bytes of an overlong message still to be passed over.
    pub(super) skip: usize,
    pub(super) outbox: Outbox,
    /// Bytes on their way: partly written, perhaps encrypted. From `sent` on they are still to go.
    leaving: Vec<u8>,
    sent: usize,
    /// When the last whole message came.
    pub(super) heard: Millis,
    /// When its silence is looked at next.
    pub(super) deadline: Millis,
    /// Something waits to be flushed.
    pub(super) dirty: bool,
    /// The kernel has been asked to say when there is room.
    pub(super) waits_for_room: bool,
    /// To be closed at the end of this turn.
    pub(super) doomed: bool,
    /// To be handed over at the end of this turn.
    pub(super) departing: bool,
    place: Box<dyn Send>,
}

/// What a read brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Got {
    /// So many more bytes, as many as fit: there may be others that no wait would tell of.
    Some(usize),
    /// So many more bytes; if others come, the next wait tells.
    Last(usize),
}

/// What a flush left behind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Left {
    Nothing,
    /// The kernel takes no more at the moment.
    Some,
}

impl Stream {
    pub(super) fn new(new: NewStream, client: FiveTuple, now: Millis) -> Stream {
        let NewStream { socket, tls, first, place, .. } = new;
        Stream {
            socket,
            tls,
            client,
            unfinished: first,
            skip: 0,
            outbox: Outbox::default(),
            leaving: Vec::new(),
            sent: 0,
            heard: now,
            deadline: now,
            dirty: false,
            waits_for_room: false,
            doomed: false,
            departing: false,
            place,
        }
    }

    /// Reads plain bytes into `buffer`, which must not be empty; with `ask_kernel` unset, only what TLS has decrypted already,
    /// of which no wait would tell.
    ///
    /// # Errors
    /// The connection is over: closed or half-closed by the client, reset, or TLS that is not TLS.
    pub(super) fn read(&mut self, buffer: &mut [u8], ask_kernel: bool) -> io::Result<Got> {
        match &mut self.tls {
            None if !ask_kernel => Ok(Got::Last(0)),
            None => match once_more(|| self.socket.read(buffer))? {
                None => Ok(Got::Last(0)),
                Some(0) => Err(io::ErrorKind::UnexpectedEof.into()),
                Some(count) if count == buffer.len() => Ok(Got::Some(count)),
                Some(count) => Ok(Got::Last(count)),
            },
            Some(tls) => read_tls(tls, &mut self.socket, buffer, ask_kernel),
        }
    }

    /// TLS has something to say of its own: a new key, an alert.
    pub(super) fn wants_to_write(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    /// Writes what waits. `moved` hears how many messages went on their way, and `calls` how often the kernel was asked.
    ///
    /// # Errors
    /// The connection is over.
    pub(super) fn flush(&mut self, moved: &mut u64, calls: &mut u64) -> io::Result<Left> {
        self.dirty = false;
        loop {
            while self.sent < self.leaving.len() {
                *calls += 1;
                match once_more(|| self.socket.write(&self.leaving[self.sent..]))? {
                    None => return Ok(Left::Some),
                    Some(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Some(count) => self.sent += count,
                }
            }
            self.leaving.clear();
            self.sent = 0;
            if !self.load(moved)? {
                self.leaving.shrink_to(KEPT_BYTES);
                return Ok(Left::Nothing);
            }
        }
    }

    /// Puts the next chunk into `leaving`. Answers whether there was any.
    fn load(&mut self, moved: &mut u64) -> io::Result<bool> {
        let Some(tls) = &mut self.tls else {
            *moved += self.outbox.fill(&mut self.leaving);
            return Ok(!self.leaving.is_empty());
        };
        // A record for each message: some clients, coturn's among them, take what one read gives them for one message.
        let mut chunk = 0;
        while chunk < CHUNK_BYTES && self.outbox.pop(&mut self.leaving) {
            // `leaving` holds the plain bytes on their way into rustls, and the encrypted ones on their way out.
            tls.writer().write_all(&self.leaving)?;
            chunk += self.leaving.len();
            *moved += 1;
            self.leaving.clear();
        }
        while tls.wants_write() {
            tls.write_tls(&mut self.leaving)?;
        }
        Ok(!self.leaving.is_empty())
    }

    /// Over TLS, says goodbye, so that the client can tell an end from a cut; nobody waits for it.
    pub(super) fn farewell(&mut self) {
        if let Some(tls) = &mut self.tls
            && self.sent == self.leaving.len()
        {
            tls.send_close_notify();
            let _ = tls.write_tls(&mut self.socket);
        }
    }

    /// Whether it is still served.
    pub(super) fn stays(&self) -> bool {
        !self.doomed && !self.departing
    }

    /// It carries no TURN any more: what others need to carry on, `reply` last of what the client is still to be sent.
    pub(super) fn into_data_client(mut self, reply: &[u8]) -> DataClient {
        let (mut plain, mut message) = (Vec::new(), Vec::new());
        while self.outbox.pop(&mut message) {
            plain.append(&mut message);
        }
        plain.extend_from_slice(reply);
        let leaving = self.leaving.split_off(self.sent);
        let (socket, tls, received, place) = (self.socket, self.tls, self.unfinished, self.place);
        DataClient { socket, tls, leaving, plain, received, place }
    }

    /// Gives memory back that a burst took.
    pub(super) fn shrink(&mut self) {
        if self.unfinished.is_empty() {
            self.unfinished = Vec::new();
        }
        if self.leaving.is_empty() {
            self.leaving = Vec::new();
        }
        self.outbox.shrink();
    }
}

/// One read of encrypted bytes, then all the plain ones there are, as far as they fit.
fn read_tls(
    tls: &mut ServerConnection,
    socket: &mut TcpStream,
    buffer: &mut [u8],
    ask_kernel: bool,
) -> io::Result<Got> {
    // Bytes decrypted earlier come first: the handshake, or a full buffer, may have left some.
    let mut count = drain(tls, buffer)?;
    if count == buffer.len() {
        return Ok(Got::Some(count));
    }
    if ask_kernel && let Some(read) = once_more(|| tls.read_tls(socket))? {
        if let Err(error) = tls.process_new_packets() {
            let _ = tls.write_tls(socket); // the alert that says why
            return Err(io::Error::new(io::ErrorKind::InvalidData, error));
        }
        count += drain(tls, &mut buffer[count..])?;
        if read == 0 && count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(if count == buffer.len() { Got::Some(count) } else { Got::Last(count) })
}

/// Moves decrypted bytes.
fn drain(tls: &mut ServerConnection, buffer: &mut [u8]) -> io::Result<usize> {
    let mut count = 0;
    while count < buffer.len() {
        match tls.reader().read(&mut buffer[count..]) {
            Ok(0) if count == 0 => return Err(io::ErrorKind::UnexpectedEof.into()), // close_notify
            Ok(0) => break,
            Ok(more) => count += more,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}

/// `None` when it would block; a signal in between is no news.
fn once_more(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<Option<usize>> {
    loop {
        match call() {
            Ok(count) => return Ok(Some(count)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
