//! A client's connection and a peer's, joined: "Data received on it MUST be sent as-is" (RFC 6062 §5.4), both ways.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split};
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::client::Client;
use super::pace::Pace;
use crate::turn::{Bytes, Connections};

/// Read from one side and not yet taken by the other, for each direction of a pipe, in bytes.
pub(super) const PIPE_BUFFER_BYTES: usize = 16 * 1024;
/// Once one side has said all it had to say, the other may be silent for so long.
const HALF_CLOSED: Duration = Duration::from_secs(60);

/// What the connections of one allocation have in common.
pub(super) struct Common {
    pub(super) connections: Arc<Connections>,
    pub(super) to_peer: Pace,
    pub(super) to_client: Pace,
}

/// One direction of a pipe.
struct Flow<'a> {
    way: Bytes,
    connections: &'a Connections,
    pace: &'a Pace,
    passed: AtomicU64,
}

/// Passes bytes until both sides have said all, one is gone, or a half-closed pipe falls silent. Then both are closed.
pub(super) async fn run(mut client: Client, mut peer: TcpStream, common: &Common) {
    if greet(&mut client, &mut peer).await.is_err() {
        return;
    }
    let Common { connections, to_peer, to_client } = common;
    let up = Flow { way: Bytes::ToPeer, connections, pace: to_peer, passed: AtomicU64::new(0) };
    let down = Flow { way: Bytes::ToClient, connections, pace: to_client, passed: AtomicU64::new(0) };
    let (mut client_reader, mut client_writer) = split(client);
    let (mut peer_reader, mut peer_writer) = peer.split();
    let rising = up.pass(&mut client_reader, &mut peer_writer);
    let falling = down.pass(&mut peer_reader, &mut client_writer);
    tokio::pin!(rising, falling);
    tokio::select! {
        end = &mut rising => if end.is_ok() { down.finish(falling).await },
        end = &mut falling => if end.is_ok() { up.finish(rising).await },
    }
}

/// The answer to the ConnectionBind, and what the client said right behind it.
async fn greet(client: &mut Client, peer: &mut TcpStream) -> io::Result<()> {
    let (plain, received) = client.take_greeting();
    client.write_all(&plain).await?;
    client.flush().await?;
    peer.write_all(&received).await
}

impl Flow<'_> {
    async fn pass(&self, from: &mut (impl AsyncRead + Unpin), to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        let mut buffer = vec![0; PIPE_BUFFER_BYTES];
        loop {
            let count = from.read(&mut buffer).await?;
            if count == 0 {
                return to.shutdown().await;
            }
            self.pace.wait(count).await;
            to.write_all(&buffer[..count]).await?;
            to.flush().await?;
            self.passed.fetch_add(count as u64, Relaxed);
            self.connections.counters().relay(self.way, count);
        }
    }

    /// The last direction: until it ends, or nothing has passed for too long.
    async fn finish(&self, mut rest: impl Future<Output = io::Result<()>> + Unpin) {
        loop {
            let before = self.passed.load(Relaxed);
            tokio::select! {
                _ = &mut rest => return,
                () = sleep(HALF_CLOSED) => if self.passed.load(Relaxed) == before { return },
            }
        }
    }
}
