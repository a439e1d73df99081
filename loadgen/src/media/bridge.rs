//! TURN over TCP and TLS for callers whose media thread knows datagrams only: a pair of loopback UDP sockets, one end for
//! the media thread, the other carried over the stream message by message (RFC 8656 §12.5, RFC 8489 §6.2.2). It costs a
//! caller three descriptors and some tens of microseconds each way.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf, split},
    net::TcpStream,
    task::{JoinHandle, spawn_local},
    time::timeout,
};

use super::tls::Dialer;
use crate::scenario::Transport;

/// Connecting, TLS included.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest message either way: what fits into a datagram of the media thread.
const LONGEST: usize = 1500;
/// Bytes written at once at most; more wait in the socket.
const WRITE: usize = 16 << 10;
const STUN_HEADER: usize = 20;
const CHANNEL_HEADER: usize = 4;

/// A caller's stream; dropping it ends the stream.
pub struct Bridge {
    /// The end for the media thread, connected to [`Bridge::far`].
    pub near: UdpSocket,
    pub far: SocketAddr,
    tasks: [JoinHandle<()>; 2],
}

impl Drop for Bridge {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Bridge {
    /// Connects to `server`, from address `source` if one is named. On a [`tokio::task::LocalSet`].
    pub async fn open(
        server: SocketAddr,
        transport: Transport,
        source: Option<Ipv4Addr>,
        dialer: &Dialer,
    ) -> io::Result<Bridge> {
        let opening = async {
            let stream = crate::runner::tcp(server, source).await?;
            stream.set_nodelay(true)?;
            match transport {
                Transport::Tls => Bridge::over(dialer.connect(server, stream).await?),
                Transport::Udp | Transport::Tcp => Bridge::over::<TcpStream>(stream),
            }
        };
        timeout(PATIENCE, opening).await.map_err(|_| io::ErrorKind::TimedOut)?
    }

    fn over<S: AsyncRead + AsyncWrite + 'static>(stream: S) -> io::Result<Bridge> {
        let near = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let far = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        near.connect(far.local_addr()?)?;
        far.connect(near.local_addr()?)?;
        far.set_nonblocking(true)?;
        let address = far.local_addr()?;
        let far = Arc::new(tokio::net::UdpSocket::from_std(far)?);
        let (read, write) = split(stream);
        // When either direction ends there is nothing more to say; the caller's time-outs tell the story.
        let down = spawn_local({
            let far = far.clone();
            async move { _ = downwards(read, &far).await }
        });
        let up = spawn_local(async move { _ = upwards(&far, write).await });
        Ok(Bridge { near, far: address, tasks: [down, up] })
    }
}

/// Datagrams to the stream; what waits already goes in one write.
async fn upwards<S: AsyncWrite>(far: &tokio::net::UdpSocket, mut stream: WriteHalf<S>) -> io::Result<()> {
    let mut datagram = [0; LONGEST];
    let mut waiting = Vec::with_capacity(WRITE);
    loop {
        let length = far.recv(&mut datagram).await?;
        append(&mut waiting, &datagram[..length]);
        while waiting.len() + LONGEST < WRITE {
            let Ok(length) = far.try_recv(&mut datagram) else { break };
            append(&mut waiting, &datagram[..length]);
        }
        stream.write_all(&waiting).await?;
        stream.flush().await?;
        waiting.clear();
    }
}

/// Messages from the stream as datagrams.
async fn downwards<S: AsyncRead>(mut stream: ReadHalf<S>, far: &tokio::net::UdpSocket) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(WRITE);
    while stream.read_buf(&mut buffer).await? > 0 {
        let mut taken = 0;
        while let Some(message) = first_message(&buffer[taken..])? {
            let length = message.len;
            // A full socket loses the message, as a datagram would be lost.
            let _ = far.try_send(&buffer[taken..taken + length]);
            taken += message.padded;
        }
        buffer.drain(..taken);
    }
    Ok(())
}

fn append(stream: &mut Vec<u8>, message: &[u8]) {
    stream.extend_from_slice(message);
    stream.resize(stream.len() + message.len().next_multiple_of(4) - message.len(), 0);
}

#[derive(Debug, PartialEq, Eq)]
struct Message {
    len: usize,
    padded: usize,
}

/// The whole message `stream` begins with, if it is there. What begins no message ends the stream: there is no way back
/// into step.
fn first_message(stream: &[u8]) -> io::Result<Option<Message>> {
    let [kind, _, high, low, ..] = *stream else { return Ok(None) };
    let value = usize::from(u16::from_be_bytes([high, low]));
    let len = match kind {
        0x00..=0x3F => STUN_HEADER + value,
        0x40..=0x7F => CHANNEL_HEADER + value,
        0x80..=0xFF => return Err(io::ErrorKind::InvalidData.into()),
    };
    if len > LONGEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let padded = len.next_multiple_of(4);
    Ok((stream.len() >= padded).then_some(Message { len, padded }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tokio::task::LocalSet;

    use super::*;

    #[test]
    fn messages_are_cut_where_they_end() {
        let channel = [0x40, 0, 0, 5, 1, 2, 3, 4, 5, 0, 0, 0, 0x40];
        assert_eq!(first_message(&channel).unwrap(), Some(Message { len: 9, padded: 12 }));
        assert_eq!(first_message(&channel[..11]).unwrap(), None, "its padding is part of it");
        assert_eq!(first_message(&channel[12..]).unwrap(), None);
        let stun = [[0, 1, 0, 0].as_slice(), &[0; 16]].concat();
        assert_eq!(first_message(&stun).unwrap(), Some(Message { len: 20, padded: 20 }));
        assert!(first_message(&[0x80, 0, 0, 0]).is_err() && first_message(&[0x40, 0, 0xFF, 0xFF]).is_err());
    }

    #[test]
    fn datagrams_come_back_as_they_went() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        LocalSet::new().block_on(&runtime, async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let server = listener.local_addr().unwrap();
            spawn_local(async move {
                let (stream, _) = listener.accept().await.unwrap();
                let (mut read, mut write) = stream.into_split();
                tokio::io::copy(&mut read, &mut write).await.unwrap();
            });
            let bridge = Bridge::open(server, Transport::Tcp, None, &Dialer::new(None, None).unwrap()).await.unwrap();
            let near = tokio::net::UdpSocket::from_std({
                bridge.near.set_nonblocking(true).unwrap();
                bridge.near.try_clone().unwrap()
            });
            let near = near.unwrap();
            for length in [0u8, 1, 2, 3, 160] {
                let message = [[0x40, 1, 0, length].as_slice(), &vec![7; usize::from(length)]].concat();
                near.send(&message).await.unwrap();
                let mut buffer = [0; LONGEST];
                let got = near.recv(&mut buffer).await.unwrap();
                assert_eq!(buffer[..got], message);
            }
        });
    }
}
