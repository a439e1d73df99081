//! One connection, or one UDP socket: bytes out as they are, whole messages in.

use super::Transport;
use crate::{Daemon, certificate};
use rustls::{ClientConnection, StreamOwned};
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

/// The way to the relay and what has arrived of the next message.
pub struct Link {
    wire: Wire,
    arrived: Vec<u8>,
    /// Bytes behind the last ChannelData message that only fill it up to a multiple of four.
    pub padding: Vec<u8>,
}

enum Wire {
    Udp(UdpSocket),
    Tcp(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub enum Got {
    /// One datagram, or one message of a stream without its padding.
    Message(Vec<u8>),
    Silence,
    /// The connection is over (or, over UDP, nobody listens there).
    Closed,
}

impl Link {
    /// From the loopback address of the transport's IP version.
    pub fn open(daemon: &Daemon, transport: Transport) -> Link {
        let to = transport.listener(daemon);
        let wire = match transport {
            Transport::Udp | Transport::Udp6 => return Link::udp_from(to.ip(), to),
            Transport::Tcp | Transport::Tcp6 => Wire::Tcp(TcpStream::connect(to).unwrap()),
            Transport::Tls | Transport::Tls6 => Wire::Tls(Box::new(certificate::connect_blocking(daemon, to).unwrap())),
        };
        let link = Link { wire, arrived: Vec::new(), padding: Vec::new() };
        // What is sent in pieces arrives in pieces, and at once.
        link.tcp().set_nodelay(true).unwrap();
        link
    }

    /// UDP from an address of one's choice.
    pub fn udp_from(source: IpAddr, to: SocketAddr) -> Link {
        let socket = UdpSocket::bind((source, 0)).unwrap();
        socket.connect(to).unwrap();
        Link { wire: Wire::Udp(socket), arrived: Vec::new(), padding: Vec::new() }
    }

    /// Sends one datagram, or so many bytes of a stream. Answers whether it could: what is closed tells when it is read.
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        match &mut self.wire {
            Wire::Udp(socket) => socket.send(bytes).is_ok(),
            Wire::Tcp(stream) => stream.write_all(bytes).is_ok(),
            Wire::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()).is_ok(),
        }
    }

    /// The next message, if it comes in time.
    pub fn receive(&mut self, within: Duration) -> Got {
        let deadline = Instant::now() + within;
        loop {
            if let Some(message) = self.take_message() {
                return Got::Message(message);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Got::Silence;
            }
            match self.read(left) {
                Ok(Some(bytes)) if self.is_stream() => self.arrived.extend(bytes),
                Ok(Some(datagram)) => return Got::Message(datagram),
                Ok(None) => return Got::Closed,
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
                Err(_) => return Got::Closed,
            }
        }
    }

    pub fn is_stream(&self) -> bool {
        !matches!(self.wire, Wire::Udp(_))
    }

    /// This end.
    pub fn local(&self) -> SocketAddr {
        let address = match &self.wire {
            Wire::Udp(socket) => socket.local_addr(),
            Wire::Tcp(stream) => stream.local_addr(),
            Wire::Tls(stream) => stream.sock.local_addr(),
        };
        address.unwrap()
    }

    /// The TCP connection below, for what only a socket can do.
    pub fn tcp(&self) -> &TcpStream {
        match &self.wire {
            Wire::Tcp(stream) => stream,
            Wire::Tls(stream) => &stream.sock,
            Wire::Udp(_) => panic!("there is no connection below UDP"),
        }
    }

    /// `None` at the end of a stream.
    fn read(&mut self, within: Duration) -> io::Result<Option<Vec<u8>>> {
        let mut buffer = vec![0; 65536];
        let count = match &mut self.wire {
            Wire::Udp(socket) => {
                socket.set_read_timeout(Some(within))?;
                return socket.recv(&mut buffer).map(|count| Some(buffer[..count].to_vec()));
            }
            Wire::Tcp(stream) => {
                stream.set_read_timeout(Some(within))?;
                stream.read(&mut buffer)?
            }
            Wire::Tls(stream) => {
                stream.sock.set_read_timeout(Some(within))?;
                stream.read(&mut buffer)?
            }
        };
        Ok((count > 0).then(|| buffer[..count].to_vec()))
    }

    /// The first whole message of what has arrived: STUN says its length, ChannelData is padded (RFC 8656 §12.5).
    fn take_message(&mut self) -> Option<Vec<u8>> {
        let &[first, _, l0, l1, ..] = &self.arrived[..] else { return None };
        let length = usize::from(u16::from_be_bytes([l0, l1]));
        let whole = if first & 0xC0 == 0x40 { 4 + length } else { 20 + length };
        let padded = whole.next_multiple_of(4);
        if self.arrived.len() < padded {
            return None;
        }
        let mut message: Vec<u8> = self.arrived.drain(..padded).collect();
        self.padding = message.split_off(whole);
        Some(message)
    }
}
