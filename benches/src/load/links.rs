//! Paced voice over TCP or TLS: a connection for each caller. As `voice`, with streams in the place of one socket.

use std::io::{self, Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use super::epoll::Epoll;
use super::voice::{Load, Stretch, fill, stamp};
use super::{HEADER, PAYLOAD};

const LOOK: Duration = Duration::from_micros(20);
const LATE: Duration = Duration::from_millis(1);
const PACKET: usize = HEADER + PAYLOAD;
/// STUN header (RFC 8489 §5).
const STUN_HEADER: usize = 20;

/// One caller's connection.
pub(crate) struct Link {
    stream: TcpStream,
    tls: Option<Box<ClientConnection>>,
    /// What the kernel did not take yet.
    rest: Vec<u8>,
    /// Received, without a whole message yet.
    pending: Vec<u8>,
}

impl Link {
    /// Connects and, with `tls`, shakes hands.
    pub(crate) fn connect(to: SocketAddrV4, tls: Option<&Arc<ClientConfig>>) -> io::Result<Link> {
        let mut stream = TcpStream::connect(to)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let name = || ServerName::try_from("localhost").map_err(io::Error::other);
        let connection = |config: &Arc<ClientConfig>| {
            ClientConnection::new(Arc::clone(config), name()?).map(Box::new).map_err(io::Error::other)
        };
        let mut tls = tls.map(connection).transpose()?;
        if let Some(tls) = &mut tls {
            while tls.is_handshaking() {
                tls.complete_io(&mut stream)?;
            }
        }
        Ok(Link { stream, tls, rest: Vec::new(), pending: Vec::new() })
    }

    /// Sends a request and waits for the message that answers it.
    pub(crate) fn ask(&mut self, request: &[u8]) -> io::Result<Vec<u8>> {
        self.stream.set_nonblocking(false)?;
        self.write(request)?;
        let mut bytes = [0; 4096];
        loop {
            let count = self.read(&mut bytes)?;
            self.pending.extend_from_slice(&bytes[..count]);
            if let Some(length) = whole(&self.pending) {
                return Ok(self.pending.drain(..length).collect());
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.tls {
            None => self.rest.extend_from_slice(bytes),
            Some(tls) => {
                tls.writer().write_all(bytes)?;
                while tls.wants_write() {
                    tls.write_tls(&mut self.rest)?;
                }
            }
        }
        self.push()
    }

    /// Gives the kernel what it takes.
    fn push(&mut self) -> io::Result<()> {
        while !self.rest.is_empty() {
            match self.stream.write(&self.rest) {
                Ok(count) => _ = self.rest.drain(..count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return some(self.stream.read(bytes)?) };
        loop {
            match tls.reader().read(bytes) {
                Ok(count) => return some(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            some(tls.read_tls(&mut self.stream)?)?;
            tls.process_new_packets().map_err(io::Error::other)?;
        }
    }

    /// Counts the packets that have arrived.
    fn look(&mut self, stretch: &mut Stretch, start: Instant) {
        let mut bytes = [0; 16 * 1024];
        while let Ok(count) = self.read(&mut bytes) {
            self.pending.extend_from_slice(&bytes[..count]);
            if self.tls.is_none() && count < bytes.len() {
                break;
            }
        }
        let (mut taken, now) = (0, start.elapsed().as_nanos() as u64);
        while let Some(length) = whole(&self.pending[taken..]) {
            let packet = &self.pending[taken..taken + length];
            if let Some(latency) = stamp(packet).and_then(|sent| now.checked_sub(sent)) {
                stretch.latencies.push(u32::try_from(latency).unwrap_or(u32::MAX));
                stretch.received += 1;
            }
            taken += length;
        }
        self.pending.drain(..taken);
    }
}

/// A connection that has been closed reads nothing.
fn some(count: usize) -> io::Result<usize> {
    if count > 0 { Ok(count) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// Length of the first message, if all of it is there: ChannelData in steps of four bytes (RFC 8656 §12.5), or STUN.
fn whole(bytes: &[u8]) -> Option<usize> {
    let [first, _, a, b, ..] = *bytes else { return None };
    let length = usize::from(u16::from_be_bytes([a, b]));
    let length = if first & 0xc0 == 0x40 { HEADER + length.next_multiple_of(4) } else { STUN_HEADER + length };
    (bytes.len() >= length).then_some(length)
}

/// Loads for a while: every caller sends on `channel` in its turn. What a connection does not take counts as lost.
pub(crate) fn run(links: &mut [Link], channel: u16, load: Load) -> io::Result<Stretch> {
    let mut stretch = Stretch::default();
    stretch.latencies.reserve((load.rate as f64 * load.length.as_secs_f64() * 1.1) as usize);
    let mut epoll = Epoll::new(256)?;
    for (number, link) in links.iter_mut().enumerate() {
        link.stream.set_nonblocking(true)?;
        epoll.add(&link.stream, number as u64)?;
        link.look(&mut Stretch::default(), Instant::now()); // what an earlier stretch left behind
    }
    let (start, mut busy) = (Instant::now(), Duration::ZERO);
    let mut looked = start;
    let mut packet = [0; PACKET];
    loop {
        let now = Instant::now();
        let elapsed = now - start;
        if elapsed >= load.length {
            break;
        }
        let mut worked = false;
        let due = (elapsed.as_nanos() as u64).saturating_mul(load.rate) / 1_000_000_000;
        for _ in stretch.sent..due.min(stretch.sent + 32) {
            let late = (due - stretch.sent) * 1_000_000_000 / load.rate > LATE.as_nanos() as u64;
            let (index, number) = (stretch.sent as usize % links.len(), stretch.sent / links.len() as u64);
            let link = &mut links[index];
            link.push()?;
            if link.rest.is_empty() {
                fill(&mut packet, Some(channel), number, start.elapsed().as_nanos() as u64);
                link.write(&packet)?;
            }
            stretch.sent += 1;
            stretch.late += u64::from(late);
            worked = true;
        }
        if now - looked >= LOOK {
            looked = now;
            worked |= look(links, &mut epoll, &mut stretch, start);
        }
        busy += if worked { now.elapsed() } else { Duration::ZERO };
    }
    stretch.busy = busy.as_secs_f64() / load.length.as_secs_f64();
    let end = Instant::now();
    while end.elapsed() < load.grace {
        look(links, &mut epoll, &mut stretch, start);
    }
    Ok(stretch)
}

fn look(links: &mut [Link], epoll: &mut Epoll, stretch: &mut Stretch, start: Instant) -> bool {
    epoll.wait(Some(Duration::ZERO));
    for i in 0..epoll.ready() {
        if let Some(link) = links.get_mut(epoll.number(i) as usize) {
            link.look(stretch, start);
        }
    }
    epoll.ready() > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found_in_a_stream() {
        let mut bytes = [0; 256];
        let length = fill(&mut bytes, Some(0x4001), 0, 1);
        assert_eq!((whole(&bytes[..length]), whole(&bytes[..length - 1])), (Some(PACKET), None));
        assert_eq!(whole(&[0x40, 1, 0, 1, 9, 0, 0, 0]), Some(8));
        assert_eq!(whole(&[0x01; 3]), None);
        let mut stun = [0; 24];
        stun[3] = 4;
        assert_eq!(whole(&stun), Some(24));
    }
}
